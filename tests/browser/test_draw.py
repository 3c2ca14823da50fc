"""Drawing with a mouse and a finger: the model reads what is drawn while it is drawn."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Locator, Page, expect

from explorer import layout, settings
from tests.browser.conftest import (
    GREY_LEVEL,
    Server,
    canvas_of,
    pixels,
    settled_pixels,
    wait_other,
    wait_painted,
    wait_run,
    wait_shown,
)
from tests.browser.test_app import VAE, address, grey, z_in_link
from tests.browser.test_maps import PLACE
from training.checkpoint import Checkpoint, load

MANY = "mnist-dense-vae-h512-z10"
TWO = ((0.3, 0.32), (0.4, 0.2), (0.58, 0.18), (0.66, 0.32), (0.5, 0.58), (0.3, 0.8), (0.72, 0.8))
ONE = ((0.5, 0.15), (0.5, 0.5), (0.5, 0.85))
ELLIPSES = """(svg) => {
  const { xaxis, yaxis } = document.querySelector(".js-plotly-plot")._fullLayout;
  const across = xaxis._length / (xaxis.range[1] - xaxis.range[0]);
  const up = yaxis._length / (yaxis.range[1] - yaxis.range[0]);
  return [...svg.querySelectorAll("path")].map((path) => {
    const { x, y, width, height } = path.getBBox();
    return [xaxis.p2d(x + width / 2), yaxis.p2d(y + height / 2), width / across, height / up];
  });
}"""
"""Centre, width and height of each ellipse, in units of the plane."""


@pytest.fixture(scope="module")
def vae() -> Checkpoint:
    return load(settings.checkpoints_dir() / VAE)


def open_page(page: Page, server: Server, model: str = VAE, **query: object) -> Locator:
    """Open the page; returns its canvas."""
    page.goto(address(server, "draw", model=model, **query))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    settled_pixels(canvas_of(page, "live-image"))
    wait_run(page)
    return page.get_by_test_id("drawing")


def places(canvas: Locator, line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places on the screen of a line given in shares of the canvas."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    return [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in line]


def stroke(page: Page, canvas: Locator, line: Sequence[tuple[float, float]]) -> None:
    """Draw a line with the mouse and wait until Python has heard of it and drawn the page."""
    link = page.url
    first, *rest = places(canvas, line)
    page.mouse.move(*first)
    page.mouse.down()
    for place in rest:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    wait_elsewhere(page, link)


def wait_elsewhere(page: Page, link: str) -> None:
    """Wait until the link is another one, and the page is drawn."""
    page.wait_for_function("link => window.location.href !== link", arg=link)
    wait_run(page)


def read(vae: Checkpoint, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the encoder makes of an image (H, W): mean and standard deviations."""
    x = torch.from_numpy(seen.astype(np.float32))[None, None] / 255
    mu, log_var = vae.encode(x)
    return mu[0].numpy(), torch.exp(log_var[0] / 2).numpy()


def expect_mostly_ones(page: Page) -> None:
    """Six of the eight nearest real digits."""
    classes = page.get_by_text(re.compile(r"^classes( \d){8}$"))
    expect(classes).to_have_text(re.compile(r"( 1.*){6}"))


def test_a_drawing_is_read_while_it_is_drawn(page: Page, server: Server, vae: Checkpoint) -> None:
    canvas = open_page(page, server)
    expect(page.get_by_text("Draw a digit")).to_be_visible()
    image, point = page.get_by_test_id("live-image"), page.get_by_test_id("map-point")
    posterior = page.get_by_test_id("map-posterior")
    expect(posterior).to_be_hidden()
    link = page.url
    first, *rest = places(canvas, TWO)
    page.mouse.move(*first)
    page.mouse.down()
    expect(page.get_by_text("Draw a digit")).to_be_hidden()
    seen = page.get_by_test_id("drawing-seen")
    pictures, where, outlines = [settled_pixels(image)], [], []
    painted = 0
    for place in rest[1::2]:
        page.mouse.move(*place, steps=5)
        painted = wait_painted(seen, painted)
        wait_other(image, pictures[-1])
        pictures.append(settled_pixels(image))
        where.append(point.get_attribute("style"))
        outlines.append(posterior.locator("path").first.get_attribute("d"))
    assert page.url == link, "a rerun happened before the pen was lifted"
    for one, other in itertools.pairwise(pictures):
        assert np.abs(one - other).max() > 2 * GREY_LEVEL
    assert len(set(where)) == len(set(outlines)) == len(where) == 3
    page.mouse.up()
    wait_elsewhere(page, link)
    mu, _ = read(vae, settled_pixels(seen))
    np.testing.assert_allclose(z_in_link(page), mu, atol=2e-3)
    wait_shown(image, grey(vae, z_in_link(page)), 2 * GREY_LEVEL)


