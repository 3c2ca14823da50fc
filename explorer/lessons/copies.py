"""What VAEs make of real images, measured; and which models of a folder belong together.

Sharpness is the variance of the Laplacian (`training.metrics.sharpness`), told as a share of that
of real images. Knows nothing of Streamlit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.directions import DEAD_NATS
from explorer.latent import Array
from explorer.pictures import Pixels
from training import metrics
from training.checkpoint import Card, Checkpoint
from training.evaluation import negative_log_likelihood
from training.objectives import gaussian_kl, reparameterize
from training.recipes import ELBO
from training.specs import Dense, VAESpec

SIMILAR = 0.05
"""Shares that differ by less than this part of the smaller one are called equal."""


# --- measures


@dataclass(frozen=True)
class Look:
    """How a set of images looks."""

    count: int
    """How many they are."""
    sharpness: float
    """Variance of the Laplacian, mean over the images."""
    error: float
    """Standard error of that mean."""
    spectrum: Array
    """Power by ring of frequency (rings,), mean over the images."""
    frequencies: Array
    """Middle of every ring in cycles per pixel (rings,)."""

    def band(self, low: float, high: float) -> float:
        """Power of the frequencies above ``low`` and up to ``high``, in cycles per pixel."""
        inside = (self.frequencies > low) & (self.frequencies <= high)
        return float(self.spectrum[inside].sum())


@dataclass(frozen=True)
class Copies:
    """What a VAE makes of real images."""

    originals: Look
    """The real images."""
    means: Look
    """Their reconstructions, from the mean of every posterior."""
    draws: Look
    """The same from one draw of every posterior."""
    reconstruction: float
    """-E log p(x|z) by the recipe's likelihood, an image: nats, or squared error."""
    kl: Array
    """KL of the posteriors from the prior by dimension (d,), in nats an image."""
    reach: Array
    """Root mean square of the posteriors' means by dimension (d,)."""
    noise: Array
    """Mean of their standard deviations by dimension (d,)."""

    @property
    def share(self) -> float:
        """Sharpness of the reconstructions, that of the originals being 1."""
        return share(self.means.sharpness, self.originals.sharpness)

    @property
    def collapsed(self) -> NDArray[np.bool_]:
        """The dimensions (d,) that carry less than `DEAD_NATS`."""
        return self.kl < DEAD_NATS

    @property
    def used(self) -> int:
        """How many dimensions carry something."""
        return int((~self.collapsed).sum())

    @property
    def negative_elbo(self) -> float:
        """Reconstruction + KL, whatever beta the model was trained with."""
        return self.reconstruction + float(self.kl.sum())


def share(value: float, of: float) -> float:
    """One number as a share of another; 0 of nothing."""
    return value / of if of > 0 else 0.0


def look(x: Tensor) -> Look:
    """Measure images x (n, C, H, W) in [0, 1]."""
    power, frequency = radial_spectrum(x)
    sharpness = metrics.sharpness(x)
    return Look(
        len(x),
        float(sharpness.mean()),
        float(sharpness.std(unbiased=False)) / math.sqrt(len(x)),
        power.mean(0).cpu().numpy(),
        frequency.cpu().numpy(),
    )


