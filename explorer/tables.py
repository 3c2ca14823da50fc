"""The reports' tables as values: a dict per row, by column; text unless a column is of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer import figures
from explorer.catalog import system
from training.checkpoint import Card
from training.report import REPORTED, Reported, Row
from training.scores import SCORES

Table = list[dict[str, Any]]
MAIN_METRICS = ("total", "kl", "jsd", "emd")
MAIN_SCORES = ("inception_score", "frechet", "class_agreement")
REAL = "real test images"
BETTER = {"higher": "higher", "lower": "lower", "real": "as real images"}


def overview(systems: Sequence[Row], problems: Mapping[str, str]) -> Table:
    """A row per system: how far it is trained, and its main numbers; None where it has not one."""
    return [
        {"system": system(row.recipe), "epochs": _trained(row, problems)} | _main_numbers(row.card)
        for row in systems
    ]


def without_empty_columns(table: Table) -> Table:
    """A table without the columns in which no row has a value."""
    kept = [name for name in (table[0] if table else {}) if any(r[name] is not None for r in table)]
    return [{name: row[name] for name in kept} for row in table]


def _trained(row: Row, problems: Mapping[str, str]) -> str:
    if row.card is not None:
        without = "" if row.shipped else ", results only"
        return f"{row.card.epochs} of {row.card.recipe.epochs}{without}"
    return "failed verification" if row.recipe.name in problems else "not trained yet"


def _main_numbers(card: Card | None) -> dict[str, float | None]:
    metrics = card.metrics if card else {}
    scores = card.scores.values if card and card.scores else {}
    numbers = {
        f"{figures.part(name).title}, test": metrics.get(f"test/{name}") for name in MAIN_METRICS
    } | {score_title(name): scores.get(name) for name in MAIN_SCORES}
    return {
        title: None if number is None else float(f"{number:.4g}")
        for title, number in numbers.items()
    }


def measured(card: Card) -> Table:
    """What training measured at its end; the judge's own accuracy left out."""
    table = []
    for name, value in card.metrics.items():
        of, _, what = name.partition("/")
        if of == "judge":
            continue
        title = figures.PARTS[what].title if what in figures.PARTS else score_title(what)
        source = "test set" if of == "test" else of
        table.append({"measure": title, "of": source, "value": f"{value:.4g}"})
    return table


def scored(card: Card) -> Table:
    """Every score of a card beside that of real test images, and what it means."""
    if (scores := card.scores) is None:
        return []
    table = []
    for name in scores.values:
        if name.endswith("_std"):
            continue
        known = SCORES.get(name)
        table.append(
            {
                "score": score_title(name),
                "this model": score(scores.values, name),
                REAL: score(scores.real, name),
                "better": BETTER[known.better] if known else "",
                "what it says": known.says if known else "",
            }
        )
    return table


def score_title(name: str) -> str:
    """Name of a score for people; its own name where nobody knows it."""
    return SCORES[name].title if name in SCORES else name


def score(values: Mapping[str, float], name: str) -> str:
    """A score with its deviation, where it has one; empty where it was not measured."""
    if name not in values:
        return ""
    deviation = values.get(f"{name}_std")
    return f"{values[name]:.4g}" + ("" if deviation is None else f" ± {deviation:.2g}")


def real_scores(systems: Sequence[Row]) -> dict[str, float]:
    """Scores of real test images, from every card that has them."""
    found: dict[str, float] = {}
    for row in systems:
        if row.card and row.card.scores:
            found = row.card.scores.real | found
    return found


def inception_scores(systems: Sequence[Row]) -> dict[str, dict[str, tuple[float, float]]]:
    """R2's Inception Scores and ours, each with its deviation, by what was scored."""
    name = "inception_score"

    def pair(values: Mapping[str, float]) -> tuple[float, float]:
        return values[name], values.get(f"{name}_std", 0.0)

    real = real_scores(systems)
    ours = {REAL: pair(real)} if name in real else {}
    for row in systems:
        if row.card and row.card.scores and name in row.card.scores.values:
            ours[row.recipe.title] = pair(row.card.scores.values)
    reported: list[Reported] = list(REPORTED["R2"].values())
    return {"report": {one.of: (one.value, one.std) for one in reported}, "here": ours}


def inception_table(groups: Mapping[str, Mapping[str, tuple[float, float]]]) -> Table:
    """The scores of `inception_scores` as a table, a row for everything that was scored."""
    of = dict.fromkeys(name for group in groups.values() for name in group)
    return [
        {"of": name}
        | {
            title: "{:.2f} ± {:.2f}".format(*group[name]) if name in group else ""
            for title, group in groups.items()
        }
        for name in of
    ]


def compare(systems: Sequence[Row], scores: Sequence[str]) -> Table:
    """Real test images and every scored system, by some scores, and what a sample takes."""
    shown = [name for name in scores if any(_has(row.card, name) for row in systems)]
    lines = {REAL: (real_scores(systems), "")}
    for row in systems:
        if row.card:
            values = row.card.scores.values if row.card.scores else {}
            lines[system(row.recipe)] = values, _ease(row.card)
    return [
        {"system": system}
        | {score_title(name): score(values, name) for name in shown}
        | {"a sample takes": ease}
        for system, (values, ease) in lines.items()
    ]


def _has(card: Card | None, name: str) -> bool:
    return bool(card and card.scores and name in card.scores.values)


def _ease(card: Card) -> str:
    """What one has to give for a sample: numbers from N(0, 1), and what can be asked for."""
    return f"{card.latent_dim} numbers" + (" and a class" if card.num_classes else "")
