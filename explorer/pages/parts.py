"""Pieces that several pages draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import streamlit as st

from explorer import catalog, latent, pictures, resources, sizes, state
from explorer.layout import Layout
from training.checkpoint import CheckpointError
from training.onnx_files import AnyCard

MOST_CLASSES = 20
"""Classes told apart by colour; of more, all marks are alike."""


def current_model() -> tuple[str, AnyCard]:
    """Name and card of the chosen model; stops the page with a sentence if it cannot be opened."""
    name = state.model_name()
    try:
        return name, resources.checkpoint(name).card
    except CheckpointError as error:
        st.error(f"This model cannot be opened: {catalog.plain(str(error))}.")
        st.stop()


def decode(name: str, z: latent.Array, weights: latent.Array | None = None) -> pictures.Pixels:
    """Latents (n, d), with class weights (n, k), to pixels (n, H, W, C), in float32."""
    return pictures.drawn(resources.checkpoint(name), z, weights)


def heading(title: str) -> None:
    """What a model is called, over what is its."""
    st.markdown(f"##### {catalog.plain(title)}", anchors=False)


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


def class_input(card: AnyCard) -> None:
    """The class that a conditional model is asked for; nothing for others."""
    if not card.num_classes:
        return
    st.session_state["class"] = state.class_of(card)
    st.selectbox(
        "Class asked for",
        range(card.num_classes),
        format_func=card.classes.__getitem__,
        key="class",
        on_change=state.stay,
        persist_state="session",
        width=180,
    )


def extent(codes: latent.Array) -> float:
    """Half the side of a square that holds nearly all codes (n, d): a whole number from 3 on."""
    return float(max(3, np.ceil(np.quantile(np.abs(codes), 0.995))))


def told_apart(shown: Layout, classes: tuple[str, ...]) -> tuple[Layout, tuple[str, ...]]:
    """A layout and the classes to colour it by: of too many, all marks are alike."""
    if len(classes) <= MOST_CLASSES:
        return shown, classes
    return shown.without_classes(), ("all",)


def class_colours() -> Sequence[str]:
    """Colours of the classes, from the theme."""
    from plotly.colors import qualitative

    return st.get_option("theme.chartCategoricalColors") or qualitative.Safe


def show(where, image: pictures.Pixels, caption: str, testid: str, most: int = 160) -> None:
    """An image (H, W, C), enlarged without smoothing up to ``most`` pixels.

    ``testid`` is its alternative text's start.
    """
    scale = sizes.enlargement(len(image), most)
    picture(where, pictures.enlarge(image, scale), f"{testid}: {caption}", caption)


def picture(
    where,
    image: pictures.Pixels | bytes,
    alt: str,
    caption: str | None = None,
    width: Literal["content", "stretch"] = "content",
) -> None:
    """An image (H, W, C), or a PNG, which the page itself holds; its caption is plain text.

    Streamlit would lend it a file of its own, which is gone, should the page be drawn again before
    the browser has fetched it: a broken picture and an error in the console.
    """
    blob = image if isinstance(image, bytes) else pictures.png(image)
    words = catalog.plain(caption) if caption else None
    where.image(pictures.inside(blob), words, alt=alt, width=width)


def kind(card: AnyCard) -> str:
    """What a model's images are called."""
    return "digits" if card.dataset == "mnist" else "images"
