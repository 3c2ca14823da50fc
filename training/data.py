"""Images as uint8 tensors with labels, resident on the device; batches are drawn there.

Read are MNIST's, CIFAR-10's and Imagenette's own files and the user's own pictures in folders;
the two-dimensional mixtures of `training.mixtures` are generated.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from training.mixtures import MIXTURES
from training.pictures import (
    ENDINGS,
    DataError,
    ImageShape,
    OnImage,
    decode,
    list_folder,
    list_pictures,
)
from training.specs import MOST_CLASSES

Split = Literal["train", "test"]
Files = Mapping[str, Sequence[Path]]

DATASETS = ("mnist", "cifar10", "imagenette", "stacked-mnist", "ring8", "grid25")
"""Every data set that a recipe can name."""
SIZES = {
    "mnist": {"train": 60_000, "test": 10_000},
    "cifar10": {"train": 50_000, "test": 10_000},
    "imagenette": {"train": 9_469, "test": 3_925},
    "stacked-mnist": {"train": 60_000, "test": 10_000},
    "ring8": {"train": 50_000, "test": 10_000},
    "grid25": {"train": 50_000, "test": 10_000},
}
"""Images per split: what is on the disk is held against it, so that half an archive is noticed."""
MNIST_SHAPE = (1, 28, 28)
STACKED_SHAPE = (3, 28, 28)
CIFAR10_SHAPE = (3, 32, 32)
POINT_SHAPE = (1, 1, 2)
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
IMAGENETTE_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Imagenette's folders, which are WordNet's numbers, and what is on the pictures in them."""
FEWEST_PICTURES = 10
NUMBERS_AT_ONCE = 4_000_000
"""Pixels of the images that are read or drawn at a time, at most: large ones fit, too."""


@dataclass(frozen=True)
class ImageData:
    """A labelled set of images held in one tensor."""

    images: Tensor
    """uint8 (n, C, H, W); or float32 in [0, 1], for the points (n, 1, 1, 2) of a mixture."""
    labels: Tensor
    """int64 (n,)."""
    classes: tuple[str, ...]
    """Class names in label order."""
    name: str = ""
    """Name of the data set: one of `DATASETS`, or the folder's."""

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> ImageData:
        """Copy to ``device``."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels, so that a card can name the exact data."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().flatten().numpy().data)  # a view: Imagenette fills 700 MB
        return digest.hexdigest()


@dataclass(frozen=True)
class PictureFiles:
    """A labelled set of images in files of their own, none of them decoded yet."""

    paths: tuple[Path, ...]
    """Where each image is."""
    labels: Tensor
    """int64 (n,)."""
    classes: tuple[str, ...]
    """Class names in label order."""
    name: str
    """Name of the data set: one of `DATASETS`, or the folder's."""
    image_shape: ImageShape
    """(C, H, W) of every image once it is decoded."""

    def __len__(self) -> int:
        return len(self.paths)

    def images(self, index: Sequence[int]) -> Tensor:
        """Images as uint8 (n, C, H, W), as `load` has them; raises DataError for a damaged one."""
        return decode([self.paths[i] for i in index], self.image_shape, None)

    def loaded(self, on_image: OnImage | None = None) -> ImageData:
        """All of them in one tensor; raises DataError for a damaged one."""
        images = decode(self.paths, self.image_shape, on_image)
        return ImageData(images, self.labels, self.classes, self.name)


def data_root(root: Path | str | None = None) -> Path:
    """Data folder: ``root`` if given, else the variable LATENT_DATA, else ``data``."""
    return Path(root or os.environ.get("LATENT_DATA") or "data")


def load_both(
    root: Path, dataset: str, image_shape: ImageShape, on_image: OnImage | None = None
) -> tuple[ImageData, ImageData]:
    """Load the training and the test split; raises DataError where their classes differ."""
    train = load(root, dataset, "train", image_shape, on_image)
    test = load(root, dataset, "test", image_shape, on_image)
    _check_same_classes(root, train.classes, test.classes)
    return train, test


