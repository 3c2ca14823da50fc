from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.pictures import DataError, decode


def read(tmp_path: Path, image: Image.Image, shape: tuple[int, int, int], ending="png", **options):
    """What a saved picture is decoded to, (C, H, W)."""
    path = tmp_path / f"one.{ending}"
    image.save(path, **options)
    (pixels,) = decode([path], shape, None)
    assert pixels.shape == shape
    return pixels


def one_colour(pixels: torch.Tensor) -> list[int]:
    """The only colour there is, as a list over channels."""
    colours = pixels.flatten(1).unique(dim=1)
    assert colours.shape[1] == 1
    return colours[:, 0].tolist()


def test_pictures_keep_their_order_however_many(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(200)]
    for i, path in enumerate(paths):
        Image.new("L", (4, 4), i).save(path)
    told: list[tuple[int, int]] = []
    images = decode(paths, (1, 4, 4), lambda done, total: told.append((done, total)))
    assert images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == list(range(200))
    assert told == sorted(told)
    assert told[-1] == (200, 200)


def test_a_picture_that_fits_is_not_touched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 20, 3), dtype=np.uint8)
    read_back = read(tmp_path, Image.fromarray(pixels), (3, 28, 20))
    np.testing.assert_array_equal(read_back.permute(1, 2, 0), pixels)


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("1", (5, 5), 1), 255),
        (Image.new("L", (5, 5), 77), 77),
        (Image.new("LA", (5, 5), (77, 0)), 255),
        (Image.new("LA", (5, 5), (0, 255)), 0),
        (Image.new("RGB", (5, 5), (200, 200, 200)), 200),
        (Image.new("RGBA", (5, 5), (0, 0, 0, 0)), 255),
        (Image.new("RGBA", (5, 5), (0, 0, 0, 255)), 0),
        (Image.new("RGBA", (5, 5), (0, 0, 0, 128)), 127),
        (Image.fromarray(np.full((5, 5), 0, np.uint16)), 0),
        (Image.fromarray(np.full((5, 5), 100 * 256 + 3, np.uint16)), 100),
        (Image.fromarray(np.full((5, 5), 65_535, np.uint16)), 255),
    ],
    ids=lambda value: getattr(value, "mode", str(value)),
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_rgb_on_white(tmp_path, image, grey, channels):
    colour = one_colour(read(tmp_path, image, (channels, 5, 5)))
    assert colour == pytest.approx([grey] * channels, abs=1)


def test_a_palette_with_a_transparent_colour_is_put_on_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    assert one_colour(read(tmp_path, image, (3, 4, 4))) == [0, 0, 255]
    assert one_colour(read(tmp_path, image, (3, 4, 4), transparency=1)) == [255, 255, 255]
    assert one_colour(read(tmp_path, image, (3, 4, 4), transparency=0)) == [0, 0, 255]


def test_a_picture_for_printing_keeps_its_colours(tmp_path):
    image = Image.new("RGB", (16, 16), (250, 120, 10)).convert("CMYK")
    colour = one_colour(read(tmp_path, image, (3, 16, 16), "jpg", quality=95))
    assert colour == pytest.approx([250, 120, 10], abs=4)


def test_colours_become_grey_by_their_brightness(tmp_path):
    for colour, grey in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)):
        image = Image.new("RGB", (4, 4), colour)
        assert one_colour(read(tmp_path, image, (1, 4, 4))) == pytest.approx([grey], abs=1)


def test_a_picture_is_cut_around_its_middle(tmp_path):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = np.arange(10)
    for pixels in (wide, wide.T):
        read_back = read(tmp_path, Image.fromarray(pixels), (1, 10, 10))
        middle = pixels[:, 10:20] if pixels.shape[1] == 30 else pixels[10:20]
        np.testing.assert_array_equal(read_back[0], middle)


def test_a_wide_shape_is_filled(tmp_path):
    assert one_colour(read(tmp_path, Image.new("L", (40, 40), 200), (1, 8, 32))) == [200]


def test_scaling_down_averages_and_up_is_smooth(tmp_path):
    stripes = np.zeros((90, 90), np.uint8)
    stripes[:, ::2] = 255
    down = read(tmp_path, Image.fromarray(stripes), (1, 9, 9))[0].float()
    assert down.min() > 100
    assert down.max() < 155
    halves = np.zeros((8, 8), np.uint8)
    halves[:, 4:] = 255
    up = read(tmp_path, Image.fromarray(halves), (1, 32, 32))[0]
    assert len(up.unique()) > 4
    assert (up[:, :8].max(), up[:, -8:].min()) == (0, 255)


def test_photos_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    turned = read(tmp_path, Image.fromarray(pixels), (1, 8, 8), exif=exif)
    assert turned[0, 7].tolist() == [255] * 8
    assert turned[0, 0].tolist() == [0] * 8


def test_a_very_long_strip_needs_little_memory(tmp_path):
    """Resized whole, it would have 160 x 9,600,000 pixels."""
    strip = np.zeros((1, 60_000), np.uint8)
    strip[0, 29_990:30_010] = 90
    assert one_colour(read(tmp_path, Image.fromarray(strip), (1, 160, 160))) == [90]


def test_far_too_large_a_picture_is_named_and_not_decoded(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="exceeds limit") as raised:
        decode([path], (1, 4, 4), None)
    assert str(path) in str(raised.value)


def test_pixels_of_unknown_range_are_refused_with_advice(tmp_path):
    path = tmp_path / "depth.tiff"
    Image.fromarray(np.ones((4, 4), np.float32)).save(path)
    with pytest.raises(DataError, match="save it with 8 bits"):
        decode([path], (1, 4, 4), None)


def test_postscript_is_not_run_whatever_it_is_called(tmp_path):
    path = tmp_path / "drawing.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="cannot identify"):
        decode([path], (1, 4, 4), None)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "tiff", "bmp"])
def test_damaged_pictures_are_named_whatever_pillow_raises(tmp_path, ending):
    path = tmp_path / f"one.{ending}"
    Image.effect_noise((32, 32), 50).save(path)
    blob = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in (0, 3, 20, len(blob) // 2):
        path.write_bytes(blob[:length] + rng.bytes(length and 7))
        with pytest.raises(DataError) as raised:
            decode([path], (1, 32, 32), None)
        assert str(path) in str(raised.value)
