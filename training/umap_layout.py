"""Codes laid out in the plane by UMAP, with their neighbours as they are."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.float32]


def umap_plane(
    codes: Codes, *, neighbours: int, min_dist: float = 0.1, seed: int = 0, verbose: bool = False
) -> Codes:
    """UMAP (McInnes et al. 2018, arXiv:1802.03426) of codes (n, d): float32 (n, 2).

    ``neighbours`` of each code, less than n, are to stay near; ``min_dist`` in [0, 1) is how close
    points may lie together. ``verbose`` prints the share of the epochs that are done. Raises
    ValueError for codes that are not finite.
    """
    # Both are slow to import, so only where they are needed.
    from sklearn.neighbors import NearestNeighbors
    from umap import UMAP

    # Exact neighbours of 10,000 codes take a third of a second; UMAP's own search, which
    # approximates them, compiles itself for half a minute first.
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(codes)
    distances, nearest = search.kneighbors(codes)
    reducer = UMAP(
        n_neighbors=neighbours,
        min_dist=min_dist,
        precomputed_knn=(nearest, distances.astype(np.float32)),
        random_state=seed,
        n_jobs=1,
        verbose=verbose,
    )
    with warnings.catch_warnings():
        # It cannot place codes that come later, which nobody asks of it.
        warnings.filterwarnings("ignore", message=r".*knn_search_index", category=UserWarning)
        return np.asarray(reducer.fit_transform(codes), np.float32)
