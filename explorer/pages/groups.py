"""Two groups of marks on the map, and the direction from one to the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer import directions, state
from explorer.directions import NAME_LENGTH, DirectionError, Kept
from explorer.latent import Array
from explorer.pages import own_directions
from training.onnx_files import AnyCard

SIDES = ("A", "B")
NONE = np.zeros(0, np.int64)
HOW = (
    "Choose the lasso or the box among the tools in the map's upper right corner, draw around "
    "some marks, and say which group they are; then around others. A round line keeps "
    "group A in sight on the map, an angular one group B. Without a mouse, **Sliders**, *Your "
    "directions*, *Make* leads from one class to another."
)


def lassoed(name: str, source: str, marks: Any, count: int) -> None:
    """Remember which of a map's ``count`` marks a lasso holds, as a component told it."""
    try:
        told = marks[:count] if isinstance(marks, list) else []
        chosen = np.unique(np.array(told, np.int64))
    except (TypeError, ValueError, OverflowError):
        chosen = NONE
    _groups(name, source)["lasso"] = chosen[(chosen >= 0) & (chosen < count)]


def _groups(name: str, source: str) -> dict[str, NDArray[np.int64]]:
    """The marks of the lasso and of groups A and B; those of another map are forgotten."""
    if st.session_state.get("groups_of") != (name, source):
        st.session_state["groups_of"] = (name, source)
        st.session_state["groups"] = {}
    return st.session_state["groups"]


def taken(name: str, source: str) -> dict[str, list[int]]:
    """The marks of groups A and B, where there are any."""
    groups = _groups(name, source)
    return {side: groups[side].tolist() for side in SIDES if side in groups}


def panel(name: str, card: AnyCard, source: str, codes: Array) -> None:
    """Take what is lassoed as group A or B, and make a direction from one to the other."""
    groups = _groups(name, source)
    held = groups.get("lasso", NONE)
    with st.expander("Make a direction from two groups of marks", icon=":material/lasso_select:"):
        st.caption(HOW)
        st.markdown(f"In the lasso: **{_count(held)}**.")
        with st.container(horizontal=True):
            for side in SIDES:
                marks = groups.get(side, NONE)
                st.button(
                    f"Group {side}: {_count(marks)}" if len(marks) else f"Take as group {side}",
                    key=f"group_{side}",
                    on_click=_take,
                    args=(groups, side),
                    disabled=not len(held),
                    help=f"What the lasso holds becomes group {side}.",
                )
            st.button(
                "Clear both groups",
                on_click=_clear,
                args=(groups,),
                disabled=not groups.keys() & set(SIDES),
                icon=":material/clear:",
            )
        st.text_input("Name", "A to B", NAME_LENGTH, key="group_name", width=240)
        with st.container(horizontal=True):
            st.button(
                "Make a direction from A to B",
                key="make_groups",
                type="primary",
                on_click=_make,
                args=(name, card, codes, groups, dict(groups)),
                disabled=not all(len(groups.get(side, NONE)) for side in SIDES),
            )
            if made := own_directions.kept(name):
                st.button(
                    f"Try it on the Sliders page ({len(made)} so far)",
                    key="try_directions",
                    on_click=_try,
                    args=(name,),
                    icon=":material/tune:",
                )
        own_directions.problem()


def _take(groups: dict[str, NDArray[np.int64]], side: str) -> None:
    groups[side] = groups["lasso"]  # as it is now: the button may be older


def _clear(groups: dict[str, NDArray[np.int64]]) -> None:
    for side in SIDES:
        groups.pop(side, None)


def _count(marks: NDArray[np.int64]) -> str:
    return "1 mark" if len(marks) == 1 else f"{len(marks):,} marks"


def _make(
    name: str,
    card: AnyCard,
    codes: Array,
    groups: dict[str, NDArray[np.int64]],
    drawn: dict[str, NDArray[np.int64]],
) -> None:
    """Make a direction of what the groups are, and how it is called, as the button is clicked.

    Groups that a click right after it has cleared are those that the button was ``drawn`` with.
    """
    now = drawn | groups
    try:
        vector = directions.between_groups(codes, *(now.get(side, NONE) for side in SIDES))
    except DirectionError as error:
        st.session_state["dirs_problem"] = str(error)
        return
    named = directions.clean_name(st.session_state["group_name"])
    new = Kept(named, "groups", vector=tuple(vector.tolist()))
    own_directions.add(name, card, [new])


def _try(name: str) -> None:
    st.session_state["along"] = "own"
    state.open_page("sliders", name)
