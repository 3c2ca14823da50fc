"""The judge: a classifier trained here that reads what generators draw."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import Checkpoint, CheckpointError, load, shipped
from training.recipes import Recipe

JUDGES = {"mnist": "mnist-judge"}


def find_judge(checkpoints: Path, dataset: str) -> Checkpoint | None:
    """The judge for ``dataset``: from ``checkpoints/judges``, else the shipped one, else None.

    A judge that does not verify is passed over: it must not score anything.
    """
    if dataset not in JUDGES:
        return None
    for root in (checkpoints, shipped()):
        try:
            return load(root / "judges" / JUDGES[dataset])
        except CheckpointError:
            continue
    return None


def judge_for(recipe: Recipe, checkpoints: Path, classes: tuple[str, ...]) -> Checkpoint | None:
    """The judge that can read what ``recipe`` draws; None for VAEs and where there is none."""
    if recipe.family in ("vae", "classifier"):
        return None
    judge = find_judge(checkpoints, recipe.dataset)
    return judge if judge is not None and judge.card.classes == classes else None


def class_agreement(
    checkpoint: Checkpoint, judge: Checkpoint, samples: int = 2000, seed: int = 0
) -> tuple[float, Tensor]:
    """Share of samples in which the judge reads the class asked for, overall and per class.

    ``samples`` latents from N(0, 1), classes in turn. Returns a number in [0, 1] and (k,).
    """
    generator = torch.Generator().manual_seed(seed)
    classes = checkpoint.card.num_classes
    y = torch.arange(samples) % classes
    right = torch.zeros(classes)
    for index in y.split(500):
        z = torch.randn(len(index), checkpoint.card.latent_dim, generator=generator)
        read = judge.classify(checkpoint.decode(z, index)).argmax(1).cpu()
        right += torch.bincount(index[read == index], minlength=classes)
    counts = torch.bincount(y, minlength=classes).clamp(min=1)
    return float(right.sum() / samples), right / counts
