"""Command line: ``latent-train list | fit | verify | download``."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from training.recipes import RECIPES, Recipe, by_name

if TYPE_CHECKING:  # torch takes seconds to import: `list` and `--help` do without it
    from training.checkpoint import Card
    from training.data import ImageData
    from training.loop import Run

SAVING = "Stopping: what has been learnt is being saved. Ctrl-C again gives it up."
INTERRUPTED = 130  # what shells report for Ctrl-C

app = typer.Typer(
    help="Train the VAEs and GANs of the five reports into small, safe checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder that holds MNIST/raw, or train/<class>/ and test/<class>/ with your own "
        "images. Default: the variable LATENT_DATA, else data.",
    ),
]


class ImagesPerSecond(ProgressColumn):
    """Training speed, in images a second."""

    def render(self, task: Task) -> Text:
        """Draw the speed, or a dash before the first step."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "- images/s")


@app.command("list")
def list_recipes() -> None:
    """List every recipe: what it trains, where it comes from, how long it runs."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("recipe", no_wrap=True, overflow="fold")  # to be copied, so never cut
    for heading in ("what", "report", "data", "latent", "epochs", "batch"):
        table.add_column(heading, overflow="fold")
    for recipe in RECIPES.values():
        table.add_row(
            recipe.name,
            recipe.title,
            recipe.report or "-",
            recipe.dataset,
            str(getattr(recipe.network, "latent_dim", "-")),
            str(recipe.epochs),
            str(recipe.batch_size),
        )
    console.print(table)


@app.command()
def fit(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe; `latent-train list` has them.")],
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data. Default: the recipe's.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto: a GPU where there is one.")
    ] = "auto",
    data: DataOption = None,
    out: Annotated[Path, typer.Option(help="Folder that receives the checkpoint folder.")] = Path(
        "runs"
    ),
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, data order and noise."),
    ] = 0,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a checkpoint of the same name in --out. One that has seen more images "
            "is kept, with the new one beside it in NAME.partial, until the new run has caught "
            "up or is finished.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check data, device and settings, print them, and stop."),
    ] = False,
) -> None:
    """Train one recipe and write its checkpoint.

    After every epoch the checkpoint so far is in --out, so a power cut costs one epoch at most.
    Ctrl-C saves what has been learnt and exits with 130; a second Ctrl-C gives that up and leaves
    the last checkpoint. See it in the app with `latent-explorer --checkpoints OUT`.
    """
    try:
        chosen = by_name(recipe)
    except ValueError as error:
        _fail(str(error))
    folder = out / ("judges" if chosen.family == "classifier" else "") / chosen.name
    chosen, train, test = _prepare(chosen, data, device, epochs or chosen.epochs, seed)
    if not dry_run:
        _check_writable(folder, overwrite)
        _train(chosen, train, test, folder, out, epochs, seed)


def _prepare(
    recipe: Recipe, data: Path | None, device: str, epochs: int, seed: int
) -> tuple[Recipe, ImageData, ImageData]:
    """Load the data onto the device, fit the recipe to it, and say what will be trained."""
    from training.data import DataError, data_root, load_both
    from training.devices import describe_device, pick_device
    from training.networks import parameter_counts

    try:
        torch_device = pick_device(device)
        train, test = load_both(data_root(data), recipe.network.image_shape)
        recipe = _for_data(recipe, train)
    except (DataError, ValueError) as error:
        _fail(str(error))
    counts = parameter_counts(recipe.network)
    console.print(
        f"[bold]{recipe.name}[/]: {len(train):,} training and {len(test):,} test images, "
        f"{epochs} epochs on {escape(describe_device(torch_device))}, seed {seed}; "
        + ", ".join(f"{name} {n:,} parameters" for name, n in counts.items())
    )
    return recipe, train.to(torch_device), test.to(torch_device)


def _for_data(recipe: Recipe, data: ImageData) -> Recipe:
    """The recipe under the data set's name, with its classes where the network knows classes."""
    network = recipe.network
    classes = len(data.classes)
    if getattr(network, "num_classes", classes) != classes:
        if recipe.family == "classifier" and classes < 2:
            raise ValueError(f"{recipe.name} needs images of at least two classes")
        network = dataclasses.replace(network, num_classes=classes)
    return dataclasses.replace(recipe, network=network, dataset=data.name or recipe.dataset)


