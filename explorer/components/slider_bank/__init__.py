"""Sliders that move a latent along lines, with filmstrips and class buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.components import declare
from explorer.sizes import film_frames

_mount = declare("slider_bank")


@dataclass(frozen=True)
class Row:
    """One slider: a line through the latent space."""

    id: str
    """Names its elements: ``latent-slider-<id>``, ``filmstrip-<id>``."""
    name: str
    """What is written over it."""
    label: str
    """What it is, for those who do not see where it stands."""
    reach: tuple[float, float]
    """Least and greatest value."""
    axis: int | None = None
    """The latent dimension that its value is; None for a line along ``vector``."""
    vector: Sequence[float] = ()
    """Direction of the line (d,)."""
    centre: float | None = None
    """Along a vector of length 1: coordinate at which the value is 0. Where it is None, the value
    counts how many times the vector is added to the latent that the sliders started from."""
    note: str = ""
    """What it carries, in words."""
    share: float | None = None
    """The same as the length of a bar, in [0, 1]."""
    dead: bool = False
    """It does nothing: drawn faintly."""


def slider_bank(
    key: str,
    shared: Mapping[str, Any],
    *,
    rows: Sequence[Row],
    settled: Callable[[dict[str, Any]], None],
    classes: tuple[str, ...] = (),
    shown: int = 8,
) -> None:
    """Draw sliders for the page's latent, in the order given.

    The first ``shown`` are open. ``classes`` draws a button per class, for conditional models.
    ``settled`` receives {"z", "weights"}.
    """
    told = [asdict(row) for row in rows]
    frames = film_frames(shared["shape"][1])
    data = {**shared, "rows": told, "classes": classes, "shown": shown, "frames": frames}
    _mount(key, data, settled)
