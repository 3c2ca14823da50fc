"""Scores many checkpoints in one go: a data set and its judge are read once for all its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from training.checkpoint import Card, CheckpointError, Scores, add_scores, find, load, read_card
from training.console import console
from training.data import DATASETS, DataError, data_root, load_both, load_images
from training.devices import out_of_memory, pick_device
from training.evaluation import RealImages, Tell, evaluate, measure_real
from training.inception import Inception, open_network, read_training
from training.judge import judge_of
from training.scores import SCORES

SHOWN = (
    "inception_score",
    "frechet",
    "inception_v3_fid",
    "inception_v3_is",
    "class_agreement",
    "modes",
    "negative_elbo",
    "sharpness",
)
COLOURS = 3
"""Channels of the images that InceptionV3 reads."""


def score_folders(
    folders: Iterable[Path],
    samples: int,
    seed: int,
    *,
    data: Path | None = None,
    images: Path | None = None,
    device: str = "auto",
    inception: Path | None = None,
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Score the checkpoints in ``folders`` and write the scores into their cards.

    ``inception`` is the file of InceptionV3's weights, for models of colour images. Returns the
    scores by name, and what went wrong by name, by path where two have one name; one failure does
    not stop the others. Raises ValueError where there is no checkpoint to score, no such device,
    or not these weights.
    """
    where = pick_device(device)
    failed: dict[str, str] = {}
    cards = _cards(folders, failed)
    network = None if inception is None else open_network(inception, where)
    grey = [card.name for _, card in cards if card.image_shape[0] != COLOURS]
    if network is not None and grey:
        console.print(
            f"InceptionV3 reads colour images: it does not score {escape(', '.join(grey))}.",
            soft_wrap=True,
        )
    many = Counter(path.name for path, _ in cards)
    scorer = _Scorer(samples, seed, data, images, where, network)
    scored: dict[str, Scores] = {}
    for path, card in cards:
        name = path.name if many[path.name] == 1 else str(path)
        try:
            scored[name] = scorer.score(path, card)
        except (CheckpointError, DataError, MemoryError, RuntimeError, OSError) as error:
            failed[name] = _reason(error, path)
    return scored, failed


def _reason(error: Exception, path: Path) -> str:
    """Why a checkpoint was not scored, in a sentence; raises what is a defect."""
    match error:
        case CheckpointError():
            return error.check
        case DataError():
            return str(error)
        case OSError():
            return f"{path} cannot be written: {error.strerror}"
    if out_of_memory(error):
        return "there is not enough memory: try --device cpu, or fewer samples"
    raise error


@dataclass
class _Scorer:
    """Scores one checkpoint after the other; their real images stay while they are of use."""

    samples: int
    seed: int
    data: Path | None
    images: Path | None
    device: torch.device
    inception: nn.Module | None
    _of: tuple[object, ...] = ()
    _real: RealImages | None = None
    _known: Inception | None = None

    def score(self, path: Path, card: Card) -> Scores:
        """Score the checkpoint at ``path`` and write the scores into its card."""
        with _progress() as progress:
            task = progress.add_task(card.name, total=None, what="")

            def tell(what: str, done: int, total: int) -> None:
                progress.update(task, completed=done, total=total, what=what)

            real = self._compared(card, path.parent, tell)
            opened = load(path, self.device)
            scores = evaluate(
                opened, real, samples=self.samples, seed=self.seed, inception=self._known, tell=tell
            )
            add_scores(path, scores, opened.card.weights_sha256)
            _tell(progress, card, scores)
        return scores

    def _compared(self, card: Card, root: Path, tell: Tell) -> RealImages:
        """The real images of a checkpoint in ``root``, read unless they are at hand."""
        needed = (card.recipe.dataset, card.image_shape, root, card.classes)
        if self._real is None or self._of != needed:
            # Free memory before the next is read; and should that fail, nothing is at hand.
            self._real, self._known, self._of = None, None, ()
            self._real = _real_images(card, root, self.data, self.images, self.device, tell)
            if self.inception is not None and card.image_shape[0] == COLOURS:
                self._known = read_training(self.inception, self._real.train.images, tell)
            self._of = needed
        return self._real


def _cards(folders: Iterable[Path], failed: dict[str, str]) -> list[tuple[Path, Card]]:
    """The checkpoints to score, those of one data set together; judges score, and have no score."""
    found: list[tuple[Path, Card]] = []
    for folder in folders:
        paths = [folder] if (folder / "card.json").exists() else find(folder)
        if not paths:
            raise ValueError(f"there are no checkpoints in {folder}")
        for path in paths:
            try:
                card = read_card(path)
            except CheckpointError as error:
                failed[path.name] = error.check
                continue
            if card.family != "classifier":
                found.append((path, card))
            elif path == folder:
                failed[card.name] = "it is a judge: it scores other models"
    if not found and not failed:
        raise ValueError("there are only judges, which score other models")
    return sorted(found, key=lambda one: (one[1].recipe.dataset, one[1].image_shape, one[0]))


def _real_images(
    card: Card, root: Path, data: Path | None, images: Path | None, device: torch.device, tell: Tell
) -> RealImages:
    """The data set of a checkpoint, on the device, and the judge that reads it."""
    shape = card.image_shape

    def on_image(done: int, total: int) -> None:
        tell("reading pictures", done, total)

    if images:
        train, test = load_images(images, shape, on_image)
    else:
        where, dataset = data_root(data), card.recipe.dataset
        try:
            train, test = load_both(where, dataset, shape, on_image)
        except DataError as error:
            if dataset in DATASETS or (where / "train").is_dir():
                raise
            raise DataError(
                f"It was trained on pictures of your own, {dataset}: name their folder by --images."
            ) from error
    if train.classes != card.classes:
        raise DataError(
            f"The images have classes {', '.join(train.classes[:10])}, the model "
            f"{', '.join(card.classes[:10])}: pass the folder that it was trained on, by --data or "
            "--images."
        )
    judge = judge_of(card.recipe.dataset, shape, root, card.classes)
    if judge is not None:
        judge.network.to(device)
    return measure_real(train.to(device), test.to(device), judge, tell=tell)


def _tell(progress: Progress, card: Card, scores: Scores) -> None:
    """One line per model."""
    values = [f"{SCORES[n].title} {scores.values[n]:.4g}" for n in SHOWN if n in scores.values]
    progress.console.print(
        f"[bold]{escape(card.name)}[/] in {scores.seconds:.0f} s: {'; '.join(values)}",
        soft_wrap=True,
    )
    if scores.data_sha256 != card.data_sha256:
        progress.console.print(
            "[yellow]Warning:[/] these are not the images that it was trained on."
        )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description} {task.fields[what]}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
