"""Mode collapse in two dimensions, trained live: the lesson's words, and what it measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from explorer.lessons import Finding, Lesson, Step
from explorer.pictures import Pixels
from training.mixtures import Mixture
from training.plane import FIELD, MOST_KEPT, SHOWN, Moment, Setting

UNTIL = 960
"""Steps of the generator after which a run is judged."""
SIDE = 480
"""Pixels of a picture for the handout."""
ROWS = 9
"""Rows of a table for the handout, at most."""
OFTEN, SELDOM = 0.5, 0.1
"""Shares that divide the options about a share."""

PLAIN = Setting(learning_rate=1e-3)
SATURATED = replace(PLAIN, objective="non-saturating")
CALM = replace(SATURATED, momentum=0.0)
CLIPPED = Setting(objective="wgan-clip", learning_rate=1e-3, critic_steps=5)
PENALISED = replace(CLIPPED, objective="wgan-gp", momentum=0.0)
OWN = replace(PLAIN, data="points", critic_steps=5, points=((-0.6, -0.4), (0.6, -0.4), (0.0, 0.7)))

SETTINGS = {
    "ring": PLAIN,
    "non-saturating": SATURATED,
    "wander": SATURATED,
    "momentum": CALM,
    "clip": CLIPPED,
    "penalty": PENALISED,
    "grid": replace(PENALISED, data="grid25"),
    "open": OWN,
}
"""What each step trains, by its name."""

_MODES = ("All eight", "Five to seven", "Four or fewer")

LESSON = Lesson(
    "plane",
    "Why does a GAN forget?",
    "Mode collapse in the plane: five ways to train a GAN on eight spots, each trained before "
    "your eyes, the modes that its samples reach counted as it goes.",
    20,
    (
        Step(
            "ring",
            "A plain GAN",
            "The data are eight spots on a ring. After 960 steps, how many of them will a plain "
            "GAN's samples reach?",
            _MODES,
            r"""
The generator $G$ and the discriminator $D$ play one game, Goodfellow's of 2014:

$$
\min_G \max_D \; \mathbb{E}_x \log D(x) + \mathbb{E}_z \log\bigl(1 - D(G(z))\bigr)
$$

*The plane*: orange where $D$ says "data", blue where it says "generated". All that a dot learns is
the slope of $D$ under it, from blue to orange; nothing in the game tells it that the other dots are
there already. Switch on *the latent grid*: a sheet that should be stretched over eight spots is
crumpled into one place.

*The numbers*: the two terms of $D$'s loss stand under it. Differentiate $\log(1 - D)$ by what $D$'s
last layer gives: the slope is $-D$. Where $D$ is sure that the samples are generated, $D(G(z))$ is
nearly 0 and so is the slope: the generator **saturates**, and is stuck wherever it is. Was it so
here? The answer above says what $D$ was. Try a *New seed*: a generator need not be stuck to
collapse.""",
        ),
        Step(
            "non-saturating",
            "Another loss for G",
            "The usual cure for a stuck generator is another loss: -log D(G(z)). How many of the "
            "eight does it reach?",
            _MODES,
            r"""
$$
\text{minimax: } \; \mathbb{E}_z \log\bigl(1 - D(G(z))\bigr)
\qquad \text{non-saturating: } -\mathbb{E}_z \log D(G(z))
$$

Both fall as $D(G(z))$ rises, so both want the same. But the slope of the second is $-(1 - D)$:
steep where $D$ is sure, which is just where the first is flat. The generator is never stuck; it is
told *where to go*, at every step. Nobody tells it *to spread*: all dots are still sent to
wherever $D$ is highest.""",
        ),
        Step(
            "wander",
            "In slow motion",
            "The same run again; press *Slow motion* now and then. What do its samples do in the "
            "second half?",
            ("They settle on one spot", "They wander about together", "They spread over the ring"),
            r"""
Follow the orange. The dots gather on a spot; $D$ learns that what comes from there is generated,
and the place turns blue; the dots leave, together, for the next orange place, and the game begins
anew there. Both players are right at every single step:

$$
D \leftarrow D + \eta \nabla_D \bigl[\log D(x) + \log(1 - D(G(z)))\bigr] \qquad
G \leftarrow G + \eta \nabla_G \log D(G(z))
$$

