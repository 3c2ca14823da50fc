"""Encoders, decoders, generators and discriminators, built from their specs.

Images are float in [0, 1], laid out (n, C, H, W). A condition is a float (n, classes) matrix of
class weights: a one-hot row asks for one class, a mixture of two rows lies between them.

Keras' "same" padding, used by the reports, pads stride-2 layers on one side only; the symmetric
padding used here gives the same sizes and parameter counts.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.recipes import Recipe, Wasserstein
from training.specs import (
    LSTM,
    Activation,
    ClassifierSpec,
    ConvDown,
    ConvUp,
    Dense,
    Down,
    GANSpec,
    ImageShape,
    Init,
    NetworkSpec,
    Up,
    VAESpec,
)


def activate(name: Activation) -> nn.Module:
    """The activation called ``name``."""
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.2)


def dense_layers(
    width_in: int, widths: Sequence[int], activation: Activation, dropout: float = 0.0
) -> list[nn.Module]:
    """Linear, activation and dropout for every width: (n, width_in) -> (n, widths[-1])."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(width_in, width), activate(activation)]
        layers += [Dropout(dropout)] if dropout else []
        width_in = width
    return layers


def trunk(spec: Dense | ConvDown | LSTM, image_shape: ImageShape) -> tuple[nn.Module, int]:
    """What turns images (n, C, H, W) into features (n, width); returns it and the width."""
    match spec:
        case Dense():
            layers = dense_layers(
                math.prod(image_shape), spec.widths, spec.activation, spec.dropout
            )
            width = spec.widths[-1] if spec.widths else math.prod(image_shape)
            return nn.Sequential(nn.Flatten(), *layers), width
        case ConvDown():
            return conv_trunk(spec, image_shape)
        case LSTM():
            channels, _, width = image_shape
            return RowLSTM(channels * width, spec.hidden), spec.hidden


def conv_trunk(spec: ConvDown, image_shape: ImageShape) -> tuple[nn.Module, int]:
    """Convolutions to features (n, width); returns them and the width."""
    channels = image_shape[0]
    layers: list[nn.Module] = []
    for i, stage in enumerate(spec.stages):
        layers += down(channels, stage, norm=spec.norm and i > 0, spec=spec)
        channels = stage.channels
    if spec.end == "max":
        layers.append(nn.AdaptiveMaxPool2d(1))
    width = channels if spec.end == "max" else math.prod(spec.shape(image_shape))
    layers += [nn.Flatten(), *dense_layers(width, spec.dense, spec.activation)]
    return nn.Sequential(*layers), spec.dense[-1] if spec.dense else width


def down(channels: int, stage: Down, *, norm: bool, spec: ConvDown) -> list[nn.Module]:
    """Layers of one stage towards features."""
    k, s = stage.kernel, stage.stride
    # One more on the far side for even kernels at stride 1, as Keras pads.
    far = stage.padding == "same" and s == 1 and k % 2 == 0
    layers: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1))] if far else []
    padding = (k - 1) // 2 if stage.padding == "same" else 0
    layers += [nn.Conv2d(channels, stage.channels, k, s, padding)]
    layers += [nn.ZeroPad2d((0, stage.pad, 0, stage.pad))] if stage.pad else []
    layers += [nn.BatchNorm2d(stage.channels)] if norm else []
    layers += [activate(spec.activation)]
    layers += [nn.MaxPool2d(stage.pool)] if stage.pool > 1 else []
    layers += [Dropout(spec.dropout)] if spec.dropout else []
    return layers


