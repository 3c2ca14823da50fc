"""A canvas to draw on; what is drawn is encoded while it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.components import declare, encode

_mount = declare("drawing")


@dataclass(frozen=True)
class Original:
    """An image encoded in Python that takes the place of a drawing."""

    pixels: NDArray[np.uint8]
    """As the model saw it (H, W, 1)."""
    spread: list[float]
    """Standard deviations (d,) of its posterior; the mean is the page's latent."""


def drawing(
    key: str,
    shared: Mapping[str, Any],
    *,
    settled: Callable[[dict[str, Any]], None],
    original: Original | None = None,
) -> None:
    """Let the user draw; every stroke moves the page's latent to the code of the drawing.

    One ``key`` may go from model to model: the drawing stays and is encoded anew. A new
    ``original`` clears it. ``settled`` receives {"z", "weights"} when a stroke has ended.
    """
    told = None
    if original is not None:
        told = {"pixels": encode(original.pixels), "spread": original.spread}
    _mount(key, {**shared, "original": told}, settled)
