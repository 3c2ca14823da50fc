"""A training as the stops of a scrubber: what is at each, what was measured there; all as a GIF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer import catalog, figures, latent, pictures
from training.checkpoint import Card, History

SAMPLES = 16
SIDE = 4
"""Samples along a side of the grid."""
NOISE_SEED = 0
SCALE = 3
FRAME_MS = 700


@dataclass(frozen=True)
class Stop:
    """Weights of one model at one time of its training."""

    epoch: int
    """Epochs that they were trained for."""
    shipped: bool
    """Whether they are those that the other pages show."""

    @property
    def kept(self) -> int | None:
        """The ``epoch`` by which `training.checkpoint.load` opens them."""
        return None if self.shipped else self.epoch

    @property
    def label(self) -> str:
        """What is written under the scrubber."""
        return f"{self.epoch}\nshipped" if self.shipped else str(self.epoch)

    @property
    def words(self) -> str:
        """The same in full."""
        also = ", as shipped" if self.shipped else ""
        return f"After epoch {self.epoch}{also}"

    def key(self, name: str) -> str:
        """What the live channel calls them, of the model ``name``."""
        return name if self.shipped else f"{name}@{self.epoch}"


def stops(card: Card, history: History) -> list[Stop]:
    """Every time of a training whose weights are there, in its order.

    The weights as shipped are of the last epoch, or of the best where the recipe keeps that one.
    """
    shipped = figures.best_epoch(card.recipe, history) or card.epochs
    found = [Stop(epoch, False) for epoch in catalog.earlier(card)]
    return sorted([*found, Stop(shipped, True)], key=lambda stop: (stop.epoch, stop.shipped))


def find(among: Sequence[Stop], epoch: int) -> int | None:
    """Place of an epoch's stop, of the shipped weights' for 0; None where there is none."""
    for i, stop in enumerate(among):
        if stop.epoch == epoch or (stop.shipped and not epoch):
            return i
    return None


def noise(card: Card) -> tuple[latent.Array, latent.Array | None]:
    """Latents (n, d) of the samples, and class weights (n, k): each class in its turn."""
    z = latent.noise(NOISE_SEED, SAMPLES, card.latent_dim)
    return z, latent.in_turn(SAMPLES, card.num_classes)


def measured(history: History, epoch: int) -> str:
    """What was measured after an epoch, from 1, in words; "" where nothing was."""
    split = "test" if history["test"] else "training"
    parts = history["test"] or history["train"]
    told = [
        f"{figures.part(name).title} {_written(values[epoch - 1], figures.part(name).unit)}"
        for name, values in parts.items()
        if 0 < epoch <= len(values)
    ]
    return f"Measured after epoch {epoch} on the {split} set: {', '.join(told)}." if told else ""


def _written(value: float, unit: str) -> str:
    return f"{value:.0%}" if unit == "share" else f"{value:.3g}"


def sheet(samples: pictures.Pixels) -> pictures.Pixels:
    """Samples (n, H, W, C) as one picture, `SIDE` in a row, enlarged where they are small."""
    whole = pictures.sheet(samples, SIDE)
    return pictures.enlarge(whole, SCALE if samples.shape[1] < 64 else 1)


def gif(sheets: Sequence[pictures.Pixels], found: Sequence[Stop]) -> bytes:
    """A sheet (H, W, C) for each stop, with its epoch above, as a GIF that runs for ever."""
    frames = [pictures.titled(one, stop.words) for one, stop in zip(sheets, found, strict=True)]
    return pictures.gif(np.stack(frames), scale=1, milliseconds=FRAME_MS, back=False)
