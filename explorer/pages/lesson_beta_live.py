"""The lesson on beta, live: one slider over beta, which pictures follow while it is dragged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from explorer import latent, pictures, resources, state
from explorer.components.picture import Slot, picture
from explorer.components.scrubber import scrubber
from explorer.directions import DEAD_NATS
from explorer.lessons import Exhibit, Finding
from explorer.lessons.beta import (
    collapse_answer,
    name_of,
)
from explorer.lessons.copies import Copies
from explorer.pages.lesson_charts import several
from explorer.pages.lesson_images import Subject
from explorer.pages.report_pictures import show_figures

FAR = 2.0
"""How far from 0 a number of the code is moved, either way."""
MOST = 16
"""Numbers of a code that are moved so, at most."""
SMALL = 68
"""CSS pixels of a small picture."""


@dataclass(frozen=True)
class Betas:
    """VAEs that differ in beta alone."""

    about: Subject
    """The data set."""
    names: dict[float, str]
    """Models by beta, the smallest first."""
    found: dict[float, Copies]
    """What each makes of real images."""

    @property
    def dim(self) -> int:
        """Numbers of their codes."""
        return len(next(iter(self.found.values())).kl)

    def data(self, beta: float) -> dict[str, Any]:
        """What components of one of them are told."""
        name = self.names[beta]
        return state.components_data(name, self.about.cards[name])

    @property
    def keys(self) -> list[str]:
        """What the live channel calls them, in this order."""
        return list(self.names.values())


def choose_beta(betas: Betas) -> tuple[float, dict[str, Any]]:
    """The slider over beta; the beta it was let go at, and what followers of it are told."""
    values = list(betas.names)
    at = min(st.session_state.setdefault("lesson_beta", 0), len(values) - 1)
    data, words = betas.data(values[0]), [name_of(beta) for beta in values]
    scrubber(
        "beta_scrubber",
        data,
        labels=words,
        words=words,
        models=betas.keys,
        at=at,
        settled=_settled,
        name="Beta",
    )
    return values[at], data


def _settled(at: Any) -> None:
    st.session_state["lesson_beta"] = max(int(at), 0)


def collapse(betas: Betas) -> Exhibit:
    """Every number of the code moved by itself, and its KL, with beta on a slider."""
    st.caption(
        f"Each number of the code alone at {-FAR:g} and at {FAR:g}, all others at 0. Drag beta: "
        "where the upper picture and the lower one stay all but alike, the number says nothing."
    )
    beta, data = choose_beta(betas)
    moved = range(min(betas.dim, MOST))
    for way in (-FAR, FAR):
        slots = [
            Slot(f"moved-{way:g}-{i}", f"{latent.symbol(i)} = {way:g}", z=z)
            for i, z in _ends(betas, way)
        ]
        picture(f"beta_moved_{way:g}", data, slots=slots, width=SMALL, models=betas.keys)
    _bars(betas, beta)
    used = ", ".join(f"**{one.used}** at {name_of(b)}" for b, one in betas.found.items())
    words = (
        f"Of {betas.dim} numbers, so many carry {DEAD_NATS:g} nats or more: {used}. The others "
        "have collapsed."
    )
    last = max(betas.names)
    numbers = f"{latent.symbol(0)} to {latent.symbol(moved[-1])}"
    shown = {
        f"{name_of(last)}, {numbers} alone at {way:g}": pictures.row(
            resources.draw(betas.names[last], floats([z for _, z in _ends(betas, way)]))
        )
        for way in (-FAR, FAR)
    }
    table = [
        {"beta": f"{b:g}"} | {latent.symbol(i): round(float(one.kl[i]), 2) for i in moved}
        for b, one in betas.found.items()
    ]
    return Exhibit(Finding(collapse_answer(betas.found), words), shown, table)


def _ends(betas: Betas, way: float) -> list[tuple[int, list[float]]]:
    """Codes in which one number alone is ``way``, each with its place."""
    unit = np.eye(betas.dim, dtype=np.float32)[:MOST]
    return [(i, (way * one).tolist()) for i, one in enumerate(unit)]


def floats(values: list[list[float]]) -> latent.Array:
    """Codes as models take them."""
    return np.array(values, np.float32)


def _bars(betas: Betas, beta: float) -> None:
    """KL by number of the code; those that have collapsed say so."""
    one = betas.found[beta]
    chart = several(
        {name_of(beta): {latent.symbol(i): float(value) for i, value in enumerate(one.kl)}},
        "KL, nats an image",
        {name_of(beta): ["collapsed" if dead else "" for dead in one.collapsed]},
    )
    highest = max(float(other.kl.max()) for other in betas.found.values())
    chart.update_yaxes(range=[0, 1.1 * highest])  # the same for every beta
    chart.update_traces(textangle=-90)
    show_figures("lesson-beta-kl", {f"What each number says at {name_of(beta)}": chart})
