"""The lesson on digits: which scores a collapse fools."""

from __future__ import annotations

import streamlit as st

from explorer import compare, pictures
from explorer.lessons import Exhibit, Finding, digits
from explorer.lessons.digits import Measured
from explorer.pages import lesson_digits_classes as classes
from explorer.pages import lesson_digits_samples as samples
from explorer.pages import parts
from training.checkpoint import Card

COPIED = "The ten real digits that were copied"
AS_SCORED = ("precision", "coverage")
"""Scores of a card that stand beside those taken here."""


def show(cast: dict[str, Card]) -> Exhibit:
    """Three scores of all models, of real digits, and of copies of a few of them."""
    label = st.segmented_control(
        "A perfect collapse: copies of one real digit",
        range(10),
        default=7,
        required=True,
        key="digits_copied",
    )
    assert label is not None, "one is required"
    n = digits.SHEET
    titles = compare.headings(cast)
    measured = {title: classes.of_model(name, n) for name, title in titles.items()}
    ten = samples.typical(beyond=n)
    copied = {f"One real {label}, {n} times": ten[[label]], f"All ten, {n // 10} times each": ten}
    for of, images in copied.items():
        again = images.repeat(n // len(images), 0)
        measured[of] = digits.measure(samples.reading([again]), classes.features(n))
    measured[samples.REAL] = classes.of_real(n)
    shown = {title: samples.drawn(name)[: digits.COLUMNS] for name, title in titles.items()} | {
        COPIED: ten
    }
    cards = {titles[name]: card for name, card in cast.items()}
    rows = [_row(of, one, cards.get(of)) for of, one in measured.items()]
    st.dataframe(rows, hide_index=True, alt="Scores of every model and of copies")
    st.caption(
        f"Of {n} pictures beside {n} real digits; *as scored*: by `latent-train evaluate`, of "
        "thousands beside thousands."
    )
    parts.picture(st, pictures.row(ten, 2), COPIED, COPIED)
    samples.about_deeper()
    collapsed, twin = (measured[titles[name]] for name in (digits.COLLAPSED, digits.HEALTHY))
    return Exhibit(
        Finding(digits.fooled(collapsed, twin), _told(collapsed, twin, cast[digits.COLLAPSED])),
        {of: pictures.row(images, 1) for of, images in shown.items()},
        rows,
    )


def _row(of: str, one: Measured, card: Card | None) -> dict[str, str]:
    """Scores by few pictures here, and by the many of an evaluation, where there was one."""
    scored = card.scores.values if card and card.scores else {}
    as_scored = {
        f"{digits.SCORES[name]}, as scored": f"{scored[name]:.2f}" if name in scored else ""
        for name in AS_SCORED
    }
    return {"pictures of": of, **one.marks(*digits.SCORES), **as_scored}


def _told(collapsed: Measured, twin: Measured, card: Card) -> str:
    """The scores of both in words; and precision among more real digits, where it was taken."""
    told = ", ".join(
        f"{title} **{collapsed.scores[name]:.2f}** (its twin's {twin.scores[name]:.2f})"
        for name, title in digits.SCORES.items()
    )
    words = f"Of {digits.SHEET} pictures beside {digits.SHEET} real digits: {told}."
    if card.scores and "precision" in card.scores.values:
        precision = card.scores.values["precision"]
        words += (
            " Where it was scored, beside thousands of real digits, whose balls are smaller, its "
            f"precision is {precision:.2f}."
        )
    return words
