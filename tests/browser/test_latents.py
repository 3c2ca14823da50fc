"""What is shown, what the link says and what is saved are one latent, whatever came before."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from explorer import settings
from explorer.latent import sample_z
from explorer.live.protocol import pack_error
from tests.browser.conftest import (
    Server,
    canvas_of,
    first_slider,
    go_back,
    pixels,
    settled_pixels,
    wait_painted,
    wait_run,
    wait_shown,
)
from tests.browser.test_app import VAE, address, grey, z_in_link
from tests.browser.test_draw import choose, visit
from training.checkpoint import Checkpoint, load

ONE, OTHER = "mnist-dense-vae-h512-z2", "mnist-dense-vae-h128-z2"


@pytest.fixture(scope="module")
def one() -> Checkpoint:
    return load(settings.checkpoints_dir() / ONE)


@pytest.fixture(scope="module")
def vae() -> Checkpoint:
    return load(settings.checkpoints_dir() / VAE)


def go_to(page: Page, model: str) -> None:
    """Choose another model in the sidebar, and wait for its picture."""
    choose(page, model)
    page.wait_for_url(re.compile(f"model={model}"))
    wait_run(page)
    settled_pixels(canvas_of(page, "live-image"))


def settle(page: Page, key: str) -> None:
    """Move the first slider as far as a key takes it, and wait for the link."""
    link = page.url
    slider, _ = first_slider(page)
    slider.focus()
    page.keyboard.press(key)
    page.wait_for_function("link => window.location.href !== link", arg=link)
    wait_run(page)


def test_back_at_a_model_its_sliders_stand_where_the_link_says(
    page: Page, server: Server, one: Checkpoint
) -> None:
    page.goto(address(server, "sliders", model=ONE))
    canvas_of(page, "live-image")
    settle(page, "End")
    first = z_in_link(page)
    go_to(page, OTHER)
    settle(page, "Home")
    second = z_in_link(page)
    assert second != first
    go_to(page, ONE)
    assert z_in_link(page) == second
    wait_shown(page.get_by_test_id("live-image"), grey(one, second))
    for i in range(2):
        shown = page.get_by_test_id(f"latent-slider-{i}").input_value()
        assert float(shown) == pytest.approx(second[i], abs=0.01)


def test_what_was_only_pointed_at_stays_on_the_map(
    page: Page, server: Server, one: Checkpoint
) -> None:
    page.goto(address(server, "map", model=ONE, z="0.5_-0.5"))
    image = canvas_of(page, "live-image")
    wait_shown(image, grey(one, [0.5, -0.5]))
    painted = wait_painted(image)
    page.locator("[data-testid=latent-map][data-ready=true]").hover(position={"x": 150, "y": 150})
    wait_painted(image, painted)
    visit(page, "Sliders")
    assert z_in_link(page) == [0.5, -0.5]
    wait_shown(page.get_by_test_id("live-image"), grey(one, [0.5, -0.5]))


def test_other_samples_are_drawn_when_they_are_asked_for(page: Page, server: Server) -> None:
    page.goto(address(server, "lessons", lesson="beta", step=5, seed=1))
    page.get_by_text("Above 1", exact=True).first.click()
    sample = canvas_of(page, "sample-3")
    wait_run(page)
    page.get_by_role("button", name="Draw others").click()
    page.wait_for_url(lambda url: "seed=1&" not in f"{url}&")
    seed = int(re.findall(r"seed=(\d+)", page.url)[0])
    z = sample_z(seed, 20 * 10).reshape(20, 10)[3]
    least = load(settings.checkpoints_dir() / "mnist-beta-vae-0.1")
    wait_shown(sample, grey(least, z.tolist()))


def test_a_class_asked_for_shows_in_every_model_beside(page: Page, server: Server) -> None:
    gan = "mnist-cgan"
    page.goto(address(server, "compare", model=VAE, **{"with": gan}, drive="z", seed=4))
    drawn = page.get_by_test_id("live-image").last
    before = settled_pixels(drawn)
    page.get_by_role("combobox", name="Class asked for").click()
    page.get_by_role("option", name="7", exact=True).click()
    page.wait_for_url(re.compile("class=7"))
    wait_run(page)
    after = settled_pixels(drawn)
    assert np.abs(after - before).mean() > 5


def test_back_undoes_and_forward_does_again(page: Page, server: Server, one: Checkpoint) -> None:
    page.goto(address(server, "sliders", model=ONE, z="0.5_-0.5"))
    image = canvas_of(page, "live-image")
    wait_run(page)
    settle(page, "End")
    moved = z_in_link(page)
    go_back(page)
    wait_shown(image, grey(one, [0.5, -0.5]))
    wait_run(page)
    assert z_in_link(page) == [0.5, -0.5]
    page.go_forward()
    wait_shown(image, grey(one, moved))
    wait_run(page)
    assert z_in_link(page) == moved


def test_back_leads_to_the_page_before(page: Page, server: Server) -> None:
    page.goto(address(server, "map", model=ONE, z="0.5_-0.5"))
    wait_run(page)
    visit(page, "Sliders")
    settle(page, "End")
    go_back(page)
    wait_run(page)
    for _ in range(3):
        if "/map" in page.url:
            break
        go_back(page)
        wait_run(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Where do the images live?")
    assert z_in_link(page) == [0.5, -0.5]


def test_back_on_the_bare_address_of_a_page_keeps_the_model(page: Page, server: Server) -> None:
    """A click in the sidebar is an entry of its own: /digits, then /digits?model=... ."""
    page.goto(address(server, "sliders", model="mnist-cgan", seed=5))
    wait_run(page)
    visit(page, "Digits")
    page.wait_for_url(re.compile("model=mnist-cgan"))
    go_back(page)
    page.wait_for_url(re.compile("/digits$"))
    wait_run(page)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("Conditional GAN")
    go_back(page)
    page.wait_for_url(re.compile(r"/sliders\?model=mnist-cgan&seed=5$"))
    wait_run(page)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("Conditional GAN")


@pytest.mark.parametrize(
    ("name", "testid", "keys", "before"),
    [
        ("morph", "strip-scrub", ("ArrowRight", "ArrowRight"), "0.02"),
        ("replay", "epoch-scrub", ("Home", "ArrowRight"), "0"),
    ],
)
def test_back_moves_the_scrubber_too(
    page: Page, server: Server, name: str, testid: str, keys: tuple[str, str], before: str
) -> None:
    page.goto(address(server, name, model=VAE))
    wait_run(page)
    scrub = page.get_by_test_id(testid)
    for key in keys:
        was = page.url
        scrub.press(key)
        page.wait_for_url(lambda url, was=was: url != was)
        wait_run(page)
    expect(scrub).not_to_have_value(before)
    go_back(page)
    wait_run(page)
    expect(scrub).to_have_value(before)


def test_a_server_that_says_nothing_is_told_of(page: Page, server: Server) -> None:
    """A proxy that holds frames back: nothing closes, and nothing comes."""
    silent = threading.Event()

    def through(route: WebSocketRoute) -> None:
        far = route.connect_to_server()
        route.on_message(lambda frame: None if silent.is_set() else far.send(frame))

    page.route_web_socket("**/live/decode", through)
    page.goto(address(server, "sliders", model=ONE))
    image = canvas_of(page, "live-image")
    before = settled_pixels(image)
    silent.set()
    first_slider(page)[0].focus()
    page.keyboard.press("End")
    expect(page.get_by_text("No answer for 10 s").first).to_be_visible()
    np.testing.assert_array_equal(pixels(image), before)


def test_an_error_goes_when_the_next_picture_comes(page: Page, server: Server) -> None:
    broken = threading.Event()

    def through(route: WebSocketRoute) -> None:
        far = route.connect_to_server()

        def back(frame: str | bytes) -> None:
            assert isinstance(frame, bytes)
            asked = int.from_bytes(frame[4:8], "little")
            route.send(pack_error(asked, "the weights are gone") if broken.is_set() else frame)

        far.on_message(back)

    page.route_web_socket("**/live/decode", through)
    page.goto(address(server, "sliders", model=ONE))
    settled_pixels(canvas_of(page, "live-image"))
    expect(page.get_by_text("the weights are gone")).to_have_count(0)
    broken.set()
    settle(page, "End")
    expect(page.get_by_text("the weights are gone").first).to_be_visible()
    broken.clear()
    settle(page, "Home")
    expect(page.get_by_text("the weights are gone")).to_have_count(0)
