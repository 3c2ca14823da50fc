import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from training import metrics
from training.checkpoint import load, shipped
from training.data import ImageData
from training.judge import Reading, read
from training.metrics import (
    class_shares,
    distance_from_uniform,
    diversity,
    entropy,
    frechet_distance,
    high_frequency_energy,
    inception_score,
    kernel_distance,
    manifold_scores,
    nearest_distance,
    power_spectrum,
    sharpness,
    spread,
    ssim,
    unit,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- the judge's reading


def one_hot(labels: Tensor, classes: int = 10) -> Tensor:
    """Logits of a judge that is sure."""
    return 1000 * torch.nn.functional.one_hot(labels, classes).float()


def test_inception_score_of_the_whole_set_by_numpy():
    logits = 3 * torch.randn(57, 7)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    expected = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    assert inception_score(logits, splits=1) == (pytest.approx(expected, rel=1e-9), 0)


def test_inception_score_reaches_its_bounds():
    even = one_hot(torch.arange(50) % 10)
    assert inception_score(even, splits=1)[0] == pytest.approx(10)
    assert inception_score(torch.ones(50, 10), splits=5) == (pytest.approx(1), pytest.approx(0))
    assert inception_score(even[:1].repeat(50, 1)) == (pytest.approx(1), pytest.approx(0))
    unsure = inception_score(even / 1000, splits=1)[0]
    assert 1.01 < unsure < 2


def test_inception_scores_deviation_is_over_splits():
    """Classes A, A, B in parts of two and one: 2 and 1 where A and B meet, else 1 and 1."""
    seen = {inception_score(one_hot(torch.tensor([0, 0, 1])), 2, seed) for seed in range(20)}
    assert sorted(seen) == [
        (pytest.approx(1), pytest.approx(0, abs=1e-9)),
        (pytest.approx(1.5), pytest.approx(0.5)),
    ]


def test_inception_score_takes_as_many_splits_as_are_asked_for():
    """Twelve classes in ten: two splits of two images score 2, the eight others 1."""
    mean, std = inception_score(one_hot(torch.arange(12), 12), splits=10)
    assert (mean, std) == (pytest.approx(1.2), pytest.approx(0.4))


def test_inception_score_does_not_depend_on_the_order_of_classes():
    mean, std = inception_score(one_hot(torch.arange(10).repeat_interleave(100)))
    assert 9 < mean < 10
    assert 0 < std < 0.5


@pytest.mark.parametrize("seeded", [inception_score, kernel_distance])
def test_what_is_drawn_comes_from_the_seed_alone(seeded):
    def score(seed: int) -> tuple[float, float]:
        x = torch.randn(60, 5, generator=torch.Generator().manual_seed(8))
        if seeded is inception_score:
            return inception_score(x, seed=seed)
        return kernel_distance(x, x[:40].exp(), seed=seed)

    state = torch.get_rng_state()
    once = score(seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert score(seed=3) == once
    assert score(seed=4) != once


def test_class_shares_by_hand():
    shares = class_shares(one_hot(torch.tensor([2, 0, 2, 2]), 4))
    assert shares.tolist() == [0.25, 0, 0.75, 0]
    assert entropy(shares) == pytest.approx(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    assert distance_from_uniform(shares) == pytest.approx(0.5)


def test_even_and_single_classes_are_the_bounds():
    even, single = torch.full((10,), 0.1), torch.eye(10)[3]
    assert entropy(even) == pytest.approx(math.log(10))
    assert distance_from_uniform(even) == pytest.approx(0, abs=1e-6)
    assert entropy(single) == 0
    assert distance_from_uniform(single) == pytest.approx(0.9)


# --- features: kernel distance


def unbiased_mmd(a: Tensor, b: Tensor) -> float:
    """Gretton et al. 2012, equation 3, under the cubic kernel, by numpy."""
    x, y = a.double().numpy(), b.double().numpy()

    def kernel(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (p @ q.T / p.shape[1] + 1) ** 3

    within = [
        (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(x, x), kernel(y, y))
    ]
    return sum(within) - 2 * kernel(x, y).mean()


@pytest.mark.parametrize("width", [3, 40])
def test_kernel_distance_of_the_whole_set_by_numpy(width):
    a, b = torch.randn(60, width), 1.5 * torch.randn(60, width) + 0.3
    mean, std = kernel_distance(a, b)
    assert mean == pytest.approx(unbiased_mmd(a, b), rel=1e-4)
    assert std == pytest.approx(0, abs=1e-4 * mean)


def test_kernel_distance_is_about_zero_within_one_distribution():
    """And on both sides of it over many pairs, for it is unbiased."""
    pairs = [(torch.randn(100, 8), torch.randn(100, 8)) for _ in range(40)]
    same = torch.tensor([kernel_distance(a, b)[0] for a, b in pairs])
    assert same.min() < 0 < same.max()
    assert same.mean().abs() < 3 * same.std() / math.sqrt(40)
    assert kernel_distance(pairs[0][0], pairs[0][1] + 1)[0] > 10 * same.abs().max()


def test_kernel_distance_of_unequal_sets_takes_subsets_of_the_smaller():
    a, b = torch.randn(300, 6), torch.randn(120, 6) + 1
    mean, std = kernel_distance(a, b)
    assert mean == pytest.approx(np.mean([unbiased_mmd(p, b) for p in a[:240].split(120)]), rel=0.2)
    assert 0 < std < mean


# --- features: manifolds


def scores_by_neighbours(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage again, by scikit-learn."""
    x, y = real.double().numpy(), fake.double().numpy()
    among_real, among_fake = (NearestNeighbors(n_neighbors=k + 1).fit(of) for of in (x, y))
    real_radius = among_real.kneighbors(x)[0][:, k]
    fake_radius = among_fake.kneighbors(y)[0][:, k]
    in_real = [(np.linalg.norm(x - one, axis=1) <= real_radius).sum() for one in y]
    in_fake = [(np.linalg.norm(y - one, axis=1) <= fake_radius).any() for one in x]
    to_fake = among_fake.kneighbors(x, n_neighbors=1)[0][:, 0]
    return {
        "precision": float(np.mean(np.array(in_real) > 0)),
        "recall": float(np.mean(in_fake)),
        "density": float(np.mean(in_real) / k),
        "coverage": float(np.mean(to_fake <= real_radius)),
    }


@pytest.mark.parametrize(
    ("n", "m", "width", "k", "shift"),
    [(80, 50, 2, 5, 1.0), (40, 90, 6, 3, 0.7), (33, 33, 3, 1, 0.5), (200, 150, 8, 5, 0.3)],
)
def test_manifold_scores_agree_with_scikit_learn(n, m, width, k, shift):
    real, fake = torch.randn(n, width), 0.8 * torch.randn(m, width) + shift
    found, expected = manifold_scores(real, fake, k), scores_by_neighbours(real, fake, k)
    assert found == pytest.approx(expected, abs=1e-6)
    assert all(0.05 < value < 1.5 for value in expected.values())


def test_manifold_scores_by_hand():
    """Points of a line, k = 1: the real balls are [-1, 1], [0, 2] and [1, 5]."""
    real = torch.tensor([[0.0], [1.0], [3.0]])
    # Radii 4, 4 and 4.5: 0.5 is in the first two balls, 4.5 in the last one, 9 in none.
    assert manifold_scores(real, torch.tensor([[0.5], [4.5], [9.0]]), k=1) == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "density": 1, "coverage": 1}
    )
    # Radii 2 and 2: 4 is in the last ball, and 3 alone near it.
    assert manifold_scores(real, torch.tensor([[4.0], [6.0]]), k=1) == pytest.approx(
        {"precision": 1 / 2, "recall": 1 / 3, "density": 1 / 2, "coverage": 1 / 3}
    )


def test_real_images_as_fakes_are_perfect():
    real = torch.randn(100, 4)
    # The k neighbours of a point and itself lie in its ball, or on it, which rounding decides.
    assert manifold_scores(real, real.clone()) == {
        "precision": 1, "recall": 1, "density": pytest.approx(1.2, abs=0.21), "coverage": 1,
    }  # fmt: skip


def test_fakes_far_from_real_images_score_nothing():
    far = torch.randn(60, 4) + 100
    assert set(manifold_scores(torch.randn(80, 4), far).values()) == {0}


def test_one_real_image_again_and_again_is_precise_and_nothing_else():
    real = torch.randn(100, 4)
    found = manifold_scores(real, real[:1].repeat(100, 1))
    assert found["precision"] == 1
    assert found["recall"] <= 0.02
    assert found["coverage"] == pytest.approx(0.06, abs=0.06)  # the balls that the one lies in


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_scores_do_not_depend_on_the_rows_in_memory(rows, monkeypatch):
    real, fake = torch.randn(100, 5), torch.randn(64, 5) + 0.5
    x, among = torch.rand(9, 3, 4, 4), torch.rand(100, 3, 4, 4)
    whole, nearest = manifold_scores(real, fake), nearest_distance(x, among)
    monkeypatch.setattr(metrics, "ROWS", rows)
    assert manifold_scores(real, fake) == pytest.approx(whole, abs=1e-6)
    torch.testing.assert_close(nearest_distance(x, among), nearest, rtol=1e-4, atol=1e-5)


# --- features of real digits


@pytest.fixture(scope="module")
def digits(mnist: tuple[ImageData, ImageData]) -> tuple[Reading, Reading, Tensor]:
    """The shipped judge's reading of 500 digits, of 1,500 others, and these others' labels."""
    judge, test = load(shipped() / "judges" / "mnist-judge"), mnist[1]
    seen = read(judge, unit(test.images[:2000]))
    known = Reading(seen.features[:500], seen.logits[:500])
    others = Reading(seen.features[500:], seen.logits[500:])
    return known, others, test.labels[500:2000]


def test_missing_classes_show_in_every_score_of_coverage(digits):
    known, others, labels = digits
    fallen: dict[str, list[float]] = {}
    for classes in (10, 8, 6, 4, 2, 1):
        some = (labels < classes).nonzero()[:, 0][:110]
        assert len(some) == 110
        shares = class_shares(others.logits[some])
        values = manifold_scores(known.features, others.features[some])
        values |= {"entropy": entropy(shares), "distance": -distance_from_uniform(shares)}
        values["frechet"] = -frechet_distance(known.features, others.features[some])
        values["inception"] = inception_score(others.logits[some], 1)[0]
        for name, value in values.items():
            fallen.setdefault(name, []).append(value)
    for name in ("coverage", "recall", "entropy", "distance", "frechet", "inception"):
        assert all(b < a for a, b in pairwise(fallen[name])), name
    assert min(fallen["precision"]) > 0.8  # what is drawn is as good as before
    assert fallen["coverage"][-1] < 0.3 * fallen["coverage"][0]
    assert fallen["recall"][-1] < 0.2 * fallen["recall"][0]


# --- features: Fréchet distance and diversity in closed form


def test_diversity_by_hand():
    """Distances 3, 4 and 5 between the corners of a right triangle."""
    x = torch.tensor([[[[0.0, 0.0]]], [[[3.0, 0.0]]], [[[0.0, 4.0]]]])
    assert diversity(x).item() == pytest.approx((3 + 4 + 5) / 3)
    assert diversity(10 * x + 7).item() == pytest.approx(40)


def test_diversity_of_images_that_are_all_alike_is_zero():
    assert diversity(torch.rand(1, 3, 4, 4).expand(20, -1, -1, -1)).item() == 0
    assert diversity(torch.rand(1, 3, 4, 4)).item() == 0  # and of one image


class OnApple(Tensor):
    """Says that it is on an Apple GPU, which has no kernel for all distances within a set."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func == Tensor.device.__get__:  # pyright: ignore[reportAttributeAccessIssue]
            return torch.device("mps")
        if func is torch.pdist:
            raise NotImplementedError("aten::_pdist_forward")
        if func is Tensor.cpu:
            with torch._C.DisableTorchFunctionSubclass():
                return args[0].as_subclass(Tensor)
        return super().__torch_function__(func, types, args, kwargs)


def test_diversity_is_measured_on_apple_gpus():
    x = torch.rand(5, 1, 4, 4)
    assert diversity(x.as_subclass(OnApple)).item() == diversity(x).item()


def test_diversity_of_uint8_images_does_not_wrap_around():
    x = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert diversity(x).item() == 255


def exactly(mean: Tensor, covariance: Tensor, n: int) -> Tensor:
    """n features whose mean and covariance are exactly these."""
    z = torch.randn(n, len(mean), dtype=torch.float64)
    z = z - z.mean(0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T))).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def random_covariance(d: int) -> Tensor:
    root = torch.randn(d, d, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)


def test_frechet_distance_of_commuting_gaussians_in_closed_form():
    """Diagonal covariances: |difference of means|^2 + sum (sigma_a - sigma_b)^2."""
    mean_a, mean_b = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 0.5]]).double()
    sigma_a, sigma_b = torch.tensor([[1.0, 2.0, 0.3], [2.0, 0.5, 0.3]]).double()
    a = exactly(mean_a, torch.diag(sigma_a.square()), 50)
    b = exactly(mean_b, torch.diag(sigma_b.square()), 80)
    expected = (1 + 9 + 0) + (1 + 2.25 + 0)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("d", [2, 5, 24])
