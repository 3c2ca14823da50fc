"""Scores as pure functions of images, features and logits.

Distances in the feature space of a judge are scores of their own, comparable among models that
the same judge scored and never with a published FID or KID, which are InceptionV3's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.devices import random_state_kept

LAPLACIAN = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
HIGH_FREQUENCY = 0.25
"""Cycles per pixel, half of what a grid of pixels can carry, above which a frequency is high."""
NEIGHBOURS = 5
"""Neighbours that span a manifold (Naeem et al. 2020, section 4)."""
ROWS = 1000
"""Rows of a matrix of distances that are in memory at a time."""


# --- of the judge's reading


def inception_score(logits: Tensor, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over ``splits`` of exp(E KL(p(y|x) || p(y))), from 1 to k.

    Logits (n, k), n >= splits, dealt into splits by ``seed``, each scored by itself. Salimans et
    al. 2016, arXiv:1606.03498, section 4, with the judge in InceptionV3's place, as R2 has it.
    """
    # Not torchmetrics' own: it gives NaN where a class has no probability at all, and for 1 split.
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    scores = []
    for part in logits.cpu()[order].tensor_split(splits):
        log_p = part.double().log_softmax(1)
        log_mean = log_p.logsumexp(0) - math.log(len(part))
        scores.append((log_p.exp() * (log_p - log_mean)).sum(1).mean().exp())
    return float(torch.stack(scores).mean()), float(torch.stack(scores).std(unbiased=False))


def class_shares(logits: Tensor) -> Tensor:
    """Share of images (n, k logits) read as each class, (k,); they sum to 1."""
    n, k = logits.shape
    return torch.bincount(logits.argmax(1), minlength=k).float() / n


def entropy(shares: Tensor) -> float:
    """Entropy of shares (k,) in nats: 0 for one class, log k where all are as frequent."""
    return float(torch.special.entr(shares.cpu().double()).sum())


def distance_from_uniform(shares: Tensor) -> float:
    """Total variation between shares (k,) and equal ones: from 0 to 1 - 1/k."""
    return float((shares.cpu().double() - 1 / len(shares)).abs().sum() / 2)


# --- of features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features a (n, width) and b (m, width).

    |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Heusel et al. 2017, arXiv:1706.08500,
    equation 6).
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    # In float64, and so on the CPU: not every GPU has numbers that long.
    metric = FrechetInceptionDistance(feature=given(a.shape[1])).set_dtype(torch.float64)
    metric.update(a.cpu().double(), real=True)
    metric.update(b.cpu().double(), real=False)
    return float(metric.compute())


def kernel_distance(a: Tensor, b: Tensor, seed: int = 0) -> tuple[float, float]:
    """Squared MMD of features a (n, width), b (m, width) under (x.y / width + 1)^3: mean and std.

    Unbiased, over 100 subsets of up to 1,000 drawn by ``seed``. Bińkowski et al. 2018,
    arXiv:1801.01401, section 4.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(1000, len(a), len(b))
    with _torchmetrics(a.device, seed):
        metric = KernelInceptionDistance(feature=given(a.shape[1]), subset_size=size).to(a.device)
        metric.update(a.float(), real=True)
        metric.update(b.float(), real=False)
        mean, std = metric.compute()
    return float(mean), float(std)


def manifold_scores(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage of features fake (m, width) against real (n, width).

    Around every point lies a ball that reaches its k-th neighbour of its own kind. Precision is
    the share of fakes inside a real ball, recall of reals inside a fake ball (Kynkäänniemi et al.
    2019, arXiv:1904.06991, section 2); density counts the real balls around a fake, over k, and
    coverage is the share of real balls with a fake inside (Naeem et al. 2020, arXiv:2002.09797,
    equations 3 and 4).
    """
    real, fake = real.float(), fake.float()
    real_radius, fake_radius = _radii(real, k), _radii(fake, k)
    inside_real, inside_fake, nearest = [], [], []
    for rows, radius in zip(real.split(ROWS), real_radius.split(ROWS), strict=True):
        distances = _distances(rows, fake)
        inside_real.append((distances <= radius[:, None]).sum(0))
        inside_fake.append((distances <= fake_radius).any(1))
        nearest.append((distances <= radius[:, None]).any(1))
    balls = torch.stack(inside_real).sum(0)
    return {
        "precision": float((balls > 0).float().mean()),
        "recall": float(torch.cat(inside_fake).float().mean()),
        "density": float(balls.float().mean() / k),
        "coverage": float(torch.cat(nearest).float().mean()),
    }


