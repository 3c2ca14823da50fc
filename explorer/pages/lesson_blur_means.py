"""The lesson on blur: draws of the code, means of neighbours, two images with one code."""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from explorer import catalog, resources
from explorer.lessons import Exhibit, Finding, copies
from explorer.lessons.blur import COUNTS, draws_answer, nearest_answer
from explorer.pages.lesson_charts import REAL, curves, with_real
from explorer.pages.lesson_images import (
    Subject,
    choose,
    copied,
    lacking,
    measured,
    row,
)
from explorer.pages.report_pictures import show_figures
from explorer.pictures import Pixels, to_pixels
from explorer.resources import AVERAGED

DRAWS, SHOWN = 100, 9
"""Draws that are averaged, and those of them that are shown."""
STARTED = 20
"""Images averaged at first."""


def blurred(about: Subject) -> str:
    """The VAE whose code is shortest: there the blur is plainest."""
    lacking(about, "mnist-dense-vae-h512-z2")
    name = copies.by_latent(about.cards)[0]
    st.caption(f"By {catalog.plain(about.cards[name].title)}.")
    return name


def draws(about: Subject) -> Exhibit:
    """Draws from the posterior of one image by the sharpest VAE, and their mean."""
    lacking(about, "mnist-dense-vae-h512-z10")
    names = copies.by_latent(about.cards)
    name = max(names, key=lambda name: resources.copied(name).share)
    st.caption(f"By {catalog.plain(about.cards[name].title)}, the sharpest of the first step.")
    image = choose(about.images, "Draw again")
    x = about.images.images([image])[0].float() / 255
    seed = st.session_state["seed"]
    z = copies.posterior(resources.trained(name), x, DRAWS, seed).numpy()
    drawn = resources.draw(name, z)
    shown = {"original": about.images.pixels(image), "copy": copied(name, image)}
    shown |= {f"draw {i + 1}": drawn[i] for i in range(SHOWN)}
    shown |= {f"mean of {DRAWS}": mean(copies.unit(drawn))}
    shares = measured("draw", shown)
    found = resources.copied(name)
    each = copies.share(found.draws.sharpness, found.originals.sharpness)
    words = (
        f"Over {found.draws.count:,} images, one draw of each is **{each:.2f}** times as sharp as "
        f"the originals, and the copy without noise {found.share:.2f}. Of the image above, the "
        f"draws shown have {shares[2:-1].mean():.2f} on average and the mean of {DRAWS} has "
        f"{shares[-1]:.2f}."
    )
    return Exhibit(Finding(draws_answer(found), words), row(shown))


def mean(images: torch.Tensor) -> Pixels:
    """The mean of images (n, C, H, W) in [0, 1], as it is shown: (H, W, C)."""
    return to_pixels(images.mean(0, keepdim=True).numpy())[0]


def nearest(about: Subject) -> Exhibit:
    """The mean of the real images with the nearest codes beside what the decoder draws."""
    name, image = blurred(about), choose(about.images)
    counts = tuple(k for k in COUNTS if k < len(about.images))
    k = st.select_slider(
        "Real images averaged", counts, min(STARTED, counts[-1]), key="lesson_averaged"
    )
    near = resources.neighbours_of(name, image, k)
    drawn = copied(name, image)
    shown = {
        "original": about.images.pixels(image),
        "decoder's picture": drawn,
        f"mean of {k} real": mean(near),
    }
    shown |= {f"neighbour {i + 1}": one for i, one in enumerate(_pixels(near[:3]))}
    measured("near", shown)
    _parts(near, copies.unit(drawn[None])[0])
    found = resources.copied(name)
    sharp = resources.averaged(name, counts) / found.originals.sharpness
    count = copies.reached(counts, sharp.tolist(), found.share)
    lines = {
        "mean of so many real images": (counts, sharp.tolist()),
        "the decoder": ((counts[0], counts[-1]), (found.share, found.share)),
    }
    chart = with_real(curves("real images averaged", REAL, lines))
    chart.update_xaxes(type="log", tickvals=counts, ticktext=counts)
    chart.add_vline(k, line={"dash": "dot", "width": 1.5})
    show_figures("lesson-blur-means", {f"Sharpness, mean over {AVERAGED} images": chart})
    many = f"about **{count:.0f}**" if np.isfinite(count) else f"more than **{counts[-1]}**"
    words = (
        f"The decoder's pictures are {found.share:.2f} times as sharp as real images. The mean of "
        f"{counts[1]} neighbours has {sharp[1]:.2f}, and of {many} it is as blurred as the "
        "decoder's."
    )
    table = [
        {"averaged": k, "sharpness": round(float(value), 3)}
        for k, value in zip(counts, sharp, strict=True)
    ]
    return Exhibit(Finding(nearest_answer(count), words), row(shown), table)


def _pixels(images: torch.Tensor) -> Pixels:
    return to_pixels(images.numpy())


def _parts(near: torch.Tensor, drawn: torch.Tensor) -> None:
    """The two parts of the squared error of one picture (C, H, W) for images (k, C, H, W)."""
    centre = near.mean(0)
    whole, bias, spread = (
        f"{value:.1f}"
        for value in (
            copies.loss(near, drawn),
            copies.loss(centre[None], drawn),
            copies.loss(near, centre),
        )
    )
    st.markdown(
        "The decoder's picture stands for all those images. Its squared error, with $m$ their "
        "mean, is\n\n"
        rf"$$\underbrace{{\mathbb E\lVert x-\hat x\rVert^2}}_{{{whole}}}="
        rf"\underbrace{{\lVert\hat x-m\rVert^2}}_{{{bias}}}+"
        rf"\underbrace{{\mathbb E\lVert x-m\rVert^2}}_{{{spread}}}$$"
        "\n\nThe first part is what the decoder could do better, the second what nobody can."
    )
