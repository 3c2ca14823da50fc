"""What the five reports say of each system, beside what was measured here.

``write`` makes a folder's ``README.md`` and ``report.json`` out of its cards; nothing in them is
typed by hand but what the reports say.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from training import results
from training.checkpoint import Card, CheckpointError, Scores, find, verify_files
from training.files import write_synced
from training.onnx_files import is_foreign
from training.recipes import ELBO, RECIPES, Recipe
from training.scores import SCORES

REPORTS = ("R1", "R2", "R3", "R4", "R5")

FIGURES: dict[str, str] = {
    "R1": "1, 2, 5, 6, 9, 10, 19 to 21, 23, 29, 31",
    "R2": "1.1, 1.2, 1.6, 1.7",
    "R3": "all three, which have no numbers",
    "R4": "15, 22, 29, 36, 43, 50",
    "R5": "1, 4, 7, 10",
}
"""Which figures of each report are remade."""

LIMIT_MB = 40
"""Megabytes (10^6 bytes) that all shipped checkpoints together may take."""
MARK = "Written by `latent-train report`; do not edit."
"""The line by which a README is known to be ours to replace."""
DETAILS = {
    "confidence",
    "class_entropy",
    "class_distance",
    "class_agreement_worst",
    "high_frequency",
    "diversity",
    "negative_elbo",
    "reconstruction",
    "kl",
    "importance_bound",
    "mse",
    "ssim",
    "reconstruction_sharpness",
}
"""Scores that report.json alone has; the README's tables have every other one."""
NOT_SHIPPED = (
    f"All that is shipped fits into {LIMIT_MB} MB. Of models marked *results only* there are card, "
    "losses and picture, and no weights: `latent-train fit NAME` trains them again."
)
"""What a README says where there are such."""
ARROWS = {"higher": "↑", "lower": "↓", "real": "≈"}
"""Which way a score is better."""


@dataclass(frozen=True)
class Reported:
    """A score as a report gives it."""

    score: str
    """Which one: a name of `training.scores.SCORES`."""
    of: str
    """What was scored, in words."""
    value: float
    """Its value."""
    std: float
    """Its standard deviation."""
    images: int
    """Images scored."""

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.std:.2f}"


REPORTED: dict[str, dict[str, Reported]] = {
    "R2": {
        "real": Reported("inception_score", "real training set", 9.50, 0.01, 500),
        "VAE": Reported("inception_score", "VAE", 1.72, 0.25, 500),
        "GAN": Reported("inception_score", "GAN", 7.52, 0.58, 500),
    },
}
"""Scores that the reports give, by report and by what was scored."""

SAYS: dict[str, str] = {
    "R1 mnist-dense-vae-h512-*": "A larger z lowers the loss, which is in the hundreds, and the "
    "blur.",
    "R1 cifar10-dense-vae-h512-*": "A larger z lowers the loss, which is in the thousands, and "
    "the blur.",
    "R1 *-dense-vae-*-z2": "A larger h converges faster and widens the gap between train and "
    "test, but does not cure the blur.",
    "R1 *-dcgan-z*": "The latent size, 10 or 100, hardly matters.",
    "R1 *-dcgan-deep-*": "The deeper generator starts better and ends mode collapsed: its samples "
    "resemble each other.",
    "R1 *-wgan-*z100": "At z=100 the estimated earth mover's distance settles after about 600 "
    "epochs.",
    "R1 *-wgan-z10": "At z=10 the estimated earth mover's distance settles sooner than at z=100, "
    "where it takes about 600 epochs.",
    "R1 *-wgan-*": "Too simple a generator stays noise.",
    "R2 mnist-lstm-vae-*": "Early stopping kept epoch 8.",
    "R2 mnist-lstm-vae-z10": f"The VAE's Inception Score is {REPORTED['R2']['VAE']}, real digits' "
    f"{REPORTED['R2']['real']}.",
    "R2 mnist-lstm-vae-z2": "In the latent plane the classes lie nested together.",
    "R2 mnist-gan-r2": "Converges in 80 to 100 epochs. The GAN's Inception Score is "
    f"{REPORTED['R2']['GAN']}, real digits' {REPORTED['R2']['real']}.",
    "R2 mnist-wgan-r2": "Less stable than under cross-entropy, and not converged.",
    "R2 mnist-gan-r2-collapse": "A generator too simple for its discriminator collapses to one "
    "digit.",
    "R3 mnist-conv-vae-z2": "Its samples are blurry.",
    "R3 mnist-gan-r3": "Its samples are sharp, but not always a digit.",
    "R3 mnist-cgan": "The best of the three: VAE, GAN and conditional GAN.",
    "R4 mnist-*": "More latent dimensions and more epochs help; the losses settle near epoch 60.",
    "R4 *gan*-z2": "Two latent dimensions are too few for a GAN.",
    "R4 cifar10-*": "More latent dimensions and more epochs help.",
    "R5 *-vae*": "Somewhat blurry, and stable to train.",
    "R5 mnist-mlp-gan": "Draws broken strokes, and is touchy to train.",
    "R5 imagenette-gan-*": "Failed in spite of label smoothing, upsampling, feature matching and "
    "two time-scales (TTUR).",
}
"""What the reports say, by pattern of the systems (report and recipe) that it is said of."""


