"""How fast the app is with every model: ``python -m tests.benchmarks.zoo --json FILE``.

Starts the app on a copy of a folder of checkpoints, in a real Chromium, and measures

- dragging a slider of each model, with one user;
- choosing another model beside the sliders, until its picture is painted: the first time ever;
- going to the map of 10,000 points, and of 60,000, until it answers the pointer: from a page that
  was looked at for some seconds, and at once;
- memory of the server after every page with every model;
- UMAP of 10,000 codes beside the app, and a slider dragged meanwhile.

Where ``--untrained`` names recipes, the first two of them alone: a network draws as fast before it
is trained.
"""

from __future__ import annotations

import fnmatch
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from playwright.sync_api import Browser
from rich.progress import Progress

from explorer import catalog, settings
from tests.benchmarks import browser as web
from tests.benchmarks import servers
from tests.benchmarks.figures import (
    Check,
    Checkpoints,
    Figure,
    JsonFile,
    Seconds,
    of_latencies,
    report,
)
from tests.benchmarks.servers import Server
from tests.explorer.conftest import make_card
from training import checkpoint, networks
from training.checkpoint import Card, CheckpointError
from training.recipes import RECIPES

PAGES = ("", "map", "sliders", "morph", "draw", "digits", "compare", "replay")
SMALL_MAPS = ("mnist-conv-vae-z2", "mnist-dense-vae-h512-z10", "mnist-mlp-gan")
LAID_OUT = "mnist-mlp-vae"
"""A VAE of twenty latents."""
MODEL_OF_LARGE_MAP = "mnist-mlp-gan"
NAMED = {*SMALL_MAPS, LAID_OUT, MODEL_OF_LARGE_MAP}
LARGE_MAP = "sixty-thousand"
LARGE = 60_000

MOST_MS = {28: 16.7, 32: 33.0, 160: 60.0}
"""Bound of the 95th percentile, by the height of the images."""
MOST_SWITCH_S = 1.0
MOST_MAP_S = {10_000: 1.5, LARGE: 4.0}
MOST_RESIDENT_MB = 2000.0
MOST_UMAP_S = 40.0
LOOK_S = 4.0
"""How long a page is looked at before its user goes on to the map."""


