"""The lessons in a real browser: every one by the keyboard alone, presented, linked, printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from explorer.pages import lessons
from tests.browser import trial
from tests.browser.conftest import (
    TIMEOUT_MS,
    Server,
    canvas_of,
    go_back,
    wait_narrow,
    wait_run,
)
from training.watch import free_port

NAMES = [*lessons.SHOWN, trial.NAME]


@pytest.fixture(scope="module")
def trials() -> Iterator[Server]:
    """The app on the shipped checkpoints, with the lesson of every control beside the others."""
    one = Server(free_port(), code="from tests.browser.trial import serve; serve()")
    one.start()
    yield one
    one.stop()


def settled(page: Page) -> None:
    """Wait until the page is drawn to its end, and its pictures are here: a rerun forgets them."""
    wait_run(page, 4 * TIMEOUT_MS)  # a step may measure five models, beside other tests
    page.wait_for_function("[...document.images].every((image) => image.complete)")


def step_buttons(page: Page) -> Locator:
    """The buttons of the steps, and of the summary after them."""
    return page.locator(".st-key-steps button")


def at_step(page: Page, number: int) -> None:
    """Wait until the page is at a step, from 1, has told so, and listens to keys."""
    here = step_buttons(page).nth(number - 1)
    expect(here).to_contain_text("you are here")
    page.locator("h1[tabindex='-1']").wait_for()
    page.wait_for_function(
        "step => (new URLSearchParams(location.search).get('step') ?? '1') === step",
        arg=str(number),
    )
    settled(page)


def open_lesson(page: Page, server: Server, name: str = trial.NAME, **link: str) -> None:
    """Open a lesson's link in a new session."""
    rest = "".join(f"&{key}={value}" for key, value in link.items())
    page.goto(f"{server.url}/lessons?lesson={name}{rest}")
    at_step(page, int(link.get("step", "1")))


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def tab_to(page: Page, target: Locator) -> None:
    """Go to an element as the keyboard does."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {target}")


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_is_walked_with_the_keyboard_alone(page: Page, trials: Server, name: str) -> None:
    open_lesson(page, trials, name)
    questions = []
    for number in range(1, step_buttons(page).count()):
        questions.append(heading(page).inner_text())
        if page.locator(".st-key-say-1").count():
            page.keyboard.press("1")
            expect(page.get_by_text("You said:").first).to_be_visible()
            page.wait_for_url(re.compile(rf"said={name}\.[-x0-3]{{{number - 1}}}0"))
            settled(page)
        page.keyboard.press("ArrowRight")
        at_step(page, number + 1)
        expect(heading(page)).to_be_focused()
    expect(heading(page)).to_have_text("How much did you see coming?")
    assert len(set(questions)) == len(questions)
    tab_to(page, page.get_by_role("button", name="Handout (HTML)"))
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == f"lesson-{name}.html"
    handout = Path(waiting.value.path()).read_text()
    assert handout.startswith("<!DOCTYPE html>")
    assert handout.count("<section>") == len(questions)
    assert "Not visited" not in handout
    page.keyboard.press("PageUp")
    at_step(page, len(questions))
    expect(heading(page)).to_have_text(questions[-1])


def test_controls_keep_their_own_keys(page: Page, trials: Server) -> None:
    """What a control says comes back from Python after whatever a key pressed before it did."""
    open_lesson(page, trials, step="2", said="trial.-1")
    canvas_of(page, "live-image")
    page.get_by_role("slider", name="Slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("It says 5.")).to_be_visible()
    page.get_by_role("radio", name="a", exact=True).focus()
    for key in ("ArrowRight", "PageDown", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_text("Chosen b")).to_be_visible()
    page.get_by_role("textbox", name="Text").focus()
    page.keyboard.type("1 2")
    for key in ("ArrowLeft", "PageUp", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text("typed 1 2")).to_be_visible()
    page.get_by_test_id("strip-scrub").focus()
    for key in ("PageDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.get_by_text("at 0.02")).to_be_visible()
    at_step(page, 2)
    for keys in ("Shift+ArrowRight", "Control+ArrowRight"):
        page.get_by_test_id("strip-play").press(keys)
    page.get_by_test_id("strip-play").press("ArrowRight")
    at_step(page, 3)


LISTENERS = """
window.listeners = new Set();
for (const [what, note] of [["addEventListener", "add"], ["removeEventListener", "delete"]]) {
  const original = document[what];
  document[what] = (type, listener, ...rest) => {
    if (type === "keydown") window.listeners[note](listener);
    return original.call(document, type, listener, ...rest);
  };
}
"""
"""Keeps what listens to the keys of the whole page."""


def test_one_listens_to_the_keys_of_a_lesson_and_none_after_it(page: Page, trials: Server) -> None:
    page.add_init_script(LISTENERS)
    open_lesson(page, trials)
    once = page.evaluate("window.listeners.size")
    for step in (2, 3):
        page.keyboard.press("PageDown")
        at_step(page, step)
        assert page.evaluate("window.listeners.size") == once
    page.get_by_role("link", name="Training").click()
    expect(heading(page)).to_have_text("How is a run doing?")
    settled(page)
    after = page.evaluate("window.listeners.size")
    page.reload()
    expect(heading(page)).to_have_text("How is a run doing?")
    settled(page)
    assert after == page.evaluate("window.listeners.size")


def test_the_presenter_view_is_large_and_alone_and_escape_leaves_it(
    page: Page, trials: Server
) -> None:
    open_lesson(page, trials, present="1", step="2")
    sidebar, header = page.get_by_test_id("stSidebar"), page.get_by_test_id("stHeader")
    expect(sidebar).to_be_hidden()
    expect(header).to_be_hidden()
    size = "one => parseFloat(getComputedStyle(one).fontSize)"
    option = page.locator(".st-key-say-1 p")
    large = option.evaluate(size)
    page.keyboard.press("Escape")
    expect(sidebar).to_be_visible()
    page.wait_for_url(re.compile(r"lesson=trial&step=2$"))
    wait_run(page)
    assert large / option.evaluate(size) > 1.3
    page.get_by_role("button", name="Presenter view").press("Enter")
    expect(sidebar).to_be_hidden()
    page.wait_for_url(re.compile(r"present=1$"))


def test_the_presenter_view_enlarges_figures_and_pictures(page: Page, trials: Server) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    link = f"{trials.url}/lessons?lesson=blur&step=1&said=blur.0"
    words, picture = (
        page.locator(".js-plotly-plot .xtick text").first,
        page.get_by_alt_text("copy-1: z = 2"),
    )
    sizes = []
    for url in (link, f"{link}&present=1"):
        page.goto(url)
        words.wait_for()
        box = picture.bounding_box()
        assert box is not None
        size = words.evaluate("words => parseFloat(getComputedStyle(words).fontSize)")
        sizes.append((size, box["width"]))
    usual, large = sizes
    assert usual[0] == 13
    assert large[0] / usual[0] == pytest.approx(30 / 16, abs=0.01)
    assert large[1] / usual[1] == pytest.approx(1.6, abs=0.05)


def test_the_browsers_back_and_forward_go_through_the_steps(page: Page, trials: Server) -> None:
    open_lesson(page, trials)
    for number in (2, 3):
        page.keyboard.press("PageDown")
        at_step(page, number)
    go_back(page)
    at_step(page, 2)
    page.go_back()
    at_step(page, 1)
    page.go_forward()
    at_step(page, 2)


def test_a_new_start_asks_again(page: Page, trials: Server) -> None:
    open_lesson(page, trials, step="3", said="trial.01x~plane.x")
    page.get_by_role("button", name="Start over").press("Enter")
    page.get_by_role("button", name="Yes, start over").press("Enter")
    at_step(page, 1)
    expect(page.locator(".st-key-say-1")).to_be_visible()
    page.wait_for_url(re.compile(r"lesson=trial&said=plane\.x$"))


def test_on_a_phone_nothing_is_cut_off_and_the_step_is_in_view(page: Page, trials: Server) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_lesson(page, trials, step="4")
    wait_narrow(page, 390)
    boxes = [page.locator(f".st-key-say-{i} button").bounding_box() for i in (1, 2)]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    expect(step_buttons(page).nth(3)).to_be_in_viewport(ratio=1)