@dataclass(frozen=True)
class Row:
    """One system of a report."""

    recipe: Recipe
    """How it is trained here; ``recipe.row`` names it as the report does."""
    says: str
    """What the report says of it."""
    card: Card | None
    """What was trained and measured; None where it has not been trained yet."""
    folder: str = ""
    """Folder of that card, relative to the checkpoints'; "" where there is none."""

    @property
    def shipped(self) -> bool:
        """Whether its weights are there too, and not its results alone."""
        return self.card is not None and not _results_only(self.folder)


def says(recipe: Recipe) -> str:
    """What its report says of a system, in a sentence or two; empty for the project's own."""
    system = f"{recipe.report} {recipe.name}"
    return " ".join(text for pattern, text in SAYS.items() if fnmatchcase(system, pattern))


def rows(cards: Mapping[str, Card], report: str) -> list[Row]:
    """Every system of ``report`` in the order of its recipes, with its card where there is one.

    ``cards`` are keyed by folder; a system's lies in the folder of its recipe's name, or in that
    of its results.
    """
    listed: list[Row] = []
    for recipe in RECIPES.values():
        if recipe.report == report:
            folder = _folder_of(cards, recipe)
            listed.append(Row(recipe, says(recipe), cards.get(folder), folder))
    return listed


def _folder_of(cards: Mapping[str, Card], recipe: Recipe) -> str:
    folders = (recipe.name, f"{results.FOLDER}/{recipe.name}")
    named = (f for f in folders if f in cards and cards[f].name == recipe.name)
    return next(named, "")


def _results_only(folder: str) -> bool:
    return folder.startswith(f"{results.FOLDER}/")


def others(cards: Mapping[str, Card]) -> dict[str, Card]:
    """The cards that are no report's, by folder: the project's own first, then foreign ones."""
    systems = {
        row.folder for report in REPORTS for row in rows(cards, report) if row.card is not None
    }
    order = {name: index for index, name in enumerate(RECIPES)}
    folders = sorted(
        cards.keys() - systems,
        key=lambda folder: (order.get(cards[folder].name, len(order)), folder),
    )
    return {folder: cards[folder] for folder in folders}


def data(cards: Mapping[str, Card]) -> dict[str, Any]:
    """Every system of the reports, trained or not, and every other card, ready for JSON."""
    listed = [row for report in REPORTS for row in rows(cards, report)]
    listed += [Row(card.recipe, "", card, folder) for folder, card in others(cards).items()]
    return {
        "figures": FIGURES,
        "reported": {
            report: {name: asdict(score) for name, score in scores.items()}
            for report, scores in REPORTED.items()
        },
        "rows": [_entry(row) for row in listed],
    }


