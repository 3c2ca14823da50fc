"""The lesson on blur: a GAN of equal size, and the open end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer import catalog, latent, resources, state
from explorer.lessons import Exhibit, Finding, copies
from explorer.lessons.blur import COUNTS, gan_answer
from explorer.pages import parts
from explorer.pages.lesson_blur_means import STARTED, mean
from explorer.pages.lesson_images import (
    LARGE,
    Subject,
    choose,
    copied,
    lacking,
    measured,
    read_as,
    row,
)
from explorer.pictures import Pixels
from training.checkpoint import Card
from training.scores import SCORES

SAMPLES = 12
DRAWS = 3
TOLD = ("sharpness", "confidence", "coverage")
"""Scores of a card that this step is about."""
REAL = "real images"
MEASURED_BY = "All this `latent-train evaluate` has measured, on samples of its own."
WIDEST = 3.0
"""Largest factor of the posterior's standard deviation."""


def against(about: Subject) -> Exhibit | None:
    """Samples of a VAE and of a GAN of equal size, as the judge reads them."""
    lacking(about, "mnist-mlp-vae", "mnist-mlp-gan")
    if (pair := copies.equal_size(about.cards)) is None:
        st.info("There is no unconditional GAN of these images here to compare with.")
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Draw others", on_click=state.randomise, icon=":material/refresh:")
        st.caption("Look for one of which the judge is sure and you are not.")
    pictures: dict[str, Pixels] = {}
    for name in pair:
        card = about.cards[name]
        parts.heading(f"{card.title}: {copies.size(card):,} parameters")
        drawn = samples(name, card, SAMPLES)
        read_row(name, card, drawn)
        pictures |= row({f"{card.title} {i + 1}": one for i, one in enumerate(drawn)})
    return _scored(about, pair, pictures)


def samples(name: str, card: Card, n: int) -> Pixels:
    """``n`` samples (n, H, W, C) of the session's seed."""
    return resources.draw(name, latent.noise(st.session_state["seed"], n, card.latent_dim))


def read_row(name: str, card: Card, drawn: Pixels) -> None:
    """Samples with what the judge reads in each, and how sure it is."""
    with st.container(horizontal=True, gap="xsmall"):
        for i, (image, words) in enumerate(zip(drawn, read_as(card, drawn), strict=True)):
            with st.container(width=LARGE):
                parts.show(st, image, words or "sample", f"{name}-{i}", most=LARGE)


def scored(cards: Mapping[str, Card]) -> dict[str, dict[str, float]]:
    """What ``latent-train evaluate`` found of models by name, and last of real images.

    Those that it has not judged are named on the page and left out.
    """
    found, real = {}, {}
    for name, card in cards.items():
        if card.scores and card.scores.values.keys() >= set(TOLD):
            found[name] = {score: card.scores.values[score] for score in TOLD}
            real |= {score: card.scores.real.get(score, 1.0) for score in TOLD}
        else:
            unscored(name, card)
    return found | ({REAL: real} if found else {})


def unscored(name: str, card: Card) -> None:
    """Say what scores a model."""
    st.info(
        f"{catalog.plain(card.title)} has not been scored: `latent-train evaluate "
        f"{resources.models().root / name}` does it, where the data set has a judge."
    )


def table_of(
    cards: Mapping[str, Card], found: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Scores as rows of a table."""
    return [
        {"of": cards[name].title if name in cards else name}
        | {SCORES[score].title: round(value, 3) for score, value in one.items()}
        for name, one in found.items()
    ]


def _scored(about: Subject, pair: tuple[str, str], pictures: dict[str, Pixels]) -> Exhibit:
    """What both were scored, and the exhibit of it."""
    cards = {name: about.cards[name] for name in pair}
    found = scored(cards)
    table = table_of(cards, found)
    if len(found) < len(pair) + 1:
        return Exhibit(None, pictures, table)
    vae, gan, real = found.values()
    words = (
        f"The VAE's samples are {vae['sharpness']:.2f} times as sharp as real images, the GAN's "
        f"**{gan['sharpness']:.2f}**. The judge is {vae['confidence']:.1%} sure of the VAE's on "
        f"average, **{gan['confidence']:.1%}** of the GAN's, {real['confidence']:.1%} of real "
        f"images. Near {vae['coverage']:.0%} of real images there is a sample of the VAE's, near "
        f"{gan['coverage']:.0%} one of the GAN's. {MEASURED_BY}"
    )
    return Exhibit(Finding(gan_answer(vae, gan), words), pictures, table)


def open_end(about: Subject) -> Exhibit:
    """Any image, any VAE, as much noise and as many neighbours as one likes."""
    names = [name for name in about.cards if resources.encodes(about.cards[name])]
    name = st.selectbox(
        "VAE", names, format_func=lambda name: about.cards[name].title, key="lesson_vae"
    )
    width = st.slider("Noise, times the encoder's own", 0.0, WIDEST, 1.0, 0.25, key="lesson_noise")
    counts = [k for k in COUNTS if k < len(about.images)]
    started = min(STARTED, counts[-1])
    k = st.select_slider("Real images averaged", counts, started, key="lesson_averaged")
    image = choose(about.images, "Draw again")
    x = about.images.images([image])[0].float() / 255
    seed = st.session_state["seed"]
    z = copies.posterior(resources.trained(name), x, DRAWS, seed, width).numpy()
    shown = {"original": about.images.pixels(image), "copy": copied(name, image)}
    shown |= {f"draw {i + 1}": one for i, one in enumerate(resources.draw(name, z))}
    shown |= {f"mean of {k} real": mean(resources.neighbours_of(name, image, k))}
    shares = measured("open", shown)
    words = (
        f"Of image {image:,}, the copy by {catalog.plain(about.cards[name].title)} is "
        f"**{shares[1]:.2f}** times as sharp as the original, a draw {shares[2:-1].mean():.2f}, "
        f"the mean of its {k} nearest real images {shares[-1]:.2f}."
    )
    return Exhibit(Finding(None, words), row(shown))
