"""Large images are shown smaller, and fewer at once."""

from __future__ import annotations

import numpy as np
import pytest

from explorer import pictures, sizes

HEIGHTS = [8, 28, 32, 64, 96, 128, 160, 256, 512]


def test_small_images_are_enlarged_and_photographs_are_not() -> None:
    assert [sizes.enlargement(height, 160) for height in (28, 32, 64, 160, 512)] == [5, 5, 2, 1, 1]
    assert [sizes.across(height, 280) for height in (28, 32, 64, 160, 512)] == [
        280, 288, 256, 320, 512,
    ]  # fmt: skip


@pytest.mark.parametrize("height", HEIGHTS)
def test_what_is_asked_for_at_once_stays_within_megabytes(height: int) -> None:
    image = 3 * height**2
    tiles, frames = sizes.plane_tiles(height), sizes.film_frames(height)
    assert tiles**2 * image <= max(5e6, 4 * image)
    assert 8 * frames * image <= max(6.2e6, 24 * image)
    assert frames % 2 == 1
    assert (tiles, frames) == (20, 11) or height >= 64


@pytest.mark.parametrize(("height", "reduced"), [(28, 28), (80, 80), (160, 80), (200, 67)])
@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_of_large_images_are_averaged(height: int, reduced: int, channels: int) -> None:
    images = np.full((2, height, height, channels), 7, np.uint8)
    smaller = pictures.reduced(images, 80)
    assert smaller.shape == (2, reduced, reduced, channels)
    assert (smaller == 7).all()
