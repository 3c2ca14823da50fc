"""Mode collapse on digits: one picture for every z, counted, read by a judge, and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from explorer import latent
from explorer.lessons import Lesson, Step
from explorer.pictures import Pixels
from explorer.replay import Stop
from training import metrics
from training.checkpoint import History
from training.health import ALIKE
from training.judge import Reading
from training.onnx_files import AnyCard

COLLAPSED, HEALTHY, WASSERSTEIN = "mnist-gan-r2-collapse", "mnist-gan-r2-healthy", "mnist-wgan-r2"
DEEPER = "mnist-dcgan-deep-z100"
"""R1's generator, of which its report tells that it collapses."""
CAST = (COLLAPSED, HEALTHY, WASSERSTEIN)
SHEET, COLUMNS = 100, 10
"""Pictures on a sheet, and in a row of it."""
COUNTS = (100, 300, 1000)
"""Pictures that a judge can be asked to read."""
PERCENTS = (0.1, 1.0, 5.0, 20.0, 50.0)
"""Of real digits, which are to have a neighbour as near as two pictures that count as one."""
REAL = 2000
"""Real digits among which that is measured."""
PAIRS = 50
"""Pairs of z between which the change of a picture is measured."""
SOME = 0.2
"""Share of pictures up to which only some repeat another; and twice as much is no small share."""
STILL = 0.05
"""Part of itself by which a loss must have changed to have risen or fallen."""
GAME = ("discriminator", "generator", "d_real", "d_fake")
"""What a history tells of both players."""
SCORES = {"inception": "Inception Score", "precision": "Precision", "coverage": "Coverage"}
"""Scores of which one may be fooled, in the order of the options."""


@dataclass(frozen=True)
class Measured:
    """What a judge tells of some pictures."""

    shares: Tensor
    """Share read as each class (k,)."""
    confidence: float
    """How sure it is of its reading, on average."""
    scores: dict[str, float]
    """The `SCORES`: higher is better."""

    @property
    def entropy(self) -> float:
        """Entropy of the shares, in nats."""
        return metrics.entropy(self.shares)

    @property
    def largest(self) -> int:
        """The class read most often."""
        return int(self.shares.argmax())

    def spread(self) -> dict[str, str]:
        """How the shares are spread, for a row of a table."""
        return {
            "entropy, nats": f"{self.entropy:.2f}",
            "entropy, bits": f"{self.entropy / np.log(2):.2f}",
            "distance from even": f"{metrics.distance_from_uniform(self.shares):.2f}",
            "judge is sure": f"{self.confidence:.1%}",
        }

    def marks(self, *names: str) -> dict[str, str]:
        """The `SCORES` of these names, for a row of a table."""
        return {SCORES[name]: f"{self.scores[name]:.2f}" for name in names}

    def by_class(self) -> dict[str, str]:
        """The shares themselves, for a row of a table."""
        return {str(k): f"{share:.1%}" for k, share in enumerate(self.shares.tolist())}


def measure(seen: Reading, real: Tensor) -> Measured:
    """What a judge's reading of pictures tells, beside its features of ``real`` digits (n, width).

    The Inception Score is of all pictures at once: dealt into ten parts, of 100 there would be
    ten in each, too few for ten classes.
    """
    manifold = metrics.manifold_scores(real, seen.features)
    inception, _ = metrics.inception_score(seen.logits, splits=1)
    return Measured(
        shares=metrics.class_shares(seen.logits),
        confidence=float(seen.logits.softmax(1).max(1).values.mean()),
        scores={
            "inception": inception,
            "precision": manifold["precision"],
            "coverage": manifold["coverage"],
        },
    )


def noise(card: AnyCard, seed: int, n: int) -> tuple[latent.Array, latent.Array | None]:
    """Latents (n, d) of a seed, and class weights (n, k): each class in its turn.

    Fewer are the first of more; models of equal d get the same.
    """
    return latent.noise(seed, n, card.latent_dim), latent.in_turn(n, card.num_classes)


def flat(images: Pixels) -> Tensor:
    """Pictures (n, H, W, C) as rows of numbers (n, m) in [0, 1]."""
    return metrics.unit(torch.from_numpy(images)).flatten(1)


