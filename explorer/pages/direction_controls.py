"""The controls over directions of one's own: make one, begin with an image, manage them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer import catalog, directions, resources, state
from explorer.directions import NAME_LENGTH, Direction, Kept
from explorer.latent import Array
from explorer.links import LIMIT, LINKED
from explorer.pages import direction_keeper
from explorer.pages.own_directions import add, kept, labelled, problem
from training.onnx_files import AnyCard

DEFAULTS = (3, 8)
"""Classes that a direction leads from and to, until others are chosen."""


def controls(name: str, card: AnyCard, found: Sequence[Direction]) -> None:
    """Make a direction between two classes; save, load and remove what is there."""
    with st.container(horizontal=True):
        with st.container(width="content"), st.popover("Make", icon=":material/add:"):
            _maker(name, card)
        with st.container(width="content"), st.popover("Manage", icon=":material/folder_open:"):
            direction_keeper.keep(name, card, found)
        _starts(name, card)
    problem()
    long = [one.name for one in kept(name) if len(one.vector) > LINKED]
    if long:
        st.caption(
            f"Not in this page's link, of more than {LINKED} numbers: "
            f"{catalog.plain(', '.join(long))}. **Manage** saves a file."
        )


def _starts(name: str, card: AnyCard) -> None:
    """A button for each class that a direction leads from, to begin with an image of it."""
    codes, labels, classes = labelled(name, card)
    begins = {one.classes[0] for one in kept(name) if one.source == "classes"}
    for begin in sorted(begins):
        st.button(
            f"Start from {catalog.plain(classes[begin])}",
            key=f"start_from_{begin}",
            on_click=_start,
            args=(codes, labels, begin),
            icon=":material/casino:",
            help="Go to an image of this class, another one each time.",
        )


def _start(codes: Array, labels: NDArray[np.integer], begin: int) -> None:
    chosen = np.random.default_rng().choice(np.flatnonzero(labels == begin))
    state.move(codes[chosen].clip(-LIMIT, LIMIT).round(3).tolist())


def _maker(name: str, card: AnyCard) -> None:
    """Two classes and a name."""
    _, labels, classes = labelled(name, card)
    present = np.unique(labels).tolist()
    if len(present) < 2:
        st.markdown(_without_classes(name, card))
        return
    first, second = (one if one in present else present[i] for i, one in enumerate(DEFAULTS))

    def name_of(c: int) -> str:
        return classes[c]

    with st.container(horizontal=True):
        for label, start in (("From", first), ("To", second)):
            st.selectbox(
                label,
                present,
                present.index(start),
                format_func=name_of,
                key=f"direction_{label}_{name}",
                width=120,
            )
    key, named, _ = _asked_for(name, classes)
    st.text_input("Name", named, NAME_LENGTH, key=key, placeholder=named)
    st.button(
        "Make it", type="primary", key="make_classes", on_click=_make, args=(name, card, classes)
    )
    st.caption("Or lasso two groups of marks on the **Map** page.")


def _asked_for(name: str, classes: Sequence[str]) -> tuple[str, str, tuple[int, int]]:
    """What is chosen: the key of its name, how it is called of itself, and the two classes."""
    a, b = (st.session_state[f"direction_{label}_{name}"] for label in ("From", "To"))
    named = directions.clean_name(f"{classes[a]} to {classes[b]}")
    return f"direction_name_{name}_{a}_{b}", named, (a, b)


def _make(name: str, card: AnyCard, classes: Sequence[str]) -> None:
    """Make what is chosen and named as the button is clicked, not as it was drawn."""
    key, named, chosen = _asked_for(name, classes)
    text = directions.clean_name(st.session_state.get(key, named))
    add(name, card, [Kept(text, "classes", classes=chosen)])


def _without_classes(name: str, card: AnyCard) -> str:
    """Why there are no classes to choose, and what else there is."""
    on_map = "lasso two groups of marks on the **Map** page, or " if resources.planes(name) else ""
    if card.num_classes:
        why = "This model is asked for its class: no direction leads from one to another"
    else:
        why = "Nothing says of which class this model's codes are"
    return f"{why}. You can {on_map}load a file of directions."
