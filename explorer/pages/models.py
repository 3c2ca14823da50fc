"""Which model do you want to hold?"""

from __future__ import annotations

import streamlit as st

from explorer import catalog, resources, state, tiles
from explorer.catalog import Catalog
from explorer.pages import absent, filters, parts

WIDTH = 250
"""Pixels that a tile has at least."""
INVITES = {
    "map": "See where images live in",
    "sliders": "Move every number of",
    "morph": "Walk between two images of",
    "draw": "Draw a digit for",
    "digits": "Ask for digits from",
    "replay": "Watch the training of",
}
"""What each page does with a model."""
WORDS = """
- **Latent numbers**, $z$: the few numbers that an image is made of. All their combinations are the
  *latent space*; near ones give images that look alike.
- **VAE**, variational autoencoder: an *encoder* squeezes a real image into latent numbers, a
  *decoder* makes the image of them again, and both learn together. It can say where a real image
  lives; what it draws is often blurred.
- **GAN**, generative adversarial network: a *generator* draws from random numbers, and a
  *discriminator* learns to tell its pictures from real ones; each gets better against the other. It
  draws sharply, knows no way from an image back to numbers, and may end up with few different
  pictures: *mode collapse*.
- **Conditional GAN**: a GAN that is told which class to draw.
- **Wasserstein GAN**, and **WGAN-GP**, with a gradient penalty: the opponent is a *critic*, which
  gives marks instead of a verdict. That keeps the training steady.
- **Judge**: a classifier of real images that reads what the models draw, so that they can be
  measured.
"""
"""What the words of this page mean, for those who meet them for the first time."""


def page() -> None:
    """Draw the page."""
    found = resources.models()
    if not found.cards:
        absent.no_models(found)
        return
    st.title("Which model do you want to hold?")
    _welcome(found)
    st.space("xsmall")
    names = filters.choose(found.cards)
    grid = st.grid(4, min_column_width=WIDTH)
    for name in names:
        with grid.container(border=True, height="stretch", gap="xsmall"):
            _tile(found, name)
    absent.points_only(found)
    _problems(found)


def _welcome(found: Catalog) -> None:
    """What this is, and a way in for those who are here for the first time."""
    st.markdown(
        "Each of these neural networks makes an image out of a few numbers. Take one, move its "
        "numbers, and the image follows your hand."
    )
    with st.container(horizontal=True):
        if first := next(filter(resources.planes, found.cards), None):
            st.button(
                f"Start: drag through the {parts.kind(found.cards[first])}",
                key="start",
                type="primary",
                icon=":material/drag_pan:",
                on_click=state.open_page,
                args=("map", first),
            )
        st.button(
            "Take a lesson",
            key="lessons",
            type="tertiary",
            icon=":material/school:",
            on_click=lambda: st.session_state.update(go="lessons"),
        )
        with st.popover("What are VAEs and GANs?", icon=":material/help:", type="tertiary"):
            st.markdown(WORDS)


def _tile(found: Catalog, name: str) -> None:
    """One model: its samples, what it is, how good it is, and where it can be opened."""
    card = found.cards[name]
    title = catalog.plain(card.title)
    picture = resources.samples(name, found.root / name, card)
    if picture is not None:
        parts.picture(st, picture, f"Samples of {card.title}", width="stretch")
    st.markdown(f"##### {title}", anchors=False)
    st.markdown(tiles.badges(card))
    lines = [tiles.build(card), *(tiles.measured(card) or ["Not scored yet"])]
    st.markdown("  \n".join(f":small[{line}]" for line in lines))
    st.space("stretch")
    with st.container(horizontal=True, gap="xsmall"):
        for where, why_not in catalog.abilities(card, bool(resources.planes(name))).items():
            st.button(
                where.title() if why_not else f":primary[{where.title()}]",
                key=f"{where} {name}",
                help=why_not or f"{INVITES[where]} {title}",
                disabled=bool(why_not),
                type="tertiary",
                on_click=state.open_page,
                args=(where, name),
            )


def _problems(found: Catalog) -> None:
    """The folders that failed: which check, and what to do."""
    if not found.problems:
        return
    st.subheader("Left out", help="These folders failed a check, so that nothing was opened.")
    grid = st.grid(4, min_column_width=WIDTH, border=True)
    for problem in catalog.told(found):
        grid.markdown(f":material/broken_image: {problem}")
