"""Why what a VAE draws is blurred: sharpness by code and width, spectra, draws, means, a GAN.

Sharpness is the variance of the Laplacian, told as a share of that of real images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explorer.lessons import Lesson, Step
from explorer.lessons.copies import SIMILAR, Copies, Look, differ, place, share
from training.metrics import HIGH_FREQUENCY

SHARP = 0.85
"""Share of real images' sharpness from which images are called as sharp as real ones."""
COARSE = 0.1
"""Cycles per pixel up to which a frequency is coarse: waves of ten pixels and longer."""
BANDS = {
    "coarse": (0.0, COARSE),
    "middle": (COARSE, HIGH_FREQUENCY),
    "fine": (HIGH_FREQUENCY, 1.0),
}
"""Frequencies above and up to which, in cycles per pixel, by name; the mean brightness is none."""
COUNTS = (1, 2, 3, 5, 10, 20, 50, 100, 200)
"""How many real images are averaged."""
FEW, MANY = 5, 30
"""Images below which, and above which, the options are."""
MIXES = tuple(i / 10 for i in range(11))
"""How much of the second of two images is in a mixture."""

LESSON = Lesson(
    "blur",
    "Why is what a VAE draws blurred?",
    "The same image copied by VAEs of several sizes, each copy measured against the original; "
    "then the loss that wants it so, and a GAN that has another.",
    35,
    (
        Step(
            "sizes",
            "A longer code",
            "Which VAE copies an image most sharply?",
            ("The one with the shortest code", "One in between", "The one with the longest code"),
            "The decoder knows an image only by its code. Images that share a code get one and "
            "the same picture, and the picture that suits them all is blurred. A longer code "
            "tells more of them apart, but only with the numbers that are **in use**: the loss\n\n"
            r"$$\mathcal L=\underbrace{-\,\mathbb E_{q(z|x)}\log p(x|z)}_{\text{reconstruction}}"
            r"+\underbrace{\mathrm{KL}\big(q(z|x)\,\|\,p(z)\big)}_{\text{price of the code}}$$"
            "\n\ncharges for every number that says something. One that does not earn its price "
            "is switched off in training, however many there are. (Models of other reports differ "
            "in more than their code: in layers, epochs, and in how they measure the "
            "reconstruction.)",
        ),
        Step(
            "widths",
            "A wider network",
            "Does a wider network cure the blur?",
            (
                "Yes, its copies are as sharp as the originals",
                "It helps a little",
                "No, it changes nothing",
            ),
            "A wider decoder computes more exactly which picture suits all images with this code. "
            "It cannot know which of them went in: that is not in the code. What is missing is "
            "not computing power but information.",
        ),
        Step(
            "spectrum",
            "Where sharpness goes",
            "Which part of an image does a VAE lose most?",
            ("The coarse shapes", "The fine detail", "Both alike"),
            "Images with one code agree about the coarse shape and disagree about where exactly "
            "an edge runs. Averaging keeps what they agree on and cancels the rest. And it costs "
            "little: squared error is the sum over all frequencies of the power of the "
            "difference (Parseval),\n\n"
            r"$$\lVert x-\hat x\rVert^2=\sum_f\lvert X_f-\hat X_f\rvert^2,$$"
            "\n\nand the finest frequencies have the least power. A GAN's discriminator looks for "
            "whatever gives a picture away, and missing detail does.",
        ),
        Step(
            "draws",
            "Is it the noise?",
            "A VAE draws its code at random: is it this noise that blurs?",
            (
                "Yes, each single draw is sharp",
                "No, each draw is as blurred as the copy",
                "Each draw is even more blurred",
            ),
            r"A draw is another code, $z=\mu+\sigma\varepsilon$, near the first. But for *each* "
            r"code the decoder answers with $\hat x=\mathbb E[x\,|\,z]$, for every pixel the mean "
            "of all that it might be. The mean of many draws is a little smoother still: averaging "
            "never sharpens. The blur is made in the last step, not by the noise.",
        ),
        Step(
            "nearest",
            "A mean of neighbours",
            "How many real images must be averaged to be as blurred as the decoder's picture?",
            (f"Fewer than {FEW}", f"{FEW} to {MANY}", f"More than {MANY}"),
            r"For images $x$ with mean $m=\mathbb E[x]$ and any one picture $\hat x$,"
            "\n\n"
            r"$$\mathbb E\lVert x-\hat x\rVert^2=\lVert\hat x-m\rVert^2"
            r"+\mathbb E\lVert x-m\rVert^2.$$"
            "\n\nThe second part no picture can change; the first is 0 for the mean alone. "
            r"Cross-entropy, $-\,\mathbb E[x\log\hat x+(1-x)\log(1-\hat x)]$, is least there too. "
            "So the best that a decoder can do is to draw the mean of the images that share a "
            "code: a blurred picture is what a perfect one looks like.",
        ),
        Step(
            "pair",
            "Two images, one code",
            "Two different images have almost one code: which picture loses least?",
            ("The first of them", "A mixture of both", "The second of them"),
            r"With a picture $\hat x$ for both images $a$ and $b$, and $m=(a+b)/2$,"
            "\n\n"
            r"$$\tfrac12\lVert a-\hat x\rVert^2+\tfrac12\lVert b-\hat x\rVert^2"
            r"=\lVert\hat x-m\rVert^2+\tfrac14\lVert a-b\rVert^2.$$"
            "\n\nWhoever draws one of them is right half the time and pays twice as much as "
            "for the blurred mixture, which is never right.",
        ),
        Step(
            "gan",
            "A GAN of equal size",
            "A GAN with as many parameters: is it sharper, and can its pictures be read?",
            (
                "It is not sharper",
                "Sharper, but harder to read",
                "Sharper, and as easy to read or easier",
            ),
            "The generator is never compared with one particular image. The discriminator "
            r"$D$ asks only whether a picture could be real, and the generator wants"
            "\n\n"
            r"$$\min_G\;-\,\mathbb E_z\log D(G(z)).$$"
            "\n\nA mean of two images is not among the real ones: it is found out at once, and so "
            "the generator has to decide. But nothing in this loss makes it draw *all* images, "
            "which is why coverage is measured too; and it has no encoder: it copies nothing.",
        ),
        Step("open", "Now you", "Which image do VAEs copy best, and which worst?"),
    ),
)


