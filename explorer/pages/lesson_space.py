"""The lesson on the latent space: the map of codes, and one number of them."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from explorer import catalog, pictures, resources, state
from explorer.components.picture import picture
from explorer.components.slider_bank import slider_bank
from explorer.latent import REACH
from explorer.lessons import Exhibit, Finding, Step, copies
from explorer.lessons.space import codes_answer, number_answer
from explorer.lessons.survey import NEIGHBOURS, STEPS, WALKS
from explorer.pages import lesson_space_copies, lesson_space_walks, slider_rows
from explorer.pages.lesson_images import lacking, read_as, subject
from explorer.pages.lesson_space_map import Space, space_map, table
from explorer.pages.pinned import pinned

FRAMES = 7
"""Pictures of a walk that the handout has."""


def show(step: Step) -> Exhibit | None:
    """Draw a step."""
    if (about := subject()) is None:
        return None
    if not (names := copies.by_latent(about.cards)):
        st.info(
            "None of the VAEs of these images was trained with beta 1, as this lesson has it: "
            "`latent-train fit mnist-dense-vae-h512-z2` trains one, or choose another model on the "
            "**Models** page."
        )
        return None
    lacking(about, *(f"mnist-dense-vae-h512-z{z}" for z in (2, 5, 10)))
    space = Space(about, names[0], names)
    match step.name:
        case "codes":
            return _codes(space)
        case "number":
            return _number(space)
        case "between":
            return lesson_space_walks.between(space)
        case "outside":
            return lesson_space_walks.outside(space)
        case "size":
            return lesson_space_copies.size(space)
        case "new":
            return lesson_space_copies.new(space)
        case _:
            return _open_end(space)


def _codes(space: Space) -> Exhibit:
    """The map of codes, coloured by class."""
    st.caption(
        f"Each mark is a real image, where the encoder of {catalog.plain(space.card.title)} puts "
        "its code; its colour is its class. Point anywhere to see what the decoder draws there."
    )
    space_map(space)
    found = resources.surveyed(space.name)
    words = (
        f"Of the {NEIGHBOURS} codes nearest to a code, **{found.alike:.0%}** are of its own class, "
        f"mean over {found.count:,} images; of {NEIGHBOURS} taken at random it would be "
        f"{found.chance:.0%}."
    )
    answer = codes_answer(found.alike, found.chance, found.spread)
    return Exhibit(Finding(answer, words), table=table(space, [space.name]))


def _number(space: Space) -> Exhibit:
    """A slider for each number of the code."""
    st.caption(
        f"The code of {catalog.plain(space.card.title)} has {space.card.latent_dim} numbers. Drag "
        "one, slowly; under it is what it will draw on its way."
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        rows = slider_rows.plain(space.card, REACH)
        settled = partial(state.settle, space.name)
        slider_bank("space_bank", space.data, rows=rows, settled=settled)
    with right:
        with pinned():
            picture("space_number", space.data)
        st.button("Randomise", on_click=state.randomise, icon=":material/refresh:")
    found = resources.surveyed(space.name)
    words = (
        f"On a walk of {STEPS} steps from {-REACH:g} to {REACH:g} the largest step makes "
        f"**{found.largest:.1%}** of all change, where steps that are all alike make "
        f"{1 / STEPS:.1%} each. From end to end the picture changes {found.change:.2f} times as "
        f"much as two real images differ. Means over {WALKS} walks."
    )
    walk = np.repeat(state.z_of(space.card)[None], FRAMES, 0)
    walk[:, 0] = np.linspace(-REACH, REACH, FRAMES)
    drawn = {f"z₁ from {-REACH:g} to {REACH:g}": pictures.row(resources.draw(space.name, walk))}
    return Exhibit(Finding(number_answer(found.largest, found.change), words), drawn)


def _open_end(space: Space) -> Exhibit:
    """The map again, over what the decoder draws everywhere."""
    st.caption("Underneath is what the decoder draws at each place. Point anywhere between.")
    space_map(space, grid=True)
    st.button("Randomise", on_click=state.randomise, icon=":material/refresh:")
    z = state.z_of(space.card)
    drawn = resources.draw(space.name, z[None])
    place = ", ".join(f"{value:.2f}" for value in z[:4]) + (", …" if len(z) > 4 else "")
    words = f"At z = ({place}) the length of z is **{np.linalg.norm(z):.2f}**"
    read = read_as(space.card, drawn)[0]
    words += f", and the judge reads: {catalog.plain(read)}." if read else "."
    return Exhibit(Finding(None, words), {f"z = ({place})": drawn[0]})
