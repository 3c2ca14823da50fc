"""Fixtures shared by all tests: real digits, a small tree of pictures, tiny trained checkpoints."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress

from training.data import MNIST_SHAPE, DataError, ImageData, data_root, load_both
from training.loop import Run, fit
from training.publish import publish
from training.recipes import RECIPES, Recipe, Wasserstein
from training.specs import (
    ClassifierSpec,
    ConvDown,
    ConvUp,
    Down,
    GANSpec,
    NetworkSpec,
    Up,
    VAESpec,
)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """Shells make what they start behind an & ignore Ctrl-C; what tests start would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread_from_the_start() -> None:
    """Networks this small lose by several threads, whose sums also differ in the last digit."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """UMAP leaves torch with a thread per core, which then wait for each other: 50 times slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist() -> tuple[ImageData, ImageData]:
    """MNIST's training and test sets, from LATENT_DATA or data/."""
    root = data_root()
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip(
            f"MNIST is not in {root}: run `latent-train download mnist`, or set LATENT_DATA"
        )
    try:
        return load_both(root, "mnist", MNIST_SHAPE)
    except DataError as error:  # present but damaged is a failure, never a skip
        pytest.fail(str(error))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A class-per-folder tree of random 28x28 pictures: 3 classes, 8 to train on, 4 to test."""
    root = tmp_path / "shapes"
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in ("bar", "cross", "dot"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder that runs train into."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def synthetic(n: int, seed: int, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageData:
    """Pictures whose left or right half is bright, by class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 60, (n, *shape), generator=generator, dtype=torch.uint8)
    half = shape[2] // 2
    images[labels == 0, :, :, :half] += 190
    images[labels == 1, :, :, half:] += 190
    return ImageData(images, labels, ("left", "right"), "halves")


_TINY = (1, 8, 8)
_TINY_DOWN = ConvDown((Down(4, 3, 2), Down(8, 3, 2)))
_TINY_UP = ConvUp(
    grid=(8, 2, 2),
    stages=(Up(8, 4), Up(8, 4), Up(1, 7, stride=1, op="conv")),
    activation="leaky",
)
_TINY_NORM = ConvUp((Up(8, 2, 1, "valid"), Up(8, 4), Up(1, 4)), norm="before")

SPECS: dict[str, NetworkSpec] = {
    "mnist-conv-vae-z2": VAESpec(
        2,
        replace(_TINY_DOWN, dense=(8,), activation="relu"),
        ConvUp(grid=(8, 2, 2), stages=(Up(8, 3), Up(4, 3), Up(1, 3, stride=1))),
        _TINY,
    ),
    "mnist-cgan": GANSpec(
        6,
        _TINY_UP,
        replace(_TINY_DOWN, end="max"),
        num_classes=2,
        image_shape=_TINY,
        init="glorot",
    ),
    "mnist-judge": ClassifierSpec(channels=(4, 8), num_classes=2, image_shape=_TINY),
    "mnist-gan-r4-z2": GANSpec(
        2,
        _TINY_NORM,
        replace(_TINY_DOWN, norm=True),
        output="tanh",
        image_shape=_TINY,
        init="normal",
    ),
    "mnist-wgan-gp-z2": GANSpec(
        2, _TINY_NORM, _TINY_DOWN, output="tanh", image_shape=_TINY, init="normal"
    ),
    "mnist-wgan-r2": GANSpec(
        6, _TINY_UP, replace(_TINY_DOWN, dropout=0.4), image_shape=_TINY, init="glorot"
    ),
}
"""Networks that train in an instant, of the structure of the recipe they are named after."""

CHECKPOINTS = ("mnist-conv-vae-z2", "mnist-cgan", "mnist-judge")


@pytest.fixture(scope="session")
def halves() -> tuple[ImageData, ImageData]:
    """96 training and 32 test pictures of 8x8, of two classes."""
    return synthetic(96, 1), synthetic(32, 2)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """``tiny_recipe(name, **changes)``: that recipe with a network that trains in an instant."""

    def make(name: str, **changes: object) -> Recipe:
        settings: dict = {
            "network": SPECS[name],
            "dataset": "halves",
            "epochs": 2,
            "batch_size": 16,
            "bf16": False,  # which slows such small networks down
        }
        if isinstance(objective := RECIPES[name].objective, Wasserstein):
            # 96 images make 6 batches: three generator steps per epoch.
            settings["objective"] = replace(objective, critic_steps=2)
        return replace(RECIPES[name], **(settings | changes))

    return make


@pytest.fixture(scope="session")
def train_run(halves: tuple[ImageData, ImageData]) -> Callable[..., Run]:
    """``train_run(recipe, seed=0)``: the finished run of a recipe on `halves`."""

    def train(recipe: Recipe, seed: int = 0) -> Run:
        *_, run = fit(recipe, *halves, Progress(disable=True), seed=seed)
        return run

    return train


@pytest.fixture(scope="session")
def tiny_checkpoints(
    tmp_path_factory: pytest.TempPathFactory,
    halves: tuple[ImageData, ImageData],
    tiny_recipe: Callable[..., Recipe],
    train_run: Callable[..., Run],
) -> Path:
    """A folder with a tiny VAE and CGAN, and a judge beside them; read-only: copy to tamper."""
    root = tmp_path_factory.mktemp("checkpoints")
    for name in CHECKPOINTS:
        folder = root / ("judges" if name == "mnist-judge" else "") / name
        publish(train_run(tiny_recipe(name)), *halves, folder)
    return root
