"""What lies between two images?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from explorer import latent, pictures, resources, state
from explorer.components.strip import strip
from explorer.morph import End, Morph, PathKind
from explorer.pages import absent, parts, picks, random_picks
from explorer.pages.picked import Pick
from training.onnx_files import AnyCard


def page() -> None:
    """Draw the page."""
    st.title("What lies between two images?")
    name, card = parts.current_model()
    st.caption(
        "Choose two images; the strip walks from the code of one to the code of the other. Drag "
        "the scrubber, use the arrow keys, or press Play."
    )
    if card.family == "vae":
        absent.data_notice(card)
    images = resources.real_images(card) if card.family == "vae" else None
    a, b = picks.choose_real(name, card, images) if images else random_picks.choose(card)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.slider("Frames", 3, 21, key="frames", persist_state="session", width=240)
        kind = _choose_path(card)
    morph = _recipe(name, card, kind, a, b)
    codes = morph.codes(morph.frames)
    near = resources.code_index(name).density(codes) if resources.has_codes(name) else None
    strip(
        f"strip_{name}",
        state.components_data(name, card),
        frames=morph.frames,
        path=morph.codes(latent.FINE),
        mix=morph.mix(latent.FINE, card.num_classes, card.mixes_classes),
        near=None if near is None else near.tolist(),
        labels=[f"|z| {length:.1f}" for length in np.linalg.norm(codes, axis=1)],
        originals=(a.original, b.original),
        at=st.session_state["at"],
        settled=_scrubbed,
    )
    st.caption(_honesty(name, card, near))
    _downloads(name, morph, [a.original, b.original])


def _choose_path(card: AnyCard) -> PathKind:
    """The path that was chosen for any model, else what suits this one's codes.

    Random codes of many dimensions all have about the same length: they lie on a sphere, and a
    straight line between two leaves it (White 2016, arXiv:1609.04468).
    """
    usual = "linear" if card.family == "vae" else "spherical"
    st.session_state["path_shown"] = st.session_state["path"] or usual
    st.segmented_control(
        "Path",
        list(latent.PATHS),
        key="path_shown",
        required=True,
        on_change=_take_path,
        help="Linear goes straight. Spherical turns on a great circle and keeps the length "
        "that codes of many dimensions have; a straight line cuts through the middle, "
        "where no code lies.",
    )
    return st.session_state["path_shown"]


def _take_path() -> None:
    st.session_state["path"] = st.session_state["path_shown"]


def _scrubbed(at: float) -> None:
    st.session_state["at"] = round(float(np.clip(at, 0, 1)), 3)


def _recipe(name: str, card: AnyCard, kind: PathKind, a: Pick, b: Pick) -> Morph:
    ends = [End(z=pick.z.tolist(), image=pick.reference, label=pick.label) for pick in (a, b)]
    return Morph(
        model=name,
        weights_sha256=card.weights_sha256,
        path=kind,
        frames=st.session_state["frames"],
        a=ends[0],
        b=ends[1],
    )


def _honesty(name: str, card: AnyCard, near: np.ndarray | None) -> str:
    if near is None:
        return (
            "|z| is the length of the code: random codes of this model are about √d long, and a "
            "frame much shorter than its ends is one the generator never learned."
        )
    radius = resources.code_index(name).radius
    return (
        f"The bar and the number under a frame count the real {parts.kind(card)} whose code lies "
        f"within {radius:.2f} of it. Where there are none, the decoder invents. |z| is the code's "
        "length."
    )


def _downloads(name: str, morph: Morph, originals: Sequence[pictures.Pixels | None]) -> None:
    """The strip as the page shows it, the frames in motion, and what makes them anew."""
    recipe = morph.model_dump_json(indent=1)

    def frames() -> pictures.Pixels:
        return morph.render(resources.checkpoint(name))

    def row() -> bytes:
        return pictures.png(pictures.row(_beside(frames(), originals)), {"recipe": recipe})

    files = (
        ("Save PNG", row, "png", "image/png"),
        ("Save GIF", lambda: pictures.gif(frames()), "gif", "image/gif"),
        ("Save recipe", recipe, "json", "application/json"),
    )
    with st.container(horizontal=True):
        for label, data, suffix, mime in files:
            st.download_button(label, data, f"morph.{suffix}", mime, on_click="ignore")


def _beside(
    frames: pictures.Pixels, originals: Sequence[pictures.Pixels | None]
) -> pictures.Pixels:
    """Frames (n, H, W, C) between the originals of both ends, of those that are known."""
    first, last = ([] if one is None else [one] for one in originals)
    return np.stack([*first, *frames, *last])
