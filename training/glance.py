"""A quick look at what a generator draws, after every epoch, from the same noise every time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training import networks
from training.checkpoint import Checkpoint
from training.data import ImageData, at_once
from training.judge import Reading, read
from training.metrics import class_shares, diversity, frechet_distance, spread, unit
from training.recipes import Recipe

SAMPLES = 1000
"""Images drawn for a judge; a tenth of them where there is none."""


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: held-out images, and a judge's features of them."""

    diversity: float
    """Diversity of 100 held-out images; 0 of one alone."""
    judge: Checkpoint | None = None
    """Classifier that reads samples; None where there is none for this data set."""
    features: Tensor | None = None
    """The judge's features of the held-out images (n, width)."""


@torch.no_grad()
def reference(test: ImageData, judge: Checkpoint | None) -> Reference:
    """Take the measure of held-out images once, for all epochs."""
    x = unit(test.images[spread(len(test), 100).to(test.images.device)])
    features = None
    if judge is not None:
        judge.network.to(test.images.device)
        parts = test.images.split(at_once(test.images.shape[1:]))
        features = torch.cat([read(judge, unit(some)).features for some in parts])
    return Reference(float(diversity(x)), judge, features)


@torch.no_grad()
def sample_scores(
    recipe: Recipe, network: networks.GAN, real: Reference, device: torch.device
) -> dict[str, float]:
    """Scores of images drawn by a network in evaluation mode.

    ``diversity`` is relative to real images (1 is as diverse as they are, 0 a collapse), and left
    out where they have none. With a judge: ``frechet`` in its feature space, ``largest_class`` the
    share of the class it sees most, and ``class_agreement`` the share read as asked, for a
    conditional generator.
    """
    generator = torch.Generator().manual_seed(0)
    n = SAMPLES if real.judge else 100
    z = torch.randn(n, recipe.latent_dim, generator=generator).to(device)
    classes = recipe.num_classes
    y = torch.arange(n, device=device) % (classes or 1)
    hot = torch.nn.functional.one_hot(y, classes).float() if classes else None
    size = at_once(recipe.network.image_shape)
    parts = torch.arange(n, device=device).split(size)
    x = torch.cat([network.decode(z[i], hot if hot is None else hot[i]) for i in parts])
    scores: dict[str, float] = {}
    if real.diversity:
        scores["diversity"] = float(diversity(x[:100])) / real.diversity
    if real.judge is None or real.features is None:
        return scores
    seen = Reading.joined([read(real.judge, part) for part in x.split(size)])
    scores["frechet"] = frechet_distance(real.features, seen.features)
    scores["largest_class"] = float(class_shares(seen.logits).max())
    if classes == len(real.judge.card.classes):
        scores["class_agreement"] = float((seen.logits.argmax(1) == y).float().mean())
    return scores
