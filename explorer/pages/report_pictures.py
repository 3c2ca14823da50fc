"""Figures and rows of images as the reports have them, each with its downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st
from plotly.graph_objects import Figure

from explorer import figures, pictures, sizes
from explorer.components.figure import figure
from explorer.pages import parts

LARGE = 64
"""Pixels of an image from which fewer are drawn, and none is enlarged."""


def show_figures(
    key: str, charts: Mapping[str, Figure], model: str = "", marks: Sequence[float] = ()
) -> None:
    """Figures by title, two abreast where there is room, each with its downloads.

    ``marks`` are the places of the stops of the scrubber of ``model`` (see `figure`).
    """
    columns = st.columns(2) if len(charts) > 1 else [st.container()]
    for i, (title, chart) in enumerate(charts.items()):
        file = f"{key}-{i + 1}"
        with columns[i % 2].container(gap="xsmall"):
            words = figures.describe(chart)
            figure(
                f"figure_{file}",
                chart,
                title=title,
                alt=words,
                file=file,
                model=model,
                marks=marks,
            )
            _download("CSV", lambda chart=chart: figures.to_csv(chart), f"{file}.csv", "text/csv")


def show_rows(
    key: str, rows: Sequence[pictures.Pixels], captions: Sequence[str], whole: str = ""
) -> None:
    """Rows of images (n, H, W, C) and one PNG of them all.

    Each row has a caption, or the ``whole`` has one.
    """
    scale = sizes.enlargement(rows[0].shape[1], LARGE)
    together = pictures.enlarge(figures.grid(rows), scale)
    with st.container(gap="xsmall"):
        if whole:
            parts.picture(st, together, whole, whole)
        else:
            for row, caption in zip(rows, captions, strict=True):
                parts.picture(st, pictures.row(row, scale), caption, caption)
        _download("PNG", lambda: pictures.png(together), f"{key}.png", "image/png")


def _download(label: str, make: Callable[[], str | bytes], file: str, mime: str) -> None:
    st.download_button(label, make, file, mime, key=f"save_{file}", on_click="ignore", help=file)