def distances(x: Tensor) -> Tensor:
    """Distances (n, n) between rows (n, m), float64; of a row to itself infinite."""
    x = x.double()  # by a product of matrices, which in float32 tells equal rows apart
    return torch.cdist(x, x, compute_mode="use_mm_for_euclid_dist").fill_diagonal_(torch.inf)


def nearness(real: Tensor, n: int, percent: float) -> float:
    """The distance below which ``percent`` of real digits (m, ...) have a neighbour among n.

    Measured in sets of ``n``, as many as there are: among more, neighbours are nearer.
    """
    sets = [some for some in real.split(n) if len(some) == n]
    nearest = torch.cat([distances(some).min(1).values for some in sets])
    return float(nearest.quantile(percent / 100))


def groups(x: Tensor, near: float) -> list[NDArray[np.int64]]:
    """Rows (n, m) in groups of near-duplicates, the largest first: indices, each in order.

    Two rows nearer than ``near`` are in one group, and so are all that a chain of such pairs
    joins.
    """
    close = (distances(x) < near).numpy()
    _, of = connected_components(close, directed=False)
    found = [np.flatnonzero(of == group) for group in range(of.max() + 1)]
    return sorted(found, key=len, reverse=True)


def repeats(found: Sequence[NDArray[np.int64]]) -> int:
    """How many of grouped pictures are near-duplicates of one before them."""
    return sum(len(group) - 1 for group in found)


def which_collapsed(different: Mapping[str, int], n: int) -> int:
    """Place in the `CAST` of who draws the fewest ``different`` of n; 3 where no one repeats half.

    ``different`` counts the pictures of each that are no near-duplicates.
    """
    least = min(different, key=different.__getitem__)
    return CAST.index(least) if different[least] < n / 2 else len(CAST)


def how_many_repeat(share: float) -> int:
    """Place of the option for a share of near-duplicates: none, some, many."""
    return 0 if share == 0 else 1 if share <= SOME else 2


def how_many_classes(measured: Measured) -> int:
    """Place of the option for how many classes have at least 1 %: one, two to five, more."""
    n = int((measured.shares >= 0.01).sum())
    return 0 if n <= 1 else 1 if n <= 5 else 2


def change(a: Pixels, b: Pixels) -> tuple[float, int]:
    """Grey levels of 255 by which pictures (n, H, W, C) differ pairwise: the mean, the largest."""
    difference = np.abs(a.astype(np.int16) - b)
    return float(difference.mean()), int(difference.max())


def what_moves(mean: float, twin: float) -> int:
    """Place of the option for how much a picture changes beside its ``twin``'s: nothing, less, as.

    Less than one grey level of 255 is less than a screen can show.
    """
    return 0 if mean < 1 else 1 if mean < twin / 2 else 2


def fell(diversity: Sequence[float]) -> int | None:
    """The first epoch, from 1, after which samples are all alike; None where there is none."""
    return next((epoch for epoch, value in enumerate(diversity, 1) if value < ALIKE), None)


def when(diversity: Sequence[float]) -> int:
    """Place of the option for when it fell: in the first epoch, later, never."""
    epoch = fell(diversity)
    return 2 if epoch is None else 0 if epoch == 1 else 1


def side_by_side(stops: Sequence[Stop], others: Sequence[Stop]) -> list[Stop]:
    """For each stop of a training another's at the same epoch, or the last kept before it."""
    before = [[one for one in others if one.epoch <= stop.epoch] for stop in stops]
    return [(found or others[:1])[-1] for found in before]


def trend(values: Sequence[float]) -> int:
    """Place of the option for what a loss did from its first epoch to its last: fell, stayed, rose.

    It stayed where it changed by less than a twentieth of what it was.
    """
    first, last = values[0], values[-1]
    if abs(last - first) < STILL * abs(first):
        return 1
    return 2 if last > first else 0


