"""The atlas: a model's latent space laid out in planes, computed once per checkpoint.

A VAE's holds where its test set lives: ``mu`` float16 (n, d), the codes; ``labels`` uint8 (n,)
(int16 above 256 classes); the PCA of ``mu`` as ``pca_mean`` (d,), ``pca_components`` (k, d) and
``pca_variance`` (k,) float32 with k = min(n, d, 8); ``kl`` float32 (d,), what each dimension
carries, in nats; and, where d > 2 and there are points enough, ``umap`` float16 (n, 2).

A generator has no encoder, so its holds samples, laid out by what its judge sees in them: those of
the codes `sample_codes`, and of the classes in turn where it is conditional. ``labels`` (n,) are
the classes that the judge reads; ``pca`` float16 (n, 2) and ``umap`` float16 (n, 2) planes of the
judge's features; ``pca_share`` float32 (2,) the shares of their variance; ``effect`` float32 (d,)
how far each dimension moves the pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training import umap_layout
from training.checkpoint import Checkpoint
from training.data import ImageData, at_once, batches
from training.judge import Reading, read
from training.objectives import gaussian_kl

if TYPE_CHECKING:
    from training.onnx_files import AnyModel

PCA_COMPONENTS = 8
UMAP_NEIGHBOURS = 15
SAMPLES = 10_000
"""Samples of a generator's atlas."""
BASES = 32
"""Codes around which a dimension's effect is measured."""


def build(
    checkpoint: Checkpoint, test: ImageData, seed: int = 0, *, umap: bool = True
) -> dict[str, Tensor]:
    """Codes of the test set with their PCA and, above two dimensions, their UMAP if wanted."""
    size = at_once(test.images.shape[1:])
    codes = [checkpoint.encode(x) for x, _ in batches(test, size)]
    mu, log_var = (torch.cat(part).cpu() for part in zip(*codes, strict=True))
    atlas = {
        "mu": mu.half(),
        "labels": _labels(test.labels, len(test.classes)),
        "kl": gaussian_kl(mu, log_var),
        **pca(mu),
    }
    if umap and mu.shape[1] > 2 and len(mu) > UMAP_NEIGHBOURS:
        atlas["umap"] = umap_plane(mu, seed)
    return atlas


def build_samples(
    checkpoint: Checkpoint, judge: Checkpoint, n: int | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """The atlas of a generator: ``n`` samples, or `SAMPLES`, laid out by a judge's features."""
    n = n or SAMPLES
    seen = _read(checkpoint, judge, n)
    features = seen.features.cpu()
    found = pca(features)
    centred = features - found["pca_mean"]
    total = centred.square().sum() / max(n - 1, 1)
    return {
        "labels": _labels(seen.logits.argmax(1), len(judge.card.classes)),
        "pca": (centred @ found["pca_components"][:2].T).half(),
        "pca_share": found["pca_variance"][:2] / total.clamp(min=1e-12),
        "umap": umap_plane(features, seed),
        "effect": effect(checkpoint),
    }


def sample_codes(n: int, latent_dim: int) -> Tensor:
    """The codes (n, d) of a generator's atlas: N(0, 1), the same on every machine."""
    drawn = np.random.default_rng(0).standard_normal((n, latent_dim), dtype=np.float32)
    return torch.from_numpy(drawn)


def _read(checkpoint: Checkpoint, judge: Checkpoint, n: int) -> Reading:
    """What the judge sees in the samples of an atlas."""
    z, k = sample_codes(n, checkpoint.card.latent_dim), checkpoint.card.num_classes
    parts = []
    for i in torch.arange(n).split(at_once(checkpoint.card.image_shape)):
        x = checkpoint.decode(z[i], i % k if k else None)
        parts.append(read(judge, x))
    return Reading.joined(parts)


def effect(checkpoint: AnyModel, bases: int = BASES) -> Tensor:
    """Root mean square change of the pixels, in [0, 1], from -1 to 1 in each dimension -> (d,).

    Averaged over codes drawn from the prior, ``bases`` of them, the same for every dimension.
    """
    d, k = checkpoint.card.latent_dim, checkpoint.card.num_classes
    z = sample_codes(bases, d)
    y = torch.arange(bases) % k if k else None
    moved = torch.empty(d)
    for i in range(d):
        ends = z.repeat(2, 1)
        ends[:, i] = torch.tensor([-1.0, 1.0]).repeat_interleave(bases)
        low, high = checkpoint.decode(ends, None if y is None else y.repeat(2)).chunk(2)
        moved[i] = (high - low).square().flatten(1).mean(1).sqrt().mean()
    return moved


def _labels(labels: Tensor, classes: int) -> Tensor:
    return labels.to("cpu", torch.uint8 if classes <= 256 else torch.int16)


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
    """Codes (n, d) laid out by UMAP: float16 (n, 2)."""
    threads = torch.get_num_threads()
    try:
        laid_out = umap_layout.umap_plane(codes.numpy(), neighbours=UMAP_NEIGHBOURS, seed=seed)
        return torch.from_numpy(laid_out).half()
    finally:
        torch.set_num_threads(threads)  # numba and scikit-learn set their own for all of us