def _entry(row: Row) -> dict[str, Any]:
    recipe, card = row.recipe, row.card
    scores = card.scores if card else None
    return {
        "report": recipe.report,
        "row": recipe.row,
        "recipe": recipe.name,
        "title": recipe.title,
        "says": row.says,
        "trained": card is not None,
        "shipped": row.shipped,
        "epochs": card.epochs if card else 0,
        "metrics": card.metrics if card else {},
        "scores": scores.model_dump(include={"values", "real", "judge", "samples", "seed"})
        if scores
        else None,
        "command": f"latent-train fit {recipe.name}" if recipe.name in RECIPES else None,
    }


def markdown(
    cards: Mapping[str, Card],
    problems: Mapping[str, str] | None = None,
    total_bytes: int | None = None,
) -> str:
    """The text of a checkpoints folder's README.

    ``cards`` are keyed by folder, relative to the README's; ``problems`` names, by folder, what
    is wrong with the checkpoints left out; ``total_bytes`` is the size of them all on disk, by
    default what the cards of those with weights list.
    """
    groups = {
        report: {row.folder: row.card for row in rows(cards, report) if row.card}
        for report in REPORTS
    }
    rest = others(cards)
    groups[""] = {name: card for name, card in rest.items() if card.family != "classifier"}
    judges = {name: card for name, card in rest.items() if card.family == "classifier"}
    models = {name: card for group in groups.values() for name, card in group.items()}
    listed = (_size(card) for folder, card in cards.items() if not _results_only(folder))
    total = sum(listed) if total_bytes is None else total_bytes
    parts = [
        "# Checkpoints",
        MARK,
        f"Every number comes from a checkpoint's own `card.json`; `report.json` has more of them. "
        f"{SCORES['negative_elbo'].title}: {SCORES['negative_elbo'].says} Where the first part is "
        "a squared error, it compares with its like only.",
        NOT_SHIPPED if any(map(_results_only, models)) else "",
        *_judge_section(judges),
        *(part for report, group in groups.items() for part in _group_section(report, group)),
        *_score_section(models),
        *_missing_section(cards),
        *_problem_section(problems or {}),
        "## Size",
        f"All checkpoints together: {total / 1e6:.1f} MB, "
        f"{'under' if total < LIMIT_MB * 1e6 else 'NOT under'} the limit of {LIMIT_MB} MB for "
        "those that are shipped.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _judge_section(judges: Mapping[str, Card]) -> list[str]:
    if not judges:
        return []
    lines = [
        [
            _model(name, card),
            _plain(card.recipe.dataset),
            _percent(card.metrics["test/accuracy"]) if "test/accuracy" in card.metrics else "",
            _epochs(card),
            f"{_size(card) / 1000:,.0f}",
            _plain(card.notes),
        ]
        for name, card in judges.items()
    ]
    header = ("judge", "data set", "test accuracy", "epochs of planned", "KB", "notes")
    return [
        "## Judges",
        "Classifiers trained here, which read what the generators draw.",
        _table(header, lines),
    ]


def _group_section(report: str, group: Mapping[str, Card]) -> list[str]:
    if not group:
        return []
    lines = [
        [
            _picture(name, card),
            _model(name, card),
            f"{_plain(card.recipe.dataset)}, {card.family}",
            _epochs(card),
            f"{_size(card) / 1000:,.0f}" + (" (results only)" if _results_only(name) else ""),
            _negative_elbo(card),
            *([says(RECIPES[card.name])] if report else []),
            _plain(card.notes),
        ]
        for name, card in group.items()
    ]
    title = SCORES["negative_elbo"].title
    header = ["samples", "model", "data set, family", "epochs of planned", "KB", title]
    header += ["the report says", "notes"] if report else ["notes"]
    return [f"## {report or 'Our own'}", _reported(report), _table(header, lines)]


def _reported(report: str) -> str:
    """The scores that a report gives, as one sentence; empty where it gives none."""
    if not (scores := REPORTED.get(report)):
        return ""
    first = next(iter(scores.values()))
    listed = ", ".join(f"{score.of} {score}" for score in scores.values())
    return (
        f"{SCORES[first.score].title} in the report, by its own classifier, {first.images} images "
        f"each: {listed}."
    )


def _score_section(models: Mapping[str, Card]) -> list[str]:
    """A table for every set of scores that compare: one data set, judge and number of images."""
    if not models:
        return []
    alike: dict[tuple[str, str, str, int], dict[str, Scores]] = {}
    for name, card in models.items():
        if (scores := card.scores) is not None:
            judge = scores.judge.sha256 if scores.judge else ""
            key = (card.recipe.dataset, scores.data_sha256, judge, scores.samples)
            alike.setdefault(key, {})[name] = scores
    unscored = ", ".join(_code(name) for name, card in models.items() if card.scores is None)
    shown = _columns(scores for group in alike.values() for scores in group.values())
    return [
        "## Scores",
        "The judge is a classifier trained here, not InceptionV3, so its scores compare the models "
        "of one table with one another and never with published FID or KID. The first row is the "
        "real test set's own: what a perfect model would get. ↑ higher is better, ↓ lower is "
        f"better, ≈ as near to real images as can be; the lowest {SCORES['frechet'].title} comes "
        "first.",
        *(part for (name, *_), group in alike.items() for part in _score_table(name, group)),
        "\n".join(f"- {SCORES[name].title}: {SCORES[name].says}" for name in shown),
        f"Not scored yet (`latent-train evaluate FOLDER`): {unscored}." if unscored else "",
    ]


def _score_table(dataset: str, group: Mapping[str, Scores]) -> list[str]:
    columns = _columns(group.values())
    ranked = sorted(group, key=lambda name: group[name].values.get("frechet", float("inf")))
    first = group[ranked[0]]
    judge = "without a judge"
    if first.judge:
        judge = (
            f"judged by {_plain(first.judge.name)} ({first.judge.sha256[:8]}), which reads "
            f"{_percent(first.judge.accuracy)} of the test set rightly"
        )
    real: dict[str, float] = {}
    for scores in group.values():
        real = scores.real | real
    header = ["model", *(f"{SCORES[name].title} {ARROWS[SCORES[name].better]}" for name in columns)]
    lines = [["*real test set*", *(_score(real, column) for column in columns)]] if real else []
    lines += [
        [_code(name), *(_score(group[name].values, column) for column in columns)]
        for name in ranked
    ]
    return [
        f"### {_plain(dataset)}",
        f"{first.samples:,} images of each model, {judge}.",
        _table(header, lines),
    ]


def _columns(group: Iterable[Scores]) -> list[str]:
    """Names of the scores to show: those that one of the models has, deviations beside them."""
    had = {name for scores in group for name in scores.values}
    shown = had - DETAILS
    return [name for name in SCORES if name in shown and not name.endswith("_std")]


def _missing_section(cards: Mapping[str, Card]) -> list[str]:
    missing = {
        report: [row.recipe for row in rows(cards, report) if row.card is None]
        for report in REPORTS
    }
    parts = ["## Not trained yet"]
    for report, recipes in missing.items():
        if recipes:
            lines = [f"- `latent-train fit {r.name}` ({r.title}, {r.dataset})" for r in recipes]
            parts.append("\n".join([f"{report}:", "", *lines]))
    return parts if len(parts) > 1 else [*parts, "Nothing: every system of the reports is here."]


def _problem_section(problems: Mapping[str, str]) -> list[str]:
    if not problems:
        return []
    return [
        "## Problems",
        "Checkpoints that failed verification, and are left out above:",
        "\n".join(f"- {_code(name)}: {_plain(problem)}" for name, problem in problems.items()),
    ]


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table without its empty columns.

    What strangers wrote must have been through `_plain`.
    """
    filled = [any(cells) for cells in zip(*lines, strict=True)]
    every = (header, ["---"] * len(header), *lines)
    return "\n".join(f"| {' | '.join(compress(cells, filled))} |" for cells in every)


def _picture(folder: str, card: Card) -> str:
    if "samples.png" not in card.files:
        return ""
    alt = f"Samples of {_plain(card.recipe.title)}"
    return f'<img src="{_url(folder)}/samples.png" width="160" alt="{alt}">'


def _model(folder: str, card: Card) -> str:
    return f"[{_plain(card.recipe.title)}]({_url(folder)}/card.json)<br>{_code(folder)}"


def _epochs(card: Card) -> str:
    return f"{card.epochs:,} of {card.recipe.epochs:,}"


def _negative_elbo(card: Card) -> str:
    """Test −ELBO and its parts, whatever the beta of training; empty for what is no VAE."""
    metrics, objective = card.metrics, card.recipe.objective
    if not isinstance(objective, ELBO) or not {"test/reconstruction", "test/kl"} <= metrics.keys():
        return ""
    reconstruction, kl = metrics["test/reconstruction"], metrics["test/kl"]
    error = ", squared error" if objective.reconstruction == "squared-error" else ""
    return f"{reconstruction + kl:.1f} = {reconstruction:.1f} + {kl:.1f}{error}"


def _score(values: Mapping[str, float], name: str) -> str:
    """A score, with its deviation where it has one; empty where it was not measured."""
    if name not in values:
        return ""
    std = values.get(f"{name}_std")
    return _number(values[name]) + ("" if std is None else f" ± {std:.2g}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _size(card: Card) -> int:
    return sum(entry.size for entry in card.files.values())


def _plain(text: str) -> str:
    """A stranger's text for Markdown: one line, and no table, link, image or HTML of theirs."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    # Numbered entities, for tables split at a pipe even where a backslash is before it.
    return re.sub(
        r"[\\`*_\[\]{}<>|~!&@\"'$#]|:(?=//)|(?<=www)\.",
        lambda match: f"&#{ord(match[0])};",
        " ".join(printable.split()),
    )


def _code(name: str) -> str:
    return f"<code>{_plain(name)}</code>"


def _url(folder: str) -> str:
    return quote(os.fsencode(folder))


def write(root: Path) -> list[Path]:
    """Write ``root/README.md`` and ``root/report.json`` of the checkpoints in ``root``.

    Both appear whole or not at all; the same checkpoints give the same bytes. Raises ValueError
    where there is no checkpoint or where the README is somebody's own, OSError, naming ``root``,
    where the disk refuses; then both are as they were.
    """
    found = {folder: verify_files for folder in find(root) if not is_foreign(folder)}
    found |= dict.fromkeys(results.find(root), results.read)
    if not found:
        raise ValueError(
            f"there are no checkpoints in {root}: train one with `latent-train fit`, or name the "
            "folder that holds them"
        )
    cards: dict[str, Card] = {}
    problems: dict[str, str] = {}
    for folder, verified in found.items():
        name = folder.relative_to(root).as_posix()
        try:
            cards[name] = verified(folder)
        except CheckpointError as error:
            problems[name] = error.check
    total = sum(path.stat().st_size for f in found for path in f.rglob("*") if path.is_file())
    texts = {
        "report.json": json.dumps(data(cards), indent=1, allow_nan=False) + "\n",
        "README.md": markdown(cards, problems, total),
    }
    try:
        _require_ours(root / "README.md")
        _replace(root, texts)
    except OSError as error:  # a full disk names no file
        raise OSError(error.errno, error.strerror, str(root)) from error
    return [root / name for name in texts]


def _require_ours(readme: Path) -> None:
    """Raise ValueError where a README is there that ``latent-train report`` has not written."""
    if readme.exists() and MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(
            f"{readme} was not written by `latent-train report`, so it is left alone: move it away"
        )


def _replace(root: Path, texts: Mapping[str, str]) -> None:
    """Write all texts to disk beside their places, then rename them into them."""
    with TemporaryDirectory(prefix=".report-", dir=root) as temporary:
        written = Path(temporary)
        for name, text in texts.items():
            write_synced(written / name, text.encode())
        for name in texts:
            (written / name).replace(root / name)