class Dropout(nn.Dropout):
    """``nn.Dropout``, drawn faster on a CPU (Srivastava et al. 2014).

    torch draws a double for every number there, which took a fifth of a DCGAN's step; here four
    numbers share one draw, 16 bits for each, so the share dropped is exact to 1 / 65,536.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop a share p of a dense tensor of any shape, and scale up the rest."""
        if not (self.training and input.device.type == "cpu"):
            return super().forward(input)
        n = input.numel()
        bits = torch.randint(-(2**63), 2**63 - 1, ((n + 3) // 4,)).view(torch.int16)[:n]
        drawn = bits.as_strided(input.shape, input.stride())  # in whatever layout the input has
        keep = drawn >= round(self.p * 2**16) - 2**15
        return input * keep.to(input.dtype).mul_(1 / (1 - self.p))


class RowLSTM(nn.Module):
    """Images (n, C, H, W) as sequences of H rows -> the last hidden state (n, hidden)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Read images (n, C, H, W) row by row, top to bottom."""
        rows = x.transpose(1, 2).flatten(2)  # (n, H, C * W)
        return self.lstm(rows)[0][:, -1]


class Encoder(nn.Module):
    """q(z|x) of a VAE: (n, C, H, W) in [0, 1] -> mu, log_var, each (n, d)."""

    def __init__(self, spec: VAESpec):
        super().__init__()
        self.trunk, width = trunk(spec.encoder, spec.image_shape)
        self.mu = nn.Linear(width, spec.latent_dim)
        self.log_var = nn.Linear(width, spec.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (n, C, H, W) into mu and log_var, each (n, d)."""
        h = self.trunk(x)
        return self.mu(h), self.log_var(h)


class Tanh01(nn.Module):
    """Hyperbolic tangent moved to [0, 1], the range of images everywhere else."""

    def forward(self, h: Tensor) -> Tensor:
        """Squash any float tensor into [0, 1]."""
        return (torch.tanh(h) + 1) / 2


class Decoder(nn.Module):
    """p(x|z) of a VAE, or the generator of a GAN: z (n, d) -> (n, C, H, W).

    ``width`` is the latent dimension and, where conditional, the number of classes on top.
    ``output`` ends it: nothing for a VAE, which decodes to Bernoulli logits.
    """

    def __init__(
        self, spec: Dense | ConvUp, width: int, image_shape: ImageShape, output: nn.Module
    ):
        super().__init__()
        self.size = image_shape[1:]
        self.output = output
        if isinstance(spec, Dense):
            layers = dense_layers(width, spec.widths, spec.activation, spec.dropout)
            last = nn.Linear((width, *spec.widths)[-1], math.prod(image_shape))
            self.stem = nn.Sequential(*layers, last, nn.Unflatten(1, image_shape))
            self.convs = nn.Sequential()
        else:
            self.stem, channels = stem(spec, width)
            self.convs = nn.Sequential(*convolutions(spec, channels))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Decode z (n, d), with class weights (n, k) where conditional, into (n, C, H, W)."""
        h = self.stem(z if condition is None else torch.cat([z, condition], dim=1))
        # The stem stays in float32 when the convolutions run in bfloat16: z itself must not be
        # rounded, or a slowly dragged slider would move in visible steps.
        h = self.convs(h.to(next(self.convs.parameters(), h).dtype))
        if h.shape[2:] != self.size:  # R5's Imagenette decoder makes 256x256 pixels
            h = F.interpolate(h.float(), self.size, mode="bilinear", antialias=True)
        return self.output(h.float())


def stem(spec: ConvUp, width: int) -> tuple[nn.Module, int]:
    """Latents (n, width) -> the grid (n, C, H, W); returns the layers and C."""
    if spec.grid is None:
        return nn.Unflatten(1, (width, 1, 1)), width
    units = math.prod(spec.grid)
    layers = dense_layers(width, spec.dense, spec.activation)
    layers.append(nn.Linear((width, *spec.dense)[-1], units, bias=spec.bias))
    layers += [nn.BatchNorm1d(units)] if spec.stem_norm == "units" else []
    layers.append(nn.Unflatten(1, spec.grid))
    layers += [nn.BatchNorm2d(spec.grid[0])] if spec.stem_norm == "channels" else []
    layers += [activate(spec.activation)] if spec.stem_activation else []
    return nn.Sequential(*layers), spec.grid[0]


def convolutions(spec: ConvUp, channels: int) -> list[nn.Module]:
    """The stages that grow the grid, (n, channels, h, w) -> (n, C, H, W)."""
    layers: list[nn.Module] = []
    for i, stage in enumerate(spec.stages, start=1):
        layers += up(channels, stage, spec.bias)
        channels = stage.channels
        if i < len(spec.stages):
            layers += [nn.BatchNorm2d(channels)] if spec.norm == "before" else []
            layers.append(activate(spec.activation))
            layers += [nn.BatchNorm2d(channels)] if spec.norm == "after" else []
    return layers


def up(channels: int, stage: Up, bias: bool) -> list[nn.Module]:
    """Layers of one stage towards an image: sizes times the stride where padding is "same"."""
    k, s = stage.kernel, stage.stride
    if stage.op == "transposed":
        padding = (k - 1) // 2 if stage.padding == "same" else 0
        extra = s + 2 * padding - k if stage.padding == "same" else 0
        return [ConvTranspose2d(channels, stage.channels, k, s, padding, extra, bias=bias)]
    layers: list[nn.Module] = [nn.Upsample(scale_factor=s)] if s > 1 else []
    if stage.padding == "same" and k % 2 == 0:  # one more on the far side, as Keras pads
        layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
    padding = (k - 1) // 2 if stage.padding == "same" else 0
    wide = k >= 5 and k % 2 and padding and stage.channels <= 4 < channels // 8
    conv = OverlapAddConv2d if wide else nn.Conv2d
    return [*layers, conv(channels, stage.channels, k, padding=padding, bias=bias)]


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``, trained faster on a CPU: there its bias is added afterwards.

    The same weights, and the same numbers but for rounding. With the bias inside, torch takes as
    long for its gradient as for that of all the weights: from 64 channels to 32, 3x3, this takes
    a third off a step back in bfloat16.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve (n, C, H, W) into (n, out, stride * H, stride * W), or by torch's formula."""
        on_cpu = input.device.type == "cpu"
        if not (self.training and on_cpu) or self.bias is None or output_size:
            return super().forward(input, output_size)
        assert isinstance(self.padding, tuple)  # words are for other convolutions
        shape = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        y = F.conv_transpose2d(input, self.weight, None, *shape)
        return y + self.bias.to(y.dtype)[:, None, None]


class OverlapAddConv2d(nn.Conv2d):
    """A stride-1 "same" convolution to few channels: a matrix product and an overlap-add.

    The same weights and numbers as ``nn.Conv2d``. A direct kernel vectorises over output channels
    and idles with one: from 128 channels to 1, 7x7, this takes a third of its time on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (n, C, H, W) into (n, out, H, W)."""
        if input.device.type != "cpu" or torch.compiler.is_exporting():
            return super().forward(input)  # other programs know a convolution, few an overlap-add
        # Every pixel's contribution to each of the k*k places around it: (n, H*W, out*k*k) ...
        kernel = self.weight.flip(2, 3).transpose(0, 1).flatten(1)
        spread = input.permute(0, 2, 3, 1).flatten(1, 2) @ kernel
        # ... added up where they land.
        y = F.fold(
            spread.mT.float(), input.shape[2:], self.kernel_size, padding=self.kernel_size[0] // 2
        )
        return y if self.bias is None else y + self.bias[:, None, None]


class VAE(nn.Module):
    """Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114)."""

    def __init__(self, spec: VAESpec):
        super().__init__()
        self.encoder = Encoder(spec)
        self.decoder = Decoder(spec.decoder, spec.latent_dim, spec.image_shape, nn.Identity())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (n, C, H, W) in [0, 1] into mu and log_var, each (n, d)."""
        return self.encoder(x)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Decode z (n, d) into images (n, C, H, W) in [0, 1]; a VAE takes no condition."""
        return torch.sigmoid(self.decoder(z))


class Discriminator(nn.Module):
    """Discriminator or critic of a GAN: images and condition -> logits (n,), high for real."""

    def __init__(self, spec: GANSpec):
        super().__init__()
        channels, height, width = spec.image_shape
        self.limit = spec.limit if spec.output == "tanh" else 0.0
        # The condition is one constant plane per class: (n, 1 + 10, 28, 28) for MNIST.
        self.trunk, features = trunk(
            spec.discriminator, (channels + spec.num_classes, height, width)
        )
        self.head = nn.Linear(features, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Score images (n, C, H, W) in [0, 1] under class weights (n, k); logits (n,)."""
        return self.score(self.inside(x), condition)

    def inside(self, x: Tensor) -> Tensor:
        """Images in [0, 1] moved to the range that the networks work in."""
        return (2 * x - 1) * self.limit if self.limit else x

    def score(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits (n,) of images (n, C, H, W) as `inside` gives them."""
        return self.head(self.features(x, condition)).squeeze(1)

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """What the last layer reads (n, width), of images (n, C, H, W) as `inside` gives them."""
        if condition is not None:
            planes = condition.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], dim=1)
        # Concatenation falls back to the default layout, which slows every convolution after it.
        return self.trunk(x.contiguous(memory_format=torch.channels_last))


class GAN(nn.Module):
    """Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661).

    Conditional (Mirza & Osindero 2014, arXiv:1411.1784) where the spec has classes.
    """

    def __init__(self, spec: GANSpec):
        super().__init__()
        self.num_classes = spec.num_classes
        self.generator = Decoder(
            spec.generator,
            spec.latent_dim + spec.num_classes,
            spec.image_shape,
            nn.Sigmoid() if spec.output == "sigmoid" else Tanh01(),
        )
        self.discriminator = Discriminator(spec)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Generate images (n, C, H, W) in [0, 1] from z (n, d) and class weights (n, k)."""
        return self.generator(z, condition)


class Classifier(nn.Module):
    """Images (n, C, H, W) in [0, 1] -> class logits (n, k)."""

    def __init__(self, spec: ClassifierSpec):
        super().__init__()
        channels = spec.image_shape[0]
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for i, out in enumerate(spec.channels):
            stages[f"stage{i}"] = nn.Sequential(
                *_conv_bn_relu(channels, out),
                *_conv_bn_relu(out, out),
                nn.MaxPool2d(2) if i + 1 < len(spec.channels) else nn.AdaptiveAvgPool2d(1),
            )
            channels = out
        self.stages = nn.Sequential(stages)
        self.head = nn.Linear(channels, spec.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits (n, k)."""
        return self.head(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Pooled features (n, channels[-1]), the space in which samples are compared."""
        return self.stages(x).flatten(1)


def _conv_bn_relu(channels_in: int, channels_out: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels_out), nn.ReLU()]


Network = VAE | GAN | Classifier


def initialise(network: nn.Module, init: Init) -> None:
    """Set the initial weights of every dense and convolutional layer.

    "torch" leaves torch's own. "glorot" is Keras' default, Glorot-uniform weights and zero biases
    (Glorot & Bengio 2010): R1 to R3 used Keras, and R3's CGAN depends on it (torch's default
    starts the generator at half the scale or less, the discriminator wins within four epochs and
    the classes are never learnt: checkpoints/LOG.md). "normal" is DCGAN's N(0, 0.02) with
    normalisation scales from N(1, 0.02) (Radford et al. 2016, arXiv:1511.06434, section 4).
    On the meta device there is nothing to set, and torch would import much to find that out.
    """
    if next(network.parameters()).is_meta:
        return
    for layer in network.modules() if init != "torch" else ():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if init == "glorot":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and init == "normal":
            nn.init.normal_(layer.weight, 1.0, 0.02)


def build(spec: NetworkSpec) -> Network:
    """Build the network that ``spec`` describes, on the default device, in channels_last."""
    match spec:
        case VAESpec():
            network = VAE(spec)
            initialise(network, spec.init)
        case GANSpec():
            network = GAN(spec)
            initialise(network, spec.init)
        case ClassifierSpec():
            network = Classifier(spec)
    return network.to(memory_format=torch.channels_last)


def parameters_by_network(network: nn.Module) -> dict[str, int]:
    """Trainable parameters per part (encoder, decoder, generator, ...), as the reports count."""
    return {
        name: sum(p.numel() for p in part.parameters() if p.requires_grad)
        for name, part in network.named_children()
    }


def parameter_counts(spec: NetworkSpec) -> dict[str, int]:
    """Trainable parameters per part of the network that ``spec`` describes, without building it."""
    with torch.device("meta"):
        return parameters_by_network(build(spec))


def recipe_parameters(recipe: Recipe) -> dict[str, int]:
    """`parameter_counts` of a recipe; the discriminator of a Wasserstein GAN is a critic."""
    counts = parameter_counts(recipe.network)
    if isinstance(recipe.objective, Wasserstein):
        counts["critic"] = counts.pop("discriminator")
    return counts
