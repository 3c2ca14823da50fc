"""The reports' figures as values: histories, codes and cards in, Plotly figures and CSV out.

Colours, fonts and margins are the component's (`explorer.components.figure`), which knows the
theme; here is what a figure says. Whatever colour tells apart, dashes or marks do too.
"""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Bar, Figure, Scatter, Scattergl, layout

from explorer import catalog, pictures
from training.recipes import Recipe
from training.report import Row
from training.specs import Dense, VAESpec

if TYPE_CHECKING:
    from training.checkpoint import History

Values = NDArray[np.floating]
SYMBOLS = (
    "circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "pentagon",
    "star", "hexagon",
)  # fmt: skip
DASHES = {"train": "dot", "test": "solid"}
MARKS = 12
"""Marks on a curve, at most: enough to tell its shape without colour."""
MOST_POINTS = 2000
"""Points of a curve over batches, at most."""
PATTERNS = ("", "/", "x", ".")


@dataclass(frozen=True)
class Part:
    """A loss or score of a history."""

    title: str
    """Its name."""
    figure: str
    """Title of the figure that it shares with others of its unit."""
    unit: str
    """What its axis counts."""


PARTS = {
    "total": Part("Total", "Total and reconstruction", "loss per image"),
    "reconstruction": Part("Reconstruction", "Total and reconstruction", "loss per image"),
    "kl": Part("KL", "KL divergence", "nats per image"),
    "discriminator": Part("Discriminator", "Losses of both players", "loss"),
    "critic": Part("Critic", "Losses of both players", "loss"),
    "generator": Part("Generator", "Losses of both players", "loss"),
    "jsd": Part("JSD", "Jensen-Shannon divergence, estimated", "nats"),
    "emd": Part("EMD", "Earth mover's distance, estimated", "critic's units"),
    "penalty": Part("Penalty", "Gradient penalty", "penalty"),
    "d_real": Part("D(real image)", "How real the discriminator thinks they are", "probability"),
    "d_fake": Part("D(sample)", "How real the discriminator thinks they are", "probability"),
    "diversity": Part("Diversity", "Diversity of samples, real images = 1", "ratio"),
    "frechet": Part("Fréchet distance", "Fréchet distance (judge)", "distance"),
    "largest_class": Part("Largest class", "What the judge reads in samples", "share"),
    "class_agreement": Part("Class agreement", "What the judge reads in samples", "share"),
}
"""Every loss of `training.steps` and score of `training.glance`."""


def part(name: str) -> Part:
    """What is known of a part; one that nobody knows is drawn by itself."""
    return PARTS.get(name, Part(name, name, ""))


def by_figure(names: Sequence[str]) -> dict[str, list[str]]:
    """Names of parts by the title of the figure that they are drawn in, in `PARTS`' order."""
    order = {name: place for place, name in enumerate(PARTS)}
    grouped: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: order.get(name, len(order))):
        grouped.setdefault(part(name).figure, []).append(name)
    return grouped


def best_epoch(recipe: Recipe, history: History) -> int | None:
    """The epoch, from 1, whose weights were shipped; None where the last one's were."""
    keep = recipe.keep_best
    values = history["test"].get(keep.metric) if keep else None
    if keep is None or not values:
        return None
    best = max(values) if keep.larger_is_better else min(values)
    return values.index(best) + 1  # the first of equals, as in training


def loss_curves(
    history: History, colours: Sequence[str], best: int | None = None
) -> dict[str, Figure]:
    """Every part of a history against the epoch, from 1, train dotted and test solid.

    A figure for each group of parts that share a unit, by its title; ``best`` is marked.
    """
    names = list(dict.fromkeys([*history["train"], *history["test"]]))
    epochs = max(
        (len(values) for parts in history.values() for values in parts.values()), default=0
    )
    figures = {}
    for title, group in by_figure(names).items():
        chart = blank("epoch", part(group[0]).unit)
        for i, name in enumerate(group):
            for split in ("train", "test"):
                if values := history[split].get(name):
                    at = range(1, len(values) + 1)
                    line = curve(f"{part(name).title}, {split}", at, values, i, colours)
                    chart.add_trace(line.update(line_dash=DASHES[split]))
        if best is not None:
            chart.add_vline(
                best,
                line={"dash": "dash", "width": 1.5},
                annotation_text=f"epoch {best}",
                annotation_position="top left" if best > epochs / 2 else "top right",
            )
        if epochs < 10:
            chart.update_xaxes(dtick=1)
        figures[title] = chart
    return figures