def _check_writable(folder: Path, overwrite: bool) -> None:
    """Fail before training, not after the first epoch, where ``folder`` must not be written."""
    from training.checkpoint import recover

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
    except OSError as error:
        _fail(f"{folder.parent} cannot be written: {error.strerror}")
    if not os.access(folder.parent, os.W_OK):
        _fail(f"{folder.parent} cannot be written: permission denied")
    if not folder.exists():
        return
    if not overwrite:
        _fail(f"{folder} is already there: pass --overwrite to replace it, or another --out")
    if not (folder / "card.json").exists():
        _fail(f"{folder} is not a checkpoint, so --overwrite leaves it alone: pass another --out")


def _train(
    recipe: Recipe,
    train: ImageData,
    test: ImageData,
    folder: Path,
    out: Path,
    epochs: int | None,
    seed: int,
) -> None:
    """Train to the end or to Ctrl-C, publish after every epoch, and say what came of it."""
    from training.checkpoint import CheckpointError, partial
    from training.loop import fit as fit_recipe
    from training.publish import destination, publish

    card, written, interrupted = None, folder, False
    try:
        with progress_bar() as progress:
            for run in fit_recipe(recipe, train, test, progress, epochs=epochs, seed=seed):
                with interrupts_held(run.interrupted):
                    target = destination(folder, run)
                    card = publish(run, train, test, target, out)
                    written, interrupted = target, run.interrupted
                    if target == folder:
                        shutil.rmtree(partial(folder), ignore_errors=True)
                progress.console.print(_measured(run, card.metrics))
    except KeyboardInterrupt:
        interrupted = True
    except (CheckpointError, FloatingPointError) as error:
        _fail(str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        _fail(f"{folder} cannot be written: {reason}; what was there before is untouched")
    _report(card, folder, written)
    if interrupted or card is None:
        raise typer.Exit(INTERRUPTED)


def _report(card: Card | None, folder: Path, written: Path) -> None:
    """Say where the checkpoint is and how far it got; ``card`` is None where none was written."""
    if card is None:
        errors.print("[yellow]Stopped[/] before there was anything to save.")
        return
    if card.notes:
        console.print(f"[yellow]{escape(card.notes)}[/]")
    if written != folder:
        console.print(f"{escape(str(folder))} has seen more images and was kept.", soft_wrap=True)
    console.print(
        f"[green]{escape(str(written))}[/] holds {card.images_seen:,} images' worth of training.",
        soft_wrap=True,
    )


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


def _measured(run: Run, metrics: dict[str, float]) -> str:
    values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    when = f"{run.images_seen:,} images" if run.interrupted else f"epoch {run.epochs}"
    return f"{when}: {values}"


@app.command()
def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A checkpoint folder, or a folder of them. Default: the shipped ones."),
    ] = None,
) -> None:
    """Check card, size, hash, tensor names, shapes and finiteness of every checkpoint.

    Exits with 1 where any fails; the others are checked all the same.
    """
    from training.checkpoint import CheckpointError, find, load, shipped

    root = folder or Path(os.environ.get("LATENT_CHECKPOINTS") or shipped())
    folders = [root] if (root / "card.json").exists() else find(root)
    if not folders:
        _fail(f"there are no checkpoints in {root}")
    failed = 0
    for path in folders:
        try:
            opened = load(path)
            opened.atlas()
            opened.history()
            line = f"[green]ok[/]      {escape(str(path))}: {len(opened.card.files)} files"
        except CheckpointError as error:
            failed += 1
            line = f"[red]failed[/]  {escape(str(path))}: {escape(error.check)}"
        console.print(line, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def download(data: DataOption = None) -> None:
    """Download MNIST (11 MB) into the data folder, with checksums."""
    from training.data import DataError, data_root, download_mnist

    root = data_root(data)
    tasks: dict[str, TaskID] = {}
    try:
        with Progress(console=console) as progress:

            def show(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total or None)
                progress.update(tasks[name], completed=done)

            download_mnist(root, show)
    except DataError as error:
        _fail(str(error))
    console.print(f"[green]MNIST[/] is in {root / 'MNIST' / 'raw'}")


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


def _fail(message: str) -> NoReturn:
    errors.print(f"[red]latent-train:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
