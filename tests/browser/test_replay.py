"""The replay in a real browser: what follows the hand through the epochs of a training."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from playwright.sync_api import Page, expect

from explorer import gallery, layout, replay, settings
from explorer.replay import Stop
from tests.browser.conftest import (
    GREY_LEVEL,
    Server,
    canvas_of,
    pixels,
    settled_pixels,
    wait_narrow,
    wait_painted,
    wait_run,
    wait_shown,
)
from tests.browser.test_app import address
from tests.browser.test_maps import PLACE
from tests.explorer.conftest import VAE_Z2, VAE_Z5, make_replay
from training.atlas import pca
from training.checkpoint import Checkpoint, load
from training.watch import free_port

COLLAPSE = "mnist-gan-r2-collapse"
HEALTHY = "mnist-gan-r2-healthy"
HELD = [0.5, -1.25]
POINTS = """() => {
  const plot = document.querySelector("[data-testid=latent-map] .js-plotly-plot");
  return plot.data.map(({ x, y }) => [Array.from(x), Array.from(y)]);
}"""
RANGES = """() => {
  const plot = document.querySelector("[data-testid=latent-map] .js-plotly-plot");
  return [plot._fullLayout.xaxis.range, plot._fullLayout.yaxis.range].flat();
}"""

IMAGE = """() =>
  document.querySelector("[data-testid=latent-map] .js-plotly-plot")?.layout?.images?.[0]"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VAEs with a timeline."""
    root = tmp_path_factory.mktemp("tiny")
    make_replay(root / "old-vae-z2", VAE_Z2, last=6, shipped=6, kept=(1, 2, 4))
    make_replay(root / "old-vae-z5", VAE_Z5)
    return root


