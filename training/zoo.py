"""Many recipes, several at once: the shortest missing one first, each in a process of its own.

A recipe that fails, or is killed where memory runs out, costs only itself. Whatever stops the zoo,
run again it goes on: finished checkpoints are left as they are, and runs resume from their state.
Its processes end with it, and save before they do, even where it was killed.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from training import children, operations, resume, running
from training.checkpoint import (
    Card,
    Checkpoint,
    CheckpointError,
    find,
    folder_of,
    read_card,
    read_history,
    recover,
    verify_files,
)
from training.console import INTERRUPTED, Interrupts, console, errors
from training.data import SIZES
from training.devices import pick_device
from training.judge import find_judge
from training.locks import alone
from training.recipes import RECIPES, Recipe, by_name
from training.report import write
from training.running import Running
from training.scores import SAMPLES
from training.scoring import score_folders

LEAST_BUDGET = 60.0
"""Seconds that a budget has at least."""
MOST_BUDGET = 365 * 86400.0
"""And at most: no clock shows an infinite one."""
LEAST_SECONDS = 45.0
"""Budget that must be left to begin a run: to start takes some, and states come every 30 s."""
BUSY_SECONDS = 120.0
"""How long a record of training may be silent before its process counts as dead.

Records come every second; a process that has been asked to end may write a picture before it does.
"""
TICK = 0.5
"""Seconds between two looks at what is at work."""
STOPPED = "it was stopped"
"""What an attempt says that has ended before its last epoch and saved what it had learnt."""


@dataclass(frozen=True)
class Plan:
    """How all the recipes are trained."""

    out: Path
    """Folder that receives the checkpoint folders, absolute."""
    data: Path | None
    """Folder of the data, absolute; None for what each machine has by itself."""
    device: str = "auto"
    """Device of every run."""
    seed: int = 0
    """Seed of every run."""
    epochs: int | None = None
    """Epochs of every run; None for the recipes' own."""
    jobs: int = 1
    """Runs at once on one machine, or on one GPU of a cluster."""


@dataclass(frozen=True)
class Job:
    """A recipe whose training is missing, or not finished."""

    recipe: Recipe
    """What is trained."""
    folder: Path
    """The checkpoint folder that it fills."""
    epochs: int
    """Epochs that it is to have at the end."""
    done: int
    """Complete epochs in the folder."""
    images: int
    """Training images that it still has to see."""
    arithmetic: float
    """Floating-point operations for each of them."""
    speed: float = 0.0
    """Images a second in an earlier attempt; 0 where there was none."""


