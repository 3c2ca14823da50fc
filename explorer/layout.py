"""Codes laid out in a plane to look at and to point into; what a place of the plane decodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from explorer.latent import Array
from training.atlas import sample_codes
from training.checkpoint import Checkpoint

NEAREST = 8
"""Codes that a place of a UMAP plane is the mean of, and places that a code lies amid."""


UMAP_AXES = ("UMAP 1", "UMAP 2")


@dataclass(frozen=True)
class Layout:
    """Points of a plane, each of them a code."""

    points: Array
    """Where each code lies in the plane (n, 2)."""
    codes: Array
    """The codes (n, d)."""
    labels: NDArray[np.integer]
    """Class of each (n,): of the real image, or as the judge reads the sample."""
    how: Literal["plane", "mean", "sample"]
    """What a place decodes: its own code, the mean of the nearest ones, or the nearest sample."""
    axes: tuple[str, str]
    """What the two directions are called."""
    asked: NDArray[np.integer] | None = None
    """Class (n,) that each sample was asked for, of a conditional generator."""
    origin: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    """Code (d,) at the plane's (0, 0), where ``how`` is "plane"."""
    basis: Array = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    """Orthonormal directions (2, d) of the plane, where ``how`` is "plane"."""

    def decoded(self, places: Array) -> Array:
        """The codes (m, d) that places (m, 2) stand for; the map's script does the same.

        A mean weighs each of the nearest codes by one over its squared distance in the plane
        (Shepard 1968), so that on a point it is that very code.
        """
        if self.how == "plane":
            return (self.origin + places @ self.basis).astype(np.float32)
        return self._mean(self.codes, self._tree, places)

    def neighbours(self, index: int, k: int) -> NDArray[np.int64]:
        """Indices (k,) of the points nearest to one in the plane, itself left out."""
        near = np.atleast_1d(self._tree.query(self.points[index], min(k + 1, len(self.points)))[1])
        return near[near != index][:k]

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points)

    def without_classes(self) -> Layout:
        """The same points, all of one class."""
        return replace(self, labels=np.zeros_like(self.labels))

    def project(self, codes: Array) -> Array:
        """Where codes (m, d) lie (m, 2); the map's script does the same.

        Their projection; or the place of the nearest sample; or, in a UMAP plane, the mean of the
        places of the nearest codes, weighed as `decoded` weighs codes.
        """
        if self.how == "plane":
            return ((codes - self.origin) @ self.basis.T).astype(np.float32)
        return self._mean(self.points, KDTree(self.codes), codes)

    def _mean(self, values: Array, tree: KDTree, at: Array) -> Array:
        """The mean of ``values`` (n, q) at the nodes of a tree nearest to rows ``at`` -> (m, q)."""
        k = min(NEAREST if self.how == "mean" else 1, len(values))
        distance, near = (np.reshape(part, (len(at), k)) for part in tree.query(at, k))
        weight = 1 / np.maximum(distance, 1e-6) ** 2
        weight /= weight.sum(1, keepdims=True)
        return np.einsum("mk,mkq->mq", weight, values[near]).astype(np.float32)


def bounds(points: Array) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the plane that holds all points (n, 2), in whole units."""
    low = np.floor(points.min(0))
    (left, bottom), (right, top) = low, np.maximum(np.ceil(points.max(0)), low + 1)
    return float(left), float(right), float(bottom), float(top)


def of_checkpoint(opened: Checkpoint, plane: str) -> Layout:
    """What the atlas of a checkpoint holds, in the plane "latent" (d = 2), "pca" or "umap".

    Raises ValueError where it has no such plane.
    """
    card, atlas = opened.card, {k: tensor.float().numpy() for k, tensor in opened.atlas().items()}
    kept = {"latent": "mu", "pca": "pca_components" if card.family == "vae" else "pca"}
    if kept.get(plane, plane) not in atlas or (plane == "latent" and card.latent_dim != 2):
        raise ValueError(f"{card.name} has no plane {plane!r}")
    labels = atlas["labels"].astype(np.int64)
    if card.family != "vae":
        axes = feature_axes(atlas["pca_share"]) if plane == "pca" else UMAP_AXES
        return sample_plane(atlas[plane], labels, card.latent_dim, card.num_classes, axes)
    if plane == "umap":
        return umap_plane(atlas["mu"], labels, atlas["umap"])
    return of_codes(atlas["mu"], labels, plane, atlas)


def of_codes(
    codes: Array, labels: NDArray[np.integer], plane: str, atlas: Mapping[str, Array]
) -> Layout:
    """Codes (n, d) in their plane "latent" (d = 2), or in that of the PCA that an atlas holds."""
    if plane == "latent":
        return latent_plane(codes, labels)
    return pca_plane(codes, labels, atlas["pca_mean"], atlas["pca_components"][:2])


def latent_plane(codes: Array, labels: NDArray[np.integer]) -> Layout:
    """The latent space itself, where it has two dimensions."""
    origin, basis = np.zeros(2, np.float32), np.eye(2, dtype=np.float32)
    return Layout(codes, codes, labels, "plane", ("z₁", "z₂"), origin=origin, basis=basis)


def pca_plane(codes: Array, labels: NDArray[np.integer], mean: Array, components: Array) -> Layout:
    """The plane of two principal components (2, d) through ``mean`` (d,).

    Every place is a code of its own; the codes themselves lie above and below the plane. The axes
    say which share of the codes' variance each carries.
    """
    share = ((codes - mean) @ components.T).var(0) / codes.var(0).sum()
    axes = _shares("Principal component", share)
    points = ((codes - mean) @ components.T).astype(np.float32)
    return Layout(points, codes, labels, "plane", axes, origin=mean, basis=components)


def umap_plane(codes: Array, labels: NDArray[np.integer], points: Array) -> Layout:
    """Codes where UMAP puts them (n, 2): neighbours stay neighbours, distances mean little."""
    return Layout(points, codes, labels, "mean", UMAP_AXES)


def sample_plane(
    points: Array,
    labels: NDArray[np.integer],
    latent_dim: int,
    num_classes: int,
    axes: tuple[str, str],
) -> Layout:
    """Samples of a generator (see `training.atlas`), where the judge's features put them."""
    codes = sample_codes(len(points), latent_dim).numpy()
    asked = np.arange(len(points)) % num_classes if num_classes else None
    return Layout(points, codes, labels, "sample", axes, asked)


def feature_axes(share: Array) -> tuple[str, str]:
    """Names of the principal components of a judge's features, with their shares (2,)."""
    return _shares("What the judge sees, component", share)


def _shares(what: str, share: Array) -> tuple[str, str]:
    first, second = (
        f"{what} {i + 1}: {value:.0%} of the variance" for i, value in enumerate(share)
    )
    return first, second
