"""What several models make of one real image."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from explorer import compare, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.original import original
from explorer.components.picture import picture
from explorer.gallery import Gallery
from explorer.pages import absent, parts
from training.onnx_files import AnyCard

WIDTH = 200
"""CSS pixels of a picture."""
NUMBER = "compared_number"
"""The field for the number of the image, which keeps the focus from one image to the next."""
HOW = (
    "Point at a map: every model shows what it makes of the image under the pointer. A model with "
    "an encoder reconstructs it; one without draws the most alike of "
    f"{compare.SAMPLES:,} samples. A lasso on one map marks its images on all."
)


def by_image(cards: dict[str, AnyCard]) -> None:
    """One real image, and what every model makes of it."""
    name, card = next(iter(cards.items()))
    images = resources.real_images(card)
    assert images, "the page moves models without real images by numbers"
    selected = state.selected(images.source, len(images)) or 0
    st.caption(HOW)
    absent.data_notice(card)
    titles = compare.headings(cards)
    first, *columns = st.columns(len(cards) + 1)
    with first:
        _original(name, card, images, selected)
    for (name, card), column in zip(cards.items(), columns, strict=True):
        with column:
            _made_of(name, card, titles[name], images, selected)


def _original(name: str, card: AnyCard, images: Gallery, selected: int) -> None:
    """The image that is pointed at, and ways to another one without pointing."""
    classes, labels = images.data.classes, images.data.labels.tolist()
    original(
        "compared_original",
        state.components_data(name, card),
        labels=[classes[label] for label in labels],
        selected=selected,
        width=WIDTH,
    )
    if st.session_state.get(NUMBER) != selected:  # what is typed meanwhile stays
        st.session_state[NUMBER] = selected
    st.number_input(
        "Number of the image",
        0,
        len(labels) - 1,
        key=NUMBER,
        on_change=_take_number,
        args=(images.source,),
    )
    st.button(
        "At random",
        on_click=state.select_any,
        args=(images.source, len(images)),
        icon=":material/casino:",
    )


def _take_number(source: str) -> None:
    state.select(source, st.session_state[NUMBER])


def _made_of(name: str, card: AnyCard, title: str, images: Gallery, selected: int) -> None:
    """What one model makes of a real image, with its map of all of them."""
    data = state.components_data(name, card)
    twins = resources.twins(name)
    picture(f"compared_image_{name}", data, width=WIDTH, twins=twins)
    parts.heading(title)
    error = _error(parts.decode(name, *twins.at(selected))[0], images.pixels(selected))
    told = f"Image {selected:,}: mean squared error {error:.4f}"
    if not resources.encodes(card):
        st.caption(f"{told} between it and the most alike sample. Other samples:")
        if drawn := resources.samples(name, resources.models().root / name, card):
            parts.picture(st, drawn, f"Samples of {card.title}", width="stretch")
        return
    st.caption(f"{told} of its reconstruction.")
    laid_out = resources.plane(name, resources.planes(name)[0])
    latent_map(
        f"compared_map_{name}",
        data,
        layout=laid_out,
        classes=images.data.classes,
        colours=parts.class_colours(),
        settled=lambda value: _pointed(value, images),
        selected=selected,
        linked=True,
    )


def _pointed(value: dict[str, Any], images: Gallery) -> None:
    """Take the image that was clicked on a map."""
    index = value.get("selected")
    if isinstance(index, int) and 0 <= index < len(images):
        state.select(images.source, index)


def _error(drawn: np.ndarray, original: np.ndarray) -> float:
    """Mean squared error of the pixels of two images (H, W, C), scaled to [0, 1]."""
    return float(np.square((drawn.astype(np.float32) - original) / 255).mean())
