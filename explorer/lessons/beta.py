"""What beta buys: VAEs that differ in nothing but the price of their code."""

from __future__ import annotations

from collections.abc import Mapping

from explorer.lessons import Lesson, Step
from explorer.lessons.copies import Copies, differ

SIDES = ("Below 1", "1", "Above 1")
"""Where a beta can be."""

LESSON = Lesson(
    "beta",
    "What does beta buy?",
    "VAEs that differ in nothing but beta, the price of what a code says: their copies, their "
    "loss term by term, the numbers they give up, and what they draw from noise.",
    25,
    (
        Step(
            "copies",
            "Copies by beta",
            "What does a larger beta do to the copies of an image?",
            ("They become sharper", "They become more blurred", "They stay as they are"),
            r"$\beta$ multiplies the price of the code. The dearer it is, the less the code says "
            "about an image, the more images share what it says, and the more the decoder has to "
            "average: reconstruction goes up as KL goes down.",
        ),
        Step(
            "bound",
            "Two terms, one bound",
            "Which beta gives the lowest negative ELBO, where the KL counts once?",
            SIDES,
            r"$$-\mathrm{ELBO}=-\,\mathbb E_{q(z|x)}\log p(x|z)"
            r"+\mathrm{KL}\big(q(z|x)\,\|\,p(z)\big)\;\ge\;-\log p(x)$$"
            "\n\nOnly with $\\beta=1$ is the loss itself this bound on the likelihood of an "
            "image. Any other beta trades one term against the other at another price, and pays "
            "more for both together.",
        ),
        Step(
            "collapse",
            "Posterior collapse",
            "At the largest beta, how many of the code's numbers still say something?",
            ("All of them", "Some of them", "None of them"),
            "For one number of the code the KL is\n\n"
            r"$$\tfrac12\big(\mu^2+\sigma^2-1-\log\sigma^2\big),$$"
            "\n\nwhich is 0 exactly where $\\mu=0$ and $\\sigma=1$ for *every* image: the encoder "
            "says nothing there, and the decoder hardly listens. Where a number saves "
            r"less reconstruction than $\beta$ times its KL, that is the cheapest it can do.",
        ),
        Step(
            "map",
            "Where codes go",
            "As beta grows, where do the codes of real images go?",
            ("Outwards", "They stay where they are", "Inwards, towards 0"),
            r"Telling images apart takes means $\mu$ far from each other, measured by the noise "
            r"$\sigma$. Both cost: $\mu^2$ and $-\log\sigma^2$ are the terms of the KL. With a "
            r"small $\beta$ codes are far apart and nearly without noise, with gaps between them "
            "that the decoder has never seen; with a large one they crowd around 0, under noise "
            "nearly as wide as the prior's.",
        ),
        Step(
            "samples",
            "Samples from noise",
            "From which beta are samples easiest to read, as a judge reads them?",
            SIDES,
            r"A sample is decoded from $z\sim\mathcal N(0,I)$. With a small $\beta$ much of the "
            "prior is gaps between codes, where nothing was ever learnt; with a large one there "
            "are none, but the code says so little that samples are means. Being easy to read is "
            "not all: a model that draws few kinds of image, all of them clear, covers little.",
        ),
        Step("open", "Now you", "Which beta would you choose, and what for?"),
    ),
)


def name_of(beta: float) -> str:
    """A beta as people read it."""
    return f"β\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{beta:g}"


def side(beta: float) -> int:
    """Which of `SIDES` a beta is on."""
    return 0 if beta < 1 else 1 if beta == 1 else 2


def ascending(found: Mapping[float, Copies]) -> tuple[Copies, Copies]:
    """What was measured with the smallest and with the largest beta."""
    return found[min(found)], found[max(found)]


def copies_answer(found: Mapping[float, Copies]) -> int:
    """The option that the sharpness of copies by beta bears out."""
    first, last = ascending(found)
    return {1: 0, -1: 1, 0: 2}[differ(first.share, last.share)]


def bound_answer(found: Mapping[float, Copies]) -> int:
    """The option that the negative ELBO by beta bears out."""
    return side(min(found, key=lambda beta: found[beta].negative_elbo))


def collapse_answer(found: Mapping[float, Copies]) -> int:
    """The option that the numbers in use at the largest beta bear out."""
    _, last = ascending(found)
    return 0 if last.used == len(last.kl) else 1 if last.used else 2


def reach_of(copies: Copies) -> float:
    """Root mean square of the codes' numbers, over images and dimensions."""
    return float((copies.reach**2).mean() ** 0.5)


def map_answer(found: Mapping[float, Copies]) -> int:
    """The option that the codes' distance from 0 by beta bears out."""
    first, last = ascending(found)
    return {1: 0, 0: 1, -1: 2}[differ(reach_of(first), reach_of(last))]


def samples_answer(confidence: Mapping[float, float]) -> int:
    """The option that the judge's confidence by beta bears out."""
    return side(max(confidence, key=confidence.__getitem__))
