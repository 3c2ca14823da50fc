"""Directions of one's own, to remove, to save in a file and to load from one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explorer import catalog, directions
from explorer.directions import Direction, DirectionError
from explorer.pages.own_directions import add
from training.onnx_files import AnyCard


def keep(name: str, card: AnyCard, found: Sequence[Direction]) -> None:
    """Each direction with its button to remove it; a file out, a file in."""
    for one in found:
        st.button(
            f"Remove {catalog.plain(one.name)}",
            key=f"remove_direction_{one.name}",
            on_click=_remove,
            args=(one.name,),
            icon=":material/delete:",
        )
    st.download_button(
        "Save all in a file",
        directions.write_file(name, card.weights_sha256, found),
        f"{name}-directions.json",
        "application/json",
        on_click="ignore",
        disabled=not found,
        icon=":material/download:",
    )
    st.file_uploader(
        "Load a file",
        "json",
        key=f"directions_file_{name}",
        max_upload_size=1,
        on_change=_load,
        args=(name, card),
    )


def _remove(name: str) -> None:
    st.session_state["dirs"] = [one for one in st.session_state["dirs"] if one.name != name]


def _load(name: str, card: AnyCard) -> None:
    """Take the directions of a file; what fails becomes a sentence."""
    file = st.session_state[f"directions_file_{name}"]
    if file is None:
        return
    try:
        found = directions.read_file(file.getvalue(), card.latent_dim)
    except DirectionError as error:
        st.session_state["dirs_problem"] = str(error)
        return
    add(name, card, found.kept())
    added = "dirs_problem" not in st.session_state
    if added and found.weights_sha256 != card.weights_sha256:
        st.session_state["dirs_notice"] = (
            f"These directions were made with other weights, those of {found.model}: here the same "
            "numbers may mean something else."
        )
