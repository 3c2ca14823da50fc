"""Finds, verifies and describes checkpoints. One bad folder never hides the good ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training import results
from training.checkpoint import Card, CheckpointError, find, load, timeline_name
from training.onnx_checks import DECODER
from training.onnx_files import AnyCard, AnyModel, ForeignCard, open_any, read_any
from training.recipes import ELBO, POINTS, RECIPES, Recipe

DATASETS = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "imagenette": "Imagenette",
    "stacked-mnist": "Stacked-MNIST",
}
"""What people call the data sets."""
ABSENT = "there is no such model"
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"
"""What folders of models are called, so that links and the live channel can name them."""
MISNAMED = (
    "no link can name it: rename the folder, with up to 100 letters a-z, digits, dots, dashes and "
    "underscores"
)
"""The problem of any other."""
PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""How files end that others keep models in, and that can run code."""
TOLD = "as the README tells under “Your own decoder”"
"""How problems end that say themselves what to do."""
WEIGHTS = "weights.safetensors"
FILES = ("card.json", WEIGHTS, DECODER)
"""Files of a folder that make it the model that it is."""
ELBO_PARTS = {"test/reconstruction", "test/kl"}
"""The parts of a VAE's negative ELBO."""
ADDRESS = r"https?://|www\.|[\w.+-]@[\w-]"
"""What is in every address that Markdown would make a link of."""

Stamp = tuple[tuple[str, int, int], ...]
"""Paths with size and time of change: what is kept of files is kept under it."""


@dataclass(frozen=True)
class Catalog:
    """What a checkpoints folder holds."""

    root: Path
    """The folder looked into."""
    cards: dict[str, AnyCard]
    """Cards of the models that verified, by folder name, in the order people should meet them."""
    problems: dict[str, str]
    """For every folder that failed: which check, in one sentence."""
    results: dict[str, Card]
    """Cards of the models whose results alone are here, by folder relative to the root."""
    points: tuple[str, ...] = ()
    """Folders of models of points of the plane: they draw no pictures that a page could show."""

    @property
    def trained(self) -> dict[str, Card]:
        """Cards of the models that were trained here, by folder name, in the same order."""
        return {name: card for name, card in self.cards.items() if isinstance(card, Card)}

    @property
    def measured(self) -> dict[str, Card]:
        """Cards of all that was trained here, with weights or without, by folder."""
        return self.trained | self.results

    def open(self, name: str, device: str = "cpu", epoch: int | None = None) -> AnyModel:
        """Load one model, as shipped or with its weights after an ``epoch`` of its timeline.

        Raises CheckpointError, also for a name or an epoch that is not in the catalog.
        """
        if name not in self.cards:
            raise CheckpointError(self.root / name, self.problems.get(name, ABSENT))
        if epoch is None:
            return open_any(self.root / name, device)
        if epoch not in self.cards[name].timeline:
            raise CheckpointError(self.root / name, f"it keeps no weights of epoch {epoch}")
        return load(self.root / name, device, epoch=epoch)


def data_set(name: str) -> str:
    """What people call a data set; a stranger's keeps its name."""
    return DATASETS.get(name, name)


def system(recipe: Recipe) -> str:
    """Row of a report, its data set by the name that people call it."""
    return recipe.row.replace(recipe.dataset, data_set(recipe.dataset))


def scan(root: Path) -> Catalog:
    """Read and verify every checkpoint, decoder and result directly inside ``root``."""
    cards, problems = _scan_models(root, find(root))
    points = tuple(name for name, card in cards.items() if card.image_shape[1:] == POINTS[1:])
    order = sorted(cards.keys() - points, key=lambda name: (_turn(cards[name]), natural(name)))
    kept, bad = _scan_results(root)
    strays = _scan_strays(root)
    return Catalog(
        root, {name: cards[name] for name in order}, problems | bad | strays, kept, points
    )


def open_key(root: Path, key: str) -> AnyModel:
    """Load what the live channel calls ``name``, or ``name@epoch``; raises CheckpointError.

    No other folder of ``root`` is read.
    """
    folder, epoch = _folder_and_epoch(root, key)
    cards, problems = _scan_models(root, [one for one in find(root) if one == folder])
    return Catalog(root, cards, problems, {}).open(folder.name, epoch=epoch)


def key_stamp(root: Path, key: str) -> Stamp:
    """Changes when the files of the model do that `open_key` opens; raises CheckpointError.

    No file is opened, so that asking for what is not there costs next to nothing.
    """
    folder, _ = _folder_and_epoch(root, key)
    if found := stamp(*model_files(folder)):
        return found
    raise CheckpointError(folder, ABSENT)


def _folder_and_epoch(root: Path, key: str) -> tuple[Path, int | None]:
    """What a key of the live channel means; raises CheckpointError where it can mean nothing."""
    found = re.fullmatch(rf"({NAME})(?:@([1-9][0-9]{{0,5}}))?", key)
    if not found:
        raise CheckpointError(root / key, ABSENT)
    return root / found[1], int(found[2]) if found[2] else None


