"""The lesson on digits: z under the hand, in all models at once."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from explorer import catalog, compare, latent, pictures, state
from explorer.components.picture import Slot, picture
from explorer.components.slider_bank import Row, slider_bank
from explorer.lessons import Exhibit, Finding, digits
from explorer.pages import lesson_digits_samples as samples
from explorer.pages import parts, slider_rows
from explorer.pages.pinned import pinned
from training.checkpoint import Card

WIDTH = 140
"""CSS pixels of a picture."""
NUMBERS = 3
"""Latent numbers that have a slider of their own, beside the one that moves all."""


def show(cast: dict[str, Card]) -> Exhibit:
    """The same z in all models, moved by one slider altogether, or number by number."""
    titles = compare.headings(cast)
    data = {name: state.components_data(name, card) for name, card in cast.items()}
    left, right = st.columns([2, 3], gap="large")
    with left:
        parts.seed_input()
        slider_bank(
            "digits_sliders",
            data[digits.COLLAPSED],
            rows=_rows(cast[digits.COLLAPSED]),
            settled=partial(state.settle, digits.COLLAPSED),
        )
    with right, pinned(all_across=True), st.container(horizontal=True):
        for name, title in titles.items():
            with st.container():
                slot = Slot("live-image", f"{title}, at this z")
                picture(
                    f"digits_picture_{name}",
                    data[name],
                    slots=(slot,),
                    width=WIDTH,
                    leader=digits.COLLAPSED,
                )
                st.caption(catalog.plain(title))
    changed = {title: _change(samples.drawn(name)) for name, title in titles.items()}
    changed[samples.REAL] = _change(samples.real(0, digits.SHEET))
    collapsed, twin = (changed[titles[name]][0] for name in (digits.COLLAPSED, digits.HEALTHY))
    return Exhibit(
        Finding(
            digits.what_moves(collapsed, twin),
            f"From one random z to another, over {digits.PAIRS} pairs, a pixel of the collapsed "
            f"one changes by **{collapsed:.2f}** of 255 grey levels on average; its healthy "
            f"twin's by **{twin:.1f}**, one of two real digits by "
            f"{changed[samples.REAL][0]:.1f}.",
        ),
        {titles[name]: pictures.row(samples.drawn(name)[: digits.COLUMNS]) for name in titles},
        [
            {"pictures of": of, "mean change of a pixel": f"{mean:.2f}", "largest change": most}
            for of, (mean, most) in changed.items()
        ],
    )


def _rows(card: Card) -> list[Row]:
    """A slider for all numbers at once, to where the next seed is, and one for each of a few."""
    seed, d = st.session_state["seed"], card.latent_dim
    start = latent.sample_z(seed, d)
    way = latent.sample_z(seed + 1, d) - start
    far = float(np.linalg.norm(way))
    whole = Row(
        id="all",
        name="all at once",
        label=f"all {d} latent numbers at once, to another random z",
        reach=(0.0, round(far, 2)),
        vector=(way / far).tolist(),
        centre=float(start @ way) / far,
        note="on the right it is another random z",
    )
    return [whole, *slider_rows.plain(card, latent.REACH)[:NUMBERS]]


def _change(images: pictures.Pixels) -> tuple[float, int]:
    return digits.change(images[: digits.PAIRS], images[digits.PAIRS : 2 * digits.PAIRS])
