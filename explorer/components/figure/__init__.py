"""A Plotly figure that follows the theme, and its downloads as pictures."""

from __future__ import annotations

from plotly.graph_objects import Figure

from explorer.components import declare

# Plotly puts its styles into the document's head, where a shadow root would not see them.
_mount = declare("figure", isolate_styles=False)


def figure(key: str, chart: Figure, *, title: str, alt: str, file: str) -> None:
    """Draw ``chart`` under ``title``, with buttons that save it as ``file``.png and .svg.

    ``alt`` says in words what the figure shows.
    """
    _mount(key, {"figure": chart.to_json(), "title": title, "alt": alt, "file": file})
