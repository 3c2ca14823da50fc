"""What sliders stand for: dimensions by what they do, principal directions, people's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explorer import latent, resources
from explorer.components.slider_bank import Row
from explorer.directions import Carried, Direction, ranked
from training.onnx_files import AnyCard

DEVIATIONS = 3
"""How far a principal direction goes either way."""
TIMES = 2.0
"""How many times a direction of one's own can be added or taken away."""


def dimensions(name: str, card: AnyCard, reach: float) -> list[Row]:
    """A row per latent dimension, from -``reach`` to ``reach``: what does most comes first."""
    carried = resources.carried(name)
    if carried is None:
        return plain(card, reach)
    greatest = max(float(carried.values.max()), 1e-12)
    return [
        _dimension(int(i), card, reach, carried, float(carried.values[i]) / greatest)
        for i in ranked(carried.values)
    ]


def plain(card: AnyCard, reach: float) -> list[Row]:
    """A row per latent dimension in the order of the latent."""
    return [_dimension(i, card, reach) for i in range(card.latent_dim)]


def _dimension(
    i: int, card: AnyCard, reach: float, carried: Carried | None = None, share: float = 0.0
) -> Row:
    """The row of dimension ``i``; ``share`` is of what the strongest one does."""
    dead = bool(carried and carried.dead[i])
    return Row(
        id=str(i),
        name=latent.symbol(i),
        label=f"latent dimension {i + 1} of {card.latent_dim}",
        reach=(-reach, reach),
        axis=i,
        note=_note(carried, i) if carried else "",
        share=(0.0 if dead else share) if carried else None,
        dead=dead,
    )


def _note(carried: Carried, i: int) -> str:
    """What a dimension does, in words."""
    if carried.dead[i]:
        return "carries nothing" if carried.unit == "nats" else "moves nothing"
    value = carried.values[i]
    return f"{value:.2f} nats" if carried.unit == "nats" else f"moves pixels by {value:.2f}"


def principal(name: str) -> list[Row]:
    """A row per principal direction of a VAE's codes, three standard deviations either way."""
    found = resources.principal(name)
    greatest = max((one.share for one in found), default=1.0)
    return [
        Row(
            id=f"principal-{i}",
            name=one.direction.name,
            label=one.direction.name.lower(),
            reach=_both_ways(one.deviation),
            vector=one.direction.vector.tolist(),
            centre=one.centre,
            note="carries nothing" if one.dead else f"{one.share:.0%} of the variance",
            share=0.0 if one.dead else one.share / greatest,
            dead=one.dead,
        )
        for i, one in enumerate(found)
    ]


def _both_ways(deviation: float) -> tuple[float, float]:
    """`DEVIATIONS` either way, in whole steps of a slider."""
    far = max(round(DEVIATIONS * deviation, 2), 0.01)
    return -far, far


def own(directions: Sequence[Direction]) -> list[Row]:
    """A row per direction of one's own: how many times it is added."""
    return [
        Row(
            id=f"own-{i}",
            name=one.name,
            label=f"direction {one.name}",
            reach=(-TIMES, TIMES),
            vector=np.round(one.vector.astype(np.float64), 6).tolist(),
            centre=None,
            note=one.source,
        )
        for i, one in enumerate(directions)
    ]
