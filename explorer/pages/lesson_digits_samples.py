"""What the lesson on digits looks at: samples of its models, real digits, a judge's readings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer import pictures, resources
from explorer.gallery import Gallery
from explorer.lessons import digits
from explorer.pictures import Pixels
from training.checkpoint import Card
from training.data import MNIST_SHAPE
from training.judge import Reading

REAL = "Real digits"


def cast() -> dict[str, Card]:
    """The models of the lesson that are here, in its order; says how to train those that are not.

    R1's deeper one comes last, where it was trained.
    """
    found = resources.models().trained
    for name in digits.CAST:
        if name not in found:
            st.info(f"One model of this lesson is not here. Train it: `latent-train fit {name}`.")
    return {name: found[name] for name in (*digits.CAST, digits.DEEPER) if name in found}


def about_deeper() -> None:
    """What its report says of R1's deeper DCGAN; where it is not here, how to have it."""
    said = "R1's deeper DCGAN collapsed too, its report says"
    if digits.DEEPER in resources.models().trained:
        st.caption(f"{said}. See and measure whether the one that was trained here has.")
    else:
        st.caption(
            f"{said}. To see and measure it beside these, train it: "
            f"`latent-train fit {digits.DEEPER}`."
        )


def drawn(name: str, n: int = digits.SHEET) -> Pixels:
    """The first ``n`` pictures of a model from the page's seed (n, H, W, C)."""
    return np.concatenate(_parts(name, n))


def read(name: str, n: int) -> Reading:
    """A judge's reading of the same."""
    return reading(_parts(name, n))


def _parts(name: str, n: int) -> list[Pixels]:
    """The same, a sheet at a time: so that more pictures cost what is new in them."""
    seed = st.session_state["seed"]
    z, weights = digits.noise(resources.models().cards[name], seed, n)
    starts = range(0, n, digits.SHEET)
    slices = [slice(start, start + digits.SHEET) for start in starts]
    return [resources.draw(name, z[i], None if weights is None else weights[i]) for i in slices]


def reading(parts: Iterable[Pixels]) -> Reading:
    """A judge's reading of digits (n, H, W, C), some at a time."""
    judge = resources.judge(_card())
    assert judge, "steps with a judge are shown where there is one"
    return Reading.joined([resources.reading(judge, part) for part in parts])


def ready() -> bool:
    """Whether a judge of digits and enough real ones are here; says what to do where they are not.

    There has to be a model of digits.
    """
    judge, images = resources.judge(_card()), _gallery()
    if judge is None:
        st.info("No judge of digits is here. Train it: `latent-train fit mnist-judge`.")
        return False
    if images.data.classes != judge.card.classes or len(images) < digits.REAL:
        st.info(
            "This lesson looks at real digits, and the data folder holds pictures of your own: "
            "start the app with another folder, by `--data`."
        )
        return False
    return True


def real(first: int, n: int) -> Pixels:
    """Real digits (n, H, W, C) from place ``first`` of a shuffle that is always the same."""
    images = _gallery().images(_shuffled()[first : first + n].tolist())
    return images.permute(0, 2, 3, 1).numpy()


def read_real(first: int, n: int) -> Reading:
    """A judge's reading of the same."""
    sheets = range(first, first + n, digits.SHEET)
    return reading([real(i, min(digits.SHEET, first + n - i)) for i in sheets])


def typical(beyond: int) -> Pixels:
    """A typical real digit of each class (10, H, W, C), not among the first ``beyond``."""
    some = _shuffled()[beyond : beyond + digits.REAL]
    rows, labels = digits.flat(real(beyond, len(some))), _gallery().data.labels[some.tolist()]
    found = [digits.typical(rows, labels, label) for label in range(10)]
    return np.concatenate([real(beyond + i, 1) for i in found])


def nearness(n: int, percent: float) -> float:
    """The distance within which ``percent`` of real digits have a neighbour among ``n``."""
    return digits.nearness(digits.flat(real(0, digits.REAL)), n, percent)


def different(images: Pixels, near: float) -> int:
    """How many of the pictures (n, H, W, C) are left when near-duplicates count once."""
    return len(digits.groups(digits.flat(images), near))


def sheet(images: Pixels) -> Pixels:
    """Up to `SHEET` pictures (n, H, W, C) in whole rows, as one."""
    whole = len(images[: digits.SHEET]) // digits.COLUMNS * digits.COLUMNS
    return pictures.sheet(images[:whole], digits.COLUMNS)


def _shuffled() -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(len(_gallery()))


def _gallery() -> Gallery:
    images = resources.real_images(_card())
    assert images, "of digits there always are some"
    return images


def _card() -> Card:
    """Any model of digits: all of them have the same classes, real images and judge."""
    return next(iter(cards().values()))


def cards() -> dict[str, Card]:
    """Every model here that draws MNIST's digits."""
    return {
        name: card
        for name, card in resources.models().trained.items()
        if card.recipe.dataset == "mnist" and card.image_shape == MNIST_SHAPE
    }
