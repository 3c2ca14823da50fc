"""Architectures as plain values: what a network is made of, without a tensor.

A spec goes into a checkpoint's card as JSON and comes back validated, so that a card cannot ask
for a network that does not fit together or into memory. Shapes are (C, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

# The bounds keep a hostile card from asking for a network that does not fit into memory.
LARGEST_MAPS = 1 << 24
"""Numbers, per image, in the feature maps of one layer: 64 MB."""
MOST_CLASSES = 1000
Width = Annotated[int, Field(ge=1, le=16384)]
Widths = Annotated[tuple[Width, ...], Field(max_length=8)]
Kernel = Annotated[int, Field(ge=1, le=16)]
Stride = Annotated[int, Field(ge=1, le=4)]
LatentDim = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Shape = tuple[
    Annotated[int, Field(ge=1, le=16384)],
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
]
ImageShape = tuple[
    Annotated[int, Field(ge=1, le=4)],
    Annotated[int, Field(ge=1, le=512)],
    Annotated[int, Field(ge=1, le=512)],
]
Activation = Literal["relu", "leaky"]
Padding = Literal["same", "valid"]
Init = Literal["torch", "glorot", "normal"]


@dataclass(frozen=True)
class Dense:
    """Fully connected layers, each followed by the activation; reads or ends in any shape."""

    widths: Widths
    """Width of each hidden layer, in the order they are run through."""
    activation: Activation = "relu"
    """ReLU, or LeakyReLU with slope 0.2."""
    dropout: Share = 0.0
    """Share of each layer's outputs that is dropped in training."""
    kind: Literal["dense"] = "dense"
    """Tells the specs apart in JSON."""


@dataclass(frozen=True)
class Down:
    """One convolution of a trunk: convolve, zero-pad, normalise, activate, pool, drop out."""

    channels: Width
    """Output channels."""
    kernel: Kernel
    """Width and height of the kernel."""
    stride: Stride = 1
    """Step of the kernel: 2 halves height and width."""
    padding: Padding = "same"
    """same: the size divided by the stride, rounded up (down for even kernels at strides above 1,
    which are padded alike on all sides); valid: no padding."""
    pad: Annotated[int, Field(ge=0, le=8)] = 0
    """Rows and columns of zeros added below and to the right of the output."""
    pool: Stride = 1
    """Size of the max-pooling that ends the stage; 1 for none."""

    def size(self, size: int) -> int:
        """Height (or width) of the output for an input of ``size``; 0 where nothing is left."""
        if self.padding == "same":
            alike = self.stride > 1 and self.kernel % 2 == 0
            size += self.kernel - (2 if alike else 1)
        size = (size - self.kernel) // self.stride + 1
        return (size + self.pad) // self.pool if size > 0 else 0


@dataclass(frozen=True)
class ConvDown:
    """Convolutions from an image to a feature vector: an encoder's or a discriminator's trunk."""

    stages: Annotated[tuple[Down, ...], Field(min_length=1, max_length=8)]
    """The convolutions, first to last."""
    dense: Widths = ()
    """Dense layers after the convolutions."""
    end: Literal["flatten", "max"] = "flatten"
    """How the last feature maps become a vector: flattened, or the maximum of each."""
    activation: Activation = "leaky"
    """ReLU, or LeakyReLU with slope 0.2."""
    norm: bool = False
    """Batch normalisation in every stage but the first."""
    dropout: Share = 0.0
    """Share of each stage's outputs that is dropped in training."""
    kind: Literal["conv-down"] = "conv-down"
    """Tells the specs apart in JSON."""

    def shape(self, image_shape: ImageShape) -> tuple[int, int, int]:
        """Shape of the last feature maps; raises ValueError where nothing is left of an image."""
        _, height, width = image_shape
        for stage in self.stages:
            height, width = stage.size(height), stage.size(width)
            _require_small(stage.channels, height * stage.pool, width * stage.pool)
        if min(height, width) < 1:
            raise ValueError(f"{len(self.stages)} convolutions leave nothing of {image_shape}")
        return self.stages[-1].channels, height, width


@dataclass(frozen=True)
class LSTM:
    """Reads the rows of an image as a sequence; its last hidden state is the feature vector."""

    hidden: Annotated[int, Field(ge=1, le=4096)] = 256
    """Width of the hidden state."""
    kind: Literal["lstm"] = "lstm"
    """Tells the specs apart in JSON."""


@dataclass(frozen=True)
class Up:
    """One convolution towards an image; normalised and activated unless it is the last."""

    channels: Width
    """Output channels."""
    kernel: Kernel
    """Width and height of the kernel."""
    stride: Stride = 2
    """Factor by which height and width grow (same padding)."""
    padding: Padding = "same"
    """same: the size times the stride; valid: the whole reach of the kernel."""
    op: Literal["transposed", "conv"] = "transposed"
    """Transposed convolution, or nearest-neighbour upsampling and then a convolution."""

    def __post_init__(self) -> None:
        even = self.kernel % 2 == 0
        if self.op == "transposed" and self.padding == "same" and self.stride == 1 and even:
            raise ValueError(
                "a transposed convolution of stride 1 keeps the size with odd kernels only, not "
                f"with {self.kernel}"
            )

    def size(self, size: int) -> int:
        """Height (or width) of the output for an input of ``size``."""
        if self.padding == "same":
            return size * self.stride
        if self.op == "conv":
            return size * self.stride - self.kernel + 1
        return (size - 1) * self.stride + self.kernel


