"""What a page says where models, maps or images are not there, and what to do."""

from __future__ import annotations

import streamlit as st

from explorer import catalog, resources, settings, state
from training.data import DataError
from training.download import download_mnist
from training.onnx_files import AnyCard

OFFERED = 6
"""Models offered at most, the first ones in the order in which people should meet them."""


def no_models(found: catalog.Catalog) -> None:
    """The page of an app without a single usable checkpoint."""
    st.title("No models yet")
    st.markdown(
        f"There is no usable checkpoint in `{found.root}`. Train one with "
        "`latent-train fit mnist-conv-vae-z2` and open it with "
        "`latent-explorer --checkpoints runs`, or leave `--checkpoints` out to see the ones that "
        "come with the project."
    )
    points_only(found)
    for problem in catalog.told(found):
        st.error(problem)
    st.caption(f"Data folder: {settings.data_dir()}")


def points_only(found: catalog.Catalog) -> None:
    """Say where models of points are to be seen, which draw no pictures."""
    if found.points:
        names = ", ".join(f"`{name}`" for name in found.points)
        st.caption(
            f"{names}: of points of the plane, not of pictures. `latent-train report` shows what "
            "they draw beside their scores; the lesson on training in the plane trains such "
            "models live."
        )


def no_map(card: AnyCard) -> None:
    """Say why there is no map of this model, and what to do instead."""
    if card.family == "vae":
        st.info(
            "There is no map: this model's real images are not here, and its checkpoint has no "
            f"atlas of their codes. {resources.missing(card)}"
        )
    else:
        st.info(
            "This model has no encoder: nothing says where a real image would lie among its "
            f"{card.latent_dim} numbers. A map of its samples, as a judge sees them, is made at "
            "the end of a training whose data have a judge; this checkpoint has none. Move through "
            "this model on the **Sliders** page."
        )
    instead("map")


def instead(page: str) -> None:
    """Offer models that ``page`` can show, where there are any, in place of one that it cannot."""
    cards = resources.models().cards
    able = [
        name
        for name, card in cards.items()
        if not catalog.abilities(card, bool(resources.planes(name)))[page]
    ]
    if not able:
        return
    st.markdown("This page can show:")
    with st.container(horizontal=True):
        for name in able[:OFFERED]:
            st.button(
                catalog.plain(cards[name].title),
                key=f"{page} {name}",
                on_click=state.open_page,
                args=(page, name),
            )


def data_notice(card: AnyCard) -> None:
    """Where a model's real images are missing: say so, and how to get them or offer to fetch."""
    problem, images = resources.missing(card), resources.real_images(card)
    if not problem:
        return
    title = (
        f"Showing {len(images):,} digits that come with the app; the full test set is not on "
        "this computer."
        if images
        else "Showing no originals: this model's real images are not on this computer."
    )
    with st.expander(title, icon=":material/download:"):
        st.markdown(problem)
        if images and st.button("Download MNIST (11 MB)", key="download"):
            _download()


def _download() -> None:
    bar = st.progress(0.0, "Starting…")

    def show_bytes(name: str, done: int, total: int) -> None:
        bar.progress(min(done / total, 1.0) if total else 0.0, f"{name}: {done / 2**20:.1f} MB")

    try:
        download_mnist(settings.data_dir(), show_bytes)
    except DataError as error:
        bar.empty()
        st.error(str(error))
    else:
        st.rerun()
