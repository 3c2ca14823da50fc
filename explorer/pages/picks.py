"""Choosing the two ends of a morph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from explorer import latent, links, resources
from explorer.components.thumbnails import thumbnails
from explorer.gallery import Gallery
from explorer.pages import parts
from explorer.pictures import Pixels
from explorer.uploads import UploadError, read_digit
from training.checkpoint import Card

SHOWN = 24
SIDES = {"a": "From", "b": "To"}
DEFAULT_CLASSES = {"a": "0", "b": "7"}


@dataclass(frozen=True)
class Pick:
    """One end of a morph, as chosen."""

    reference: str
    """How a link names it."""
    z: latent.Array
    """Its code (d,)."""
    original: Pixels | None = None
    """The real image (H, W, C), where there is one on this computer."""
    label: int | None = None
    """The class asked for, of a conditional model."""


def choose_real(name: str, card: Card) -> tuple[Pick, Pick]:
    """Two real images: from the gallery, the map, at random or uploaded."""
    images = resources.real_images()
    parts.data_notice(images)
    chosen = []
    for column, side in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            if not st.session_state[side]:
                _pick(side, f"{images.source}-{_first(side, images)}")
            pick = _resolve(side, name, card, images)
            chosen.append(pick)
            _show(side, name, card, images, pick)
    return chosen[0], chosen[1]


def _first(side: str, images: Gallery) -> int:
    """Index of the image that a side starts with."""
    classes, wanted = images.data.classes, DEFAULT_CLASSES[side]
    of_class = images.of_class(classes.index(wanted)) if wanted in classes else []
    return int(of_class[0]) if len(of_class) else list(SIDES).index(side) % len(images.data)


def choose_random(name: str, card: Card) -> tuple[Pick, Pick]:
    """Two random latents by their seeds, each with its class where the model is conditional."""
    chosen = []
    classes = range(card.num_classes)
    for i, (column, side) in enumerate(zip(st.columns(2, gap="large"), SIDES, strict=True)):
        with column:
            st.session_state.setdefault(f"seed_{side}", _seed_of(side, default=i + 1))
            with st.container(horizontal=True, vertical_alignment="bottom"):
                seed = st.number_input(
                    f"{SIDES[side]}: seed",
                    0,
                    10**9 - 1,
                    key=f"seed_{side}",
                    persist_state="session",
                    width=180,
                )
            _pick(side, f"seed-{seed}")
            label = None
            if classes:
                key = SIDES[side].lower()
                st.session_state[key] = min(st.session_state[key], card.num_classes - 1)
                label = st.segmented_control(
                    "Class",
                    classes,
                    format_func=lambda c: card.classes[c],
                    key=key,
                    required=True,
                    persist_state="session",
                )
            z = latent.sample_z(int(seed), card.latent_dim)
            chosen.append(Pick(f"seed-{seed}", z, None, label))
    return chosen[0], chosen[1]


def _seed_of(side: str, default: int) -> int:
    kind, _, rest = st.session_state[side].partition("-")
    return int(rest) if kind == "seed" else default


def _pick(side: str, reference: str) -> None:
    st.session_state[side] = reference


def _resolve(side: str, name: str, card: Card, images: Gallery) -> Pick:
    """The image that a reference names, or the gallery's first with a word why."""
    reference = st.session_state[side]
    kind, _, rest = reference.partition("-")
    mu = resources.codes(name)[0]
    if kind == images.source and int(rest) < len(mu):
        return Pick(reference, mu[int(rest)], images.pixels(int(rest)))
    if kind == "code":
        z = np.array(links.read_floats(rest), np.float32)
        if len(z) == card.latent_dim:
            return Pick(reference, z, st.session_state.get(f"upload_{side}"))
    if kind == "test":
        atlas = resources.checkpoint(name).atlas()
        if int(rest) < len(atlas.get("mu", ())):
            st.caption("The original is in the full test set, which is not on this computer.")
            return Pick(reference, atlas["mu"][int(rest)].float().numpy())
    st.warning(f"{reference} is no image of this model; the first one stands in.")
    _pick(side, f"{images.source}-0")
    return Pick(f"{images.source}-0", mu[0], images.pixels(0))


def _show(side: str, name: str, card: Card, images: Gallery, pick: Pick) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if pick.original is not None:
            parts.show(st, pick.original, "original", f"pick-{side}", scale=4)
        parts.show(st, parts.decode(name, pick.z[None])[0], "reconstruction", f"recon-{side}", 4)
        with st.container(width="content"), st.popover(f"{SIDES[side]}: choose an image"):
            _choices(side, name, card, images)


def _choices(side: str, name: str, card: Card, images: Gallery) -> None:
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
            on_click=_pick,
            args=(side, st.session_state["selected"]),
            disabled=not st.session_state["selected"],
            help="Select a digit on the Map page first.",
        )
    label = st.segmented_control(
        "Gallery, filtered by class",
        range(len(images.data.classes)),
        format_func=lambda c: images.data.classes[c],
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
        np.stack([images.pixels(i) for i in indices]),
        [f"{images.source}-{i}" for i in indices],
        [f"{images.data.classes[label or 0]}, number {i}" for i in indices],
        settled=lambda reference: _pick(side, reference),
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
    _pick(side, f"{images.source}-{np.random.default_rng().integers(len(images.data))}")


def _pick_upload(side: str, name: str) -> None:
    """Read, prepare and encode an uploaded picture; what fails becomes a sentence."""
    file = st.session_state[f"file_{side}"]
    st.session_state[f"upload_problem_{side}"] = None
    if file is None:
        return
    opened = resources.checkpoint(name)
    try:
        digit = read_digit(file.getvalue(), opened.card.image_shape[1])
    except UploadError as error:
        st.session_state[f"upload_problem_{side}"] = str(error)
        return
    mu, _ = opened.encode(torch.from_numpy(digit)[None, None].float() / 255)
    st.session_state[f"upload_{side}"] = digit[..., None]
    z = mu[0].clamp(-links.LIMIT, links.LIMIT).tolist()
    _pick(side, f"code-{links.write_floats(z)}")