def test_the_ellipses_are_the_encoders_and_follow_zoom(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, TWO)
    mu, sigma = read(vae, settled_pixels(page.get_by_test_id("drawing-seen")))
    posterior = page.get_by_test_id("map-posterior")
    for zoom in (1, 0.1):
        page.evaluate(
            "([x, y, r]) => Plotly.relayout(document.querySelector('.js-plotly-plot'),"
            " {'xaxis.range': [x - r, x + r], 'yaxis.range': [y - r, y + r]})",
            [*mu.tolist(), 3 * zoom],
        )
        for k, shape in enumerate(posterior.evaluate(ELLIPSES), 1):
            np.testing.assert_allclose(shape[:2], mu, atol=5e-3)
            np.testing.assert_allclose(shape[2:], 2 * k * sigma, rtol=0.03)


def test_a_vertical_stroke_lies_among_ones(page: Page, server: Server) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, ONE)
    expect_mostly_ones(page)


def test_undo_and_clear(page: Page, server: Server) -> None:
    canvas = open_page(page, server)
    undo, clear = (page.get_by_test_id(f"drawing-{what}") for what in ("undo", "clear"))
    expect(undo).to_be_disabled()
    stroke(page, canvas, ONE)
    one = z_in_link(page)
    seen = page.get_by_test_id("drawing-seen")
    first = settled_pixels(seen)
    stroke(page, canvas, ((0.2, 0.5), (0.8, 0.5)))
    assert z_in_link(page) != one
    wait_other(seen, first, 100)
    link = page.url
    undo.click()
    wait_elsewhere(page, link)
    assert z_in_link(page) == one
    wait_shown(seen, first, 0)
    canvas.focus()
    page.keyboard.press("Control+z")
    expect(page.get_by_text("Draw a digit")).to_be_visible()
    wait_shown(seen, np.zeros((28, 28)), 0)
    wait_shown(canvas, np.zeros_like(pixels(canvas)), 0)
    expect(page.get_by_test_id("map-posterior")).to_be_hidden()
    stroke(page, canvas, TWO)
    expect(page.get_by_test_id("map-posterior")).to_be_visible()
    clear.click()
    expect(clear).to_be_disabled()
    expect(page.get_by_test_id("map-posterior")).to_be_hidden()
    wait_shown(seen, np.zeros((28, 28)), 0)


