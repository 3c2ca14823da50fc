"""Images as files: PNG and GIF, scaled up without smoothing."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Pixels = NDArray[np.uint8]
GAP = 2


def to_pixels(images: NDArray[np.float32]) -> Pixels:
    """Images (n, C, H, W) in [0, 1] -> uint8 (n, H, W, C)."""
    return np.round(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def enlarge(image: Pixels, scale: int) -> Pixels:
    """Repeat every pixel of (H, W, C) ``scale`` times both ways."""
    return image.repeat(scale, 0).repeat(scale, 1)


def row(images: Pixels, scale: int = 4) -> Pixels:
    """Images (n, H, W, C) side by side, enlarged, with grey gaps."""
    n, height, width, channels = images.shape
    out = np.full((height, n * (width + GAP) - GAP, channels), 128, np.uint8)
    for i, image in enumerate(images):
        out[:, i * (width + GAP) : i * (width + GAP) + width] = image
    return enlarge(out, scale)


def png(image: Pixels, text: dict[str, str] | None = None) -> bytes:
    """Image (H, W, C) as PNG; ``text`` goes into its text chunks."""
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    file = io.BytesIO()
    _image(image).save(file, "PNG", pnginfo=info, optimize=True)
    return file.getvalue()


def gif(images: Pixels, scale: int = 8, milliseconds: int = 120) -> bytes:
    """Images (n, H, W, C) as a GIF that runs there and back for ever."""
    frames = [_image(enlarge(image, scale)) for image in images]
    frames += frames[-2:0:-1]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
    )
    return file.getvalue()


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
