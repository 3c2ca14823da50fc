"""Finds, verifies and describes checkpoints. One bad folder never hides the good ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from training.checkpoint import Card, Checkpoint, CheckpointError, find, load, verify_files
from training.recipes import ELBO


@dataclass(frozen=True)
class Catalog:
    """What a checkpoints folder holds."""

    root: Path
    """The folder looked into."""
    cards: dict[str, Card]
    """Cards of the models that verified, by folder name, in the order people should meet them."""
    problems: dict[str, str]
    """For every folder that failed: which check, in one sentence."""

    def open(self, name: str, device: str = "cpu") -> Checkpoint:
        """Load one model; raises CheckpointError, also for a name that is not in the catalog."""
        if name not in self.cards:
            raise CheckpointError(
                self.root / name, self.problems.get(name, "there is no such model")
            )
        return load(self.root / name, device)


def scan(root: Path) -> Catalog:
    """Read and verify every checkpoint folder directly inside ``root``."""
    cards: dict[str, Card] = {}
    problems: dict[str, str] = {}
    for folder in find(root):
        if folder.parent != root:
            continue  # judges score models, nobody explores them
        try:
            card = verify_files(folder)
        except CheckpointError as error:
            problems[folder.name] = error.check
            continue
        if card.family != "classifier" and card.image_shape[1] > 1:  # points are no pictures
            cards[folder.name] = card
    order = sorted(cards, key=lambda name: (_turn(cards[name]), name))
    return Catalog(root, {name: cards[name] for name in order}, problems)


def _turn(card: Card) -> int:
    """A model's turn in a first visit: those with a map, those that take orders, the rest."""
    if card.family == "vae" and card.latent_dim == 2:
        return 0
    if card.num_classes:
        return 1
    return 2 if card.family == "vae" else 3


def plain(text: str) -> str:
    """Text from a card for use in Markdown: no link, image or HTML of a stranger's."""
    return re.sub(r"([\\`*_\[\]<>#!$:~|])", r"\\\1", " ".join(text.split()))


def describe(card: Card) -> str:
    """The card in words, as Markdown, for the sidebar."""
    recipe = card.recipe
    height, width = card.image_shape[1:]
    colour = "grey" if card.image_shape[0] == 1 else "colour"
    asked = f", asked for one of {card.num_classes} classes" if card.num_classes else ""
    minutes = card.seconds / 60
    lines = [
        f"**{plain(recipe.title)}** draws {height} x {width} {colour} images from "
        f"**{card.latent_dim} numbers**{asked}.",
        f"Trained on {card.images_seen:,} images of {plain(recipe.dataset.upper())} "
        f"({card.epochs} passes) in {minutes:.0f} min on {plain(card.device)}.",
        " · ".join(
            f"{plain(name)} {count:,} parameters" for name, count in card.parameters.items()
        ),
    ]
    if recipe.report:
        lines.append(f"From report {plain(recipe.report)}, {plain(recipe.row)}.")
    lines += _measured(card)
    if card.notes:
        lines.append(f"*{plain(card.notes)}*")
    return "\n\n".join(lines)


def _measured(card: Card) -> list[str]:
    """What the card's metrics say of the model, a sentence each."""
    lines: list[str] = []
    metrics, objective = card.metrics, card.recipe.objective
    if isinstance(objective, ELBO) and {"test/reconstruction", "test/kl"} <= metrics.keys():
        reconstruction, kl = metrics["test/reconstruction"], metrics["test/kl"]
        if objective.reconstruction == "bernoulli":  # whatever beta it was trained with
            lines.append(
                f"Negative ELBO on the test set: **{reconstruction + kl:.1f} nats** an image."
            )
        else:
            lines.append(
                f"On the test set: squared error **{reconstruction:.1f}** an image, "
                f"KL **{kl:.1f} nats**."
            )
    return lines + _scored(card)


def _scored(card: Card) -> list[str]:
    """What ``latent-train evaluate`` found, or for a class asked for, what training did."""
    values = card.scores.values if card.scores else {}
    lines: list[str] = []
    if (
        asked := values.get("class_agreement", card.metrics.get("test/class_agreement"))
    ) is not None:
        lines.append(f"The judge reads the class asked for in **{asked:.1%}** of its samples.")
    if card.scores and card.scores.judge and "inception_score" in values:
        best = card.scores.real.get("inception_score")
        lines.append(
            f"Inception Score by a judge (reads {card.scores.judge.accuracy:.2%} of the test "
            f"images): **{values['inception_score']:.2f}**"
            + (f"; real images {best:.2f}." if best else ".")
        )
    if "sharpness" in values:
        lines.append(f"Samples are **{values['sharpness']:.2f}** times as sharp as real images.")
    return lines