def load(
    root: Path,
    dataset: str,
    split: Split,
    image_shape: ImageShape,
    on_image: OnImage | None = None,
) -> ImageData:
    """Load one split of a data set (one of `DATASETS`) as images of shape (C, H, W).

    A class-per-folder tree ``root/train`` is the user's own and taken whatever ``dataset`` says;
    only mixtures are never read from a disk. ``on_image(done, total)`` is called as pictures of
    the split are decoded. Raises DataError, naming the folder to fill, if the data set is not
    there, and naming the file if one is damaged.
    """
    if dataset in MIXTURES:
        _check_shape(dataset, POINT_SHAPE, image_shape)
        return points(dataset, SIZES[dataset][split], seed=0 if split == "train" else 1)
    if files := list_files(root, dataset, split, image_shape):
        return files.loaded(on_image)
    match dataset:
        case "mnist":
            _check_shape("MNIST", MNIST_SHAPE, image_shape)
            return load_mnist(root, split)
        case "stacked-mnist":
            _check_shape("Stacked-MNIST", STACKED_SHAPE, image_shape)
            return stacked(load_mnist(root, split), seed=0 if split == "train" else 1)
        case "cifar10":
            return _load_cifar10_batches(root, split)
    raise DataError(
        f"There is no data set {dataset!r}: choose one of {', '.join(DATASETS)}, or put pictures "
        f"of your own into {root / 'train'}/<class> and {root / 'test'}/<class>."
    )


def list_files(
    root: Path, dataset: str, split: Split, image_shape: ImageShape
) -> PictureFiles | None:
    """What `load` would decode, in its order; None where the data set is no tree of pictures.

    Raises DataError as `load` does, but for damaged pictures: none is opened.
    """
    if (root / "train").is_dir():
        return _list_own(root, split, image_shape)
    match dataset:
        case "cifar10":
            _check_shape("CIFAR-10", CIFAR10_SHAPE, image_shape)
            return _list_cifar10(root, split)
        case "imagenette":
            return _list_imagenette(root, split, image_shape)
    return None


def _check_shape(title: str, shape: ImageShape, wanted: ImageShape) -> None:
    if shape != wanted:
        raise DataError(f"{title} has images of shape {shape}, not {wanted}.")


def _check_same_classes(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    if differing := sorted(set(train) ^ set(test)):
        raise DataError(
            f"{root}: training and test images must have the same classes, but "
            f"{', '.join(differing)} is only in one of them."
        )


def require_classes(data: ImageData, at_least: int = 2) -> None:
    """Raise DataError where a conditional model or a judge cannot have the classes of ``data``."""
    if len(data.classes) < at_least:
        raise DataError(
            f"This model needs images of at least {at_least} classes, but there "
            f"{'is one' if len(data.classes) == 1 else f'are {len(data.classes)}'} in "
            f"{data.name or 'the data'}: make one folder of pictures per class."
        )
    if len(data.classes) > MOST_CLASSES:
        raise DataError(
            f"This model tells at most {MOST_CLASSES:,} classes apart, but there are "
            f"{len(data.classes):,} in {data.name or 'the data'}: leave some out, or train a model "
            "that knows no classes."
        )


def require_names(data: ImageData) -> None:
    """Raise DataError where ``data`` or a class has a name that a card, in UTF-8, cannot hold."""
    for name in (data.name, *data.classes):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"The folder {name!r} has a name that is not UTF-8: rename it."
            ) from None


def _absent(title: str, dataset: str, root: Path, by_hand: str) -> DataError:
    return DataError(
        f"{title} is not in {root}. With a network, run "
        f"`latent-train download {dataset} --data {root}`. Without one, {by_hand}."
    )


def load_mnist(root: Path, split: Split) -> ImageData:
    """MNIST from ``root/MNIST/raw``, where ``torchvision.datasets.MNIST`` keeps it.

    The files are read here: importing torchvision for it would cost the app 160 MB and seconds.
    """
    folder = root / "MNIST" / "raw"
    prefix = "train" if split == "train" else "t10k"
    n = SIZES["mnist"][split]
    try:
        images = _read_idx(folder / f"{prefix}-images-idx3-ubyte", (n, *MNIST_SHAPE[1:]))
        labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte", (n,)).long()
        if labels.max() > 9:
            raise ValueError("labels are out of range")
    except FileNotFoundError as error:
        by_hand = (
            "put the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            f"t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte into {folder}"
        )
        raise _absent("MNIST", "mnist", root, by_hand) from error
    except (OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"MNIST in {folder} is incomplete or damaged ({reason}). "
            f"Delete the folder and download or copy the four files again."
        ) from error
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


def _list_cifar10(root: Path, split: Split) -> PictureFiles | None:
    """CIFAR-10's tree ``root/cifar10``; None where there are torchvision's batches instead.

    Pixels, class names and labels are those of either layout, but not the order of the images.
    """
    if (root / "cifar10").is_dir():
        classes = {name: name for name in CIFAR10_CLASSES}
        return _list_known("cifar10", root / "cifar10" / split, split, classes, CIFAR10_SHAPE)
    if (root / "cifar-10-batches-py").is_dir():
        return None
    by_hand = (
        f"put pictures into {root}/cifar10/train/<class> and {root}/cifar10/test/<class>, "
        f"or torchvision's files into {root}/cifar-10-batches-py"
    )
    raise _absent("CIFAR-10", "cifar10", root, by_hand)