def test_frechet_distance_agrees_with_scipys_matrix_root(d):
    a = exactly(torch.randn(d).double(), random_covariance(d), 3 * d + 5)
    b = exactly(torch.randn(d).double(), random_covariance(d), 4 * d + 5)
    cov_a, cov_b = (np.atleast_2d(np.cov(x.numpy().T)) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item()
    expected += np.trace(cov_a + cov_b - 2 * np.real(root))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_equal_features_is_zero():
    a = torch.randn(200, 16)
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-5)
    flat = torch.cat([torch.randn(50, 3), torch.ones(50, 4)], dim=1)  # features that are all alike
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-5)


def test_frechet_distance_of_a_shift_is_its_square():
    a = torch.randn(100, 8)
    assert frechet_distance(a, a + 3) == pytest.approx(8 * 9, rel=1e-4)


# --- images


def blurred(x: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(x.numpy(), sigma, mode="reflect", axes=(2, 3)))


@pytest.mark.parametrize("measure", [sharpness, high_frequency_energy])
def test_blur_lowers_sharpness_of_every_digit(mnist, measure):
    x = unit(mnist[1].images[:200])
    values = [measure(x), *(measure(blurred(x, sigma)) for sigma in (0.4, 0.6, 0.8, 1.2, 1.6))]
    for sharper, softer in pairwise(values):
        assert (softer < sharper).all()
    assert values[-1].mean() < 0.02 * values[0].mean()


