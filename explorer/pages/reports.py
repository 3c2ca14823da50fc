"""What did the five reports find, and what do we?"""

from __future__ import annotations

import shlex
from pathlib import Path

import streamlit as st

from explorer import catalog, figures, resources, tables
from explorer.pages import parts, report_pictures, report_system
from training.checkpoint import Card, CheckpointError
from training.report import FIGURES, REPORTED, REPORTS, Row, rows

SUBJECTS = {
    "R1": "VAE, DCGAN and WGAN on MNIST and CIFAR-10",
    "R2": "LSTM-encoder VAE, GAN under two losses, Inception Score",
    "R3": "Convolutional VAE, GAN and conditional GAN on MNIST",
    "R4": "VAE, GAN and WGAN-GP: latent size and epochs",
    "R5": "GAN against VAE of equal size, MNIST and Imagenette",
}
COMPARED = ("frechet", "inception_score", "precision", "class_agreement")


def page() -> None:
    """Draw the page."""
    st.title("What did the reports find?")
    st.caption(
        "Five course reports describe the systems of this project. Choose one: every system of it "
        "is here, what the report says of it beside what was measured on ours."
    )
    st.segmented_control(
        "Report",
        REPORTS,
        key="report",
        required=True,
        persist_state="session",
        on_change=lambda: st.session_state.update(row=""),
    )
    report = st.session_state["report"]
    st.subheader(f"{report}: {SUBJECTS[report]}")
    st.caption(f"Loss figures of the report that are made anew here: {FIGURES[report]}.")
    found = resources.models()
    systems = rows(found.measured, report)
    problems = {Path(folder).name: problem for folder, problem in found.problems.items()}
    _table(tables.overview(systems, problems), f"Every system of {report}")
    _compare(report, systems)
    row = _choose(systems)
    st.header(catalog.system(row.recipe), divider="gray")
    _show(row, report, found.root, problems.get(row.recipe.name, ""))


def _table(table: tables.Table, alt: str) -> None:
    if table := tables.without_empty_columns(table):
        st.dataframe(table, hide_index=True, placeholder="", alt=alt)


def _compare(report: str, systems: list[Row]) -> None:
    """What the report compares across its systems."""
    colours = parts.class_colours()
    match report:
        case "R1":
            charts = figures.dense_sweeps(systems, colours)
            if charts:
                st.subheader("Final test loss against latent size and width")
                report_pictures.show_figures("R1-sweeps", charts)
        case "R2":
            st.subheader("Inception Score")
            groups = tables.inception_scores(systems)
            _table(tables.inception_table(groups), "Inception Scores")
            images = next(iter(REPORTED["R2"].values())).images
            st.caption(
                f"The report scored {images} images each with a classifier of its own; ours is "
                "another, so the columns compare in order, not in size."
            )
            chart = figures.bars(groups, "Inception Score", colours)
            report_pictures.show_figures("R2-inception-score", {"Inception Score": chart})
        case "R3":
            st.subheader("The three compared")
            _table(tables.compare(systems, COMPARED), "VAE, GAN and conditional GAN")
            st.caption("Smoothness is not measured here: the strips of each system show it.")


def _choose(systems: list[Row]) -> Row:
    """The system shown in detail: the link's, else the first of which there is most to see."""
    by_name = {row.recipe.name: row for row in systems}
    asked = st.session_state["row"]
    if asked not in by_name:
        if asked:
            said = catalog.plain(repr(asked))
            st.warning(f"There is no system {said} in this report; this is another one.")
        first = max(systems, key=lambda row: (row.shipped, row.card is not None))
        st.session_state["row"] = first.recipe.name
    st.selectbox(
        "System",
        list(by_name),
        format_func=lambda name: catalog.system(by_name[name].recipe),
        key="row",
        persist_state="session",
    )
    return by_name[st.session_state["row"]]


def _show(row: Row, report: str, root: Path, problem: str) -> None:
    name, card = row.recipe.name, row.card
    left, right = st.columns(2)
    with left:
        st.markdown("**The report says**")
        st.markdown(catalog.plain(row.says) or "Nothing of this one by itself.")
    with right:
        st.markdown("**Measured here**")
        if card is not None:
            data = catalog.data_set(card.recipe.dataset)
            st.caption(catalog.plain(f"After {card.epochs} epochs on {data}. {card.notes}"))
            if not row.shipped:
                st.info(
                    "Its weights are not here, only its results: the other pages do not have it. "
                    f"Train it again with `latent-train fit {name}`."
                )
            _table(tables.measured(card), "Measured at the end of training")
        elif problem:
            st.error(f"This checkpoint was left out: {catalog.plain(problem)}.")
        else:
            st.info(f"Not trained yet. Train it with `latent-train fit {name}`.")
    if card is None:
        return
    folder = root / row.folder
    _scores(card, folder)
    try:
        if row.shipped:
            report_system.draw_all(name, report)
        else:
            report_system.draw_results(name, folder, card)
    except CheckpointError as error:
        st.error(f"The rest of this checkpoint cannot be shown: {catalog.plain(str(error))}.")


def _scores(card: Card, folder: Path) -> None:
    """What ``latent-train evaluate`` measured, with the judge behind it."""
    if (scores := card.scores) is None:
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())
        command = f"latent-train evaluate {shlex.quote(str(folder))}"
        st.info(f"Not scored yet. Score it with `{command}`.")
        return
    st.subheader("Scores")
    judge = "no judge reads this data set"
    if scores.judge is not None:
        judge = (
            f"read by {catalog.plain(scores.judge.name)}, a classifier trained here that is right "
            f"on {scores.judge.accuracy:.1%} of the test set"
        )
    st.caption(f"Of {scores.samples:,} samples, {judge}.")
    _table(tables.scored(card), "Scores beside those of real test images")
