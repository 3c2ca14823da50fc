"""Scores of what a model draws, as pure functions of images and features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training import networks
from training.checkpoint import Checkpoint
from training.data import ImageData
from training.recipes import Recipe

SAMPLES = 1000
"""Images drawn after every epoch for a judge to score a generator."""


def diversity(x: Tensor) -> Tensor:
    """Mean Euclidean distance between two of the images x (n, ...); 0 where all are alike."""
    n = len(x)
    return torch.pdist(x.flatten(1).float()).sum() / max(n * (n - 1) / 2, 1)


def frechet_distance(a: Tensor, b: Tensor) -> Tensor:
    """Fréchet distance of two Gaussians fitted to features a (n, width) and b (m, width).

    |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Heusel et al. 2017, arXiv:1706.08500,
    equation 6). With a judge's features it is a score of its own, never comparable with FID.
    """
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return mean + cov_a.trace() + cov_b.trace() - 2 * cross


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: held-out images, and a judge's features of them."""

    diversity: float
    """Diversity of 100 held-out images."""
    judge: Checkpoint | None = None
    """Classifier that reads samples; None where there is none for this data set."""
    features: Tensor | None = None
    """The judge's features of the held-out images (n, width)."""


@torch.no_grad()
def reference(test: ImageData, judge: Checkpoint | None) -> Reference:
    """Take the measure of held-out images once, for all epochs."""
    x = _unit(test.images[:: max(len(test) // 100, 1)][:100])
    if judge is not None and judge.card.image_shape != tuple(test.images.shape[1:]):
        judge = None
    features = None
    if judge is not None:
        judge.network.to(test.images.device)
        features = torch.cat([_features(judge, _unit(x)) for x in test.images.split(500)])
    return Reference(float(diversity(x)), judge, features)


@torch.no_grad()
def sample_scores(
    recipe: Recipe, network: networks.GAN, real: Reference, device: torch.device
) -> dict[str, float]:
    """Scores of images drawn from the same noise every time, network in evaluation mode.

    ``diversity`` is relative to real images (1 is as diverse as they are, 0 a collapse). With a
    judge: ``frechet`` in its feature space, ``largest_class`` the share of the class it sees most,
    and ``class_agreement`` the share read as asked, for a conditional generator.
    """
    generator = torch.Generator().manual_seed(0)
    n = SAMPLES if real.judge else 100
    z = torch.randn(n, recipe.latent_dim, generator=generator).to(device)
    classes = recipe.num_classes
    y = torch.arange(n, device=device) % (classes or 1)
    hot = torch.nn.functional.one_hot(y, classes).float() if classes else None
    x = torch.cat([network.decode(z[i], hot if hot is None else hot[i]) for i in _slices(n)])
    scores = {"diversity": float(diversity(x[:100])) / max(real.diversity, 1e-12)}
    if real.judge is None or real.features is None:
        return scores
    features = torch.cat([_features(real.judge, part) for part in x.split(500)])
    read = _judge(real.judge).head(features).argmax(1)
    scores["frechet"] = float(frechet_distance(features, real.features))
    scores["largest_class"] = float(torch.bincount(read).max() / len(read))
    if classes == len(real.judge.card.classes):
        scores["class_agreement"] = float((read == y).float().mean())
    return scores


def _slices(n: int) -> list[slice]:
    return [slice(start, start + 100) for start in range(0, n, 100)]


def _features(judge: Checkpoint, x: Tensor) -> Tensor:
    return _judge(judge).features(x).float()


def _judge(judge: Checkpoint) -> networks.Classifier:
    assert isinstance(judge.network, networks.Classifier)
    return judge.network


def _unit(images: Tensor) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
