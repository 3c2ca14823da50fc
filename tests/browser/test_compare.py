"""Models side by side: one image under the pointer, one set of numbers, what each makes of it."""

from __future__ import annotations

import re

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from explorer import latent, resources, settings
from tests.browser.conftest import (
    Server,
    first_slider,
    settled_pixels,
    wait_alike,
    wait_other,
    wait_painted,
    wait_run,
)
from tests.browser.test_app import address
from training.checkpoint import load

VAE, DENSE, GAN = "mnist-conv-vae-z2", "mnist-dense-vae-h512-z10", "mnist-cgan"

pytestmark = pytest.mark.usefixtures("mnist")


def open_page(page: Page, server: Server, *others: str, **query: object) -> None:
    page.goto(address(server, "compare", model=VAE, **{"with": "~".join(others)}, **query))


def maps(page: Page, count: int) -> list[Locator]:
    ready = page.locator("[data-testid=latent-map][data-ready=true]")
    expect(ready).to_have_count(count)
    return ready.all()


def pointed_at(page: Page) -> int:
    """Number of the real image that is shown."""
    original = page.get_by_test_id("original")
    expect(original).to_have_attribute("alt", re.compile(r" \d+$"))
    return int((original.get_attribute("alt") or "").rpartition(" ")[2])


def test_every_model_shows_the_image_under_the_pointer(page: Page, server: Server) -> None:
    open_page(page, server, DENSE, GAN)
    first, _ = maps(page, 2)
    canvases = page.get_by_test_id("live-image")
    expect(canvases).to_have_count(3)
    for canvas in canvases.all():
        wait_painted(canvas)
    wait_run(page)
    link, seen = page.url, {pointed_at(page)}
    box = first.bounding_box()
    assert box is not None
    for share in (0.35, 0.45, 0.55):
        before = pointed_at(page)
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.4)
        alt = re.compile(rf" {before}$")
        expect(page.get_by_test_id("original")).not_to_have_attribute("alt", alt)
        image = pointed_at(page)
        seen.add(image)
        images = resources.real_images(resources.models().cards[VAE])
        assert images
        x = images.images([image]).float() / 255
        for canvas, name in zip(canvases.all(), (VAE, DENSE), strict=False):
            opened = load(settings.checkpoints_dir() / name)
            # The codes shown are the atlas's, in float16.
            expected = opened.decode(opened.encode(x)[0].half().float())[0, 0]
            wait_alike(canvas, (expected * 255).round().numpy())
        z, weights = resources.twins(GAN).at(image)
        assert weights is not None and weights.argmax() == images.data.labels[image]
        drawn = load(settings.checkpoints_dir() / GAN).decode(
            torch.from_numpy(z), torch.from_numpy(weights)
        )
        wait_alike(canvases.last, (drawn[0, 0] * 255).round().numpy())
    assert len(seen) == 4
    assert page.url == link, "pointing caused a rerun"


def test_the_image_is_marked_on_every_map_and_a_click_keeps_it(page: Page, server: Server) -> None:
    open_page(page, server, DENSE)
    first, second = maps(page, 2)
    wait_run(page)
    point = second.get_by_test_id("map-point")
    before = point.get_attribute("style") or ""
    box = first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.wait_for_url(re.compile(r"selected=test-\d+"))
    expect(point).not_to_have_attribute("style", before)
    expect(
        page.get_by_text(re.compile(rf"Image {pointed_at(page):,}: mean squared"))
    ).to_have_count(2)
    image = pointed_at(page)
    page.goto(page.url)
    alt = re.compile(rf" {image}$")
    expect(page.get_by_test_id("original")).to_have_attribute("alt", alt)


def test_a_lasso_on_one_map_marks_its_images_on_all(page: Page, server: Server) -> None:
    open_page(page, server, DENSE)
    first, second = maps(page, 2)
    wait_run(page)
    first.hover()
    first.locator("[data-attr=dragmode][data-val=select]").click()
    box = first.bounding_box()  # pointing has brought it into view
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5, steps=5)
    page.mouse.up()
    held = """map => map.querySelector('.js-plotly-plot').data.map(
        trace => trace.selectedpoints ? trace.selectedpoints.length : -1)"""
    page.wait_for_function(
        "map => map.querySelector('.js-plotly-plot').data[0].selectedpoints",
        arg=second.element_handle(),
    )
    # Plotly counts a mark on the edge once in, once out.
    assert second.evaluate(held) == pytest.approx(first.evaluate(held), abs=2)
    assert 0 < sum(second.evaluate(held)) < 10_000


