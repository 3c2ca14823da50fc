"""A stranger's decoder, dropped into the folder, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
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
from tests.foreign import conditional, write
from training.onnx_files import open_any
from training.watch import free_port

TITLE = "Takes orders"


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
