"""The judge: a classifier trained here that reads what generators draw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import Checkpoint, CheckpointError, load, shipped
from training.networks import Classifier
from training.recipes import Recipe

JUDGES = {"mnist": "mnist-judge", "cifar10": "cifar10-judge", "stacked-mnist": "mnist-judge"}
"""The judge of each data set; Stacked-MNIST's reads one channel at a time."""


@dataclass(frozen=True)
class Reading:
    """What a judge sees in images."""

    features: Tensor
    """Its pooled features (n, width), the space in which images are compared."""
    logits: Tensor
    """Its class logits (n, k)."""

    @staticmethod
    def joined(parts: list[Reading]) -> Reading:
        """The readings of several batches as one."""
        return Reading(
            torch.cat([part.features for part in parts]), torch.cat([part.logits for part in parts])
        )


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
    return judge_of(recipe.dataset, recipe.network.image_shape, checkpoints, classes)


def judge_of(
    dataset: str, image_shape: tuple[int, int, int], checkpoints: Path, classes: tuple[str, ...]
) -> Checkpoint | None:
    """The judge that reads images of ``dataset``; None where there is none for its classes."""
    judge = find_judge(checkpoints, dataset)
    if judge is None or image_shape[1:] != judge.card.image_shape[1:]:
        return None
    channels = image_shape[0] // judge.card.image_shape[0]
    read_together = judge.card.classes
    for _ in range(channels - 1):
        read_together = tuple(a + b for a in read_together for b in judge.card.classes)
    return judge if read_together == classes else None


@torch.inference_mode()
def read(judge: Checkpoint, x: Tensor) -> Reading:
    """Read images x (n, C, H, W) in [0, 1] on the judge's device.

    Images of more channels than the judge's are read channel by channel, as Stacked-MNIST is
    (Metz et al. 2017, arXiv:1611.02163, section 3.3.1): features side by side, and a class for
    every combination.
    """
    network, x = judge.network, x.to(judge.device, torch.float32)
    assert isinstance(network, Classifier)
    features, logits = [], torch.zeros(len(x), 1, device=x.device)
    for channels in x.split(judge.card.image_shape[0], dim=1):
        features.append(network.features(channels).float())
        log_p = network.head(features[-1]).float()
        if x.shape[1] > judge.card.image_shape[0]:
            log_p = log_p.log_softmax(1)
        logits = (logits[:, :, None] + log_p[:, None, :]).flatten(1)
    return Reading(torch.cat(features, 1), logits)
