"""The page's latent and class as Python has them, between one settled value and the next."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import streamlit as st

from explorer import latent
from explorer.components import shared
from explorer.links import LIMIT
from training.onnx_files import AnyCard


def model_name() -> str:
    """Name of the model that the sidebar has chosen."""
    return st.session_state["model"]


def z_of(card: AnyCard) -> latent.Array:
    """The latent (d,): what was settled on, else what the seed stands for."""
    z = st.session_state["z"]
    if z is not None and len(z) == card.latent_dim:
        return np.array(z, np.float32)
    return latent.sample_z(st.session_state["seed"], card.latent_dim)


def weights_of(card: AnyCard) -> latent.Array | None:
    """Class weights (k,) of the chosen class; None where the model is unconditional."""
    if not card.num_classes:
        return None
    return np.eye(card.num_classes, dtype=np.float32)[class_of(card)]


def class_of(card: AnyCard) -> int:
    """The chosen class, within what the model knows."""
    return min(st.session_state["class"], max(card.num_classes - 1, 0))


def selected(source: str, count: int) -> int | None:
    """Number of what is selected, where it is one of the ``count`` images or samples here."""
    known, _, number = st.session_state["selected"].partition("-")
    return int(number) if known == source and int(number) < count else None


def select(source: str, number: int) -> None:
    """Select an image or a sample, by its number among those of its source."""
    st.session_state["selected"] = f"{source}-{number}"


def select_any(source: str, count: int) -> None:
    """Select one of ``count`` at random."""
    select(source, int(np.random.default_rng().integers(count)))


def settle(name: str, value: dict[str, Any]) -> None:
    """Take what the user has settled on in a component of the model called ``name``.

    The components of other models have to be told when they are shown next.
    """
    z = np.clip(value["z"], -LIMIT, LIMIT)
    st.session_state["z"] = [round(float(v), 3) for v in z]
    if value.get("weights"):
        st.session_state["class"] = int(np.argmax(value["weights"]))
    told = st.session_state.get("tokens", {})
    st.session_state["tokens"] = {name: told[name]} if name in told else {}


def move(z: list[float] | None) -> None:
    """Move the latent from Python; None goes back to the seed's. The page's components follow."""
    st.session_state["z"] = z
    tell_all()


def tell_all() -> None:
    """Have all components take the latent from Python when they are drawn next."""
    st.session_state["tokens"] = {}


def stay() -> None:
    """Have the page's components take the class from Python, where the latent is."""
    move(st.session_state["z"])


def randomise() -> None:
    """Draw a new seed and go to the latent that it stands for."""
    st.session_state["seed"] = int(np.random.default_rng().integers(2**31))
    move(None)


def open_page(page: str, model: str) -> None:
    """Have the router go on to another page, on a model."""
    st.session_state.update(go=page, model=model)


def components_data(name: str, card: AnyCard) -> dict[str, Any]:
    """What every component of a model is told (see `explorer.components.shared`)."""
    session = st.session_state.setdefault("session", uuid.uuid4().hex)
    token = st.session_state.setdefault("tokens", {}).setdefault(name, uuid.uuid4().hex)
    return shared(name, card, z_of(card), weights_of(card), token, session)