def terms(history: History, epoch: int) -> str:
    """Both players' losses after an epoch, from 1, in LaTeX; "" where they were not measured."""
    at = {name: part[epoch - 1] for name, part in history["test"].items() if epoch <= len(part)}
    if not set(GAME) <= at.keys():
        return ""
    return (
        rf"\begin{{aligned}}"
        rf"\mathcal L_D &= -\mathbb E_x \log D(x)\\"
        rf"&\quad - \mathbb E_z \log(1 - D(G(z))) = {at['discriminator']:.2f}\\"
        rf"\mathcal L_G &= -\mathbb E_z \log D(G(z)) = \mathbf{{{at['generator']:.2f}}}\\"
        rf"\mathbb E_x D(x) &= {at['d_real']:.3f},\quad "
        rf"\mathbb E_z D(G(z)) = {at['d_fake']:.3f}"
        rf"\end{{aligned}}"
    )


def fooled(collapsed: Measured, twin: Measured) -> int | None:
    """Place of the only score that gives the collapsed the better mark; 3 for none, None for more.

    The better mark is one above its ``twin``'s.
    """
    found = [i for i, name in enumerate(SCORES) if collapsed.scores[name] > twin.scores[name]]
    return len(SCORES) if not found else found[0] if len(found) == 1 else None


def typical(images: Tensor, labels: Tensor, label: int) -> int:
    """The image (n, m) of a class that is nearest to the mean of its class."""
    of = (labels == label).nonzero().flatten()
    x = images[of]
    return int(of[(x - x.mean(0)).square().sum(1).argmin()])