@pytest.mark.parametrize("measure", [sharpness, high_frequency_energy])
def test_sharpness_is_the_square_of_contrast(measure):
    x = torch.rand(6, 3, 9, 12)
    for contrast in (0.5, 3):
        value = measure(contrast * x + 0.2)
        torch.testing.assert_close(value, contrast**2 * measure(x), rtol=1e-3, atol=0)
    assert measure(torch.full((2, 3, 8, 8), 0.7)).tolist() == pytest.approx([0, 0], abs=1e-9)


def test_sharpness_by_hand():
    """One bright pixel of 4x4: the Laplacian of the inner four is -4, 1, 1 and 0."""
    dot = torch.zeros(1, 2, 4, 4)
    dot[0, :, 1, 1] = torch.tensor([1.0, 2.0])
    variance = (16 + 1 + 1) / 4 - ((-4 + 1 + 1) / 4) ** 2
    assert sharpness(dot).tolist() == pytest.approx([(variance + 4 * variance) / 2])
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    assert sharpness(ramp).tolist() == [0]


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (5, 12), (9, 4), (1, 6)])
def test_power_sums_to_the_mean_square(size):
    x = torch.rand(4, 3, *size) - 0.3
    power, frequency = power_spectrum(x)
    assert power.shape[1:] == frequency.shape
    torch.testing.assert_close(power.sum((1, 2)), x.square().mean((1, 2, 3)), rtol=1e-4, atol=0)
    assert frequency.max() < math.sqrt(0.5)


