"""The start page in a real browser on the shipped checkpoints."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from explorer import tiles
from tests.browser.conftest import Server, canvas_of, wait_narrow, wait_run

CGAN = "mnist-cgan"
IN_ONE_COLUMN = """() => {
  const cells = [...document.querySelectorAll("[data-testid=stGridCell]")];
  return new Set(cells.map((cell) => cell.getBoundingClientRect().x)).size === 1;
}"""
"""Whether all tiles stand one below another."""


def tile(page: Page, title: str):
    """The tile of a model."""
    heading = page.get_by_role("heading", name=title, exact=True)
    return page.get_by_test_id("stGridCell").filter(has=heading)


@pytest.fixture
def models(page: Page, server: Server) -> Page:
    """The page, drawn to its end."""
    page.goto(server.url)
    wait_run(page)
    tile(page, "Conditional GAN").wait_for()
    return page


def test_a_tile_opens_the_sliders_with_its_model(models: Page) -> None:
    one = tile(models, "Conditional GAN")
    expect(one.get_by_role("img", name="Samples of Conditional GAN")).to_be_visible()
    one.get_by_role("button", name="Sliders").click()
    canvas_of(models, "live-image")
    expect(models).to_have_url(re.compile(rf"/sliders\?model={CGAN}"))
    models.get_by_test_id("class-7").wait_for()  # a conditional model's
    models.get_by_role("link", name="Models").click()
    tile(models, "Conditional GAN").wait_for()
    expect(models).not_to_have_url(re.compile("model="))


def test_the_first_button_opens_a_map_that_decodes(models: Page) -> None:
    models.get_by_role("button", name="Start").click()
    models.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    canvas_of(models, "live-image")
    models.wait_for_url(re.compile(r"/map\?model="))


def test_filters_narrow_the_tiles_and_go_into_the_link(models: Page) -> None:
    headings = models.get_by_role("heading", level=5)
    every = headings.count()
    models.get_by_role("button", name="Conditional GAN", exact=True).click()
    models.wait_for_url(re.compile(r"\?family=cgan$"))
    expect(headings).to_have_count(1)
    models.get_by_role("button", name="Clear the filters").click()
    expect(headings).to_have_count(every)
    models.get_by_label("Search").press_sequentially("conditional")
    expect(headings).to_have_count(1)  # while one types
    models.wait_for_url(re.compile(r"\?find=conditional$"))


def test_its_words_are_explained_to_newcomers(models: Page) -> None:
    models.get_by_role("button", name="What are VAEs and GANs?").click()
    explained = models.get_by_role("listitem").filter(has_text="variational autoencoder")
    expect(explained).to_be_visible()
    for family in tiles.FACETS["family"].words.values():
        if family != "Decoder":
            expect(models.locator("li strong").get_by_text(family, exact=True)).to_be_visible()


def test_every_page_has_a_title_of_its_own(models: Page) -> None:
    expect(models).to_have_title("Latent Explorer")
    models.get_by_role("link", name="Lessons").click()
    expect(models).to_have_title("Lessons · Latent Explorer")
    models.get_by_role("link", name="Models").click()
    expect(models).to_have_title("Latent Explorer")


def test_an_old_link_to_the_map_opens_the_map(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?model=mnist-conv-vae-z2&z=0.5_-0.5")
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    page.wait_for_url(re.compile(r"/map\?model=mnist-conv-vae-z2&z=0\.5_-0\.5"))


def test_on_a_phone_there_is_one_column_and_nothing_is_cut_off(models: Page) -> None:
    models.set_viewport_size({"width": 390, "height": 844})
    wait_narrow(models, 390)
    cells = models.get_by_test_id("stGridCell")
    expect(cells.nth(2)).to_be_visible()
    models.wait_for_function(IN_ONE_COLUMN)  # the grid is laid out anew after the page is
    boxes = [cell.bounding_box() for cell in cells.all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
