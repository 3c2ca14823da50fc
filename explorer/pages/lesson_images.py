"""What several lessons share: the models and the image they are about, measured pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from explorer import catalog, pictures, resources, state
from explorer.components.thumbnails import thumbnails
from explorer.gallery import Gallery
from explorer.lessons import copies
from explorer.pages import parts
from explorer.pages.picks import SHOWN, THUMBNAIL
from explorer.pictures import Pixels
from training.checkpoint import Card

LARGE = 112
"""Pixels up to which a picture is enlarged, and across of what is told of it."""
FIRST = 4
"""Number of the image that is chosen at first: in MNIST a 4 that a short code makes a 9."""


@dataclass(frozen=True)
class Subject:
    """What a lesson is about."""

    cards: dict[str, Card]
    """Models of one data set, by name."""
    images: Gallery
    """Its real images."""


def subject() -> Subject | None:
    """The data set of the chosen model, else of the first VAE whose real images are here."""
    found = resources.models().trained
    for name in (st.session_state["model"], *found):
        if name in found and resources.encodes(found[name]):
            images = resources.real_images(found[name])
            assert images, "what encodes has images"
            return Subject(copies.alike(found, found[name]), images)
    st.info(
        "There is no VAE here whose real images are on this computer. "
        "`latent-train fit mnist-dense-vae-h512-z2` trains one on MNIST."
    )
    return None


def lacking(about: Subject, *recipes: str) -> None:
    """Say which models of MNIST this step would also show, and what trains them."""
    absent = [name for name in recipes if name not in about.cards]
    if absent and next(iter(about.cards.values())).dataset == "mnist":
        commands = ", ".join(f"`latent-train fit {name}`" for name in absent)
        st.info(f"Not in the checkpoints folder, and so not shown here: {commands} trains it.")


def choose(images: Gallery, again: str = "") -> int:
    """Number of the image that a step is about, and ways to another one.

    A button ``again``, where it has a name, draws another seed.
    """
    chosen, classes = selected(images), images.data.classes
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Choose an image", icon=":material/image:"):
            label = st.segmented_control(
                "Class",
                range(len(classes)),
                format_func=lambda c: catalog.plain(classes[c]),
                default=0,
                required=True,
                key="lesson_class",
            )
            some = images.of_class(label or 0)[:SHOWN]
            if len(some):
                thumbnails(
                    f"lesson_images_{label}",
                    pictures.reduced(np.stack([images.pixels(i) for i in some]), THUMBNAIL),
                    [f"{images.source}-{i}" for i in some],
                    [f"{classes[label or 0]}, number {i}" for i in some],
                    settled=lambda reference: st.session_state.update(selected=reference),
                )
        st.button(
            "At random",
            on_click=state.select_any,
            args=(images.source, len(images)),
            icon=":material/casino:",
        )
        if again:
            st.button(again, on_click=state.randomise, icon=":material/refresh:")
        named = classes[int(images.data.labels[chosen])]
        st.caption(f"Image {chosen:,}, a real {catalog.plain(named)}.")
    return chosen


def selected(images: Gallery) -> int:
    """Number of the image that is chosen; `FIRST` where none of these is."""
    chosen = state.selected(images.source, len(images))
    return min(FIRST, len(images) - 1) if chosen is None else chosen


def copied(name: str, image: int) -> Pixels:
    """What a VAE makes of a real image: (H, W, C), from the mean of its posterior."""
    return resources.draw(name, resources.codes(name)[0][[image]])[0]


def read_as(card: Card, drawn: Pixels) -> list[str]:
    """What the judge reads in pictures (n, H, W, C) and how sure it is; no words without one."""
    if (judge := resources.judge(card)) is None:
        return [""] * len(drawn)
    sure = resources.reading(judge, drawn).logits.softmax(1)
    return [f"{card.classes[int(one.argmax())]}, {float(one.max()):.0%} sure" for one in sure]


def measured(
    key: str, shown: Mapping[str, Pixels], of: float | None = None
) -> NDArray[np.floating]:
    """Draw pictures (H, W, C) by caption with their sharpness, a number and a bar.

    As a share of ``of``, or of the first picture's; returns the shares (n,).
    """
    sharp = copies.sharpness_of(np.stack(list(shown.values())))
    shares = sharp / max(float(sharp[0]) if of is None else of, 1e-12)
    with st.container(horizontal=True, gap="xsmall"):
        for i, (caption, image) in enumerate(shown.items()):
            with st.container(width=LARGE, gap="xsmall", key=f"measured-{key}-{i}"):
                parts.show(st, image, caption, f"{key}-{i}", most=LARGE)
                st.progress(min(float(shares[i]), 1.0), text=f"Sharpness {shares[i]:.2f}")
    return shares


def row(shown: Mapping[str, Pixels]) -> dict[str, Pixels]:
    """Pictures by caption as one picture, for a handout."""
    return {" · ".join(shown): pictures.row(np.stack(list(shown.values())))}
