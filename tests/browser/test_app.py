"""What a person sees and does, in a real browser on the shipped checkpoints."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import BrowserContext, FloatRect, Page, Route, expect

from explorer import settings
from tests.browser.conftest import (
    GREY_LEVEL,
    TIMEOUT_MS,
    Server,
    canvas_of,
    first_slider,
    go_back,
    pixels,
    settled_pixels,
    wait_alike,
    wait_narrow,
    wait_other,
    wait_painted,
    wait_run,
    wait_shown,
)
from training.checkpoint import Checkpoint, load
from training.data import DataError, data_root, load_mnist
from training.watch import free_port

VAE = "mnist-conv-vae-z2"
CGAN = "mnist-cgan"


@pytest.fixture(scope="module")
def vae() -> Checkpoint:
    return load(settings.checkpoints_dir() / VAE)


def grey(opened: Checkpoint, z: list[float], y: int | None = None) -> np.ndarray:
    """What the model draws at z, in grey levels (H, W), by the reference path."""
    condition = None if y is None else torch.tensor([y])
    image = opened.decode(torch.tensor([z]), condition)[0, 0]
    return (image * 255).round().numpy()


def address(server: Server, path: str, **query: object) -> str:
    return f"{server.url}/{path}?" + "&".join(f"{key}={value}" for key, value in query.items())


def z_in_link(page: Page) -> list[float]:
    found = re.search(r"[?&]z=([-\d._]+)", page.url)
    assert found, f"no z in {page.url}"
    return [float(part) for part in found[1].split("_")]


# --- Sliders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [VAE, CGAN])
def test_dragging_a_slider_redraws_before_release(page: Page, server: Server, model: str) -> None:
    page.goto(address(server, "sliders", model=model))
    image = canvas_of(page, "live-image")
    before = settled_pixels(image)
    link = page.url
    slider, dimension = first_slider(page)
    box = slider.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for share in (0.6, 0.75, 0.97):
        page.mouse.move(box["x"] + box["width"] * share, y)
        wait_other(image, before)
        before = settled_pixels(image)
    assert page.url == link, "a rerun happened before the mouse was released"
    page.mouse.up()
    page.wait_for_function("link => window.location.href !== link", arg=link)
    assert z_in_link(page)[dimension] > 1.5


def test_dragging_sends_nothing_through_streamlit(page: Page, server: Server) -> None:
    sent: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda _: sent.append(socket.url)),
    )
    page.goto(address(server, "sliders", model=VAE))
    image = canvas_of(page, "live-image")
    settled_pixels(image)
    box = page.get_by_test_id("latent-slider-0").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    settled_pixels(image)
    sent.clear()
    for step in range(20):
        painted = wait_painted(image)
        page.mouse.move(box["x"] + box["width"] * (0.52 + step / 50), y)
        if step % 5 == 0:
            wait_painted(image, painted)
    live = [url for url in sent if url.endswith("/live/decode")]
    assert len(live) >= 3
    assert [url for url in sent if "_stcore/stream" in url] == []
    page.mouse.up()


def test_the_keyboard_moves_a_slider(page: Page, server: Server, vae: Checkpoint) -> None:
    page.goto(address(server, "sliders", model=VAE, z="0.5_-0.5"))
    image = canvas_of(page, "live-image")
    page.get_by_test_id("latent-slider-1").focus()
    page.keyboard.press("Home")
    page.wait_for_url(re.compile(r"z=0\.5_-[3-9]"))
    z = z_in_link(page)
    wait_shown(image, grey(vae, z))


def test_the_filmstrip_shows_where_a_slider_leads(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    page.goto(address(server, "sliders", model=VAE, z="0.5_-0.5"))
    film = canvas_of(page, "filmstrip-0")
    edge = float(page.get_by_test_id("latent-slider-0").get_attribute("max") or 0)
    frames = [grey(vae, [-edge + 2 * edge * frame / 10, -0.5]) for frame in range(11)]
    wait_shown(film, np.hstack(frames))
    page.get_by_test_id("filmstrip-0").click(position={"x": 3, "y": 10})
    page.wait_for_url(re.compile(rf"z=-{edge:.0f}_-0\.5"))


def test_randomise_shows_its_seed_and_reset_goes_to_the_origin(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    page.goto(address(server, "sliders", model=VAE, seed=5))
    image = canvas_of(page, "live-image")
    first = settled_pixels(image)
    page.get_by_role("button", name="Randomise").click()
    page.wait_for_url(lambda url: "seed=" in url and "seed=5&" not in f"{url}&")
    [seed] = re.findall(r"seed=(\d+)", page.url)
    expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)
    wait_other(image, first, GREY_LEVEL)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_url(re.compile("z=0_0"))
    wait_shown(image, grey(vae, [0.0, 0.0]))


def test_class_buttons_ask_the_cgan(page: Page, server: Server) -> None:
    page.goto(address(server, "sliders", model=CGAN))
    image = canvas_of(page, "live-image")
    shown = settled_pixels(image)
    page.get_by_test_id("class-7").click()
    page.wait_for_url(re.compile("class=7"))
    expect(page.get_by_test_id("class-7")).to_have_attribute("aria-pressed", "true")
    wait_other(image, shown)
    expect(page.get_by_test_id("fps")).to_be_visible()


# --- Map ---------------------------------------------------------------------------------------


def open_map(page: Page, server: Server, **query: object) -> FloatRect:
    """Open the map and return the box of its pad."""
    page.goto(address(server, "map", model=VAE, **query))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    box = page.get_by_test_id("latent-map").bounding_box()
    assert box is not None
    return box


def test_the_map_shows_every_code_and_hovering_decodes(page: Page, server: Server) -> None:
    box = open_map(page, server)
    points = page.evaluate(
        "document.querySelector('.js-plotly-plot').data.map(trace => trace.x.length)"
    )
    assert len(points) == 10
    assert sum(points) in (10_000, 5_000)  # the test set, or the digits that install
    image = canvas_of(page, "live-image")
    link = page.url
    seen = []
    for x, y in ((0.3, 0.3), (0.5, 0.6), (0.7, 0.4)):
        before = settled_pixels(image)
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        wait_other(image, before)
        seen.append(settled_pixels(image))
    for one, other in itertools.combinations(seen, 2):
        assert np.abs(one - other).max() > 2 * GREY_LEVEL
    assert page.url == link, "pointing caused a rerun"


def test_clicking_the_map_selects_a_digit(page: Page, server: Server) -> None:
    box = open_map(page, server)
    page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.wait_for_url(re.compile(r"selected=(test|sample)-\d+"))
    expect(page.get_by_role("img", name=re.compile("selected-original"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("selected-reconstruction"))).to_be_visible()
    marks = page.get_by_test_id("map-marks")
    expect(marks.locator("path")).to_have_count(2)  # one and two standard deviations
    expect(marks.locator("circle.neighbour")).to_have_count(8)
    expect(marks.locator("circle.selected")).to_have_count(1)


def test_arrow_keys_move_the_point_of_the_map(page: Page, server: Server, vae: Checkpoint) -> None:
    open_map(page, server, z="0.5_0.5")
    page.get_by_test_id("latent-map").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_url(re.compile(r"z=0\.7_0\.4"))
    wait_shown(canvas_of(page, "live-image"), grey(vae, [0.7, 0.4]))
    expect(page.get_by_test_id("map-point")).to_be_visible()


def test_the_legend_switches_classes_off(page: Page, server: Server) -> None:
    open_map(page, server)
    page.locator(".legendtoggle").first.click()
    page.wait_for_function(
        "document.querySelector('.js-plotly-plot').data[0].visible === 'legendonly'"
    )


def test_the_legend_works_where_the_page_was_drawn_anew_before_plotly_had_come(
    page: Page, server: Server
) -> None:
    """Two drawings wait for it together; the legend must not be heard twice."""
    held: list[Route] = []
    page.route(re.compile("plotly"), lambda route: held.append(route))
    # Until plotly is here the page counts as loading.
    page.goto(address(server, "map", model=VAE), wait_until="commit")
    page.get_by_text("Lay the decoded plane underneath").click()
    page.wait_for_url(re.compile("grid=1"), wait_until="commit")
    wait_run(page)
    for route in held:
        route.continue_()
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    page.locator(".legendtoggle").first.click()
    page.wait_for_function(
        "document.querySelector('.js-plotly-plot').data[0].visible === 'legendonly'"
    )


def test_the_decoded_plane_lies_underneath(page: Page, server: Server) -> None:
    open_map(page, server, grid=1)
    page.wait_for_function("document.querySelector('.js-plotly-plot').layout.images?.length === 1")
    source = page.evaluate("document.querySelector('.js-plotly-plot').layout.images[0].source")
    assert source.startswith("data:image/png")


# --- Morph -------------------------------------------------------------------------------------


def test_the_ends_of_a_morph_are_the_reconstructions(
    page: Page, server: Server, vae: Checkpoint
) -> None:
    try:
        images = load_mnist(data_root(), "test").images
    except DataError as error:
        pytest.skip(f"the test set is needed to encode two of its images: {error}")
    page.goto(address(server, "morph", model=VAE, a="test-7", b="test-13", frames=5))
    strip = page.get_by_test_id("strip")
    wait_painted(strip)
    mu, _ = vae.encode(images[[7, 13]].float() / 255)
    for frame, z in ((0, mu[0]), (4, mu[1])):
        # The atlas holds codes in float16, a thousandth off: two grey levels at steep places.
        wanted = grey(vae, z.tolist())
        wait_shown(page.get_by_test_id(f"strip-frame-{frame}"), wanted, 2 * GREY_LEVEL)
    for side, index in (("start", 7), ("end", 13)):
        wait_shown(page.get_by_test_id(f"original-{side}"), images[index, 0].numpy(), 0)
    expect(strip.locator(".gauge")).to_have_text([re.compile(r"^\d+$")] * 5)
    numbers = [int(text) for text in strip.locator(".gauge").all_inner_texts()]
    assert min(numbers[0], numbers[-1]) >= 1, "a real code counts itself"


def test_scrubbing_a_morph_is_live_and_play_moves_it(page: Page, server: Server) -> None:
    page.goto(address(server, "morph", model=VAE))
    big = canvas_of(page, "live-image")
    start = settled_pixels(big)
    box = page.get_by_test_id("strip-scrub").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.98, y)
    wait_other(big, start)
    page.mouse.up()
    page.wait_for_url(re.compile(r"at=0\.9"))
    painted = wait_painted(big)
    page.get_by_test_id("strip-play").click()
    wait_painted(big, painted + 5)
    page.get_by_test_id("strip-play").click()


def test_many_arrow_keys_all_count_in_a_morph(page: Page, server: Server) -> None:
    """What Python hears of the first ones comes back while the hand is further on."""
    page.goto(address(server, "morph", model=VAE))
    settled_pixels(canvas_of(page, "live-image"))
    scrub = page.get_by_test_id("strip-scrub")
    scrub.focus()
    places = []
    for i in range(20):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(500 if i % 5 == 4 else 60)  # now and then Python hears of it
        places.append(float(scrub.input_value()))
    np.testing.assert_allclose(places, 0.02 * np.arange(1, 21), atol=2e-3)
    page.wait_for_url(re.compile(r"at=0\.400"))
    go_back(page)
    expect(scrub).not_to_have_value(str(places[-1]))


def test_a_frame_that_is_clicked_is_marked_and_in_the_link(page: Page, server: Server) -> None:
    page.goto(address(server, "morph", model=VAE, frames=5))
    canvas_of(page, "live-image")
    marked = page.locator("figure[data-here] canvas")
    expect(marked).to_have_attribute("data-testid", "strip-frame-0")
    page.get_by_test_id("strip-frame-3").click()
    expect(marked).to_have_attribute("data-testid", "strip-frame-3")
    page.wait_for_url(re.compile(r"[?&]at=0\.75"))


def test_who_wants_less_motion_is_walked_through_a_morph_once(page: Page, server: Server) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(address(server, "morph", model=VAE))
    canvas_of(page, "live-image")
    play = page.get_by_test_id("strip-play")
    play.click()
    expect(play).to_have_text("Pause")
    expect(play).to_have_text("Play")
    expect(page.get_by_test_id("strip-scrub")).to_have_value("1")
    page.wait_for_url(re.compile(r"[?&]at=1"))


def test_scrubbing_a_morph_unpacks_nothing(page: Page, server: Server) -> None:
    page.add_init_script(
        """const original = window.atob;
        window.unpacked = 0;
        window.atob = (text) => {
          window.unpacked += 1;
          return original(text);
        };"""
    )
    page.goto(address(server, "morph", model=VAE))
    big = canvas_of(page, "live-image")
    start = settled_pixels(big)
    wait_run(page)
    before = page.evaluate("window.unpacked")
    assert before > 0
    scrub = page.get_by_test_id("strip-scrub")
    scrub.evaluate("one => { one.value = 0.5; one.dispatchEvent(new InputEvent('input')); }")
    wait_other(big, start)
    assert page.evaluate("window.unpacked") == before


def test_an_image_is_chosen_from_the_gallery(page: Page, server: Server) -> None:
    page.goto(address(server, "morph", model=VAE))
    page.get_by_text("From: choose an image").click()
    page.get_by_test_id("thumbnail-3").click()
    page.wait_for_url(re.compile(r"[?&]a=(test|sample)-\d+"))


def test_a_picture_is_uploaded(page: Page, server: Server) -> None:
    page.goto(address(server, "morph", model=VAE))
    page.get_by_text("From: choose an image").click()
    page.get_by_test_id("thumbnail-0").wait_for()
    original = page.get_by_test_id("original-start")
    before = pixels(original)
    one = np.full((60, 60), 255, np.uint8)
    one[10:50, 27:33] = 0
    file = io.BytesIO()
    Image.fromarray(one).save(file, "PNG")
    chooser = page.locator("input[type=file]").first
    chooser.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"not a png"})
    expect(page.get_by_text("This is not a PNG, JPEG or WebP picture.")).to_be_visible()
    chooser.set_input_files({"name": "1.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for_url(re.compile("a=code-"))
    wait_other(original, before)
    shown = pixels(original)
    assert shown.shape == (28, 28)
    assert shown[14, 14] > 200 > shown[14, 3]


# --- Digits ------------------------------------------------------------------------------------


def test_ten_digits_differ_and_follow_the_style(page: Page, server: Server) -> None:
    page.goto(address(server, "digits", model=CGAN))
    canvases = [canvas_of(page, f"digit-{digit}") for digit in range(10)]
    before = [settled_pixels(canvas) for canvas in canvases]
    for one, other in itertools.combinations(before, 2):
        assert np.abs(one - other).max() > 20
    page.get_by_role("button", name="Another hand").click()
    for canvas, old in zip(canvases, before, strict=True):
        wait_other(canvas, old)


def test_typed_digits_are_drawn(page: Page, server: Server) -> None:
    page.goto(address(server, "digits", model=CGAN, text="707"))
    seven = settled_pixels(canvas_of(page, "typed-0"))
    wait_shown(canvas_of(page, "typed-2"), seven, 0)
    assert np.abs(settled_pixels(canvas_of(page, "typed-1")) - seven).max() > 20
    wait_alike(canvas_of(page, "digit-7"), seven)


def test_a_class_turns_into_another(page: Page, server: Server) -> None:
    page.goto(address(server, "digits", model=CGAN, **{"from": 3, "to": 8}))
    ends = [settled_pixels(canvas_of(page, f"digit-{digit}")) for digit in (3, 8)]
    for frame, end in zip((0, 8), ends, strict=True):
        wait_alike(page.get_by_test_id(f"strip-frame-{frame}"), end)
        wait_other(page.get_by_test_id("strip-frame-4"), end)


# --- Links, restarts, roads around -------------------------------------------------------------


@pytest.mark.parametrize("path", ["sliders", "digits"])
def test_a_shared_link_restores_the_state(
    page: Page, context: BrowserContext, server: Server, path: str
) -> None:
    testid = "live-image" if path == "sliders" else "digit-4"
    page.goto(address(server, path, model=CGAN, seed=11, **{"class": 4}))
    image = canvas_of(page, testid)
    before = settled_pixels(image)
    box = first_slider(page)[0].bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile("z="))
    wait_other(image, before, 20)
    moved = settled_pixels(image)
    other = context.new_page()
    other.goto(page.url)
    wait_alike(canvas_of(other, testid), moved)
    other.close()


def test_the_state_survives_a_walk_through_the_pages(page: Page, server: Server) -> None:
    page.goto(address(server, "digits", model=CGAN))
    canvas_of(page, "digit-0")
    page.get_by_role("link", name="Sliders").click()
    image = canvas_of(page, "live-image")
    before = settled_pixels(image)
    first_slider(page)[0].focus()
    page.keyboard.press("End")
    page.wait_for_url(re.compile("[=_]3_"))
    wait_other(image, before, 20)
    moved = settled_pixels(image)
    page.get_by_role("link", name="Digits").click()
    wait_alike(canvas_of(page, "digit-0"), moved)  # the same latent, and class 0 on both pages
    page.get_by_role("link", name="Sliders").click()
    wait_alike(canvas_of(page, "live-image"), moved)


def test_the_page_reconnects_when_the_server_restarts(
    context: BrowserContext, vae: Checkpoint
) -> None:
    one = Server(free_port())
    one.start()
    try:
        page = context.new_page()  # its console may speak of the lost connection
        page.goto(address(one, "sliders", model=VAE, z="0.5_0.5"))
        image = canvas_of(page, "live-image")
        settled_pixels(image)
        one.stop()
        status = page.locator(".latent-status").filter(has_text="Reconnecting")
        status.first.wait_for()
        page.get_by_test_id("latent-slider-0").focus()
        page.keyboard.press("End")
        painted = wait_painted(image)
        one.start()
        wait_painted(image, painted)
        edge = float(page.get_by_test_id("latent-slider-0").get_attribute("max") or 0)
        wait_shown(image, grey(vae, [edge, 0.5]))
        status.first.wait_for(state="hidden")
        wait_run(page, 4 * TIMEOUT_MS)  # Streamlit asks ever more rarely, in the end once a minute
        # Its session is new; it hears of what was settled meanwhile with the next step.
        page.get_by_test_id("latent-slider-0").press("ArrowLeft")
        page.wait_for_url(re.compile(rf"z={edge - 0.01:.2f}_0\.5"))
        expected = grey(vae, [edge - 0.01, 0.5])
        wait_shown(image, expected)
    finally:
        one.stop()


def test_without_a_socket_pictures_come_through_streamlit(
    context: BrowserContext, server: Server, vae: Checkpoint
) -> None:
    page = context.new_page()  # its console speaks of the refused sockets
    page.add_init_script(
        """const Original = window.WebSocket;
        window.WebSocket = class extends Original {
          constructor(url, ...rest) {
            if (String(url).includes('/live/decode')) {
              super(String(url).replace('/live/decode', '/live/nowhere'), ...rest);
            } else super(url, ...rest);
          }
        };"""
    )
    page.goto(address(server, "sliders", model=VAE, z="0.5_0.5"))
    page.get_by_text("pictures come through Streamlit").first.wait_for()
    image = canvas_of(page, "live-image")
    wait_shown(image, grey(vae, [0.5, 0.5]))
    page.get_by_test_id("latent-slider-0").focus()
    painted = wait_painted(image)
    page.keyboard.press("ArrowRight")
    wait_painted(image, painted)
    wait_shown(image, grey(vae, [0.51, 0.5]))


def test_dark_theme_is_dark(chromium, server: Server) -> None:
    with chromium.new_context(color_scheme="dark") as context:
        page = context.new_page()
        page.goto(address(server, "sliders", model=VAE))
        canvas_of(page, "live-image")
        background = page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        assert max(map(int, re.findall(r"\d+", background)[:3])) < 60


@pytest.mark.parametrize("width", [390, 1280])
def test_the_picture_stays_in_view_while_the_sliders_are_scrolled(
    page: Page, server: Server, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address(server, "sliders", model="mnist-dense-vae-h512-z10"))
    image = canvas_of(page, "live-image")
    page.get_by_role("button", name="More").click()
    page.locator("[data-testid^=latent-slider-]").nth(9).wait_for()
    last = page.locator("[data-testid^=latent-slider-]").last
    # To the middle: at the window's edge a part of a pixel would stay outside.
    last.evaluate("slider => slider.scrollIntoView({block: 'center'})")
    expect(image).to_be_in_viewport(ratio=1)
    expect(last).to_be_in_viewport(ratio=1)
    before = wait_painted(image)
    last.press("ArrowRight")
    wait_painted(image, before)
    wait_narrow(page, width)
