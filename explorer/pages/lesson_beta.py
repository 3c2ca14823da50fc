"""The lesson on beta: copies, and the two terms of the loss."""

from __future__ import annotations

import streamlit as st

from explorer import resources
from explorer.lessons import Exhibit, Finding, Step, copies
from explorer.lessons.beta import bound_answer, copies_answer, name_of
from explorer.pages import lesson_beta_live, lesson_beta_more
from explorer.pages.lesson_beta_live import Betas
from explorer.pages.lesson_charts import several
from explorer.pages.lesson_images import (
    choose,
    copied,
    lacking,
    measured,
    row,
    subject,
)
from explorer.pages.report_pictures import show_figures


def show(step: Step) -> Exhibit | None:
    """Draw a step."""
    if (betas := _betas()) is None:
        return None
    match step.name:
        case "copies":
            return _copies(betas)
        case "bound":
            return _bound(betas)
        case "collapse":
            return lesson_beta_live.collapse(betas)
        case "map":
            return lesson_beta_more.codes(betas)
        case "samples":
            return lesson_beta_more.samples(betas)
        case _:
            return lesson_beta_more.open_end(betas)


def _betas() -> Betas | None:
    """The row of VAEs that differ in beta alone, and what they make of real images."""
    if (about := subject()) is None:
        return None
    lacking(about, *(f"mnist-beta-vae-{beta}" for beta in ("0.1", "1", "4", "10")))
    names = copies.by_beta(about.cards)
    if len(names) < 2:
        st.info("This lesson compares VAEs that differ in beta alone: fewer than two are here.")
        return None
    by_beta = {copies.beta_of(about.cards[name]) or 0.0: name for name in names}
    return Betas(about, by_beta, {beta: resources.copied(n) for beta, n in by_beta.items()})


def _copies(betas: Betas) -> Exhibit:
    """One image copied with every beta, and the loss of each written out."""
    image = choose(betas.about.images)
    shown = {"original": betas.about.images.pixels(image)}
    shown |= {name_of(beta): copied(name, image) for beta, name in betas.names.items()}
    measured("beta", shown)
    _written_out(betas)
    told = ", ".join(f"{one.share:.2f} at {name_of(b)}" for b, one in betas.found.items())
    count = next(iter(betas.found.values())).originals.count
    words = f"Over {count:,} images the copies' sharpness is {told}, where the originals have 1."
    return Exhibit(Finding(copies_answer(betas.found), words), row(shown), _table(betas))


def _written_out(betas: Betas) -> None:
    """The loss of every model with its measured terms."""
    lines = r"\\".join(
        rf"\beta={beta:g}:\ &{one.reconstruction:.1f}+{beta:g}\cdot{one.kl.sum():.1f}"
        rf"&&={one.reconstruction + beta * float(one.kl.sum()):.1f}"
        for beta, one in betas.found.items()
    )
    st.markdown(
        "What each was trained to make small, measured here on real images, in nats an image:\n\n"
        r"$$\underbrace{-\,\mathbb E\log p(x|z)}_{\text{reconstruction}}"
        r"+\beta\cdot\underbrace{\mathrm{KL}\big(q(z|x)\|p(z)\big)}_{\text{price of the code}}$$"
        f"\n\n$$\\begin{{aligned}}{lines}\\end{{aligned}}$$"
    )


def _table(betas: Betas) -> list[dict]:
    return [
        {
            "beta": f"{beta:g}",
            "reconstruction": round(one.reconstruction, 1),
            "KL": round(float(one.kl.sum()), 1),
            "negative ELBO": round(one.negative_elbo, 1),
            "numbers in use": f"{one.used} of {len(one.kl)}",
            "sharpness": round(one.share, 3),
        }
        for beta, one in betas.found.items()
    ]


def _bound(betas: Betas) -> Exhibit:
    """Reconstruction, KL, and both together, by beta."""
    groups = {
        "reconstruction": {name_of(b): one.reconstruction for b, one in betas.found.items()},
        "KL": {name_of(b): float(one.kl.sum()) for b, one in betas.found.items()},
        "both: negative ELBO": {name_of(b): one.negative_elbo for b, one in betas.found.items()},
    }
    words = {
        group: [f"{value:.0f}" for value in values.values()] for group, values in groups.items()
    }
    chart = several(groups, "nats an image", words)
    count = next(iter(betas.found.values())).originals.count
    show_figures("lesson-beta-bound", {f"The terms, mean of {count:,} images": chart})
    best = min(betas.found, key=lambda beta: betas.found[beta].negative_elbo)
    told = ", ".join(f"{one.negative_elbo:.1f} at {name_of(b)}" for b, one in betas.found.items())
    words = f"The negative ELBO is lowest at **{name_of(best)}**: {told}, in nats an image."
    return Exhibit(Finding(bound_answer(betas.found), words), table=_table(betas))
