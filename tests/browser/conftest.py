"""A real server and a real Chromium for the tests in this folder."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from explorer.links import ON_ITS_WAY_SECONDS
from training.watch import HOST, answers, free_port

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]
TIMEOUT_MS = 30_000
expect.set_options(timeout=TIMEOUT_MS)
GREY_LEVEL = 1
"""What a picture decoded in float32 may differ by: rounding to whole grey levels."""


@dataclass
class Server:
    """The app in a process of its own, as a user starts it."""

    port: int
    """Where it listens, on `HOST`."""
    options: list[str] = field(default_factory=list)
    """Further options of ``latent-explorer``."""
    code: str = "from explorer.cli import main; main()"
    """What its process runs."""
    process: subprocess.Popen[bytes] | None = None
    """Running server."""

    @property
    def url(self) -> str:
        """Address of the first page."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-c", self.code, "--no-browser", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self.options],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
            if answers(self.port):
                return
            time.sleep(0.1)
        raise TimeoutError("the server did not answer within a minute")

    def stop(self) -> None:
        """Stop it and wait for its end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium; skipped where there is none, unless LATENT_REQUIRE_BROWSER is set."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        reason = f"no Chromium on this computer: none of {', '.join(CHROMIUM)} is on the PATH"
        if os.environ.get("LATENT_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The app on the shipped checkpoints."""
    one = Server(free_port())
    one.start()
    yield one
    one.stop()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh browser profile."""
    with chromium.new_context(viewport={"width": 1400, "height": 1000}) as one:
        one.set_default_timeout(TIMEOUT_MS)
        yield one


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab that must end without a single message in its console."""
    messages: list[str] = []
    one = context.new_page()
    one.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    one.on("pageerror", lambda error: messages.append(f"exception: {error}"))
    yield one
    assert messages == []


def canvas_of(page: Page | Locator, testid: str) -> Locator:
    """The canvas with this data-testid, once it shows something."""
    canvas = page.get_by_test_id(testid)
    canvas.wait_for()
    wait_painted(canvas)
    return canvas


def first_slider(page: Page) -> tuple[Locator, int]:
    """The slider of the dimension that does most, and which dimension that is."""
    slider = page.locator("[data-testid^=latent-slider-]").first
    slider.wait_for()
    return slider, int((slider.get_attribute("data-testid") or "").rpartition("-")[2])


def wait_painted(canvas: Locator, more_than: int = 0) -> int:
    """Wait until a canvas was painted more than so many times; return how many."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    painted = 0
    while time.monotonic() < deadline:
        painted = int(canvas.get_attribute("data-painted") or 0)
        if painted > more_than:
            return painted
        time.sleep(0.02)
    raise TimeoutError(f"painted {painted} times, not more than {more_than}")


def wait_run(page: Page, timeout_ms: float = TIMEOUT_MS) -> None:
    """Wait until the page's script has run to its end, and no other run has begun meanwhile.

    Streamlit says that nothing runs for a moment before it says that something does.
    """
    deadline = time.monotonic() + timeout_ms / 1000
    while not page.evaluate(RESTED):
        assert time.monotonic() < deadline, "the page's script runs on and on"


def go_back(page: Page) -> None:
    """Press Back, once the app no longer takes the browser for one that has not heard of a URL."""
    page.wait_for_timeout(2000 * ON_ITS_WAY_SECONDS)
    page.go_back()


RESTED = """async () => {
  const rested = () => {
    const app = document.querySelector("[data-testid=stApp]");
    return app?.dataset.testScriptState === "notRunning"
      && app.dataset.testConnectionState === "CONNECTED";
  };
  for (let times = 0; times < 4; times += 1) {
    const before = rested();
    await new Promise((over) => { setTimeout(over, 50); });
    if (!before) return false;
  }
  return rested();
}"""
"""Whether nothing has run for 200 ms by the page's clock."""


def pixels(canvas: Locator) -> NDArray[np.int16]:
    """Grey values (H, W) of a canvas, 0 to 255."""
    return colours(canvas)[..., 0]


def colours(canvas: Locator) -> NDArray[np.int16]:
    """Red, green and blue (H, W, 3) of a canvas, 0 to 255."""
    url = canvas.evaluate("c => c.toDataURL('image/png')")
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(np.int16)


def wait_narrow(page: Page, width: int) -> None:
    """Wait until nothing reaches beyond a screen of this width, in CSS pixels."""
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


REST = """() => new Promise((rested) => {
  setTimeout(() => setTimeout(rested, 150), 150);
})"""
"""300 ms by the page's clock: where its script was busy, answers that wait come between the two."""


def settled_pixels(canvas: Locator) -> NDArray[np.int16]:
    """Grey values of a canvas that has not been painted again for 300 ms."""
    painted = wait_painted(canvas)
    while True:
        canvas.evaluate(REST)
        if (again := wait_painted(canvas)) == painted:
            return pixels(canvas)
        painted = again


def wait_shown(canvas: Locator, wanted: NDArray[Any], atol: float = GREY_LEVEL) -> None:
    """Wait until a canvas shows these values, (H, W) grey or (H, W, 3), each to within ``atol``."""
    read = pixels if wanted.ndim == 2 else colours
    _wait(canvas, lambda: np.testing.assert_allclose(read(canvas), wanted, atol=atol))


def wait_alike(canvas: Locator, wanted: NDArray[Any]) -> None:
    """Wait until a canvas shows these grey values (H, W), but for rounding of what was decoded."""
    _wait(canvas, lambda: assert_alike(pixels(canvas), wanted))


def wait_other(canvas: Locator, before: NDArray[Any], by: float = 2 * GREY_LEVEL) -> None:
    """Wait until a canvas shows something else: a pixel that differs by more than ``by``."""
    read = pixels if before.ndim == 2 else colours

    def check() -> None:
        assert np.abs(read(canvas) - before).max() > by

    _wait(canvas, check)


def assert_alike(one: NDArray[Any], other: NDArray[Any]) -> None:
    """Equal but for rounding: the CGAN decodes in bfloat16, and a link holds z in thousandths.

    Both move a few pixels on steep edges by several grey levels, and nothing else.
    """
    difference = np.abs(one - other)
    assert difference.mean() < 0.5
    assert np.mean(difference <= 3) > 0.98


def _wait(canvas: Locator, check: Callable[[], None]) -> None:
    """Repeat a check of a canvas until it holds, or tell how it does not."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        canvas.page.wait_for_timeout(50)
