"""The lesson on the latent space: the space it is about, as a map and in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from explorer import latent, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.picture import picture
from explorer.pages import parts
from explorer.pages.lesson_images import Subject
from explorer.pages.pinned import pinned
from training.checkpoint import Card


@dataclass(frozen=True)
class Space:
    """The latent space that the lesson is about: that of the fewest numbers."""

    about: Subject
    """The data set."""
    name: str
    """The model."""
    others: list[str]
    """It and those of more numbers, the fewest first."""

    @property
    def card(self) -> Card:
        """The model's card."""
        return self.about.cards[self.name]

    @property
    def data(self) -> dict[str, Any]:
        """What the model's components are told."""
        return state.components_data(self.name, self.card)


def space_map(space: Space, outlines: Sequence[latent.Array] = (), *, grid: bool = False) -> None:
    """The map of codes, and beside it the picture of the place that is pointed at."""
    left, right = st.columns([3, 2], gap="large")
    plane = resources.plane(space.name, resources.planes(space.name)[0])
    shown, classes = parts.told_apart(plane, space.about.images.data.classes)
    with left:
        latent_map(
            "space_map",
            space.data,
            layout=shown,
            classes=classes,
            colours=parts.class_colours(),
            settled=partial(state.settle, space.name),
            outlines=outlines,
            grid=grid,
        )
    with right, pinned():
        picture("space_picture", space.data)


def unread() -> None:
    """Say that nothing can be measured without a judge."""
    st.info(
        "No judge reads these images, so this step measures nothing: among the checkpoints that "
        "come with the app are those of MNIST's classes and CIFAR-10's only."
    )


def table(space: Space, names: Sequence[str]) -> list[dict[str, Any]]:
    """What was found in the spaces of models, as rows."""
    rows = []
    for name in names:
        found = resources.surveyed(name)
        line: dict[str, Any] = {
            "VAE": space.about.cards[name].title,
            "neighbours of the same class": f"{found.alike:.0%}",
            "farthest code": round(found.rim, 2),
        }
        if found.readings:
            line["copies read rightly"] = f"{found.readings.kept:.0%}"
            line["half way, neither class"] = f"{found.readings.third:.0%}"
        rows.append(line)
    return rows
