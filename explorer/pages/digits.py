"""Draw me a 7."""

from __future__ import annotations

from functools import partial

import streamlit as st

from explorer import sizes, state
from explorer.components.picture import Slot, picture
from explorer.components.slider_bank import slider_bank
from explorer.pages import absent, asked_classes, parts, slider_rows
from explorer.pages.asked_classes import WIDTH
from explorer.pages.digit_words import DIGITS, words_of
from training.onnx_files import AnyCard

STYLE_RANGE = 3.0


def page() -> None:
    """Draw the page."""
    name, card = parts.current_model()
    words = words_of(card)
    st.title(words.title)
    if not card.num_classes:
        st.info("This model cannot be asked for a class: nobody told it what its images show.")
        absent.instead("digits")
        return
    st.caption(words.caption)
    data = state.components_data(name, card)
    width = sizes.across(card.image_shape[1], WIDTH)
    picture(f"digits_row_{name}", data, slots=_every_class(card), width=width, fps=True)
    left, right = st.columns(2, gap="large")
    with left:
        _style(name, card, data)
    with right:
        if words is DIGITS:
            asked_classes.typed(name, card, data)
        if card.mixes_classes:
            asked_classes.between(name, card, data)
        else:
            st.info("This model takes the number of a class: nothing lies between two of them.")


def _every_class(card: AnyCard) -> list[Slot]:
    return [
        Slot(f"digit-{name}", name, asked_classes.one_hot(card, i))
        for i, name in enumerate(card.classes)
    ]


def _style(name: str, card: AnyCard, data: dict) -> None:
    st.subheader("Style")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        parts.seed_input()
        st.button(words_of(card).another, on_click=state.randomise, icon=":material/casino:")
    rows = slider_rows.dimensions(name, card, STYLE_RANGE)
    slider_bank(f"style_{name}", data, rows=rows, settled=partial(_settle_style, name), shown=6)


def _settle_style(name: str, value: dict) -> None:
    state.settle(name, {"z": value["z"]})  # style alone: the class chosen on other pages stays
