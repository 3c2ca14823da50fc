"""The lesson on digits: the losses of both players, written out."""

from __future__ import annotations

import streamlit as st

from explorer import compare, figures, resources
from explorer.lessons import Exhibit, Finding, digits
from explorer.pages import parts, report_pictures

PLAYERS = ("Losses of both players", "How real the discriminator thinks they are")
"""Figures of `figures.loss_curves` that tell of the game."""


def show() -> Exhibit:
    """Both players' losses of the collapsed and of its twin, written out for one epoch."""
    cards = resources.models().trained
    both = {name: cards[name] for name in (digits.COLLAPSED, digits.HEALTHY)}
    titles = compare.headings(both)
    history = {name: resources.trained(name).history() for name in both}
    epochs = len(history[digits.COLLAPSED]["test"]["generator"])
    epoch = st.segmented_control(
        "After epoch", range(1, epochs + 1), default=epochs, required=True, key="digits_epoch"
    )
    assert epoch, "one is required"
    for name, column in zip(both, st.columns(2, gap="large"), strict=True):
        with column:
            parts.heading(titles[name])
            st.latex(digits.terms(history[name], epoch))
    charts = figures.loss_curves(history[digits.COLLAPSED], parts.class_colours())
    chosen = {title: chart for title, chart in charts.items() if title in PLAYERS}
    report_pictures.show_figures("digits-losses", chosen)
    mine, its = (history[name]["test"]["generator"] for name in both)
    diversity = history[digits.COLLAPSED]["test"]["diversity"]
    return Exhibit(
        Finding(
            digits.trend(mine),
            f"The collapsed generator's loss goes from **{mine[0]:.2f}** after the first epoch to "
            f"**{mine[-1]:.2f}**, its twin's from {its[0]:.2f} to {its[-1]:.2f} "
            f"($\\log 2 = 0.69$ where $D$ cannot tell). Meanwhile the diversity of its samples "
            f"goes from {diversity[0]:.3f} to {diversity[-1]:.4f}, and no term tells it so.",
        ),
        table=[
            {
                "model": titles[name],
                "epoch": at,
                **{part: f"{history[name]['test'][part][at - 1]:.3f}" for part in digits.GAME},
            }
            for name in both
            for at in range(1, min(epochs, len(history[name]["test"]["generator"])) + 1)
        ],
    )
