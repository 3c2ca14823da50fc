"""Images that are encoded instead of a drawing: the keyboard's ways to a code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from explorer import catalog, links, resources, state
from explorer.pictures import Pixels
from explorer.uploads import UploadError, read_digit
from training.onnx_files import AnyCard


@dataclass(frozen=True)
class Brought:
    """An image that was encoded instead of a drawing."""

    words: str
    """What it is."""
    pixels: Pixels
    """The image as the model saw it (H, W, 1)."""
    model: str
    """Name of the model that encoded it."""
    z: list[float]
    """Its code (d,): while the page's latent is this one, the image is shown."""
    spread: list[float]
    """Standard deviations (d,) of its posterior."""


def current(name: str, card: AnyCard) -> Brought | None:
    """The image brought along, while the latent is its code; another model encodes it anew."""
    found: Brought | None = st.session_state.get("brought")
    if found is None or found.z != st.session_state["z"]:
        return None
    if found.model == name:
        return found
    if found.pixels.shape[:2] != card.image_shape[1:]:
        return None
    return _take(name, found.pixels, found.words)


def choices(name: str, card: AnyCard) -> None:
    """A real image at random, or a picture of one's own."""
    with st.container(horizontal=True):
        if resources.encodes(card):
            st.button("A real digit", on_click=_take_real, args=(name,), icon=":material/casino:")
        with st.popover("Upload", icon=":material/upload:", width="content"):
            st.file_uploader(
                "A picture of a digit: PNG, JPEG or WebP, up to 2 MB",
                key="drawing_file",
                on_change=_take_upload,
                args=(name, card),
            )
    if problem := st.session_state.get("drawing_problem"):
        st.error(problem)


def _take_real(name: str) -> None:
    """Encode a real image at random."""
    images = resources.real_images(resources.models().cards[name])
    assert images, "nothing to choose from"
    i = int(np.random.default_rng().integers(len(images)))
    label = catalog.plain(images.data.classes[images.data.labels[i]])
    _take(name, images.pixels(i), f"a real {label}, image {i:,}")


def _take_upload(name: str, card: AnyCard) -> None:
    """Read and encode an uploaded picture; what fails becomes a sentence."""
    file = st.session_state["drawing_file"]
    st.session_state["drawing_problem"] = None
    if file is None:
        return
    try:
        pixels = read_digit(file.getvalue(), card.image_shape[1])
    except UploadError as error:
        st.session_state["drawing_problem"] = str(error)
    else:
        _take(name, pixels[..., None], "your picture, centred as the training digits are")


def _take(name: str, pixels: Pixels, words: str) -> Brought:
    """Encode an image (H, W, 1) and move the page's latent to its code."""
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mu, log_var = resources.checkpoint(name).encode(x)
    z = mu[0].clamp(-links.LIMIT, links.LIMIT).tolist()
    brought = Brought(words, pixels, name, z, log_var[0].mul(0.5).exp().tolist())
    st.session_state["brought"] = brought
    state.move(z)
    return brought
