"""What does each dimension do?"""

from __future__ import annotations

import streamlit as st

from explorer import pictures, resources, state
from explorer.components.picture import picture
from explorer.components.slider_bank import slider_bank
from explorer.pages import parts
from training.checkpoint import Card

GAN_RANGE = 3.0
"""99.7 % of N(0, 1) lies within."""


def _range(name: str, card: Card) -> float:
    """How far the sliders go: as far as real codes lie, or as N(0, 1) reaches."""
    return parts.extent(resources.codes(name)[0]) if resources.encodes(card) else GAN_RANGE


def page() -> None:
    """Draw the page."""
    st.title("What does each dimension do?")
    name, card = parts.current_model()
    st.caption(
        "Drag a slider: the image follows while you drag. The strip under each slider shows where "
        "it leads; click a frame to go there."
    )
    data = state.components_data(name, card)
    left, right = st.columns([3, 2], gap="large")
    with left:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            parts.seed_input()
            st.button("Randomise", on_click=state.randomise, icon=":material/casino:")
            st.button(
                "Reset",
                on_click=state.move,
                args=([0.0] * card.latent_dim,),
                icon=":material/restart_alt:",
                help="Every dimension to 0, the middle of the prior.",
            )
        slider_bank(
            f"slider_bank_{name}",
            data,
            settled=state.settle,
            value_range=_range(name, card),
            classes=card.classes if card.num_classes else (),
        )
    with right:
        picture(f"slider_picture_{name}", data, fps=True)
        z, weights = state.z_of(card), state.weights_of(card)
        image = parts.decode(name, z[None], None if weights is None else weights[None])[0]
        st.download_button(
            "Save PNG",
            pictures.png(pictures.enlarge(image, 10)),
            f"{name}.png",
            "image/png",
            on_click="ignore",
        )