def visit(page: Page, name: str) -> None:
    """Go to another page of the same session, by its link in the sidebar."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    page.wait_for_url(re.compile(f"/{name.lower()}"))
    settled_pixels(canvas_of(page, "live-image"))
    wait_run(page)


def test_a_drawing_is_there_again_when_the_page_is(page: Page, server: Server) -> None:
    canvas = open_page(page, server)
    seen, posterior = page.get_by_test_id("drawing-seen"), page.get_by_test_id("map-posterior")
    stroke(page, canvas, ONE)
    one, seen_one = z_in_link(page), settled_pixels(seen)
    stroke(page, canvas, ((0.2, 0.5), (0.8, 0.5)))
    both, seen_both, paper = z_in_link(page), settled_pixels(seen), pixels(canvas)
    visit(page, "Sliders")
    visit(page, "Draw")
    expect(posterior).to_be_visible()
    expect(page.get_by_text("Draw a digit")).to_be_hidden()
    wait_shown(canvas, paper, 0)
    wait_shown(seen, seen_both, 0)
    assert z_in_link(page) == both
    link = page.url
    page.get_by_test_id("drawing-undo").click()
    wait_elsewhere(page, link)
    assert z_in_link(page) == one
    wait_shown(seen, seen_one, 0)


def test_a_latent_moved_elsewhere_stays_where_it_is_beside_the_drawing(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, ONE)
    seen, paper = settled_pixels(page.get_by_test_id("drawing-seen")), pixels(canvas)
    visit(page, "Sliders")
    page.get_by_role("button", name="Reset").click()
    page.wait_for_url(re.compile("[?&]z=0_0"))
    visit(page, "Draw")
    assert z_in_link(page) == [0, 0]
    wait_shown(canvas, paper, 0)
    wait_shown(page.get_by_test_id("drawing-seen"), seen, 0)
    expect(page.get_by_test_id("map-posterior")).to_be_hidden()
    image = page.get_by_test_id("live-image")
    wait_shown(image, grey(vae, [0, 0]))


def choose(page: Page, model: str) -> None:
    """Choose another model in the sidebar."""
    title = load(settings.checkpoints_dir() / model).card.title
    page.get_by_test_id("stSidebar").get_by_role("combobox").click()
    page.get_by_role("option", name=title, exact=True).click()


@pytest.mark.usefixtures("mnist")  # UMAP is shown of the images that are here
def test_a_model_chosen_elsewhere_reads_the_drawing_among_its_umap(
    page: Page, server: Server
) -> None:
    canvas = open_page(page, server, plane="umap")
    stroke(page, canvas, TWO)
    seen = settled_pixels(page.get_by_test_id("drawing-seen"))
    visit(page, "Sliders")
    choose(page, MANY)
    page.wait_for_url(re.compile(f"model={MANY}"))
    page.get_by_role("link", name="Draw").click()
    page.wait_for_url(re.compile(rf"/draw\?model={MANY}&z=([-\d.]+_){{9}}"))
    opened = load(settings.checkpoints_dir() / MANY)
    mu, _ = read(opened, seen)
    np.testing.assert_allclose(z_in_link(page), mu, atol=2e-3)
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    expect(page.get_by_text("UMAP knows no place for a new digit")).to_be_visible()
    expect(page.get_by_test_id("map-posterior")).to_be_hidden()
    expect(page.get_by_test_id("map-point")).to_be_visible()
    box = page.get_by_test_id("map-point").bounding_box()
    assert box is not None
    where = page.evaluate(PLACE, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    wanted = layout.of_checkpoint(opened, "umap").project(mu[None])[0]
    np.testing.assert_allclose(where, wanted, atol=0.05)


def test_pointing_at_the_map_keeps_the_drawing_and_a_click_moves_on(
    page: Page, server: Server
) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, TWO)
    drawn = z_in_link(page)
    image = page.get_by_test_id("live-image")
    before = settled_pixels(image)
    box = page.get_by_test_id("latent-map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.3
    page.mouse.move(x, y, steps=5)
    np.testing.assert_array_equal(settled_pixels(image), before)
    expect(page.get_by_test_id("map-posterior")).to_be_visible()
    link = page.url
    page.mouse.click(x, y)
    wait_elsewhere(page, link)
    assert z_in_link(page) != drawn
    expect(page.get_by_test_id("map-posterior")).to_be_hidden()


def test_another_model_reads_the_same_drawing(page: Page, server: Server) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, TWO)
    seen = settled_pixels(page.get_by_test_id("drawing-seen"))
    choose(page, MANY)
    page.wait_for_url(re.compile(rf"model={MANY}&z=([-\d.]+_){{9}}"))
    mu, _ = read(load(settings.checkpoints_dir() / MANY), seen)
    np.testing.assert_allclose(z_in_link(page), mu, atol=2e-3)
    np.testing.assert_array_equal(settled_pixels(page.get_by_test_id("drawing-seen")), seen)
    expect(page.get_by_test_id("map-posterior")).to_be_visible()


def test_a_finger_draws_and_does_not_scroll(
    chromium: Browser, server: Server, vae: Checkpoint
) -> None:
    with chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        page = context.new_page()
        canvas = open_page(page, server)
        fingers = context.new_cdp_session(page)
        first, *rest = places(canvas, ONE)
        top = canvas.bounding_box()
        for kind, (x, y) in (("touchStart", first), *(("touchMove", place) for place in rest)):
            points = [{"x": x, "y": y}]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        seen = canvas_of(page, "drawing-seen")
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_url(re.compile(r"[?&]z="))
        assert canvas.bounding_box() == top
        mu, _ = read(vae, settled_pixels(seen))
        np.testing.assert_allclose(z_in_link(page), mu, atol=2e-3)


def test_a_picture_is_uploaded_instead(page: Page, server: Server, vae: Checkpoint) -> None:
    canvas = open_page(page, server)
    stroke(page, canvas, TWO)
    link = page.url
    picture = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(picture).line([(100, 30), (100, 170)], fill=0, width=18)
    file = io.BytesIO()
    picture.save(file, "PNG")
    page.get_by_role("button", name="Upload").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "one.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    wait_elsewhere(page, link)
    expect(page.get_by_text("Instead of a drawing: your picture")).to_be_visible()
    expect(page.get_by_text("Draw a digit")).to_be_visible()
    mu, _ = read(vae, settled_pixels(page.get_by_test_id("drawing-seen")))
    np.testing.assert_allclose(z_in_link(page), mu, atol=2e-3)
    expect(page.get_by_test_id("map-posterior")).to_be_visible()
    expect_mostly_ones(page)


def test_a_real_digit_takes_the_drawings_place(page: Page, server: Server) -> None:
    open_page(page, server)
    page.get_by_role("button", name="A real digit").click()
    expect(page.get_by_text(re.compile(r"Instead of a drawing: a real \d, image"))).to_be_visible()
    seen = canvas_of(page, "drawing-seen")
    wait_other(seen, np.zeros((28, 28)), 200)
    expect(page.get_by_test_id("map-posterior")).to_be_visible()
