"""Pieces that several pages draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
import torch

from explorer import catalog, latent, pictures, resources, settings, state
from explorer.gallery import Gallery
from training.checkpoint import Card, CheckpointError
from training.data import DataError
from training.download import download_mnist


def current_model() -> tuple[str, Card]:
    """Name and card of the chosen model; stops the page with a sentence if it cannot be opened."""
    name = state.model_name()
    try:
        return name, resources.checkpoint(name).card
    except CheckpointError as error:
        st.error(f"This model cannot be opened: {catalog.plain(str(error))}.")
        st.stop()


def decode(name: str, z: latent.Array, weights: latent.Array | None = None) -> pictures.Pixels:
    """Latents (n, d), with class weights (n, k), to pixels (n, H, W, C), in float32."""
    condition = None if weights is None else torch.from_numpy(weights)
    images = resources.checkpoint(name).decode(torch.from_numpy(z), condition)
    return pictures.to_pixels(images.cpu().numpy())


def seed_input() -> None:
    """The seed of the page's latent; a new one moves the latent."""
    st.number_input(
        "Seed",
        0,
        2**31 - 1,
        key="seed",
        on_change=state.move,
        args=(None,),
        persist_state="session",
        width=180,
        help="The same seed gives the same latent on every machine.",
    )


def needs_encoder(card: Card) -> None:
    """Say why there is no map of this model, and where to go instead."""
    if card.family == "vae" and not resources.encodes(card):
        st.info("This model draws other images than the real ones that are here: there is no map.")
    elif card.family == "vae":
        st.info(f"This model has {card.latent_dim} latent dimensions; the map shows two.")
    else:
        st.info(
            "A GAN has no encoder: nothing says where a real image would lie among its "
            f"{card.latent_dim} numbers, so there is no map to draw. Choose a VAE in the sidebar, "
            "or move through this model on the **Sliders** and **Digits** pages."
        )


def extent(codes: latent.Array) -> float:
    """Half the side of a square that holds nearly all codes (n, d): a whole number from 3 on."""
    return float(max(3, np.ceil(np.quantile(np.abs(codes), 0.995))))


def class_colours() -> Sequence[str]:
    """Colours of the classes, from the theme."""
    from plotly.colors import qualitative

    return st.get_option("theme.chartCategoricalColors") or qualitative.Safe


def show(where, image: pictures.Pixels, caption: str, testid: str, scale: int = 5) -> None:
    """An image (H, W, C) enlarged without smoothing; ``testid`` is its alternative text's start."""
    where.image(pictures.enlarge(image, scale), caption=caption, alt=f"{testid}: {caption}")


def data_notice(images: Gallery) -> None:
    """Where the real data set is missing: say so, and offer to fetch it."""
    if not images.problem:
        return
    with st.expander(
        f"Showing {len(images.data):,} digits that come with the app; the full test set is not on "
        "this computer.",
        icon=":material/download:",
    ):
        st.markdown(images.problem)
        if st.button("Download MNIST (11 MB)", key="download"):
            _download()


def _download() -> None:
    bar = st.progress(0.0, "Starting…")

    def show_bytes(name: str, done: int, total: int) -> None:
        bar.progress(min(done / total, 1.0) if total else 0.0, f"{name}: {done / 2**20:.1f} MB")

    try:
        download_mnist(settings.data_dir(), show_bytes)
    except DataError as error:
        bar.empty()
        st.error(str(error))
    else:
        st.rerun()
