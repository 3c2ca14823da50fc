"""The lesson on digits: what a judge reads in samples."""

from __future__ import annotations

import numpy as np
import streamlit as st
from torch import Tensor

from explorer import compare, figures, pictures
from explorer.lessons import Exhibit, Finding, digits
from explorer.lessons.digits import Measured
from explorer.pages import lesson_digits_samples as samples
from explorer.pages import parts, report_pictures
from training.checkpoint import Card


def show(cast: dict[str, Card]) -> Exhibit:
    """How often the judge reads each digit in pictures of every model, and in real ones."""
    n = how_many("digits_many")
    titles = compare.headings(cast)
    measured = {title: of_model(name, n) for name, title in titles.items()}
    measured[samples.REAL] = of_real(n)
    shown = {}
    for name, title in titles.items():
        seen = samples.read(name, n).logits[: digits.COLUMNS].argmax(1).tolist()
        caption = f"{title}: read as {' '.join(map(str, seen))}"
        shown[caption] = pictures.row(samples.drawn(name)[: digits.COLUMNS], 1)
        parts.picture(st, pictures.enlarge(shown[caption], 2), caption, caption)
    bars(measured, n)
    rows = [
        {"pictures of": of, **one.spread(), **one.marks("coverage")} for of, one in measured.items()
    ]
    st.dataframe(rows, hide_index=True, alt="What the judge reads, in numbers")
    collapsed, twin = (measured[titles[name]] for name in (digits.COLLAPSED, digits.HEALTHY))
    return Exhibit(
        Finding(
            digits.how_many_classes(collapsed),
            f"It reads **{collapsed.shares.max():.0%}** of {n:,} pictures as a "
            f"{collapsed.largest}, {collapsed.confidence:.0%} sure on average (of real digits "
            f"{measured[samples.REAL].confidence:.1%}). Entropy: **{collapsed.entropy:.2f} nats**, "
            f"the twin's {twin.entropy:.2f}, real digits' "
            f"{measured[samples.REAL].entropy:.2f}. The twin's rarest digit is "
            f"{twin.shares.min():.1%} of its pictures{_rarest(cast[digits.HEALTHY])}.",
        ),
        shown,
        [{**row, **one.by_class()} for row, one in zip(rows, measured.values(), strict=True)],
    )


def how_many(key: str) -> int:
    """How many pictures of each the judge reads: a control."""
    n = st.segmented_control(
        "Pictures of each",
        digits.COUNTS,
        default=digits.COUNTS[0],
        required=True,
        format_func="{:,}".format,
        key=key,
    )
    assert n, "one is required"
    return n


def of_model(name: str, n: int) -> Measured:
    """What the judge tells of a model's first ``n`` pictures, beside as many real digits."""
    return digits.measure(samples.read(name, n), features(n))


def of_real(n: int) -> Measured:
    """The same of other real digits: what a perfect model would get."""
    return digits.measure(samples.read_real(n, n), features(n))


def features(n: int) -> Tensor:
    """The judge's features of the real digits that pictures are compared with."""
    return samples.read_real(0, n).features


def bars(measured: dict[str, Measured], n: int) -> None:
    """The shares of the classes, and how far they may be off by chance."""
    groups = {}
    for of, one in measured.items():
        shares = one.shares.double().numpy()
        off = np.sqrt(shares * (1 - shares) / n)
        groups[of] = {str(k): (shares[k], off[k]) for k in range(len(shares))}
    chart = figures.bars(groups, "share of pictures", parts.class_colours())
    chart.update_xaxes(type="category", title_text="read as")
    title = f"What the judge reads in {n:,} pictures of each"
    report_pictures.show_figures("digits-classes", {title: chart})


def _rarest(card: Card) -> str:
    """The same of the pictures by which a model was scored, where it was."""
    if not card.scores or not card.scores.class_shares:
        return ""
    least = min(card.scores.class_shares.values())
    return f", and {least:.1%} of the {card.scores.samples:,} by which it was scored"
