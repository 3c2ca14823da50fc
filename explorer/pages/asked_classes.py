"""Classes that are asked for one after the other, and what lies between two of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import catalog, latent, pictures, sizes, state
from explorer.components.picture import Slot, picture
from explorer.components.strip import strip
from explorer.pages import parts
from explorer.pages.digit_words import words_of
from training.onnx_files import AnyCard

WIDTH = 84
"""CSS pixels, about, of the image of a class."""
FRAMES = 9


def one_hot(card: AnyCard, label: int) -> list[float]:
    """Class weights (k,) of one class."""
    return np.eye(card.num_classes, dtype=np.float32)[label].tolist()


def typed(name: str, card: AnyCard, data: dict) -> None:
    """A number that is typed, drawn in one hand."""
    st.subheader("Type a number")
    text = st.text_input(
        "Digits", key="text", max_chars=12, persist_state="session", label_visibility="collapsed"
    )
    known = [character for character in text if character in card.classes]
    if len(known) < len(text):
        drawable = catalog.plain(", ".join(card.classes))
        st.warning(f"Only {drawable} can be drawn; the rest is left out.")
    if not known:
        return
    labels = [card.classes.index(character) for character in known]
    slots = [
        Slot(f"typed-{i}", character, one_hot(card, label))
        for i, (character, label) in enumerate(zip(known, labels, strict=True))
    ]
    width = sizes.across(card.image_shape[1], WIDTH)
    picture(f"typed_{name}_{''.join(known)}", data, slots=slots, width=width)
    weights = np.eye(card.num_classes, dtype=np.float32)
    z = state.z_of(card)
    with st.container(horizontal=True):
        for label, drawn, file in (
            ("Save this number", labels, "number.png"),
            ("Save all ten", list(range(card.num_classes)), "digits.png"),
        ):
            images = parts.decode(name, np.repeat(z[None], len(drawn), 0), weights[drawn])
            image = pictures.png(pictures.row(images))
            st.download_button(label, image, file, "image/png", on_click="ignore")


def between(name: str, card: AnyCard, data: dict) -> None:
    """From one class to another, by mixing the condition itself."""
    words = words_of(card)
    names = [catalog.plain(one) for one in card.classes]
    st.subheader(words.between)
    for key, label in (("from", "From"), ("to", "To")):
        st.session_state[key] = min(st.session_state[key], card.num_classes - 1)
        st.segmented_control(
            label,
            range(card.num_classes),
            format_func=names.__getitem__,
            key=key,
            required=True,
            persist_state="session",
        )
    a, b = st.session_state["from"], st.session_state["to"]
    shares = np.linspace(0, 1, FRAMES)
    strip(
        f"class_strip_{name}",
        data,
        frames=FRAMES,
        path=None,
        mix=latent.class_mix(a, b, latent.FINE, card.num_classes),
        labels=[f"{share:.0%}" for share in shares],
        at=st.session_state["at"],
        settled=lambda at: st.session_state.update(at=round(float(np.clip(at, 0, 1)), 3)),
    )
    st.caption(
        f"The condition itself is interpolated: from 100 % {names[a]} to 100 % "
        f"{names[b]}, in the same {words.style}."
    )
