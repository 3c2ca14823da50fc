"""Everything that the reports show of one system, drawn anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from explorer import catalog, figures, latent, resources
from explorer.pages import parts, report_pictures, report_strips
from explorer.pages.report_strips import codes_of, pixels_of
from training.checkpoint import Card, Checkpoint, History, read_history
from training.data import DataError, ImageData

COLUMNS = 10
STRIP_REPORTS = ("R3", "R5")
PLANE = 15
"""Images along a side of the decoded plane."""
NOISE_SEED = 0


def draw_all(name: str, report: str) -> None:
    """Every figure and picture of a model; raises CheckpointError where a file is refused."""
    opened = resources.trained(name)
    _losses(name, opened.card, opened.history())
    _batches(name, opened)
    _samples(name, opened)
    images = _originals(opened.card) if opened.card.family == "vae" else None
    if images is not None:
        _reconstructions(name, opened, images)
    if opened.card.family == "vae" and opened.card.latent_dim == 2:
        _plane(name, opened)
    if report in STRIP_REPORTS:
        report_strips.draw(name, opened, images)


def draw_results(name: str, folder: Path, card: Card) -> None:
    """The losses and the picture of a model without weights; raises CheckpointError."""
    _losses(name, card, read_history(folder, card))
    if picture := resources.samples(name, folder, card):
        st.subheader("Samples")
        words = "Drawn at the end of its training"
        parts.picture(st, picture, words, words)


def _losses(name: str, card: Card, history: History) -> None:
    st.subheader("Losses")
    colours = parts.class_colours()
    best = figures.best_epoch(card.recipe, history)
    st.caption(
        "Per epoch; dotted on the training set while training, solid on the test set."
        + (f" The weights of epoch {best}, the best, are those shown below." if best else "")
    )
    report_pictures.show_figures(f"{name}-losses", figures.loss_curves(history, colours, best))


def _batches(name: str, opened: Checkpoint) -> None:
    every, kept = opened.batch_losses()
    if not kept:
        return
    losses = {part: tensor.numpy() for part, tensor in kept.items()}
    most = max(map(len, losses.values()))
    window = max(most // opened.card.epochs, 1)
    st.caption(
        f"Per batch, one in {every * figures.batch_step(most)}. Faint is the batch itself, strong "
        "the mean of the last epoch's."
    )
    report_pictures.show_figures(
        f"{name}-batches", figures.batch_curves(losses, window, parts.class_colours(), every)
    )


def _samples(name: str, opened: Checkpoint) -> None:
    """From the same noise after every epoch of the timeline; without one, more samples at once."""
    st.subheader("Samples")
    card, epochs = opened.card, opened.timeline()
    many = 4 if card.image_shape[1] >= report_pictures.LARGE else COLUMNS
    n = COLUMNS if epochs else COLUMNS * many
    z = latent.noise(NOISE_SEED, n, card.latent_dim)
    row = latent.in_turn(COLUMNS, card.num_classes)
    weights = None if row is None else np.tile(row, (n // COLUMNS, 1))
    shipped = resources.draw(name, z, weights)
    if not epochs:
        report_pictures.show_rows(
            f"{name}-samples", np.split(shipped, many), [], "Each from noise of its own"
        )
        return
    rows = [resources.draw(name, z, weights, epoch) for epoch in epochs]
    captions = [f"After epoch {epoch}" for epoch in epochs]
    st.caption("The same noise in every row.")
    report_pictures.show_rows(
        f"{name}-samples", [*rows, shipped], [*captions, "The weights that are shipped"]
    )


def _originals(card: Card) -> ImageData | None:
    """Real images for a VAE; where there are none, the page says why."""
    try:
        return resources.originals(card)
    except DataError as error:
        st.info(f"There are no originals to show. {catalog.plain(str(error))}")
        return None


def _reconstructions(name: str, opened: Checkpoint, images: ImageData) -> None:
    st.subheader("Originals over reconstructions")
    drawn = resources.draw(name, codes_of(opened, images))
    words = "Above, real images that it was not trained on; below, what it makes of their codes"
    report_pictures.show_rows(f"{name}-reconstructions", [pixels_of(images), drawn], [], words)


def _plane(name: str, opened: Checkpoint) -> None:
    atlas, classes = opened.atlas(), opened.card.classes
    if not atlas:
        return
    st.subheader("The latent plane")
    mu = atlas["mu"].float().numpy()
    chart = figures.plane(mu, atlas["labels"].numpy(), classes, parts.class_colours())
    (left, bottom), (right, top) = np.quantile(mu, [0.005, 0.995], axis=0)
    across = np.linspace(left, right, PLANE, dtype=np.float32)
    rows = [
        resources.draw(name, np.stack([across, np.full_like(across, z2)], axis=1))
        for z2 in np.linspace(top, bottom, PLANE)
    ]
    columns = st.columns(2)
    with columns[0]:
        report_pictures.show_figures(f"{name}-plane", {f"Codes of {len(mu):,} test images": chart})
    with columns[1]:
        words = (
            f"Decoded: z₁ from {left:.2f} to {right:.2f}, z₂ from {bottom:.2f} below to {top:.2f} "
            "above, the range of 99 % of the codes in each"
        )
        report_pictures.show_rows(f"{name}-plane", rows, [], words)
