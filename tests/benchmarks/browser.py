"""A real Chromium, driven with real pointer events, and what `probe.js` recorded in its pages."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.benchmarks.latencies import STEP_S, Recording

PROBE = Path(__file__).with_name("probe.js")
SWEEP_S = 1.5
"""From one end of a slider to the other."""
TIMEOUT_MS = 60_000
NATIVE_PAUSE_S = 0.3
"""Between two steps of the native slider: what is left of a rerun must not delay the next."""

SLIDER = "[data-testid^=latent-slider-]"
"""The first of them stands for the dimension that does most."""
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",  # compositing in software, twice as fast as a software GPU
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this computer
)
_IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium; the system's own where there is one, else Playwright's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_FLAGS, handle_sigint=False
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def probed_page(browser: Browser) -> Iterator[Page]:
    """A page with empty caches that records what happens in it."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(path=PROBE)
        yield context.new_page()


def first_touch(page: Page, url: str) -> None:
    """Open the map and return once moving the pointer over it has painted a picture."""
    page.goto(url, wait_until="commit")
    pad = page.locator("[data-testid=latent-map][data-ready=true]")
    pad.wait_for()
    _watch(page, "pointermove", "latent-map")
    x, y = _centre(pad)
    for step in range(10_000):
        page.mouse.move(x + step % 20, y)
        if page.evaluate("latentProbe.paints.some(([, newest]) => newest >= 0)"):
            return
        time.sleep(STEP_S)
    raise PlaywrightTimeout("the map is ready, but pointing at it paints nothing")


def open_sliders(page: Page, url: str, model: str) -> None:
    """Open a model's sliders; returns once the first picture and filmstrip are painted."""
    page.goto(f"{url}/sliders?model={model}", wait_until="commit")
    page.locator("[data-testid=live-image][data-painted]").wait_for()
    page.locator("[data-testid^=filmstrip-][data-painted]").first.wait_for()
    page.locator(_IDLE).wait_for()


def drag(page: Page, seconds: float, progress: Callable[[], None]) -> Recording:
    """Hold the first slider and move it back and forth, 60 steps a second."""
    slider = page.locator(SLIDER).first
    slider.scroll_into_view_if_needed()
    x, y = _centre(slider)
    reach = 0.45 * _box(slider)["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    try:
        _watch(page, "input", slider.get_attribute("data-testid") or "")
        for phase in _ticks(seconds):
            page.mouse.move(x + reach * _triangle(phase / SWEEP_S), y)
            progress()
        return _settled_recording(page)
    finally:
        page.mouse.up()


def open_drawing(page: Page, url: str, model: str) -> None:
    """Open the page to draw on; returns once its map is ready and its pictures are painted."""
    page.goto(f"{url}/draw?model={model}", wait_until="commit")
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    page.locator("[data-testid=live-image][data-painted]").wait_for()
    page.locator(_IDLE).wait_for()


def draw(page: Page, seconds: float, shown: str, progress: Callable[[], None]) -> Recording:
    """Move the pen in loops, 60 steps a second; what is painted on ``shown`` is recorded."""
    canvas = page.get_by_test_id("drawing")
    x, y = _centre(canvas)
    reach = 0.3 * _box(canvas)["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    try:
        _watch(page, "pointermove", "drawing", shown)
        for phase in _ticks(seconds):
            across, down = math.sin(2 * phase), math.sin(3 * phase)
            page.mouse.move(x + reach * across, y + reach * down)
            progress()
        return _settled_recording(page)
    finally:
        page.mouse.up()


def choose_model(page: Page, name: str, title: str) -> float:
    """Choose another model in the sidebar; seconds from the click to its picture."""
    page.get_by_test_id("stSidebar").get_by_role("combobox").click()
    option = page.get_by_role("option", name=title, exact=True)
    option.wait_for()
    started = time.perf_counter()
    option.click()
    page.wait_for_url(lambda url: f"model={name}" in url.split("?")[-1].split("&"))
    page.locator("[data-testid=live-image][data-painted]").wait_for()
    taken = time.perf_counter() - started
    page.locator(_IDLE).wait_for()
    return taken


def go_to_map(page: Page) -> float:
    """Go to the map by its link in the sidebar; seconds until it answers the pointer."""
    started = time.perf_counter()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Map").click()
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    return time.perf_counter() - started


def ask_for_umap(page: Page) -> None:
    """Have the codes of the open map laid out anew."""
    page.get_by_role("button", name="Lay out anew").click()
    page.get_by_role("button", name="Compute").click()
    page.get_by_role("button", name="Cancel").wait_for()


def await_umap(page: Page) -> None:
    """Return once the layout asked for is shown."""
    page.get_by_role("button", name="Lay out anew").wait_for(timeout=10 * TIMEOUT_MS)


def native_steps(page: Page, url: str, count: int, progress: Callable[[], None]) -> Recording:
    """Drag and release Streamlit's own slider ``count`` times, each time awaiting the picture."""
    page.goto(url, wait_until="commit")
    page.locator("[data-testid=stImage] img").wait_for()
    page.locator(_IDLE).wait_for()
    track = _box(page.get_by_test_id("stSlider"))
    thumb = page.get_by_role("slider")
    _watch(page, "pointerup", "stSlider")
    for step in range(count):
        time.sleep(NATIVE_PAUSE_S)
        x, y = _centre(thumb)
        target = track["x"] + track["width"] * (0.1 + 0.8 * (step * 0.381966 % 1))
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(target, y, steps=8)
        page.mouse.up()
        _await_settled(page)
        progress()
    return _settled_recording(page)


def visit(page: Page, url: str) -> None:
    """Open a page and wait until its script has run and its pictures have had time to come."""
    page.goto(url, wait_until="commit")
    page.locator("h1").wait_for()
    page.locator(_IDLE).wait_for()
    time.sleep(1)


def _watch(page: Page, event: str, testid: str, shown: str = "live-image") -> None:
    page.evaluate("(asked) => latentProbe.watch(...asked)", [event, testid, shown])


def _await_settled(page: Page) -> None:
    page.wait_for_function("latentProbe.settled()", timeout=10_000)


def _settled_recording(page: Page) -> Recording:
    """The recording, once its last input is painted or long enough has passed for it to be."""
    with suppress(PlaywrightTimeout):  # the recording shows which inputs stayed without a picture
        _await_settled(page)
    found = page.evaluate("latentProbe.recording()")
    return Recording(found["inputs"], [(t, i) for t, i in found["paints"]], found["stale"])


def _ticks(seconds: float) -> Iterator[float]:
    """Seconds since the start, at 60 Hz; steps that the machine is too slow for are left out."""
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        yield passed
        time.sleep(STEP_S - (time.perf_counter() - start) % STEP_S)


def _triangle(phase: float) -> float:
    """From 0 to 1, down to -1 and back, at one unit per half unit of phase."""
    return 4 * abs((phase / 2 + 0.75) % 1 - 0.5) - 1


def _box(element: Locator):
    box = element.bounding_box()
    if box is None:
        raise PlaywrightTimeout(f"{element} is not visible")
    return box


def _centre(element: Locator) -> tuple[float, float]:
    box = _box(element)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
