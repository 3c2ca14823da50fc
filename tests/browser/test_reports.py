"""The reports' figures and their downloads, in a real browser on the shipped checkpoints."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from explorer import settings
from tests.browser.conftest import TIMEOUT_MS, Server
from training.checkpoint import load

VAE = "mnist-conv-vae-z2"


def drawn(page: Page) -> Locator:
    """The first figure, once Plotly has drawn it."""
    figure = page.get_by_test_id("figure").first
    figure.wait_for()
    page.locator("[data-testid=figure][data-ready=true]").first.wait_for()
    return figure


def save(page: Page, button: Locator) -> bytes:
    """What a button downloads; its name says what it is."""
    with page.expect_download() as waiting:
        button.click()
    return Path(waiting.value.path()).read_bytes()


@pytest.fixture
def reports(page: Page, server: Server) -> Page:
    """R3's page, with its first figure drawn."""
    page.goto(f"{server.url}/reports?report=R3")
    drawn(page)
    return page


def test_a_report_is_chosen_and_its_losses_are_drawn(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/reports")
    page.get_by_role("radio", name="R3", exact=True).click()
    page.wait_for_url(f"**/reports?report=R3&row={VAE}")
    history = load(settings.checkpoints_dir() / VAE).history()
    last = f"{history['test']['total'][-1]:.4g} at {len(history['test']['total'])}"
    told = re.compile(rf"^Total and reconstruction\. .*{re.escape(last)}")
    figure = drawn(page)
    expect(figure).to_have_attribute("aria-label", told)
    expect(figure.locator(".scatterlayer .trace")).to_have_count(4)  # two losses, two splits


def test_a_figure_is_saved_as_png_and_svg(reports: Page) -> None:
    png = Image.open(io.BytesIO(save(reports, reports.get_by_test_id("figure-png").first)))
    assert (png.format, png.size) == ("PNG", (2000, 1120))
    assert np.asarray(png.convert("L")).std() > 5  # something is on it
    svg = ET.fromstring(save(reports, reports.get_by_test_id("figure-svg").first))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Total and reconstruction" in "".join(svg.itertext())


def test_a_figures_csv_is_the_history(reports: Page) -> None:
    button = reports.get_by_test_id("stDownloadButton").get_by_text("CSV").first
    _, *lines = csv.reader(io.StringIO(save(reports, button).decode()))
    history = load(settings.checkpoints_dir() / VAE).history()
    for split, parts in history.items():
        total = [(int(x), float(y)) for name, x, y in lines if name == f"Total, {split}"]
        assert total == list(enumerate(parts["total"], 1))


def test_samples_are_saved_as_png(reports: Page) -> None:
    button = reports.get_by_test_id("stDownloadButton").get_by_text("PNG").first
    picture = Image.open(io.BytesIO(save(reports, button)))
    assert picture.format == "PNG"
    rows = len(load(settings.checkpoints_dir() / VAE).timeline()) + 1  # and as shipped
    assert rows > 2
    width, height = (count * 30 - 2 for count in (10, rows))  # 28 pixels each, with gaps of 2
    assert picture.size == (2 * width, 2 * height)


def test_every_code_of_the_plane_is_drawn(reports: Page) -> None:
    plane = reports.locator("[data-testid=figure][aria-label^=Codes][data-ready=true]")
    plane.wait_for()
    counted = plane.evaluate("p => p.data.reduce((n, trace) => n + trace.x.length, 0)")
    assert counted == len(load(settings.checkpoints_dir() / VAE).atlas()["mu"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_fits_a_narrow_screen_in_the_themes_colours(
    chromium: Browser, server: Server, scheme: Literal["light", "dark"]
) -> None:
    with chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme) as one:
        one.set_default_timeout(TIMEOUT_MS)
        page = one.new_page()
        page.goto(f"{server.url}/reports?report=R3")
        box = drawn(page).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert 250 < box["width"] <= 390 - box["x"]
        paper = page.locator("[data-testid=figure] .main-svg").first.evaluate(
            "svg => getComputedStyle(svg).backgroundColor"
        )
        page_colour = page.get_by_test_id("stApp").evaluate(
            "app => getComputedStyle(app).backgroundColor"
        )
        assert paper == page_colour
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 22, 28)"}[scheme]


def test_a_figures_margins_come_to_rest_at_every_width(reports: Page) -> None:
    """Where they do not, Plotly complains in the console, which must stay empty."""
    reports.evaluate(
        """async () => {
            const figure = document.querySelector("[data-testid=figure]");
            for (const first of [0.0375, 0.00375, -0.0375]) {
                const x = [1, 2, 3], fall = [1, 0.645, 0.29];
                for (let width = 560; width < 600; width++) { // where the legend takes a row more
                    const data = figure.data.map((line, i) => ({
                        ...line, x, y: fall.map((part) => first * part * (1 - i / 10)),
                    }));
                    const {height: tall, template} = figure.layout;
                    const axes = {
                        xaxis: {title: {text: "epoch"}, dtick: 1},
                        yaxis: {title: {text: "loss per image"}},
                    };
                    await Plotly.react(figure, data, {height: tall, width, template, ...axes});
                }
            }
        }"""
    )


def test_the_keyboard_reaches_the_downloads(reports: Page) -> None:
    button = reports.get_by_role("button", name="PNG of Total and reconstruction", exact=True)
    button.focus()
    with reports.expect_download() as waiting:
        reports.keyboard.press("Enter")
    assert waiting.value.suggested_filename == f"{VAE}-losses-1.png"
