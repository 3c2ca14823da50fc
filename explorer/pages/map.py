"""Where do the images live?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer import latent, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.picture import picture
from explorer.pages import absent, groups, parts, planes, selection
from explorer.pages.pinned import pinned
from explorer.pages.selection import Shown

CORNERS = 48
"""Corners of an ellipse."""
POINTING = {
    "plane": "Point anywhere to see what the decoder draws there",
    "mean": "Point anywhere: the decoder draws the mean of the nearest codes, weighted by how near "
    "they are in this plane",
    "sample": "Point anywhere to see the nearest sample, drawn from its own z",
}


def page() -> None:
    """Draw the page."""
    st.title("Where do the images live?")
    name, card = parts.current_model()
    if not resources.planes(name):
        absent.no_map(card)
        return
    if not (shown := planes.shown(name, card, planes.choose(name))):
        return
    data = state.components_data(name, card)
    chosen = state.selected(shown.source, len(shown.layout.points))
    selected = -1 if chosen is None else chosen
    near = selection.neighbours(shown, selected) if selected >= 0 else np.array([], np.int64)

    st.caption(_caption(shown))
    if shown.source != "drawn":
        absent.data_notice(card)
    left, right = st.columns([3, 2], gap="large")
    with left:
        grid = planes.underneath()
        told_apart, classes = parts.told_apart(shown.layout, shown.classes)
        latent_map(
            f"latent_map_{name}",
            data,
            layout=told_apart,
            classes=classes,
            colours=parts.class_colours(),
            settled=partial(_settled, shown=shown),
            selected=selected,
            outlines=_ellipses(shown, selected),
            neighbours=near.tolist(),
            groups=groups.taken(name, shown.source),
            grid=grid,
        )
        groups.panel(name, card, shown.source, shown.layout.codes)
    with right:
        with pinned():
            st.markdown("**Under the pointer**")
            picture(f"map_picture_{name}", data, fps=True)
        selection.show(shown, selected, near)


def _caption(shown: Shown) -> str:
    """What the marks are, and what pointing does."""
    count = f"{len(shown.layout.points):,}"
    if shown.source == "drawn":
        marks = (
            f"Each mark is one of {count} samples: near each other are those in which the judge "
            "sees alike things, in the colour of the class that it reads. "
        )
    else:
        marks = (
            f"Each mark is one of {count} real {parts.kind(shown.card)}, put where the encoder "
            "sends it. "
        )
    return f"{marks}{POINTING[shown.layout.how]}; click to select; arrow keys move the point."


def _settled(value: dict[str, Any], shown: Shown) -> None:
    state.settle(shown.name, value)
    if value.get("selected") is not None and value["selected"] >= 0:
        state.select(shown.source, int(value["selected"]))
    if "marks" in value:
        groups.lassoed(shown.name, shown.source, value["marks"], len(shown.layout.points))


def _ellipses(shown: Shown, selected: int) -> list[latent.Array]:
    """One and two standard deviations of q(z|x) of the selected image, cast on the plane."""
    if selected < 0 or shown.images is None or shown.layout.how != "plane":
        return []
    sigma = resources.spread(shown.name, selected)
    centre = shown.layout.points[selected]
    outline = latent.ellipse(shown.layout.basis * sigma, CORNERS)
    return [centre + k * outline for k in (1, 2)]
