"""All that is known of one run: how far it is, its losses, its samples."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import streamlit as st
from plotly.graph_objects import Figure

from explorer import catalog, figures
from explorer.components.figure import figure
from explorer.pages import parts
from training import running
from training.checkpoint import CheckpointError, read_card, read_history, read_samples
from training.running import Running

SILENT_SECONDS = 60
"""A run that has written nothing for longer may have been killed."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def show(path: Path) -> None:
    """All that is known of one run."""
    try:
        run = running.read(path)
    except ValueError as error:
        st.error(f"{catalog.plain(str(error))}.")
        return
    st.subheader(catalog.plain(run.title))
    st.progress(min(run.images_seen / max(run.images_total, 1), 1.0), _pace(run))
    with st.container():  # empty while all is well: what follows keeps its place
        _show_state(run, (datetime.now(UTC) - run.updated).total_seconds())
    left, right = st.columns([3, 2], gap="large")
    with left:
        for title, chart in _running_curves(run).items():
            _draw(run, f"{title}, batch by batch", chart)
    try:
        folder = running.published(path, run)
        if folder is None:
            right.caption("Samples, and losses epoch by epoch, follow after the first epoch.")
            return
        card = read_card(folder)
        history, samples = read_history(folder, card), read_samples(folder, card)
    except CheckpointError:  # another one took its place just now, as a rule
        right.caption("The checkpoint so far cannot be read at this moment.")
        return
    what = "Confusion matrix" if card.family == "classifier" else "Drawn from fixed noise"
    caption = f"{what}, after {card.images_seen:,} images"
    parts.picture(right, samples, f"samples: {caption}", caption, width="stretch")
    columns = cycle(st.columns(2, gap="large"))
    for title, chart in figures.loss_curves(history, parts.class_colours()).items():
        with next(columns):
            _draw(run, f"{title}, epoch by epoch", chart)


def _pace(run: Running) -> str:
    """Epoch, speed and time left in words."""
    words = [f"Epoch {run.epoch:,} of {run.epochs:,}", f"{run.images_seen:,} images seen"]
    if run.images_per_second:
        words.append(f"{run.images_per_second:,.0f} images a second")
        if run.state == "training":
            left = max(run.images_total - run.images_seen, 0) / run.images_per_second
            words.append(f"{_duration(left)} left")
    return " · ".join(words)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _show_state(run: Running, silent: float) -> None:
    """How the run ended, or that nothing has been heard of it for ``silent`` seconds."""
    resume = "The same command with `--resume` goes on with it."
    if run.state == "finished":
        st.success("Finished.")
    elif run.state == "interrupted":
        st.info(f"Stopped before its end. {resume}")
    elif run.state == "failed":
        st.error("Ended by an error; the terminal that it ran in says which.")
    elif silent > SILENT_SECONDS:
        st.warning(
            f"No sign of life since {run.updated:%H:%M:%S} UTC, {_duration(silent)} ago: an "
            f"evaluation takes long, or the run was killed. {resume}"
        )


def _running_curves(run: Running) -> dict[str, Figure]:
    """Losses so far against images seen, a figure for those that share a unit, by its title."""
    charts, colours = {}, parts.class_colours()
    for title, group in figures.by_figure(list(run.losses)).items():
        chart = figures.blank("images seen", figures.part(group[0]).unit)
        for i, name in enumerate(group):
            seen, values = zip(*run.losses[name], strict=True)
            line = figures.curve(figures.part(name).title, seen, values, i, colours)
            chart.add_trace(line.update(line_dash=DASHES[i % len(DASHES)]))
        charts[title] = chart
    return charts


def _draw(run: Running, title: str, chart: Figure) -> None:
    chart.update_layout(uirevision=run.name)  # a zoom outlives the next refresh
    file = f"{run.name} {title}".replace(",", "").replace(" ", "-").lower()
    figure(f"{run.name} {title}", chart, title=title, alt=figures.describe(chart), file=file)
