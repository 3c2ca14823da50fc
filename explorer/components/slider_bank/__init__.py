"""One slider per latent dimension, with filmstrips and class buttons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from explorer.components import declare

_mount = declare("slider_bank")


def slider_bank(
    key: str,
    shared: Mapping[str, Any],
    *,
    settled: Callable[[dict[str, Any]], None],
    value_range: float = 3.0,
    classes: tuple[str, ...] = (),
    shown: int = 8,
) -> None:
    """Draw the sliders of the page's latent.

    Each goes from -``value_range`` to ``value_range``; the first ``shown`` are open. ``classes``
    draws a button per class, for conditional models. ``settled`` receives {"z", "weights"}.
    """
    _mount(key, {**shared, "range": value_range, "classes": classes, "shown": shown}, settled)
