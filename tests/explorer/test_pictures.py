"""Images as files: every pixel as it was, only larger."""

from __future__ import annotations

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