def stamp(*paths: Path) -> Stamp:
    """Changes when one of these files or folders does, comes or goes; none is opened."""
    found: list[tuple[str, int, int]] = []
    for path in paths:
        try:
            about = path.stat()
        except OSError:  # it is missing, or training has just renamed its folder
            continue
        found.append((str(path), about.st_size, about.st_mtime_ns))
    return tuple(found)


def model_files(folder: Path) -> list[Path]:
    """Where the files of the model in ``folder`` are, or would be."""
    return [folder / name for name in FILES]


def _scan_models(root: Path, folders: Iterable[Path]) -> tuple[dict[str, AnyCard], dict[str, str]]:
    """Cards of the models in these folders, and which check the others failed."""
    cards: dict[str, AnyCard] = {}
    problems: dict[str, str] = {}
    for folder in folders:
        if folder.parent != root:
            continue  # judges score models, nobody explores them
        if not re.fullmatch(NAME, folder.name):
            problems[folder.name] = MISNAMED
            continue
        try:
            card = read_any(folder)
        except CheckpointError as error:
            problems[folder.name] = error.check
            continue
        if card.family != "classifier":
            cards[folder.name] = card
    return cards, problems


def _scan_results(root: Path) -> tuple[dict[str, Card], dict[str, str]]:
    """Cards of the models whose results alone are here, and which check the others failed."""
    cards: dict[str, Card] = {}
    problems: dict[str, str] = {}
    for folder in results.find(root):
        name = folder.relative_to(root).as_posix()
        try:
            cards[name] = results.read(folder)
        except CheckpointError as error:
            problems[name] = error.check
    return cards, problems


def _scan_strays(root: Path) -> dict[str, str]:
    """What looks like a model and has no card, by file or folder, and what to do about it."""
    problems = {}
    for one in sorted(root.glob("*")):
        under_way = one.name.startswith(".") or one.suffix in (".partial", ".state")
        if under_way or (one / "card.json").exists():
            continue
        files = sorted(one.glob("*")) if one.is_dir() else [one]
        if problem := next(filter(None, map(_stray, files)), ""):
            problems[one.name] = problem
    return problems


def _stray(file: Path) -> str:
    """What is wrong with a file that has no card beside it; "" where it is no model's."""
    if file.suffix.lower() in PICKLED:
        return (
            f"{file.name} can run code when it is opened, so it is not: export the decoder to "
            f"{DECODER}, {TOLD}"
        )
    if file.name == DECODER:
        return f"{file.name} has no card.json beside it: write one, {TOLD}"
    if file.suffix.lower() == ".onnx":
        return f"{file.name} has to be called {DECODER}, in a folder with a card.json, {TOLD}"
    return "card.json is missing" if file.name == WEIGHTS else ""


def natural(text: str) -> list[tuple[float, str]]:
    """What to sort names by so that z2 comes before z10."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return [(float(part), "") if part.isdecimal() else (-1.0, part) for part in parts]


def _turn(card: AnyCard) -> int:
    """A model's turn in a first visit: those with a map, those that take orders, the rest."""
    if card.family == "vae" and card.latent_dim == 2:
        return 0
    if card.num_classes:
        return 1
    return 2 if card.family == "vae" else 3


def abilities(card: AnyCard, laid_out: bool = False) -> dict[str, str]:
    """For each page about one model: "" where it can show this one, else a sentence why not.

    ``laid_out`` says whether there is a plane of its codes.
    """
    return {
        "map": "" if laid_out else _no_map(card),
        "sliders": "",
        "morph": "",
        "draw": _no_drawing(card),
        "digits": _no_digits(card),
        "replay": _no_replay(card),
    }


def _no_map(card: AnyCard) -> str:
    if card.family != "vae":
        return "Nothing says where an image lies among its numbers: it has no encoder and no atlas."
    return "Its real images are not on this computer, and it has no atlas of their codes."


def _no_drawing(card: AnyCard) -> str:
    if card.family != "vae":
        return "Nothing says which numbers a drawing would be: it has no encoder."
    channels, height, width = card.image_shape
    if channels != 1 or height != width:
        return "It knows other pictures than grey squares, as drawings here are."
    return ""


def _no_digits(card: AnyCard) -> str:
    return "" if card.num_classes else "It cannot be asked for a class: it was not told of any."


def _no_replay(card: AnyCard) -> str:
    if earlier(card):
        return ""
    if not isinstance(card, Card):
        return "It was trained elsewhere: its earlier epochs are not here."
    return "Its checkpoint keeps no earlier epochs: train it with `--timeline 1,5,20`, say."


def earlier(card: AnyCard) -> list[int]:
    """Epochs of a model's timeline whose weights are not those that are shipped."""
    files = card.files
    return [e for e in card.timeline if files[timeline_name(e)].sha256 != card.weights_sha256]


