"""What the command line shows and how it takes Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

INTERRUPTED = 130  # what shells report for Ctrl-C
SAVING = "Stopping: what has been learnt is being saved. Ctrl-C again gives it up."

console = Console()
errors = Console(stderr=True)


class ImagesPerSecond(ProgressColumn):
    """Training speed, in images a second."""

    def render(self, task: Task) -> Text:
        """Draw the speed, or a dash before the first step."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "- images/s")


def progress_bar() -> Progress:
    """Progress in images, with epoch, speed, time left and the running losses."""
    return Progress(
        TextColumn("{task.description} epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        ImagesPerSecond(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
        console=console,
    )


@contextmanager
def decoding() -> Iterator[Callable[[int, int], None]]:
    """A progress bar for pictures being decoded, which shows itself once there are many."""
    progress = Progress(console=console, transient=True)

    def on_image(done: int, total: int) -> None:
        if total < 1000:
            return
        if not progress.tasks:
            progress.start()
            progress.add_task("reading pictures")
        progress.update(progress.tasks[0].id, completed=done, total=total)

    try:
        yield on_image
    finally:
        if progress.tasks:  # stopping one that never began would print an empty line
            progress.stop()


def fail(message: str) -> NoReturn:
    """End the command with a sentence and exit code 1."""
    errors.print(f"[red]latent-train:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(1)


class Interrupts:
    """Ctrl-C while this context lasts: the first one is told, and a second one always ends.

    The first ends what is being done, too, or waits for the end of a block that is `held`.
    Nothing is changed where the shell lets the process ignore it, as it does behind a ``&``.
    """

    def __init__(self) -> None:
        self._came = self._holding = False

    def __enter__(self) -> Interrupts:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _take(self, *_: object) -> None:
        first, self._came = not self._came, True
        if first:
            console.print(SAVING)
        if not (first and self._holding):
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a first Ctrl-C wait for the end of the block."""
        came, self._holding = self._came, True
        try:
            yield
        finally:
            self._holding = False
        if self._came and not came:
            raise KeyboardInterrupt