Each answers what the other *just did*; the two steps have no common goal that would get better
from step to step. So the losses swing instead of falling: look at the curves. *Wind back* with the
slider, and play the same scene once more.""",
        ),
        Step(
            "momentum",
            "Less haste",
            "The loss of the last two runs once more, but Adam's momentum is 0 instead of 0.9. "
            "How many of the eight now?",
            _MODES,
            r"""
$$
m \leftarrow \beta_1 m + (1 - \beta_1) \nabla
$$

Adam goes along $m$, a running mean of the gradients. With $\beta_1 = 0.9$ it looks back about ten
steps: good for a loss that stays as it is. Here each player's loss changes with every step of the
other, and a player with momentum still answers what is over, overshoots, and the chase goes on.

So mode collapse is no property of a loss alone; it is one of the *chase*. What is changed here is
one number of the optimiser. In the last step you can try what the minimax loss does with it.""",
        ),
        Step(
            "clip",
            "WGAN with clipping",
            "A Wasserstein GAN's critic gives scores instead of probabilities, its weights clipped "
            "to ±0.1. What share of the samples will be good?",
            ("Over half", "A tenth to a half", "Less than a tenth"),
            r"""
$$
\min_G \max_{|w| \le c} \; \mathbb{E}_x\, D_w(x) - \mathbb{E}_z\, D_w(G(z))
$$

The difference estimates the *earth mover's distance*: how far the dots would have to be carried to
become the data (Arjovsky et al. 2017). It has a slope wherever the dots are, near or far. But that
holds for a critic that is nowhere too steep, and cutting every weight to $\pm c$ is a crude way to
get one: a critic of clipped weights can hardly bend. Look at the field: broad, without an eye for
single spots. So dots are drawn *towards* the ring, and few are drawn *onto* a spot.""",
        ),
        Step(
            "penalty",
            "WGAN-GP",
            "Instead of clipping, the critic is fined wherever its slope is not 1. How many of the "
            "eight does it reach?",
            _MODES,
            r"""
$$
\mathbb{E}_z\, D(G(z)) - \mathbb{E}_x\, D(x) + \lambda\,
\mathbb{E}_{\hat x} \bigl(\lVert \nabla D(\hat x) \rVert - 1\bigr)^2, \qquad \lambda = 1
$$

at places $\hat x$ between data and samples (Gulrajani et al. 2017). A slope of about 1 everywhere:
the critic is a landscape that a dot can walk down from wherever it is, and may bend as it likes
(*the field*). Five steps of the critic for each of the generator keep the landscape up to date.
As its paper has it, Adam's momentum is 0: so compare this run with the GAN *of that momentum*, not
with the first. Which reached more modes, and which put more of its samples onto them?""",
        ),
        Step(
            "grid",
            "Can you trust a count?",
            "The same on a grid of 25. The count of modes will look fine. What share of the "
            "samples will be good?",
            ("Over half", "A tenth to a half", "Less than a tenth"),
            r"""
A mode counts as reached as soon as **one** of 2,500 samples lies within three standard deviations
of it, and a sample is *good* if it lies so near to any (Lin et al. 2018). Samples thrown over the
square at random would reach most modes, too; what they score is in the answer above. A number can
look fine for the wrong reason: read the two together, and look at the dots.""",
        ),
        Step(
            "open",
            "Now you",
            "Click your own modes into the plane. Can you make a GAN collapse, and cure it?",
        ),
    ),
)


@dataclass(frozen=True)
class Seen:
    """What a page has shown of a run when it came to a stop."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    setting: Setting
    """What was trained."""
    now: Moment
    """Where the run stood."""
    moments: Annotated[tuple[Moment, ...], Field(min_length=1, max_length=MOST_KEPT)]
    """What was kept of it."""
    samples: Annotated[tuple[tuple[FiniteFloat, FiniteFloat], ...], Field(max_length=SHOWN)]
    """The samples in plane coordinates."""
    field: Annotated[
        tuple[Annotated[int, Field(ge=0, le=255)], ...],
        Field(min_length=FIELD**2, max_length=FIELD**2),
    ]
    """The discriminator's field, row by row from below, from 0 to 255."""


_SEEN = TypeAdapter(Seen)


def read_seen(values: Any) -> Seen | None:
    """What a page sends; None for what no page of ours does."""
    try:
        return _SEEN.validate_python(values)
    except ValidationError:
        return None


