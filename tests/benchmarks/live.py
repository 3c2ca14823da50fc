"""How fast the app is under a hand: ``python -m tests.benchmarks.live --json FILE``.

Starts the app as its users do, opens it in a real Chromium, drags, and compares what it measures
with the bounds of the project. Five parts:

- from the start of the process to a map that paints what one points at;
- dragging a slider of each model: from the input event to the painted canvas;
- the same with 20 more users who drag the same model;
- memory of the server at the end of it;
- one step of Streamlit's own slider: from releasing it to the new picture decoded.

"Painted" is the end of ``putImageData``; the screen shows it with the browser's next frame. The
20 users are one Python process on the same computer: what they cost counts against the app.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from explorer import settings
from tests.benchmarks import browser as web
from tests.benchmarks import servers
from tests.benchmarks.latencies import STEP_S, Latencies
from tests.benchmarks.servers import Server

VAE = "mnist-conv-vae-z2"
MODELS = (VAE, "mnist-cgan")
PAGES = ("/", "/sliders", "/morph", "/digits")
CROWD = 20
NATIVE_SCRIPT = Path(__file__).with_name("native_slider.py")
NATIVE_STEPS = 20

MOST_INTERACTIVE_S = 8.0
MOST_ONE_USER_MS = 16.7
MOST_CROWD_MS = 100.0
MOST_RESIDENT_MB = 1000.0
LEAST_NATIVE_RATIO = 20.0


@dataclass(frozen=True)
class Figure:
    """One number, and what it must be."""

    group: str
    """What was measured."""
    name: str
    """Which number of it."""
    value: float
    """The number; infinite where something never happened."""
    unit: str = ""
    """Its unit."""
    at_most: float | None = None
    """Upper bound."""
    at_least: float | None = None
    """Lower bound."""

    @property
    def bound(self) -> str:
        """The bound in words; empty where there is none."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"

    @property
    def met(self) -> bool | None:
        """Whether the number is within its bound; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    def as_json(self) -> dict[str, object]:
        """The figure for a file; JSON has no infinity."""
        value = self.value if math.isfinite(self.value) else None
        return {**asdict(self), "value": value, "met": self.met}


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
        script = Path(sysconfig.get_path("scripts")) / "latent-explorer"
        port = servers.free_port()
        command = (script, "--checkpoints", self.root, "--no-browser", "--port", str(port))
        with self._stage("Starting the app", 1) as started, servers.server(command, port) as app:
            figures = self._start(app)
            started()
            alone = {model: self._drag(app, model) for model in MODELS}
            for model, latencies in alone.items():
                figures += _figures(f"one user, {model}", latencies, MOST_ONE_USER_MS)
            for model in MODELS:
                figures += self._crowd(app, model)
            figures.append(self._memory(app))
        return figures + self._native(alone[VAE])

    @contextmanager
    def _stage(self, name: str, steps: float) -> Iterator[Callable[[], None]]:
        """Show a stage; calling what it gives says that one of its steps is done."""
        task = self.progress.add_task(name, total=steps)
        yield lambda: self.progress.advance(task)
        self.progress.update(task, completed=steps)

    def _start(self, app: Server) -> list[Figure]:
        with web.probed_page(self.browser) as page:
            web.first_touch(page, app.url)
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
            *_figures(f"{group}: page", ours, MOST_CROWD_MS),
            *_figures(f"{group}: others", theirs, MOST_CROWD_MS),
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

    def _native(self, ours: Latencies) -> list[Figure]:
        """Streamlit's own slider over the VAE, and how many times as long it takes."""
        port = servers.free_port()
        command = (
            *(sys.executable, "-m", "streamlit", "run", NATIVE_SCRIPT),
            *("--server.headless", "true", "--server.address", servers.HOST),
            *("--server.port", str(port)),
        )
        with (
            self._stage("Streamlit's own slider", NATIVE_STEPS) as progress,
            servers.server(command, port, {"LATENT_CHECKPOINTS": str(self.root)}) as native,
            web.probed_page(self.browser) as page,
        ):
            found = web.native_steps(page, native.url, NATIVE_STEPS, progress).latencies()
        ratio = found.median_ms / ours.median_ms
        return [
            *_figures("native slider", found),
            Figure("native slider", "median / ours", ratio, at_least=LEAST_NATIVE_RATIO),
        ]


def _figures(group: str, found: Latencies, most_ms: float | None = None) -> list[Figure]:
    return [
        Figure(group, "inputs", found.count),
        Figure(group, "unanswered", found.unanswered),
        Figure(group, "median", found.median_ms, "ms"),
        Figure(group, "p95", found.p95_ms, "ms", at_most=most_ms),
        Figure(group, "max", found.max_ms, "ms"),
        Figure(group, "pictures", found.per_second, "1/s"),
    ]


def machine(browser: Browser) -> dict[str, str]:
    """What the figures were measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "streamlit": version("streamlit"),
        "chromium": browser.version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table(measured_on: dict[str, str], figures: list[Figure]) -> Table:
    """Every figure with its bound."""
    made = Table(
        "",
        "figure",
        "value",
        "bound",
        "met",
        caption=" · ".join(map(" ".join, measured_on.items())),
    )
    group = ""
    for figure in figures:
        if figure.group != group:
            made.add_section()
        mark = {True: "[green]yes", False: "[red]no", None: ""}[figure.met]
        shown = f"{figure.value:,.{1 if figure.unit else 0}f} {figure.unit}"
        made.add_row(
            figure.group if figure.group != group else "", figure.name, shown, figure.bound, mark
        )
        group = figure.group
    return made


def write(path: Path, content: dict[str, object]) -> None:
    """Write JSON atomically."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
    Path(file.name).replace(path)


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Where the figures are written.")],
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints. Default: the shipped ones.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Length of each drag.")] = 10,
    check: Annotated[bool, typer.Option("--check", help="Fail where a bound is missed.")] = False,
) -> None:
    """Measure the live channel as its users meet it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    root = (checkpoints or settings.checkpoints_dir()).resolve()
    for model in MODELS:
        if not (root / model / "card.json").is_file():
            raise typer.BadParameter(f"there is no {model} in {root}")
    if not json_file.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {json_file.parent}")
    console = Console()
    with web.chromium() as browser:
        measured_on = machine(browser)
        with Progress(console=console) as progress:
            figures = Benchmark(root, seconds, browser, progress).run()
    write(json_file, {"machine": measured_on, "figures": [figure.as_json() for figure in figures]})
    console.print(table(measured_on, figures))
    if check and any(figure.met is False for figure in figures):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
