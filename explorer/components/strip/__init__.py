"""A path through the latent space as frames, with a scrubber."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.components import declare, encode
from explorer.sizes import across

WIDTH = 196
"""CSS pixels across, about, of the image at the scrubber's place."""

_mount = declare("strip")


def strip(
    key: str,
    shared: Mapping[str, Any],
    *,
    frames: int,
    path: NDArray[np.float32] | None,
    mix: NDArray[np.float32] | None = None,
    near: Sequence[int] | None = None,
    labels: Sequence[str],
    originals: tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None] = (None, None),
    at: float = 0.0,
    settled: Callable[[float], None],
) -> None:
    """Draw ``frames`` images along a path, and one at the scrubber's place.

    ``path`` (m, d) holds codes in fine steps, ``mix`` (m, k) class weights; without a ``path``
    the page's latent is used at every place. ``near`` counts real codes near each frame,
    ``originals`` are pixels (H, W, C) for both ends, and ``settled`` receives the scrubber's
    place in [0, 1].
    """
    fine = path if path is not None else mix
    assert fine is not None, "a strip needs codes or class weights"
    data = {
        **shared,
        "frames": frames,
        "fine": len(fine),
        "path": None if path is None else encode(path),
        "mix": None if mix is None else encode(mix),
        "classes": 0 if mix is None else mix.shape[1],
        "near": None if near is None else [int(count) for count in near],
        "labels": list(labels),
        "originals": [None if image is None else encode(image) for image in originals],
        "at": at,
        "width": across(shared["shape"][1], WIDTH),
    }
    _mount(key, data, settled, state="at")
