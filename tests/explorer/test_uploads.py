"""Pictures that people bring: what is made of them, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from explorer.uploads import INK_BOX, MAX_BYTES, UploadError, read_digit

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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    digit = read_digit(encoded(drawing().convert(mode)))
    assert distance(digit, read_digit(encoded(drawing()))) < 1


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
