"""Images as uint8 tensors with labels, resident on the device; batches are drawn there.

Two layouts are read: MNIST's own files (``ROOT/MNIST/raw``) and any class-per-folder tree
(``ROOT/train/<class>/<image>`` with ``ROOT/test`` or ``ROOT/val`` beside it).
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

Split = Literal["train", "test"]
OnBytes = Callable[[str, int, int], None]
MNIST_SIZE = {"train": 60_000, "test": 10_000}
MNIST_SHAPE = (1, 28, 28)


class DataError(Exception):
    """A data set is missing, partial or unreadable; the message says what to do."""


@dataclass(frozen=True)
class ImageData:
    """A labelled set of images held in one tensor."""

    images: Tensor
    """uint8 (n, C, H, W)."""
    labels: Tensor
    """int64 (n,)."""
    classes: tuple[str, ...]
    """Class names in label order."""
    name: str = ""
    """Name of the data set: mnist, or the folder's."""

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> ImageData:
        """Copy to ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels, so that a card can name the exact data."""
        digest = hashlib.sha256(self.images.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


def data_root(root: Path | str | None = None) -> Path:
    """Data folder: ``root`` if given, else the variable LATENT_DATA, else ``data``."""
    return Path(root or os.environ.get("LATENT_DATA") or "data")


def load_both(
    root: Path, image_shape: tuple[int, int, int] = (1, 28, 28)
) -> tuple[ImageData, ImageData]:
    """Load the training and the test split; raises DataError where their classes differ."""
    train, test = load(root, "train", image_shape), load(root, "test", image_shape)
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{root}: training and test images must have the same classes, but "
            f"{', '.join(differing)} is only in one of them."
        )
    return train, test


def load(root: Path, split: Split, image_shape: tuple[int, int, int] = (1, 28, 28)) -> ImageData:
    """Load one split from ``root``, whichever of the two layouts is there.

    Raises DataError, naming the folder to fill, if neither is there or a file is damaged.
    """
    if (root / "train").is_dir():
        return load_folder(root, split, image_shape)
    if image_shape != MNIST_SHAPE:
        raise DataError(f"MNIST has images of shape {MNIST_SHAPE}, not {image_shape}.")
    return load_mnist(root, split)


def load_mnist(root: Path, split: Split) -> ImageData:
    """MNIST from ``root/MNIST/raw``, where ``torchvision.datasets.MNIST`` keeps it.

    The files are read here: importing torchvision for it would cost the app 160 MB and seconds.
    """
    folder = root / "MNIST" / "raw"
    prefix = "train" if split == "train" else "t10k"
    n = MNIST_SIZE[split]
    try:
        images = _read_idx(folder / f"{prefix}-images-idx3-ubyte", (n, *MNIST_SHAPE[1:]))
        labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte", (n,)).long()
        if labels.max() > 9:
            raise ValueError("labels are out of range")
    except FileNotFoundError as error:
        raise DataError(
            f"MNIST is not in {folder}. With a network, run `latent-train download --data {root}`. "
            f"Without one, put the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            f"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte into that folder."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(_damaged(folder, error)) from error
    classes = tuple(str(digit) for digit in range(10))
    return ImageData(images.unsqueeze(1), labels, classes, "mnist")


def _read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """An idx file of uint8 with exactly this shape: type and sizes, big-endian, then the bytes."""
    blob = path.read_bytes()
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if not blob.startswith(head):
        raise ValueError(f"{path.name} does not begin like {shape} bytes in idx format")
    if len(blob) != len(head) + math.prod(shape):
        raise ValueError(f"{path.name} has {len(blob)} bytes, not {len(head) + math.prod(shape)}")
    return torch.frombuffer(bytearray(blob), dtype=torch.uint8, offset=len(head)).view(shape)


def _damaged(folder: Path, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return (
        f"MNIST in {folder} is incomplete or damaged ({reason}). "
        f"Delete the folder and download or copy the four files again."
    )


def load_folder(root: Path, split: Split, image_shape: tuple[int, int, int]) -> ImageData:
    """A class-per-folder tree, resized and centre-cropped to ``image_shape`` (C, H, W).

    Files that are not named like an image are passed over; one that is and cannot be read
    raises DataError.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    channels, height, width = image_shape
    names = ["train"] if split == "train" else ["test", "val"]
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(
            f"{root} has no {' or '.join(names)} folder. "
            f"Make {root / names[0]}/<class>/<image> with one folder per class."
        )
    transform = v2.Compose(
        [
            v2.Grayscale() if channels == 1 else v2.RGB(),
            v2.Resize(min(height, width), antialias=True),
            v2.CenterCrop([height, width]),
            v2.PILToTensor(),
        ]
    )
    try:
        dataset = ImageFolder(str(folder))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read as one folder of images per class: {error}"
        ) from error
    images = torch.stack([transform(_open_image(Path(path))) for path, _ in dataset.samples])
    return ImageData(
        images, torch.tensor(dataset.targets), tuple(dataset.classes), root.resolve().name
    )


def _open_image(path: Path) -> Image:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    # Pillow's decoders raise these for damaged or absurdly large pictures.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error


def batches(
    data: ImageData, batch_size: int, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in batches of images (b, C, H, W) float32 in [0, 1] and labels (b,).

    With a ``generator`` (on the CPU, so that every device draws the same order) the order is
    random and a last short batch is dropped; without, it is the set's own and complete.
    """
    if generator is None:
        order = torch.arange(len(data))
    else:
        order = torch.randperm(len(data), generator=generator)
        order = order[: max(len(data) // batch_size, 1) * batch_size]
    for index in order.to(data.images.device).split(batch_size):
        x = data.images[index].float().div_(255)
        yield x.contiguous(memory_format=torch.channels_last), data.labels[index]


def download_mnist(root: Path, on_bytes: OnBytes) -> None:
    """Fetch MNIST into ``root/MNIST/raw``, file by file, atomically, with checksums.

    ``on_bytes(file, done, total)`` is called as bytes arrive. Mirrors and checksums are
    torchvision's. Raises DataError if no mirror answers or a file arrives damaged.
    """
    from torchvision.datasets import MNIST

    folder = root / "MNIST" / "raw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made: {error.strerror}") from error
    for name, md5 in MNIST.resources:
        target = folder / name.removesuffix(".gz")
        if not target.exists():
            _download_one(name, md5, MNIST.mirrors, target, on_bytes)


def _download_one(
    name: str, md5: str, mirrors: Sequence[str], target: Path, on_bytes: OnBytes
) -> None:
    """Fetch one packed file from the first mirror that has it intact, unpacked to ``target``."""
    import gzip

    failures: list[str] = []
    for mirror in mirrors:
        try:
            packed = _fetch(mirror + name, partial(on_bytes, name))
            if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5:
                raise OSError("the checksum does not match")
            part = target.with_name(target.name + ".part")
            part.write_bytes(gzip.decompress(packed))
            part.replace(target)
            return
        except (OSError, EOFError) as error:  # URLError is an OSError
            failures.append(f"{mirror}: {error}")
    raise DataError(
        f"{name} could not be downloaded ({'; '.join(failures)}). "
        f"Copy the four MNIST files into {target.parent} instead."
    )


def _fetch(url: str, on_bytes: Callable[[int, int], None]) -> bytes:
    import urllib.request

    with urllib.request.urlopen(url, timeout=20) as response:
        total = int(response.headers.get("Content-Length") or 0)
        content = bytearray()
        while chunk := response.read(1 << 16):
            content += chunk
            on_bytes(len(content), total)
    return bytes(content)
