"""Where do the images live?"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from explorer import gallery, latent, pictures, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.picture import picture
from explorer.pages import parts
from training.checkpoint import Card

NEIGHBOURS = 8


def page() -> None:
    """Draw the page."""
    st.title("Where do the images live?")
    name, card = parts.current_model()
    if not resources.encodes(card) or card.latent_dim != 2:
        parts.needs_encoder(card)
        return
    images = resources.real_images()
    mu, log_var, labels = resources.codes(name)
    st.caption(
        f"Each mark is one of {len(mu):,} real digits, put where the encoder sends it. "
        "Point anywhere to see what the decoder draws there; click to select the nearest digit; "
        "arrow keys move the point."
    )
    parts.data_notice(images)
    data = state.components_data(name, card)
    selected = _selected(images, len(mu))
    near = _neighbours(name, mu, selected) if selected >= 0 else np.array([], np.int64)

    left, right = st.columns([3, 2], gap="large")
    with left:
        st.toggle("Lay the decoded plane underneath", key="grid", persist_state="session")
        latent_map(
            f"latent_map_{name}",
            data,
            points=mu,
            labels=labels,
            classes=images.data.classes,
            colours=parts.class_colours(),
            settled=lambda value: _settled(value, images),
            selected=selected,
            ellipse=_ellipses(mu[selected], log_var[selected]) if selected >= 0 else (),
            neighbours=near.tolist(),
            grid=st.session_state["grid"],
            bounds=_bounds(mu),
        )
    with right:
        st.markdown("**Under the pointer**")
        picture(f"map_picture_{name}", data, fps=True)
        _show_selected(name, card, images, mu, log_var, selected, near)


def _bounds(codes: latent.Array) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the plane that holds all codes, in whole units."""
    low = np.floor(codes.min(0))
    (left, bottom), (right, top) = low, np.maximum(np.ceil(codes.max(0)), low + 1)
    return float(left), float(right), float(bottom), float(top)


def _settled(value: dict[str, Any], images: gallery.Gallery) -> None:
    state.settle(value)
    if value.get("selected") is not None and value["selected"] >= 0:
        st.session_state["selected"] = f"{images.source}-{int(value['selected'])}"


def _selected(images: gallery.Gallery, count: int) -> int:
    """Index of the selected image among those shown, or -1."""
    source, _, index = st.session_state["selected"].partition("-")
    if source != images.source or int(index) >= count:
        return -1
    return int(index)


def _neighbours(name: str, mu: latent.Array, selected: int) -> np.ndarray:
    """Indices of the codes nearest to the selected one, itself left out."""
    near = resources.code_index(name).neighbours(mu[selected], NEIGHBOURS + 1)
    return near[near != selected][:NEIGHBOURS]


def _ellipses(mu: latent.Array, log_var: latent.Array) -> list[tuple[float, float, float, float]]:
    """One and two standard deviations of q(z|x): centre and half axes."""
    sigma = np.exp(0.5 * log_var)
    return [(*mu.tolist(), *(k * sigma).tolist()) for k in (1, 2)]


def _show_selected(
    name: str,
    card: Card,
    images: gallery.Gallery,
    mu: latent.Array,
    log_var: latent.Array,
    selected: int,
    near: np.ndarray,
) -> None:
    if selected < 0:
        st.info("Click a mark to see the digit behind it.", icon=":material/ads_click:")
        return
    sigma = np.exp(0.5 * log_var[selected])
    st.markdown(
        f"**Selected**: a real {images.data.classes[images.data.labels[selected]]}, at "
        f"z = ({mu[selected][0]:.2f}, {mu[selected][1]:.2f}), known to the encoder within "
        f"±({sigma[0]:.2f}, {sigma[1]:.2f}) — the ellipses on the map, at one and two standard "
        "deviations."
    )
    reconstruction = parts.decode(name, mu[selected][None])[0]
    left, right = st.columns(2)
    parts.show(left, images.pixels(selected), "original", "selected-original")
    parts.show(right, reconstruction, "reconstruction", "selected-reconstruction")
    st.markdown("**Its nearest neighbours** in the plane, by distance")
    neighbours = np.stack([images.pixels(i) for i in near])
    st.image(
        pictures.row(neighbours),
        caption="classes " + " ".join(images.data.classes[images.data.labels[i]] for i in near),
    )
