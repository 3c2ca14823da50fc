"""Two random latents as the ends of a morph."""

from __future__ import annotations

import streamlit as st

from explorer import catalog, latent
from explorer.pages.picked import SIDES, Pick, last, pick
from training.onnx_files import AnyCard


def choose(card: AnyCard) -> tuple[Pick, Pick]:
    """Two random latents by their seeds, each with its class where the model is conditional."""
    chosen = []
    classes = range(card.num_classes)
    for i, (column, side) in enumerate(zip(st.columns(2, gap="large"), SIDES, strict=True)):
        with column:
            st.session_state[_key(side)] = _seed_of(side, default=i + 1)
            with st.container(horizontal=True, vertical_alignment="bottom"):
                seed = st.number_input(
                    f"{SIDES[side]}: seed",
                    0,
                    10**9 - 1,
                    key=_key(side),
                    on_change=_take_seed,
                    args=(side,),
                    width=180,
                )
            pick(side, f"seed-{seed}")  # an image, until here, of a model that encodes
            label = None
            if classes:
                key = SIDES[side].lower()
                st.session_state[key] = min(st.session_state[key], card.num_classes - 1)
                label = st.segmented_control(
                    "Class",
                    classes,
                    format_func=lambda c: catalog.plain(card.classes[c]),
                    key=key,
                    required=True,
                    persist_state="session",
                )
            z = latent.sample_z(int(seed), card.latent_dim)
            chosen.append(Pick(f"seed-{seed}", z, None, label))
    return chosen[0], chosen[1]


def _key(side: str) -> str:
    return f"seed_{side}"


def _take_seed(side: str) -> None:
    """Take the field's number before the field takes that of the link, which Back may change."""
    pick(side, f"seed-{st.session_state[_key(side)]}")


def _seed_of(side: str, default: int) -> int:
    return int((last(side, "seed-") or f"seed-{default}").removeprefix("seed-"))
