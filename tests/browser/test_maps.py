"""Maps of more than two latents, and of generators: what a place shows is what it stands for."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest
import torch
from playwright.sync_api import BrowserContext, FloatRect, Page, expect

from explorer import layout, settings
from tests.browser.conftest import (
    Server,
    canvas_of,
    settled_pixels,
    wait_alike,
    wait_other,
    wait_painted,
    wait_run,
)
from tests.browser.test_app import address, z_in_link
from training.atlas import sample_codes
from training.checkpoint import load

MANY = "mnist-dense-vae-h512-z10"
CGAN = "mnist-cgan"
GAN = "mnist-mlp-gan"
PLACE = """([x, y]) => {
  const plot = document.querySelector(".js-plotly-plot");
  const { xaxis, yaxis } = plot._fullLayout;
  const box = plot.getBoundingClientRect();
  return [xaxis.p2d(x - box.left - xaxis._offset), yaxis.p2d(y - box.top - yaxis._offset)];
}"""


def open_map(page: Page, server: Server, model: str, **query: object) -> FloatRect:
    page.goto(address(server, "map", model=model, **query))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    wait_run(page)
    box = page.get_by_test_id("latent-map").bounding_box()
    assert box is not None
    return box


@pytest.mark.usefixtures("mnist")  # UMAP is shown of the images that are here
@pytest.mark.parametrize(
    ("model", "plane"), [(MANY, "pca"), (MANY, "umap"), (CGAN, "umap"), (GAN, "pca")]
)
def test_what_is_pointed_at_is_decoded(page: Page, server: Server, model: str, plane: str) -> None:
    box = open_map(page, server, model, plane=plane)
    opened = load(settings.checkpoints_dir() / model)
    plan = layout.of_checkpoint(opened, plane)
    image = canvas_of(page, "live-image")
    link = page.url
    for share in ((0.3, 0.4), (0.5, 0.6), (0.6, 0.3)):
        x, y = box["x"] + box["width"] * share[0], box["y"] + box["height"] * share[1]
        painted = wait_painted(image)
        page.mouse.move(x, y)
        wait_painted(image, painted)
        place = np.array([page.evaluate(PLACE, [x, y])], np.float32)
        y_asked = None
        if plan.asked is not None:
            nearest = ((plan.points - place) ** 2).sum(1).argmin()
            y_asked = torch.tensor([plan.asked[nearest]])
        expected = opened.decode(torch.from_numpy(plan.decoded(place)), y_asked)[0, 0]
        wait_alike(image, (expected * 255).round().numpy())
    assert page.url == link, "pointing caused a rerun"


def test_a_sample_is_selected_and_comes_back_by_its_link(page: Page, server: Server) -> None:
    box = open_map(page, server, CGAN, plane="umap")
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.wait_for_url(re.compile(r"selected=drawn-\d+"))
    picture = page.get_by_role("img", name=re.compile("selected-sample"))
    expect(picture).to_be_visible()
    [index] = re.findall(r"selected=drawn-(\d+)", page.url)
    z = load(settings.checkpoints_dir() / CGAN).card.latent_dim
    np.testing.assert_allclose(
        z_in_link(page), sample_codes(int(index) + 1, z)[-1].numpy(), atol=1e-3
    )
    page.goto(page.url)
    expect(page.get_by_text(f"sample {int(index):,}, asked for")).to_be_visible()


def test_the_plane_changes_under_the_same_model(page: Page, server: Server) -> None:
    open_map(page, server, GAN)
    title = "document.querySelector('.js-plotly-plot').layout.xaxis.title.text"
    assert "of the variance" in page.evaluate(title)
    page.get_by_role("radio", name="UMAP").click()
    page.wait_for_function(f"{title} === 'UMAP 1'")
    page.wait_for_url(re.compile("plane=umap"))
    counts = "document.querySelector('.js-plotly-plot').data.map(trace => trace.x.length)"
    assert sum(page.evaluate(counts)) == 10_000


def test_the_point_of_a_map_of_samples_stands_on_the_sample_that_is_shown(
    page: Page, server: Server
) -> None:
    open_map(page, server, GAN, plane="umap", seed=3)
    canvas_of(page, "live-image")
    point = page.get_by_test_id("map-point")
    expect(point).to_be_hidden()  # what this seed stands for is none of the samples
    page.get_by_test_id("latent-map").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"selected=drawn-\d+"))
    expect(point).to_be_visible()
    page.goto(page.url)
    expect(point).to_be_visible()


def test_arrow_keys_walk_over_samples(page: Page, server: Server) -> None:
    open_map(page, server, GAN, plane="umap")
    image = canvas_of(page, "live-image")
    before = settled_pixels(image)
    page.get_by_test_id("latent-map").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_url(re.compile(r"[?&]z="))
    expect(page.get_by_test_id("map-point")).to_be_visible()
    wait_other(image, before, 2)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_buttons_of_the_map_cover_nothing_and_send_nothing_away(
    context: BrowserContext, server: Server, theme: Literal["light", "dark"]
) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=theme)
    box = open_map(page, server, "mnist-conv-vae-z2")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    bar, legend = page.locator(".modebar"), page.locator(".legend")
    expect(bar).to_have_css("opacity", "1")
    titles = bar.locator(".modebar-btn").evaluate_all("all => all.map(e => e.dataset.title)")
    assert titles[0] == "Download plot as a PNG"
    assert not [title for title in titles if re.search("share|cloud|studio", title, re.I)]
    group = bar.locator(".modebar-group").first
    expect(group).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    below, above = legend.bounding_box(), bar.bounding_box()
    assert below and above
    assert above["y"] + above["height"] <= below["y"]


def test_plotly_comes_before_the_map_is_opened_once_nothing_is_touched(
    page: Page, server: Server
) -> None:
    page.goto(address(server, "sliders", model=MANY))
    canvas_of(page, "live-image")
    for step in range(30):  # three seconds, more than a rest
        page.mouse.move(700 + step, 500)
        page.wait_for_timeout(100)
    assert page.evaluate("typeof window.Plotly") == "undefined"
    page.wait_for_function("window.Plotly")


def test_plotly_that_failed_to_come_at_rest_comes_with_the_map(
    context: BrowserContext, server: Server
) -> None:
    page = context.new_page()  # the browser writes of the failure into the console
    page.route("**/plotly.min.js", lambda route: route.abort(), times=1)
    with page.expect_event("requestfailed"):
        page.goto(address(server, "sliders", model=MANY))
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Map").click()
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()


def test_a_map_comes_although_plotly_failed_with_the_page(
    context: BrowserContext, server: Server
) -> None:
    page = context.new_page()  # the browser writes of the failure into the console
    page.route("**/plotly.min.js", lambda route: route.abort(), times=1)
    page.goto(address(server, "map", model=MANY))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
