"""Laying out codes by UMAP while the page stays in use."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from explorer import resources
from explorer.latent import Array
from explorer.umap_job import MOST_NEIGHBOURS, Job
from training.atlas import UMAP_NEIGHBOURS


@dataclass(frozen=True)
class Wish:
    """A layout that was asked for; what it is kept under."""

    model: str
    """Hash of the model's weights."""
    source: str
    """Which images the codes are of."""
    neighbours: int
    """Neighbours of each code that are to stay near."""
    min_dist: float
    """How close points may lie together, in [0, 1)."""


def chosen_points(name: str) -> Array | None:
    """Where UMAP puts the codes (n, 2): as last asked for here, else as in the atlas."""
    wish = st.session_state.get("umap_shown")
    if wish and (wish.model, wish.source) == _of(name):
        return st.session_state["umap_points"]
    return resources.umap_points(name)


def panel(name: str) -> None:
    """The controls, and how far the layout is that was asked for."""
    job: Job | None = st.session_state.get("umap_job")
    if job:
        _progress(job)
        return
    with st.popover("Lay out anew", icon=":material/bubble_chart:"):
        st.number_input(
            "Neighbours",
            2,
            MOST_NEIGHBOURS,
            UMAP_NEIGHBOURS,
            key="umap_neighbours",
            help="How many neighbours of each code are to stay near: few show detail, many the "
            "large shape.",
        )
        st.slider(
            "Least distance",
            0.0,
            0.99,
            0.1,
            key="umap_min_dist",
            help="How close marks may lie together.",
        )
        st.caption("It takes about half a minute; the page stays in use meanwhile.")
        st.button("Compute", on_click=_begin, args=(name,), type="primary")
    if problem := st.session_state.pop("umap_problem", ""):
        st.error(problem)


def _of(name: str) -> tuple[str, str]:
    card = resources.models().cards[name]
    return card.weights_sha256, resources.source(card)


def _begin(name: str) -> None:
    asked = st.session_state
    wish = Wish(*_of(name), int(asked["umap_neighbours"]), float(asked["umap_min_dist"]))
    try:
        job = Job(resources.codes(name)[0], wish.neighbours, wish.min_dist)
    except OSError as error:
        st.session_state["umap_problem"] = f"UMAP cannot be started: {error}"
        return
    except RuntimeError as error:
        st.session_state["umap_problem"] = str(error)
        return
    st.session_state.update(umap_job=job, umap_wish=wish)


@st.fragment(run_every=1.0)
def _progress(job: Job) -> None:
    """How far it is; at its end the page is drawn again."""
    try:
        points = job.result()
    except RuntimeError as error:
        st.session_state["umap_problem"] = str(error)
        _forget()
        st.rerun()
    if points is not None:
        st.session_state.update(umap_points=points, umap_shown=st.session_state["umap_wish"])
        _forget()
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        done = job.progress()
        st.progress(done, f"UMAP: {done:.0%}" if done else "UMAP: looking for neighbours")
        st.button("Cancel", on_click=_cancel, args=(job,), icon=":material/close:")


def _cancel(job: Job) -> None:
    job.cancel()
    _forget()


def _forget() -> None:
    st.session_state["umap_job"] = None
