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


@contextmanager
def interrupts_held(interrupted: bool) -> Iterator[None]:
    """Hold Ctrl-C back until the block has ended; a second one breaks through.

    ``interrupted`` says that the first has come already.
    """
    came = interrupted

    def hold(*_: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        console.print(SAVING)

    if interrupted:
        console.print(SAVING)
    previous = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if came and not interrupted:
        raise KeyboardInterrupt
