"""Geometry of the latent space: straight and great-circle paths, neighbours, density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree  # scikit-learn's would take 140 MB more

Array = NDArray[np.float32]
REACH = 3.0
"""How far from 0, either way, 99.7 % of N(0, 1) lies: that far sliders and walks go."""
FINE = 121
"""Codes of a path that is dragged along."""
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def symbol(i: int) -> str:
    """What dimension ``i``, from 0, is called: z₁ is the first."""
    return f"z{str(i + 1).translate(_SUBSCRIPTS)}"


def sample_z(seed: int, latent_dim: int) -> Array:
    """The latent (d,) that a seed stands for: N(0, 1), the same on every machine."""
    return np.random.default_rng(seed).standard_normal(latent_dim).astype(np.float32)


def noise(seed: int, n: int, latent_dim: int) -> Array:
    """Latents (n, d) that a seed stands for; fewer are the first of more."""
    return sample_z(seed, n * latent_dim).reshape(n, latent_dim)


def in_turn(n: int, num_classes: int) -> Array | None:
    """Class weights (n, k), each class in its turn; None where there are no classes."""
    if not num_classes:
        return None
    return np.eye(num_classes, dtype=np.float32)[np.arange(n) % num_classes]


def lerp(a: Array, b: Array, t: Array) -> Array:
    """Straight line from a (d,) to b (d,) at t (n,) in [0, 1] -> (n, d)."""
    s = t[:, None]
    return ((1 - s) * a + s * b).astype(np.float32)


def slerp(a: Array, b: Array, t: Array) -> Array:
    """Great circle from a (d,) to b (d,) at t (n,) in [0, 1] -> (n, d).

    Directions are interpolated on the sphere (Shoemake 1985) and lengths linearly, so both ends
    are met exactly and the path keeps the length that Gaussian codes have (White 2016,
    arXiv:1609.04468). Where a direction is undefined (a zero vector, opposite or equal
    directions), the straight line is taken.
    """
    length_a, length_b = (float(np.linalg.norm(end.astype(np.float64))) for end in (a, b))
    if min(length_a, length_b) < 1e-8:
        return lerp(a, b, t)
    # In float64, or the ends would be missed by a rounding error.
    unit_a, unit_b = a.astype(np.float64) / length_a, b.astype(np.float64) / length_b
    angle = np.arccos(np.clip(np.dot(unit_a, unit_b), -1.0, 1.0))
    if angle < 1e-4 or np.pi - angle < 1e-4:
        return lerp(a, b, t)
    s = t.astype(np.float64)[:, None]
    direction = (np.sin((1 - s) * angle) * unit_a + np.sin(s * angle) * unit_b) / np.sin(angle)
    return (((1 - s) * length_a + s * length_b) * direction).astype(np.float32)


PATHS = {"linear": lerp, "spherical": slerp}


def path(kind: str, a: Array, b: Array, frames: int) -> Array:
    """``frames`` codes (frames, d) from a to b, both included; kind is linear or spherical."""
    return PATHS[kind](a, b, np.linspace(0, 1, frames, dtype=np.float32))


def class_mix(a: int, b: int, frames: int, num_classes: int) -> Array:
    """Class weights (frames, k) that go from class a to class b, each row summing to 1."""
    eye = np.eye(num_classes, dtype=np.float32)
    return lerp(eye[a], eye[b], np.linspace(0, 1, frames, dtype=np.float32))


def nearest_class(weights: Array) -> Array:
    """One-hot rows (n, k) of the class that weighs most in each row."""
    return np.eye(weights.shape[1], dtype=np.float32)[weights.argmax(1)]


def ellipse(axes: Array, corners: int) -> Array:
    """Outline (corners, 2) of one standard deviation of axes @ e, e being N(0, I) of d numbers.

    ``axes`` (2, d): for a plane of directions (2, d) and standard deviations (d,) their product.
    """
    values, vectors = np.linalg.eigh((axes @ axes.T).astype(np.float64))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return ((vectors * np.sqrt(np.maximum(values, 0))) @ circle).T.astype(np.float32)


@dataclass(frozen=True)
class CodeIndex:
    """Neighbour search among real codes."""

    tree: KDTree
    """Built on the codes (n, d)."""
    radius: float
    """Half of the codes have their 20th neighbour within it: what "near" means here."""

    def neighbours(self, z: Array, k: int) -> NDArray[np.int64]:
        """Indices (k,) of the codes nearest to z (d,), nearest first."""
        return np.atleast_1d(self.tree.query(z, min(k, self.tree.n))[1])

    def density(self, z: Array) -> NDArray[np.int64]:
        """How many real codes lie within ``radius`` of each row of z (n, d) -> (n,)."""
        return self.tree.query_ball_point(z, self.radius, return_length=True)


def index_codes(codes: Array) -> CodeIndex:
    """Prepare neighbour search among codes (n, d); of fewer than 21, all are neighbours."""
    tree = KDTree(codes)
    sample = codes[:: max(len(codes) // 1000, 1)]
    distances, _ = tree.query(sample, min(21, len(codes)))  # the first is the code itself
    return CodeIndex(tree, float(np.median(distances.reshape(len(sample), -1)[:, -1])))
