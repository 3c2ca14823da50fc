"""The end of a lesson: how many predictions were right, and the handout."""

from __future__ import annotations

from datetime import date

import streamlit as st

from explorer.lessons import Lesson, handout, progress
from explorer.pages import lesson_parts


def draw(lesson: Lesson) -> None:
    """Draw the page after the last step."""
    now, found = lesson_parts.marks(lesson), lesson_parts.findings(lesson)
    lesson_parts.head(lesson, len(lesson.steps))
    right, judged = progress.score(now, found)
    lesson_parts.heading("How much did you see coming?", f"{lesson.name} summary")
    if judged:
        st.markdown(f"#### {right} of {judged} predictions were right", anchors=False)
    unmeasured = [
        f"{i} {step.title}"
        for i, (step, mark, finding) in enumerate(zip(lesson.steps, now, found, strict=True), 1)
        if mark.isdecimal() and finding is None
    ]
    if unmeasured:
        st.info(
            f"Not measured in this session: {', '.join(unmeasured)}. Open these steps to see "
            "whether your predictions hold."
        )
    if not judged and not unmeasured:
        st.markdown("Nothing was predicted. *Start over* asks every question again.")
    _table(lesson, now)
    _handout(lesson, now)
    with st.container(horizontal=True):
        last = len(lesson.steps) - 1
        lesson_parts.onward_button("Back", "back", lesson, last)
        st.button(
            "All lessons",
            key="other",
            icon=":material/school:",
            on_click=lesson_parts.go,
            args=("",),
        )


def _table(lesson: Lesson, now: str) -> None:
    """Each question, what was said, and what was measured."""
    lines = ["| Question | Predicted | Measured |", "| --- | --- | --- |"]
    found = lesson_parts.findings(lesson)
    for i, (step, mark, finding) in enumerate(zip(lesson.steps, now, found, strict=True), 1):
        said = f"{step.options[int(mark)]}: " if mark.isdecimal() else ""
        held = step.options[finding.right] if finding and finding.right is not None else ""
        cells = (f"{i}. {step.question}", said + progress.standing(mark, finding), held)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    st.markdown("\n".join(lines))


def _handout(lesson: Lesson, now: str) -> None:
    """The download, and what is not in it yet."""
    st.subheader("To take home", anchor=False)
    shown = lesson_parts.exhibits(lesson)
    missing = [
        f"{i} {step.title}"
        for i, step in enumerate(lesson.steps, 1)
        if now[i - 1] == progress.OPEN or step.name not in shown
    ]
    words = (
        "A page to print: every question seen, what was predicted, what was measured, and the "
        "pictures just made."
    )
    if missing:
        words += f" Open these steps to have them in it, too: {', '.join(missing)}."
    st.markdown(words)
    st.download_button(
        "Handout (HTML)",
        lambda: handout.build(lesson, now, shown, date.today()),
        f"lesson-{lesson.name}.html",
        "text/html",
        key="handout",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )
