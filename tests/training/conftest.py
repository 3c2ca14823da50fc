"""A short run of ``latent-train fit``, whose record is written after every batch, and a seed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from training import loop, running
from training.cli import app
from training.recipes import RECIPES

VAE = "mnist-conv-vae-z2"


def text(result: Result) -> str:
    """What a command has printed, in one line however wide the terminal."""
    return " ".join(result.output.split())


@pytest.fixture
def command(tree: Path, tmp_path: Path, monkeypatch, tiny_recipe) -> Callable[..., Result]:
    """``command(*options)``: a VAE on the tree, four steps of six pictures an epoch."""
    recipe = tiny_recipe(VAE, dataset="mnist", batch_size=6, epochs=3)
    monkeypatch.setitem(RECIPES, VAE, recipe)
    monkeypatch.setattr(loop, "REFRESH_SECONDS", 0)
    monkeypatch.setattr(running, "Board", functools.partial(running.Board, interval=0))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def run(*options: str) -> Result:
        given = ["--data", str(tree), "--device", "cpu", "--out", str(tmp_path / "runs")]
        return CliRunner().invoke(app, ["fit", VAE, *given, *options])

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / f"{VAE}.running.json"


@pytest.fixture
def seeded() -> None:
    """Torch draws the same numbers in every test."""
    torch.manual_seed(0)
