import math

import pytest
import torch

from training.mixtures import MIXTURES, modes_covered

NAMES = list(MIXTURES)


def test_the_mixtures_are_pacgans():
    """Section 4.1: centres, and variances 1e-4 and 0.0025 in each dimension."""
    ring, grid = MIXTURES["ring8"], MIXTURES["grid25"]
    turns = [math.atan2(y, x) / (2 * math.pi) % 1 * 8 for x, y in ring.centres]
    assert turns == pytest.approx(range(8))
    assert [math.hypot(*centre) for centre in ring.centres] == pytest.approx([1] * 8)
    assert sorted(grid.centres) == [(-4 + 2 * i, -4 + 2 * j) for i in range(5) for j in range(5)]
    assert (ring.std**2, grid.std**2) == pytest.approx((1e-4, 0.0025))


@pytest.mark.parametrize("name", NAMES)
def test_points_lie_around_all_centres_alike(name):
    mixture = MIXTURES[name]
    k = len(mixture.centres)
    points, modes = mixture.sample(100_000, seed=0)
    noise = points - torch.tensor(mixture.centres)[modes]
    assert noise.mean(0).abs().max() < 5 * mixture.std / math.sqrt(100_000)
    assert noise.std(0).tolist() == pytest.approx([mixture.std] * 2, rel=0.02)
    shares = torch.bincount(modes, minlength=k) / 100_000
    assert shares.tolist() == pytest.approx([1 / k] * k, rel=0.1)


def test_points_are_seeded():
    mixture = MIXTURES["ring8"]
    first, again, other = (mixture.sample(100, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_the_square_becomes_zero_to_one_and_back(name):
    mixture = MIXTURES[name]
    corners = torch.tensor([[-mixture.limit, mixture.limit], [0, 0]])
    assert mixture.to_unit(corners).tolist() == [[0, 1], [0.5, 0.5]]
    unit = mixture.to_unit(torch.tensor(mixture.centres))
    assert (unit.min().item(), unit.max().item()) == pytest.approx((0.1, 0.9), abs=1e-6)
    points, _ = mixture.sample(1000, seed=0)
    back = mixture.to_plane(mixture.to_unit(points))
    torch.testing.assert_close(back, points, atol=1e-3 * mixture.std, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_mixtures_own_points_cover_it(name):
    mixture = MIXTURES[name]
    modes, share = modes_covered(mixture.sample(50_000, seed=0)[0], mixture)
    assert modes == len(mixture.centres)
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.003)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("copies", [1, 1000])
def test_three_standard_deviations_are_the_border(name, copies):
    mixture = MIXTURES[name]
    centre = torch.tensor(mixture.centres[1])
    for radius, expected in ((0, 1), (2.97, 1), (3.03, 0)):
        for angle in (0.0, 1.0, 4.0):
            step = torch.tensor([math.cos(angle), math.sin(angle)])
            points = (centre + radius * mixture.std * step).expand(copies, 2)
            assert modes_covered(points, mixture) == (expected, expected)


def test_collapse_and_scatter_are_told_apart():
    mixture = MIXTURES["grid25"]
    centres = torch.tensor(mixture.centres)
    assert modes_covered(centres[:3].repeat(100, 1), mixture) == (3, 1.0)
    between = centres[:3] + 1
    assert modes_covered(torch.cat([centres, between]), mixture) == (25, pytest.approx(25 / 28))


def test_points_that_are_no_numbers_are_not_good():
    mixture = MIXTURES["ring8"]
    points = torch.tensor([[math.nan, 0], [math.inf, 0], [1, math.nan], [1, 0]])
    assert modes_covered(points, mixture) == (1, 0.25)
    with pytest.raises(ValueError, match="no points"):
        modes_covered(torch.zeros(0, 2), mixture)