def remedy(folder: Path, problem: str) -> str:
    """What to do about a folder that failed a check, as Markdown."""
    if problem == MISNAMED or problem.endswith(TOLD) or problem.startswith("schema version"):
        return ""
    anew = ""
    if (folder / DECODER).exists():
        anew = f" mend it {TOLD},"
    elif folder.name in RECIPES:
        anew = f" or train it anew with `latent-train fit {folder.name}`,"
    return f"Copy the folder again from where it came,{anew} or move it away."


def told(found: Catalog) -> list[str]:
    """Which folder failed which check, and what to do about it, as Markdown."""
    return [
        f"**{plain(name)}**: {plain(problem)}. {remedy(found.root / name, problem)}".rstrip()
        for name, problem in found.problems.items()
    ]


def plain(text: str) -> str:
    """Text from a card for use in Markdown: no link, image or HTML of a stranger's.

    An address becomes code: Markdown makes a link of any other, escaped or not, and code can be
    copied as it is.
    """
    return re.sub(r"[^\s\\`\[\]<>|]+|[\\`\[\]<>|]", _plain, " ".join(text.split()))


def _plain(part: re.Match[str]) -> str:
    """A part of a text, whole where it has an address: none reaches beyond what ends a part."""
    if re.search(ADDRESS, part[0], re.IGNORECASE):
        return f"`{part[0]}`"
    return re.sub(r"([\\`*_\[\]<>#!$:~|])", r"\\\1", part[0])


def describe(card: AnyCard) -> str:
    """The card in words, as Markdown, for the sidebar."""
    height, width = card.image_shape[1:]
    colour = "grey" if card.image_shape[0] == 1 else "colour"
    asked = f", asked for one of {card.num_classes} classes" if card.num_classes else ""
    lines = [
        f"**{plain(card.title)}** draws {height} x {width} {colour} images from "
        f"**{card.latent_dim} numbers**{asked}.",
        *(_brought(card) if isinstance(card, ForeignCard) else _trained(card)),
    ]
    if card.notes:
        lines.append(f"*{plain(card.notes)}*")
    return "\n\n".join(lines)


def _brought(card: ForeignCard) -> list[str]:
    """What is known of a decoder that somebody brought along."""
    size = sum(entry.size for entry in card.files.values())
    after = f", trained on {plain(card.dataset)}" if card.dataset else ""
    return [f"A decoder brought along as an ONNX file of {size / 1e6:.2g} MB{after}."]


def _trained(card: Card) -> list[str]:
    """How a model was trained, and how good it was measured to be."""
    recipe = card.recipe
    took = f"{card.seconds / 60:.0f} min" if card.seconds >= 60 else f"{card.seconds:.0f} s"
    images = plain(data_set(recipe.dataset))
    lines = [
        f"Trained on {images}: {card.epochs} epoch{'s' * (card.epochs != 1)}, in which it saw "
        f"{card.images_seen:,} images, in {took} on {plain(card.device)}.",
        " · ".join(
            f"{plain(name)} {count:,} parameters" for name, count in card.parameters.items()
        ),
    ]
    if recipe.report:
        lines.append(f"From report {plain(recipe.report)}, {plain(system(recipe))}.")
    return lines + _measured(card)


def _measured(card: Card) -> list[str]:
    """What the card's metrics say of the model, a sentence each."""
    lines: list[str] = []
    metrics = card.metrics
    if (nats := negative_elbo(card)) is not None:
        lines.append(f"Negative ELBO on the test set: **{nats:.1f} nats** an image.")
    elif isinstance(card.recipe.objective, ELBO) and metrics.keys() >= ELBO_PARTS:
        lines.append(
            f"On the test set: squared error **{metrics['test/reconstruction']:.1f}** an image, "
            f"KL **{metrics['test/kl']:.1f} nats**."
        )
    return lines + _scored(card)


def negative_elbo(card: Card) -> float | None:
    """Of the test set, in nats an image, whatever beta it was trained with.

    None where it was not measured, or is no sum of nats.
    """
    objective = card.recipe.objective
    nats = isinstance(objective, ELBO) and objective.reconstruction == "bernoulli"
    if not nats or not card.metrics.keys() >= ELBO_PARTS:
        return None
    return sum(card.metrics[name] for name in ELBO_PARTS)


def _scored(card: AnyCard) -> list[str]:
    """What ``latent-train evaluate`` found, or for a class asked for, what training did."""
    values = card.scores.values if card.scores else {}
    lines: list[str] = []
    asked = values.get("class_agreement", card.metrics.get("test/class_agreement"))
    if asked is not None:
        lines.append(f"The judge reads the class asked for in **{asked:.1%}** of its samples.")
    if card.scores and card.scores.judge and "inception_score" in values:
        best = card.scores.real.get("inception_score")
        lines.append(
            f"Inception Score by a judge (reads {card.scores.judge.accuracy:.2%} of the test "
            f"images): **{values['inception_score']:.2f}**"
            + (f"; real images {best:.2f}." if best else ".")
        )
    if "sharpness" in values:
        lines.append(f"Samples are **{values['sharpness']:.2f}** times as sharp as real images.")
    return lines
