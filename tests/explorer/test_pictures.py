"""Images as files: every pixel as it was, only larger."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from explorer import pictures

RNG = np.random.default_rng(0)


def images(n: int, channels: int = 1) -> pictures.Pixels:
    return RNG.integers(0, 256, (n, 6, 4, channels), np.uint8)


def opened(blob: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(blob))
    image.load()
    return image


def test_floats_become_the_nearest_grey_levels_with_channels_last() -> None:
    floats = RNG.random((3, 2, 6, 4), np.float32)
    floats[0, 0, 0, :2] = 0, 1
    pixels = pictures.to_pixels(floats)
    assert pixels.shape == (3, 6, 4, 2)
    assert pixels[0, 0, :2, 0].tolist() == [0, 255]
    assert np.abs(pixels - 255 * floats.transpose(0, 2, 3, 1)).max() <= 0.5 + 1e-4


def test_an_address_may_hold_the_picture_itself() -> None:
    kind, _, content = pictures.inside(pictures.png(images(1)[0])).partition(",")
    assert kind == "data:image/png;base64"
    assert opened(base64.b64decode(content)).size == (4, 6)


def test_an_enlarged_pixel_is_a_square() -> None:
    image = images(1)[0]
    large = pictures.enlarge(image, 5)
    assert large.shape == (30, 20, 1)
    for row in range(5):
        for column in range(5):
            np.testing.assert_array_equal(large[row::5, column::5], image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_holds_its_images_in_order_with_gaps_between(channels: int) -> None:
    frames = images(3, channels)
    row = pictures.row(frames, scale=2)[::2, ::2]
    assert row.shape == (6, 3 * 4 + 2 * pictures.GAP, channels)
    for i, frame in enumerate(frames):
        left = i * (4 + pictures.GAP)
        np.testing.assert_array_equal(row[:, left : left + 4], frame)
        gap = row[:, left + 4 : left + 4 + pictures.GAP]
        assert gap.size == 0 or (gap == 128).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_every_pixel_and_its_text(channels: int) -> None:
    image = images(1, channels)[0]
    file = opened(pictures.png(image, {"recipe": '{"a": "ä → b"}'}))
    assert file.format == "PNG"
    np.testing.assert_array_equal(np.asarray(file).reshape(image.shape), image)
    assert file.info["recipe"] == '{"a": "ä → b"}'


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_a_gif_runs_there_and_back_for_ever(n: int) -> None:
    frames = np.stack([np.full((4, 4, 1), 20 * i, np.uint8) for i in range(n)])
    file = opened(pictures.gif(frames, scale=3, milliseconds=120))
    assert file.format == "GIF"
    assert file.size == (12, 12)
    shown = [int(np.asarray(frame.convert("L"))[0, 0]) for frame in ImageSequence.Iterator(file)]
    there = [20 * i for i in range(n)]
    assert shown == there + there[-2:0:-1]
    if n > 1:
        assert file.info["loop"] == 0
        assert file.info["duration"] == 120


def test_a_gif_may_run_there_alone() -> None:
    frames = np.stack([np.full((4, 4, 1), 20 * i, np.uint8) for i in range(4)])
    file = opened(pictures.gif(frames, scale=1, back=False))
    shown = [int(np.asarray(frame.convert("L"))[0, 0]) for frame in ImageSequence.Iterator(file)]
    assert shown == [0, 20, 40, 60]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_title_stands_above_a_picture_that_is_left_as_it_was(channels: int) -> None:
    image = np.full((20, 90, channels), 77, np.uint8)
    one, other = (pictures.titled(image, words) for words in ("Epoch 1", "Epoch 2"))
    line = 2 * pictures.TITLE
    assert one.shape == (20 + line, 90, channels)
    assert (one[line:] == 77).all()
    assert one[:line].max() > 200
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_its_images_in_rows_with_gaps_around(channels: int) -> None:
    frames = images(6, channels)
    sheet = pictures.sheet(frames, columns=3)
    assert sheet.shape == (2 + 2 * (6 + 2), 2 + 3 * (4 + 2), channels)
    for i, frame in enumerate(frames):
        top, left = 2 + i // 3 * 8, 2 + i % 3 * 6
        np.testing.assert_array_equal(sheet[top : top + 6, left : left + 4], frame)
    assert (sheet[:2] == pictures.GREY).all()
    assert (sheet[:, -2:] == pictures.GREY).all()


def test_the_first_rows_of_many_samples_are_whole_and_enlarged_without_smoothing() -> None:
    frames = np.kron(images(100), np.ones((1, 4, 7, 1), np.uint8))  # 24 x 28
    sheet = pictures.sheet(frames, columns=10)
    blob = pictures.first_rows(pictures.png(sheet), cell=24)
    assert blob is not None
    shown = np.asarray(opened(blob).convert("L"))
    rows = 6  # of 26 pixels each, about half of 302
    assert shown.shape == (2 * (rows * 26 + 2), 2 * 302)
    np.testing.assert_array_equal(shown[::2, ::2], sheet[: rows * 26 + 2, :, 0])
    np.testing.assert_array_equal(shown[1::2, 1::2], shown[::2, ::2])


def test_large_samples_are_made_smaller_and_few_are_shown_whole() -> None:
    large = pictures.png(pictures.sheet(np.zeros((100, 160, 160, 3), np.uint8), columns=10))
    blob = pictures.first_rows(large, cell=160)
    assert blob is not None
    assert max(opened(blob).size) == pictures.SHOWN
    one = pictures.first_rows(pictures.png(images(1)[0]), cell=6)
    assert one is not None
    assert opened(one).size[0] <= pictures.SHOWN


@pytest.mark.parametrize("blob", [b"", b"GIF89a", pictures.png(images(1)[0])[:60]])
def test_what_is_no_picture_has_no_rows(blob: bytes) -> None:
    assert pictures.first_rows(blob, cell=28) is None


def test_a_picture_that_is_too_large_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = pictures.png(images(1)[0])
    monkeypatch.setattr(pictures, "MAX_PIXELS", 23)
    assert pictures.first_rows(blob, cell=6) is None
