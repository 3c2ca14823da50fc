"""The lesson on blur: sharpness by code and by width, and where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from explorer import resources
from explorer.lessons import Exhibit, Finding, Step, copies
from explorer.lessons.blur import sizes_answer, widths_answer
from explorer.lessons.copies import Copies
from explorer.pages import (
    lesson_blur_gan,
    lesson_blur_means,
    lesson_blur_pair,
    lesson_blur_spectrum,
)
from explorer.pages.lesson_charts import bars
from explorer.pages.lesson_images import (
    Subject,
    choose,
    copied,
    lacking,
    measured,
    row,
    subject,
)
from explorer.pages.report_pictures import show_figures
from explorer.pictures import Pixels


@dataclass(frozen=True)
class Series:
    """What a row of models makes of real images."""

    pictures: dict[str, Pixels]
    """The chosen image and its copies by caption, the original first."""
    found: dict[str, Copies]
    """The measure of many, by the name of the model."""


def show(step: Step) -> Exhibit | None:
    """Draw a step."""
    if (about := subject()) is None:
        return None
    if not copies.by_latent(about.cards):
        st.info("None of the VAEs of these images was trained with beta 1, as this lesson has it.")
        return None
    match step.name:
        case "sizes":
            return _sizes(about)
        case "widths":
            return _widths(about)
        case "spectrum":
            return lesson_blur_spectrum.spectrum(about)
        case "draws":
            return lesson_blur_means.draws(about)
        case "nearest":
            return lesson_blur_means.nearest(about)
        case "pair":
            return lesson_blur_pair.pair(about)
        case "gan":
            return lesson_blur_gan.against(about)
        case _:
            return lesson_blur_gan.open_end(about)


def _sizes(about: Subject) -> Exhibit | None:
    """One image copied by VAEs of several latent sizes."""
    lacking(
        about,
        *(f"mnist-dense-vae-h512-z{z}" for z in (2, 5, 10)),
        "mnist-mlp-vae",
        "mnist-linear-vae-z64",
    )
    names = copies.by_latent(about.cards)
    labels = {name: f"z = {about.cards[name].latent_dim}" for name in names}
    if (shown := _series(about, labels)) is None:
        return None
    found = shown.found
    best = max(found, key=lambda name: found[name].share)
    used = ", ".join(f"{one.used} of {len(one.kl)}" for one in found.values())
    words = (
        f"Sharpest are the copies with **{labels[best]}**: {_told(labels, found)}, where the "
        f"originals have 1. In use are {used} numbers."
    )
    answer = sizes_answer([one.share for one in found.values()])
    return _exhibit(about, labels, shown, Finding(answer, words))


def _widths(about: Subject) -> Exhibit | None:
    """One image copied by VAEs of several widths."""
    lacking(about, *(f"mnist-dense-vae-h{h}-z2" for h in (128, 256, 512)))
    names = copies.by_width(about.cards)
    labels = {name: f"h = {copies.width_of(about.cards[name])}" for name in names}
    if (shown := _series(about, labels)) is None:
        return None
    z = about.cards[names[0]].latent_dim
    words = (
        f"All with {z} latent numbers, by the width of the hidden layer: "
        f"{_told(labels, shown.found)}, where the originals have **1**."
    )
    answer = widths_answer([one.share for one in shown.found.values()])
    return _exhibit(about, labels, shown, Finding(answer, words))


def _series(about: Subject, labels: Mapping[str, str]) -> Series | None:
    """A chosen image as each model copies it, and the measure of many."""
    if len(labels) < 2:
        st.info("This step compares models: fewer than two that it could compare are here.")
        return None
    image = choose(about.images)
    pictures = {"original": about.images.pixels(image)}
    pictures |= {label: copied(name, image) for name, label in labels.items()}
    measured("copy", pictures)
    found = {name: resources.copied(name) for name in labels}
    real = next(iter(found.values())).originals
    chart = bars({labels[name]: one.means for name, one in found.items()}, real)
    show_figures("lesson-blur-sharpness", {f"Sharpness of {real.count:,} copies": chart})
    return Series(pictures, found)


def _told(labels: Mapping[str, str], found: Mapping[str, Copies]) -> str:
    return ", ".join(f"{one.share:.2f} with {labels[name]}" for name, one in found.items())


def _exhibit(about: Subject, labels: Mapping[str, str], shown: Series, finding: Finding) -> Exhibit:
    table = [
        {
            "VAE": about.cards[name].title,
            "": labels[name],
            "numbers in use": one.used,
            "sharpness": round(one.share, 3),
        }
        for name, one in shown.found.items()
    ]
    return Exhibit(finding, row(shown.pictures), table)
