"""Every system of the five reports as one typed value.

A recipe says what to train and how; it holds no tensors and starts no work. The network
settings are plain dataclasses, so a recipe goes into a checkpoint's card as JSON and comes
back validated.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

# The bounds keep a hostile card from asking for a network that does not fit into memory.
Width = Annotated[int, Field(ge=1, le=16384)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]
LatentDim = Annotated[int, Field(ge=1, le=4096)]
ImageShape = tuple[
    Annotated[int, Field(ge=1, le=4)],
    Annotated[int, Field(ge=4, le=512)],
    Annotated[int, Field(ge=4, le=512)],
]


@dataclass(frozen=True)
class ConvVAESpec:
    """Convolutional VAE of R3: stride-2 convolutions down, transposed convolutions up."""

    latent_dim: LatentDim = 2
    """Number of latent dimensions d."""
    channels: Widths = (32, 64)
    """Output channels of the encoder's convolutions; the decoder mirrors them."""
    hidden: Width = 16
    """Width of the dense layer between the last convolution and mu / log_var."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width; height and width divisible by 2 per convolution."""
    kind: Literal["conv-vae"] = "conv-vae"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        _require_divisible(self.image_shape, 2 ** len(self.channels))


@dataclass(frozen=True)
class ConvCGANSpec:
    """Conditional GAN of R3: the class enters as a one-hot vector and as one-hot planes."""

    latent_dim: LatentDim = 128
    """Number of noise dimensions, without the one-hot class."""
    num_classes: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of classes the generator can be asked for."""
    generator_channels: Width = 128
    """Channels of both transposed convolutions."""
    discriminator_channels: Widths = (64, 128)
    """Output channels of the discriminator's stride-2 convolutions."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width; height and width divisible by 4."""
    kind: Literal["conv-cgan"] = "conv-cgan"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        _require_divisible(self.image_shape, 4)


@dataclass(frozen=True)
class ClassifierSpec:
    """Small convolutional classifier: the judge that reads generated images."""

    channels: Widths = (32, 64, 128)
    """Channels of the stages; every stage but the last ends in 2x2 max-pooling."""
    num_classes: Annotated[int, Field(ge=2, le=1000)] = 10
    """Number of classes it tells apart."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width; height and width at least 2 per stage but the last."""
    kind: Literal["classifier"] = "classifier"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        if min(self.image_shape[1:]) < 2 ** (len(self.channels) - 1):
            raise ValueError(f"{len(self.channels)} stages halve {self.image_shape} to nothing")


def _require_divisible(image_shape: tuple[int, int, int], scale: int) -> None:
    _, height, width = image_shape
    if height % scale or width % scale:
        raise ValueError(f"height and width of {image_shape} must be divisible by {scale}")


NetworkSpec = Annotated[ConvVAESpec | ConvCGANSpec | ClassifierSpec, Field(discriminator="kind")]
Family = Literal["vae", "cgan", "classifier"]


@dataclass(frozen=True)
class Recipe:
    """One trainable system: data set, network, objective and schedule."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]
    """Name of the recipe and of the checkpoint folder it fills, e.g. mnist-conv-vae-z2."""
    title: str
    """The name people read."""
    report: str
    """Report it comes from, R1 to R5; empty for the project's own."""
    row: str
    """Row of the report that it reproduces."""
    family: Family
    """Which objective trains it."""
    dataset: str
    """Data set it is trained on."""
    network: NetworkSpec
    """Architecture and its sizes."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training set."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images per optimisation step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    """Adam's step size, for every network of the system."""
    beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Weight of the KL term (VAE)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay per step of the averaged weights that are shipped; None ships the last weights."""
    bf16: bool = False
    """Run convolutions and matrix products in bfloat16 (losses stay in float32)."""
    augment_shift: Annotated[int, Field(ge=0)] = 0
    """Largest random translation in pixels (classifier)."""

    def __post_init__(self) -> None:
        match self.network:
            case ConvVAESpec():
                family = "vae"
            case ConvCGANSpec():
                family = "cgan"
            case ClassifierSpec():
                family = "classifier"
        if self.family != family:
            raise ValueError(f"family {self.family} cannot train a network of kind {family}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mnist-conv-vae-z2",
            title="Convolutional VAE, z=2",
            report="R3",
            row="VAE",
            family="vae",
            dataset="mnist",
            network=ConvVAESpec(latent_dim=2),
            epochs=30,
            batch_size=128,
            learning_rate=1e-3,
        ),
        Recipe(
            name="mnist-cgan",
            title="Conditional GAN",
            report="R3",
            row="CGAN",
            family="cgan",
            dataset="mnist",
            network=ConvCGANSpec(),
            epochs=20,
            batch_size=64,  # the report leaves it open
            learning_rate=3e-4,
            ema_decay=0.999,  # not in the report: steadies what is shipped, training is unchanged
            bf16=True,  # not in the report: 1.7 times the speed on a CPU that has bfloat16
        ),
        Recipe(
            name="mnist-judge",
            title="Digit classifier (judge)",
            report="",
            row="classifier that scores samples, after R2's Inception Score on MNIST",
            family="classifier",
            dataset="mnist",
            network=ClassifierSpec(),
            epochs=8,
            batch_size=128,
            learning_rate=1e-3,
            ema_decay=0.999,
            bf16=True,
            augment_shift=2,
        ),
    )
}


def by_name(name: str) -> Recipe:
    """Look a recipe up; raises ValueError with the nearest names where there is none."""
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"there is no recipe {name!r}: {hint}`latent-train list` shows them all")
