"""Pictures that people bring: bounded, decoded safely, and made to look like a model's images."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from training.data import MNIST_SHAPE
from training.pictures import ImageShape, eight_bits, prepared

MAX_BYTES = 2 << 20
MAX_PIXELS = 16_000_000
INK_BOX = 20
"""MNIST fits its digits into 20 x 20 pixels, centred by mass in 28 x 28."""


FAINT = 12
"""Ink that is no brighter than this after scaling down is not there."""

Made = TypeVar("Made")


class UploadError(ValueError):
    """A picture that cannot be used; the message says why and what would do."""


def read_for(blob: bytes, image_shape: ImageShape) -> NDArray[np.uint8]:
    """A picture as a model of images (C, H, W) wants it: uint8 (H, W, C), as a digit or as it is.

    Raises UploadError.
    """
    if image_shape == MNIST_SHAPE:
        return read_digit(blob, image_shape[1])[..., None]
    return read_picture(blob, image_shape)


def read_picture(blob: bytes, image_shape: ImageShape) -> NDArray[np.uint8]:
    """A PNG, JPEG or WebP as training prepares its pictures: uint8 (H, W, C).

    The middle part of the shape's proportions, resized. Raises UploadError for anything else than
    one readable picture.
    """
    return _opened(blob, lambda image: prepared(image, image_shape).transpose(1, 2, 0).copy())


def read_digit(blob: bytes, size: int = 28) -> NDArray[np.uint8]:
    """A PNG, JPEG or WebP of a digit as MNIST would hold it: uint8 (size, size), ink bright.

    Dark ink on a light ground is inverted. Raises UploadError for anything else than one readable
    picture with ink on it.
    """
    return as_mnist(_ink(_opened(blob, _grey)), size)


def as_mnist(ink: NDArray[np.uint8], size: int = 28) -> NDArray[np.uint8]:
    """Bright ink on black (h, w) cropped, scaled and centred by its mass: uint8 (size, size).

    Raises UploadError where there is no ink, or next to none.
    """
    box = Image.fromarray(ink).getbbox()
    if box is None:
        raise UploadError("The picture is blank: nothing stands out from its background.")
    digit = Image.fromarray(ink).crop(box)
    inner = round(INK_BOX * size / 28)
    scale = inner / max(digit.size)
    width, height = (max(round(side * scale), 1) for side in digit.size)
    digit = digit.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(digit).astype(np.float32)
    if pixels.max() < FAINT:
        raise UploadError("The strokes are too thin for the picture's size: draw with a wider pen.")
    return _centred((pixels * (255 / pixels.max())).astype(np.uint8), size)


def _opened(blob: bytes, make: Callable[[Image.Image], Made]) -> Made:
    """What ``make`` makes of a picture; raises UploadError for what is none or too large."""
    if len(blob) > MAX_BYTES:
        raise UploadError(f"The file has {len(blob) / 2**20:.1f} MB; up to 2 MB can be read.")
    try:
        with Image.open(io.BytesIO(blob), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:  # known before any pixel is decoded
                raise _too_many_pixels()
            return make(image)
    except UploadError:
        raise
    except UnidentifiedImageError:
        raise UploadError("This is not a PNG, JPEG or WebP picture.") from None
    except Image.DecompressionBombError:
        raise _too_many_pixels() from None
    except Exception as error:  # on damaged bytes, Pillow's decoders raise all kinds
        raise UploadError(f"The picture is damaged and cannot be read ({error}).") from error


def _grey(image: Image.Image) -> Image.Image:
    """Upright, with transparent parts on white, as 8-bit grey."""
    rgba = eight_bits(ImageOps.exif_transpose(image)).convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("L")


def _too_many_pixels() -> UploadError:
    return UploadError(
        f"The picture is too large: {MAX_PIXELS // 1_000_000} million pixels at most."
    )


def _ink(image: Image.Image) -> NDArray[np.uint8]:
    """Bright ink on black: inverted where the border is bright, stretched, noise removed."""
    pixels = np.asarray(image).astype(np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = float(np.median(border))
    ink = np.abs(pixels - ground)
    if ink.max() < 25:  # a tenth of full contrast: paper texture, not ink
        return np.zeros_like(ink, np.uint8)
    ink = ink / ink.max()
    return (np.where(ink < 0.15, 0, ink) * 255).astype(np.uint8)


def _centred(digit: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Place ``digit`` so that its centre of mass is the middle of a (size, size) image."""
    height, width = digit.shape
    mass = digit.astype(np.float64)
    top = size / 2 - 0.5 - (mass.sum(1) @ np.arange(height)) / mass.sum()
    left = size / 2 - 0.5 - (mass.sum(0) @ np.arange(width)) / mass.sum()
    row = int(np.clip(round(top), 0, size - height))
    column = int(np.clip(round(left), 0, size - width))
    out = np.zeros((size, size), np.uint8)
    out[row : row + height, column : column + width] = digit
    return out
