"""Steps of lessons drawn by themselves, without the frame; and measures made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.lessons import Exhibit, Lesson
from explorer.lessons.copies import Copies, Look
from tests.explorer.conftest import checked, words

Draw = Callable[..., AppTest]
"""``draw(lesson, step, checkpoints, data=..., selected="")``."""


def script(lesson: str, name: str, selected: str) -> None:
    """Draw one step, and keep what it has shown."""
    import importlib

    import streamlit as st

    from explorer import links

    links.restore()
    if selected and "exhibit" not in st.session_state:
        st.session_state["selected"] = selected
    steps = importlib.import_module(f"explorer.lessons.{lesson}").LESSON.steps
    step = next(step for step in steps if step.name == name)
    page = importlib.import_module(f"explorer.pages.lesson_{lesson}")
    st.session_state["exhibit"] = page.show(step)


def drawer(patch: pytest.MonkeyPatch, data: Path) -> Draw:
    """What draws a step on some checkpoints and the images of a data folder."""

    def draw(lesson: str, name: str, checkpoints: Path, selected: str = "") -> AppTest:
        patch.setenv("LATENT_CHECKPOINTS", str(checkpoints))
        patch.setenv("LATENT_DATA", str(data))
        arguments = {"lesson": lesson, "name": name, "selected": selected}
        return checked(AppTest.from_function(script, default_timeout=120, kwargs=arguments).run())

    return draw


def exhibit(app: AppTest) -> Exhibit:
    """What a step has shown."""
    shown = app.session_state["exhibit"]
    assert isinstance(shown, Exhibit)
    return shown


def answered(app: AppTest, lesson: Lesson, name: str) -> None:
    """A step has found one of its options right, none where it has none, and nothing missing."""
    shown = exhibit(app)
    assert shown.finding is not None
    assert not words(app)
    (step,) = [step for step in lesson.steps if step.name == name]
    right = shown.finding.right
    assert (right in range(len(step.options))) if step.options else right is None
    for picture in shown.pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3


def look(sharpness: float) -> Look:
    """A look with equal power at three frequencies."""
    return Look(10, sharpness, 0.0, np.ones(3, np.float32), np.array([0, 0.05, 0.3], np.float32))


def found(
    kl: list[float], *, real: float = 1.0, means: float = 0.5, draws: float = 0.5, nll: float = 80.0
) -> Copies:
    """Copies with these measures, and codes that all lie at 0."""
    carried, zeros = np.array(kl, np.float32), np.zeros(len(kl), np.float32)
    return Copies(look(real), look(means), look(draws), nll, carried, zeros, zeros)
