"""A GAN of the plane in training, to be watched: run on, stopped, looked at and wound back.

In two dimensions nothing has to be guessed: the data, the samples, what the discriminator thinks
of every place and how the generator bends its latent plane all fit into one picture.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, FiniteFloat
from torch import Tensor
from torch.optim import Adam, Optimizer, RMSprop

from training import objectives, steps
from training.mixtures import MIXTURES, Mixture, modes_covered
from training.networks import GAN, build
from training.recipes import POINTS, Adversarial, Wasserstein
from training.specs import Dense, GANSpec

LATENTS = 2
DEPTH = 3
"""Hidden layers of either network."""
POOL = 20_000
"""Points of the data set."""
STD = 0.02
"""Standard deviation of a mode of the ring, and of the user's own: twice PacGAN's ring's, so that
a mode is a spot and not a dot."""
CLIP = 0.1
"""Largest weight of a critic under clipping."""
PENALTY = 1.0
"""Weight of the gradient penalty."""
COUNTED = 2500
"""Samples that modes are counted with, as PacGAN has it (section 4.1)."""
SHOWN = 400
"""Samples, and points of the data, that are drawn."""
FIELD = 48
"""Places along a side at which the discriminator is asked."""
WARP = 21
"""Lines of the latent grid, either way."""
REACH = 2.0
"""The latent grid goes from -2 to 2: 95 % of all noise, along either axis."""
MOST_KEPT = 64
"""Moments that a run keeps, at most."""
FIRST_SPACING = 5
"""Steps between two of them, at first."""
MOST_STEPS = 20_000
MOST_POINTS = 32

Objective = Literal["minimax", "non-saturating", "wgan-clip", "wgan-gp"]
Coordinate = Annotated[FiniteFloat, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class Setting:
    """What is trained on what."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    data: Literal["ring8", "grid25", "points"] = "ring8"
    """The ring of eight Gaussians, the grid of 25, or one Gaussian at each of ``points``."""
    objective: Objective = "minimax"
    """The plain GAN's game, its non-saturating form, or a WGAN with clipping or penalty."""
    learning_rate: Annotated[FiniteFloat, Field(ge=1e-5, le=0.05)] = 2e-3
    """Step size of both players."""
    momentum: Annotated[FiniteFloat, Field(ge=0, le=0.95)] = 0.9
    """Adam's first decay; RMSprop, which clipping goes with, has none."""
    critic_steps: Annotated[int, Field(ge=1, le=10)] = 1
    """Steps of a WGAN's critic for each of the generator."""
    width: Annotated[int, Field(ge=4, le=128)] = 64
    """Units of every hidden layer."""
    batch_size: Annotated[int, Field(ge=16, le=512)] = 128
    """Points in a batch."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of weights, data and noise."""
    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(max_length=MOST_POINTS)] = ()
    """Centres of the user's own modes."""

    def __post_init__(self) -> None:
        if (self.data == "points") != bool(self.points):
            raise ValueError("points of one's own come with the data set 'points', and only there")

    @property
    def mixture(self) -> Mixture:
        """What the data are drawn from."""
        if self.data == "grid25":
            return MIXTURES["grid25"]
        ring = replace(MIXTURES["ring8"], std=STD)
        return replace(ring, centres=self.points) if self.points else ring


@dataclass(frozen=True)
class Moment:
    """What a run was at one step; losses and their parts are means over `COUNTED` points."""

    step: int
    """Steps of the generator so far."""
    modes: int
    """Modes that the samples reach."""
    good: float
    """Share of the samples within three standard deviations of a mode."""
    generator: float
    """The generator's loss."""
    discriminator: float
    """The discriminator's or the critic's loss, the penalty included."""
    real: float
    """Its part from the data: -E log D(x), or -E D(x) of a critic."""
    fake: float
    """Its part from the samples: -E log(1 - D(G(z))), or E D(G(z))."""
    penalty: float
    """E (|grad D| - 1)^2 of a critic under the gradient penalty; 0 of others."""
    judged: float
    """Mean of what the discriminator gives the samples: D in [0, 1], or a critic's score."""
    x: float
    """Mean of the samples in plane coordinates, across ..."""
    y: float
    """... and up."""
    spread: float
    """Root of the samples' mean squared distance from their mean."""


