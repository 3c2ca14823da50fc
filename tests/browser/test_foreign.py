"""A stranger's decoder, dropped into the folder, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    Server,
    canvas_of,
    first_slider,
    settled_pixels,
    wait_painted,
    wait_shown,
)
from tests.browser.test_models import tile
from tests.foreign import conditional, gradients, keras, weights, write
from training.onnx_files import open_any
from training.watch import free_port

TITLE = "Takes orders"
SIDE = 700
"""Pixels along a side of images of which one answer has 11, and four filmstrips 12."""


@pytest.fixture
def brought(tmp_path: Path) -> Iterator[Server]:
    """The app on a folder with a conditional decoder in colour, and one that is damaged."""
    write(
        tmp_path / "orders",
        conditional(),
        title=TITLE,
        classes=["left", "right", "up"],
        image_range=[0, 1],
    )
    write(tmp_path / "bad", b"nothing")
    one = Server(free_port(), ["--checkpoints", str(tmp_path)])
    one.start()
    yield one
    one.stop()


def test_images_too_large_for_one_answer_are_all_drawn(
    page: Page, brought: Server, tmp_path: Path
) -> None:
    large = write(tmp_path / "large", gradients(SIDE), image_shape=[3, SIDE, SIDE])
    page.goto(f"{brought.url}/sliders?model=large&z=0.5_-1_2_0")
    canvas_of(page, "live-image")
    films = page.locator("[data-testid^=filmstrip-]")
    expect(films).to_have_count(4)
    for row in range(4):
        film = films.nth(row)
        wait_painted(film)
        axis = int((film.get_attribute("data-testid") or "").rpartition("-")[2])
        edge = float(page.get_by_test_id(f"latent-slider-{axis}").get_attribute("max") or 0)
        z = torch.tensor([[0.5, -1, 2, 0]] * 3)
        z[:, axis] = torch.tensor([-edge, 0, edge])
        drawn = (open_any(large).decode(z) * 255).round().permute(0, 2, 3, 1).numpy()
        wait_shown(film, np.hstack(list(drawn)))


def test_latents_too_many_for_one_request_are_all_drawn(
    page: Page, brought: Server, tmp_path: Path
) -> None:
    """A filmstrip's hundred codes of 4,096 numbers are more than the server takes at once."""
    d = 4096
    z = {"z": (TensorProto.FLOAT, ["n", d])}
    many = keras(inputs=z, constants={"w": weights(d) / 64})
    write(tmp_path / "many", many, latent_dim=d)
    page.goto(f"{brought.url}/sliders?model=many")
    canvas_of(page, "live-image")
    films = page.locator("[data-testid^=filmstrip-]")
    for row in range(3):  # those in view
        wait_painted(films.nth(row))
    page.wait_for_timeout(1000)
    expect(page.get_by_text("The server is not answering")).to_have_count(0)


def test_a_decoder_is_found_dragged_and_asked_for_a_class(
    page: Page, brought: Server, tmp_path: Path
) -> None:
    page.goto(brought.url)
    expect(page.get_by_text("is not an ONNX file")).to_be_visible()
    tile(page, TITLE).get_by_role("button", name="Sliders").click()
    image = canvas_of(page, "live-image")
    slider, axis = first_slider(page)
    page.get_by_test_id("class-1").click()
    page.wait_for_url(re.compile("class=1"))
    url, painted = page.url, wait_painted(image)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=6)
    wait_painted(image, painted)
    settled_pixels(image)
    assert page.url == url, "dragging caused a rerun"
    page.mouse.up()
    page.wait_for_function("before => location.href !== before", arg=url)
    [told] = re.findall(r"[?&]z=([-0-9._]+)", page.url)
    z = torch.tensor([[float(value) for value in told.split("_")]])
    assert z[0, axis] == pytest.approx(float(slider.input_value()), abs=1e-3)
    settled_pixels(image)
    expected = open_any(tmp_path / "orders").decode(z, torch.tensor([1]))[0]
    drawn = (expected * 255).round().permute(1, 2, 0).numpy()
    wait_shown(image, drawn, 2)  # a link holds z in thousandths
