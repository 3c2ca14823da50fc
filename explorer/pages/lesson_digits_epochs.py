"""The lesson on digits: the epochs of two trainings under one scrubber."""

from __future__ import annotations

from typing import Any

import streamlit as st

from explorer import compare, figures, pictures, replay, resources, state
from explorer.components.picture import Slot, picture
from explorer.components.scrubber import scrubber
from explorer.lessons import Exhibit, Finding, digits
from explorer.pages import parts, report_pictures
from explorer.replay import Stop

WIDTH = 56
"""CSS pixels of a sample."""
SAMPLES = 12
"""Samples of each model."""


def show() -> Exhibit:
    """The epochs of the collapsed and of its twin, moving together, and their diversity."""
    name, twin = digits.COLLAPSED, digits.HEALTHY
    trained = {one: resources.trained(one) for one in (name, twin)}
    titles = compare.headings({one: opened.card for one, opened in trained.items()})
    history = {one: opened.history() for one, opened in trained.items()}
    stops, others = (replay.stops(opened.card, history[one]) for one, opened in trained.items())
    shown = {name: stops, twin: digits.side_by_side(stops, others)}
    data = state.components_data(name, trained[name].card)
    scrubber(
        "digits_scrubber",
        data,
        labels=[stop.label for stop in stops],
        words=[f"After epoch {stop.epoch}" for stop in stops],
        models=[stop.key(name) for stop in stops],
        at=min(st.session_state.setdefault("digits_stop", 0), len(stops) - 1),
        settled=_settled,
    )
    for one, column in zip(shown, st.columns(2, gap="large"), strict=True):
        with column:
            parts.heading(titles[one])
            _moving(one, titles[one], data, shown[one])
    st.caption(
        f"Drag through the epochs. Of the same {SAMPLES} draws of z, each model shows what it made "
        "of them after that epoch, or after the last one before it whose weights were kept."
    )
    diversity = {titles[one]: history[one]["test"]["diversity"] for one in trained}
    chart = figures.by_epoch(diversity, "diversity, real digits = 1", parts.class_colours())
    marks = [stop.epoch for stop in stops]
    report_pictures.show_figures("digits-diversity", {"Diversity of samples": chart}, name, marks)
    mine, its = diversity.values()
    last = min(len(mine), len(its))
    return Exhibit(
        Finding(
            digits.when(mine),
            f"After its first epoch its samples differ **{mine[0]:.3f}** times as much as real "
            f"digits, its twin's {its[0]:.2f} times; after epoch {last} **{mine[last - 1]:.4f}** "
            f"times, its twin's {its[last - 1]:.2f} times. Below {digits.ALIKE} they are as good "
            "as alike.",
        ),
        {
            f"{titles[one]}, after epoch {stop.epoch}": pictures.row(_at(one, stop))
            for one in trained
            for stop in (shown[one][0], shown[one][-1])
        },
        [
            {"epoch": epoch, **{of: f"{values[epoch - 1]:.4f}" for of, values in diversity.items()}}
            for epoch in range(1, last + 1)
        ],
    )


def _settled(at: Any) -> None:
    st.session_state["digits_stop"] = max(int(at), 0)


def _moving(name: str, title: str, data: dict[str, Any], stops: list[Stop]) -> None:
    """Samples of a model at ``stops``; ``data`` are of the model that has the scrubber."""
    z, _ = digits.noise(resources.models().cards[name], st.session_state["seed"], SAMPLES)
    slots = [
        Slot(f"{name}-{i}", f"{title}: sample {i + 1}", z=one.tolist()) for i, one in enumerate(z)
    ]
    models = [stop.key(name) for stop in stops]
    picture(f"digits_samples_{name}", data, slots=slots, width=WIDTH, captions=False, models=models)


def _at(name: str, stop: Stop) -> pictures.Pixels:
    """The first of the same samples, at one stop."""
    z, _ = digits.noise(resources.models().cards[name], st.session_state["seed"], SAMPLES)
    return resources.draw(name, z, epoch=stop.kept)
