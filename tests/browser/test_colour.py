"""Colour in a real browser: a VAE of one's own pictures, beside which their originals stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    Server,
    canvas_of,
    colours,
    settled_pixels,
    wait_other,
    wait_painted,
    wait_shown,
)
from tests.browser.test_app import address
from tests.explorer.conftest import conv_vae, make_checkpoint, write_pictures
from training.data import ImageData, load
from training.watch import free_port

CLASSES = ("blue things", "red things")
SHAPES = {"small": (3, 32, 32), "large": (3, 160, 160)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with pictures of one's own, five of each class to test with."""
    root = tmp_path_factory.mktemp("photos")
    for split in ("train", "test"):
        write_pictures(root / split, CLASSES, 5, 160)
    return root


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[Server]:
    """The app on a small and a large colour VAE of two latents."""
    zoo = tmp_path_factory.mktemp("colour-zoo")
    for name, shape in SHAPES.items():
        make_checkpoint(zoo / name, conv_vae(2, (4, 8), 8, shape), classes=CLASSES)
    one = Server(free_port(), ["--checkpoints", str(zoo), "--data", str(pictures)])
    one.start()
    yield one
    one.stop()


def originals(root: Path, model: str) -> ImageData:
    return load(root, "photos", "test", SHAPES[model])


@pytest.mark.parametrize("model", SHAPES)
def test_the_map_follows_the_pointer_in_colour_and_selects_a_real_image(
    page: Page, colour: Server, model: str
) -> None:
    page.goto(address(colour, "map", model=model))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    box = page.get_by_test_id("latent-map").bounding_box()
    assert box is not None
    image = canvas_of(page, "live-image")
    seen = []
    for x, y in ((0.25, 0.3), (0.6, 0.6)):
        settled_pixels(image)
        before = colours(image)
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        wait_other(image, before)
        settled_pixels(image)
        seen.append(colours(image))
    assert np.abs(seen[0] - seen[1]).max() > 2
    assert seen[0].shape == (*SHAPES[model][1:], 3)
    assert np.ptp(seen[0], axis=2).max() > 2, "grey"
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.wait_for_url(re.compile(r"selected=folder-\d"))
    picture = page.get_by_role("img", name=re.compile("selected-original"))
    expect(picture).to_be_visible()
    times = 160 // SHAPES[model][1]
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == (
        SHAPES[model][1] * times
    )


@pytest.mark.parametrize("model", SHAPES)
def test_a_strip_stands_between_its_originals(
    page: Page, colour: Server, pictures: Path, model: str
) -> None:
    page.goto(address(colour, "morph", model=model, a="folder-1", b="folder-8", frames=5))
    wait_painted(page.get_by_test_id("strip"))
    real = originals(pictures, model).images.permute(0, 2, 3, 1).numpy()
    for side, index in (("start", 1), ("end", 8)):
        wait_shown(page.get_by_test_id(f"original-{side}"), real[index], 0)
    columns = page.get_by_test_id("strip").locator("figure")
    expect(columns).to_have_count(7)
    for column in (columns.first, columns.last):
        expect(column).to_have_class("original")


@pytest.mark.parametrize(("model", "frames"), [("small", 11), ("large", 5)])
def test_a_filmstrip_of_large_images_has_fewer_frames(
    page: Page, colour: Server, model: str, frames: int
) -> None:
    page.goto(address(colour, "sliders", model=model, z="0_0"))
    film = canvas_of(page, "filmstrip-0")
    height, width = SHAPES[model][1:]
    assert settled_pixels(film).shape == (height, frames * width)
    box = film.bounding_box()
    assert box is not None
    film.click(position={"x": box["width"] - 3, "y": box["height"] / 2})
    edge = float(page.get_by_test_id("latent-slider-0").get_attribute("max") or 0)
    page.wait_for_url(re.compile(rf"z={edge:.0f}_0"))


@pytest.mark.parametrize("path", ["map", "sliders", "morph"])
def test_a_narrow_screen_is_not_scrolled_sideways(page: Page, colour: Server, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(address(colour, path, model="large", selected="folder-3"))
    wait_painted(canvas_of(page, "live-image"))
    main = page.get_by_test_id("stMain")
    assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 1
