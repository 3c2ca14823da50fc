"""Picture files of any size and mode to one uint8 tensor.

Pictures are turned upright, put on white where they are transparent, made grey or RGB, cut to the
wanted proportions around their middle, and resized.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

ImageShape = tuple[int, int, int]
OnImage = Callable[[int, int], None]

ENDINGS = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Endings of the files that are taken for pictures."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What may be in them. Pillow would go by the content, and hand PostScript to another program."""


class DataError(Exception):
    """A data set is missing, partial or unreadable; the message says what to do."""


def list_folder(folder: Path) -> list[Path]:
    """What is in ``folder``, sorted, but for hidden files; raises DataError if it is closed.

    Hidden are also macOS's "._1.jpg", which stand beside "1.jpg" on foreign disks and are none.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read as a folder: {error.strerror}.") from error


def list_pictures(folder: Path) -> list[Path]:
    """Files in ``folder`` named like pictures, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [p for p in list_folder(folder) if p.suffix.lower() in ENDINGS and p.is_file()]


def decode(paths: Sequence[Path], image_shape: ImageShape, on_image: OnImage | None) -> Tensor:
    """Pictures of any size and mode to one tensor, uint8 (n, C, H, W).

    Threads suffice, as Pillow decodes without Python's lock. They take many pictures at a time:
    to hand over single ones of CIFAR-10 takes as long as to decode them.
    """
    n, step = len(paths), 64
    images = torch.empty((n, *image_shape), dtype=torch.uint8)
    pixels = images.numpy()

    def decode_some(start: int) -> int:
        stop = min(start + step, n)
        for i in range(start, stop):
            pixels[i] = _read_picture(paths[i], image_shape)
        return stop - start

    done = 0
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        for count in pool.map(decode_some, range(0, n, step)):
            done += count
            if on_image:
                on_image(done, n)
    return images


def _read_picture(path: Path, image_shape: ImageShape) -> NDArray[np.uint8]:
    """One picture as uint8 (C, H, W)."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return prepared(image, image_shape)
    except Exception as error:  # on damaged bytes, Pillow's decoders raise all kinds
        raise DataError(
            f"{path} cannot be read as a picture ({error}): replace or delete it."
        ) from error


def prepared(image: Image.Image, image_shape: ImageShape) -> NDArray[np.uint8]:
    """An opened picture, whatever its size and mode, as uint8 (C, H, W).

    Raises whatever Pillow does where its bytes are damaged.
    """
    channels, height, width = image_shape
    ImageOps.exif_transpose(image, in_place=True)
    plain = _on_white(eight_bits(image)).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(_fit(plain, width, height))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled down: Pillow would cut it off at 255."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits: save it with 8 bits for each colour")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent parts become white, as on paper; other pictures stay as they are."""
    if not image.has_transparency_data:
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)


def _fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """The largest middle part with these proportions, resized (smoothly) where it is not so large.

    It is cut while resizing: a strip of 1x60,000 pixels, resized whole, would not fit into memory.
    """
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    part_width, part_height = scale * width, scale * height
    left, top = (image.width - part_width) // 2, (image.height - part_height) // 2
    right, bottom = left + part_width, top + part_height
    box = (left, top, min(right, image.width), min(bottom, image.height))  # but for rounding
    return image.resize((width, height), Image.Resampling.BICUBIC, box)
