"""Which models the start page shows, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from explorer import catalog, links, tiles
from training.onnx_files import AnyCard


def choose(cards: Mapping[str, AnyCard]) -> list[str]:
    """Draw the filters; names of the models that they leave, in the order asked for."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search",
            key="find",
            type="search",
            live=True,
            max_chars=links.SEARCH_LENGTH,
            persist_state="session",
        )
        order = st.selectbox(
            "Sort by",
            list(tiles.ORDERS),
            format_func=lambda order: tiles.ORDERS[order],
            key="sort",
            persist_state="session",
            width=280,
        )
    with st.container(horizontal=True):
        wanted = {facet: _pills(facet, tiles.options(cards, facet)) for facet in tiles.FACETS}
    names = tiles.chosen(cards, wanted, search or "", order)
    with st.container(horizontal=True, vertical_alignment="center"):
        none = "" if names else ": none is all of that at once."
        st.markdown(f"**{len(names)} of {len(cards)} models**{none}", width="content")
        if search or any(wanted.values()):
            st.button("Clear the filters", key="clear", on_click=_clear, icon=":material/close:")
        if names:
            st.caption("“real” is the score of real test images", width="content")
    return names


def _pills(facet: str, options: list[str]) -> list[str]:
    """The values chosen of a facet; nothing to choose from where all models are alike in it."""
    title, asked = tiles.FACETS[facet].title, st.session_state[facet]
    if lost := [value for value in asked if value not in options]:
        st.warning(f"No model here has the {title.lower()} {catalog.plain(', '.join(lost))}.")
        st.session_state[facet] = [value for value in asked if value in options]
    if len(options) > 1:
        st.pills(
            title,
            options,
            selection_mode="multi",
            format_func=lambda value: catalog.plain(tiles.FACETS[facet].word(value)),
            key=facet,
            persist_state="session",
        )
    return st.session_state[facet]


def _clear() -> None:
    st.session_state.update(find="", **{facet: [] for facet in tiles.FACETS})
