"""A GAN of the plane, trained while one looks on; it trains in a process behind a socket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from explorer.components import declare
from explorer.live.lab import LAB_PATH
from training.plane import MOST_POINTS, MOST_STEPS, Setting

_mount = declare("lab")


def lab(
    key: str,
    setting: Setting,
    *,
    until: int,
    colours: Sequence[str],
    points: bool = False,
    settled: Callable[[dict[str, Any]], None],
) -> None:
    """Draw a run of ``setting``, with its controls; *Play* trains ``until`` a step.

    ``colours`` are four: of D near 0 and near 1, of the data, and of the latent grid.
    Where ``points`` is true, clicks set the modes. ``settled`` receives what
    `explorer.lessons.plane.read_seen` reads whenever the run comes to a stop.
    """
    mixture = setting.mixture
    data = {
        "lab": LAB_PATH,
        "setting": asdict(setting),
        "centres": mixture.centres,
        "limit": mixture.limit,
        "std": mixture.std,
        "until": until,
        "points": points,
        "colours": list(colours),
        "mostPoints": MOST_POINTS,
        "mostSteps": MOST_STEPS,
    }
    _mount(key, data, settled)
