"""Several models of one data set side by side: who goes with whom, and what they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explorer import tables, tiles
from explorer.latent import Array
from explorer.tables import Table
from training.checkpoint import Card
from training.onnx_files import AnyCard
from training.scores import SCORES

MOST = 3
"""Models side by side."""
SAMPLES = 1000
"""Samples of a generator among which the one most like a real image is looked for."""
CHUNK = 1000
"""Real images that are compared with them at once."""
SIDE = 32
"""Pixels to which larger images are reduced before they are compared."""
FAMILIES = {"vae": "vae", "gan": "gan", "wgan": "gan", "wgan-gp": "gan", "cgan": "cgan"}
"""Families that differ in what they can do."""


@dataclass(frozen=True)
class Twins:
    """The latent that stands for every real image in one model."""

    codes: Array
    """Latents (m, d)."""
    of: NDArray[np.integer] | None = None
    """For each real image (n,) which latent is its; None where they are in the images' order."""
    asked: NDArray[np.integer] | None = None
    """Class (m,) that each latent is drawn with, of a conditional model."""
    num_classes: int = 0
    """Classes of a conditional model."""

    def at(self, image: int) -> tuple[Array, Array | None]:
        """Latent (1, d) of a real image, and its class weights (1, k) in a conditional model."""
        i = image if self.of is None else int(self.of[image])
        eye = np.eye(self.num_classes, dtype=np.float32)
        return self.codes[i][None], None if self.asked is None else eye[self.asked[i]][None]


def partners(cards: Mapping[str, AnyCard], name: str) -> list[str]:
    """Models that draw what ``name`` draws: images of one data set and shape."""
    of, shape = cards[name].dataset, cards[name].image_shape
    return [
        other
        for other, card in cards.items()
        if other != name and card.dataset == of and card.image_shape == shape
    ]


def suggested(cards: Mapping[str, AnyCard], name: str) -> list[str]:
    """The partner to begin with: the first of another kind, else the first at all."""
    found = partners(cards, name)
    kind = FAMILIES.get(cards[name].family)
    others = [other for other in found if FAMILIES.get(cards[other].family) != kind]
    return (others or found)[:1]


def most_alike(
    parts: Iterable[torch.Tensor],
    drawn: torch.Tensor,
    labels: torch.Tensor | None = None,
    asked: torch.Tensor | None = None,
) -> NDArray[np.int64]:
    """For every real image the number of the sample (m, C, H, W) in [0, 1] most like it (n,).

    ``parts`` are the images as uint8 (k, C, H, W), some at a time. Most alike is what has the
    least squared error of the pixels, of large images of their averages; of samples ``asked``
    (m,) for a class, among those of the image's own among ``labels`` (n,).
    """
    samples = _reduced(drawn)
    squares = samples.square().sum(1)
    found = []
    first = 0
    for part in parts:
        x = _reduced(part.float() / 255)
        error = squares - 2 * x @ samples.T  # short of |x|^2, which is the same for all samples
        if labels is not None and asked is not None:
            error[labels[first : first + len(x), None] != asked] = torch.inf
        found.append(error.argmin(1))
        first += len(x)
    return torch.cat(found).numpy()


def _reduced(x: torch.Tensor) -> torch.Tensor:
    """Images (n, C, H, W) as rows of numbers (n, m), larger ones made `SIDE` pixels high first."""
    if x.shape[-2] > SIDE:
        x = nn.functional.interpolate(x, SIDE, mode="area")
    return x.flatten(1)


def table(cards: Mapping[str, AnyCard]) -> Table:
    """A row per fact or score that some model has, a column per model and one for real images."""
    columns = headings(cards)
    facts = {columns[name]: _facts(card) for name, card in cards.items()}
    named = dict.fromkeys(what for column in facts.values() for what in column)
    return [
        *(_row(what, {of: facts[of].get(what, "") for of in facts}) for what in named),
        *_scores(cards, columns),
    ]


def _row(measure: str, of: Mapping[str, str], real: str = "", better: str = "") -> dict[str, str]:
    """A row of the table."""
    return {"measure": measure, **of, tables.REAL: real, "better": better}


def headings(cards: Mapping[str, AnyCard]) -> dict[str, str]:
    """What each model is called beside the others: its title, or its name where titles agree."""
    titles = [card.title for card in cards.values()]
    return {
        name: card.title if titles.count(card.title) == 1 else name for name, card in cards.items()
    }


def _facts(card: AnyCard) -> dict[str, str]:
    """What a model is, and how long it was trained."""
    facts = {
        "Family": tiles.FACETS["family"].word(card.family),
        "Latent numbers": f"{card.latent_dim}",
        "Size of the weights": f"{tiles.weights_bytes(card) / 1e6:.2g} MB",
    }
    if isinstance(card, Card):
        facts["Parameters"] = " + ".join(f"{count:,}" for count in card.parameters.values())
        facts["Epochs"] = f"{card.epochs:,} of {card.recipe.epochs:,}"
    return facts


def _scores(cards: Mapping[str, AnyCard], columns: Mapping[str, str]) -> Table:
    """The rows of the scores, each beside that of real test images and which way is better."""
    measured = {name: card.scores.values if card.scores else {} for name, card in cards.items()}
    real: dict[str, float] = {}
    for card in cards.values():
        real |= card.scores.real if card.scores else {}
    return [
        _row(
            score.title,
            {columns[name]: tables.score(values, key) for name, values in measured.items()},
            tables.score(real, key),
            tables.BETTER[score.better],
        )
        for key, score in SCORES.items()
        if not key.endswith("_std") and any(key in values for values in measured.values())
    ]
