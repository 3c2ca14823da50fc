"""The lesson on blur: at which frequencies sharpness is lost."""

from __future__ import annotations

import streamlit as st

from explorer import catalog, resources
from explorer.lessons import Exhibit, Finding, copies
from explorer.lessons.blur import BANDS, COARSE, kept, spectrum_answer
from explorer.pages.lesson_charts import curves
from explorer.pages.lesson_images import Subject, lacking
from explorer.pages.report_pictures import show_figures
from training.metrics import HIGH_FREQUENCY

ACROSS = 0.5
"""Cycles per pixel up to which spectra are drawn: the finest wave along a side."""


def spectrum(about: Subject) -> Exhibit:
    """The power of real images, copies and a GAN's samples, by frequency."""
    lacking(about, "mnist-dense-vae-h512-z2", "mnist-mlp-gan")
    names, pair = copies.by_latent(about.cards), copies.equal_size(about.cards)
    found = {name: resources.copied(name) for name in names}
    blurred = names[0]
    sharpest = max(found, key=lambda name: found[name].share)
    real = found[blurred].originals
    looks = {"real": real}
    looks |= {about.cards[name].title: found[name].means for name in (blurred, sharpest)}
    if pair:
        looks[about.cards[pair[1]].title] = resources.samples_look(pair[1])
    lines = {}
    for name, look in looks.items():
        drawn = (look.frequencies > 0) & (look.frequencies <= ACROSS)
        lines[name] = look.frequencies[drawn].tolist(), look.spectrum[drawn].tolist()
    chart = curves("cycles per pixel", "power", lines)
    chart.update_yaxes(type="log", exponentformat="power", dtick=1)
    show_figures("lesson-blur-spectrum", {f"Power spectrum, mean of {real.count:,} images": chart})
    parts = {name: kept(look, real) for name, look in looks.items() if name != "real"}
    st.caption(
        f"Coarse is up to {COARSE} cycles per pixel, fine above {HIGH_FREQUENCY}: waves longer "
        "than ten pixels, and shorter than four. Hover for numbers."
    )
    lost = parts[about.cards[blurred].title]
    fine = copies.share(real.band(*BANDS["fine"]), real.band(0, 1))
    words = (
        f"The copies of {catalog.plain(about.cards[blurred].title)} keep {lost['coarse']:.0%} of "
        f"the coarse power of the originals and **{lost['fine']:.0%}** of the fine, to which only "
        f"{fine:.1%} of their power belongs."
    )
    if pair:
        gan = parts[about.cards[pair[1]].title]
        words += f" The GAN's samples have {gan['coarse']:.0%} and {gan['fine']:.0%}."
    table = [
        {"of": name} | {band: f"{value:.1%}" for band, value in one.items()}
        for name, one in parts.items()
    ]
    return Exhibit(Finding(spectrum_answer(lost), words), table=table)
