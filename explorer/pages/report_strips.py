"""Ways from one image to another, as the reports draw them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import latent, pictures, resources
from explorer.pages import report_pictures
from training.checkpoint import Card, Checkpoint
from training.data import ImageData

FRAMES = 9
MOST = 10
"""Strips of a conditional model, one per class."""
STRIPS = 5


def codes_of(opened: Checkpoint, images: ImageData) -> latent.Array:
    """The codes (n, d) that a VAE gives to images."""
    return opened.encode(images.images.float() / 255)[0].numpy()


def pixels_of(images: ImageData) -> pictures.Pixels:
    """The images themselves (n, H, W, C)."""
    return images.images.permute(0, 2, 3, 1).numpy()


def draw(name: str, opened: Checkpoint, images: ImageData | None) -> None:
    """From one real image to another; of a GAN, which has no encoder, between random latents."""
    st.subheader("Between two images")
    card = opened.card
    if images is not None and len(images) > 1:
        mu, real = codes_of(opened, images), pixels_of(images)
        half = len(images) // 2
        between = [_walk(name, "linear", mu[i], mu[i + half]) for i in range(half)]
        rows = [
            np.concatenate([real[[i]], frames, real[[i + half]]])
            for i, frames in enumerate(between)
        ]
        words = "Straight lines between two codes; the first and last columns are the originals"
    elif card.num_classes:
        classes = np.eye(card.num_classes, dtype=np.float32)[:MOST]
        rows = [_walk(name, "spherical", *_ends(card, 0), one) for one in classes]
        words = "From one random latent to another on a great circle, one class per row"
    else:
        rows = [_walk(name, "spherical", *_ends(card, i)) for i in range(STRIPS)]
        words = "From one random latent to another on a great circle"
    report_pictures.show_rows(f"{name}-strips", rows, [], words)


def _ends(card: Card, i: int) -> tuple[latent.Array, latent.Array]:
    return latent.sample_z(2 * i, card.latent_dim), latent.sample_z(2 * i + 1, card.latent_dim)


def _walk(
    name: str, kind: str, a: latent.Array, b: latent.Array, weights: latent.Array | None = None
) -> pictures.Pixels:
    """Images along a path, all of one class with ``weights`` (k,) where the model takes one."""
    every = None if weights is None else np.repeat(weights[None], FRAMES, axis=0)
    return resources.draw(name, latent.path(kind, a, b, FRAMES), every)