def test_the_same_numbers_move_every_model_while_dragged(page: Page, server: Server) -> None:
    open_page(page, server, GAN, drive="z", seed=4, **{"class": 3})
    slider, _ = first_slider(page)
    canvases = page.get_by_test_id("live-image")
    expect(canvases).to_have_count(2)
    before = settled_pixels(canvases.first)
    wait_run(page)
    url = page.url
    slider.focus()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=8)
    value = float(slider.input_value())
    z = latent.sample_z(4, 128)
    z[0] = value
    vae = load(settings.checkpoints_dir() / VAE).decode(torch.from_numpy(z[None, :2]))[0, 0]
    wait_alike(canvases.first, (vae * 255).round().numpy())
    cgan = load(settings.checkpoints_dir() / GAN)
    drawn = cgan.decode(torch.from_numpy(z[None]), torch.tensor([3]))[0, 0]
    wait_alike(canvases.last, (drawn * 255).round().numpy())
    wait_other(canvases.first, before, 20)
    assert page.url == url, "dragging caused a rerun"
    page.mouse.up()
    page.wait_for_url(re.compile(r"[?&]z="))


@pytest.mark.parametrize("width", [390, 1280])
def test_all_pictures_stay_in_view_while_the_sliders_are_scrolled(
    page: Page, server: Server, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    open_page(page, server, DENSE, GAN, drive="z")
    pictures = page.get_by_test_id("live-image")
    expect(pictures).to_have_count(3)
    last = page.locator("[data-testid^=latent-slider-]:visible").last
    last.evaluate("slider => slider.scrollIntoView({block: 'center'})")
    for one in (*pictures.all(), last):
        expect(one).to_be_in_viewport(ratio=1)
    tops = pictures.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert tops == pytest.approx([tops[0]] * 3, abs=1), "side by side"


def test_only_its_own_components_give_the_leader_its_numbers(page: Page, server: Server) -> None:
    """Whichever component is mounted first: the two numbers of the VAE are not the GAN's 128."""
    open_page(page, server, GAN, drive="z", seed=4)
    canvas = page.get_by_test_id("live-image").first
    painted = wait_painted(canvas)
    page.evaluate(
        """name => {
            const store = window.latentLive.stores.get(name);
            window.offered = [];
            const offer = store.offer.bind(store);
            store.offer = (data) => {
                window.offered.push(data.z.length);
                offer(data);
            };
        }""",
        GAN,
    )
    page.get_by_role("button", name="Randomise").click()
    wait_painted(canvas, painted)
    settled_pixels(canvas)
    offered = page.evaluate("window.offered")
    assert offered
    assert set(offered) == {128}


def test_arrow_keys_walk_from_image_to_image(page: Page, server: Server) -> None:
    open_page(page, server, DENSE)
    first, _ = maps(page, 2)
    before = pointed_at(page)
    first.focus()
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    page.wait_for_url(re.compile(r"selected=test-\d+"))
    alt = re.compile(rf" {before}$")
    expect(page.get_by_test_id("original")).not_to_have_attribute("alt", alt)


def test_the_number_of_the_image_keeps_the_focus(page: Page, server: Server) -> None:
    open_page(page, server, DENSE, selected="test-5")
    maps(page, 2)
    wait_run(page)
    number = page.get_by_role("spinbutton", name="Number of the image")
    number.focus()
    for image in (6, 7):
        page.keyboard.press("ArrowUp")
        page.wait_for_url(re.compile(rf"selected=test-{image}\b"))
        wait_run(page)
        expect(number).to_be_focused()
        expect(number).to_have_value(str(image))
        assert pointed_at(page) == image
    page.get_by_role("button", name="At random").click()
    page.wait_for_url(lambda url: "selected=test-7" not in url)
    wait_run(page)
    expect(number).to_have_value(str(pointed_at(page)))
