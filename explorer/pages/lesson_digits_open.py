"""The lesson on digits, its open end: any two models, measured as its own were."""

from __future__ import annotations

from typing import Any

import streamlit as st

from explorer import compare, pictures
from explorer.lessons import Exhibit, digits
from explorer.lessons.digits import Measured
from explorer.pages import lesson_digits_classes as classes
from explorer.pages import lesson_digits_samples as samples
from explorer.pages import parts
from explorer.pictures import Pixels
from training.checkpoint import Card


def show() -> Exhibit | None:
    """Any two models, a seed and how many pictures: the same measures of both."""
    found = samples.cards()
    if len(found) < 2:
        st.info("Two models of digits are wanted here: `latent-train list` names many.")
        return None
    if not samples.ready():
        return None
    titles = compare.headings(found)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = [
            st.selectbox(
                label,
                list(found),
                list(found).index(first),
                format_func=titles.__getitem__,
                key=f"digits_model_{at}",
                width=300,
            )
            for at, (label, first) in enumerate(_begun(found))
        ]
        parts.seed_input()
        n = classes.how_many("digits_number")
    near = samples.nearness(n, 1.0)
    measured: dict[str, Measured] = {}
    rows: list[dict[str, Any]] = []
    shown: dict[str, Pixels] = {}
    for name, column in zip(dict.fromkeys(names), st.columns(2), strict=False):
        title = titles[name]
        measured[title] = classes.of_model(name, n)
        different = samples.different(samples.drawn(name, n), near)
        rows.append(_row(title, measured[title], different))
        caption = f"{title}: {different:,} of {n:,} different"
        shown[caption] = samples.sheet(samples.drawn(name))
        parts.picture(column, pictures.enlarge(shown[caption], 2), caption, caption)
    measured[samples.REAL] = classes.of_real(n)
    different = samples.different(samples.real(n, n), near)
    rows.append(_row(samples.REAL, measured[samples.REAL], different))
    classes.bars(measured, n)
    st.dataframe(rows, hide_index=True, alt="What was measured of both models")
    st.caption(
        "Believe your eyes too: the judge learned from real digits alone, and may misread blurred "
        "ones and be sure of it; and near-duplicates joined in a chain count as one picture."
    )
    by_class = [one.by_class() for one in measured.values()]
    return Exhibit(None, shown, [{**row, **of} for row, of in zip(rows, by_class, strict=True)])


def _begun(found: dict[str, Card]) -> list[tuple[str, str]]:
    """What to begin with: the first model of digits and one of another kind."""
    first = next(iter(found))
    return [("One model", first), ("Another", compare.suggested(found, first)[0])]


def _row(of: str, one: Measured, different: int) -> dict[str, Any]:
    """A row with everything that is measured."""
    marks = one.marks(*digits.SCORES)
    return {"pictures of": of, "different": different, **marks, **one.spread()}
