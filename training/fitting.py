"""One run from the command line: its data, its processes, Ctrl-C, and the checkpoint it leaves."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import typer
from rich.markup import escape
from rich.progress import Progress

from training import checkpoint, devices, loop, publish, resume, running, watch
from training.checkpoint import Card, Checkpoint, CheckpointError
from training.console import (
    INTERRUPTED,
    Interrupts,
    console,
    decoding,
    errors,
    fail,
    progress_bar,
)
from training.data import (
    DataError,
    ImageData,
    data_root,
    load_both,
    load_images,
    require_classes,
    require_names,
)
from training.devices import World
from training.health import diagnose
from training.judge import judge_for
from training.locks import alone
from training.loop import Run
from training.networks import recipe_parameters
from training.pace import Pace
from training.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Options:
    """What `latent-train fit` is told beside the recipe."""

    out: Path
    """Folder that receives the checkpoint folder."""
    epochs: int
    """Passes over the data."""
    seed: int = 0
    """Seed of initialisation, data order and noise."""
    data: Path | None = None
    """Folder of the data sets; None for the variable LATENT_DATA, else ``data``."""
    images: Path | None = None
    """The user's own pictures, in place of the recipe's data set."""
    resume: bool = False
    """Go on from the state beside the checkpoint."""
    overwrite: bool = False
    """Replace a checkpoint of the same name."""
    tensorboard: Path | None = None
    """Folder for TensorBoard's event files; None for none."""
    watch: bool = False
    """Show losses and samples in the app meanwhile."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto: a GPU where there is one."""
    devices: int = 1
    """Processes on this machine."""
    nodes: int = 1
    """Machines that train together."""
    strategy: str = "ddp"
    """How the processes share the work."""
    any_precision: bool = True
    """Train in float32 where the recipe's bfloat16 is not to be had."""
    eager: bool = False
    """Record no step as a CUDA graph."""
    dry_run: bool = False
    """Check data, device and settings, and stop."""


def fit(recipe: Recipe, options: Options) -> None:
    """Train one recipe and write its checkpoint; every mistake ends in a sentence and exit code 1.

    Raises typer.Exit, with 130 where Ctrl-C ended it; what has been learnt is saved then.
    """
    world = _world(recipe, options)
    try:
        device = world.device or devices.pick_device(options.device)
        if options.any_precision and recipe.bf16 and not devices.has_bf16(device):
            console.print("This device has no bfloat16: float32 it is.")
            recipe = dataclasses.replace(recipe, bf16=False)
        recipe, train, test = _prepare(recipe, options, device, world)
        folder = checkpoint.folder_of(recipe, options.out)
        if options.dry_run:
            _check_dry(recipe, train, folder, options, world)
            return
        with _alone(folder) if world.rank == 0 else nullcontext():
            if world.rank == 0:
                _recover(folder)
                _check_free(folder, options)
            world.wait()
            _train(recipe, train, test, folder, options, world)
    except (MemoryError, RuntimeError) as error:
        errors.quiet = False  # it may be this process's alone
        if devices.out_of_memory(error):
            fail(_too_large(recipe, error))
        if _left_alone(error):
            fail("another process of this run has ended; --resume goes on where it was")
        raise


def _world(recipe: Recipe, options: Options) -> World:
    """Start the other processes, if any; only the first one talks."""
    processes = options.devices * options.nodes
    try:
        if recipe.batch_size % processes:
            raise ValueError(
                f"--batch-size {recipe.batch_size} cannot be shared evenly by {processes} processes"
            )
        device = devices.pick_device(options.device)
        world = devices.launch(device, options.devices, options.nodes, options.strategy)
    except ValueError as error:
        fail(str(error))
    console.quiet = errors.quiet = world.rank != 0
    return world


def _prepare(
    recipe: Recipe, options: Options, device: torch.device, world: World
) -> tuple[Recipe, ImageData, ImageData]:
    """Load the data onto the device, fit the recipe to it, and say what will be trained."""
    try:
        shape = recipe.network.image_shape
        with decoding() as on_image:
            if options.images:
                train, test = load_images(options.images, shape, on_image)
            else:
                train, test = load_both(data_root(options.data), recipe.dataset, shape, on_image)
        recipe = _for_data(recipe, train)
    except (DataError, ValueError) as error:
        fail(str(error))
    counts = recipe_parameters(recipe)
    console.print(
        f"[bold]{recipe.name}[/]: {len(train):,} training and {len(test):,} test images, "
        f"{options.epochs} epochs on {escape(devices.describe_device(device))}"
        + (f" in {world.size} processes" if world.size > 1 else "")
        + f", seed {options.seed}; "
        + ", ".join(f"{name} {n:,} parameters" for name, n in counts.items())
    )
    return recipe, train.to(device), test.to(device)