@pytest.mark.parametrize(
    ("size", "down", "across"), [((16, 12), 3, 5), ((9, 15), 0, 7), ((6, 6), 0, 0)]
)
def test_a_cosine_lands_at_its_frequency(size, down, across):
    """Of half a wave ``down`` and ``across`` times over the image."""
    height, width = size
    y = torch.cos(math.pi * down * (torch.arange(height) + 0.5) / height)
    x = torch.cos(math.pi * across * (torch.arange(width) + 0.5) / width)
    wave = y[:, None] * x
    power, frequency = power_spectrum(wave[None, None])
    at = frequency.flatten()[power.argmax()]
    assert at.item() == pytest.approx(math.hypot(down / height, across / width) / 2, abs=1e-6)
    assert power.max().item() == pytest.approx(wave.square().mean().item(), rel=1e-4)


def test_high_frequencies_begin_at_a_quarter_cycle():
    columns = torch.arange(40)
    for cycles, high in ((0.2, 0), (0.25, 0), (0.2625, 1), (0.45, 1)):
        wave = torch.cos(2 * math.pi * cycles * (columns + 0.5)).expand(1, 1, 40, 40)
        share = high_frequency_energy(wave) / wave.square().mean()
        assert share.item() == pytest.approx(high, abs=1e-4)