def curve(
    name: str, x: Sequence[float], y: Sequence[float], i: int, colours: Sequence[str]
) -> Scatter:
    """Line ``i`` of a chart, with a colour and a mark of its own."""
    return Scatter(
        name=html.escape(name),
        x=list(x),
        y=list(y),
        mode="lines+markers",
        line={"color": colours[i % len(colours)], "width": 2},
        marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7, "maxdisplayed": MARKS},
    )


def batch_step(batches: int) -> int:
    """Every how many-th batch is drawn, so that `MOST_POINTS` suffice."""
    return max(math.ceil(batches / MOST_POINTS), 1)


def running_mean(values: Values, window: int) -> Values:
    """Mean of the last ``window`` values at each of values (n,); of all so far at the start."""
    sums = np.cumsum(np.concatenate([[0.0], values.astype(np.float64)]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    return (sums[last] - sums[first]) / (last - first)


def batch_curves(
    losses: Mapping[str, Values], window: int, colours: Sequence[str], every: int = 1
) -> dict[str, Figure]:
    """Losses of every ``every``-th batch: one in `batch_step` faint, the running mean strong.

    The mean is of ``window`` values.
    """
    step = batch_step(max(map(len, losses.values())))
    figures = {}
    for title, group in by_figure(list(losses)).items():
        chart = blank("batch", part(group[0]).unit)
        for i, name in enumerate(group):
            values, colour = losses[name], colours[i % len(colours)]
            drawn = np.arange(0, len(values), step)
            for kind, y, line, opacity in (
                ("each", values, {"width": 1}, 0.3),
                ("mean", running_mean(values, window), {"width": 2.5}, 1.0),
            ):
                x = (drawn * every + 1).tolist()
                one = curve(f"{part(name).title}, {kind}", x, y[drawn].tolist(), i, colours)
                one.update(opacity=opacity, line=line | {"color": colour})
                if kind == "each":
                    one.mode = "lines"
                chart.add_trace(one)
        figures[f"{title}, per batch"] = chart
    return figures


def plane(
    points: Values, labels: NDArray[np.integer], classes: Sequence[str], colours: Sequence[str]
) -> Figure:
    """Codes points (n, 2) of labels (n,), a colour and a mark for every class."""
    chart = blank("z₁", "z₂")
    for label, name in enumerate(classes):
        x, y = points[labels == label].T.tolist()
        chart.add_trace(
            Scattergl(
                name=html.escape(name),
                x=x,
                y=y,
                mode="markers",
                marker={
                    "color": colours[label % len(colours)],
                    "symbol": SYMBOLS[label % len(SYMBOLS)],
                    "size": 4,
                    "opacity": 0.75,
                },
            )
        )
    chart.update_layout(
        height=520,
        hovermode="closest",
        legend_itemsizing="constant",
        yaxis_scaleanchor="x",
    )
    return chart


def dense_sweeps(systems: Sequence[Row], colours: Sequence[str]) -> dict[str, Figure]:
    """R1's sweeps of the trained dense VAEs, by title: latent sizes at h=512, widths at z=2."""
    losses: dict[tuple[str, str], dict[int, float]] = {}
    for row in systems:
        network = row.recipe.network
        value = row.card.metrics.get("test/total") if row.card else None
        if value is None or not isinstance(network, VAESpec):
            continue
        if not isinstance(network.encoder, Dense):
            continue
        z, h = network.latent_dim, network.encoder.widths[0]
        if h == 512:
            losses.setdefault((row.recipe.dataset, "z"), {})[z] = value
        if z == 2:
            losses.setdefault((row.recipe.dataset, "h"), {})[h] = value
    fixed = {"z": "latent size at h=512", "h": "width at z=2"}
    return {
        f"{catalog.data_set(dataset)}: {fixed[axis]}": sweep(sizes, axis, colours)
        for (dataset, axis), sizes in losses.items()
    }


def sweep(sizes: Mapping[int, float], axis: str, colours: Sequence[str]) -> Figure:
    """The final loss against what was varied: a latent size or a width."""
    chart = blank(axis, "test loss per image")
    at = sorted(sizes)
    chart.add_trace(curve("Test loss", at, [sizes[size] for size in at], 0, colours))
    chart.update_xaxes(tickvals=at, rangemode="tozero")
    return chart


def by_epoch(values: Mapping[str, Sequence[float]], unit: str, colours: Sequence[str]) -> Figure:
    """What was measured after every epoch, from 1, a curve for each name."""
    chart = blank("epoch", unit)
    for i, (name, measured) in enumerate(values.items()):
        chart.add_trace(curve(name, range(1, len(measured) + 1), measured, i, colours))
    return chart


def bars(
    groups: Mapping[str, Mapping[str, tuple[float, float]]], unit: str, colours: Sequence[str]
) -> Figure:
    """Values with their deviation by name, a colour and a pattern for every group."""
    chart = blank("", unit)
    for i, (group, values) in enumerate(groups.items()):
        heights, deviations = zip(*values.values(), strict=True) if values else ((), ())
        chart.add_trace(
            Bar(
                name=html.escape(group),
                x=list(values),
                y=list(heights),
                error_y={"type": "data", "array": list(deviations)},
                marker={
                    "color": colours[i % len(colours)],
                    "pattern": {"shape": PATTERNS[i % len(PATTERNS)]},
                },
            )
        )
    chart.update_layout(hovermode="closest")
    return chart


def blank(x: str, y: str) -> Figure:
    """A figure without data, with the titles of its axes."""
    return Figure(
        layout={
            "template": layout.Template(),  # the component brings its own
            "hovermode": "x unified",
            "showlegend": True,
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
        }
    )


def series(chart: Figure) -> list[Any]:
    """The series of a figure; plotly gives its attributes their types at run time."""
    return list(chart.data)


def axes(chart: Figure) -> tuple[str, str]:
    """Titles of a figure's x and y axis."""
    x, y = chart.to_dict()["layout"]["xaxis"], chart.to_dict()["layout"]["yaxis"]
    return x["title"]["text"], y["title"]["text"]


def rows(chart: Figure) -> list[list[Any]]:
    """The data of a figure: a row of names, then one for every point of every series."""
    x, y = axes(chart)
    deviations = ["deviation"] if all(one.type == "bar" for one in series(chart)) else []
    table: list[list[Any]] = [["series", x or "name", y, *deviations]]
    for one in series(chart):
        more = [one.error_y.array] if deviations else []
        for values in zip(one.x, one.y, *more, strict=True):
            table.append([html.unescape(one.name), *values])
    return table


def to_csv(chart: Figure) -> str:
    """The data of a figure as CSV; every number reads back as it was."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows(chart))
    return file.getvalue()


def describe(chart: Figure) -> str:
    """A figure in words, for those who do not see it: where every series begins and ends."""
    x, y = axes(chart)
    return f"{y} by {x or 'name'}: " + "; ".join(map(_in_words, series(chart))) + "."


def _in_words(trace: Any) -> str:
    name = html.unescape(trace.name)
    if trace.type == "scattergl":
        return f"{name}: {len(trace.x):,} points"
    if trace.type == "bar":
        pairs = zip(trace.x, trace.y, strict=True)
        return f"{name}: " + ", ".join(f"{x} {y:.4g}" for x, y in pairs)
    ends = sorted({0, len(trace.x) - 1})
    return f"{name}: " + ", ".join(f"{trace.y[i]:.4g} at {trace.x[i]}" for i in ends)


def grid(rows: Sequence[pictures.Pixels]) -> pictures.Pixels:
    """Rows of images (n, H, W, C), of one length, as one picture with grey gaps."""
    lines = [pictures.row(row, scale=1) for row in rows]
    gap = np.full((pictures.GAP, *lines[0].shape[1:]), 128, np.uint8)
    return np.concatenate([piece for line in lines for piece in (line, gap)][:-1])
