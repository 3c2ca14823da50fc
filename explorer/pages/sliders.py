"""What does each dimension do?"""

from __future__ import annotations

from functools import partial

import streamlit as st

from explorer import latent, pictures, resources, sizes, state
from explorer.components.picture import picture
from explorer.components.slider_bank import Row, slider_bank
from explorer.pages import direction_controls, own_directions, parts, slider_rows
from explorer.pages.pinned import pinned
from training.onnx_files import AnyCard

SAVED = 280
"""Pixels up to which a saved image is enlarged."""
ALONG = {
    "dimensions": "Dimensions",
    "principal": "Principal",
    "own": "Your directions",
}
NATS = (
    "What carries most comes first: how far the codes of real images are from the prior in this "
    "dimension, in nats of KL. Below 0.01 a dimension carries nothing."
)
PIXELS = (
    "What moves the image most comes first: the root mean square change of a pixel, which goes "
    "from 0 to 1, as the dimension goes from -1 to 1."
)
UNKNOWN = (
    "In their own order: what each of them does is not measured for a model of so many numbers and "
    "pixels, or for one that draws no finite image."
)
PRINCIPAL = (
    "Directions through the mean of all codes in which they differ most, three standard "
    "deviations either way."
)
OWN = (
    "At 0 you are where you were, at 1 you have gone the whole way: along “3 to 8” most 3s of a "
    "VAE are 8s by then, and about half of a GAN's. Directions add up, and 0 brings back the very "
    "same image. A link brings your image along; from there its sliders begin at 0."
)
NONE_YET = (
    "No directions yet. Lasso two groups of marks on the **Map** page, {like}, say; **Make** and "
    "**Manage** offer what else this model has."
)
LIKE = {"digits": "thin digits and thick ones", "images": "dark images and bright ones"}


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
        rows = _rows(name, card)
        slider_bank(
            f"slider_bank_{name}",
            data,
            rows=rows,
            settled=partial(state.settle, name),
            classes=card.classes if card.num_classes else (),
        )
    with right:
        with pinned():
            picture(f"slider_picture_{name}", data, fps=True)
        z, weights = state.z_of(card), state.weights_of(card)

        def saved() -> bytes:
            image = parts.decode(name, z[None], None if weights is None else weights[None])[0]
            return pictures.png(pictures.enlarge(image, sizes.enlargement(len(image), SAVED)))

        st.download_button(
            "Save PNG",
            saved,
            f"{name}.png",
            "image/png",
            on_click="ignore",
        )


def _rows(name: str, card: AnyCard) -> list[Row]:
    """The choice of what sliders go along, and their rows."""
    principal = slider_rows.principal(name)
    offered = [along for along in ALONG if along != "principal" or principal]
    if st.session_state["along"] not in offered:
        st.session_state["along"] = "dimensions"
    found = own_directions.current(name, card)
    st.segmented_control(
        "Sliders along",
        offered,
        format_func=ALONG.__getitem__,
        key="along",
        required=True,
        persist_state="session",
    )
    match st.session_state["along"]:
        case "principal":
            st.caption(PRINCIPAL)
            return principal
        case "own":
            direction_controls.controls(name, card, found)
            none_yet = NONE_YET.format(like=LIKE[parts.kind(card)])
            st.caption(OWN) if found else st.info(none_yet, icon=":material/conversion_path:")
            return slider_rows.own(found)
        case _:
            carried = resources.carried(name)
            st.caption(UNKNOWN if carried is None else NATS if carried.unit == "nats" else PIXELS)
            return slider_rows.dimensions(name, card, _range(name))


def _range(name: str) -> float:
    """How far the sliders go: as far as real codes lie, or as N(0, 1) reaches."""
    return parts.extent(resources.codes(name)[0]) if resources.has_codes(name) else latent.REACH
