"""How do models differ?"""

from __future__ import annotations

from functools import partial

import streamlit as st

from explorer import catalog, compare, latent, resources, state
from explorer.components.picture import Slot, picture
from explorer.components.slider_bank import slider_bank
from explorer.pages import compared_image, parts, slider_rows
from explorer.pages.pinned import pinned
from training.onnx_files import AnyCard

DRIVES = {"image": "A real image", "z": "The same numbers"}
NUMBERS = (
    "Drag a slider: every model draws the same numbers, as many of them as it takes. They were "
    "drawn from the same N(0, 1), but mean something else to each model. The strips are of"
)


def page() -> None:
    """Draw the page."""
    st.title("How do models differ?")
    name, _ = parts.current_model()
    cards = _choose(name)
    drives = [
        drive for drive in DRIVES if drive == "z" or any(map(resources.encodes, cards.values()))
    ]
    if st.session_state["drive"] not in drives:
        st.session_state["drive"] = drives[0]
    st.segmented_control(
        "Moved by",
        drives,
        format_func=DRIVES.__getitem__,
        key="drive",
        required=True,
        persist_state="session",
    )
    if st.session_state["drive"] == "image":
        compared_image.by_image(cards)
    else:
        _by_numbers(cards)
    st.subheader("Cards and scores")
    st.dataframe(compare.table(cards), hide_index=True, height="content")


def _choose(name: str) -> dict[str, AnyCard]:
    """The chosen model and those beside it, of the same data; stops where there are none."""
    found = resources.models().cards
    offered = compare.partners(found, name)
    if not offered:
        st.info("No other model here draws such images: there is nothing to compare this one with.")
        st.stop()
    asked = st.session_state["with"]
    if lost := [other for other in asked if other not in offered]:
        st.warning(f"Not beside this model: {catalog.plain(', '.join(lost))}.")
    kept = [other for other in asked if other in offered][: compare.MOST - 1]
    st.session_state["with"] = kept or compare.suggested(found, name)
    titles = compare.headings(found)
    st.multiselect(
        "Beside it",
        offered,
        format_func=titles.__getitem__,
        key="with",
        max_selections=compare.MOST - 1,
        persist_state="session",
        help="Models of the same images. The first is chosen in the sidebar.",
    )
    return {one: found[one] for one in (name, *st.session_state["with"])}


def _by_numbers(cards: dict[str, AnyCard]) -> None:
    """One latent, and what every model draws from it."""
    leader = max(cards, key=lambda name: cards[name].latent_dim)
    titles = compare.headings(cards)
    st.caption(f"{NUMBERS} {catalog.plain(titles[leader])}.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        parts.seed_input()
        st.button("Randomise", on_click=state.randomise, icon=":material/casino:")
        parts.class_input(max(cards.values(), key=lambda card: card.num_classes))
    left, right = st.columns([2, len(cards)], gap="large")
    data = {name: state.components_data(name, card) for name, card in cards.items()}
    with left:
        slider_bank(
            f"compared_sliders_{leader}",
            data[leader],
            rows=slider_rows.plain(cards[leader], latent.REACH),
            settled=partial(state.settle, leader),
        )
    with right, pinned(all_across=True), st.container(horizontal=True, gap="small"):
        for name, card in cards.items():
            with st.container():
                weights = state.weights_of(card)
                slot = Slot("live-image", "The image at this point", _as_list(weights))
                picture(
                    f"compared_picture_{name}",
                    data[name],
                    slots=(slot,),
                    width=compared_image.WIDTH,
                    leader=leader,
                )
                parts.heading(titles[name])
                st.caption(_takes(card, cards[leader]))


def _as_list(weights: latent.Array | None) -> list[float] | None:
    return None if weights is None else weights.tolist()


def _takes(card: AnyCard, leader: AnyCard) -> str:
    """How many of the numbers a model takes."""
    d, most = card.latent_dim, leader.latent_dim
    return f"takes all {d} numbers" if d == most else f"takes the first {d} of {most} numbers"