def _load_cifar10_batches(root: Path, split: Split) -> ImageData:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    # The batches are pickles, and unpickling runs whatever a file says. None is opened before all
    # have the MD5 sums of the original ones, here and once more in torchvision: MD5 collides, but
    # nobody can make another file with the sum of one that exists. So only the University of
    # Toronto's own bytes are unpickled, and an attacker's never.
    folder = root / CIFAR10.base_folder
    meta = (CIFAR10.meta["filename"], CIFAR10.meta["md5"])
    for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list, meta):
        if not check_integrity(folder / name, md5):
            raise DataError(
                f"{folder / name} is missing or damaged: delete {folder}, then unpack CIFAR-10 "
                f"again or run `latent-train download cifar10 --data {root}`."
            )
    batches = CIFAR10(root, train=split == "train", download=False)
    images = torch.from_numpy(batches.data).permute(0, 3, 1, 2).contiguous()
    return ImageData(images, torch.tensor(batches.targets), tuple(batches.classes), "cifar10")


def _list_imagenette(root: Path, split: Split, image_shape: ImageShape) -> PictureFiles:
    """Imagenette in ``root/imagenette2-160``, resized unless ``image_shape`` is (3, 160, 160)."""
    folder = root / "imagenette2-160"
    if not folder.is_dir():
        by_hand = f"put pictures into {folder}/train/<wnid> and {folder}/val/<wnid>"
        raise _absent("Imagenette", "imagenette", root, by_hand)
    folder /= "train" if split == "train" else "val"
    return _list_known("imagenette", folder, split, IMAGENETTE_CLASSES, image_shape)


def _list_known(
    dataset: str, folder: Path, split: Split, classes: Mapping[str, str], image_shape: ImageShape
) -> PictureFiles:
    """The tree of a known data set: ``classes`` maps its folders to the names to show."""
    files = {name: list_pictures(folder / subfolder) for subfolder, name in classes.items()}
    found, expected = sum(map(len, files.values())), SIZES[dataset][split]
    if found != expected:
        raise DataError(
            f"{folder} has {found:,} pictures, but {expected:,} belong there: delete "
            f"{folder.parent}, then unpack it again or run "
            f"`latent-train download {dataset} --data {folder.parent.parent}`."
        )
    return _listed(files, dataset, image_shape)


def stacked(digits: ImageData, seed: int) -> ImageData:
    """Three digits drawn at random as the channels of one image, n of them: a thousand modes.

    Stacked-MNIST (Metz et al. 2017, arXiv:1611.02163, section 3.3.1). Class "407" has a 4 in the
    first channel, a 0 in the second and a 7 in the third.
    """
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(len(digits), (3, len(digits)), generator=generator)
    labels = digits.labels[index]
    names = digits.classes
    return ImageData(
        torch.cat([digits.images[one] for one in index], dim=1),
        (labels[0] * len(names) + labels[1]) * len(names) + labels[2],
        tuple(a + b + c for a in names for b in names for c in names),
        "stacked-mnist",
    )


def points(dataset: str, n: int, seed: int) -> ImageData:
    """Points of a mixture as images (n, 1, 1, 2) in [0, 1]; labels and classes are its modes."""
    mixture = MIXTURES[dataset]
    plane, modes = mixture.sample(n, seed)
    classes = tuple(str(mode) for mode in range(len(mixture.centres)))
    return ImageData(mixture.to_unit(plane).view(n, *POINT_SHAPE), modes, classes, dataset)


def _list_own(root: Path, split: Split, image_shape: ImageShape) -> PictureFiles:
    """One split of the user's own tree: ``root/train`` and ``root/test`` or ``root/val``.

    Each holds a folder per class, or only pictures, which are one class then. Files that are not
    named like a picture are passed over. Pictures come out as in `load_images`.
    """
    files = _by_class(_split_folder(root, split))
    return _listed(files, root.resolve().name, image_shape)


def load_images(
    folder: Path, image_shape: ImageShape, on_image: OnImage | None = None
) -> tuple[ImageData, ImageData]:
    """The user's own pictures, to train on and to test with, as images (C, H, W).

    Pictures of any size and mode are turned upright, put on white where they are transparent,
    made grey or RGB, cut to the shape's proportions around their middle, and resized.
    Raises DataError as `list_images` does, and where a picture is damaged or far too large.
    """
    train, test = list_images(folder, image_shape)
    return train.loaded(on_image), test.loaded(on_image)


