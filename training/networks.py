"""Encoders, decoders, generators and discriminators, with shapes on every line.

Images are float in [0, 1], laid out (n, C, H, W). A condition is a float (n, classes) matrix of
class weights: a one-hot row asks for one class, a mixture of two rows lies between them.

Keras' "same" padding, used by the reports, pads stride-2 layers on one side only; the symmetric
padding used here gives the same sizes and parameter counts.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.recipes import ClassifierSpec, ConvCGANSpec, ConvVAESpec, NetworkSpec


class Encoder(nn.Module):
    """q(z|x) of the convolutional VAE: (n, C, H, W) in [0, 1] -> mu, log_var, each (n, d)."""

    def __init__(self, spec: ConvVAESpec):
        super().__init__()
        channels, height, width = spec.image_shape
        layers: list[nn.Module] = []
        for out in spec.channels:
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.ReLU()]  # halves H, W
            channels = out
        scale = 2 ** len(spec.channels)
        self.features = nn.Sequential(
            *layers,
            nn.Flatten(),  # (n, 3136) for MNIST
            nn.Linear(channels * (height // scale) * (width // scale), spec.hidden),
            nn.ReLU(),
        )
        self.mu = nn.Linear(spec.hidden, spec.latent_dim)
        self.log_var = nn.Linear(spec.hidden, spec.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (n, C, H, W) into mu and log_var, each (n, d)."""
        h = self.features(x)
        return self.mu(h), self.log_var(h)


class Decoder(nn.Module):
    """p(x|z) of the convolutional VAE: z (n, d) -> Bernoulli logits (n, C, H, W)."""

    def __init__(self, spec: ConvVAESpec):
        super().__init__()
        image_channels, height, width = spec.image_shape
        scale = 2 ** len(spec.channels)
        channels = spec.channels[-1]
        grid = (channels, height // scale, width // scale)
        self.dense = nn.Sequential(
            nn.Linear(spec.latent_dim, channels * grid[1] * grid[2]),
            nn.ReLU(),
            nn.Unflatten(1, grid),  # (n, 64, 7, 7) for MNIST
        )
        layers: list[nn.Module] = []
        for out in reversed(spec.channels):  # doubles H, W
            up = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.ReLU()]
            channels = out
        layers.append(nn.ConvTranspose2d(channels, image_channels, 3, padding=1))
        self.convs = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Decode z (n, d) into logits (n, C, H, W)."""
        # The dense layer stays in float32 when the convolutions run in bfloat16: z itself must
        # not be rounded, or a slowly dragged slider would move in visible steps.
        return self.convs(self.dense(z).to(self.convs[0].weight.dtype))


class VAE(nn.Module):
    """Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (n, C, H, W) in [0, 1] into mu and log_var, each (n, d)."""
        return self.encoder(x)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Decode z (n, d) into images (n, C, H, W) in [0, 1]; a VAE takes no condition."""
        return torch.sigmoid(self.decoder(z).float())


class OverlapAddConv2d(nn.Conv2d):
    """A stride-1 convolution to few channels, as one matrix product and an overlap-add.

    The same weights and numbers as ``nn.Conv2d``. A direct kernel vectorises over output channels
    and idles with one: from 128 channels to 1, 7x7, this takes a third of its time on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (n, C, H, W) into (n, out, H, W), float32."""
        # Every pixel's contribution to each of the k*k places around it: (n, H*W, out*k*k) ...
        kernel = self.weight.flip(2, 3).transpose(0, 1).flatten(1)
        spread = input.permute(0, 2, 3, 1).flatten(1, 2) @ kernel
        # ... added up where they land.
        height, width = input.shape[2:]
        y = F.fold(
            spread.mT.float(), (height, width), self.kernel_size, padding=int(self.padding[0])
        )
        return y if self.bias is None else y + self.bias[:, None, None]


class ConditionalGenerator(nn.Module):
    """Generator of R3's CGAN: z (n, d) and condition (n, k) -> images (n, C, H, W) in [0, 1]."""

    def __init__(self, spec: ConvCGANSpec):
        super().__init__()
        image_channels, height, width = spec.image_shape
        joint = spec.latent_dim + spec.num_classes  # 138
        grid = (joint, height // 4, width // 4)
        hidden = spec.generator_channels
        self.dense = nn.Sequential(
            nn.Linear(joint, joint * grid[1] * grid[2]),  # 138 -> 6762
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, grid),  # (n, 138, 7, 7)
        )
        self.convs = nn.Sequential(
            nn.ConvTranspose2d(joint, hidden, 4, stride=2, padding=1),  # (n, 128, 14, 14)
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(hidden, hidden, 4, stride=2, padding=1),  # (n, 128, 28, 28)
            nn.LeakyReLU(0.2),
            OverlapAddConv2d(hidden, image_channels, 7, padding=3),  # (n, 1, 28, 28)
        )

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """Generate images (n, C, H, W) in [0, 1] from z (n, d) and class weights (n, k)."""
        h = self.dense(torch.cat([z, condition], dim=1))
        return torch.sigmoid(self.convs(h.to(self.convs[0].weight.dtype)).float())


class ConditionalDiscriminator(nn.Module):
    """Discriminator of R3's CGAN: images and condition -> logits (n,), positive for real."""

    def __init__(self, spec: ConvCGANSpec):
        super().__init__()
        channels = spec.image_shape[0] + spec.num_classes  # 11: the image and one-hot planes
        layers: list[nn.Module] = []
        for out in spec.discriminator_channels:
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = out
        self.features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())  # (n, 128)
        self.head = nn.Linear(channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Score images (n, C, H, W) in [0, 1] under class weights (n, k); logits (n,)."""
        planes = condition.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        # Concatenation would fall back to the default layout and slow every convolution after it.
        h = torch.cat([x, planes], dim=1).contiguous(memory_format=torch.channels_last)
        return self.head(self.features(h)).squeeze(1)


class CGAN(nn.Module):
    """Conditional GAN (Mirza & Osindero 2014, arXiv:1411.1784)."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, num_classes: int):
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.num_classes = num_classes

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


Network = VAE | CGAN | Classifier


def glorot(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases in every dense and convolutional layer.

    Keras' default (Glorot & Bengio 2010). R3 used Keras, and its CGAN depends on it: torch's own
    default starts the generator at half the scale or less, the discriminator wins within four
    epochs and the classes are never learnt (checkpoints/LOG.md).
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build(spec: NetworkSpec) -> Network:
    """Build the network that ``spec`` describes, on the default device, in channels_last."""
    match spec:
        case ConvVAESpec():
            network = VAE(Encoder(spec), Decoder(spec))
        case ConvCGANSpec():
            network = CGAN(
                ConditionalGenerator(spec), ConditionalDiscriminator(spec), spec.num_classes
            )
            glorot(network)
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