LESSON = Lesson(
    name="digits",
    title="Why does a generator draw the same picture for every z?",
    about=(
        "Generators are given the same noise, and one draws a single picture of it. Its "
        "pictures are counted, read by a judge and followed through the epochs, down to the loss "
        "that let it happen."
    ),
    minutes=25,
    steps=(
        Step(
            "sheets",
            "The same picture",
            "These generators learned from the same digits. Which one draws the same picture "
            "again and again?",
            (
                "The one of 1,669 weights",
                "The one of 88,193",
                "The one of 1,164,289",
                "None of them",
            ),
            "A generator makes a picture of noise, $x = G(z)$ with $z \\sim \\mathcal N(0, I)$, "
            "here 100 numbers. Pictures at the same place of the sheets come from the same $z$: "
            "what differs between the sheets is $G$ alone. In the smallest one all 100 numbers "
            "pass through **one** hidden unit before they become 784 pixels. That leaves a line "
            "of pictures to choose from, and training has shrunk even this line to a point. Many "
            "$z$, one picture: that is **mode collapse**. The generator of 88,193 weights is its "
            "healthy twin, with which it is compared from here on.",
        ),
        Step(
            "alike",
            "Count the different ones",
            "One sheet repeats itself. How many pictures of the other sheets repeat another "
            "one, or nearly?",
            ("None", "Some: up to a fifth of a sheet", "Many: more than a fifth"),
            "Two pictures count as one where they are nearer than real digits nearly ever are, "
            "$\\lVert x_i - x_j \\rVert < r$ over all 784 pixels. The radius $r$ is measured: "
            "below it, only the share of real digits that the slider says have any neighbour "
            "among 100. What a chain of such pairs joins is one group; the number under a picture "
            "is how many of the 100 are in its group. Move the slider to see how much hangs on "
            "it. Nobody has to look at 10,000 pictures to find a collapse: counting does.",
        ),
        Step(
            "classes",
            "Ask the judge",
            "A judge that knows ten digits, and nothing else, reads the pictures of the collapsed "
            "generator. How many different digits does it find?",
            ("One", "Two to five", "More than five"),
            "With $p_k$ the share of pictures read as digit $k$, one number sums up the bars:\n\n"
            "$$\nH = -\\sum_{k=0}^{9} p_k \\log p_k\n$$\n\n"
            "It is 0 where every picture is read as the same digit, and $\\log 10 = 2.303$ nats, "
            "or 3.32 bits, where all ten are as frequent. Look at the picture that was read, and "
            "at how sure the judge was: a classifier has to choose one of ten and cannot say "
            "“this is no digit”. That is why a histogram alone is not enough. **Coverage** asks "
            "from the other side: around what share of real digits, as far as their fifth "
            "neighbour, lies any picture at all?",
        ),
        Step(
            "drag",
            "Drag z",
            "All generators get the same z, and you drag it. How much of the collapsed "
            "one's picture changes?",
            ("Nothing that a screen can show", "Less than half of what its twin's does", "As much"),
            "A generator that ignores $z$ is a constant, $G(z) \\approx c$. To all $z$ the "
            "discriminator then sends back the same correction, "
            "$\\partial \\log D(x) / \\partial x$ at $x = c$: it says how to make this picture "
            "better, and it says so to every sample. The whole sheet moves together. A push that "
            "drives two samples apart would have to differ between them, but equal pictures get "
            "equal pushes: nothing here pulls a collapsed sheet apart.",
        ),
        Step(
            "epochs",
            "When did it fall?",
            "The weights after every epoch were kept. When did the pictures become one?",
            ("Before the first epoch ended", "Later", "Never quite"),
            "Diversity is the mean distance of two samples over that of two real digits: 1 is as "
            "different as real ones, 0 is all alike. This generator learns at 50 times the "
            "discriminator's rate (0.005 and 0.0001), and has one hidden unit to do it with. "
            "Against an opponent that hardly moves, the best it can do is to send every $z$ to "
            "the one picture that $D$ takes for the most real, $x^* = \\arg\\max_x D(x)$. When "
            "the discriminator has learned to refuse it, the generator moves on, with all of its "
            "samples at once: drag, and watch the picture change while it stays one (Goodfellow "
            "et al. 2014, section 6).",
        ),
        Step(
            "loss",
            "What the loss saw",
            "In these epochs all pictures became one. What did the generator's loss do?",
            ("It fell: the collapse was a gain", "It stayed as it was", "It rose"),
            "Written out for a batch, the generator's loss is a sum over pictures:\n\n"
            "$$\n\\mathcal L_G = -\\frac{1}{n} \\sum_{i=1}^{n} \\log D(G(z_i))\n$$\n\n"
            "Every $z_i$ stands in a term of its own, and no term holds two pictures. The loss "
            "tells the generator *how real* a picture looks, never *how different* two are: 100 "
            "copies pay exactly what one picture pays. So the loss says whether $D$ is fooled, "
            "not whether the samples differ, and its curve alone cannot show a collapse. Only "
            "a discriminator that keeps up can: the best one, $D^* = p / (p + q)$, is low where "
            "samples, $q$, pile up, and high where they are missing. Hence the cures: a smaller "
            "learning rate for $G$, several steps of $D$ for each of its own, as in a Wasserstein "
            "GAN, or a $D$ that sees whole batches.",
        ),
        Step(
            "scores",
            "What the scores see",
            "Three scores mark the collapsed generator. Which one is fooled, and gives it a "
            "better mark than it gives its healthy twin?",
            (*SCORES.values(), "None of them"),
            "Precision and coverage draw the same ball around every real digit $x_i$ in the "
            "judge's features, as far as its fifth neighbour, $r_i$:\n\n"
            "$$\n\\text{precision} = \\frac{1}{n} \\sum_{j} "
            "\\mathbf 1[\\exists i: \\lVert \\hat x_j - x_i \\rVert \\le r_i]\n$$\n\n"
            "$$\n\\text{coverage} = \\frac{1}{n} \\sum_{i} "
            "\\mathbf 1[\\exists j: \\lVert \\hat x_j - x_i \\rVert \\le r_i]\n$$\n\n"
            "Precision asks every **sample** whether it lies in any ball, and one good place does "
            "for all: copies of one digit get full marks. Odd digits have the widest balls, and "
            "may even take in what is no digit; with more real digits the balls shrink. Coverage "
            "asks every **ball** whether it holds a sample, so one place fills few. The Inception "
            "Score, $\\exp \\mathbb E_x \\mathrm{KL}(p(y|x) \\,\\Vert\\, p(y))$, is 1 where all "
            "pictures are read alike. It counts classes, not pictures: see what ten real digits "
            "get, one of each, copied over and over. Always read a score of quality "
            "beside one of variety.",
        ),
        Step(
            "open",
            "Now you",
            "Choose any two models of digits: which would you trust to draw all that people write?",
        ),
    ),
)
