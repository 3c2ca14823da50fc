"""What the pages of a lesson have in common: the way through it, and what is kept of it."""

from __future__ import annotations

import streamlit as st

from explorer.components.keys import keys
from explorer.lessons import Exhibit, Finding, Lesson, Step, handout, progress

KEYS = {
    "ArrowLeft": "back",
    "PageUp": "back",
    "ArrowRight": "next",
    "PageDown": "next",
    "Escape": "leave",
}
"""Keys of the keyboard, and the buttons that they press; remote controls send the page keys."""


def heading(words: str, place: str) -> None:
    """The page's heading, which has the focus at a new ``place``, and the keys."""
    with st.container(horizontal=True, gap=None):
        st.title(words, anchor=False)
        keys(KEYS, place)


def head(lesson: Lesson, at: int) -> None:
    """Where one is: the way back to all lessons, the steps, the presenter view, a fresh start."""
    with st.container(horizontal=True, vertical_alignment="center", key="crumbs"):
        st.button(
            "Lessons", key="all", type="tertiary", icon=":material/school:", on_click=go, args=("",)
        )
        st.markdown(f"/ **{lesson.title}**", width="stretch")
        presenting()
        with st.popover("Start over", icon=":material/restart_alt:", type="tertiary"):
            st.markdown("Forget what was predicted in this lesson, and go to its first step?")
            st.button("Yes, start over", key="forget", on_click=_forget, args=(lesson,))
    now, found = marks(lesson), findings(lesson)
    with st.container(horizontal=True, gap="xsmall", key="steps"):
        for i, (step, one, finding) in enumerate(zip(lesson.steps, now, found, strict=True)):
            words = progress.standing(one, finding)
            _step_button(lesson, i, f"{i + 1} {step.title}", words, here=i == at)
        _step_button(lesson, len(now), "Summary", "at the end", here=at == len(now))


def _step_button(lesson: Lesson, to: int, title: str, words: str, here: bool) -> None:
    st.button(
        f"{title} · {'you are here' if here else words}",
        key=f"step {to + 1}",
        type="primary" if here else "secondary",
        on_click=go,
        args=(lesson.name, to + 1),
    )


def presenting() -> None:
    """The way into the presenter view, or out of it; the page's style follows the button's key."""
    on = st.session_state["present"]
    st.button(
        "Leave presenter view" if on else "Presenter view",
        key="leave" if on else "present it",
        help="Escape does the same"
        if on
        else "Large type, without the sidebar. F11 makes the browser fill the screen.",
        type="tertiary",
        icon=":material/close_fullscreen:" if on else ":material/co_present:",
        on_click=lambda: st.session_state.update(present=not on),
    )


def onward_button(label: str, key: str, lesson: Lesson, to: int, disabled: bool = False) -> None:
    """A button to the step at place ``to``."""
    st.button(
        label,
        key=key,
        type="primary" if key == "next" else "secondary",
        icon=":material/arrow_back:" if key == "back" else ":material/arrow_forward:",
        icon_position="left" if key == "back" else "right",
        disabled=disabled,
        on_click=go,
        args=(lesson.name, to + 1),
    )


def go(name: str, step: int = 1) -> None:
    """Go to a step of a lesson; without a name to all lessons."""
    st.session_state.update(lesson=name, step=step)


def marks(lesson: Lesson) -> str:
    """What was said at each step (see `progress`)."""
    return progress.marks(st.session_state["said"], lesson)


def exhibits(lesson: Lesson) -> dict[str, Exhibit]:
    """What this session has shown of a lesson, by the names of its steps."""
    return st.session_state.setdefault("exhibits", {}).setdefault(lesson.name, {})


def keep(lesson: Lesson, step: Step, exhibit: Exhibit) -> None:
    """Keep what a step has shown; what was measured stays where the step begins anew."""
    kept = exhibits(lesson)
    if exhibit.finding or not kept.get(step.name, exhibit).finding:
        kept[step.name] = handout.bounded(exhibit)


def findings(lesson: Lesson) -> list[Finding | None]:
    """What this session has measured at each step."""
    kept = exhibits(lesson)
    return [kept.get(step.name, Exhibit()).finding for step in lesson.steps]


def _forget(lesson: Lesson) -> None:
    said = st.session_state["said"]
    st.session_state["said"] = {name: one for name, one in said.items() if name != lesson.name}
    exhibits(lesson).clear()
    go(lesson.name)
