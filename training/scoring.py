"""Scores many checkpoints in one go: a data set and its judge are read once for all its models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

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
    scores by name, and what went wrong by name; one failure does not stop the others. Raises
    ValueError where there is no checkpoint to score, no such device, or not these weights.
    """
    where = pick_device(device)
    scored: dict[str, Scores] = {}
    failed: dict[str, str] = {}
    real: RealImages | None = None
    known: Inception | None = None
    of: tuple[object, ...] = ()
    cards = _cards(folders, failed)
    network = None if inception is None else open_network(inception, where)
    grey = [card.name for _, card in cards if card.image_shape[0] != COLOURS]
    if network is not None and grey:
        console.print(
            f"InceptionV3 reads colour images: it does not score {escape(', '.join(grey))}.",
            soft_wrap=True,
        )
    for path, card in cards:
        with _progress() as progress:
            task = progress.add_task(card.name, total=None, what="")

            def tell(what: str, done: int, total: int, progress=progress, task=task) -> None:
                progress.update(task, completed=done, total=total, what=what)

            try:
                needed = (card.recipe.dataset, card.image_shape, path.parent, card.classes)
                if real is None or of != needed:
                    real, known, of = None, None, ()  # free memory before the next is read
                    real = _real_images(card, path.parent, data, images, where, tell)
                    if network is not None and card.image_shape[0] == COLOURS:
                        known = read_training(network, real.train.images, tell)
                    of = needed
                opened = load(path, where)
                scores = evaluate(
                    opened, real, samples=samples, seed=seed, inception=known, tell=tell
                )
                add_scores(path, scores, opened.card.weights_sha256)
            except CheckpointError as error:
                failed[card.name] = error.check
            except DataError as error:
                failed[card.name] = str(error)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                failed[card.name] = "there is not enough memory: try --device cpu, or fewer samples"
            except OSError as error:
                failed[card.name] = f"{path} cannot be written: {error.strerror}"
            else:
                scored[card.name] = scores
                _tell(progress, card, scores)
    return scored, failed


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
