"""The latent plane with its real codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.components import declare, encode

# Plotly puts its styles into the document's head, where a shadow root would not see them.
_mount = declare("latent_map", isolate_styles=False)


def latent_map(
    key: str,
    shared: Mapping[str, Any],
    *,
    points: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: tuple[str, ...],
    colours: Sequence[str],
    settled: Callable[[dict[str, Any]], None],
    selected: int = -1,
    ellipse: Sequence[tuple[float, float, float, float]] = (),
    neighbours: Sequence[int] = (),
    grid: bool = False,
    bounds: tuple[float, float, float, float] = (-3, 3, -3, 3),
) -> None:
    """Draw codes ``points`` (n, 2) with ``labels`` (n,), all of them.

    ``selected`` and ``neighbours`` are indices of codes to mark, ``ellipse`` rows of centre and
    half axes, ``grid`` lays decoded images underneath, over ``bounds`` (left, right, bottom, top).
    ``settled`` receives {"z", "selected"}: a clicked place with its nearest code, or a place
    reached by keys, with None.
    """
    data = {
        **shared,
        "points": encode(points),
        "labels": encode(labels),
        "classes": classes,
        "colours": list(colours),
        "selected": selected,
        "ellipse": [list(map(float, row)) for row in ellipse],
        "neighbours": [int(i) for i in neighbours],
        "grid": grid,
        "bounds": list(bounds),
    }
    _mount(key, data, settled)
