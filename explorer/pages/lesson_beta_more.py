"""The lesson on beta: where codes lie, samples from noise, and the open end; all of it live."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st

from explorer import latent, pictures, resources, state
from explorer.components.latent_map import latent_map
from explorer.components.picture import Slot, picture
from explorer.components.slider_bank import slider_bank
from explorer.directions import ranked
from explorer.layout import Layout
from explorer.lessons import Exhibit, Finding
from explorer.lessons.beta import map_answer, name_of, reach_of, samples_answer
from explorer.pages import parts, slider_rows
from explorer.pages.lesson_beta_live import SMALL, Betas, choose_beta
from explorer.pages.lesson_blur_gan import MEASURED_BY, REAL, scored, table_of
from explorer.pages.pinned import pinned

SAMPLES = 20


def codes(betas: Betas) -> Exhibit:
    """The map of every beta's codes in the plane of their principal components."""
    _, data = choose_beta(betas)
    st.caption(
        "Each mark is a real image, placed by the two numbers of its code that say most at "
        f"{name_of(max(betas.names))}. Drag beta and watch them; point anywhere to see what is "
        "drawn there, the other numbers being 0."
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        plane, stops = _plane(betas)
        shown, classes = parts.told_apart(plane, betas.about.images.data.classes)
        latent_map(
            "beta_map",
            data,
            layout=shown,
            classes=classes,
            colours=parts.class_colours(),
            settled=partial(state.settle, betas.keys[0]),
            stops=stops,
        )
    with right:
        picture("beta_picture", data, models=betas.keys)
    reach = ", ".join(f"{reach_of(one):.2f} at {name_of(b)}" for b, one in betas.found.items())
    noise = ", ".join(f"{one.noise.mean():.2f} at {name_of(b)}" for b, one in betas.found.items())
    words = (
        f"The numbers of a code lie this far from 0, root mean square: **{reach}**. The noise "
        f"around them has a standard deviation of {noise}, on average; the prior's is 1."
    )
    table = [
        {
            "beta": f"{b:g}",
            "distance from 0": round(reach_of(one), 2),
            "noise": round(float(one.noise.mean()), 2),
        }
        for b, one in betas.found.items()
    ]
    return Exhibit(Finding(map_answer(betas.found), words), table=table)


def _plane(betas: Betas) -> tuple[Layout, list[latent.Array]]:
    """One plane for every beta, and where the codes of each lie in it.

    Of two numbers, not of principal components: those would be other directions with every beta.
    """
    axes = np.sort(ranked(betas.found[max(betas.found)].kl)[:2])
    basis = np.eye(betas.dim, dtype=np.float32)[axes]
    stops = [resources.codes(name)[0][:, axes] for name in betas.keys]
    codes, labels = resources.codes(betas.keys[0])
    names = latent.symbol(int(axes[0])), latent.symbol(int(axes[1]))
    origin = np.zeros(betas.dim, np.float32)
    return Layout(stops[0], codes, labels, "plane", names, origin=origin, basis=basis), stops


def samples(betas: Betas) -> Exhibit:
    """Samples of the same noise with every beta, and what they were scored."""
    st.caption("The same noise for every beta: drag, and the samples follow.")
    _, data = choose_beta(betas)
    st.button("Draw others", on_click=state.randomise, icon=":material/refresh:")
    z = latent.sample_z(st.session_state["seed"], SAMPLES * betas.dim).reshape(SAMPLES, -1)
    slots = [Slot(f"sample-{i}", f"Sample {i + 1}", z=one.tolist()) for i, one in enumerate(z)]
    picture("beta_samples", data, slots=slots, width=SMALL, captions=False, models=betas.keys)
    shown = {
        name_of(beta): pictures.row(resources.draw(name, z)) for beta, name in betas.names.items()
    }
    cards = {name: betas.about.cards[name] for name in betas.names.values()}
    found = scored(cards)
    table = table_of(cards, found)
    if len(found) < len(cards) + 1:
        return Exhibit(None, shown, table)
    known = {beta: found[name] for beta, name in betas.names.items()}
    sure = {beta: one["confidence"] for beta, one in known.items()}
    widest = max(known, key=lambda beta: known[beta]["coverage"])
    words = (
        f"The judge is surest at **{name_of(max(sure, key=sure.__getitem__))}**: on average "
        + ", ".join(f"{value:.1%} at {name_of(b)}" for b, value in sure.items())
        + f", and {found[REAL]['confidence']:.1%} of real images. Real images have a "
        f"sample close by most often at **{name_of(widest)}**: "
        + ", ".join(f"{one['coverage']:.1%} at {name_of(b)}" for b, one in known.items())
        + f". {MEASURED_BY}"
    )
    return Exhibit(Finding(samples_answer(sure), words), shown, table)


def open_end(betas: Betas) -> Exhibit:
    """Every number of the code by hand, with any beta."""
    beta, first = choose_beta(betas)
    name = betas.names[beta]
    left, right = st.columns([3, 2], gap="large")
    with left:
        rows = slider_rows.dimensions(name, betas.about.cards[name], latent.REACH)
        settled = partial(state.settle, name)
        slider_bank(f"beta_bank_{name}", betas.data(beta), rows=rows, settled=settled)
    with right:
        with pinned():
            picture(f"beta_open_{name}", first, models=betas.keys, leader=name)
        st.button("Randomise", on_click=state.randomise, icon=":material/refresh:")
    one = betas.found[beta]
    words = (
        f"At {name_of(beta)}: {one.used} of {len(one.kl)} numbers in use, copies "
        f"**{one.share:.2f}** times as sharp as the originals, negative ELBO "
        f"{one.negative_elbo:.1f} nats an image."
    )
    z = state.z_of(betas.about.cards[name])
    return Exhibit(Finding(None, words), {f"{name_of(beta)}": resources.draw(name, z[None])[0]})