def finding(step: Step, seen: Seen) -> Finding | None:
    """What a run says about a step's question; None before it is done, and where all is open."""
    if seen.now.step < UNTIL or not step.options:
        return None
    now, total = seen.now, len(seen.setting.mixture.centres)
    reached = (
        f"After {now.step:,} steps the samples reach **{now.modes} of {total}** modes, and "
        f"**{100 * now.good:.0f} %** of them are good."
    )
    match step.name:
        case "ring":
            judged = float(np.median([one.judged for one in seen.moments]))
            slope = f" The discriminator gave them D = {judged:.3f} in the median moment."
            return Finding(by_modes(now.modes, total), reached + slope)
        case "wander":
            way, spread = travelled(seen.moments)
            return Finding(
                by_way(way, spread),
                f"In the second half the middle of the samples went **{way:.1f}** radii of the "
                f"ring, while they lay **{spread:.2f}** around it; the data lie 1.0 around theirs.",
            )
        case "clip":
            return Finding(by_share(now.good), reached)
        case "grid":
            modes, good = by_chance(seen.setting.mixture)
            return Finding(
                by_share(now.good),
                f"{reached} As many samples thrown over the square at random would reach "
                f"{modes:.1f} modes, with {100 * good:.1f} % good.",
            )
    return Finding(by_modes(now.modes, total), reached)


def by_modes(modes: int, total: int) -> int:
    """Place of the option about modes: all, more than half, or fewer."""
    return 0 if modes == total else 1 if modes > total / 2 else 2


def by_share(share: float) -> int:
    """Place of the option about a share."""
    return 0 if share > OFTEN else 1 if share >= SELDOM else 2


def by_way(way: float, spread: float) -> int:
    """Place of the option about how the samples moved: settled, wandering or spread."""
    if spread > 0.8:
        return 2
    return 1 if way > 2 else 0


def travelled(moments: Sequence[Moment]) -> tuple[float, float]:
    """How far the samples' mean went in the second half of a run, and their mean spread there."""
    last = [one for one in moments if one.step >= moments[-1].step / 2]
    places = np.array([(one.x, one.y) for one in last])
    way = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    return way, float(np.mean([one.spread for one in last]))


def by_chance(mixture: Mixture, samples: int = 2500) -> tuple[float, float]:
    """Modes that uniform samples of the square reach on average, and the share that is good."""
    one = math.pi * (3 * mixture.std) ** 2 / (2 * mixture.limit) ** 2
    total = len(mixture.centres)
    return total * (1 - (1 - one) ** samples), total * one


def table(seen: Seen) -> list[dict[str, Any]]:
    """The run in at most `ROWS` rows."""
    chosen = np.linspace(0, len(seen.moments) - 1, min(ROWS, len(seen.moments))).round()
    return [
        {
            "step": one.step,
            "modes": one.modes,
            "good": f"{100 * one.good:.1f} %",
            "discriminator's loss": round(one.discriminator, 3),
            "generator's loss": round(one.generator, 3),
        }
        for one in (seen.moments[int(i)] for i in chosen)
    ]


def picture(seen: Seen, colours: Sequence[str]) -> Pixels:
    """The run where it stood (SIDE, SIDE, 3): the field, circles for modes, dots for samples.

    ``colours`` are the field's near 0 and near 1.
    """
    mixture, dot = seen.setting.mixture, SIDE / 200
    levels = np.array(seen.field, float).reshape(FIELD, FIELD)[::-1, :, None] / 255
    low, high = (np.array(ImageColor.getrgb(colour)) for colour in colours)
    ends = np.where(levels < 0.5, low, high)
    field = 255 + 0.7 * np.abs(2 * levels - 1) * (ends - 255)
    image = Image.fromarray(field.astype(np.uint8)).resize((SIDE, SIDE))
    draw = ImageDraw.Draw(image)

    def circle(x: float, y: float, radius: float, **style: Any) -> None:
        u, v = (SIDE * (0.5 + sign * at / (2 * mixture.limit)) for at, sign in ((x, 1), (y, -1)))
        draw.ellipse((u - radius, v - radius, u + radius, v + radius), **style)

    for x, y in mixture.centres:
        circle(x, y, 3 * mixture.std * SIDE / (2 * mixture.limit), outline="black", width=2)
    for x, y in seen.samples:
        circle(x, y, dot, fill="black", outline="white")
    return np.asarray(image)