class Attempt(Protocol):
    """A job at work, here or elsewhere."""

    def record(self) -> Running | None:
        """How far it has come; None while it has not said so."""
        ...

    def ended(self) -> str | None:
        """None while it is at work; then what went wrong, in a sentence, or "" for nothing.

        `STOPPED` where it was only asked to end.
        """
        ...

    def stop(self) -> None:
        """Ask it to save what it has learnt, and to end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


@dataclass(frozen=True)
class Place:
    """Where jobs are at work."""

    begin: Callable[[Job], Attempt]
    """Begins a job. Raises OSError where it cannot."""
    room: Callable[[], int]
    """How many may be at work at once."""


# --- What is missing, and in which order


def chosen(patterns: Iterable[str]) -> list[Recipe]:
    """The recipes that names and globs mean; all of them where there is no pattern.

    Raises ValueError, with the nearest names, where a pattern means nothing.
    """
    names: set[str] = set()
    for pattern in patterns:
        if not set(pattern) & set("*?["):
            names.add(by_name(pattern).name)
        elif found := [name for name in RECIPES if fnmatchcase(name, pattern)]:
            names.update(found)
        else:
            raise ValueError(f"no recipe is like {pattern!r}: `latent-train list` shows them all")
    return [recipe for name, recipe in RECIPES.items() if name in names or not names]


def survey(recipes: Iterable[Recipe], plan: Plan) -> tuple[list[Job], dict[str, str]]:
    """The jobs that are left, the shortest first; and by name what cannot be told of the others."""
    jobs: list[Job] = []
    unclear: dict[str, str] = {}
    for recipe in recipes:
        try:
            if job := job_of(recipe, plan):
                jobs.append(job)
        except CheckpointError as error:
            unclear[recipe.name] = (
                f"{error.check}; it is left alone: move it away, or give another --out"
            )
    return sorted(jobs, key=lambda job: job.images * job.arithmetic), unclear


def job_of(recipe: Recipe, plan: Plan) -> Job | None:
    """What a recipe still needs; None where it is finished.

    Raises CheckpointError for a checkpoint that cannot be read: it may be finished work of
    another version.
    """
    folder = folder_of(recipe, plan.out)
    epochs, done, seen = plan.epochs or recipe.epochs, 0, 0
    if not busy(folder):
        recover(folder)
    if (folder / "card.json").exists():
        card = verify_files(folder)
        if card.epochs >= epochs or ran_out_of_patience(folder, card):
            return None
        done = card.epochs
    try:
        state, _ = resume.read(resume.states(folder)[0], with_tensors=False)
        seen = int(state["images_seen"])
    except (resume.ResumeError, LookupError):
        pass  # it begins anew, or says itself why it cannot go on
    images = max(epochs * SIZES[recipe.dataset]["train"] - seen, 1)
    record = record_of(folder)
    speed = record.images_per_second if record else 0.0
    return Job(recipe, folder, epochs, done, images, operations.per_image(recipe), speed)


def ran_out_of_patience(folder: Path, card: Card) -> bool:
    """Whether the run ended before its last epoch because it no longer became any better."""
    keep = card.recipe.keep_best
    if not keep or keep.patience is None:
        return False
    values = read_history(folder, card)["test"].get(keep.metric, [])
    best = (max if keep.larger_is_better else min)(values, default=0.0)
    return bool(values) and len(values) - 1 - values.index(best) >= keep.patience


def record_of(folder: Path, since: datetime | None = None) -> Running | None:
    """The record of the run that fills ``folder``, where there is one, as new as ``since``."""
    try:
        record = running.read(running.path_of(folder))
    except ValueError:
        return None
    return record if since is None or record.updated >= since else None


def busy(folder: Path) -> bool:
    """Whether somebody else trains into ``folder``: by hand, or a process of a killed zoo."""
    record = record_of(folder, datetime.now(UTC) - timedelta(seconds=BUSY_SECONDS))
    return record is not None and record.state == "training"


# --- How long it takes


def time_left(jobs: Iterable[tuple[Job, Running | None]], at_once: int) -> float | None:
    """Seconds until all jobs are trained, by the speeds known so far; None while there is none.

    With each job comes its record, once it has begun. A job whose speed is not known is taken to
    be as fast as the others, operation for operation; so this is a guess that gets better.
    """
    known: list[tuple[int, float, float]] = []
    for job, record in jobs:
        images, speed = job.images, job.speed
        if record:
            images = max(record.images_total - record.images_seen, 0)
            speed = record.images_per_second or speed
        known.append((images, speed, job.arithmetic))
    rates = [speed * arithmetic for _, speed, arithmetic in known if speed]
    if not rates:
        return None
    rate = sum(rates) / len(rates)
    seconds = [images / (speed or rate / arithmetic) for images, speed, arithmetic in known]
    return max(*seconds, sum(seconds) / max(at_once, 1))


def picture(
    at_work: Iterable[tuple[Job, Running | None]],
    waiting: Sequence[Job],
    at_once: int,
    budget: float | None,
) -> Group:
    """The live table: a line for each job at work, and below them what is to come."""
    at_work = list(at_work)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("recipe", no_wrap=True, overflow="fold")
    for heading in ("epoch", "", "images/s", "left"):
        table.add_column(heading, no_wrap=True, justify="right")
    for job, record in at_work:
        if record is None or not record.images_seen:
            table.add_row(job.recipe.name, f"-/{job.epochs}", "begins")
            continue
        table.add_row(
            job.recipe.name,
            f"{record.epoch}/{record.epochs}",
            ProgressBar(record.images_total, record.images_seen, width=20),
            f"{record.images_per_second:,.0f}",
            _clock(time_left([(job, record)], 1)),
        )
    jobs = [*at_work, *((job, None) for job in waiting)]
    rest = f"{_clock(time_left(jobs, at_once))} left for all, as far as can be told"
    if budget is not None:
        rest += f"; {_clock(max(budget, 0))} of the budget"
    if waiting:
        rest += f"; next: {_some(job.recipe.name for job in waiting)}"
    return Group(table, Text(rest))


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def _some(names: Iterable[str], most: int = 3) -> str:
    """The first names, and how many there are beside them."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


