"""The figures of several lessons as Plotly values: each tells apart by marks or patterns too."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from plotly.graph_objects import Bar, Figure

from explorer import figures
from explorer.lessons import copies
from explorer.lessons.copies import Look
from explorer.pages import parts

REAL = "sharpness, real images = 1"


def bars(looks: Mapping[str, Look], real: Look, series: str = "copies") -> Figure:
    """Sharpness by name beside a line at that of real images."""
    values = {
        name: (
            copies.share(look.sharpness, real.sharpness),
            copies.share(look.error, real.sharpness),
        )
        for name, look in looks.items()
    }
    return with_real(figures.bars({series: values}, REAL, parts.class_colours()))


def with_real(chart: Figure) -> Figure:
    """A figure of shares with a line at 1, where real images are."""
    chart.add_hline(1, line={"dash": "dash", "width": 1.5}, annotation_text="real images")
    chart.update_yaxes(rangemode="tozero")
    return chart


def curves(x: str, y: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Lines by name, each with a colour and a mark of its own."""
    chart, colours = figures.blank(x, y), parts.class_colours()
    for i, (name, (across, up)) in enumerate(lines.items()):
        chart.add_trace(figures.curve(name, across, up, i, colours))
    return chart


def several(
    groups: Mapping[str, Mapping[str, float]], unit: str, words: Mapping[str, Sequence[str]]
) -> Figure:
    """Bars by group and name, with words on each of those that have some."""
    chart, colours = figures.blank("", unit), parts.class_colours()
    for i, (group, values) in enumerate(groups.items()):
        chart.add_trace(
            Bar(
                name=html.escape(group),
                x=list(values),
                y=list(values.values()),
                error_y={"type": "data", "array": [0.0] * len(values), "visible": False},
                text=words.get(group, ()),
                textposition="outside",
                constraintext="none",  # on a phone too, words stay as large as others
                marker={
                    "color": colours[i % len(colours)],
                    "pattern": {"shape": figures.PATTERNS[i % len(figures.PATTERNS)]},
                },
            )
        )
    return chart
