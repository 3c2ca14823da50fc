"""The lesson on the latent space: copies through few numbers, and samples beside real images."""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from explorer import compare, pictures, resources, state
from explorer.lessons import Exhibit, Finding
from explorer.lessons.space import new_answer, size_answer
from explorer.pages import parts
from explorer.pages.lesson_blur_gan import samples, unscored
from explorer.pages.lesson_charts import several
from explorer.pages.lesson_images import LARGE, choose, copied, read_as, row
from explorer.pages.lesson_space_map import Space, table, unread
from explorer.pages.report_pictures import show_figures

SAMPLES = 7


def size(space: Space) -> Exhibit:
    """One image copied through more and more numbers, and what the judge reads in the copies."""
    image = choose(space.about.images)
    shown = {"original": space.about.images.pixels(image)}
    shown |= {_numbers(space, name): copied(name, image) for name in space.others}
    read = read_as(space.card, np.stack(list(shown.values())))
    with st.container(horizontal=True, gap="xsmall"):
        for i, ((of, one), words) in enumerate(zip(shown.items(), read, strict=True)):
            with st.container(width=LARGE):
                parts.show(st, one, f"{of}: {words}" if words else of, f"copy-{i}", most=LARGE)
    found = {name: resources.surveyed(name).readings for name in space.others}
    kept = {name: one.kept for name, one in found.items() if one}
    if len(kept) < len(found):
        unread()
        return Exhibit(None, row(shown))
    bars = {_numbers(space, name): value for name, value in kept.items()}
    told = {"copies": [f"{value:.0%}" for value in kept.values()]}
    chart = several({"copies": bars}, "share read as their original is", told)
    chart.update_yaxes(range=[0, 1.1], tickformat=".0%")
    show_figures("lesson-space-kept", {"Copies that still show their class": chart})
    fewest, *more = [f"{value:.0%} with {at}" for at, value in bars.items()]
    words = ", ".join([f"Read as what their original shows are **{fewest}**", *more]) + "."
    finding = Finding(size_answer(kept[space.name]), words)
    return Exhibit(finding, row(shown), table(space, space.others))


def new(space: Space) -> Exhibit:
    """Samples, and under each the real image most like it."""
    real = resources.measured_images(space.card)
    st.caption(
        "Above what the decoder draws from a code at random; below the one most like it, pixel by "
        f"pixel, of {len(real):,} real images at hand."
    )
    st.button("Draw others", on_click=state.randomise, icon=":material/refresh:")
    drawn = samples(space.name, space.card, SAMPLES)
    alike = _most_alike(real, drawn)
    with st.container(horizontal=True, gap="xsmall"):
        for i, (sample, one) in enumerate(zip(drawn, alike, strict=True)):
            with st.container(width=LARGE):
                parts.show(st, sample, "sample", f"sample-{i}", most=LARGE)
                parts.show(st, one, "most alike", f"most-alike-{i}", most=LARGE)
    shown = {"samples": pictures.row(drawn), "real images most like them": pictures.row(alike)}
    distance = space.card.scores and space.card.scores.values.get("nearest_training")
    if distance is None:
        unscored(space.name, space.card)
        return Exhibit(None, shown)
    words = (
        f"From a sample to the nearest image of the training set it is **{distance:.2f}** times as "
        "far as from an image of the test set, which was not learnt either. "
        "`latent-train evaluate` has measured it. Blur makes the distance smaller too."
    )
    return Exhibit(Finding(new_answer(distance), words), shown)


def _most_alike(real: torch.Tensor, drawn: pictures.Pixels) -> pictures.Pixels:
    """For each of drawn (n, H, W, C) the one of real images (m, C, H, W) most like it."""
    found = compare.most_alike([torch.from_numpy(drawn).permute(0, 3, 1, 2)], real)
    return pictures.to_pixels(real[torch.from_numpy(found)].numpy())


def _numbers(space: Space, name: str) -> str:
    return f"z = {space.about.cards[name].latent_dim}"