def list_images(folder: Path, image_shape: ImageShape) -> tuple[PictureFiles, PictureFiles]:
    """What `load_images` would decode: the pictures to train on and those to test with.

    ``folder`` holds ``train`` and ``test`` or ``val`` as in `_list_own`, or a folder per class,
    or only pictures. Without a test set, a tenth of each class is held out, the same in every run.
    Raises DataError where pictures are too few, or a class has none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name one that holds your pictures.")
    if _is_split(folder):
        parts = [_by_class(_split_folder(folder, split)) for split in ("train", "test")]
        _check_same_classes(folder, tuple(parts[0]), tuple(parts[1]))
    else:
        parts = [_by_class(folder)]
    n = sum(len(paths) for files in parts for paths in files.values())
    if n < FEWEST_PICTURES:
        raise DataError(
            f"{folder} has {n} pictures: put at least {FEWEST_PICTURES} there, better thousands."
        )
    train, test = parts if len(parts) == 2 else _hold_out(parts[0])
    name = folder.resolve().name
    return _listed(train, name, image_shape), _listed(test, name, image_shape)


def _is_split(folder: Path) -> bool:
    """Whether ``train`` in it is a training set, and not just a class of pictures of trains."""
    train = folder / "train"
    tested = (folder / "test").is_dir() or (folder / "val").is_dir()
    return train.is_dir() and (tested or not list_pictures(train))


def _split_folder(root: Path, split: Split) -> Path:
    names = ["train"] if split == "train" else ["test", "val"]
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(
        f"{root} has no {' or '.join(names)} folder. "
        f"Make {root / names[0]}/<class>/<image> with one folder per class."
    )


def _by_class(folder: Path) -> Files:
    """Pictures of each class folder; where there are only pictures, they are one class."""
    loose = list_pictures(folder)
    subfolders = [path for path in list_folder(folder) if path.is_dir()]
    if loose and subfolders:
        raise DataError(
            f"{folder} has both pictures ({loose[0].name}) and folders ({subfolders[0].name}): "
            f"move every picture into the folder of its class."
        )
    if not loose and not subfolders:
        raise DataError(f"{folder} has no pictures: make one folder of images per class there.")
    files = {path.name: list_pictures(path) for path in subfolders} or {"images": loose}
    if empty := [name for name, paths in files.items() if not paths]:
        raise DataError(
            f"{folder / empty[0]} has no pictures: put those of this class straight into it, or "
            f"delete it if it is empty. Pictures end in {', '.join(ENDINGS)}."
        )
    return files


def _hold_out(files: Files) -> tuple[Files, Files]:
    """Split every class: nine tenths to train on; a tenth, at least one, to test with."""
    train: dict[str, Sequence[Path]] = {}
    test: dict[str, Sequence[Path]] = {}
    for name, paths in files.items():
        if len(paths) < 2:
            raise DataError(
                f"{paths[0].parent} has one picture: put at least two there, as one is held out "
                f"to test with."
            )
        order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0)).tolist()
        held = max(len(paths) // 10, 1)
        test[name] = [paths[i] for i in sorted(order[:held])]
        train[name] = [paths[i] for i in sorted(order[held:])]
    return train, test


def _listed(files: Files, name: str, image_shape: ImageShape) -> PictureFiles:
    """Pictures class by class, in the order of their names within each."""
    labels = [label for label, paths in enumerate(files.values()) for _ in paths]
    paths = tuple(path for some in files.values() for path in some)
    return PictureFiles(paths, torch.tensor(labels), tuple(files), name, image_shape)


def at_once(image_shape: Sequence[int], numbers: int = NUMBERS_AT_ONCE) -> int:
    """How many images a network that is not being trained reads or draws at a time."""
    return min(max(numbers // math.prod(image_shape), 1), 500)


def batches(
    data: ImageData, batch_size: int, generator: torch.Generator | None = None, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in batches of images (b, C, H, W) float32 in [0, 1] and labels (b,).

    With a ``generator`` (on the CPU, so that every device draws the same order) the order is
    random and a last short batch is dropped; without, it is the set's own and complete.
    The first ``start`` batches are left out, but their order is drawn: what follows is the same.
    """
    if generator is None:
        order = torch.arange(len(data))
    else:
        order = torch.randperm(len(data), generator=generator)
        order = order[: max(len(data) // batch_size, 1) * batch_size]
    for index in order.to(data.images.device).split(batch_size)[start:]:
        x = data.images[index]
        if x.dtype == torch.uint8:
            x = x.float().div_(255)
        yield x.contiguous(memory_format=torch.channels_last), data.labels[index]
