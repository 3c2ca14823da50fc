"""Layouts by UMAP keep neighbours together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from training.umap_layout import umap_plane


def ring(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Points (n, 6) along a circle, in an order of their own."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    codes = np.zeros((n, 6), np.float32)
    codes[:, 1], codes[:, 4] = np.cos(angle), np.sin(angle)
    return codes


def test_neighbours_stay_near() -> None:
    codes = ring(300)
    points = umap_plane(codes, neighbours=10)
    assert points.shape == (300, 2)
    assert points.dtype == np.float32
    assert 0.97 < trustworthiness(codes, points, n_neighbors=10) <= 1
    shuffled = points[np.random.default_rng(1).permutation(300)]
    assert 0.3 < trustworthiness(codes, shuffled, n_neighbors=10) < 0.7  # what chance would give


def test_a_seed_gives_one_layout() -> None:
    first, again, other = (umap_plane(ring(80), neighbours=8, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_codes_that_are_no_numbers_are_refused() -> None:
    codes = ring(40)
    codes[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        umap_plane(codes, neighbours=5)


@pytest.mark.filterwarnings("error")
def test_nothing_is_warned_of() -> None:
    umap_plane(ring(60), neighbours=5)
