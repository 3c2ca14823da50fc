"""The atlas of a VAE: where its test set lives, computed once per checkpoint.

Tensors: ``mu`` and ``log_var`` float16 (n, d), ``labels`` uint8 (n,) (int16 above 256 classes),
the PCA of ``mu`` as ``pca_mean`` (d,), ``pca_components`` (k, d) and ``pca_variance`` (k,) float32
with k = min(n, d, 8), and, where d > 2 and there are points enough, ``umap`` float16 (n, 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.checkpoint import Checkpoint
from training.data import ImageData, batches

PCA_COMPONENTS = 8
UMAP_NEIGHBOURS = 15


def build(
    checkpoint: Checkpoint, test: ImageData, seed: int = 0, *, umap: bool = True
) -> dict[str, Tensor]:
    """Codes of the test set with their PCA and, above two dimensions, their UMAP if wanted."""
    codes = [checkpoint.encode(x) for x, _ in batches(test, 1000)]
    mu = torch.cat([m for m, _ in codes]).cpu()
    log_var = torch.cat([v for _, v in codes]).cpu()
    atlas = {
        "mu": mu.half(),
        "log_var": log_var.half(),
        "labels": test.labels.to("cpu", torch.uint8 if len(test.classes) <= 256 else torch.int16),
        **pca(mu),
    }
    if umap and mu.shape[1] > 2 and len(mu) > UMAP_NEIGHBOURS:
        atlas["umap"] = umap_plane(mu, seed)
    return atlas


def pca(codes: Tensor) -> dict[str, Tensor]:
    """Principal components of codes (n, d): mean (d,), orthonormal rows (k, d), variance (k,).

    The largest entry of every row is positive, so that every machine draws the same plane.
    """
    mean = codes.mean(0)
    _, singular, rows = torch.linalg.svd(codes - mean, full_matrices=False)
    k = min(PCA_COMPONENTS, len(rows))
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return {
        "pca_mean": mean,
        "pca_components": (rows * largest.sign())[:k],
        "pca_variance": singular[:k].square() / max(len(codes) - 1, 1),
    }


def umap_plane(codes: Tensor, seed: int) -> Tensor:
    """UMAP (McInnes et al. 2018, arXiv:1802.03426) of codes (n, d) to float16 (n, 2)."""
    import umap  # compiles for half a minute on its first import, so only where it is needed

    reducer = umap.UMAP(n_neighbors=UMAP_NEIGHBOURS, random_state=seed, n_jobs=1)
    threads = torch.get_num_threads()
    try:
        return torch.as_tensor(reducer.fit_transform(codes.numpy())).half()
    finally:
        torch.set_num_threads(threads)  # numba and scikit-learn set their own for all of us
