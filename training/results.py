"""What is kept of a model too large to ship: its card, its history and its picture.

``checkpoints/results/<name>/`` is a checkpoint folder without its tensors. The card is the one
that the model was trained and scored with, so it still lists them, with size and SHA-256.
"""

from __future__ import annotations

from pathlib import Path

from training import checkpoint
from training.checkpoint import Card, CheckpointError

FOLDER = "results"
"""Where they are, inside a folder of checkpoints."""


def keep(source: Path, root: Path) -> Card:
    """Keep the results of the checkpoint ``source`` in ``root``, atomically; return its card.

    Results of that name that are there already are replaced. Raises CheckpointError where the
    checkpoint fails a check or has no scores, which without weights nobody could add, and OSError
    where the disk refuses.
    """
    card = checkpoint.verify_files(source)
    if card.scores is None:
        raise CheckpointError(
            source, "it is not scored, and without weights it cannot be: evaluate it first"
        )
    names = ("card.json", "history.json", "samples.png")
    files = {name: (source / name).read_bytes() for name in names}
    checkpoint.write_folder(root / FOLDER / card.name, files)
    return card


def find(root: Path) -> list[Path]:
    """Folders of results in a folder of checkpoints, sorted by name; leftovers of a kill not."""
    cards = (root / FOLDER).glob("*/card.json")
    return sorted(card.parent for card in cards if not card.parent.name.startswith("."))


def read(folder: Path) -> Card:
    """The card, once history and picture agree with it; raises CheckpointError."""
    card = checkpoint.read_card(folder)
    checkpoint.read_history(folder, card)
    checkpoint.read_samples(folder, card)
    return card
