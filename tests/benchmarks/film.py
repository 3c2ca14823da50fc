"""The README's moving picture: ``python -m tests.benchmarks.film``.

Opens the map of a VAE in a real Chromium, leads the pointer over it along the classes, and keeps
what the screen shows: codes, and the picture that the decoder makes of the place pointed at. No
image of a data set is in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import FloatRect, Page

from explorer import settings
from tests.benchmarks import servers
from tests.benchmarks.browser import chromium

FILM = servers.PROJECT / ".readme" / "map.webp"
MODEL = "mnist-conv-vae-z2"
FRAMES = 72
FRAME_MS = 80
WIDTH = 760
MARGIN = 10
QUALITY = 75
HIDDEN = ".modebar, [data-testid=fps], [data-testid=stAlert]"
"""What is about the hand: while filming, only as many pictures a second come as are kept."""
PAINTED_MS = 60
"""From a move of the pointer to a picture that is surely painted."""


def main(out: Annotated[Path, typer.Option(help="Where the WebP is written.")] = FILM) -> None:
    """Film the map and write it as an animated WebP."""
    with servers.explorer(settings.checkpoints_dir()) as server, chromium() as browser:
        page = browser.new_page(viewport={"width": 1240, "height": 900})
        page.goto(f"{server.url}/map?model={MODEL}")
        first, *rest = (_small(frame) for frame in _film(page))
    out.parent.mkdir(exist_ok=True)
    first.save(out, save_all=True, append_images=rest, duration=FRAME_MS, quality=QUALITY, method=6)


def _film(page: Page) -> Iterator[bytes]:
    """The screen, frame by frame, as PNG."""
    pad = page.locator("[data-testid=latent-map][data-ready=true]")
    pad.wait_for()
    page.locator("[data-testid=live-image][data-painted]").wait_for()
    page.locator(HIDDEN).evaluate_all("all => all.forEach(e => (e.style.visibility = 'hidden'))")
    clip = _around(page)
    for turn in range(FRAMES):
        page.mouse.move(*_along_the_classes(page, turn / FRAMES))
        page.wait_for_timeout(PAINTED_MS)
        yield page.screenshot(clip=clip)


def _around(page: Page) -> FloatRect:
    """The map and the picture beside it."""
    pad, picture = (page.get_by_test_id(name) for name in ("latent-map", "live-image"))
    left, right = pad.bounding_box(), picture.bounding_box()
    assert left and right
    width = right["x"] + right["width"] - left["x"] + MARGIN
    height = left["y"] + left["height"] - right["y"] + MARGIN
    return {"x": left["x"], "y": right["y"] - MARGIN, "width": width, "height": height}


def _along_the_classes(page: Page, turn: float) -> tuple[float, float]:
    """The place on the screen of a point of the plane, on an eight through most classes."""
    angle = 2 * math.pi * turn
    z = (-0.8 + 1.6 * math.cos(angle), 0.3 + 1.9 * math.sin(2 * angle))
    x, y = page.evaluate(
        """([z1, z2]) => {
            const plot = document.querySelector(".js-plotly-plot");
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(z1),
                    box.top + yaxis._offset + yaxis.d2p(z2)];
        }""",
        z,
    )
    return x, y


def _small(png: bytes) -> Image.Image:
    """A frame as wide as a README."""
    frame = Image.open(io.BytesIO(png)).convert("RGB")
    return frame.resize(
        (WIDTH, round(frame.height * WIDTH / frame.width)), Image.Resampling.LANCZOS
    )


if __name__ == "__main__":
    typer.run(main)
