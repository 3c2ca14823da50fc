"""The lesson on digits: what each of its steps lets people try, and what was measured there."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from explorer import catalog, compare, pictures, sizes
from explorer.lessons import Exhibit, Finding, Step, digits
from explorer.pages import (
    lesson_digits_classes,
    lesson_digits_drag,
    lesson_digits_epochs,
    lesson_digits_loss,
    lesson_digits_open,
    lesson_digits_scores,
    parts,
)
from explorer.pages import lesson_digits_samples as samples
from explorer.pictures import Pixels
from training.checkpoint import Card, CheckpointError

MOST_GROUPS = 6
"""Groups of near-duplicates that are shown; of the others, how many there are."""
THUMBNAIL = 56
"""Pixels up to which the picture of a group is enlarged."""


def show(step: Step) -> Exhibit | None:
    """Draw a step; None where its models are not here."""
    try:
        return lesson_digits_open.show() if step.name == "open" else _of_the_cast(step)
    except CheckpointError as error:  # a file has changed since the model was opened
        st.error(f"A model of this step cannot be shown: {catalog.plain(str(error))}.")
        return None


def _of_the_cast(step: Step) -> Exhibit | None:
    """Draw a step about the lesson's own models."""
    cast = samples.cast()
    if not {digits.COLLAPSED, digits.HEALTHY} <= cast.keys() or not samples.ready():
        return None
    match step.name:
        case "sheets":
            return _sheets(cast)
        case "alike":
            return _alike(cast)
        case "classes":
            return lesson_digits_classes.show(cast)
        case "drag":
            return lesson_digits_drag.show(cast)
        case "epochs":
            return lesson_digits_epochs.show()
        case "loss":
            return lesson_digits_loss.show()
        case _:
            return lesson_digits_scores.show(cast)


def _sheets(cast: dict[str, Card]) -> Exhibit:
    """A sheet of each model's pictures, of the same noise; another seed draws others."""
    parts.seed_input()
    near = samples.nearness(digits.SHEET, 1.0)
    different = {name: samples.different(samples.drawn(name), near) for name in cast}
    titles = compare.headings(cast)
    shown: dict[str, Pixels] = {}
    for (name, card), column in zip(cast.items(), st.columns(len(cast)), strict=True):
        caption = (
            f"{titles[name]}: {card.parameters['generator']:,} weights, {different[name]} of "
            f"{digits.SHEET} different"
        )
        shown[caption] = samples.sheet(samples.drawn(name))
        parts.picture(column, pictures.enlarge(shown[caption], 2), caption, caption)
    samples.about_deeper()
    finding = None
    if set(digits.CAST) <= cast.keys():
        finding = Finding(
            digits.which_collapsed({name: different[name] for name in digits.CAST}, digits.SHEET),
            f"Different pictures among {digits.SHEET}, near-duplicates counted once: "
            + _listed({titles[name]: count for name, count in different.items()}),
        )
    return Exhibit(finding, shown)


def _alike(cast: dict[str, Card]) -> Exhibit:
    """The pictures of each in groups of near-duplicates; how near that is can be changed."""
    percent = st.select_slider(
        "Two pictures count as one when nearer than so many real digits are to any other",
        digits.PERCENTS,
        1.0,
        format_func="{:g} %".format,
        key="digits_percent",
    )
    near = samples.nearness(digits.SHEET, percent)
    st.caption(
        f"That is a distance of {near:.2f} over all pixels, measured among real test digits, "
        f"{digits.SHEET} at a time."
    )
    titles = compare.headings(cast)
    everyone = {titles[name]: samples.drawn(name) for name in cast}
    everyone[samples.REAL] = samples.real(0, digits.SHEET)
    table, shown, repeats = [], {}, {}
    for of, images in everyone.items():
        found = digits.groups(digits.flat(images), near)
        repeats[of] = digits.repeats(found)
        parts.heading(f"{of}: {len(found)} different")
        first = images[[group[0] for group in found[:MOST_GROUPS]]]
        _groups(of, first, [len(group) for group in found])
        shown[f"{of}: one picture for each of its largest groups"] = pictures.row(first)
        row = {"pictures of": of, "different": len(found), "largest group": len(found[0])}
        table.append(row | {"repeats": repeats[of]})
    most = max(repeats[titles[name]] for name in digits.CAST[1:] if name in cast)
    finding = Finding(
        digits.how_many_repeat(most / digits.SHEET),
        f"Near-duplicates of a picture before them, among {digits.SHEET}: " + _listed(repeats),
    )
    return Exhibit(finding, shown, table)


def _listed(counts: Mapping[str, int]) -> str:
    """Counts by what they are of, as Markdown."""
    return "; ".join(f"{catalog.plain(of)}: **{n}**" for of, n in counts.items()) + "."


def _groups(of: str, images: Pixels, sizes_of: list[int]) -> None:
    """A picture for each of the largest groups with its size, and how many more there are."""
    with st.container(horizontal=True, vertical_alignment="center"):
        for image, size in zip(images, sizes_of, strict=False):
            scale = sizes.enlargement(len(image), THUMBNAIL)
            times = f"{size} times" if size > 1 else "once"
            parts.picture(st, pictures.enlarge(image, scale), f"{of}: {times}", times)
        if rest := sizes_of[len(images) :]:
            st.caption(f"and {len(rest)} more, {'once each' if rest[0] == 1 else 'in groups'}")
