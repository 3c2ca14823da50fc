"""The real image that is pointed at on a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explorer.components import declare
from explorer.live.routes import IMAGE_PATH

_mount = declare("original")


def original(
    key: str,
    shared: Mapping[str, Any],
    *,
    labels: list[str],
    selected: int,
    width: int = 280,
) -> None:
    """Draw the real image that a linked map points at, at first the ``selected`` one.

    They are of the model's data set; ``labels`` (n,) are their classes' names.
    """
    path = f"{IMAGE_PATH}/{shared['model']}"
    _mount(key, {**shared, "path": path, "labels": labels, "selected": selected, "width": width})