def sizes_answer(shares: Sequence[float]) -> int:
    """The option that sharpness by code, the shortest first, bears out."""
    return place(shares)


def widths_answer(shares: Sequence[float]) -> int:
    """The option that sharpness by width, the narrowest first, bears out."""
    if shares[-1] >= SHARP:
        return 0
    return 1 if differ(shares[0], shares[-1]) > 0 else 2


def kept(look: Look, real: Look) -> dict[str, float]:
    """Share of the power of real images that others have, by band."""
    return {name: share(look.band(*band), real.band(*band)) for name, band in BANDS.items()}


def spectrum_answer(parts: Mapping[str, float]) -> int:
    """The option that the parts of the power kept bear out."""
    return {-1: 1, 0: 2, 1: 0}[differ(parts["coarse"], parts["fine"])]


def draws_answer(copies: Copies) -> int:
    """The option that draws of the code bear out, beside copies by its mean."""
    if share(copies.draws.sharpness, copies.originals.sharpness) >= SHARP:
        return 0
    return 2 if differ(copies.means.sharpness, copies.draws.sharpness) < 0 else 1


def nearest_answer(count: float) -> int:
    """The option that a count of averaged images bears out."""
    return 0 if count < FEW else 1 if count <= MANY else 2


def pair_answer(losses: Sequence[float]) -> int:
    """The option that the losses of `MIXES` bear out."""
    return place([-loss for loss in losses])


def gan_answer(vae: Mapping[str, float], gan: Mapping[str, float]) -> int:
    """The option that the scores of a card's samples bear out (see `training.scores`)."""
    if gan["sharpness"] <= vae["sharpness"] * (1 + SIMILAR):
        return 0
    return 2 if gan["confidence"] >= vae["confidence"] else 1