def _for_data(recipe: Recipe, data: ImageData) -> Recipe:
    """The recipe under the data set's name, with its classes where the network knows classes."""
    require_names(data)
    network = recipe.network
    if wanted := getattr(network, "num_classes", 0):
        require_classes(data)
        if wanted != len(data.classes):
            network = dataclasses.replace(network, num_classes=len(data.classes))
    return dataclasses.replace(recipe, network=network, dataset=data.name or recipe.dataset)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Fail where another process fills ``folder``: each would clear up what the other writes."""
    refusal = (
        f"another run is at work in {folder}: wait until it has ended, or give another --out"
        " or, with --images, another name"
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(folder.with_name(f".{folder.name}.lock"), refusal))
        except ValueError as error:
            fail(str(error))
        yield


def _check_dry(
    recipe: Recipe, train: ImageData, folder: Path, options: Options, world: World
) -> None:
    """Fail where the run itself would, and write nothing."""
    there = next(path for path in folder.parents if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        reason = "permission denied" if there.is_dir() else "it is no folder"
        fail(f"{there} cannot be written: {reason}")
    _check_free(folder, options)
    if options.resume:
        settings = resume.settings_of(recipe, options.seed, train.fingerprint, world.size)
        try:
            resume.chosen(folder, settings)
        except resume.ResumeError as error:
            fail(str(error))


def _recover(folder: Path) -> None:
    """Clear up what kills have left of ``folder``."""
    try:
        checkpoint.recover(folder)
        checkpoint.recover(checkpoint.partial(folder))
    except OSError as error:
        fail(f"{folder.parent} cannot be written: {error.strerror}")


def _check_free(folder: Path, options: Options) -> None:
    """Fail before training, not after the first epoch, where ``folder`` must not be replaced."""
    if folder.exists() and not (folder / "card.json").exists():
        fail(f"{folder} is not a checkpoint, so it is left alone: pass another --out")
    states = resume.states(folder)
    if not (options.resume or options.overwrite) and (folder.exists() or states):
        again = "--resume to go on with its run, " if states else ""
        fail(
            f"{folder if folder.exists() else states[0]} is already there: pass {again}"
            "--overwrite to replace it, or another --out"
        )


def _train(
    recipe: Recipe,
    train: ImageData,
    test: ImageData,
    folder: Path,
    options: Options,
    world: World,
) -> None:
    """Train to the end or to Ctrl-C, publish now and then, and say what came of it."""
    kept = options.overwrite and folder.exists()  # until this run has caught up with it
    saver = resume.Saver(
        resume.state_path(checkpoint.partial(folder) if kept else folder),
        resume.settings_of(recipe, options.seed, train.fingerprint, world.size),
    )
    judge = judge_for(recipe, options.out, train.classes)
    publisher = _Publisher(train, test, folder, judge, saver)
    first = world.rank == 0  # the only one that writes
    done = 0
    with _in_words(folder):
        if options.resume:
            saver.path, done = resume.chosen(folder, saver.settings)
            console.print(f"Going on with {escape(str(saver.path))} after {done} epochs.")
        try:
            with ExitStack() as stack:
                interrupts = stack.enter_context(Interrupts())
                write_scalars = stack.enter_context(_scalars(recipe, options, done, first))
                board = stack.enter_context(_shown(recipe, folder, options)) if first else None
                progress = stack.enter_context(progress_bar())
                runs = loop.fit(
                    recipe,
                    train,
                    test,
                    progress,
                    epochs=options.epochs,
                    seed=options.seed,
                    judge=judge,
                    saver=saver if first else None,
                    board=board,
                    resumed=saver.path if options.resume else None,
                    world=world,
                    hold=interrupts.held,
                    record=not options.eager,
                )
                if first:
                    interrupted = _follow(runs, publisher, interrupts, progress, write_scalars)
                else:
                    interrupted = any(run.interrupted for run in runs)
        except KeyboardInterrupt:
            interrupted = True
    if not interrupted:
        world.wait()  # for the first one to publish
    if first:
        publisher.report()
        if interrupted and saver.path.exists():
            console.print("Go on with it by the same command and --resume.")
    if interrupted or (publisher.card is None and first):
        raise typer.Exit(INTERRUPTED)


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """End the command with a sentence where a run in the block cannot go on."""
    try:
        yield
    except (CheckpointError, FloatingPointError, resume.ResumeError, ValueError) as error:
        fail(str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        fail(f"{folder} cannot be written: {reason}; what was there before is untouched")


@contextmanager
def _shown(recipe: Recipe, folder: Path, options: Options) -> Iterator[running.Board]:
    """The record of a run that the app shows, and the app itself where it is asked for."""
    with ExitStack() as stack:
        if options.watch:
            root = data_root(options.data)
            stack.enter_context(watch.shown_in_app(options.out, recipe.name, root, options.images))
        yield stack.enter_context(running.Board(running.path_of(folder), options.resume))


def _follow(
    runs: Iterator[Run],
    publisher: _Publisher,
    interrupts: Interrupts,
    progress: Progress,
    write_scalars: Callable[[Run], None],
) -> bool:
    """Publish the run as often as its time allows and at its end; whether Ctrl-C was that end.

    One between two epochs is raised, once what has been learnt is saved; so is a second one, which
    gives that up.
    """
    pace, run, saved = Pace(), None, 0
    try:
        for run in runs:
            if run.finished or run.interrupted or pace.due:
                saved = run.images_seen
                with interrupts.held(), pace.measured():
                    publisher.publish(run)
            _tell(run, progress)
            write_scalars(run)
    except KeyboardInterrupt:
        if run and run.images_seen > saved:
            run.interrupted = True
            with interrupts.held():
                publisher.publish(run)
        raise
    return run is not None and run.interrupted


@dataclass
class _Publisher:
    """Writes a run's checkpoint, and says at the end where it is."""

    train: ImageData
    test: ImageData
    folder: Path
    """Where the checkpoint belongs."""
    judge: Checkpoint | None
    saver: resume.Saver
    card: Card | None = None
    """The card written last."""
    written: Path | None = None
    """And where to: beside ``folder`` while that holds one that has seen more images."""

    def publish(self, run: Run) -> None:
        """Write the checkpoint; once it is in ``folder``, the run's state is in its place, too."""
        target = publish.destination(self.folder, run)
        self.card = publish.publish(run, self.train, self.test, target, self.judge)
        self.written = target
        if target != self.folder:
            return
        if self.saver.path.exists():
            self.saver.path.replace(resume.state_path(self.folder))
        self.saver.path = resume.state_path(self.folder)
        beside = checkpoint.partial(self.folder)
        if not resume.state_path(beside).exists():  # else it is another run's, to be gone on with
            shutil.rmtree(beside, ignore_errors=True)

    def report(self) -> None:
        """Say where the checkpoint is and how far it got."""
        if self.card is None:
            errors.print("[yellow]Stopped[/] before anything new was saved.")
            return
        if self.card.notes:
            console.print(f"[yellow]{escape(self.card.notes)}[/]")
        if self.written != self.folder:
            console.print(
                f"{escape(str(self.folder))} has seen more images and was kept.", soft_wrap=True
            )
        console.print(
            f"[green]{escape(str(self.written))}[/] holds {self.card.images_seen:,} images' worth "
            "of training.",
            soft_wrap=True,
        )


