"""Codes in a plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.components import declare, encode
from explorer.layout import Layout, bounds
from explorer.sizes import plane_tiles

# Plotly puts its styles into the document's head, where a shadow root would not see them.
_mount = declare("latent_map", isolate_styles=False)


def latent_map(
    key: str,
    shared: Mapping[str, Any],
    *,
    layout: Layout,
    classes: tuple[str, ...],
    colours: Sequence[str],
    settled: Callable[[dict[str, Any]], None],
    selected: int = -1,
    outlines: Sequence[NDArray[np.float32]] = (),
    neighbours: Sequence[int] = (),
    groups: Mapping[str, Sequence[int]] | None = None,
    grid: bool = False,
    pointing: bool = True,
    linked: bool = False,
    stops: Sequence[NDArray[np.float32]] = (),
    models: Sequence[str] = (),
) -> None:
    """Draw a layout of at most 256 classes, all of its points.

    ``selected`` and ``neighbours`` are indices of points to mark, ``outlines`` closed lines
    (m, 2) in the plane, ``groups`` up to two sets of points to draw lines around, by their names,
    ``grid`` lays decoded images underneath. Without ``pointing`` the latent
    follows clicks and keys, not the pointer. ``settled`` receives {"z", "weights", "selected"}: a
    clicked place with its nearest point, or a place reached by keys, with None; and with "marks"
    the indices of the points that a lasso or a box holds.

    ``linked`` maps are of several models and the same real images: pointing at one shows that
    image on all of them, and to pictures with twins; a lasso on one marks its images on all. With
    ``stops``, points (n, 2) for each stop of a `scrubber`, the points lie where those of its stop
    do, and the axes hold them all; ``models`` are what the live channel calls the weights of each
    stop, which decode the plane.
    """
    on_plane = layout.how == "plane"
    data = {
        **shared,
        "points": encode(layout.points),
        "labels": encode(layout.labels.astype(np.uint8)),
        "codes": None if on_plane or linked else encode(layout.codes),
        "asked": None if layout.asked is None else encode(layout.asked.astype(np.uint8)),
        "how": layout.how,
        "origin": layout.origin.tolist(),
        "basis": layout.basis.tolist(),
        "axes": list(layout.axes),
        "classes": classes,
        "colours": list(colours),
        "selected": selected,
        "outlines": [outline.tolist() for outline in outlines],
        "neighbours": [int(i) for i in neighbours],
        "groups": dict(groups or {}),
        "grid": grid,
        "tiles": plane_tiles(shared["shape"][1]),
        "bounds": list(bounds(np.concatenate(stops) if stops else layout.points)),
        "pointing": pointing,
        "linked": linked,
        "stops": [encode(points) for points in stops],
        "models": list(models),
    }
    _mount(key, data, settled)
