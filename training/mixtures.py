"""Gaussian mixtures in the plane, on which mode collapse can be counted instead of guessed.

PacGAN: The power of two samples in generative adversarial networks, Lin et al. 2018,
arXiv:1712.04086, section 4.1; the mixtures are VEEGAN's (Srivastava et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Equally likely round Gaussians in the plane, the modes."""

    centres: tuple[tuple[float, float], ...]
    """Centre of each mode, (k, 2) in plane coordinates."""
    std: float
    """Standard deviation of every mode along either axis."""
    limit: float
    """The square from -limit to limit is what becomes [0, 1]; the outer centres lie at 0.1, 0.9."""

    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """Points float32 (n, 2) in plane coordinates and the mode of each, int64 (n,)."""
        generator = torch.Generator().manual_seed(seed)
        modes = torch.randint(len(self.centres), (n,), generator=generator)
        noise = self.std * torch.randn(n, 2, generator=generator)
        return torch.tensor(self.centres)[modes] + noise, modes

    def to_unit(self, points: Tensor) -> Tensor:
        """Plane coordinates to [0, 1], whatever the tensor's shape."""
        return (points + self.limit) / (2 * self.limit)

    def to_plane(self, unit: Tensor) -> Tensor:
        """The inverse of `to_unit`."""
        return unit * (2 * self.limit) - self.limit


_EIGHTHS = [2 * math.pi * i / 8 for i in range(8)]
_STEPS = [-4.0, -2.0, 0.0, 2.0, 4.0]

MIXTURES = {
    "ring8": Mixture(tuple((math.cos(a), math.sin(a)) for a in _EIGHTHS), std=0.01, limit=1.25),
    "grid25": Mixture(tuple((x, y) for x in _STEPS for y in _STEPS), std=0.05, limit=5.0),
}
"""PacGAN's 2D-ring and 2D-grid, by the name of the data set."""


def modes_covered(points: Tensor, mixture: Mixture) -> tuple[int, float]:
    """How many modes the points (n, 2), in plane coordinates, reach, and the share that is good.

    A point within three standard deviations of its nearest centre is of high quality, and a mode
    counts with one such point (PacGAN, section 4.1). Of the mixture's own points, the share is
    1 - exp(-9/2) = 0.989. Points that are not finite are not good. Raises ValueError for n = 0.
    """
    if not len(points):
        raise ValueError("there are no points to count modes with")
    centres = torch.tensor(mixture.centres, dtype=points.dtype, device=points.device)
    # Not torch.cdist, which multiplies matrices for many points: off by 3 % of a mode's width here.
    distances = (points[:, None] - centres).norm(dim=2)  # (n, k)
    distance, nearest = distances.min(dim=1)
    good = distance < 3 * mixture.std
    return len(nearest[good].unique()), good.sum().item() / len(points)
