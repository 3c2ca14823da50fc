"""What do you predict?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from explorer.lessons import Exhibit, Lesson, Step, beta, blur, digits, plane, progress, space
from explorer.pages import (
    lesson_beta,
    lesson_blur,
    lesson_digits,
    lesson_frame,
    lesson_parts,
    lesson_plane,
    lesson_space,
    lesson_summary,
)

SHOWN: dict[str, tuple[Lesson, Callable[[Step], Exhibit | None]]] = {
    lesson.name: (lesson, show)
    for lesson, show in (
        (space.LESSON, lesson_space.show),
        (plane.LESSON, lesson_plane.show),
        (digits.LESSON, lesson_digits.show),
        (blur.LESSON, lesson_blur.show),
        (beta.LESSON, lesson_beta.show),
    )
}
"""Every lesson, and what draws its steps: the exhibit, or None where a model is missing."""

STYLE = Path(__file__).with_name("lessons.css")
WIDTH = 380
"""Pixels that a tile has at least."""


def page() -> None:
    """Draw the page: all lessons, one step of one, or what came out at its end."""
    st.html(STYLE)
    name = st.session_state["lesson"]
    if name not in SHOWN:
        _index(name)
        return
    lesson, show = SHOWN[name]
    last = len(lesson.steps) + 1
    if st.session_state["step"] > last:
        st.warning(
            f"This lesson has {last - 1} steps; after them comes the summary, which this is."
        )
        st.session_state["step"] = last
    if st.session_state["step"] == last:
        lesson_summary.draw(lesson)
    else:
        lesson_frame.draw(lesson, show)


def _index(asked: str) -> None:
    """A tile for every lesson."""
    if asked:
        st.warning(f"There is no lesson {asked!r} here; these are all there are.")
        lesson_parts.go("")
    lesson_parts.heading("What do you predict?", "all lessons")
    st.markdown(
        "Each lesson asks what will happen. Choose an answer, see it happen, and read what was "
        "measured. The address bar keeps your place and your predictions."
    )
    lesson_parts.presenting()
    grid = st.grid(2, min_column_width=WIDTH)
    for lesson, _ in SHOWN.values():
        with grid.container(border=True, height="stretch", gap="small"):
            _tile(lesson)


def _tile(lesson: Lesson) -> None:
    """One lesson: what it is about, how far one has come, and the way in."""
    now = progress.marks(st.session_state["said"], lesson)
    done, steps = progress.done(now), len(now)
    st.markdown(f"##### {lesson.title}", anchors=False)
    st.markdown(
        f":blue-badge[:material/schedule: {lesson.minutes} minutes] "
        f":gray-badge[:material/format_list_numbered: {steps} steps]"
    )
    st.markdown(lesson.about)
    st.space("stretch")
    st.progress(done / steps, f"{done} of {steps} done")
    st.button(
        "Start" if not done else "Continue" if done < steps else "Look again",
        key=f"open {lesson.name}",
        help=lesson.title,
        icon=":material/play_arrow:",
        type="secondary" if done == steps else "primary",
        on_click=lesson_parts.go,
        args=(lesson.name, progress.first_open(now) + 1),
    )
