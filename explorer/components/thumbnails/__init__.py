"""Images to choose from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.components import declare, encode

_mount = declare("thumbnails")


def thumbnails(
    key: str,
    images: NDArray[np.uint8],
    ids: Sequence[str],
    labels: Sequence[str],
    *,
    settled: Callable[[str], None],
) -> None:
    """Draw images (n, H, W, C) as buttons; ``settled`` receives the id of the one chosen."""
    _, height, width, channels = images.shape
    data = {
        "pixels": encode(images),
        "shape": [channels, height, width],
        "ids": list(ids),
        "labels": list(labels),
    }
    _mount(key, data, lambda value: settled(value["id"]))
