"""Pictures that people bring: what is made of them, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from explorer.uploads import (
    INK_BOX,
    MAX_BYTES,
    UploadError,
    as_mnist,
    read_digit,
    read_for,
    read_picture,
)
from training.pictures import decode

# Pillow warns of large and of damaged pictures; here they are meant to be.
pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def drawing(
    size: tuple[int, int] = (200, 240), ink: int = 0, ground: int = 255, width: int = 22
) -> Image.Image:
    """A 4, drawn off centre with a thick pen."""
    image = Image.new("L", size, ground)
    draw = ImageDraw.Draw(image)
    draw.line([(60, 30), (30, 110), (110, 110)], fill=ink, width=width)
    draw.line([(90, 60), (85, 170)], fill=ink, width=width)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def centre(digit: np.ndarray) -> tuple[float, float]:
    mass = digit.astype(float)
    rows, columns = np.indices(digit.shape)
    return (mass * rows).sum() / mass.sum(), (mass * columns).sum() / mass.sum()


def ink_box(digit: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(digit)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def refused(blob: bytes, words: str) -> None:
    with pytest.raises(UploadError, match=words):
        read_digit(blob)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large, and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("WEBP", {"quality": 90}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_a_drawing_becomes_a_digit(kind: str, settings: dict) -> None:
    digit = read_digit(encoded(drawing(), kind, **settings))
    assert digit.shape == (28, 28)
    assert digit.dtype == np.uint8
    assert digit.max() > 200  # bright ink ...
    assert np.median(digit) == 0  # ... on black
    assert distance(digit, read_digit(encoded(drawing()))) < 3


def test_it_has_mnists_size_and_place() -> None:
    digit = read_digit(encoded(drawing()))
    height, width = ink_box(digit)
    assert max(height, width) == INK_BOX
    np.testing.assert_allclose(centre(digit), (13.5, 13.5), atol=1)


@pytest.mark.parametrize("seed", range(5))
def test_ink_is_centred_by_its_mass_and_at_most_twenty_pixels(seed: int) -> None:
    image = Image.new("L", (300, 300), 255)
    points = np.random.default_rng(seed).integers(60, 240, (5, 2))
    ImageDraw.Draw(image).line([tuple(map(int, point)) for point in points], fill=0, width=16)
    digit = read_digit(encoded(image))
    assert max(ink_box(digit)) <= INK_BOX
    np.testing.assert_allclose(centre(digit), (13.5, 13.5), atol=1)


def test_dark_on_light_and_light_on_dark_are_the_same_digit() -> None:
    dark = read_digit(encoded(drawing(ink=0, ground=255)))
    light = read_digit(encoded(drawing(ink=255, ground=0)))
    pale = read_digit(encoded(drawing(ink=90, ground=210)))
    assert distance(dark, light) < 1
    assert distance(dark, pale) < 1


@pytest.mark.parametrize("size", [28, 32, 64])
def test_ink_is_centred_as_uploads_are(size: int) -> None:
    ink = np.asarray(drawing(ink=255, ground=0))
    digit = as_mnist(ink, size)
    assert digit.shape == (size, size)
    np.testing.assert_array_equal(digit, read_digit(encoded(drawing(ink=255, ground=0)), size))
    assert max(ink_box(digit)) == round(INK_BOX * size / 28)


def test_no_ink_is_refused() -> None:
    with pytest.raises(UploadError, match="blank"):
        as_mnist(np.zeros((50, 50), np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    digit = read_digit(encoded(drawing().convert(mode)))
    assert distance(digit, read_digit(encoded(drawing()))) < 1


def test_a_scan_of_sixteen_bits_is_read() -> None:
    coarse = drawing(ink=40, ground=230)
    fine = Image.fromarray(np.asarray(coarse).astype(np.uint16) * 257)
    assert fine.mode.startswith("I;16")
    np.testing.assert_array_equal(read_digit(encoded(fine)), read_digit(encoded(coarse)))


def test_a_cmyk_jpeg_is_read() -> None:
    digit = read_digit(encoded(drawing().convert("CMYK"), "JPEG"))
    assert distance(digit, read_digit(encoded(drawing()))) < 3


def test_transparent_parts_are_paper() -> None:
    ink = drawing()
    picture = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), mask=ink.point(lambda v: 255 - v))
    digit = read_digit(encoded(picture))
    assert distance(digit, read_digit(encoded(ink))) < 1


def test_a_photo_is_turned_upright() -> None:
    turned = drawing().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 270 degrees to see it upright
    digit = read_digit(encoded(turned, "JPEG", exif=exif.tobytes(), quality=95))
    assert distance(digit, read_digit(encoded(drawing()))) < 3


def test_paper_texture_is_no_ink() -> None:
    noise = np.random.default_rng(0).integers(-8, 9, (240, 200))
    rough = np.clip(np.asarray(drawing()) * 0.8 + 30 + noise, 0, 255).astype(np.uint8)
    digit = read_digit(encoded(Image.fromarray(rough)))
    assert distance(digit, read_digit(encoded(drawing()))) < 4


@pytest.mark.parametrize(("width", "height"), [(1, 150), (3, 170), (150, 1)])
def test_a_thin_stroke_is_a_digit(width: int, height: int) -> None:
    image = Image.new("L", (200, 200), 255)
    image.paste(0, (90, 20, 90 + width, 20 + height) if width < 10 else (20, 90, 170, 90 + height))
    digit = read_digit(encoded(image))
    assert digit.max() > 200
    assert max(ink_box(digit)) == INK_BOX
    assert min(ink_box(digit)) <= 2


def test_a_large_drawing_with_a_thin_pen_is_as_bright_as_one_with_a_thick_pen() -> None:
    image = Image.new("L", (2000, 2000), 255)
    ImageDraw.Draw(image).line([(200, 200), (1800, 300), (600, 1800)], fill=0, width=9)
    assert read_digit(encoded(image)).max() > 200


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_blank_picture_is_refused(shade: int) -> None:
    refused(encoded(Image.new("L", (100, 100), shade)), "blank")
    refused(encoded(Image.new("RGB", (28, 28), (shade, shade, shade)), "JPEG"), "blank")


def test_a_wholly_transparent_picture_is_refused() -> None:
    refused(encoded(Image.new("RGBA", (50, 50), (0, 0, 0, 0))), "blank")


def test_specks_far_apart_are_refused() -> None:
    image = Image.new("L", (3000, 3000), 255)
    image.putpixel((10, 10), 0)
    image.putpixel((2900, 2900), 0)
    refused(encoded(image), "thin")


def test_a_file_that_is_too_large_is_refused() -> None:
    blob = encoded(drawing())
    read_digit(blob + bytes(MAX_BYTES - len(blob)))
    refused(blob + bytes(MAX_BYTES - len(blob) + 1), "up to 2 MB")


@pytest.mark.parametrize("side", [4001, 12_000, 60_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    refused(png_header(side, side), "million")


def other_files() -> dict[str, bytes]:
    whole = encoded(drawing())
    return {
        "gif": encoded(drawing(), "GIF"),
        "bmp": encoded(drawing(), "BMP"),
        "tiff": encoded(drawing(), "TIFF"),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "html": b"<!doctype html><script>alert(1)</script>",
        "text": b"a 4",
        "empty": b"",
        "signature": whole[:8],
        "truncated png": whole[: len(whole) // 2],
        "truncated jpeg": encoded(drawing(), "JPEG")[:300],
        "truncated webp": encoded(drawing(), "WEBP")[:200],
        "no pixels": png_header(10, 10),
        "no width": png_header(0, 10),
    }


@pytest.mark.parametrize("name", other_files())
def test_anything_else_is_refused(name: str) -> None:
    refused(other_files()[name], "not a PNG, JPEG or WebP|damaged")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a 4"
    whole = encoded(drawing((60, 60)), kind, exif=exif.tobytes())
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(300):
        blob = bytearray(whole)
        for place in rng.integers(len(blob), size=2):
            blob[place] = rng.integers(256)
        try:
            outcomes.add(read_digit(bytes(blob)).shape)
        except UploadError:
            outcomes.add("refused")
    assert outcomes <= {(28, 28), "refused"}
    assert "refused" in outcomes


@pytest.mark.parametrize("failure", [struct.error("bad"), TypeError("bad"), EOFError("bad")])
def test_whatever_a_decoder_raises_becomes_a_sentence(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("explorer.uploads.ImageOps.exif_transpose", fail)
    refused(encoded(drawing()), "damaged")


# --- Pictures in colour ------------------------------------------------------------------------

PHOTO = (3, 32, 32)


def photo(width: int = 32, height: int = 32) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_a_picture_of_the_models_size_stays_as_it_is() -> None:
    image = photo()
    np.testing.assert_array_equal(read_picture(encoded(image), PHOTO), np.asarray(image))


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (500, 500), (3, 900)])
def test_a_picture_is_cut_to_its_middle_as_training_does(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "1.png").write_bytes(encoded(photo(*size)))
    expected = decode([tmp_path / "1.png"], PHOTO, None)[0].permute(1, 2, 0)
    np.testing.assert_array_equal(read_picture(encoded(photo(*size)), PHOTO), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA"])
def test_every_kind_of_picture_has_three_channels(mode: str) -> None:
    assert read_picture(encoded(photo().convert(mode)), PHOTO).shape == (32, 32, 3)
    assert read_picture(encoded(photo().convert(mode)), (1, 64, 64)).shape == (64, 64, 1)


def test_only_what_is_as_large_as_mnist_is_read_as_a_digit() -> None:
    blob = encoded(drawing())
    np.testing.assert_array_equal(read_for(blob, (1, 28, 28))[..., 0], read_digit(blob))
    assert np.median(read_for(blob, (1, 32, 32))) == 255  # paper stays white
    assert read_for(blob, (3, 160, 160)).shape == (160, 160, 3)


def test_a_picture_without_ink_is_a_picture() -> None:
    assert (read_picture(encoded(Image.new("RGB", (50, 50), "navy")), PHOTO) == (0, 0, 128)).all()


@pytest.mark.parametrize("name", other_files())
def test_what_is_no_picture_is_refused_in_colour_too(name: str) -> None:
    with pytest.raises(UploadError, match=r"not a PNG, JPEG or WebP|damaged"):
        read_picture(other_files()[name], PHOTO)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (encoded(drawing()) + bytes(MAX_BYTES), "up to 2 MB"),
        (png_header(60_000, 60_000), "million"),
    ],
)
def test_too_large_a_picture_is_refused_in_colour_too(blob: bytes, words: str) -> None:
    with pytest.raises(UploadError, match=words):
        read_picture(blob, PHOTO)
