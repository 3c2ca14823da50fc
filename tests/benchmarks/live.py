"""How fast the app is under a hand: ``python -m tests.benchmarks.live --json FILE``.

Starts the app as its users do, opens it in a real Chromium, drags, and compares what it measures
with the bounds of the project. Its parts:

- from the start of the process to a map that paints what one points at;
- dragging a slider of each model: from the input event to the painted canvas;
- the same with 20 more users who drag the same model;
- the same while a lesson's lab trains in a process of its own;
- drawing a digit: from a move of the pen to what the model sees, and to its reconstruction;
- memory of the server at the end of it;
- one step of Streamlit's own slider: from releasing it to the new picture decoded.

"Painted" is the end of ``putImageData``; the screen shows it with the browser's next frame. The
20 users are one Python process on the same computer: what they cost counts against the app.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from playwright.sync_api import Browser
from rich.progress import Progress

from explorer import settings
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
from tests.benchmarks.latencies import STEP_S, Latencies
from tests.benchmarks.servers import Server
from training.watch import free_port

VAE = "mnist-conv-vae-z2"
MODELS = (VAE, "mnist-cgan")
PAGES = ("/map", "/sliders", "/morph", "/digits")
CROWD = 20
NATIVE_SCRIPT = Path(__file__).with_name("native_slider.py")
NATIVE_STEPS = 20

MOST_INTERACTIVE_S = 8.0
MOST_ONE_USER_MS = 16.7
MOST_RECONSTRUCTION_MS = 2 * MOST_ONE_USER_MS
"""Of a drawing, which is read and then drawn: two ways to the server and back."""
MOST_CROWD_MS = 100.0
MOST_RESIDENT_MB = 1000.0
LEAST_NATIVE_RATIO = 20.0


@dataclass
class Benchmark:
    """One run."""

    root: Path
    """Folder of checkpoints."""
    seconds: float
    """How long each drag lasts."""
    browser: Browser
    """Already running."""
    progress: Progress
    """Shows how far the run is."""

    def run(self) -> list[Figure]:
        """Measure everything, one after the other."""
        with self._stage("Starting the app", 1) as started, servers.explorer(self.root) as app:
            figures = self._start(app)
            started()
            alone = {model: self._drag(app, model) for model in MODELS}
            for model, latencies in alone.items():
                figures += of_latencies(f"one user, {model}", latencies, MOST_ONE_USER_MS)
            for model in MODELS:
                figures += self._crowd(app, model)
            figures += self._beside_a_lab(app)
            figures += self._pen(app)
            figures.append(self._memory(app))
        figures += self._native(alone[VAE], "native slider", "true")
        return figures + self._native(alone[VAE], "native slider, as configured here", "false")

    @contextmanager
    def _stage(self, name: str, steps: float) -> Iterator[Callable[[], None]]:
        """Show a stage; calling what it gives says that one of its steps is done."""
        task = self.progress.add_task(name, total=steps)
        yield lambda: self.progress.advance(task)
        self.progress.update(task, completed=steps)

    def _start(self, app: Server) -> list[Figure]:
        with web.probed_page(self.browser) as page:
            web.first_touch(page, f"{app.url}/map")
            interactive_s = time.perf_counter() - app.started
        return [
            Figure("start", "healthy", app.healthy_s, "s"),
            Figure("start", "map interactive", interactive_s, "s", at_most=MOST_INTERACTIVE_S),
        ]

    def _drag(self, app: Server, model: str) -> Latencies:
        """What one browser sees that drags alone."""
        with (
            self._stage(f"Dragging {model}", self.seconds / STEP_S) as progress,
            web.probed_page(self.browser) as page,
        ):
            web.open_sliders(page, app.url, model)
            return web.drag(page, self.seconds, progress).latencies()

    def _crowd(self, app: Server, model: str) -> list[Figure]:
        """What a browser and ``CROWD`` others see while they all drag one model."""
        with (
            self._stage(f"The same, {CROWD} more users", self.seconds / STEP_S) as progress,
            web.probed_page(self.browser) as page,
        ):
            web.open_sliders(page, app.url, model)
            with self._others(app, model) as finish:
                ours = web.drag(page, self.seconds, progress).latencies()
                theirs, errors = finish()
        for error in errors[:3]:
            self.progress.console.print(f"[red]{model}, {CROWD} more users:[/] {error}")
        group = f"{1 + CROWD} users, {model}"
        return [
            *of_latencies(f"{group}: page", ours, MOST_CROWD_MS),
            *of_latencies(f"{group}: others", theirs, MOST_CROWD_MS),
            Figure(f"{group}: others", "errors", len(errors), at_most=0),
        ]

    @contextmanager
    def _others(
        self, app: Server, model: str
    ) -> Iterator[Callable[[], tuple[Latencies, list[str]]]]:
        """``CROWD`` users who drag until what this gives is called: it returns what they saw."""
        command = (
            *(sys.executable, "-m", "tests.benchmarks.crowd", "--users", str(CROWD)),
            *(app.url, self.root / model),
        )

        def finish() -> tuple[Latencies, list[str]]:
            found = json.loads(crowd.communicate(timeout=servers.STOP_SECONDS)[0])
            return Latencies(**found["latencies"]), found["errors"]

        pipe = subprocess.PIPE
        with servers.process(command, stdin=pipe, stdout=pipe, text=True) as crowd:
            if crowd.stdout is None or crowd.stdout.readline() != "ready\n":
                raise servers.ServerError(f"{CROWD} more users could not drag {model}")
            yield finish

    def _beside_a_lab(self, app: Server) -> list[Figure]:
        """What one browser sees that drags the VAE while a WGAN-GP trains for somebody else."""
        with (
            self._stage("The same beside a lab", self.seconds / STEP_S) as progress,
            web.probed_page(self.browser) as page,
        ):
            web.open_sliders(page, app.url, VAE)
            with servers.training(app) as steps:
                before = steps()
                latencies = web.drag(page, self.seconds, progress).latencies()
                trained = steps() - before
        group = f"one user, {VAE}, beside a lab"
        return [
            *of_latencies(group, latencies, MOST_ONE_USER_MS),
            Figure(group, "steps trained meanwhile", trained, at_least=1),
        ]

    def _pen(self, app: Server) -> list[Figure]:
        """What a browser sees while one draws."""
        figures = []
        for what, shown, most in (
            ("the model sees", "drawing-seen", MOST_ONE_USER_MS),
            ("it draws", "live-image", MOST_RECONSTRUCTION_MS),
        ):
            with (
                self._stage(f"Drawing: {what}", self.seconds / STEP_S) as progress,
                web.probed_page(self.browser) as page,
            ):
                web.open_drawing(page, app.url, VAE)
                found = web.draw(page, self.seconds, shown, progress).latencies()
            figures += of_latencies(f"pen, {what}", found, most)
        return figures

    def _memory(self, app: Server) -> Figure:
        """Of the server after everything above, and every page with every model."""
        visits = [f"{app.url}{path}?model={model}" for model in MODELS for path in PAGES]
        with (
            self._stage("Visiting every page", len(visits)) as progress,
            web.probed_page(self.browser) as page,
        ):
            for url in visits:
                web.visit(page, url)
                progress()
            return Figure("memory", "resident", app.resident_mb(), "MB", at_most=MOST_RESIDENT_MB)

    def _native(self, ours: Latencies, stage: str, collects: str) -> list[Figure]:
        """Streamlit's own slider over the VAE, and how many times as long it takes.

        ``collects`` says whether Streamlit searches for garbage after every run of the script, as
        it does by default: "true" or "false", as in our own configuration.
        """
        port = free_port()
        command = (
            *(sys.executable, "-m", "streamlit", "run", NATIVE_SCRIPT),
            *("--server.headless", "true", "--server.address", servers.HOST),
            *("--server.port", str(port), "--runner.postScriptGC", collects),
        )
        with (
            self._stage(stage, NATIVE_STEPS) as progress,
            servers.server(command, port, {"LATENT_CHECKPOINTS": str(self.root)}) as native,
            web.probed_page(self.browser) as page,
        ):
            found = web.native_steps(page, native.url, NATIVE_STEPS, progress).latencies()
        ratio = found.median_ms / ours.median_ms
        least = LEAST_NATIVE_RATIO if collects == "true" else None
        return [*of_latencies(stage, found), Figure(stage, "median / ours", ratio, at_least=least)]


def main(
    json_file: JsonFile,
    checkpoints: Checkpoints = None,
    seconds: Seconds = 10,
    check: Check = False,
) -> None:
    """Measure the live channel as its users meet it."""
    root = (checkpoints or settings.checkpoints_dir()).resolve()
    for model in MODELS:
        if not (root / model / "card.json").is_file():
            raise typer.BadParameter(f"there is no {model} in {root}")
    report(
        lambda browser, progress: Benchmark(root, seconds, browser, progress).run(),
        json_file,
        check,
    )


if __name__ == "__main__":
    typer.run(main)
