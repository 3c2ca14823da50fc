"""What the start page tells of a model, and which models it shows in which order."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from explorer import catalog
from training.checkpoint import Card
from training.data import DATASETS
from training.onnx_files import AnyCard
from training.report import REPORTS

OWN = "own"
YOURS = "yours"
BROUGHT = "brought"


@dataclass(frozen=True)
class Facet:
    """One thing by which models are chosen."""

    title: str
    """What it is called."""
    words: dict[str, str] = field(default_factory=dict)
    """Its known values in words, in the order in which people read them."""

    def word(self, value: str) -> str:
        """A value in words; a stranger's stays as it is."""
        return self.words.get(value, value)


FACETS: dict[str, Facet] = {
    "family": Facet(
        "Family",
        {
            "vae": "VAE",
            "gan": "GAN",
            "cgan": "Conditional GAN",
            "wgan": "Wasserstein GAN",
            "wgan-gp": "WGAN-GP",
            "decoder": "Decoder",
        },
    ),
    "data": Facet("Data", catalog.DATASETS),
    "reports": Facet(
        "Report",
        {
            **{report: report for report in REPORTS},
            OWN: "our own",
            YOURS: "of your pictures",
            BROUGHT: "brought along",
        },
    ),
}
"""By the name of its key in a link."""

ORDERS: dict[str, str] = {
    "first": "For a first visit",
    "name": "Name",
    "score": "Inception Score, best first",
    "size": "Size, smallest first",
    "latents": "Latent numbers, fewest first",
}
"""Orders of the tiles, by their value in a link."""


def facets(card: AnyCard) -> dict[str, str]:
    """The value that a model has of each facet, in letters that a link may hold."""
    report = card.recipe.report if isinstance(card, Card) else BROUGHT
    if report not in (*REPORTS, BROUGHT):
        report = OWN if card.dataset in DATASETS else YOURS
    return {
        "family": card.family,
        "data": re.sub(r"[^A-Za-z0-9_ .-]", "", card.dataset)[:40].strip("_ .-") or "unnamed",
        "reports": report,
    }


def options(cards: Mapping[str, AnyCard], facet: str) -> list[str]:
    """The values of a facet that some model has, in the order in which people read them."""
    known = list(FACETS[facet].words)
    found = {facets(card)[facet] for card in cards.values()}
    return [value for value in known if value in found] + sorted(found - set(known))


def chosen(
    cards: Mapping[str, AnyCard], wanted: Mapping[str, Collection[str]], search: str, order: str
) -> list[str]:
    """Names of the models that have one of the ``wanted`` values of every facet.

    A facet without any wants nothing. Every word of ``search`` must be found in what is told.
    """
    words = search.casefold().split()
    kept = {
        name: card
        for name, card in cards.items()
        if all(facets(card)[facet] in values for facet, values in wanted.items() if values)
        and all(word in _told(name, card) for word in words)
    }
    return sorted(kept, key=lambda name: _rank(kept[name], order))  # stable: "first" stays


def _told(name: str, card: AnyCard) -> str:
    """All that a search looks into."""
    values = [f"{value} {FACETS[facet].word(value)}" for facet, value in facets(card).items()]
    row = card.recipe.row if isinstance(card, Card) else ""
    return " ".join([name, card.title, row, card.notes, *values]).casefold()


def _rank(card: AnyCard, order: str) -> tuple[float, list[tuple[float, str]]]:
    """What is compared: a number, then the title, in which z=2 comes before z=10."""
    match order:
        case "name":
            number = 0.0
        case "score":
            number = -_scores(card).get("inception_score", -math.inf)
        case "size":
            number = float(weights_bytes(card))
        case "latents":
            number = float(card.latent_dim)
        case _:
            return 0.0, []
    return number, catalog.natural(card.title)


def _scores(card: AnyCard) -> Mapping[str, float]:
    return card.scores.values if card.scores else {}


def weights_bytes(card: AnyCard) -> int:
    """Size of the file that is opened to draw with the model."""
    files = card.files
    kept = [files[catalog.WEIGHTS]] if catalog.WEIGHTS in files else list(files.values())
    return sum(entry.size for entry in kept)


def badges(card: AnyCard) -> str:
    """Family, data set and report as Markdown."""
    words = {facet: FACETS[facet].word(value) for facet, value in facets(card).items()}
    colours = {"family": "blue", "data": "grey", "reports": "grey"}
    return " ".join(f":{colours[facet]}-badge[{catalog.plain(w)}]" for facet, w in words.items())


def build(card: AnyCard) -> str:
    """How large the model is and how far it is trained, in words."""
    numbers = f"{card.latent_dim} latent number{'s' if card.latent_dim != 1 else ''}"
    size = weights_bytes(card)
    told = f"{numbers} · " + (f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB")
    return f"{told} · {_epochs(card)}" if isinstance(card, Card) else told


def _epochs(card: Card) -> str:
    if card.epochs < card.recipe.epochs:
        return f"stopped at {card.epochs:,} of {card.recipe.epochs:,} epochs"
    return f"{card.epochs:,} epoch{'s' if card.epochs != 1 else ''}"


def measured(card: AnyCard) -> list[str]:
    """The model's main scores, a line of Markdown each; none where nothing was measured."""
    values, real = _scores(card), card.scores.real if card.scores else {}
    lines: list[str] = []
    if card.scores and card.scores.judge and "inception_score" in values:
        beside = f" (real {real['inception_score']:.2f})" if "inception_score" in real else ""
        lines.append(f"Inception Score **{values['inception_score']:.2f}**{beside}")
    if isinstance(card, Card) and (nats := catalog.negative_elbo(card)) is not None:
        lines.append(f"Negative ELBO **{nats:.1f}** nats")
    asked = values.get("class_agreement", card.metrics.get("test/class_agreement"))
    if asked is not None:
        lines.append(f"Class asked for **{asked:.1%}**")
    if "sharpness" in values:
        lines.append(f"Sharpness **{values['sharpness']:.2f}** (real 1.00)")
    return lines
