"""Where data and checkpoints are: options of the command line, carried by two variables."""

from __future__ import annotations

import os
from pathlib import Path

from training.checkpoint import shipped
from training.data import data_root

PROJECT = Path(__file__).resolve().parent.parent


def checkpoints_dir() -> Path:
    """LATENT_CHECKPOINTS, else the shipped checkpoints."""
    return Path(os.environ.get("LATENT_CHECKPOINTS") or shipped())


def data_dir() -> Path:
    """LATENT_DATA, else ``data``."""
    return data_root()


def images_dir() -> Path | None:
    """LATENT_IMAGES: a folder of the user's own pictures that models here were trained on."""
    folder = os.environ.get("LATENT_IMAGES")
    return Path(folder).resolve() if folder else None
