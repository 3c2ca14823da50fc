"""The app with one lesson more, which has every kind of control."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import latent, resources, state
from explorer.cli import main
from explorer.components.strip import strip
from explorer.lessons import Exhibit, Finding, Lesson, Step
from explorer.pages import lessons

MODEL = "mnist-cgan"
NAME = "trial"
LESSON = Lesson(
    NAME,
    "Which keys go where?",
    "Controls that have keys of their own.",
    5,
    (
        Step("first", "First", "What does the slider say?", ("Three", "Four"), "It was set so."),
        Step("second", "Second", "And now?", ("Three", "Four", "Five"), "Nobody moved it."),
        Step("third", "Third", "What is typed?", ("Nothing", "Something"), "Nobody typed."),
        Step("fourth", "Fourth", "Is it still the same?", ("Yes", "No"), "It is."),
        Step("open", "Now you", "Can you move everything?", why="Try every key."),
    ),
)


def show(step: Step) -> Exhibit:
    """Draw controls of Streamlit's and one of ours, and what they say."""
    value = st.slider("Slider", 0, 10, 4, key="trial slider")
    choice = st.segmented_control("Choice", ["a", "b", "c"], default="a", key="trial choice")
    text = st.text_input("Text", key="trial text")
    at = st.session_state.get("trial at", 0.0)
    st.caption(f"Chosen {choice}, typed {text}, at {at:.2f}")
    card = resources.checkpoint(MODEL).card
    strip(
        "trial strip",
        state.components_data(MODEL, card),
        frames=3,
        path=None,
        mix=latent.class_mix(3, 8, 5, card.num_classes),
        labels=["a", "b", "c"],
        at=at,
        settled=lambda at: st.session_state.update({"trial at": at}),
    )
    image = np.full((4, 4, 1), 10 * value, np.uint8)
    return Exhibit(Finding(1 if step.options else None, f"It says {value}."), {"Grey": image})


def serve() -> None:
    """What ``latent-explorer`` does, with the lesson."""
    lessons.SHOWN[NAME] = (LESSON, show)
    main()
