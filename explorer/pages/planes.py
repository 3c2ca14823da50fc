"""Which plane a page's map shows, where a model has several, and what lies under its marks."""

from __future__ import annotations

import streamlit as st

from explorer import resources
from explorer.layout import Layout, umap_plane
from explorer.pages import umap_panel
from explorer.pages.selection import Shown
from training.onnx_files import AnyCard

NAMES = {"pca": "Principal components", "umap": "UMAP"}


def choose(name: str) -> str:
    """The plane of a model that the user or the link asks for; the only one where there is one."""
    planes = resources.planes(name)
    if len(planes) == 1:
        return planes[0]
    st.segmented_control(
        "Plane",
        planes,
        format_func=NAMES.__getitem__,
        key="plane",
        required=True,
        persist_state="session",
    )
    return st.session_state["plane"]


def shown(name: str, card: AnyCard, kind: str) -> Shown | None:
    """The model in a plane; None of a VAE whose UMAP is not known yet, as the page then says."""
    if card.family != "vae":
        return Shown(name, card, resources.plane(name, kind), "drawn", None)
    laid_out = _by_umap(name) if kind == "umap" else resources.plane(name, kind)
    if laid_out is None:
        st.info("Of the images that are here no UMAP has been made: **Lay out anew** makes one.")
        return None
    return Shown(name, card, laid_out, resources.source(card), resources.real_images(card))


def _by_umap(name: str) -> Layout | None:
    """A VAE's codes where UMAP puts them, and the controls to lay them out anew."""
    umap_panel.panel(name)
    points = umap_panel.chosen_points(name)
    return None if points is None else umap_plane(*resources.codes(name), points)


def underneath() -> bool:
    """Whether the decoded plane lies under the marks, as the user or the link asks."""
    return st.toggle("Lay the decoded plane underneath", key="grid", persist_state="session")