def nearest_distance(x: Tensor, among: Tensor) -> Tensor:
    """Euclidean distance (n,) of every image x (n, ...) to the nearest of ``among`` (m, ...).

    Images in [0, 1], or bytes; those of ``among`` are converted a thousand at a time. Right to
    0.003 of an image's norm, by products in float32: a copy is near 0 and seldom at it.
    """
    x = unit(x).flatten(1).float()
    nearest = torch.full((len(x),), torch.inf, device=x.device)
    for some in among.split(ROWS):
        nearest = torch.minimum(nearest, _distances(x, unit(some).flatten(1)).min(1).values)
    return nearest


# --- of images


def diversity(x: Tensor) -> Tensor:
    """Mean Euclidean distance between two of the images x (n, ...); 0 where all are alike."""
    n = len(x)
    x = x.cpu() if x.device.type == "mps" else x  # where pdist is not known
    return torch.pdist(x.flatten(1).float()).sum() / max(n * (n - 1) / 2, 1)


def sharpness(x: Tensor) -> Tensor:
    """Variance of the Laplacian of images x (n, C, H, W) in [0, 1], mean over channels: (n,).

    The measure that autofocus uses (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy", section 2). Needs 3x3 pixels at least.
    """
    kernel = torch.tensor(LAPLACIAN, device=x.device).expand(x.shape[1], 1, 3, 3)
    edges = F.conv2d(x.float(), kernel, groups=x.shape[1])
    return edges.flatten(2).var(2, unbiased=False).mean(1)


def power_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Power of images x (n, C, H, W) by frequency, mean over channels: (n, H, W).

    And the frequency of every entry in cycles per pixel, (H, W). The entries sum to the mean
    square of the image. By the cosine transform (Ahmed et al. 1974, "Discrete cosine transform"):
    Fourier's would count the jump between opposite borders as high frequencies.
    """
    height, width = x.shape[2:]
    rows, columns = (_cosines(n).to(x.device) for n in (height, width))
    power = (rows @ x.float() @ columns.T).square().mean(1)
    down = torch.arange(height, device=x.device)[:, None] / (2 * height)
    return power, torch.hypot(down, torch.arange(width, device=x.device) / (2 * width))


def high_frequency_energy(x: Tensor) -> Tensor:
    """Mean square of what images x (n, C, H, W) hold above `HIGH_FREQUENCY`, (n,)."""
    power, frequency = power_spectrum(x)
    return power[:, frequency > HIGH_FREQUENCY].sum(1)


def ssim(x: Tensor, x_hat: Tensor) -> float:
    """Mean structural similarity of images (n, C, H, W) in [0, 1] and their reconstructions.

    Wang et al. 2004, "Image quality assessment", equation 13; Gaussian window of 11 pixels,
    smaller where the images are. From -1 to 1.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    # torchmetrics pads by reflection by half a window, which must be smaller than the image.
    sigma = min(1.5, (min(x.shape[2:]) - 1) / 7.0)
    value = structural_similarity_index_measure(x_hat, x, sigma=sigma, data_range=1.0)
    assert isinstance(value, Tensor)
    return float(value)


def unit(images: Tensor) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def spread(n: int, k: int) -> Tensor:
    """Which k of n images stand for all, ascending, the same every time: all where n <= k.

    By chance: the first k of a set sorted by class are of one class, and every tenth of samples
    whose ten classes come in turn are, too.
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:k].sort().values


def given(width: int) -> nn.Module:
    """What torchmetrics takes for a network, where features (n, ``width``) are there already."""
    network = nn.Identity()
    network.num_features = width  # pyright: ignore[reportArgumentType]
    return network


def _cosines(n: int) -> Tensor:
    """Row k (n,) is what takes n pixels to the root of their power at k / 2n cycles per pixel."""
    k = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi / n * k[:, None] * (k + 0.5)) * math.sqrt(2) / n
    basis[0] /= math.sqrt(2)
    return basis.float()


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance (n,) of every row of x (n, width) to its k-th neighbour, itself not counted."""
    k = min(k, len(x) - 1)
    return torch.cat([_distances(rows, x).kthvalue(k + 1, 1).values for rows in x.split(ROWS)])


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) of rows of a (n, width) and b (m, width)."""
    return torch.cdist(a, b)


@contextmanager
def _torchmetrics(device: torch.device, seed: int) -> Iterator[None]:
    """torchmetrics draws from the global random state, and warns that it keeps features."""
    with warnings.catch_warnings(), random_state_kept(device):
        warnings.simplefilter("ignore", UserWarning)
        torch.manual_seed(seed)
        yield