def radial_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Power of images x (n, C, H, W) by ring of frequency, mean over channels: (n, rings).

    And the middle of every ring in cycles per pixel, (rings,): as far apart as the frequencies of
    the longer side are. The rings sum to the mean square of the image.
    """
    power, frequency = metrics.power_spectrum(x)
    finest = 2 * max(x.shape[2:])
    ring = (frequency * finest).round().long().flatten()
    summed = torch.zeros(len(x), int(ring.max()) + 1, device=x.device)
    summed.index_add_(1, ring, power.flatten(1))
    return summed, torch.arange(summed.shape[1], device=x.device) / finest


def measure(opened: Checkpoint, x: Tensor, seed: int = 0) -> Copies:
    """What a VAE makes of images x (n, C, H, W) in [0, 1], with draws from ``seed``."""
    mu, log_var = opened.encode(x)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(seed)).to(mu.device)
    z = reparameterize(mu, log_var, noise)
    with torch.inference_mode():
        nll = negative_log_likelihood(opened, z, x.to(mu.device)).mean()
    return Copies(
        originals=look(x),
        means=look(opened.decode(mu)),
        draws=look(opened.decode(z)),
        reconstruction=float(nll),
        kl=gaussian_kl(mu, log_var).cpu().numpy(),
        reach=mu.square().mean(0).sqrt().cpu().numpy(),
        noise=log_var.mul(0.5).exp().mean(0).cpu().numpy(),
    )


def posterior(opened: Checkpoint, image: Tensor, n: int, seed: int, width: float = 1.0) -> Tensor:
    """``n`` draws (n, d) from what the encoder makes of one image (C, H, W) in [0, 1].

    Their noise comes from ``seed``, its standard deviation is multiplied by ``width``.
    """
    mu, log_var = opened.encode(image[None])
    noise = torch.randn(n, mu.shape[1], generator=torch.Generator().manual_seed(seed))
    return reparameterize(mu, log_var, width * noise.to(mu.device))


def sharpness_of(images: Pixels) -> NDArray[np.floating]:
    """Sharpness (n,) of images (n, H, W, C) as they are shown."""
    return metrics.sharpness(unit(images)).numpy()


def unit(images: Pixels) -> Tensor:
    """Images (n, H, W, C) as the networks take them: (n, C, H, W) in [0, 1]."""
    return metrics.unit(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))


def means_of(images: Tensor, counts: Sequence[int]) -> Tensor:
    """Means of the first ``counts`` of images (n, C, H, W): (len(counts), C, H, W)."""
    summed = images.double().cumsum(0)
    return torch.stack([summed[k - 1] / k for k in counts]).float()


def averaged(rows: Iterable[Tensor], counts: Sequence[int]) -> NDArray[np.floating]:
    """Sharpness (len(counts),) of the mean of the first ``counts`` images of a row.

    The mean over ``rows`` of images (n, C, H, W) in [0, 1].
    """
    each = [metrics.sharpness(means_of(row, counts)) for row in rows]
    return torch.stack(each).mean(0).numpy()


def reached(counts: Sequence[int], values: Sequence[float], wanted: float) -> float:
    """At which count, among rising ``counts`` > 0, falling ``values`` come down to ``wanted``.

    On straight lines over the logarithm of the counts; infinite where they never do.
    """
    if values[0] <= wanted:
        return float(counts[0])
    for i in range(1, len(counts)):
        if values[i] <= wanted:
            way = (values[i - 1] - wanted) / (values[i - 1] - values[i])
            return counts[i - 1] * math.exp(way * math.log(counts[i] / counts[i - 1]))
    return math.inf


def mixtures(first: Tensor, second: Tensor, shares: Sequence[float]) -> Tensor:
    """Images (C, H, W) mixed, with ``shares`` of the second: (len(shares), C, H, W)."""
    weights = torch.tensor(shares)[:, None, None, None]
    return torch.lerp(first[None], second[None], weights)


def loss(images: Tensor, drawn: Tensor) -> float:
    """Squared error of one picture (C, H, W) that stands for images (n, C, H, W).

    Summed over pixels, mean over the images.
    """
    return float((images - drawn).square().flatten(1).sum(1).mean())


def closest_pair(
    codes: Array, labels: NDArray[np.integer], near: NDArray[np.integer]
) -> tuple[int, int] | None:
    """Indices of the two images of different classes whose codes are nearest; None without any.

    Codes (n, d) of classes labels (n,), and the indices ``near`` (m, k) of the neighbours of the
    first m of them, themselves included.
    """
    first = np.arange(len(near))[:, None]
    distance = np.linalg.norm(codes[near] - codes[first], axis=2)
    distance[labels[near] == labels[first]] = np.inf
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    return (int(i), int(near[i, j])) if np.isfinite(distance[i, j]) else None


# --- answers


def place(values: Sequence[float]) -> int:
    """Whether the greatest of two or more values is the first (0), between (1) or the last (2)."""
    at = int(np.argmax(values))
    return 0 if at == 0 else 2 if at == len(values) - 1 else 1


def differ(a: float, b: float) -> int:
    """-1 where b is smaller than a, 1 where it is larger, 0 where they are `SIMILAR`."""
    if abs(b - a) < SIMILAR * min(abs(a), abs(b)):
        return 0
    return 1 if b > a else -1


# --- which models belong together


def beta_of(card: Card) -> float | None:
    """Weight of the KL that a VAE was trained with; None of other models."""
    return card.recipe.objective.beta if isinstance(card.recipe.objective, ELBO) else None


def alike(cards: Mapping[str, Card], card: Card) -> dict[str, Card]:
    """The models that draw the same images as a card's."""
    return {
        name: other
        for name, other in cards.items()
        if other.dataset == card.dataset and other.image_shape == card.image_shape
    }


def size(card: Card) -> int:
    """Parameters of a model's networks together."""
    return sum(card.parameters.values())


def by_latent(cards: Mapping[str, Card]) -> list[str]:
    """Of every latent size the largest VAE with beta 1, the smallest latent first."""
    found: dict[int, str] = {}
    for name in sorted(cards, key=lambda name: size(cards[name])):
        if beta_of(cards[name]) == 1:
            found[cards[name].latent_dim] = name
    return [found[z] for z in sorted(found)]


def width_of(card: Card) -> int | None:
    """Width of a VAE of one dense layer either way; None of other models."""
    network = card.recipe.network
    if not isinstance(network, VAESpec) or not isinstance(network.encoder, Dense):
        return None
    return network.encoder.widths[0] if len(network.encoder.widths) == 1 else None


def by_width(cards: Mapping[str, Card]) -> list[str]:
    """Dense VAEs with beta 1 and the smallest latent among them, the narrowest first."""
    plain = {
        name: width
        for name, card in cards.items()
        if (width := width_of(card)) is not None and beta_of(card) == 1
    }
    least = min((cards[name].latent_dim for name in plain), default=0)
    same = [name for name in plain if cards[name].latent_dim == least]
    return sorted(same, key=plain.__getitem__)


def equal_size(cards: Mapping[str, Card]) -> tuple[str, str] | None:
    """The VAE and the unconditional GAN that are nearest in size, all their networks counted."""
    pairs = [
        (vae, gan)
        for vae, one in cards.items()
        for gan, other in cards.items()
        if beta_of(one) == 1 and "generator" in other.parameters and not other.num_classes
    ]

    def ratio(pair: tuple[str, str]) -> float:
        return abs(math.log(size(cards[pair[1]]) / size(cards[pair[0]])))

    return min(pairs, key=ratio, default=None)


def by_beta(cards: Mapping[str, Card]) -> list[str]:
    """VAEs of one network and likelihood by beta, the smallest first: the longest such row."""
    rows: dict[str, dict[float, str]] = {}
    for name, card in cards.items():
        if (beta := beta_of(card)) is not None and isinstance(card.recipe.objective, ELBO):
            same = repr((card.recipe.network, card.recipe.objective.reconstruction))
            rows.setdefault(same, {})[beta] = name
    longest = max(rows.values(), key=len, default={})
    return [longest[beta] for beta in sorted(longest)]