@dataclass(frozen=True)
class View:
    """What there is to see; all float32, in plane coordinates."""

    data: Tensor
    """Points of the data (n, 2)."""
    samples: Tensor
    """What the generator makes of n fixed latents (n, 2)."""
    field: Tensor
    """The discriminator's D in [0, 1], or the critic's score, (FIELD, FIELD) from the lower left
    corner of the square up, at the middles of equal cells."""
    warp: Tensor
    """Where the generator puts a square grid of latents (WARP, WARP, 2)."""


class Diverged(RuntimeError):
    """The numbers of a run have left all bounds."""


@dataclass(frozen=True)
class _Kept:
    moment: Moment
    state: Any


class Lab:
    """A run. The same setting gives the same run, on one machine and with one thread."""

    def __init__(self, setting: Setting):
        """Draw data and weights; nothing is trained yet."""
        self.setting = setting
        self.mixture = setting.mixture
        self.step = 0
        self._limit = self.mixture.limit
        points, _ = self.mixture.sample(POOL, setting.seed)
        self._x = self.mixture.to_unit(points).view(-1, *POINTS)
        self._random = torch.Generator().manual_seed(setting.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setting.seed)
            self.gan = _network(setting, self._limit)
        self._optimizers = _optimizers(setting, self.gan)
        # The same latents at every step: what moves is the generator, not the luck.
        self._z = torch.randn(COUNTED, LATENTS, generator=torch.Generator().manual_seed(1))
        self._spacing = FIRST_SPACING
        self._kept: list[_Kept] = []
        self._keep()

    @property
    def moments(self) -> list[Moment]:
        """What was kept of the run: its first step and others at equal distances."""
        return [one.moment for one in self._kept]

    def advance(self, count: int) -> None:
        """Train for ``count`` steps of the generator. Raises Diverged."""
        for _ in range(count):
            self._train()
            self.step += 1
            if self.step % self._spacing == 0 and self.step > self._kept[-1].moment.step:
                self._keep()

    def rewind(self, step: int) -> None:
        """Go to the kept moment at ``step``, or the last before it: forward, too, where it was.

        Training goes on from there as it did the first time.
        """
        at = bisect_right(self._kept, step, key=lambda one: one.moment.step) - 1
        kept = self._kept[max(at, 0)]
        network, optimizers, random = kept.state
        self.gan.load_state_dict(network)
        for optimizer, state in zip(self._optimizers, optimizers, strict=True):
            optimizer.load_state_dict(deepcopy(state))  # it would go on in the kept tensors
        self._random.set_state(random)
        self.step = kept.moment.step

    @torch.no_grad()
    def view(self) -> View:
        """What there is to see now."""
        side = (torch.arange(FIELD) + 0.5) / FIELD
        y, x = torch.meshgrid(side, side, indexing="ij")
        field = self.gan.discriminator(torch.stack([x, y], -1).view(-1, *POINTS))
        line = torch.linspace(-REACH, REACH, WARP)
        v, u = torch.meshgrid(line, line, indexing="ij")
        return View(
            data=self._plane(self._x[:SHOWN]),
            samples=self._plane(self.gan.decode(self._z[:SHOWN])),
            field=(field if self.is_critic else torch.sigmoid(field)).view(FIELD, FIELD),
            warp=self._plane(self.gan.decode(torch.stack([u, v], -1).view(-1, LATENTS))).view(
                WARP, WARP, 2
            ),
        )

    @property
    def is_critic(self) -> bool:
        """Whether the discriminator gives scores instead of probabilities."""
        return self.setting.objective.startswith("wgan")

    def now(self) -> Moment:
        """Measure the run as it is. Raises Diverged."""
        with torch.no_grad():
            fakes = self.gan.decode(self._z)
            d_real, d_fake = (
                self.gan.discriminator(self._x[:COUNTED]),
                self.gan.discriminator(fakes),
            )
            points = self._plane(fakes)
        real, fake, generator = self._parts(d_real, d_fake)
        penalty = self._penalty(fakes) if self.setting.objective == "wgan-gp" else 0.0
        judged = d_fake if self.is_critic else torch.sigmoid(d_fake)
        modes, good = modes_covered(points, self.mixture)
        (x, y), away = points.mean(0).tolist(), points - points.mean(0)
        found = Moment(
            step=self.step,
            modes=modes,
            good=good,
            generator=generator,
            discriminator=real + fake + PENALTY * penalty,
            real=real,
            fake=fake,
            penalty=penalty,
            judged=judged.mean().item(),
            x=x,
            y=y,
            spread=away.square().sum(1).mean().sqrt().item(),
        )
        if not math.isfinite(found.generator + found.discriminator + found.spread):
            raise Diverged(
                f"After {self.step} steps the numbers have left all bounds. Wind back, or begin "
                "anew with a smaller step size."
            )
        return found

    def _parts(self, d_real: Tensor, d_fake: Tensor) -> tuple[float, float, float]:
        """The discriminator's loss from data and from samples, and the generator's."""
        objective = _objective(self.setting)
        if isinstance(objective, Wasserstein):
            generator = objectives.generator_wasserstein(d_fake)
            return -d_real.mean().item(), d_fake.mean().item(), generator.item()
        both = objectives.discriminator_bce(d_real, d_fake)
        fake = -objectives.generator_minimax(d_fake)
        return (both - fake).item(), fake.item(), steps.generator_loss(d_fake, objective).item()

    def _penalty(self, fakes: Tensor) -> float:
        critic = self.gan.discriminator
        weight = torch.linspace(0, 1, COUNTED)  # not drawn: looking must not change the run
        between = critic.inside(self._x[:COUNTED]), critic.inside(fakes)
        return objectives.gradient_penalty(critic.score, *between, weight).item()

    def _plane(self, unit: Tensor) -> Tensor:
        return self.mixture.to_plane(unit).flatten(1)

    def _keep(self) -> None:
        """Keep this moment; of too many, every second goes, but not the first."""
        state = (
            deepcopy(self.gan.state_dict()),
            [deepcopy(one.state_dict()) for one in self._optimizers],
            self._random.get_state(),
        )
        self._kept.append(_Kept(self.now(), state))
        if len(self._kept) > MOST_KEPT:
            del self._kept[1::2]
            self._spacing *= 2

    def _train(self) -> None:
        """One step of the generator, and what goes before it."""
        g, d = self._optimizers
        setting, objective = self.setting, _objective(self.setting)
        n = setting.batch_size
        y = torch.zeros(n, dtype=torch.int64)  # of no class
        normal = partial(torch.randn, n, LATENTS, generator=self._random)
        if isinstance(objective, Adversarial):
            steps.gan_step(self.gan, g, d, self._batch(), y, normal(), objective)
            return
        for _ in range(setting.critic_steps):
            weight = torch.rand(n, generator=self._random)
            steps.critic_step(self.gan, d, self._batch(), y, normal(), weight, objective)
        steps.wgan_generator_step(self.gan, g, y, normal())

    def _batch(self) -> Tensor:
        chosen = torch.randint(POOL, (self.setting.batch_size,), generator=self._random)
        return self._x[chosen]


def _network(setting: Setting, limit: float) -> GAN:
    layers = Dense((setting.width,) * DEPTH)
    spec = GANSpec(LATENTS, layers, layers, output="tanh", limit=limit, image_shape=POINTS)
    network = build(spec)
    assert isinstance(network, GAN)
    return network


def _objective(setting: Setting) -> Adversarial | Wasserstein:
    match setting.objective:
        case "minimax" | "non-saturating" as name:
            return Adversarial(generator_loss=name)
        case "wgan-clip":
            return Wasserstein(setting.critic_steps, clip=CLIP)
        case "wgan-gp":
            return Wasserstein(setting.critic_steps, gradient_penalty=PENALTY)


def _optimizers(setting: Setting, gan: GAN) -> tuple[Optimizer, Optimizer]:
    """The generator's and the discriminator's."""
    players, rate = (gan.generator, gan.discriminator), setting.learning_rate
    if setting.objective == "wgan-clip":  # as its paper does (Arjovsky et al. 2017, algorithm 1)
        g, d = (RMSprop(player.parameters(), lr=rate) for player in players)
    else:
        betas = (setting.momentum, 0.999)
        g, d = (Adam(one.parameters(), lr=rate, betas=betas, fused=True) for one in players)
    return g, d
