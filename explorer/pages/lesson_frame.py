"""One step of any lesson: its question, the predictions, what is shown, and what was measured."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from explorer import catalog, links
from explorer.lessons import Exhibit, Finding, Lesson, Step, progress
from explorer.pages import lesson_parts
from training.checkpoint import CheckpointError
from training.data import DataError


def draw(lesson: Lesson, show: Callable[[Step], Exhibit | None]) -> None:
    """Draw the step that the link says; ``show`` draws what is to be seen of it."""
    at = st.session_state["step"] - 1
    step = lesson.steps[at]
    if not step.options:
        _mark(lesson, at, progress.LOOKED)
    mark = lesson_parts.marks(lesson)[at]
    links.publish("lessons")  # the step may take its time, or end the page
    lesson_parts.head(lesson, at)
    lesson_parts.heading(step.question, f"{lesson.name} {at} {mark}")
    if mark == progress.OPEN:
        _ask(lesson, at)
    else:
        _show(lesson, at, mark, show)
    _onward(lesson, at)


def _ask(lesson: Lesson, at: int) -> None:
    """The predictions to choose from."""
    options = lesson.steps[at].options
    with st.container(key="options"):
        columns = st.columns(len(options))
    for i, (column, option) in enumerate(zip(columns, options, strict=True)):
        column.button(
            option,
            key=f"say {i + 1}",
            shortcut=str(i + 1),
            width="stretch",
            wrap=True,
            on_click=_mark,
            args=(lesson, at, str(i)),
        )
    st.button(
        "Show me without predicting",
        key="look",
        type="tertiary",
        shortcut="0",
        on_click=_mark,
        args=(lesson, at, progress.LOOKED),
    )


def _show(lesson: Lesson, at: int, mark: str, show: Callable[[Step], Exhibit | None]) -> None:
    """What there is to try, what was measured, and why."""
    step = lesson.steps[at]
    if mark.isdecimal():
        st.markdown(f"You said: **{step.options[int(mark)]}**")
    try:
        with st.container(key="shown"):
            exhibit = show(step) or Exhibit()
    except (CheckpointError, DataError) as error:  # a file is damaged, or has changed meanwhile
        st.error(f"This step cannot be shown: {catalog.plain(str(error))}.")
        exhibit = Exhibit()
    lesson_parts.keep(lesson, step, exhibit)
    if exhibit.finding:
        with st.container(key="answer"):
            _answer(step, mark, exhibit.finding)
    if exhibit.finding or not step.options:
        st.markdown(step.why)
    if step.options:
        st.button(
            "Ask again",
            key="ask",
            type="tertiary",
            icon=":material/replay:",
            on_click=_mark,
            args=(lesson, at, progress.OPEN),
        )


def _answer(step: Step, mark: str, finding: Finding) -> None:
    """What was said beside what was measured."""
    measured = f"**Measured:** {finding.words}"
    right = progress.is_right(mark, finding)
    if not step.options:
        st.info(measured, icon=":material/straighten:")
        return
    held = "none of these" if finding.right is None else step.options[finding.right]
    if right is None:
        st.info(f"It is: **{held}**. {measured}", icon=":material/straighten:")
    elif right:
        st.success(f"**✓ Right.** You said: **{held}**. {measured}", icon=":material/check_circle:")
    else:
        said = step.options[int(mark)]
        words = f"**✗ Not so.** You said: **{said}**; it is: **{held}**. {measured}"
        st.warning(words, icon=":material/cancel:")


def _onward(lesson: Lesson, at: int) -> None:
    """To the step before and the step after; what the keys do."""
    with st.container(horizontal=True, vertical_alignment="center"):
        lesson_parts.onward_button("Back", "back", lesson, at - 1, disabled=at == 0)
        last = at + 1 == len(lesson.steps)
        lesson_parts.onward_button("Summary" if last else "Next", "next", lesson, at + 1)
    st.caption(
        "Keys: ← → or Page Up, Page Down for the step before and after, where no slider, field or "
        "map has the focus; 1 to 4 to predict, 0 to look; Escape leaves the presenter view; F11 "
        "fills the screen."
    )


def _mark(lesson: Lesson, at: int, mark: str) -> None:
    said = st.session_state["said"]
    st.session_state["said"] = progress.marked(said, lesson, at, mark)
