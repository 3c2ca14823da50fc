"""The lesson on the latent space: from one code to another, and far outside all of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import latent, pictures, resources, state
from explorer.components.strip import strip
from explorer.lessons import Exhibit, Finding, copies
from explorer.lessons.space import between_answer, outside_answer
from explorer.lessons.survey import FAR
from explorer.pages import parts
from explorer.pages.lesson_images import choose, read_as
from explorer.pages.lesson_space_map import Space, space_map, table, unread

FRAMES = 9


def between(space: Space) -> Exhibit:
    """From the code of one real image to that of another, beside a cross-fade of both."""
    images = space.about.images
    a = choose(images, "Walk to another image")
    others = np.flatnonzero(images.data.labels.numpy() != int(images.data.labels[a]))
    if not len(others):
        st.info("All images here are of one class: there is none to walk to.")
        return Exhibit()
    b = int(np.random.default_rng(st.session_state["seed"]).choice(others))
    shares = np.linspace(0, 1, FRAMES + 2)  # as wide as the strip with both originals
    both = images.images([a, b]).float() / 255
    mixed = copies.mixtures(both[0], both[1], shares.tolist())
    faded = pictures.row(pictures.to_pixels(mixed.numpy()))
    parts.picture(st, faded, "cross-fade: the pixels of both mixed", "Cross-fade of the pixels")
    codes = resources.codes(space.name)[0][[a, b]]
    _strip(space, "between", codes[0], codes[1], (images.pixels(a), images.pixels(b)))
    if resources.planes(space.name)[0] == "latent":
        st.caption("The same walk on the map: what is drawn is what lies on the way.")
        space_map(space, [codes])
    found = resources.surveyed(space.name).readings
    drawn = _drawn(space, codes[0], codes[1])
    shown = {"walk through the codes": drawn, "cross-fade of the pixels": faded}
    if found is None:
        unread()
        return Exhibit(None, shown)
    words = (
        f"Half way between images of different classes the judge reads a class of neither in "
        f"**{found.third:.0%}**, and is {found.half_sure:.0%} sure on average"
        f"{_by_size(space)}."
    )
    told = dict.fromkeys((space.name, space.others[-1]))
    return Exhibit(Finding(between_answer(found), words), shown, table(space, list(told)))


def _by_size(space: Space) -> str:
    """The same with the most numbers, where there are more."""
    most = space.others[-1]
    found = resources.surveyed(most).readings
    if most == space.name or found is None:
        return ""
    numbers = f"{space.about.cards[most].latent_dim} numbers"
    return f"; with {numbers} instead of {space.card.latent_dim} in {found.third:.0%}"


def outside(space: Space) -> Exhibit:
    """From 0 outwards, past all codes."""
    survey = resources.surveyed(space.name)
    direction = latent.sample_z(st.session_state["seed"], space.card.latent_dim)
    end = (FAR * survey.rim / np.linalg.norm(direction) * direction).astype(np.float32)
    st.caption(
        f"From 0 outwards to a length of {FAR * survey.rim:.1f}: the farthest code of "
        f"{survey.count:,} real images is {survey.rim:.1f} from 0. The number and the bar under a "
        "picture count the real images whose code is near."
    )
    st.button("Another direction", on_click=state.randomise, icon=":material/explore:")
    start = np.zeros_like(end)
    _strip(space, "outside", start, end)
    shown = {f"from 0 outwards to |z| = {FAR * survey.rim:.1f}": _drawn(space, start, end)}
    if (found := survey.readings) is None:
        unread()
        return Exhibit(None, shown)
    words = (
        f"In {found.count:,} directions, {FAR:g} times as far out as the farthest code, pictures "
        f"are {found.outside_light:.2f} times as bright as real images, and the judge is "
        f"**{found.outside_sure:.0%}** sure of its reading, on average; of real images "
        f"{found.real_sure:.1%}."
    )
    return Exhibit(Finding(outside_answer(found), words), shown)


def _strip(
    space: Space,
    key: str,
    a: latent.Array,
    b: latent.Array,
    originals: tuple[pictures.Pixels | None, pictures.Pixels | None] = (None, None),
) -> None:
    """A straight walk, with what the judge reads and how many real codes are near."""
    frames = latent.path("linear", a, b, FRAMES)
    near = resources.code_index(space.name).density(frames)
    lengths = [f"|z| {length:.1f}" for length in np.linalg.norm(frames, axis=1)]
    read = read_as(space.card, resources.draw(space.name, frames))
    strip(
        f"space_{key}",
        space.data,
        frames=FRAMES,
        path=latent.path("linear", a, b, latent.FINE),
        near=near.tolist(),
        labels=[one or length for one, length in zip(read, lengths, strict=True)],
        originals=originals,
        settled=lambda at: None,
    )


def _drawn(space: Space, a: latent.Array, b: latent.Array) -> pictures.Pixels:
    """The walk as one picture, for the handout."""
    return pictures.row(resources.draw(space.name, latent.path("linear", a, b, FRAMES)))
