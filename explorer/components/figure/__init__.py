"""A Plotly figure that follows the theme, and its downloads as pictures."""

from __future__ import annotations

from collections.abc import Sequence

from plotly.graph_objects import Figure

from explorer.components import declare

# Plotly puts its styles into the document's head, where a shadow root would not see them.
_mount = declare("figure", isolate_styles=False)


def figure(
    key: str,
    chart: Figure,
    *,
    title: str,
    alt: str,
    file: str,
    model: str = "",
    marks: Sequence[float] = (),
) -> None:
    """Draw ``chart`` under ``title``, with buttons that save it as ``file``.png and .svg.

    ``alt`` says in words what the figure shows. ``marks`` are the places, along x, of the stops
    of the `scrubber` of ``model``: a line is drawn at the one that it stands on.
    """
    data = {"figure": chart.to_json(), "title": title, "alt": alt, "file": file}
    _mount(key, {**data, "model": model, "marks": list(marks)})
