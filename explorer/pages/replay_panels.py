"""What follows the scrubber of the replay: the held latent, samples, a VAE's codes."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from explorer import pictures, replay, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.picture import Slot, picture
from explorer.pages import parts, planes
from explorer.replay import Stop
from training.checkpoint import Card

LARGE = 196
SMALL = 68
"""CSS pixels of the held latent's picture, and of a sample's."""


def choose(card: Card) -> None:
    """The page's own latent, which stays while the epochs change."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        parts.seed_input()
        st.button("Randomise", on_click=state.randomise, icon=":material/casino:")
        parts.class_input(card)


def drawn(name: str, card: Card, data: dict[str, Any], stops: list[Stop], at: int) -> None:
    """The page's latent, and sixteen samples of fixed noise, live and as files."""
    models = [stop.key(name) for stop in stops]
    picture(f"replay_picture_{name}", data, width=LARGE, models=models)
    z, weights = replay.noise(card)
    labels = [f"Sample {i + 1}" for i in range(len(z))]
    if weights is not None:
        labels = [card.classes[i] for i in weights.argmax(1)]
    slots = [
        Slot(f"sample-{i}", label, None if weights is None else weights[i].tolist(), z[i].tolist())
        for i, label in enumerate(labels)
    ]
    asked = weights is not None
    picture(f"samples_{name}", data, slots=slots, width=SMALL, captions=asked, models=models)

    def sheet(stop: Stop) -> pictures.Pixels:
        return replay.sheet(resources.draw(name, z, weights, stop.kept))

    with st.container(horizontal=True):
        for label, make, file in (
            ("Save PNG", lambda: pictures.png(sheet(stops[at])), f"epoch-{stops[at].epoch}.png"),
            ("Save GIF", lambda: replay.gif([sheet(stop) for stop in stops], stops), "replay.gif"),
        ):
            mime = f"image/{file[-3:]}"
            st.download_button(label, make, f"{name}-{file}", mime, on_click="ignore")


def drift(name: str, card: Card, data: dict[str, Any], stops: list[Stop]) -> bool:
    """Where a VAE's codes lay at every stop; False where nothing can be encoded."""
    if not resources.encodes(card):
        return False
    plan = resources.plane(name, resources.planes(name)[0])
    shown, classes = parts.told_apart(plan, resources.classes(card))
    moved = [plan.project(resources.codes(name, stop.kept)[0]) for stop in stops]
    st.caption(
        f"Each mark is one of {len(plan.points):,} real images, put where the encoder of that "
        "epoch sends it. Point anywhere to see what its decoder draws there."
    )
    grid = planes.underneath()
    latent_map(
        f"replay_map_{name}",
        data,
        layout=shown,
        classes=classes,
        colours=parts.class_colours(),
        settled=partial(state.settle, name),
        grid=grid,
        stops=moved,
        models=[stop.key(name) for stop in stops],
    )
    return True
