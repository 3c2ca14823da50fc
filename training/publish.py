"""From a run to a checkpoint folder: measure, picture, card."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path

import torch
from torchvision.utils import make_grid

from training import atlas, checkpoint, networks
from training.checkpoint import Card, Checkpoint, CheckpointError
from training.data import ImageData
from training.devices import describe_device
from training.judge import class_agreement, find_judge
from training.loop import Run, evaluate

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


def publish(run: Run, train: ImageData, test: ImageData, folder: Path, checkpoints: Path) -> Card:
    """Measure what a run produced and write it to ``folder``; return the card written.

    Scores that need a judge take it from ``checkpoints`` or from the shipped ones, and are left
    out where there is none. Everything but the test losses of a complete epoch is measured on the
    weights as shipped, rounded to float16.
    """
    weights = checkpoint.inference_weights(run.network)
    checkpoint.require_finite(folder, weights)
    opened = _as_shipped(run, train, folder, weights)
    metrics, judge = measure(opened, run, test, checkpoints)
    card = opened.card.model_copy(update={"metrics": metrics, "judge": judge})
    codes = atlas.build(opened, test) if run.recipe.family == "vae" else {}
    return checkpoint.save(folder, card, weights, run.history, codes, samples_png(opened, test))


def _as_shipped(
    run: Run, train: ImageData, folder: Path, weights: dict[str, torch.Tensor]
) -> Checkpoint:
    network = networks.build(run.recipe.network)
    network.load_state_dict(weights, strict=False)  # a discriminator is not shipped
    short = run.epochs < run.recipe.epochs
    card = Card(
        recipe=run.recipe,
        classes=train.classes,
        latent_dim=checkpoint.latent_dim(run.recipe),
        num_classes=checkpoint.num_classes(run.recipe),
        image_shape=run.recipe.network.image_shape,
        parameters=networks.parameter_counts(run.recipe.network),
        seed=run.seed,
        epochs=run.epochs,
        images_seen=run.images_seen,
        seconds=round(run.seconds, 1),
        device=describe_device(train.images.device),
        data_sha256=train.fingerprint(),
        libraries=checkpoint.library_versions(),
        created=date.today().isoformat(),
        notes=f"Stopped after {run.epochs} of {run.recipe.epochs} epochs." if short else "",
    )
    return Checkpoint(folder, card, network.to(train.images.device))


def measure(
    opened: Checkpoint, run: Run, test: ImageData, checkpoints: Path
) -> tuple[dict[str, float], str]:
    """Metrics for the card, and the hash of the judge behind them ("" where none was used)."""
    if run.interrupted:  # the last complete epoch's losses are not those of these weights
        losses = evaluate(run.recipe, run.network, test)
    else:
        losses = {name: values[-1] for name, values in run.history["test"].items()}
    metrics = {f"test/{name}": value for name, value in losses.items()}
    judge = find_judge(checkpoints, run.recipe.dataset) if run.recipe.family == "cgan" else None
    if judge is None or judge.card.classes != opened.card.classes:
        return metrics, ""
    agreement, per_class = class_agreement(opened, judge)
    metrics["samples/class_agreement"] = agreement
    metrics["samples/class_agreement_worst"] = float(per_class.min())
    if "test/accuracy" in judge.card.metrics:
        metrics["judge/test_accuracy"] = judge.card.metrics["test/accuracy"]
    return metrics, judge.card.files["weights.safetensors"].sha256


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
        grid = make_grid(opened.decode(z, y).cpu(), nrow=10, padding=2, pad_value=0.5)
    pixels = (grid * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def confusion(judge: Checkpoint, test: ImageData) -> torch.Tensor:
    """Share of each true class (row) read as each class (column), (k, k) in [0, 1]."""
    k = len(judge.card.classes)
    images = test.images.split(500)
    read = torch.cat([judge.classify(x.float() / 255).argmax(1) for x in images])
    counts = torch.bincount(test.labels * k + read, minlength=k * k).view(k, k).float()
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).cpu()
