"""From a run to a checkpoint folder: measure, picture, card."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from torchvision.utils import make_grid

from training import atlas, checkpoint, networks
from training.checkpoint import Card, Checkpoint, CheckpointError
from training.data import ImageData
from training.devices import describe_device
from training.glance import reference
from training.health import diagnose
from training.loop import Run, evaluate
from training.recipes import RECIPES

FIXED_NOISE_SEED = 20261122


def destination(folder: Path, run: Run) -> Path:
    """Where a run's checkpoint goes: ``folder``, or ``<folder>.partial`` beside it.

    A checkpoint that has seen more images is not given up for one that has seen fewer, until the
    run that is to replace it has caught up or is finished.
    """
    try:
        seen = checkpoint.read_card(folder).images_seen
    except CheckpointError:
        return folder  # there is none, or none that could be used
    if run.finished or run.images_seen >= seen:
        return folder
    return checkpoint.partial(folder)


def publish(
    run: Run, train: ImageData, test: ImageData, folder: Path, judge: Checkpoint | None = None
) -> Card:
    """Measure what a run produced and write it to ``folder``; return the card written.

    Scores that need a judge take ``judge``, the run's, and are left out where it is None. The test
    losses are those of the weights before they are rounded to float16; codes and picture are those
    of the weights as shipped.
    """
    weights = run.weights()
    checkpoint.require_finite(folder, weights)
    opened = _as_shipped(run, train, folder, weights)
    metrics, judged = measure(run, test, judge)
    card = opened.card.model_copy(update={"metrics": metrics, "judge": judged})
    ended = run.finished or run.interrupted  # UMAP takes half a minute: not after every epoch
    planes: dict[str, torch.Tensor] = {}
    if run.recipe.family == "vae":
        planes = atlas.build(opened, test, umap=ended)
    elif ended and judge:
        planes = atlas.build_samples(opened, judge)
    return checkpoint.save(
        folder,
        card,
        weights,
        run.history,
        planes,
        samples_png(opened, test),
        batch_losses=run.batch_losses,
        timeline=run.timeline,
    )


def _as_shipped(
    run: Run, train: ImageData, folder: Path, weights: dict[str, torch.Tensor]
) -> Checkpoint:
    network = networks.build(run.recipe.network)
    network.load_state_dict(weights, strict=False)  # a discriminator is not shipped
    recipe = run.recipe
    if recipe.name not in RECIPES:  # of one's own pictures: nobody else has said how many epochs
        recipe = replace(recipe, epochs=run.planned)
    card = Card(
        recipe=recipe,
        classes=train.classes,
        latent_dim=recipe.latent_dim,
        num_classes=recipe.num_classes,
        image_shape=recipe.network.image_shape,
        parameters=networks.recipe_parameters(recipe),
        seed=run.seed,
        epochs=run.epochs,
        images_seen=run.images_seen,
        seconds=round(run.seconds, 1),
        device=describe_device(train.images.device),
        data_sha256=train.fingerprint,
        libraries=checkpoint.installed_versions(),
        created=date.today().isoformat(),
        notes=_notes(run, max(run.planned, recipe.epochs)),
    )
    return Checkpoint(folder, card, network.to(train.images.device))


def _notes(run: Run, wanted: int) -> str:
    """What a reader of the card must know of how the run, of ``wanted`` epochs, ended."""
    notes: list[str] = []
    keep = run.recipe.keep_best
    if run.stopped and keep:
        notes.append(f"No better {keep.metric} in {keep.patience} epochs: stopped early.")
    elif run.epochs < wanted:
        notes.append(f"Stopped after {run.epochs} of {wanted} epochs.")
    if run.best and keep:
        notes.append(
            f"Weights of epoch {run.best.epoch} of {run.epochs}, the best by {keep.metric}."
        )
    elif keep and run.epochs:
        notes.append(f"Weights of the last epoch: nothing measured {keep.metric}.")
    if problem := diagnose(run.history):
        notes.append(f"Last epoch: {problem}")
    return " ".join(notes)


def measure(run: Run, test: ImageData, judge: Checkpoint | None) -> tuple[dict[str, float], str]:
    """Metrics for the card, and the SHA-256 of the judge behind them; "" where there is none."""
    own, judged = judge.card.weights_sha256 if judge else "", run.judged
    if run.interrupted and not run.best:
        # The last complete epoch's losses are not those of these weights.
        real = reference(test, judge) if run.recipe.family != "vae" else None
        losses, judged = evaluate(run.recipe, run.network, test, real), own
    else:
        epoch = run.best.epoch if run.best else run.epochs
        losses = {name: values[epoch - 1] for name, values in run.history["test"].items()}
    metrics = {f"test/{name}": value for name, value in losses.items()}
    if judge and judged == own and "test/accuracy" in judge.card.metrics:
        metrics["judge/test_accuracy"] = judge.card.metrics["test/accuracy"]
    return metrics, judged


def samples_png(opened: Checkpoint, test: ImageData) -> bytes:
    """A picture of what the model draws from the fixed noise that all models share.

    Ten columns, ten rows; a conditional model draws one class per column. A classifier draws
    nothing: its picture is its confusion matrix, rows true, columns read.
    """
    from PIL import Image

    if opened.card.family == "classifier":
        grid = confusion(opened, test)[None].expand(3, -1, -1).repeat_interleave(16, 1)
        grid = grid.repeat_interleave(16, 2)
    else:
        generator = torch.Generator().manual_seed(FIXED_NOISE_SEED)
        z = torch.randn(100, opened.card.latent_dim, generator=generator)
        classes = opened.card.num_classes
        y = torch.arange(100) % 10 % classes if classes else None
        images = opened.decode(z, y).cpu()
        if opened.card.image_shape[1] == 1:
            grid = scatter(images)
        else:
            grid = make_grid(images, nrow=10, padding=2, pad_value=0.5)
    pixels = (grid * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    if (pixels == pixels[..., :1]).all():
        picture = picture.convert("L")  # half the bytes
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def scatter(points: torch.Tensor, size: int = 224) -> torch.Tensor:
    """Points of the plane (n, 1, 1, 2) in [0, 1] as white dots on black, (3, size, size)."""
    x, y = (points.flatten(1) * (size - 3)).round().long().add(1).unbind(1)
    picture = torch.zeros(size, size)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            picture[size - 1 - y + row, x + column] = 1
    return picture.expand(3, -1, -1)


def confusion(judge: Checkpoint, test: ImageData) -> torch.Tensor:
    """Share of each true class (row) read as each class (column), (k, k) in [0, 1]."""
    k = len(judge.card.classes)
    images = test.images.split(500)
    read = torch.cat([judge.classify(x.float() / 255).argmax(1) for x in images])
    counts = torch.bincount(test.labels * k + read, minlength=k * k).view(k, k).float()
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).cpu()
