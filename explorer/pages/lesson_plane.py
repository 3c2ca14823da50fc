"""The steps of the lesson about mode collapse in the plane: one run each, trained live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.components.lab import lab
from explorer.lessons import Exhibit, Step, plane
from explorer.pages import parts
from training.plane import Objective, Setting

TITLES: dict[Objective, str] = {
    "minimax": "Plain GAN, minimax",
    "non-saturating": "GAN, non-saturating",
    "wgan-clip": "WGAN with clipping",
    "wgan-gp": "WGAN-GP",
}
DATA = {"points": "Your own points", "ring8": "Ring of 8", "grid25": "Grid of 25"}
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)


def show(step: Step) -> Exhibit | None:
    """Draw a step: the lab, and in the last one what it trains."""
    setting = replace(plane.SETTINGS[step.name], seed=st.session_state["seed"])
    if not step.options:
        setting = _chosen(setting)
    key, kept = f"lab {step.name}", f"seen {step.name}"

    def settled(values: Any) -> None:
        if seen := plane.read_seen(values):
            st.session_state[kept] = seen
            if seen.setting.data == "points":
                st.session_state["points"] = list(seen.setting.points)

    lab(
        key,
        setting,
        until=plane.UNTIL,
        colours=_colours(),
        points=setting.data == "points",
        settled=settled,
    )
    seen: plane.Seen | None = st.session_state.get(kept)
    if seen is None or _trains(seen.setting) != _trains(setting):
        st.caption(f"Press *Play*: after {plane.UNTIL} steps the answer stands here.")
        return None
    found = plane.finding(step, seen)
    if found is None and step.options:
        st.caption(f"At {plane.UNTIL} steps the answer stands here: press *Play* again.")
    caption = f"{step.title}, at step {seen.now.step}"
    return Exhibit(found, {caption: plane.picture(seen, _colours()[:2])}, plane.table(seen))


def _trains(setting: Setting) -> Setting:
    """A setting without what the hand chooses in the lab itself."""
    points = plane.OWN.points if setting.data == "points" else ()
    return replace(setting, seed=0, points=points)


def _colours() -> list[str]:
    """Of the field, low and high, of data and of the grid."""
    colours = parts.class_colours()
    return [colours[0], colours[1], colours[2], colours[3]]


def _chosen(setting: Setting) -> Setting:
    """The setting of the last step, by its controls."""
    (data, objective, rate), (momentum, critic, width) = st.columns(3), st.columns(3)
    chosen = data.selectbox("Data", tuple(DATA), format_func=DATA.__getitem__, key="plane data")
    loss = objective.selectbox(
        "Objective", tuple(TITLES), format_func=TITLES.__getitem__, key="plane objective"
    )
    critical = loss.startswith("wgan")
    own: list[tuple[float, float]] = st.session_state["points"]
    return replace(
        setting,
        data=chosen,
        points=(tuple(own) or setting.points) if chosen == "points" else (),
        objective=loss,
        learning_rate=rate.select_slider(
            "Step size", RATES, setting.learning_rate, key="plane rate"
        ),
        momentum=momentum.select_slider(
            "Momentum",
            (0.0, 0.5, 0.9),
            setting.momentum,
            key="plane momentum",
            disabled=loss == "wgan-clip",
            help="Adam's; RMSprop, which clipping goes with, has none.",
        ),
        critic_steps=critic.select_slider(
            "Critic's steps", range(1, 6), 5, key="plane critic", disabled=not critical
        ),
        width=width.select_slider("Width", (16, 32, 64, 128), setting.width, key="plane width"),
    )
