"""Sliders along directions, and a lasso on the map, in a real browser."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from explorer import directions, settings
from tests.browser.conftest import (
    Server,
    canvas_of,
    settled_pixels,
    wait_run,
    wait_shown,
)
from tests.browser.test_maps import PLACE
from training.checkpoint import Checkpoint, load

VAE = "mnist-dense-vae-h512-z10"
STEEP = 2
"""Codes in a component are told with six decimals, and the atlas holds them in float16."""

SIDE = 80
"""Of a square lasso, in CSS pixels."""
INSIDE = """([x, y, side]) => {
  const plot = document.querySelector('.js-plotly-plot');
  const { xaxis, yaxis } = plot._fullLayout;
  const inside = (value, axis, from) => {
    const at = axis._offset + axis.d2p(value) - from;
    return at > 0 && at < side;
  };
  return plot.data.reduce((sum, trace) => sum + [...trace.x].filter((value, i) =>
    inside(value, xaxis, x) && inside(trace.y[i], yaxis, y)).length, 0);
}"""
"""How many marks lie in a square of the map, from its upper left corner."""

HELD = """() => document.querySelector(".js-plotly-plot").data
  .reduce((sum, trace) => sum + (trace.selectedpoints?.length ?? 0), 0)"""
"""How many marks Plotly's own lasso holds."""

HALO = """(group) => {
  const { xaxis, yaxis } = document.querySelector(".js-plotly-plot")._fullLayout;
  const path = group.querySelector("path");
  const { x, y, width, height } = path.getBBox();
  const [left, right, bottom, top] = [x + 5, x + width - 5, y + height - 5, y + 5];
  const box = [xaxis.p2d(left), xaxis.p2d(right), yaxis.p2d(bottom), yaxis.p2d(top)];
  return [path.getAttribute("d").split("M").length - 1, group.textContent, box];
}"""
"""How many marks of a group lines are drawn around, its name, and where those marks lie."""


@pytest.fixture(scope="module")
def vae() -> Checkpoint:
    return load(settings.checkpoints_dir() / VAE)


@pytest.fixture(scope="module")
def base(vae: Checkpoint) -> np.ndarray:
    """The code of a real 3, as a link holds it."""
    atlas = vae.atlas()
    first = int((atlas["labels"] == 3).nonzero()[0, 0])
    return atlas["mu"][first].float().numpy().round(3)


def between(vae: Checkpoint, a: int, b: int) -> np.ndarray:
    atlas = vae.atlas()
    return directions.between_classes(atlas["mu"].float().numpy(), atlas["labels"].numpy(), a, b)


def grey(vae: Checkpoint, z: np.ndarray) -> np.ndarray:
    return (vae.decode(torch.from_numpy(z)[None].float())[0, 0] * 255).round().numpy()


def open_sliders(page: Page, server: Server, z: np.ndarray, **link: str) -> None:
    text = "_".join(f"{value:.3f}" for value in z)
    rest = "".join(f"&{key}={quote(value)}" for key, value in link.items())
    page.goto(f"{server.url}/sliders?model={VAE}&z={text}{rest}")


def wait_for_latent(page: Page, z: np.ndarray) -> None:
    """Wait until the link holds a latent, but for rounding to thousandths."""

    def holds(url: str) -> bool:
        text = parse_qs(urlsplit(url).query).get("z", [""])[0]
        found = np.array(text.split("_") if text else [], np.float64)
        return found.shape == z.shape and bool(np.abs(found - z).max() < 0.002)

    page.wait_for_url(holds)


def drag(page: Page, testid: str, shares: tuple[float, ...]) -> float:
    """Press a slider's thumb at its middle, move it, let go; returns its value."""
    slider = page.get_by_test_id(testid)
    box = slider.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for share in shares:
        page.mouse.move(box["x"] + box["width"] * share, y)
    value = float(slider.input_value())
    page.mouse.up()
    return value


def test_dragging_a_direction_adds_it_and_zero_brings_back_the_image(
    page: Page, server: Server, vae: Checkpoint, base: np.ndarray
) -> None:
    open_sliders(page, server, base, along="own", dirs="3 to 8!c3-8~1 to 7!c1-7")
    image = canvas_of(page, "live-image")
    wait_shown(image, grey(vae, base))
    before = settled_pixels(image)
    wait_run(page)
    first, second = between(vae, 3, 8), between(vae, 1, 7)
    t = drag(page, "latent-slider-own-0", (0.6, 0.7, 0.75))
    assert 0.8 < t < 1.2
    wait_for_latent(page, base + t * first)
    wait_shown(image, grey(vae, base + t * first), STEEP)
    wait_run(page)
    s = drag(page, "latent-slider-own-1", (0.4,))
    wait_for_latent(page, base + t * first + s * second)
    wait_shown(image, grey(vae, base + t * first + s * second), STEEP)
    for testid in ("latent-slider-own-0", "latent-slider-own-1"):
        page.get_by_test_id(testid).evaluate(
            "slider => { slider.value = 0; slider.dispatchEvent(new Event('input'));"
            "slider.dispatchEvent(new Event('change')); }"
        )
    wait_for_latent(page, base)
    wait_shown(image, before, 0)


