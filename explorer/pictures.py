"""Images as files: PNG and GIF, scaled up without smoothing."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from explorer.latent import Array
from explorer.sizes import enlargement
from training.onnx_files import AnyModel

Pixels = NDArray[np.uint8]
GAP = 2
GREY = 128
TITLE = 14
"""Pixels that the letters of a title are high."""
ROW = 128
"""Pixels that a row of images is high, unless the images are higher."""
GIF = 224
"""The same of a GIF."""
SHOWN = 640
"""Pixels across that a picture on a tile has at most."""
MAX_PIXELS = 16_000_000


def drawn(model: AnyModel, z: Array, weights: Array | None = None) -> Pixels:
    """Latents (n, d), with class weights (n, k), to pixels (n, H, W, C)."""
    condition = None if weights is None else torch.from_numpy(weights)
    return to_pixels(model.decode(torch.from_numpy(z), condition).cpu().numpy())


def to_pixels(images: NDArray[np.float32]) -> Pixels:
    """Images (n, C, H, W) in [0, 1] -> uint8 (n, H, W, C)."""
    return np.round(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def enlarge(image: Pixels, scale: int) -> Pixels:
    """Repeat every pixel of (H, W, C) ``scale`` times both ways."""
    return image.repeat(scale, 0).repeat(scale, 1)


def reduced(images: Pixels, most: int) -> Pixels:
    """Images (n, H, W, C), those higher than ``most`` pixels averaged to be no higher."""
    factor = -(-images.shape[1] // most)
    if factor == 1:
        return images
    smaller = [np.asarray(_image(image).reduce(factor)) for image in images]
    return np.stack(smaller).reshape(len(images), *smaller[0].shape[:2], images.shape[-1])


def row(images: Pixels, scale: int | None = None) -> Pixels:
    """Images (n, H, W, C) side by side, enlarged, with grey gaps."""
    n, height, width, channels = images.shape
    out = np.full((height, n * (width + GAP) - GAP, channels), GREY, np.uint8)
    for i, image in enumerate(images):
        out[:, i * (width + GAP) : i * (width + GAP) + width] = image
    return enlarge(out, scale or enlargement(height, ROW))


def sheet(images: Pixels, columns: int) -> Pixels:
    """Images (n, H, W, C) in rows, with grey gaps between and around them, n in whole rows."""
    n, height, width, channels = images.shape
    cells = np.pad(images, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=GREY)
    cells = cells.reshape(n // columns, columns, height + GAP, width + GAP, channels)
    whole = cells.swapaxes(1, 2).reshape(-1, columns * (width + GAP), channels)
    return np.pad(whole, ((0, GAP), (0, GAP), (0, 0)), constant_values=GREY)


def first_rows(blob: bytes, cell: int) -> bytes | None:
    """The first rows of a PNG of samples, about half as high as wide, for a screen's width.

    ``cell`` is the height of a sample. Small pictures are enlarged without smoothing. None for
    what is no PNG, or one too large to show.
    """
    try:
        with Image.open(io.BytesIO(blob), formats=("PNG",)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:  # known before any pixel is decoded
                return None
            rows = max(round(width / 2 / (cell + GAP)), 1)
            top = image.convert("RGB").crop((0, 0, width, min(rows * (cell + GAP) + GAP, height)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = max(round(SHOWN / width), 1)
    top = top.resize((top.width * scale, top.height * scale), Image.Resampling.NEAREST)
    top.thumbnail((SHOWN, SHOWN))
    file = io.BytesIO()
    top.save(file, "PNG")
    return file.getvalue()


def png(image: Pixels, text: dict[str, str] | None = None) -> bytes:
    """Image (H, W, C) as PNG; ``text`` goes into its text chunks."""
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    file = io.BytesIO()
    _image(image).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def inside(blob: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(blob).decode('ascii')}"


def titled(image: Pixels, words: str) -> Pixels:
    """Image (H, W, C) under a line of words, white on black, cut where they are too long."""
    font = ImageFont.load_default(TITLE)
    line = Image.new("L", (image.shape[1], 2 * TITLE))
    ImageDraw.Draw(line).text((TITLE // 2, TITLE), words, 255, font, anchor="lm")
    above = np.repeat(np.asarray(line)[..., None], image.shape[2], 2)
    return np.concatenate([above, image])


def gif(
    images: Pixels, scale: int | None = None, milliseconds: int = 120, back: bool = True
) -> bytes:
    """Images (n, H, W, C) as a GIF that runs for ever: there and ``back``, or there alone."""
    scale = scale or enlargement(images.shape[1], GIF)
    frames = [_image(enlarge(image, scale)) for image in images]
    frames += frames[-2:0:-1] if back else []
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
    )
    return file.getvalue()


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
