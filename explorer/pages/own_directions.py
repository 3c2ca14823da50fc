"""Directions that people make, as a session keeps them: of each model its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer import catalog, directions, resources
from explorer.directions import Direction, DirectionError, Kept
from explorer.latent import Array
from training.onnx_files import AnyCard


def kept(name: str) -> list[Kept]:
    """The directions of a model in this session; those of the model before are put aside."""
    before = st.session_state.get("dirs_of", name)
    if before != name:
        aside = st.session_state.setdefault("dirs_aside", {})
        aside[before] = st.session_state["dirs"]
        st.session_state["dirs"] = aside.pop(name, [])
    st.session_state["dirs_of"] = name
    return st.session_state["dirs"]


def current(name: str, card: AnyCard) -> list[Direction]:
    """The same as vectors; what a link brought that is none of this model's is left out."""
    found, good = [], []
    for one in kept(name):
        try:
            found.append(_resolved(one, name, card))
        except DirectionError as error:
            st.warning(f"A direction was left out: {catalog.plain(str(error))}")
        else:
            good.append(one)
    st.session_state["dirs"] = good
    return found


def add(name: str, card: AnyCard, new: Sequence[Kept]) -> None:
    """Keep new directions; what speaks against them is said by `problem`."""
    try:
        for one in new:
            _resolved(one, name, card)
        st.session_state["dirs"] = directions.added(kept(name), new)
    except DirectionError as error:
        st.session_state["dirs_problem"] = str(error)


def problem() -> None:
    """Say, once, why a direction could not be made or read."""
    if text := st.session_state.pop("dirs_problem", ""):
        st.error(catalog.plain(text))
    if text := st.session_state.pop("dirs_notice", ""):
        st.warning(catalog.plain(text))


def _resolved(one: Kept, name: str, card: AnyCard) -> Direction:
    return directions.resolved(one, card.latent_dim, *labelled(name, card))


def labelled(name: str, card: AnyCard) -> tuple[Array, NDArray[np.integer], tuple[str, ...]]:
    """Codes (n, d), their labels (n,) and the classes' names; none where nothing is of a class.

    A conditional generator is asked for its class, so that its codes are of none.
    """
    planes = resources.planes(name)
    if not planes or card.num_classes:
        return np.zeros((0, card.latent_dim), np.float32), np.zeros(0, np.int64), ()
    laid_out = resources.plane(name, planes[0])
    return laid_out.codes, laid_out.labels, resources.classes(card)
