"""The lessons' page on lessons of our own: questions, predictions, what is right, and the link."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.lessons import MOST_STEPS, Exhibit, Finding, Lesson, Step
from explorer.pages import lessons
from tests.explorer.conftest import Open, checked, told
from tests.explorer.conftest import words as notices
from training.checkpoint import CheckpointError
from training.data import DataError

LESSON = Lesson(
    "coins",
    "How often do coins fall?",
    "Two coins are thrown.",
    7,
    (
        Step(
            "one", "One coin", "How often does one fall?", ("Half", "Never", "Always"), "Gravity."
        ),
        Step("two", "Two coins", "How often do both?", ("A quarter", "Half"), "Independence."),
        Step("three", "No coin", "Is there one at all?", ("Yes", "No"), "It was lost."),
        Step("four", "Bad coin", "Does it break?", ("Yes", "No"), "It does."),
        Step("five", "Now you", "Can you throw one?", why="Use your thumb."),
    ),
)
OTHER = Lesson("dice", "Do dice fall?", "They do.", 3, (Step("a", "A", "Do they?", ("Yes", "No")),))
PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
RIGHT = {"one": 0, "two": 1}


@pytest.fixture
def calls() -> list[str]:
    """The steps that were drawn."""
    return []


@pytest.fixture
def failing() -> list[Exception]:
    """What the fourth step raises."""
    return []


@pytest.fixture
def open_page(
    open_app: Open,
    zoo: Path,
    empty_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
    failing: list[Exception],
) -> Open:
    """``open_page(**link)``: a new session on the page with lessons of our own."""

    def show(step: Step) -> Exhibit | None:
        calls.append(step.name)
        st.slider("Coins", 0, 10, 4, key="coins")
        if step.name == "three":
            return None
        if step.name == "four" and failing:
            raise failing[0]
        finding = Finding(RIGHT.get(step.name), f"**{step.name}**: {st.session_state['coins']}")
        return Exhibit(finding, {"A coin": PIXELS}, [{"coins": 4}])

    shown = {lesson.name: (lesson, show) for lesson in (LESSON, OTHER)}
    monkeypatch.setattr(lessons, "SHOWN", shown)
    return functools.partial(open_app, "lessons", checkpoints=zoo, data=empty_root)


def click(app: AppTest, key: str) -> AppTest:
    return checked(app.button(key=key).click().run())


def keys_of(app: AppTest) -> set[str]:
    return {one.key for one in app.button if one.key}


def texts(app: AppTest) -> str:
    """All that the page says in Markdown."""
    return "\n".join(one.value for one in app.markdown)


def row(app: AppTest) -> list[str]:
    """The buttons of the steps."""
    return [one.label for one in app.button if (one.key or "").startswith("step ")]


def test_every_lesson_has_a_tile(open_page: Open) -> None:
    app = open_page()
    assert [title.value for title in app.title] == ["What do you predict?"]
    for words in (
        "##### How often do coins fall?",
        "Two coins are thrown.",
        "7 minutes",
        "5 steps",
    ):
        assert words in texts(app)
    assert app.button(key="open coins").label == "Start"
    assert dict(app.query_params) == {}
    assert not app.sidebar.selectbox, "the page is about no single model"
    assert not notices(app)


def test_the_start_page_leads_to_the_lessons(open_app: Open, zoo: Path) -> None:
    app = click(open_app("models", checkpoints=zoo, data=zoo), "lessons")
    assert [title.value for title in app.title] == ["What do you predict?"]


def test_a_tile_tells_how_far_one_has_come_and_goes_on_there(open_page: Open) -> None:
    app = open_page(said="coins.0x~dice.1")
    assert [bar.proto.text for bar in app.get("progress")] == ["2 of 5 done", "1 of 1 done"]
    assert app.button(key="open coins").label == "Continue"
    assert app.button(key="open dice").label == "Look again"
    click(app, "open coins")
    assert app.query_params["step"] == "3"
    assert app.query_params["lesson"] == "coins"


def test_nothing_is_shown_before_a_prediction(open_page: Open, calls: list[str]) -> None:
    app = open_page(lesson="coins")
    assert [title.value for title in app.title] == ["How often does one fall?"]
    options = [app.button(key=f"say {i}") for i in (1, 2, 3)]
    assert [one.label for one in options] == ["Half", "Never", "Always"]
    assert [one.proto.shortcut for one in options] == ["1", "2", "3"]
    assert app.button(key="look").proto.shortcut == "0"
    assert calls == []
    assert "Gravity" not in texts(app)


@pytest.mark.parametrize(("say", "verdict"), [(1, "success"), (2, "warning"), (3, "warning")])
def test_what_was_measured_decides_who_was_right(open_page: Open, say: int, verdict: str) -> None:
    app = click(open_page(lesson="coins"), f"say {say}")
    said = ("Half", "Never", "Always")[say - 1]
    assert f"You said: **{said}**" in texts(app)
    [answer] = app.success if verdict == "success" else app.warning
    assert "**Measured:** **one**: 4" in answer.value
    assert ("✓ Right" in answer.value) == (say == 1)
    assert ("✗ Not so" in answer.value) == (say != 1)
    assert f"You said: **{said}**" in answer.value
    assert ("it is: **Half**" in answer.value) == (say != 1)
    assert "Gravity" in texts(app)
    assert app.query_params["said"] == f"coins.{say - 1}"
    click(app, "next")
    assert row(app)[0] == f"1 One coin · {'✓ right' if say == 1 else '✗ not so'}"
    assert row(app)[1] == "2 Two coins · you are here"
    assert row(app)[2] == "3 No coin · not yet"


def test_one_may_look_without_predicting_and_be_asked_again(
    open_page: Open, calls: list[str]
) -> None:
    app = click(open_page(lesson="coins", step="2"), "look")
    assert calls == ["two"]
    [answer] = app.info
    assert "It is: **Half**" in answer.value
    assert not app.success
    assert not app.warning
    assert app.query_params["said"] == "coins.-x"
    click(app, "ask")
    assert "say 1" in keys_of(app)
    assert "said" not in app.query_params


def test_the_answer_follows_what_is_tried(open_page: Open) -> None:
    app = open_page(lesson="coins", said="coins.0")
    app.slider(key="coins").set_value(9)
    assert "**one**: 9" in checked(app.run()).success[0].value
    click(app, "step 2")
    click(app, "step 1")
    assert "**one**" in app.success[0].value


def test_a_step_without_a_model_says_no_more_and_leads_on(open_page: Open) -> None:
    app = click(open_page(lesson="coins", step="3"), "say 1")
    assert not notices(app)
    assert not app.success
    assert "It was lost." not in texts(app)
    click(app, "next")
    assert app.query_params["step"] == "4"
    assert row(app)[2] == "3 No coin · predicted"


@pytest.mark.parametrize("error", [CheckpointError, DataError])
def test_a_damaged_file_becomes_a_sentence_and_leads_on(
    open_page: Open, failing: list[Exception], error: Callable[..., Exception]
) -> None:
    text = "[truncated](https://evil.example)"
    failing.append(error(Path("folder"), text) if error is CheckpointError else error(text))
    app = click(open_page(lesson="coins", step="4"), "say 2")
    [told_of] = app.error
    assert "This step cannot be shown" in told_of.value
    assert "\\[truncated\\]" in told_of.value
    click(app, "next")
    assert app.query_params["step"] == "5"
    click(app, "step 6")
    assert "Not measured in this session: 4 Bad coin." in notices(app)


def test_what_was_measured_stays_where_a_step_measures_nothing_the_next_time(
    open_page: Open, failing: list[Exception]
) -> None:
    app = click(open_page(lesson="coins", step="4"), "say 2")
    assert "**four**" in app.warning[0].value
    failing.append(DataError("gone"))
    click(app, "next")
    click(app, "back")
    assert not app.warning
    click(app, "next")
    assert row(app)[3] == "4 Bad coin · ✗ not so"


def test_an_open_step_asks_for_nothing_and_is_done_once_seen(open_page: Open) -> None:
    app = open_page(lesson="coins", step="5")
    assert "Use your thumb." in texts(app)
    assert not {"say 1", "look", "ask"} & keys_of(app)
    assert app.query_params["said"] == "coins.----x"
    assert "**Measured:** **five**" in app.info[0].value
    assert "It is" not in app.info[0].value


def test_back_and_next_lead_through_the_steps_to_the_summary(open_page: Open) -> None:
    app = open_page(lesson="coins")
    assert app.button(key="back").disabled
    for step in range(2, 7):
        click(app, "next")
        assert app.query_params["step"] == str(step)
    assert [title.value for title in app.title] == ["How much did you see coming?"]
    click(app, "back")
    click(app, "back")
    assert app.query_params["step"] == "4"
    click(app, "all")
    assert "lesson" not in app.query_params
    assert app.query_params["said"] == "coins.----x"


def test_the_keys_press_buttons_that_are_there(open_page: Open) -> None:
    app = open_page(lesson="coins", step="2", present="1")
    data = told(app, "keys")
    assert set(data["pressed"].values()) <= keys_of(app)
    assert data["pressed"]["ArrowRight"] == data["pressed"]["PageDown"] == "next"
    assert data["pressed"]["ArrowLeft"] == data["pressed"]["PageUp"] == "back"
    click(app, "say 1")
    assert told(app, "keys")["place"] != data["place"]


def test_starting_over_forgets_this_lesson_alone(open_page: Open) -> None:
    app = open_page(lesson="coins", step="2", said="coins.01x~dice.0")
    click(app, "forget")
    assert dict(app.query_params) == {"lesson": "coins", "said": "dice.0"}
    assert row(app)[1] == "2 Two coins · not yet"


def test_the_summary_counts_what_was_measured_here(open_page: Open) -> None:
    app = open_page(lesson="coins", said="coins.00", step="6")
    assert "Not measured in this session: 1 One coin, 2 Two coins." in app.info[0].value
    assert "predictions were right" not in texts(app)
    click(app, "step 1")
    click(app, "step 2")
    click(app, "step 6")
    assert "#### 1 of 2 predictions were right" in texts(app)
    [table] = [one.value for one in app.markdown if one.value.startswith("| Question")]
    assert "| 1. How often does one fall? | Half: ✓ right | Half |" in table
    assert "| 2. How often do both? | A quarter: ✗ not so | Half |" in table
    assert "| 3. Is there one at all? | not yet |  |" in table
    assert "Open these steps to have them in it, too: 3 No coin, 4 Bad coin, 5 Now you." in texts(
        app
    )


def test_without_predictions_the_summary_says_so(open_page: Open) -> None:
    assert "Nothing was predicted." in texts(open_page(lesson="coins", step="6"))


def test_the_handout_is_of_what_this_session_showed(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        "streamlit.download_button",
        lambda label, make, file, *_, **__: made.update(make=make, file=file),
    )
    app = open_page(lesson="coins", said="coins.0")
    click(app, "step 6")
    assert made["file"] == "lesson-coins.html"
    text = made["make"]()
    assert "How often does one fall?" in text
    assert "<b>one</b>: 4" in text
    assert text.count("data:image/png") == 1
    assert "Not visited: 2 Two coins, 3 No coin, 4 Bad coin, 5 Now you." in text


def test_the_presenter_view_is_in_the_link(open_page: Open) -> None:
    app = open_page(lesson="coins")
    assert "leave" not in keys_of(app)
    click(app, "present it")
    assert app.query_params["present"] == "1"
    assert "leave" in keys_of(open_page(**dict(app.query_params)))
    click(app, "leave")
    assert "present" not in app.query_params


def test_a_lesson_that_is_not_here_is_named_once(open_page: Open) -> None:
    app = open_page(lesson="cards", step="3")
    assert "There is no lesson 'cards' here" in notices(app)
    assert "open coins" in keys_of(app)
    assert not notices(checked(app.run()))
    assert dict(app.query_params) == {}


def test_a_step_that_is_not_there_is_named_once(open_page: Open) -> None:
    app = open_page(lesson="dice", step="7")
    assert "This lesson has 1 step" in notices(app)
    assert [title.value for title in app.title] == ["How much did you see coming?"]
    assert app.query_params["step"] == "2"


@pytest.mark.parametrize("said", ["coins.3", "coins.-2", "coins.0000000x"])
def test_options_that_a_lesson_does_not_have_are_left_out(open_page: Open, said: str) -> None:
    app = open_page(lesson="coins", said=said)
    click(app, "step 6")
    [table] = [one.value for one in app.markdown if one.value.startswith("| Question")]
    assert table.count("not yet") == (1 if said == "coins.0000000x" else 5)


def test_the_browsers_back_goes_to_the_step_before_and_keeps_what_was_said(
    open_page: Open,
) -> None:
    app = click(open_page(lesson="coins"), "say 1")
    click(app, "next")
    assert app.query_params["step"] == "2"
    app.session_state["published"] = replace(app.session_state["published"], at=0.0)
    app.query_params = {"lesson": "coins"}
    checked(app.run())
    assert [title.value for title in app.title] == ["How often does one fall?"]
    assert app.session_state["said"] == {"coins": "0"}
    click(app, "next")
    assert dict(app.query_params) == {"lesson": "coins", "step": "2", "said": "coins.0"}


LESSONS = [pytest.param(lesson, id=name) for name, (lesson, _) in lessons.SHOWN.items()]


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_is_what_a_class_can_take(lesson: Lesson) -> None:
    assert 5 <= len(lesson.steps) <= MOST_STEPS
    assert lesson.title
    assert lesson.about.endswith((".", "?"))
    assert 5 <= lesson.minutes <= 45
    assert len({step.name for step in lesson.steps}) == len(lesson.steps)
    assert len({step.title for step in lesson.steps}) == len(lesson.steps)
    assert not lesson.steps[-1].options, "the last step is open"
    for step in lesson.steps:
        assert step.question.endswith("?"), step.name
        assert len(step.question) <= 160, step.name
        assert 1 <= len(step.title.split()) <= 5, step.name
        assert len(step.title) <= 30, step.name
        assert len(step.options) in (0, 2, 3, 4), step.name
        assert len(set(step.options)) == len(step.options), step.name
        assert step.why or not step.options, step.name
