"""The image of the page's latent, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from explorer.compare import Twins
from explorer.components import declare, encode
from explorer.sizes import across

WIDTH = 280
"""CSS pixels."""

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
    z: list[float] | None = None
    """A latent of its own; None follows the page's."""


def picture(
    key: str,
    shared: Mapping[str, Any],
    *,
    slots: Sequence[Slot] = (Slot("live-image", "The image at this point"),),
    width: int | None = None,
    fps: bool = False,
    captions: bool = True,
    models: Sequence[str] = (),
    leader: str | None = None,
    twins: Twins | None = None,
) -> None:
    """Draw the page's latent, once per slot, each ``width`` CSS pixels wide, or about `WIDTH`.

    ``fps`` shows how many pictures were painted in the last second; ``captions`` writes the
    labels under several slots. With ``models``, what the live channel calls the weights of each
    stop of a `scrubber`, the picture is drawn by those of the stop that it stands on. With a
    ``leader`` the first numbers of that model's latent are drawn; with ``twins`` those of the
    real image that is pointed at on a linked map.
    """
    data = {
        **shared,
        "slots": [asdict(slot) for slot in slots],
        "width": width or across(shared["shape"][1], WIDTH),
        "fps": fps,
        "captions": captions,
        "models": list(models),
        "leader": leader,
        "twins": None if twins is None else _told(twins),
    }
    _mount(key, data)


def _told(twins: Twins) -> dict[str, Any]:
    """Twins as the component's script reads them."""
    return {
        "codes": encode(twins.codes),
        "of": None if twins.of is None else encode(twins.of.astype("<u2")),
        "asked": None if twins.asked is None else encode(twins.asked.astype(np.uint8)),
        "classes": twins.num_classes,
    }
