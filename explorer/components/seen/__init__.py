"""What the model sees of a drawing, live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explorer.components import declare

_mount = declare("seen")


def seen(key: str, shared: Mapping[str, Any], *, label: str, width: int) -> None:
    """Show the image that `drawing` has had encoded last, ``width`` CSS pixels wide."""
    _mount(key, {**shared, "label": label, "width": width})
