"""Choosing two real images as the ends of a morph: from the gallery, the map, or one's own."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import catalog, resources
from explorer.components.thumbnails import thumbnails
from explorer.gallery import Gallery
from explorer.pages import parts
from explorer.pages.picked import SIDES, Pick, last, pick, resolve, take
from explorer.pictures import reduced
from explorer.uploads import UploadError, read_for
from training.onnx_files import AnyCard

SHOWN = 24
DEFAULT_CLASSES = {"a": 0, "b": 7}
"""Classes of the first two images, where there are so many."""
THUMBNAIL = 80
"""Pixels that an image to choose from has at most: a page of larger ones would weigh megabytes."""


def choose_real(name: str, card: AnyCard, images: Gallery) -> tuple[Pick, Pick]:
    """Two real images: from the gallery, the map, at random or uploaded."""
    chosen = []
    for column, side in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            pick(side, last(side, images.source) or f"{images.source}-{_first(side, images)}")
            found = resolve(side, name, card, images)
            chosen.append(found)
            _show(side, name, card, images, found)
    return chosen[0], chosen[1]


def _first(side: str, images: Gallery) -> int:
    """Index of the image that a side starts with."""
    of_class = images.of_class(min(DEFAULT_CLASSES[side], len(images.data.classes) - 1))
    return int(of_class[0]) if len(of_class) else list(SIDES).index(side) % len(images)


def _show(side: str, name: str, card: AnyCard, images: Gallery, found: Pick) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if found.original is not None:
            parts.show(st, found.original, "original", f"pick-{side}", most=128)
        drawn = parts.decode(name, found.z[None])[0]
        parts.show(st, drawn, "reconstruction", f"recon-{side}", most=128)
        with st.container(width="content"), st.popover(f"{SIDES[side]}: choose an image"):
            _choices(side, name, card, images)


def _choices(side: str, name: str, card: AnyCard, images: Gallery) -> None:
    with st.container(horizontal=True):
        st.button(
            "At random",
            key=f"random_{side}",
            on_click=_pick_random,
            args=(side, images),
            icon=":material/casino:",
        )
        st.button(
            "The map's selection",
            key=f"from_map_{side}",
            on_click=pick,
            args=(side, st.session_state["selected"]),
            disabled=not st.session_state["selected"],
            help="Select an image on the Map page first.",
        )
    label = st.segmented_control(
        "Gallery, filtered by class",
        range(len(images.data.classes)),
        format_func=lambda c: catalog.plain(images.data.classes[c]),
        default=0,
        required=True,
        key=f"class_{side}",
    )
    of_class = images.of_class(label or 0)
    pages = -(-len(of_class) // SHOWN)
    shown = st.number_input(f"Page, of {pages}", 1, pages, key=f"page_{side}_{label}", width=140)
    indices = of_class[(int(shown) - 1) * SHOWN : int(shown) * SHOWN]
    thumbnails(
        f"thumbnails_{side}",
        reduced(np.stack([images.pixels(i) for i in indices]), THUMBNAIL),
        [f"{images.source}-{i}" for i in indices],
        [f"{images.data.classes[label or 0]}, number {i}" for i in indices],
        settled=lambda reference: pick(side, reference),
    )
    st.file_uploader(
        "Or a picture of your own: PNG, JPEG or WebP, up to 2 MB",
        key=f"file_{side}",
        on_change=_pick_upload,
        args=(side, name),
    )
    if problem := st.session_state.get(f"upload_problem_{side}"):
        st.error(problem)


def _pick_random(side: str, images: Gallery) -> None:
    pick(side, f"{images.source}-{np.random.default_rng().integers(len(images))}")


def _pick_upload(side: str, name: str) -> None:
    """Read, prepare and encode an uploaded picture; what fails becomes a sentence."""
    file = st.session_state[f"file_{side}"]
    st.session_state[f"upload_problem_{side}"] = None
    if file is None:
        return
    try:
        picture = read_for(file.getvalue(), resources.checkpoint(name).card.image_shape)
    except UploadError as error:
        st.session_state[f"upload_problem_{side}"] = str(error)
    else:
        take(side, name, picture)