# --- A run in a process of this machine


def fit_words(job: Job, plan: Plan) -> list[str]:
    """What follows ``latent-train fit`` for a job; its folder tells whether it begins or goes on.

    Where the folder is, --out, is left out.
    """
    words = [job.recipe.name, "--epochs", str(job.epochs)]
    words += ["--device", plan.device, "--seed", str(plan.seed)]
    if plan.data:
        words += ["--data", str(plan.data)]
    if resume.states(job.folder):
        words.append("--resume")
    elif job.folder.exists():
        words.append("--overwrite")  # which keeps the better one until it is caught up with
    return words


def log_path(folder: Path) -> Path:
    """What the last run that filled ``folder`` has printed."""
    return folder.with_name(f"{folder.name}.log")


def start(words: list[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start ``latent-train fit``, which saves and ends when its standard input closes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return children.start(
            "training.cli",
            ["fit", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            environment={"OMP_NUM_THREADS": str(threads)},
        )


def close(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that `start` has started to save and to end."""
    assert process.stdin
    process.stdin.close()


def reason(code: int, log: Path) -> str:
    """Why a run ended with an exit code; "" for 0, `STOPPED` where it was interrupted."""
    if code == 0:
        return ""
    if code == INTERRUPTED:
        return STOPPED
    if code < 0:
        why = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
        return f"it was killed by {signal.Signals(-code).name}{why}"
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        lines = [line for line in file.read().decode(errors="replace").split("\n") if line.strip()]
    last = lines[-1].strip() if lines else f"it ended with exit code {code}"
    said = last.removeprefix("latent-train: ")
    return said if said != last else _raised(lines) or last


def _raised(lines: Sequence[str]) -> str:
    """The first line of the error that a traceback ends with: CUDA's go on with general advice."""
    traces = [i for i, line in enumerate(lines) if line.startswith("Traceback (")]
    after = lines[traces[-1] + 1 :] if traces else []
    return next((line for line in after if not line.startswith(" ")), "")


class Child:
    """A job at work in a process of this machine."""

    def __init__(self, job: Job, plan: Plan):
        self.job = job
        self.begun = datetime.now(UTC)
        threads = max((os.cpu_count() or 1) // plan.jobs, 1)
        words = [*fit_words(job, plan), "--out", str(plan.out)]
        self.process = start(words, log_path(job.folder), threads)

    def record(self) -> Running | None:
        """See `Attempt`."""
        return record_of(self.job.folder, self.begun)

    def ended(self) -> str | None:
        """See `Attempt`."""
        code = self.process.poll()
        return None if code is None else reason(code, log_path(self.job.folder))

    def stop(self) -> None:
        """See `Attempt`."""
        close(self.process)

    def kill(self) -> None:
        """See `Attempt`."""
        self.process.kill()
        self.process.wait()
        close(self.process)


@contextmanager
def here(plan: Plan) -> Iterator[Place]:
    """This machine. Raises ValueError where it has no such device.

    What "auto" means is decided here, once: a run that finds the GPU full says so, and does not
    train on the CPU for days instead.
    """
    decided = replace(plan, device=str(pick_device(plan.device)))
    yield Place(lambda job: Child(job, decided), lambda: plan.jobs)


# --- All of them


def run(
    recipes: Sequence[Recipe],
    plan: Plan,
    place: AbstractContextManager[Place],
    minutes: float | None = None,
) -> dict[str, str]:
    """Train what is missing of ``recipes``, score what has no scores, and write the report.

    ``minutes`` is the budget for training. Returns by name what went wrong. Raises ValueError, in
    a sentence, where nothing can be done, and KeyboardInterrupt after Ctrl-C, once everything at
    work has been saved.
    """
    refusal = (
        f"another zoo is at work in {plan.out}: wait until it has ended, or give another --out"
    )
    with alone(plan.out / ".zoo.lock", refusal):
        jobs, failed = survey(recipes, plan)
        if jobs and minutes is not None and not minutes * 60 >= LEAST_BUDGET:
            raise ValueError(
                f"a budget of {minutes:g} minutes is too small for anything: give "
                f"--budget-minutes {LEAST_BUDGET / 60:g} or more"
            )
        if jobs and minutes is not None and minutes * 60 > MOST_BUDGET:
            raise ValueError(
                f"a budget of {minutes:g} minutes is more than a year: without --budget-minutes "
                "there is no limit"
            )
        for name, problem in failed.items():
            _tell_failure(name, problem)
        if jobs:
            names = _some(job.recipe.name for job in jobs)
            console.print(f"{len(jobs)} to train, the shortest first: {names}.", soft_wrap=True)
            with place as where:
                failed |= train(jobs, plan, where, None if minutes is None else minutes * 60)
        left, unclear = survey(recipes, plan)
        for name, problem in unclear.items():
            if name not in failed:
                failed[name] = problem
                _tell_failure(name, problem)
        unfinished = [job for job in left if job.recipe.name not in failed]
        others = failed.keys() | {job.recipe.name for job in unfinished}
        trained = [recipe for recipe in recipes if recipe.name not in others]
        failed |= score(trained, plan)
        console.print(
            f"Trained: {len(trained)} of {len(recipes)}."
            + (" The same command goes on with the others." if others else "")
        )
        if unfinished and minutes is not None and not _gained(jobs, left, failed):
            raise ValueError(
                f"{minutes:g} minutes were too few for anything: no recipe has learnt anything; "
                "give more by --budget-minutes"
            )
    return failed


def train(
    jobs: Iterable[Job], plan: Plan, place: Place, seconds: float | None = None
) -> dict[str, str]:
    """Train ``jobs`` in their order, until all are trained or ``seconds`` have passed.

    Returns by name what went wrong. What is at work at the end of the time, at Ctrl-C or at an
    error is asked to save and to end.
    """
    waiting = list(jobs)
    at_work: dict[str, tuple[Job, Attempt]] = {}
    failed: dict[str, str] = {}
    told: set[str] = set()
    began = time.monotonic()
    with Live(console=console, transient=True) as live, _all_ended(at_work, failed):
        while waiting or at_work:
            # 1. What has ended.
            for job, attempt in list(at_work.values()):
                if (problem := attempt.ended()) is not None:
                    del at_work[job.recipe.name]
                    _tell(job, problem, failed)

            # 2. What can begin, while there is room and time; what is busy has its turn later.
            left = math.inf if seconds is None else began + seconds - time.monotonic()
            if left <= (0 if at_work else LEAST_SECONDS):
                break
            room = place.room() - len(at_work) if left >= LEAST_SECONDS else 0
            free = [job for job in waiting if not _is_busy(job, told)]
            for job in free[: max(room, 0)]:
                waiting.remove(job)
                try:
                    if now := job_of(job.recipe, plan):
                        at_work[job.recipe.name] = now, place.begin(now)
                    else:  # somebody else has trained it meanwhile
                        _tell(job, "", failed)
                except (CheckpointError, OSError) as error:
                    _tell(job, f"it cannot begin: {error}", failed)

            # 3. How far it all is.
            records = [(job, attempt.record()) for job, attempt in at_work.values()]
            live.update(picture(records, waiting, place.room(), None if seconds is None else left))
            time.sleep(TICK)
    return failed


def _is_busy(job: Job, told: set[str]) -> bool:
    """Whether somebody else is at work on it; say so, once."""
    name, found = job.recipe.name, busy(job.folder)
    if found and name not in told:
        told.add(name)
        console.print(
            f"[yellow]waiting[/] {escape(name)}: its record says that it is being trained. Its "
            f"turn is when that has ended, or was silent for {BUSY_SECONDS:.0f} s.",
            soft_wrap=True,
        )
    return found


@contextmanager
def _all_ended(
    at_work: Mapping[str, tuple[Job, Attempt]], failed: dict[str, str]
) -> Iterator[None]:
    """Ask what is still at work when the block ends to save, wait, and say what became of it.

    Ctrl-C, or a second one, kills it.
    """
    with Interrupts() as interrupts:
        why = "what it has learnt is kept"
        try:
            yield
            why = "the budget is used up"
        finally:
            try:
                with interrupts.held():
                    for _, attempt in at_work.values():
                        attempt.stop()
                    while any(attempt.ended() is None for _, attempt in at_work.values()):
                        time.sleep(TICK)
                    for job, attempt in at_work.values():
                        _tell(job, attempt.ended(), failed, why)
            finally:
                for _, attempt in at_work.values():
                    attempt.kill()


def _tell(job: Job, problem: str | None, failed: dict[str, str], why: str = "") -> None:
    """Say what became of a job, and note it in ``failed`` where something went wrong.

    ``why`` it was stopped, where it was asked to.
    """
    name = job.recipe.name
    if not problem:
        console.print(f"[green]trained[/] {escape(name)}", soft_wrap=True)
    elif problem == STOPPED and why:
        console.print(f"[yellow]stopped[/] {escape(name)}: {why}", soft_wrap=True)
    else:
        failed[name] = problem
        _tell_failure(name, f"{problem} (its log: {log_path(job.folder)})")


def _tell_failure(name: str, problem: str) -> None:
    errors.print(f"[red]failed[/]  {escape(name)}: {escape(problem)}", soft_wrap=True)


def _gained(before: Iterable[Job], after: Iterable[Job], failed: Container[str]) -> bool:
    """Whether a job of ``before`` has been trained, or has fewer images to see than it had."""
    left = {job.recipe.name: job.images for job in after}
    return any(
        left.get(job.recipe.name, 0) < job.images for job in before if job.recipe.name not in failed
    )


def score(recipes: Iterable[Recipe], plan: Plan) -> dict[str, str]:
    """Score the checkpoints of ``recipes`` that need it, and write the report.

    Returns by name what went wrong.
    """
    failed: dict[str, str] = {}
    recipes = [recipe for recipe in recipes if recipe.family != "classifier"]
    judges = {name: find_judge(plan.out, name) for name in {one.dataset for one in recipes}}
    folders = [
        folder
        for recipe in recipes
        if _needs_scores(folder := folder_of(recipe, plan.out), judges[recipe.dataset])
    ]
    try:
        if folders:
            _, failed = score_folders(folders, SAMPLES, 0, data=plan.data, device=plan.device)
    except ValueError as error:
        failed["evaluate"] = str(error)
    for name, problem in failed.items():
        _tell_failure(name, f"it is trained, but has no scores: {problem}")
    if find(plan.out):
        try:
            for path in write(plan.out):
                console.print(f"[green]{escape(str(path))}[/]", soft_wrap=True)
        except (OSError, ValueError) as error:
            failed["report"] = str(error)
            _tell_failure("report", str(error))
    return failed


def _needs_scores(folder: Path, judge: Checkpoint | None) -> bool:
    """Whether a checkpoint has no scores, or those of another judge than there is now.

    A checkpoint gets a new card with its weights, so scores on a card are those of its weights.
    """
    scores = read_card(folder).scores
    if scores is None or scores.judge is None or judge is None:
        return scores is None
    return judge.card.weights_sha256 != scores.judge.sha256
