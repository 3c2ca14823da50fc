"""Figures with their bounds, where they were measured, and how they are shown and kept."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import signal
import sys
import tempfile
from collections.abc import Callable
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

from tests.benchmarks.browser import chromium
from tests.benchmarks.latencies import Latencies


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


def of_latencies(group: str, found: Latencies, most_ms: float | None = None) -> list[Figure]:
    """What is told of latencies; their 95th percentile has a bound."""
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


JsonFile = Annotated[Path, typer.Option("--json", help="Where the figures are written.")]
Checkpoints = Annotated[
    Path | None, typer.Option(help="Folder of checkpoints. Default: the shipped ones.")
]
Seconds = Annotated[float, typer.Option(min=1, max=60, help="Length of each drag.")]
Check = Annotated[bool, typer.Option("--check", help="Fail where a bound is missed.")]


def report(
    measure: Callable[[Browser, Progress], list[Figure]], json_file: Path, check: bool
) -> None:
    """Measure in a real Chromium, write the figures and show them; SIGTERM ends it in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not json_file.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {json_file.parent}")
    console = Console()
    with chromium() as browser:
        measured_on = machine(browser)
        with Progress(console=console) as progress:
            figures = measure(browser, progress)
    write(json_file, {"machine": measured_on, "figures": [figure.as_json() for figure in figures]})
    console.print(table(measured_on, figures))
    if check and any(figure.met is False for figure in figures):
        raise typer.Exit(1)
