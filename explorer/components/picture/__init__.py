"""The image of the page's latent, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.components import declare

_mount = declare("picture")


@dataclass(frozen=True)
class Slot:
    """One canvas of a picture."""

    testid: str
    """Its data-testid."""
    label: str
    """What it shows, for captions and screen readers."""
    weights: list[float] | None = None
    """Class weights of its own; None follows the page's."""


def picture(
    key: str,
    shared: Mapping[str, Any],
    *,
    slots: Sequence[Slot] = (Slot("live-image", "The image at this point"),),
    width: int = 280,
    fps: bool = False,
) -> None:
    """Draw the page's latent, once per slot, each ``width`` CSS pixels wide.

    ``fps`` shows how many pictures were painted in the last second.
    """
    _mount(key, {**shared, "slots": [asdict(slot) for slot in slots], "width": width, "fps": fps})
