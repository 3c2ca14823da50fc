"""Draw me a 7."""

from __future__ import annotations

import numpy as np
import streamlit as st

from explorer import latent, pictures, state
from explorer.components.picture import Slot, picture
from explorer.components.slider_bank import slider_bank
from explorer.components.strip import strip
from explorer.pages import parts
from training.checkpoint import Card

STYLE_RANGE = 3.0
FINE = 121
FRAMES = 9


def page() -> None:
    """Draw the page."""
    st.title("Draw me a 7")
    name, card = parts.current_model()
    if not card.num_classes:
        st.info(
            "This model cannot be asked for a class: nobody told it what its images show. "
            "Choose the **conditional GAN** in the sidebar."
        )
        return
    st.caption(
        "One latent is one handwriting: the same numbers draw all ten classes. Move a style slider "
        "and every digit changes with it."
    )
    data = state.components_data(name, card)
    picture(f"digits_row_{name}", data, slots=_every_class(card), width=84, fps=True)
    left, right = st.columns(2, gap="large")
    with left:
        _style(name, card, data)
    with right:
        _typed(name, card, data)
        _between(name, card, data)


def _one_hot(card: Card, label: int) -> list[float]:
    return np.eye(card.num_classes, dtype=np.float32)[label].tolist()


def _every_class(card: Card) -> list[Slot]:
    return [Slot(f"digit-{name}", name, _one_hot(card, i)) for i, name in enumerate(card.classes)]


def _style(name: str, card: Card, data: dict) -> None:
    st.subheader("Style")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        parts.seed_input()
        st.button("Another hand", on_click=state.randomise, icon=":material/casino:")
    slider_bank(f"style_{name}", data, settled=_settle_style, value_range=STYLE_RANGE, shown=6)


def _settle_style(value: dict) -> None:
    state.settle({"z": value["z"]})  # style alone: the class chosen on other pages stays


def _typed(name: str, card: Card, data: dict) -> None:
    st.subheader("Type a number")
    text = st.text_input(
        "Digits", key="text", max_chars=12, persist_state="session", label_visibility="collapsed"
    )
    known = [character for character in text if character in card.classes]
    if len(known) < len(text):
        st.warning(f"Only {', '.join(card.classes)} can be drawn; the rest is left out.")
    if not known:
        return
    labels = [card.classes.index(character) for character in known]
    slots = [
        Slot(f"typed-{i}", character, _one_hot(card, label))
        for i, (character, label) in enumerate(zip(known, labels, strict=True))
    ]
    picture(f"typed_{name}_{''.join(known)}", data, slots=slots, width=84)
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


def _between(name: str, card: Card, data: dict) -> None:
    st.subheader("Between two digits")
    for key, label in (("from", "From"), ("to", "To")):
        st.session_state[key] = min(st.session_state[key], card.num_classes - 1)
        st.segmented_control(
            label,
            range(card.num_classes),
            format_func=lambda c: card.classes[c],
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
        mix=latent.class_mix(a, b, FINE, card.num_classes),
        labels=[f"{share:.0%}" for share in shares],
        at=st.session_state["at"],
        settled=lambda at: st.session_state.update(at=round(float(np.clip(at, 0, 1)), 3)),
    )
    st.caption(
        f"The condition itself is interpolated: from 100 % {card.classes[a]} to 100 % "
        f"{card.classes[b]}, in the same handwriting."
    )
