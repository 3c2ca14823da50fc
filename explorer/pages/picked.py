"""The image or latent that one end of a morph is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from explorer import latent, links, resources
from explorer.gallery import Gallery
from explorer.pictures import Pixels
from training.onnx_files import AnyCard

SIDES = {"a": "From", "b": "To"}


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


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded for one end of a morph."""

    pixels: Pixels
    """The picture as the model saw it (H, W, C)."""
    model: str
    """Name of the model that encoded it."""
    reference: str
    """Its code: while the end is this one, the picture is shown."""


def pick(side: str, reference: str) -> None:
    """Have one end of the morph be what a reference names."""
    st.session_state[side] = st.session_state[_kept(side, reference)] = reference


def last(side: str, like: str) -> str:
    """What one end was when it last was an image, or a seed, ``like`` this one; "" for never.

    Models that encode go between images, others between seeds: each is there again.
    """
    if _kept(side, st.session_state[side]) == _kept(side, like):
        return st.session_state[side]
    return st.session_state.get(_kept(side, like), "")


def _kept(side: str, reference: str) -> str:
    return f"picked_{'seed' if reference.startswith('seed-') else 'image'}_{side}"


def resolve(side: str, name: str, card: AnyCard, images: Gallery) -> Pick:
    """The image that a reference names, or the gallery's first with a word why.

    An uploaded picture that another model encoded is encoded anew.
    """
    upload = _uploaded(side, card)
    if upload and upload.model != name:
        take(side, name, upload.pixels)
    reference = st.session_state[side]
    kind, _, rest = reference.partition("-")
    mu = resources.codes(name)[0]
    if kind == images.source and int(rest) < len(mu):
        return Pick(reference, mu[int(rest)], images.pixels(int(rest)))
    if kind == "code":
        z = np.array(links.read_floats(rest), np.float32)
        if len(z) == card.latent_dim:
            return Pick(reference, z, upload.pixels if upload else None)
    if kind == "test":
        atlas = resources.checkpoint(name).atlas()
        if int(rest) < len(atlas.get("mu", ())):
            st.caption("The original is in the full test set, which is not on this computer.")
            return Pick(reference, atlas["mu"][int(rest)].float().numpy())
    st.warning(f"{reference} is no image of this model; the first one stands in.")
    pick(side, f"{images.source}-0")
    return Pick(f"{images.source}-0", mu[0], images.pixels(0))


def take(side: str, name: str, picture: Pixels) -> None:
    """Encode an uploaded picture (H, W, C), and have one end of the morph be its code."""
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    mu, _ = resources.checkpoint(name).encode(x)
    z = mu[0].clamp(-links.LIMIT, links.LIMIT).tolist()
    upload = Upload(picture, name, f"code-{links.write_floats(z)}")
    st.session_state[f"upload_{side}"] = upload
    pick(side, upload.reference)


def _uploaded(side: str, card: AnyCard) -> Upload | None:
    """What was uploaded for a side, while it is chosen, unless for a model of other images."""
    found: Upload | None = st.session_state.get(f"upload_{side}")
    channels, height, width = card.image_shape
    if found is None or found.reference != st.session_state[side]:
        return None
    return found if found.pixels.shape == (height, width, channels) else None