@pytest.fixture(scope="module")
def app(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on them, without MNIST: its map is of the 5,000 digits that install with it."""
    data = tmp_path_factory.mktemp("no-data")
    one = Server(free_port(), ["--checkpoints", str(tiny), "--data", str(data)])
    one.start()
    yield one
    one.stop()


def stops_of(folder: Path) -> list[Stop]:
    opened = load(folder)
    return replay.stops(opened.card, opened.history())


def at_stop(folder: Path, stop: Stop) -> Checkpoint:
    return load(folder, epoch=stop.kept)


def grey(opened: Checkpoint, z: Any) -> np.ndarray:
    """What a model draws of z (n, d), in grey levels (n, H, W)."""
    images = opened.decode(torch.as_tensor(np.asarray(z, np.float32)))[:, 0]
    return (images * 255).round().numpy()


def shown(page: Page) -> np.ndarray:
    """Grey values (16, H, W) of the samples."""
    return np.stack([pixels(page.get_by_test_id(f"sample-{i}")) for i in range(replay.SAMPLES)])


def wait_samples(page: Page, wanted: np.ndarray) -> None:
    """Wait until the samples are these."""
    for _ in range(300):
        if np.abs(shown(page) - wanted).max() <= GREY_LEVEL:
            return
        page.wait_for_timeout(50)
    np.testing.assert_allclose(shown(page), wanted, atol=GREY_LEVEL)


def open_replay(page: Page, server: Server, model: str, **query: object) -> None:
    page.goto(address(server, "replay", model=model, **query))
    canvas_of(page, "live-image")
    canvas_of(page, "sample-15")
    wait_run(page)


def press(page: Page, stops: list[Stop], i: int) -> None:
    """Move the pointer to a stop of the scrubber and press it there, without letting go."""
    page.mouse.move(*place(page, stops, i))
    page.mouse.down()


def place(page: Page, stops: list[Stop], i: int) -> tuple[float, float]:
    box = page.get_by_test_id("epoch-scrub").bounding_box()
    assert box is not None
    along = 8 + (box["width"] - 16) * i / (len(stops) - 1)  # where the thumb's middle is
    return box["x"] + along, box["y"] + box["height"] / 2


@pytest.mark.parametrize("model", [COLLAPSE, HEALTHY])
def test_scrubbing_repaints_every_sample_before_release(
    page: Page, server: Server, model: str
) -> None:
    folder = settings.checkpoints_dir() / model
    stops = stops_of(folder)
    z, _ = replay.noise(load(folder).card)
    open_replay(page, server, model)
    last = len(stops) - 1
    wait_samples(page, grey(at_stop(folder, stops[last]), z))
    link = page.url
    press(page, stops, last)
    for i in (0, last // 2, 1):
        page.mouse.move(*place(page, stops, i))
        wait_samples(page, grey(at_stop(folder, stops[i]), z))
        expect(page.get_by_text(stops[i].words, exact=True)).to_be_visible()
        held = grey(at_stop(folder, stops[i]), z[:1])[0]  # seed 0 is the first sample's start
        wait_shown(page.get_by_test_id("live-image"), held)
    assert page.url == link, "a rerun happened before the mouse was released"
    page.mouse.up()
    page.wait_for_url(re.compile(rf"epoch={stops[1].epoch}$"))
    assert "z=" not in page.url


def test_the_held_latent_stays_while_epochs_change(page: Page, app: Server, tiny: Path) -> None:
    folder = tiny / "old-vae-z2"
    stops = stops_of(folder)
    open_replay(page, app, folder.name, z="0.5_-1.25")
    image = page.get_by_test_id("live-image")
    scrub = page.get_by_test_id("epoch-scrub")
    scrub.focus()
    for i, key in ((3, ""), (2, "ArrowLeft"), (0, "Home"), (1, "ArrowRight")):
        painted = wait_painted(image)
        if key:
            page.keyboard.press(key)
            wait_painted(image, painted)
        wanted = grey(at_stop(folder, stops[i]), [HELD])[0]
        wait_shown(image, wanted)
    page.wait_for_url(re.compile(r"z=0\.5_-1\.25.*epoch=2$"))
    expect(scrub).to_have_attribute("aria-valuetext", "After epoch 2")


def test_a_link_opens_on_its_epoch(page: Page, app: Server, tiny: Path) -> None:
    folder = tiny / "old-vae-z2"
    stops = stops_of(folder)
    z, _ = replay.noise(load(folder).card)
    open_replay(page, app, folder.name, epoch=4)
    wait_samples(page, grey(at_stop(folder, stops[2]), z))
    expect(page.get_by_test_id("epoch-scrub")).to_have_value("2")
    expect(page.get_by_text("Measured after epoch 4")).to_be_visible()
    assert page.url.endswith("epoch=4")


def test_the_marks_on_the_curves_move_before_release(page: Page, app: Server, tiny: Path) -> None:
    stops = stops_of(tiny / "old-vae-z2")
    open_replay(page, app, "old-vae-z2")
    marks = page.get_by_test_id("figure-mark")
    page.locator("[data-testid=figure][data-ready=true]").nth(1).wait_for()
    expect(marks).to_have_count(2)
    expect(marks.first).to_have_attribute("data-at", "6")
    figures = page.get_by_test_id("figure").element_handles()
    page.get_by_test_id("epoch-scrub").scroll_into_view_if_needed()
    press(page, stops, 3)
    for i in (0, 2, 1):
        page.mouse.move(*place(page, stops, i))
        for mark, figure in zip(marks.all(), figures, strict=True):
            expect(mark).to_have_attribute("data-at", str(stops[i].epoch))
            wanted = figure.evaluate(
                """(plot, epoch) => plot.getBoundingClientRect().left
                    + plot._fullLayout.xaxis._offset + plot._fullLayout.xaxis.d2p(epoch)""",
                stops[i].epoch,
            )
            box = mark.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] / 2 == pytest.approx(wanted, abs=1)
            assert box["height"] > 100
    page.mouse.up()


@pytest.mark.parametrize("model", ["old-vae-z2", "old-vae-z5"])
def test_the_points_of_the_map_move_and_its_axes_stay(
    page: Page, app: Server, tiny: Path, model: str
) -> None:
    stops = stops_of(tiny / model)
    open_replay(page, app, model)
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    ranges = page.evaluate(RANGES)
    first = page.evaluate(POINTS)
    assert sum(len(x) for x, _ in first) == 5_000
    seen = [first]
    page.get_by_test_id("epoch-scrub").scroll_into_view_if_needed()
    press(page, stops, len(stops) - 1)
    for i in (0, 1):
        page.mouse.move(*place(page, stops, i))
        page.wait_for_function(f"before => ({POINTS})()[0][0][0] !== before", arg=seen[-1][0][0][0])
        seen.append(page.evaluate(POINTS))
        assert page.evaluate(RANGES) == ranges
        if model == "old-vae-z2":  # whose plane is the latent space itself
            digits = gallery.sample_digits()
            zeros = digits.images[digits.labels == 0].float() / 255
            codes = at_stop(tiny / model, stops[i]).encode(zeros)[0].numpy()
            np.testing.assert_allclose(np.transpose(seen[-1][0]), codes, atol=1e-4)
    page.mouse.up()
    page.wait_for_url(re.compile("epoch=2$"))
    assert page.evaluate(POINTS) == seen[-1]  # the rerun moves nothing


def test_pointing_into_the_map_decodes_by_the_epoch_that_is_shown(
    page: Page, app: Server, tiny: Path
) -> None:
    folder = tiny / "old-vae-z2"
    stops = stops_of(folder)
    open_replay(page, app, folder.name, epoch=2)
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    image, sample = page.get_by_test_id("live-image"), page.get_by_test_id("sample-0")
    box = page.get_by_test_id("latent-map").bounding_box()
    assert box is not None
    settled_pixels(image)
    settled_pixels(sample)
    still = wait_painted(sample)
    for share in (0.3, 0.6):
        x, y = box["x"] + box["width"] * share, box["y"] + box["height"] * share
        painted = wait_painted(image)
        page.mouse.move(x, y)
        wait_painted(image, painted)
        z = page.evaluate(PLACE, [x, y])
        wanted = grey(at_stop(folder, stops[1]), [z])[0]
        wait_shown(image, wanted)
    assert wait_painted(sample) == still, "samples were drawn again though nothing of theirs moved"
    page.get_by_test_id("epoch-scrub").focus()
    page.keyboard.press("Home")
    wait_painted(sample, still)
    wanted = grey(at_stop(folder, stops[0]), [z])[0]
    wait_shown(image, wanted)


def mosaic(page: Page, before: str = "") -> tuple[str, np.ndarray, np.ndarray]:
    """The decoded plane under the map, once it is another than before: its source, its tiles
    (n, H, W) and the places (n, 2) of their centres."""
    page.wait_for_function(f"before => ({IMAGE})() && ({IMAGE})().source !== before", arg=before)
    image = page.evaluate(IMAGE)
    picture = Image.open(io.BytesIO(base64.b64decode(image["source"].partition(",")[2])))
    whole = np.asarray(picture.convert("L")).astype(int)
    rows, columns = whole.shape[0] // 28, whole.shape[1] // 28
    cell = image["sizex"] / columns
    tiles = whole.reshape(rows, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
    x = image["x"] + cell * (np.arange(columns) + 0.5)
    y = image["y"] - cell * (np.arange(rows) + 0.5)
    return image["source"], tiles, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def plane(folder: Path) -> layout.Layout:
    """The plane of a VAE without an atlas: of the codes, by the weights as shipped."""
    digits = gallery.sample_digits()
    codes = load(folder).encode(digits.images.float() / 255)[0]
    found = {part: tensor.numpy() for part, tensor in pca(codes).items()}
    kind = "latent" if codes.shape[1] == 2 else "pca"
    return layout.of_codes(codes.numpy(), digits.labels.numpy(), kind, found)


@pytest.mark.parametrize("model", ["old-vae-z2", "old-vae-z5"])
def test_the_decoded_plane_follows_the_epoch(
    page: Page, app: Server, tiny: Path, model: str
) -> None:
    folder = tiny / model
    stops = stops_of(folder)
    open_replay(page, app, model, grid=1)
    source = ""
    for key, i in (("", len(stops) - 1), ("Home", 0), ("ArrowRight", 1)):
        if key:
            page.get_by_test_id("epoch-scrub").focus()
            page.keyboard.press(key)
        source, tiles, places = mosaic(page, source)
        wanted = grey(at_stop(folder, stops[i]), plane(folder).decoded(places))
        assert np.abs(tiles - wanted).max() <= GREY_LEVEL
    page.wait_for_url(re.compile("epoch=2&grid=1$"))
    page.get_by_text("Lay the decoded plane underneath").click()
    page.wait_for_function(f"!({IMAGE})()")


def played(page: Page, least: int) -> list[str]:
    """What stood above the scrubber since `record`, once that is ``least`` stops."""
    page.wait_for_function("least => window.played.length >= least", arg=least)
    return page.evaluate("window.played")


def record(page: Page) -> None:
    """Note every stop that is shown from now on."""
    page.get_by_test_id("epoch-scrub").evaluate(
        """scrub => {
            window.played = [];
            const note = () => window.played.push(scrub.getAttribute("aria-valuetext"));
            new MutationObserver(note).observe(scrub, { attributeFilter: ["aria-valuetext"] });
        }"""
    )


def test_play_runs_through_the_epochs_and_pauses(page: Page, app: Server, tiny: Path) -> None:
    folder = tiny / "old-vae-z2"
    stops = stops_of(folder)
    z, _ = replay.noise(load(folder).card)
    open_replay(page, app, folder.name)
    link = page.url
    play = page.get_by_test_id("epoch-play")
    record(page)
    play.click()
    expect(play).to_have_text("Pause")
    wanted = [stop.words for stop in (*stops, *stops)]  # from the first on, and again
    seen = played(page, len(stops) + 1)
    assert seen == wanted[: len(seen)]
    assert page.url == link, "playing caused a rerun"
    play.click()
    expect(play).to_have_text("Play")
    i = int(page.get_by_test_id("epoch-scrub").input_value())
    wait_samples(page, grey(at_stop(folder, stops[i]), z))
    page.wait_for_url(lambda url: stops[i].shipped or f"epoch={stops[i].epoch}" in url)
    page.wait_for_timeout(1500)  # longer than a step of playing
    assert page.get_by_test_id("epoch-scrub").input_value() == str(i)


def test_who_wants_less_motion_is_played_to_once(page: Page, app: Server, tiny: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    stops = stops_of(tiny / "old-vae-z5")
    open_replay(page, app, "old-vae-z5")
    play = page.get_by_test_id("epoch-play")
    record(page)
    play.click()
    assert played(page, len(stops)) == [stop.words for stop in stops]
    expect(play).to_have_text("Play")
    assert page.evaluate("window.played.length") == len(stops)


def test_the_training_is_saved_as_a_gif(page: Page, server: Server) -> None:
    folder = settings.checkpoints_dir() / COLLAPSE
    stops = stops_of(folder)
    z, _ = replay.noise(load(folder).card)
    open_replay(page, server, COLLAPSE)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save GIF").click()
    file = Image.open(io.BytesIO(Path(waiting.value.path()).read_bytes()))
    frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(file)]
    assert len(frames) == len(stops)
    for frame, stop in zip(frames, stops, strict=True):
        drawn = grey(at_stop(folder, stop), z)[..., None].astype(np.uint8)
        sheet = replay.sheet(drawn)[..., 0].astype(int)
        assert np.abs(frame[-len(sheet) :] - sheet).max() <= GREY_LEVEL


def test_what_was_measured_is_told_of_the_stop_under_the_hand(page: Page, app: Server) -> None:
    open_replay(page, app, "old-vae-z2")
    link = page.url
    note = page.get_by_test_id("epoch-note")
    expect(note).to_have_text(re.compile(r"^Measured after epoch 6 on the test set: Total "))
    page.get_by_test_id("epoch-scrub").focus()
    page.keyboard.press("Home")
    expect(note).to_have_text(re.compile(r"^Measured after epoch 1 on"))
    assert page.url == link


def test_a_phone_shows_all_of_it(page: Page, app: Server) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_replay(page, app, "old-vae-z2")
    wait_narrow(page, 390)
    for testid in ("epoch-scrub", "epoch-play", "live-image", "sample-3"):
        box = page.get_by_test_id(testid).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
