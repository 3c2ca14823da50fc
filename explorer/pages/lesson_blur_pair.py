"""The lesson on blur: two images with one code, and what suits both."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import resources
from explorer.lessons import Exhibit, Finding, copies
from explorer.lessons.blur import MIXES, pair_answer
from explorer.pages.lesson_blur_means import blurred
from explorer.pages.lesson_charts import REAL, curves
from explorer.pages.lesson_images import Subject, measured, row
from explorer.pages.report_pictures import show_figures
from explorer.pictures import to_pixels
from training import metrics


def pair(about: Subject) -> Exhibit | None:
    """Two images of different classes that have almost one code."""
    name = blurred(about)
    if (found := resources.closest_pair(name)) is None:
        st.info("Among the neighbours of the first images, none is of another class.")
        return None
    mixed = st.slider("How much of the second image", 0.0, 1.0, 0.0, 0.1, key="lesson_mixed")
    both = about.images.images(found).float() / 255
    mixtures = copies.mixtures(both[0], both[1], MIXES)
    codes = resources.trained(name).encode(both)[0].numpy()  # an atlas has them rounded
    drawn = resources.draw(name, codes.mean(0, keepdims=True))[0]
    first, second = (_class(about, one) for one in found)
    at = round(mixed * (len(MIXES) - 1))
    shown = {
        f"first, a real {first}": about.images.pixels(found[0]),
        f"second, a real {second}": about.images.pixels(found[1]),
        f"{mixed:.0%} of the second": to_pixels(mixtures[[at]].numpy())[0],
        "decoder's picture": drawn,
    }
    real = resources.copied(name).originals.sharpness
    measured("pair", shown, real)
    losses = [copies.loss(both, one) for one in mixtures]
    sharp = (metrics.sharpness(mixtures) / real).tolist()
    _mixed_curves(mixed, losses, sharp)
    least = int(np.argmin(losses))
    words = (
        f"Their codes are {np.linalg.norm(codes[0] - codes[1]):.1g} apart. Either image for both "
        f"loses {losses[0]:.1f} on average, the mixture with {MIXES[least]:.0%} of the second "
        f"**{losses[least]:.1f}**, at {sharp[least]:.2f} of the sharpness of real images. The "
        f"decoder's picture loses {copies.loss(both, copies.unit(drawn[None])[0]):.1f}: more "
        "images than these two have a code like theirs."
    )
    return Exhibit(Finding(pair_answer(losses), words), row(shown))


def _class(about: Subject, image: int) -> str:
    return about.images.data.classes[int(about.images.data.labels[image])]


def _mixed_curves(mixed: float, losses: list[float], sharp: list[float]) -> None:
    """What mixtures lose and how sharp they are, and where the chosen one is."""
    across = "share of the second image"
    charts = {
        "Squared error, mean over both images": curves(
            across, "squared error", {"mixture": (MIXES, losses)}
        ),
        "Sharpness": curves(across, REAL, {"mixture": (MIXES, sharp)}),
    }
    for chart in charts.values():
        chart.update_yaxes(rangemode="tozero")
        chart.add_vline(mixed, line={"dash": "dot", "width": 1.5})
    show_figures("lesson-blur-pair", charts)