@dataclass(frozen=True)
class ConvUp:
    """A latent to an image: dense stem, reshape to a grid, convolutions that grow it."""

    stages: Annotated[tuple[Up, ...], Field(min_length=1, max_length=8)]
    """The convolutions, first to last; the last makes the image."""
    grid: Shape | None = None
    """Feature maps the dense stem ends in; None starts from the latent itself as 1x1 maps."""
    dense: Widths = ()
    """Dense layers before the one that fills the grid."""
    stem_activation: bool = True
    """Activate the grid."""
    stem_norm: Literal["none", "units", "channels"] = "none"
    """Batch normalisation of the grid: none, per unit, or per channel."""
    norm: Literal["none", "before", "after"] = "none"
    """Batch normalisation in every stage but the last: before or after its activation."""
    bias: bool = True
    """Biases in the stem and the convolutions."""
    activation: Activation = "relu"
    """ReLU, or LeakyReLU with slope 0.2."""
    resize: bool = False
    """Resize the result to the image's size, bilinearly, instead of ending in it."""
    kind: Literal["conv-up"] = "conv-up"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        if self.grid is None and (self.dense or self.stem_norm != "none"):
            raise ValueError("dense layers and a normalised stem need a grid to fill")

    def shape(self) -> tuple[int, int, int]:
        """Shape of what the last convolution makes; raises ValueError where that is nothing."""
        channels, height, width = self.grid or (1, 1, 1)
        _require_small(channels, height, width)
        for stage in self.stages:
            height, width = stage.size(height), stage.size(width)
            if min(height, width) < 1:
                raise ValueError(f"the convolutions leave nothing of a grid of {self.grid}")
            _require_small(stage.channels, height, width)
        if max(height, width) > 1024:
            raise ValueError(f"the convolutions end in {height}x{width} pixels, over 1024")
        return self.stages[-1].channels, height, width


Trunk = Annotated[Dense | ConvDown | LSTM, Field(discriminator="kind")]
Growth = Annotated[Dense | ConvUp, Field(discriminator="kind")]


@dataclass(frozen=True)
class VAESpec:
    """Variational autoencoder: a trunk with two linear heads, and a decoder to logits."""

    latent_dim: LatentDim
    """Number of latent dimensions d."""
    encoder: Trunk
    """What turns an image into features."""
    decoder: Growth
    """What turns a latent into an image."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width."""
    init: Init = "torch"
    """Initial weights: torch's default, Glorot-uniform as in Keras, or N(0, 0.02) as in DCGAN."""
    kind: Literal["vae"] = "vae"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        _require_fit(self.encoder, self.decoder, self.image_shape)


@dataclass(frozen=True)
class GANSpec:
    """Generator and discriminator (or critic); conditional where ``num_classes`` is not 0."""

    latent_dim: LatentDim
    """Number of noise dimensions, without the one-hot class."""
    generator: Growth
    """What turns noise (and a one-hot class beside it) into an image."""
    discriminator: Annotated[Dense | ConvDown, Field(discriminator="kind")]
    """What turns an image (and one-hot planes beside it) into features, and then into a logit."""
    num_classes: Annotated[int, Field(ge=0, le=MOST_CLASSES)] = 0
    """Classes the generator can be asked for; 0 for an unconditional one."""
    output: Literal["sigmoid", "tanh"] = "sigmoid"
    """End of the generator. With tanh, both networks work in [-limit, limit] inside."""
    limit: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Half the range that the networks work in, with tanh: 1 for images."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width."""
    init: Init = "torch"
    """Initial weights: torch's default, Glorot-uniform as in Keras, or N(0, 0.02) as in DCGAN."""
    kind: Literal["gan"] = "gan"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        _require_fit(self.discriminator, self.generator, self.image_shape)
        if self.num_classes and isinstance(self.discriminator, Dense):
            raise ValueError("a conditional discriminator must be convolutional")


@dataclass(frozen=True)
class ClassifierSpec:
    """Small convolutional classifier: the judge that reads generated images."""

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (32, 64, 128)
    """Channels of the stages; every stage but the last ends in 2x2 max-pooling."""
    num_classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)] = 10
    """Number of classes it tells apart."""
    image_shape: ImageShape = (1, 28, 28)
    """Channels, height and width; height and width at least 2 per stage but the last."""
    kind: Literal["classifier"] = "classifier"
    """Tells the specs apart in JSON."""

    def __post_init__(self) -> None:
        if min(self.image_shape[1:]) < 2 ** (len(self.channels) - 1):
            raise ValueError(f"{len(self.channels)} stages halve {self.image_shape} to nothing")


def _require_small(channels: int, height: int, width: int) -> None:
    if (numbers := channels * height * width) > LARGEST_MAPS:
        raise ValueError(
            f"one layer makes {numbers} numbers per image ({channels}x{height}x{width}), "
            f"over {LARGEST_MAPS}"
        )


NetworkSpec = Annotated[VAESpec | GANSpec | ClassifierSpec, Field(discriminator="kind")]


def _require_fit(
    down: Dense | ConvDown | LSTM, up: Dense | ConvUp, image_shape: ImageShape
) -> None:
    """Raise ValueError where a network does not read or does not end in ``image_shape``."""
    if isinstance(down, ConvDown):
        down.shape(image_shape)
    if isinstance(up, ConvUp):
        shape = up.shape()
        if shape[0] != image_shape[0] or (shape != image_shape and not up.resize):
            raise ValueError(f"the convolutions end in {shape}, not in {image_shape}")
