"""What lies where in the latent space of a VAE, measured. Knows nothing of Streamlit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.latent import REACH
from training.atlas import sample_codes
from training.checkpoint import Checkpoint
from training.judge import read

NEIGHBOURS = 10
"""Neighbours of a code that are looked at."""
WALKS = 20
"""Walks along one number, from as many codes."""
STEPS = 60
"""Steps of a walk."""
FAR = 4.0
"""How many times as far out as the farthest code "far outside" is."""
READ = 500
"""Pictures of each kind that are read at most, all at once: reading takes longest."""


@dataclass(frozen=True)
class Readings:
    """What a judge reads in pictures of a latent space; shares and confidences in [0, 1]."""

    count: int
    """Copies that were read, and as many pictures far outside."""
    kept: float
    """Share of the copies of real images that are read as their originals' class."""
    third: float
    """Share of the pictures half way between two classes that are read as neither."""
    half_sure: float
    """The judge's confidence half way, mean."""
    outside_sure: float
    """Its confidence `FAR` outside, mean."""
    outside_light: float
    """Brightness there as a share of real images'."""
    real_sure: float
    """Its confidence in real images, mean."""


@dataclass(frozen=True)
class Survey:
    """What was found in the latent space of a VAE."""

    count: int
    """Real images whose codes were looked at."""
    alike: float
    """Share of the `NEIGHBOURS` nearest codes that are of a code's own class."""
    chance: float
    """The same of codes taken at random."""
    spread: float
    """Standard deviation of the codes, mean over dimensions."""
    rim: float
    """Distance from 0 of the farthest code."""
    largest: float
    """Share of all change along a walk that its largest step makes, mean over walks."""
    change: float
    """Distance between pictures at both ends of a walk, that between real images being 1."""
    readings: Readings | None
    """What the judge reads; None where there is none."""


def survey(opened: Checkpoint, judge: Checkpoint | None, x: Tensor, y: Tensor) -> Survey:
    """Look at the latent space of a VAE through real images x (n, C, H, W), classes y (n,)."""
    mu = opened.encode(x)[0]
    largest, change = walked(opened)
    shares = torch.bincount(y).double() / len(y)
    rim = float(mu.norm(dim=1).max())
    some = slice(None, None, -(-len(x) // READ))
    return Survey(
        count=len(x),
        alike=alike(mu, y),
        chance=float(shares.square().sum()),
        spread=float(mu.std(0).mean()),
        rim=rim,
        largest=largest,
        change=change / max(float(apart(x, x[others(len(x))]).mean()), 1e-12),
        readings=readings(opened, judge, x[some], y[some], mu[some], rim) if judge else None,
    )


def alike(mu: Tensor, y: Tensor) -> float:
    """Share of the `NEIGHBOURS` nearest other codes of mu (n, d) that are of a code's own class."""
    distance = torch.cdist(mu, mu).fill_diagonal_(torch.inf)
    near = distance.topk(min(NEIGHBOURS, len(mu) - 1), largest=False).indices
    return float((y[near] == y[:, None]).float().mean())


def walked(opened: Checkpoint) -> tuple[float, float]:
    """Of `WALKS` along one number each: the largest step's share of all change; how far apart ends.

    Both are means over the walks; one along which nothing changes counts as even.
    """
    shares, ends = [], []
    for i, start in enumerate(sample_codes(WALKS, opened.card.latent_dim)):
        z = start.repeat(STEPS + 1, 1)
        z[:, i % z.shape[1]] = torch.linspace(-REACH, REACH, STEPS + 1)
        drawn = opened.decode(z)
        steps = apart(drawn[1:], drawn[:-1])
        shares.append(float(steps.max() / steps.sum()) if steps.sum() > 0 else 1 / STEPS)
        ends.append(float(apart(drawn[:1], drawn[-1:])))
    return sum(shares) / WALKS, sum(ends) / WALKS


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n,) between the pixels of images (n, C, H, W)."""
    return (a - b).flatten(1).norm(dim=1)


def others(n: int) -> Tensor:
    """For each of n images another one (n,), the same at every call: a shuffled ring's next."""
    ring = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    found = torch.empty_like(ring)
    found[ring] = ring.roll(1)
    return found


def readings(
    opened: Checkpoint, judge: Checkpoint, x: Tensor, y: Tensor, mu: Tensor, rim: float
) -> Readings:
    """What the judge reads in copies, half way between classes, and far outside.

    Of real images x (n, C, H, W), their classes y (n,) and codes mu (n, d), the farthest of which
    is ``rim`` from 0.
    """
    a, b = torch.arange(len(y)), others(len(y))
    if (differ := y[a] != y[b]).any():
        a, b = a[differ], b[differ]
    half, half_sure = _read(judge, opened.decode((mu[a] + mu[b]) / 2))
    directions = torch.nn.functional.normalize(sample_codes(len(x), mu.shape[1]))
    outside = opened.decode(FAR * rim * directions)
    return Readings(
        count=len(x),
        kept=float((_read(judge, opened.decode(mu))[0] == y).float().mean()),
        third=float(((half != y[a]) & (half != y[b])).float().mean()),
        half_sure=float(half_sure.mean()),
        outside_sure=float(_read(judge, outside)[1].mean()),
        outside_light=float(outside.mean() / x.mean()),
        real_sure=float(_read(judge, x)[1].mean()),
    )


def _read(judge: Checkpoint, x: Tensor) -> tuple[Tensor, Tensor]:
    """The class (n,) that the judge reads in each of x (n, C, H, W), and how sure it is."""
    sure = read(judge, x).logits.softmax(1)
    return sure.argmax(1), sure.amax(1)
