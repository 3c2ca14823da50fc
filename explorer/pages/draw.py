"""How does a model read your digit?"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from explorer import catalog, resources, state
from explorer.components.drawing import Original, drawing
from explorer.components.latent_map import latent_map
from explorer.components.picture import picture
from explorer.components.seen import seen
from explorer.layout import NEAREST
from explorer.pages import absent, brought, parts, planes, selection
from explorer.pages.selection import Shown

PICTURE = 136
"""Pixels across, so that two stand side by side below the canvas and on a phone."""

POINT = {
    "plane": "Once you draw, the point is the code of your digit, and the ellipses are what the "
    "encoder is unsure of, at one and two standard deviations.",
    "mean": f"UMAP knows no place for a new digit: the point is the mean of the places of the "
    f"{NEAREST} real codes nearest to its own, weighted by how near they are. What the encoder is "
    "unsure of has no shape here.",
}
"""What the map shows of the page's latent, by what its places stand for."""


def page() -> None:
    """Draw the page."""
    st.title("How does a model read your digit?")
    name, card = parts.current_model()
    if why_not := catalog.abilities(card)["draw"]:
        st.info(
            f"This model cannot read a drawing. {why_not} Move through it on the **Sliders** page."
        )
        absent.instead("draw")
        return
    image = brought.current(name, card)
    data = state.components_data(name, card)
    st.caption(
        "While you draw, the encoder reads your digit and the decoder draws what it has read."
    )
    left, right = st.columns([2, 3], gap="large")
    with left:
        original = Original(image.pixels, image.spread) if image else None
        drawing("drawing", data, settled=partial(_settled, name), original=original)
        _both(name, data)
        brought.choices(name, card)
        if image:
            st.caption(f"Instead of a drawing: {image.words}.")
    if resources.planes(name):
        with right:
            shown = planes.shown(name, card, planes.choose(name))
            if shown:
                _map(shown, data)
        if shown:
            selection.show_nearest(shown, state.z_of(card))


def _both(name: str, data: dict[str, Any]) -> None:
    """What goes in beside what comes out."""
    with st.container(horizontal=True):
        with st.container(width=PICTURE, gap="xsmall"):
            st.markdown("The model sees")
            seen(f"seen_{name}", data, label="What the model sees", width=PICTURE)
        with st.container(width=PICTURE, gap="xsmall"):
            st.markdown("It draws")
            picture(f"draw_picture_{name}", data, width=PICTURE)


def _map(shown: Shown, data: dict[str, Any]) -> None:
    """The real codes, and the page's among them."""
    st.caption(POINT[shown.layout.how])
    latent_map(
        f"draw_map_{shown.name}",
        data,
        layout=shown.layout,
        classes=shown.classes,
        colours=parts.class_colours(),
        settled=partial(_settled, shown.name),
        pointing=False,
    )


def _settled(name: str, value: dict[str, Any]) -> None:
    state.settle(name, {"z": value["z"]})