def test_a_direction_is_live_and_its_filmstrip_leads_there(
    page: Page, server: Server, vae: Checkpoint, base: np.ndarray
) -> None:
    open_sliders(page, server, base, along="own", dirs="3 to 8!c3-8")
    image = canvas_of(page, "live-image")
    settled_pixels(image)
    vector = between(vae, 3, 8)
    frames = [grey(vae, base + t * vector) for t in np.linspace(-2, 2, 11)]
    wait_shown(canvas_of(page, "filmstrip-own-0"), np.hstack(frames), STEEP)
    wait_run(page)
    link = page.url
    slider = page.get_by_test_id("latent-slider-own-0")
    slider.focus()
    slider.evaluate("s => { s.value = 1; s.dispatchEvent(new Event('input')); }")
    wait_shown(image, grey(vae, base + vector), STEEP)
    assert page.url == link, "a rerun happened before the slider was let go"


def test_a_principal_direction_moves_along_its_line(
    page: Page, server: Server, vae: Checkpoint, base: np.ndarray
) -> None:
    open_sliders(page, server, base, along="principal")
    image = canvas_of(page, "live-image")
    settled_pixels(image)
    row = vae.atlas()["pca_components"][0].numpy()
    mean = vae.atlas()["pca_mean"].numpy()
    slider = page.get_by_test_id("latent-slider-principal-0")
    at = float(row @ (base - mean))
    assert float(slider.input_value()) == pytest.approx(at, abs=0.011)  # in steps of 0.01
    slider.evaluate(
        "s => { s.value = 1.5; s.dispatchEvent(new Event('input'));"
        "s.dispatchEvent(new Event('change')); }"
    )
    wait_for_latent(page, base + (1.5 - at) * row)
    wait_shown(image, grey(vae, base + (1.5 - at) * row), STEEP)


def test_what_matters_comes_first_and_the_rest_on_demand(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    page.goto(f"{server.url}/sliders?model={VAE}")
    canvas_of(page, "live-image")
    order = directions.ranked(vae.atlas()["kl"].numpy())
    sliders = page.locator("[data-testid^=latent-slider-]")
    expect(sliders).to_have_count(10)
    ids = sliders.evaluate_all("all => all.map(one => one.dataset.testid)")
    assert ids == [f"latent-slider-{i}" for i in order]
    expect(page.get_by_text("2.33 nats")).to_be_visible()
    shown = page.locator("[data-testid^=latent-slider-]:visible")
    expect(shown).to_have_count(8)
    assert shown.evaluate_all("all => all.map(one => one.dataset.testid)") == ids[:8]
    page.get_by_test_id("more-sliders").click()
    expect(shown).to_have_count(10)


def test_a_direction_is_made_by_hand(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/sliders?model={VAE}")
    canvas_of(page, "live-image")
    page.get_by_role("radio", name="Your directions").click()
    page.get_by_role("button", name="Make").click()
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url(re.compile("dirs="))
    canvas_of(page, "filmstrip-own-0")
    expect(page.get_by_test_id("latent-slider-own-0")).to_have_value("0")


@pytest.mark.parametrize("selected", ["", "test-5"])
def test_a_lasso_on_the_map_makes_a_group(page: Page, server: Server, selected: str) -> None:
    page.goto(f"{server.url}/map?model={VAE}" + (f"&selected={selected}" if selected else ""))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    pad = page.get_by_test_id("latent-map")
    mode = "document.querySelector('.js-plotly-plot')._fullLayout.dragmode"
    assert page.evaluate(mode) == "pan", "pointing and panning come first"
    page.get_by_text("Make a direction from two groups").click()
    pad.hover(position={"x": 200, "y": 200})
    page.locator("[data-attr=dragmode][data-val=lasso]").click()
    for side, x in (("A", 200), ("B", 320)):
        wait_run(page)
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        assert box is not None
        left, top = box["x"] + x, box["y"] + 230
        (low_x, high_y), (high_x, low_y) = (
            page.evaluate(PLACE, [left + by, top + by]) for by in (-1, SIDE + 1)
        )
        page.mouse.move(left, top)
        page.mouse.down()
        for dx, dy in ((SIDE, 0), (SIDE, SIDE), (0, SIDE), (0, 0)):
            page.mouse.move(left + dx, top + dy, steps=4)
        page.mouse.up()
        held = page.evaluate(HELD)
        expect(page.get_by_text(f"In the lasso: {held:,} marks.")).to_be_visible()
        page.get_by_role("button", name=f"Take as group {side}").click()
        taken = page.get_by_role("button", name=re.compile(rf"Group {side}: [\d,]+ marks"))
        expect(taken).to_be_visible()
        wait_run(page)
        count = int(re.sub(r"\D", "", taken.inner_text()))
        assert count == pytest.approx(page.evaluate(INSIDE, [x, 230, SIDE]), rel=0.03)
        marks, name, around = page.get_by_test_id(f"map-group-{side}").evaluate(HALO)
        assert (marks, name) == (count, side)
        assert low_x < around[0] < around[1] < high_x
        assert low_y < around[2] < around[3] < high_y
    page.evaluate(
        "Plotly.relayout(document.querySelector('.js-plotly-plot'), {'xaxis.range': [-9, 9]})"
    )
    zoomed = page.get_by_test_id("map-group-B").evaluate(HALO)[2]
    np.testing.assert_allclose(zoomed, around, atol=0.02)
    page.get_by_role("button", name="Make a direction from A to B").click()
    expect(page.get_by_test_id("map-group-A")).to_be_attached()
    page.get_by_role("button", name="Clear both groups").click()
    expect(page.get_by_test_id("map-group-A")).not_to_be_attached()
    page.get_by_role("button", name="Try it on the Sliders page").click()
    canvas_of(page, "filmstrip-own-0")
    page.wait_for_url(re.compile("dirs="))
