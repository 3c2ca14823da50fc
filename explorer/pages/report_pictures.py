"""The figures and pictures of one system, as the reports have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure

from explorer import catalog, figures, latent, pictures, resources
from explorer.components.figure import figure
from explorer.pages import parts
from training.checkpoint import Card, Checkpoint
from training.data import DataError, ImageData

COLUMNS = 10
LARGE = 64
"""Pixels of an image from which fewer are drawn, and none is enlarged."""
FRAMES = 9
STRIPS = 5
STRIP_REPORTS = ("R3", "R5")
PLANE = 15
"""Images along a side of the decoded plane."""
NOISE_SEED = 0


def draw_all(name: str, report: str) -> None:
    """Every figure and picture of a model; raises CheckpointError where a file is refused."""
    opened = resources.checkpoint(name)
    _losses(name, opened)
    _samples(name, opened)
    images = _originals(opened.card) if opened.card.family == "vae" else None
    if images is not None:
        _reconstructions(name, opened, images)
    if opened.card.family == "vae" and opened.card.latent_dim == 2:
        _plane(name, opened)
    if report in STRIP_REPORTS:
        _strips(name, opened, images)


def show_figures(key: str, charts: Mapping[str, Figure]) -> None:
    """Figures by title, two abreast where there is room, each with its downloads."""
    columns = st.columns(2) if len(charts) > 1 else [st.container()]
    for i, (title, chart) in enumerate(charts.items()):
        file = f"{key}-{i + 1}"
        with columns[i % 2].container(gap="xsmall"):
            figure(f"figure_{file}", chart, title=title, alt=figures.describe(chart), file=file)
            _download("CSV", lambda chart=chart: figures.to_csv(chart), f"{file}.csv", "text/csv")


def show_rows(
    key: str, rows: Sequence[pictures.Pixels], captions: Sequence[str], whole: str = ""
) -> None:
    """Rows of images (n, H, W, C) and one PNG of them all.

    Each row has a caption, or the ``whole`` has one.
    """
    scale = max(LARGE // rows[0].shape[1], 1)
    together = pictures.enlarge(figures.grid(rows), scale)
    with st.container(gap="xsmall"):
        if whole:
            st.image(together, caption=whole, alt=whole)
        else:
            for row, caption in zip(rows, captions, strict=True):
                st.image(pictures.row(row, scale), caption=caption, alt=caption)
        _download("PNG", lambda: pictures.png(together), f"{key}.png", "image/png")


def _download(label: str, make: Callable[[], str | bytes], file: str, mime: str) -> None:
    st.download_button(label, make, file, mime, key=f"save_{file}", on_click="ignore", help=file)


def _losses(name: str, opened: Checkpoint) -> None:
    st.subheader("Losses")
    history, colours = opened.history(), parts.class_colours()
    best = figures.best_epoch(opened.card.recipe, history)
    st.caption(
        "Per epoch; dotted on the training set while training, solid on the test set."
        + (f" The weights of epoch {best}, the best, are those shown below." if best else "")
    )
    show_figures(f"{name}-losses", figures.loss_curves(history, colours, best))
    losses = {part: tensor.numpy() for part, tensor in opened.batch_losses().items()}
    if not losses:
        return
    batches = max(map(len, losses.values()))
    window = max(batches // opened.card.epochs, 1)
    st.caption(
        f"Per batch; of {batches:,} batches one in {figures.batch_step(batches)} is drawn. Faint "
        f"is the batch itself, strong the mean of the last {window:,} batches, one epoch."
    )
    show_figures(f"{name}-batches", figures.batch_curves(losses, window, colours))


def _samples(name: str, opened: Checkpoint) -> None:
    """From the same noise after every epoch of the timeline; without one, more samples at once."""
    st.subheader("Samples")
    card, epochs = opened.card, opened.timeline()
    many = 4 if card.image_shape[1] >= LARGE else COLUMNS
    n = COLUMNS if epochs else COLUMNS * many
    z = latent.sample_z(NOISE_SEED, n * card.latent_dim).reshape(n, card.latent_dim)
    asked = np.arange(n) % COLUMNS % max(card.num_classes, 1)
    weights = np.eye(card.num_classes, dtype=np.float32)[asked] if card.num_classes else None
    shipped = resources.draw(name, z, weights)
    if not epochs:
        show_rows(f"{name}-samples", np.split(shipped, many), [], "Each from noise of its own")
        return
    rows = [resources.draw(name, z, weights, epoch) for epoch in epochs]
    captions = [f"After epoch {epoch}" for epoch in epochs]
    st.caption("The same noise in every row.")
    show_rows(f"{name}-samples", [*rows, shipped], [*captions, "The weights that are shipped"])


def _originals(card: Card) -> ImageData | None:
    """Real images for a VAE; where there are none, the page says why."""
    try:
        return resources.originals(card)
    except DataError as error:
        st.info(f"There are no originals to show. {catalog.plain(str(error))}")
        return None


def _codes(opened: Checkpoint, images: ImageData) -> latent.Array:
    return opened.encode(images.images.float() / 255)[0].numpy()


def _pixels(images: ImageData) -> pictures.Pixels:
    return images.images.permute(0, 2, 3, 1).numpy()


def _reconstructions(name: str, opened: Checkpoint, images: ImageData) -> None:
    st.subheader("Originals over reconstructions")
    drawn = resources.draw(name, _codes(opened, images))
    words = "Above, real images that it was not trained on; below, what it makes of their codes"
    show_rows(f"{name}-reconstructions", [_pixels(images), drawn], [], words)


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
        show_figures(f"{name}-plane", {f"Codes of {len(mu):,} test images": chart})
    with columns[1]:
        words = (
            f"Decoded: z₁ from {left:.2f} to {right:.2f}, z₂ from {bottom:.2f} below to {top:.2f} "
            "above, the range of 99 % of the codes in each"
        )
        show_rows(f"{name}-plane", rows, [], words)


def _strips(name: str, opened: Checkpoint, images: ImageData | None) -> None:
    """From one real image to another; of a GAN, which has no encoder, between random latents."""
    st.subheader("Between two images")
    card = opened.card
    if images is not None and len(images) > 1:
        mu, real = _codes(opened, images), _pixels(images)
        half = len(images) // 2
        between = [_walk(name, "linear", mu[i], mu[i + half]) for i in range(half)]
        rows = [
            np.concatenate([real[[i]], frames, real[[i + half]]])
            for i, frames in enumerate(between)
        ]
        words = "Straight lines between two codes; the first and last columns are the originals"
    elif card.num_classes:
        classes = np.eye(card.num_classes, dtype=np.float32)[:COLUMNS]
        rows = [_walk(name, "spherical", *_ends(card, 0), one) for one in classes]
        words = "From one random latent to another on a great circle, one class per row"
    else:
        rows = [_walk(name, "spherical", *_ends(card, i)) for i in range(STRIPS)]
        words = "From one random latent to another on a great circle"
    show_rows(f"{name}-strips", rows, [], words)


def _ends(card: Card, i: int) -> tuple[latent.Array, latent.Array]:
    return latent.sample_z(2 * i, card.latent_dim), latent.sample_z(2 * i + 1, card.latent_dim)


def _walk(
    name: str, kind: str, a: latent.Array, b: latent.Array, weights: latent.Array | None = None
) -> pictures.Pixels:
    """Images along a path, all of one class with ``weights`` (k,) where the model takes one."""
    every = None if weights is None else np.repeat(weights[None], FRAMES, axis=0)
    return resources.draw(name, latent.path(kind, a, b, FRAMES), every)
