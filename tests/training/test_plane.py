"""A GAN of the plane in training: what is seen of it is what is there, and it can be wound back."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from explorer.lessons import plane as lesson
from training import objectives
from training.mixtures import MIXTURES, modes_covered
from training.plane import (
    COUNTED,
    FIELD,
    MOST_KEPT,
    PENALTY,
    REACH,
    WARP,
    Diverged,
    Lab,
    Objective,
    Setting,
)

SMALL = Setting(width=8, batch_size=16)
PAIR = ((-0.5, 0.0), (0.5, 0.0))


def small(objective: Objective, **changes: Any) -> Lab:
    return Lab(replace(SMALL, objective=objective, critic_steps=2, **changes))


def weights(lab: Lab) -> list[Tensor]:
    return [one.clone() for one in lab.gan.state_dict().values()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(map(torch.equal, a, b))


@pytest.mark.parametrize("objective", ["minimax", "wgan-clip"])
def test_the_field_is_the_discriminator_at_the_middles_of_cells(objective: Objective) -> None:
    lab = small(objective)
    lab.advance(3)
    field = lab.view().field
    assert field.shape == (FIELD, FIELD)
    for row, column in ((0, 0), (0, FIELD - 1), (7, 30)):
        place = torch.tensor([(column + 0.5) / FIELD, (row + 0.5) / FIELD]).view(1, 1, 1, 2)
        with torch.no_grad():
            score = lab.gan.discriminator(place).item()
        wanted = score if objective == "wgan-clip" else 1 / (1 + math.exp(-score))
        assert field[row, column].item() == pytest.approx(wanted, rel=1e-5)


def test_the_grid_is_where_the_generator_puts_its_latents() -> None:
    lab = small("minimax")
    warp = lab.view().warp
    assert warp.shape == (WARP, WARP, 2)
    for i, j in ((0, 0), (0, WARP - 1), (4, 9)):
        z = torch.tensor([[j, i]]) * (2 * REACH / (WARP - 1)) - REACH  # across, then up
        with torch.no_grad():
            unit = lab.gan.decode(z).flatten()
        assert warp[i, j].tolist() == pytest.approx(lab.mixture.to_plane(unit).tolist(), abs=1e-5)


def test_a_run_hangs_on_its_setting_alone() -> None:
    a, b, other = small("wgan-gp"), small("wgan-gp"), small("wgan-gp", seed=1)
    for lab in (a, b, other):
        lab.advance(7)
    torch.rand(3)  # nobody else's luck
    for _ in range(5):  # nor how often one looks, or in how many strides one goes
        b.view()
        b.now()
        b.advance(1)
    a.advance(5)
    assert equal(weights(a), weights(b))
    assert a.now() == b.now()
    assert not equal(weights(a), weights(other))


@pytest.mark.parametrize("objective", ["minimax", "non-saturating", "wgan-clip", "wgan-gp"])
def test_winding_back_brings_back_what_was_and_what_came_after(objective: Objective) -> None:
    lab = small(objective)
    lab.advance(10)
    at_ten, seen, look = weights(lab), lab.now(), lab.view()
    lab.advance(13)
    later, moments = weights(lab), lab.moments
    lab.rewind(12)
    assert lab.step == 10
    assert equal(weights(lab), at_ten)
    assert lab.now() == seen
    assert all(map(torch.equal, vars(lab.view()).values(), vars(look).values()))
    assert lab.moments == moments  # what is known of the future stays
    lab.advance(13)
    assert equal(weights(lab), later)
    lab.rewind(0)
    assert lab.step == 0
    lab.rewind(20)  # forward, too
    assert lab.step == 20


def test_what_is_kept_is_bounded_and_evenly_spaced() -> None:
    lab = Lab(replace(SMALL, width=4))
    most = 0
    for _ in range(70):
        lab.advance(10)
        most = max(most, len(lab.moments))
    assert most == MOST_KEPT
    steps = [one.step for one in lab.moments]
    assert steps == list(range(0, 701, 20))
    lab.rewind(699)
    assert lab.step == 680


@pytest.mark.parametrize("objective", ["minimax", "non-saturating", "wgan-clip", "wgan-gp"])
def test_the_numbers_are_those_of_the_loss(objective: Objective) -> None:
    lab = small(objective)
    lab.advance(5)
    now = lab.now()
    with torch.no_grad():
        fakes = lab.gan.decode(lab._z)
        d_real, d_fake = lab.gan.discriminator(lab._x[:COUNTED]), lab.gan.discriminator(fakes)
    if objective.startswith("wgan"):
        wanted = objectives.critic_loss(d_real, d_fake).item() + PENALTY * now.penalty
        assert now.generator == pytest.approx(-d_fake.mean().item(), abs=1e-6)
        assert now.judged == pytest.approx(d_fake.mean().item(), abs=1e-6)
    else:
        wanted = objectives.discriminator_bce(d_real, d_fake).item()
        sure = torch.sigmoid(d_fake)
        loss = (1 - sure).log().mean() if objective == "minimax" else -sure.log().mean()
        assert now.generator == pytest.approx(loss.item(), rel=1e-4)
        assert now.judged == pytest.approx(sure.mean().item(), rel=1e-5)
        assert now.fake == pytest.approx(-(1 - sure).log().mean().item(), rel=1e-4)
    assert now.discriminator == pytest.approx(wanted, abs=1e-5)
    assert now.discriminator == pytest.approx(now.real + now.fake + PENALTY * now.penalty, abs=1e-5)
    assert (now.penalty > 0) == (objective == "wgan-gp")
    points = lab.mixture.to_plane(fakes).flatten(1)
    assert (now.modes, now.good) == modes_covered(points, lab.mixture)
    assert (now.x, now.y) == pytest.approx(points.mean(0).tolist())
    around = ((points - points.mean(0)) ** 2).sum(1).mean().sqrt().item()
    assert now.spread == pytest.approx(around, rel=1e-4)


def test_weights_are_clipped_where_the_objective_says_so() -> None:
    clipped, free = small("wgan-clip"), small("minimax")
    for lab in (clipped, free):
        lab.advance(2)
    largest = [
        max(one.abs().max().item() for one in lab.gan.discriminator.parameters())
        for lab in (clipped, free)
    ]
    assert largest[0] == pytest.approx(0.1)
    assert largest[1] > 0.2


def test_data_are_drawn_around_the_centres_asked_for() -> None:
    lab = Lab(replace(SMALL, data="points", points=PAIR))
    data = lab.view().data
    near = (data[:, None] - torch.tensor(PAIR)).norm(dim=2).min(1).values
    assert (near < 5 * lab.mixture.std).all()
    assert 0.3 < (data[:, 0] > 0).float().mean() < 0.7
    assert Lab(replace(SMALL, data="grid25")).mixture == MIXTURES["grid25"]


def test_numbers_that_leave_all_bounds_are_said() -> None:
    lab = small("minimax")
    lab.advance(5)
    with torch.no_grad():
        next(lab.gan.discriminator.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match="After 5 steps"):
        lab.now()
    with pytest.raises(Diverged, match="After 10 steps"):
        lab.advance(5)
    lab.rewind(lab.step)
    assert math.isfinite(lab.now().discriminator)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "swiss roll"}, "data"),
        ({"objective": "vae"}, "objective"),
        ({"learning_rate": 1.0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"critic_steps": 0}, "critic_steps"),
        ({"critic_steps": 1000}, "critic_steps"),
        ({"width": 10_000}, "width"),
        ({"batch_size": 10**9}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"data": "points", "points": [[2.0, 0.0]]}, "points.0.0"),
        ({"data": "points", "points": [[0.0, 0.0]] * 33}, "points"),
        ({"data": "points"}, "points of one's own"),
        ({"points": [[0.0, 0.0]]}, "points of one's own"),
        ({"depth": 50}, "depth"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TypeAdapter(Setting).validate_python({**asdict(Setting()), **changes})


def test_settings_come_back_from_json() -> None:
    mine = Setting(data="points", points=PAIR, objective="wgan-gp", momentum=0.0)
    assert TypeAdapter(Setting).validate_python(asdict(mine)) == mine
    assert TypeAdapter(Setting).validate_python({}) == Setting()


def settled(setting: Setting, steps: int) -> list[int]:
    """Modes reached at the moments of the second half of a run."""
    lab = Lab(setting)
    lab.advance(steps)
    return [one.modes for one in lab.moments if one.step >= steps / 2]


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_gan_collapses_on_the_ring(seed: int) -> None:
    assert max(settled(replace(lesson.SETTINGS["ring"], seed=seed), 480)) <= 6


@pytest.mark.parametrize("seed", range(3))
def test_a_wgan_gp_covers_the_ring(seed: int) -> None:
    modes = settled(replace(lesson.SETTINGS["penalty"], seed=seed), 240)
    assert median(modes) == 8
    assert min(modes) >= 6