def _tell(run: Run, progress: Progress) -> None:
    """One line per epoch, and a warning where something is wrong."""
    if run.interrupted:
        return
    values = "  ".join(f"test/{name} {v[-1]:.4g}" for name, v in run.history["test"].items())
    progress.console.print(f"epoch {run.epochs}: {values}")
    if problem := diagnose(run.history):
        progress.console.print(f"[yellow]Warning:[/] {escape(problem)}")


@contextmanager
def _scalars(
    recipe: Recipe, options: Options, done: int, first: bool
) -> Iterator[Callable[[Run], None]]:
    """What appends an epoch's losses to TensorBoard's event files, where there are to be some.

    Epochs after the first ``done`` that are in the folder already will be written anew.
    """
    if options.tensorboard is None or not first:
        yield lambda run: None
        return
    folder = options.tensorboard / recipe.name
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        fail("--tensorboard needs a package that is not installed: pip install tensorboard")
    try:
        writer = SummaryWriter(str(folder), purge_step=done + 1)
    except OSError as error:
        fail(f"--tensorboard: {folder} cannot be written: {error.strerror or error}")
    with writer:

        def write(run: Run) -> None:
            if run.interrupted:
                return
            for split, parts in run.history.items():
                for name, values in parts.items():
                    writer.add_scalar(f"{name}/{split}", values[-1], run.epochs)

        yield write


def _left_alone(error: BaseException) -> bool:
    """Whether it tells that a process of the same run is no longer there."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _too_large(recipe: Recipe, error: BaseException) -> str:
    """What to lower when memory runs out."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"there is not enough memory for {recipe.name} ({reason}): lower "
        f"--batch-size, now {recipe.batch_size}"
        + (", or --size" if recipe.name not in RECIPES else "")
        + ", train fewer at once, or use --device cpu"
    )
