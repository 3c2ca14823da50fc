"""What a latent space is: where codes lie, and what the decoder draws there and elsewhere."""

from __future__ import annotations

from explorer.lessons import Lesson, Step
from explorer.lessons.survey import Readings

SURE = 0.5
"""Confidence of the judge, on average, from which pictures are called readable."""
JUMP = 0.25
"""Share of all change along a walk from which its largest step is called a jump."""
CHANCES = 3
"""How many times as often as by chance neighbours are alike that lie together."""
STILL = 0.2
"""Distance between a walk's ends, that between real images being 1, below which little changes."""
COPY = 0.5
"""Distance to the nearest training image, that of test images being 1, below which is a copy."""
BLACK = 0.2
"""Brightness, that of real images being 1, below which a picture is called black."""

LESSON = Lesson(
    "space",
    "What is a latent space?",
    "The codes of real images on a map, and what the decoder draws there, between two codes, and "
    "far from all of them. The lesson to begin with.",
    20,
    (
        Step(
            "codes",
            "Where codes lie",
            "The encoder was never told what an image shows. Where do the codes of one class lie?",
            ("Mixed with all the others", "Mostly side by side", "All at one point"),
            "The code that a VAE learns from is drawn around $\\mu$ with some noise, so that "
            "whatever is drawn from one place has to serve every image whose code may fall there. "
            "This costs least where images that look alike lie side by side. Digits that look "
            "alike mostly show the same; photographs, of a blue ground, say, often do not. The "
            "colours are only ours: the encoder saw none.",
        ),
        Step(
            "number",
            "One number",
            "One number of the code goes slowly from one end to the other. What does the picture "
            "do?",
            ("It changes little by little", "It jumps from one to the next", "It hardly changes"),
            "The decoder is a smooth function of the code, $\\hat x=g(z)$: a small step of $z$ is "
            "a small step of $\\hat x$. That is what makes the space worth a walk. A data set has "
            "no such thing: between two of its images there is nothing.",
        ),
        Step(
            "between",
            "Half way",
            "From the code of one image straight to the code of another, of another class: what "
            "is half way?",
            ("One of the two classes", "Another class", "Nothing that can be read"),
            "A cross-fade mixes *pictures*: both are there, half as strong. The walk mixes "
            "*codes*, $z=(1-t)\\,z_a+t\\,z_b$, and what is drawn is whatever has its place there. "
            "In a plane many a third class lies on the way; with more numbers there is more room "
            "to pass it by.",
        ),
        Step(
            "outside",
            "Far outside",
            "Four times as far out as the farthest code of any image: what does the decoder draw?",
            ("Nothing, all black", "Noise", "A picture all the same"),
            "The decoder is a function: it answers for every $z$, also where no image has ever "
            "been. Nobody has taught it what to draw there. The KL keeps codes near "
            "$p(z)=\\mathcal N(0,I)$ for this very reason: a $z$ drawn from it falls where "
            "something was learnt. The judge, too, has never seen such pictures: sure is not "
            "right.",
        ),
        Step(
            "size",
            "How many numbers",
            "Of a hundred images copied through the shortest code, how many are still read as "
            "what they show?",
            ("Fewer than 33", "33 to 67", "More than 67"),
            "A code is a bottleneck: the decoder knows of an image what its code says, and no "
            "more. A few numbers say roughly what shape it has; with more, classes that shared a "
            "place get places of their own. Each has its price, the KL, and beyond some point the "
            "next one is not worth it.",
        ),
        Step(
            "new",
            "Something new",
            "Drawn from a code at random: is it an image of the training set?",
            ("Yes, or nearly so", "No, another one"),
            "Nothing in the network is an image: it has learnt how images vary, from all of them "
            "together. A model that knew its training set by heart would be at 0 here. That it is "
            "not says nothing of how good the pictures are: noise, too, is like none of them.",
        ),
        Step(
            "open",
            "Now you",
            "Which classes are neighbours, and where is one drawn that is none at all?",
        ),
    ),
)


def codes_answer(alike: float, chance: float, spread: float) -> int:
    """The option that the neighbours of codes bear out; ``spread`` is the codes' own."""
    if spread == 0:
        return 2
    return 1 if alike >= min(CHANCES * chance, (1 + chance) / 2) else 0


def number_answer(largest: float, change: float) -> int:
    """The option that the largest step of walks, and all change along them, bear out."""
    if change < STILL:
        return 2
    return 1 if largest >= JUMP else 0


def between_answer(found: Readings) -> int:
    """The option that the judge's reading of what is half way bears out."""
    if found.half_sure < SURE:
        return 2
    return 1 if found.third > 0.5 else 0


def outside_answer(found: Readings) -> int:
    """The option that brightness and the judge's confidence far outside bear out."""
    if found.outside_light < BLACK:
        return 0
    return 2 if found.outside_sure >= SURE else 1


def size_answer(kept: float) -> int:
    """The option that the share of copies that are read as their originals bears out."""
    return 0 if kept < 1 / 3 else 1 if kept <= 2 / 3 else 2


def new_answer(distance: float) -> int:
    """The option that samples' distance to the nearest training image bears out."""
    return 0 if distance < COPY else 1