def test_borders_that_do_not_meet_are_no_high_frequencies():
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    assert 0 <= high_frequency_energy(ramp).item() < 1e-4 * ramp.var().item()


# --- images against others


def test_nearest_distance_agrees_with_scipy():
    x, among = torch.rand(30, 3, 5, 4), torch.rand(70, 3, 5, 4)
    expected = cdist(x.flatten(1).numpy(), among.flatten(1).numpy()).min(1)
    assert nearest_distance(x, among).tolist() == pytest.approx(expected, abs=1e-4)


def test_stores_of_bytes_and_of_floats_agree():
    x = torch.randint(0, 256, (20, 1, 6, 6), dtype=torch.uint8)
    among = torch.randint(0, 256, (50, 1, 6, 6), dtype=torch.uint8)
    expected = nearest_distance(unit(x), unit(among))
    assert 0.5 < expected.min() < expected.max() < 6
    for stored in (nearest_distance(unit(x), among), nearest_distance(x, among)):
        torch.testing.assert_close(stored, expected)


@pytest.mark.parametrize("low", [0, 200])  # the brighter, the more there is to round
def test_copies_are_found_to_a_small_part_of_their_norm(low):
    among = torch.randint(low, 256, (300, 3, 32, 32), dtype=torch.uint8)
    x = unit(among[5:25])
    norm = x.flatten(1).norm(dim=1)
    assert (nearest_distance(x, among) < 0.003 * norm).all()
    others = nearest_distance(x, torch.cat([among[:5], among[25:]]))
    assert (others > 0.05 * norm).all()
    changed = x.clone()
    changed[:, 0, 0, 0] = 1 - changed[:, 0, 0, 0]
    exact = (changed - x).flatten(1).norm(dim=1)
    assert ((nearest_distance(changed, among) - exact).abs() < 0.003 * norm).all()


def ssim_by_scipy(x: Tensor, y: Tensor, sigma: float) -> float:
    """Wang et al. 2004, equation 13, for every channel by itself."""
    a, b = x.double().numpy(), y.double().numpy()

    def local(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, sigma, mode="mirror", truncate=3.5, axes=(2, 3))

    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    both = local(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((values / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


@pytest.mark.parametrize("size", [(28, 28), (12, 20), (5, 5), (8, 6)])
def test_ssim_agrees_with_scipy(size):
    x = torch.rand(3, 3, *size)
    sigma = min(1.5, (min(size) - 1) / 7)
    for x_hat in (0.5 * x + 0.2, (x + 0.2 * torch.randn_like(x)).clamp(0, 1), 1 - x):
        expected = ssim_by_scipy(x, x_hat, sigma)
        assert ssim(x, x_hat) == pytest.approx(expected, abs=2e-4)
        assert ssim(x_hat, x) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("size", [2, 5, 11, 28])
def test_ssim_of_an_image_with_itself_is_one(size):
    x = torch.rand(2, 3, size, size)
    assert ssim(x, x.clone()) == pytest.approx(1, abs=1e-5)
    assert -1 <= ssim(x, 1 - x) < 0.7


def test_stored_images_become_numbers_from_0_to_1():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert unit(x).tolist() == pytest.approx([0, 0.2, 1])
    assert unit(torch.tensor([0.3])).tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(("n", "k"), [(199, 100), (10_000, 1000), (3925, 500), (1999, 1000)])
def test_a_choice_is_of_the_whole_set_and_of_every_class(n: int, k: int):
    """Of data sorted by class, and of samples whose classes come in turn."""
    chosen = spread(n, k)
    assert len(chosen) == k
    assert (chosen.diff() > 0).all()
    assert 0 <= chosen.min() <= chosen.max() < n
    for classes in (chosen * 10 // n, chosen % 10):
        shares = torch.bincount(classes, minlength=10) / k
        torch.testing.assert_close(shares, torch.full((10,), 0.1), atol=0.06, rtol=0)
    assert torch.equal(spread(n, k), chosen)


def test_all_are_chosen_where_there_are_too_few():
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert spread(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_choosing_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    spread(100, 10)
    assert torch.equal(torch.get_rng_state(), state)
