"""How did it learn?"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

from explorer import catalog, figures, replay, resources, state
from explorer.components.scrubber import scrubber
from explorer.pages import absent, parts, replay_panels, report_pictures
from explorer.replay import Stop
from training.checkpoint import Card, CheckpointError


def page() -> None:
    """Draw the page."""
    st.title("How did it learn?")
    name, card = parts.current_model()
    if not isinstance(card, Card) or not catalog.earlier(card):
        st.info(catalog.abilities(card)["replay"])
        absent.instead("replay")
        return
    try:
        _replay(name, card)
    except CheckpointError as error:  # a file has changed since the model was opened
        st.error(f"The rest of this checkpoint cannot be shown: {catalog.plain(str(error))}.")


def _replay(name: str, card: Card) -> None:
    """The scrubber, and what follows it."""
    history = resources.trained(name).history()
    stops = replay.stops(card, history)
    at = _chosen(stops)
    data = state.components_data(name, card)
    st.caption(
        "Drag through the epochs, use the arrow keys, or press Play: everything here is drawn by "
        "the weights that it had then, from the same noise."
    )
    scrubber(
        f"scrubber_{name}",
        data,
        labels=[stop.label for stop in stops],
        words=[stop.words for stop in stops],
        models=[stop.key(name) for stop in stops],
        at=at,
        settled=partial(_settled, stops=stops),
        notes=[replay.measured(history, stop.epoch) for stop in stops],
    )
    best = figures.best_epoch(card.recipe, history)
    charts = figures.loss_curves(history, parts.class_colours(), best)
    replay_panels.choose(card)
    left, right = st.columns([2, 3], gap="large")
    with left:
        replay_panels.drawn(name, card, data, stops, at)
    with right:
        beside = [] if replay_panels.drift(name, card, data, stops) else list(charts)[:2]
        for i, title in enumerate(beside):
            _curves(f"{name}-beside-{i}", {title: charts[title]}, name, stops)
    rest = {title: chart for title, chart in charts.items() if title not in beside}
    _curves(f"{name}-epochs", rest, name, stops)


def _chosen(stops: list[Stop]) -> int:
    """Place of the stop that is shown; one that is not there becomes the shipped weights'."""
    epoch = st.session_state["epoch"]
    at = replay.find(stops, epoch)
    if at is None:
        st.warning(f"Epoch {epoch} of this model is not kept: these are its weights as shipped.")
        st.session_state["epoch"] = 0
        return _chosen(stops)
    return at


def _settled(at: Any, stops: list[Stop]) -> None:
    st.session_state["epoch"] = stops[min(max(int(at), 0), len(stops) - 1)].kept or 0


def _curves(key: str, charts: dict[str, Figure], name: str, stops: list[Stop]) -> None:
    report_pictures.show_figures(key, charts, name, [stop.epoch for stop in stops])