@dataclass
class Benchmark:
    """One run."""

    cards: dict[str, Card]
    """The models, by name."""
    root: Path
    """Their folder."""
    seconds: float
    """How long each drag lasts."""
    browser: Browser
    """Already running."""
    progress: Progress
    """Shows how far the run is."""

    def run(self) -> list[Figure]:
        """Measure everything, one after the other."""
        with servers.explorer(self.root) as app:
            found = [*self._switches(app), *self._drags(app)]
            if self.cards.keys() >= NAMED:
                found += [*self._maps(app), self._memory(app), *self._umap(app)]
            return found

    def _steps(self, name: str, steps: list[str]) -> Iterator[str]:
        """The steps of a stage, one after the other, and how far it is."""
        task = self.progress.add_task(name, total=len(steps))
        for step in steps:
            yield step
            self.progress.advance(task)

    def _switches(self, app: Server) -> list[Figure]:
        first, *others = self.cards
        taken: dict[str, float] = {}
        with web.probed_page(self.browser) as page:
            web.open_sliders(page, app.url, first)
            for name in self._steps("Choosing another model", others):
                taken[name] = web.choose_model(page, name, self.cards[name].title)
        if not taken:
            return []
        slowest = max(taken, key=taken.__getitem__)
        return [
            Figure("another model", "median", sorted(taken.values())[len(taken) // 2], "s"),
            Figure("another model", f"slowest, {slowest}", taken[slowest], "s", MOST_SWITCH_S),
        ]

    def _drags(self, app: Server) -> list[Figure]:
        figures = []
        for name in self._steps("Dragging each model", list(self.cards)):
            with web.probed_page(self.browser) as page:
                web.open_sliders(page, app.url, name)
                found = web.drag(page, self.seconds, lambda: None).latencies()
            most = MOST_MS.get(self.cards[name].image_shape[1])
            figures += [one for one in of_latencies(name, found, most) if one.unit == "ms"]
        return figures

    def _maps(self, app: Server) -> list[Figure]:
        figures = []
        for name in self._steps("Going to the map", [*SMALL_MAPS, LARGE_MAP]):
            points = LARGE if name == LARGE_MAP else 10_000
            what = f"{points:,} points, {name}"
            looked, at_once = (self._map(app, name, pause) for pause in (LOOK_S, 0))
            figures += [
                Figure("map", what, looked, "s", MOST_MAP_S[points]),
                Figure("map", f"{what}, at once", at_once, "s"),
            ]
        return figures

    def _map(self, app: Server, name: str, pause: float) -> float:
        """Seconds from the sliders, looked at for ``pause`` seconds, to the map."""
        with web.probed_page(self.browser) as page:
            web.visit(page, f"{app.url}/map?model={name}")  # what is made once per model
        with web.probed_page(self.browser) as page:
            web.open_sliders(page, app.url, name)
            time.sleep(pause)
            return web.go_to_map(page)

    def _memory(self, app: Server) -> Figure:
        visits = [f"{app.url}/{path}?model={name}" for name in self.cards for path in PAGES]
        with web.probed_page(self.browser) as page:
            for url in self._steps("Visiting every page", visits):
                web.visit(page, url)
        resident = app.resident_mb()
        return Figure("memory", "resident", resident, "MB", at_most=MOST_RESIDENT_MB)

    def _umap(self, app: Server) -> list[Figure]:
        with (
            web.probed_page(self.browser) as asking,
            web.probed_page(self.browser) as dragging,
        ):
            web.visit(asking, f"{app.url}/map?model={LAID_OUT}&plane=umap")
            web.open_sliders(dragging, app.url, LAID_OUT)
            started = time.perf_counter()
            web.ask_for_umap(asking)
            found = web.drag(dragging, self.seconds, lambda: None).latencies()
            web.await_umap(asking)
            taken = time.perf_counter() - started
        return [
            Figure("UMAP", f"of {LAID_OUT}", taken, "s", at_most=MOST_UMAP_S),
            *of_latencies("UMAP, dragged meanwhile", found, MOST_MS[28]),
        ]


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of the checkpoints, with a model whose map is large."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(root, Path(folder) / "checkpoints"))
        try:
            made = checkpoint.load(copy / MODEL_OF_LARGE_MAP)
        except CheckpointError as error:
            raise typer.BadParameter(str(error)) from error
        atlas = made.atlas()
        times = -(-LARGE // len(atlas["labels"]))
        for name in ("pca", "umap", "labels"):
            atlas[name] = torch.cat([atlas[name]] * times)[:LARGE]
        atlas["pca"] = atlas["pca"] + 0.1 * torch.randn(LARGE, 2).half()  # no two alike
        weights = checkpoint.inference_weights(made.network)
        recipe = replace(made.card.recipe, title="Sixty thousand samples")
        card = made.card.model_copy(update={"recipe": recipe})
        checkpoint.save(copy / LARGE_MAP, card, weights, made.history(), atlas, b"")
        yield copy


@contextmanager
def begun(pattern: str) -> Iterator[Path]:
    """A folder of checkpoints of the recipes whose names match, their networks as they begin."""
    with tempfile.TemporaryDirectory() as folder:
        for name in fnmatch.filter(RECIPES, pattern):
            recipe = RECIPES[name]
            card = make_card(name, recipe.network, recipe=recipe)
            weights = checkpoint.inference_weights(networks.build(recipe.network))
            history = {"train": {"total": [0.0]}, "test": {}}
            checkpoint.save(Path(folder) / name, card, weights, history, {}, b"")
        yield Path(folder)


def main(
    json_file: JsonFile,
    checkpoints: Checkpoints = None,
    untrained: Annotated[
        str, typer.Option(help="Measure recipes of such names, cifar10-* say, before training.")
    ] = "",
    seconds: Seconds = 3,
    check: Check = False,
) -> None:
    """Measure the app with every model, as its users meet it."""
    root = (checkpoints or settings.checkpoints_dir()).resolve()
    with begun(untrained) if untrained else copied(root) as folder:
        cards = catalog.scan(folder).trained
        cards.pop(LARGE_MAP, None)
        if not untrained and (missing := NAMED - cards.keys()):
            raise typer.BadParameter(f"there is no {min(missing)} in {root}")
        if not cards:
            raise typer.BadParameter(f"there is no recipe {untrained}")
        report(
            lambda browser, progress: Benchmark(cards, folder, seconds, browser, progress).run(),
            json_file,
            check,
        )


if __name__ == "__main__":
    typer.run(main)
