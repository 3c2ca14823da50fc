"""What a run shows of itself while it trains: a record beside its checkpoint.

The record is there to be looked at: nothing that trains reads it but the curves that ``--resume``
draws on, and training goes on where it cannot be written. It is replaced as a whole, so a reader
finds one of two records, never half of one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from rich.markup import escape

from training.checkpoint import partial
from training.console import console

if TYPE_CHECKING:
    from training.loop import Session

SUFFIX = ".running.json"
MAX_BYTES = 1 << 20
MAX_POINTS = 500

Count = Annotated[int, Field(ge=0, le=2**53)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
Points = Annotated[list[tuple[Count, float]], Field(max_length=MAX_POINTS)]
State = Literal["training", "finished", "interrupted", "failed"]


class Running(BaseModel):
    """How far a run has come, and its losses so far."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    """Version of this format."""
    name: Name
    """The recipe's name."""
    title: Annotated[str, Field(max_length=300)]
    """The recipe's title."""
    state: State = "training"
    """How it stands; a run that was killed still says "training", and is no longer updated."""
    epoch: Count = 0
    """The epoch under way, or the last one, from 1."""
    epochs: Count
    """Epochs asked for."""
    images_seen: Count = 0
    """Training images seen, repeats counted."""
    images_total: Count
    """Training images seen at the end of the last epoch."""
    images_per_second: Annotated[float, Field(ge=0)] = 0.0
    """Mean speed since the run was started or resumed, evaluation included."""
    started: AwareDatetime
    """When the run began, in UTC; not when it was resumed."""
    updated: AwareDatetime
    """When this was written, in UTC."""
    losses: Annotated[dict[Name, Points], Field(max_length=32)] = {}
    """Loss parts as (images seen, mean over the batches since the point before)."""
    spacing: Count = 0
    """At least so many images lie between two points of a loss, but for its last one."""

    def add(self, losses: dict[str, float]) -> None:
        """Append a point to every loss; numbers that are not finite are left out.

        The last point of a loss gives way while it is too near to the one before. Of a loss that
        has `MAX_POINTS`, every second one is dropped, but neither the first nor the last.
        """
        for name, value in losses.items():
            if not math.isfinite(value):
                continue
            points = self.losses.setdefault(name, [])
            if len(points) > 1 and self.images_seen - points[-2][0] < self.spacing:
                points.pop()
            points.append((self.images_seen, value))
            if len(points) > MAX_POINTS:
                self.spacing = 2 * (points[-1][0] - points[0][0]) // MAX_POINTS
                del points[1:-1:2]


@dataclass
class Board:
    """Keeps the record of one run, as a context: leaving it writes how the run has ended."""

    path: Path
    """The file written (see `path_of`)."""
    resumed: bool = False
    """Whether the run goes on with the curves that are there."""
    interval: float = 1.0
    """Seconds between two records, at least."""
    _session: Session | None = field(default=None, init=False, repr=False)
    _record: Running | None = field(default=None, init=False, repr=False)
    _began: tuple[float, int] = field(default=(0.0, 0), init=False, repr=False)
    _sums: tuple[int, dict[str, tuple[float, int]]] = field(default=(0, {}), init=False, repr=False)
    _due: float = field(default=0.0, init=False, repr=False)
    _complained: bool = field(default=False, init=False, repr=False)

    def start(self, session: Session, total: int) -> None:
        """Begin the record of a run that will have seen ``total`` images at its end."""
        run, now = session.run, datetime.now(UTC)
        record = Running(
            name=run.recipe.name,
            title=run.recipe.title,
            epochs=run.planned,
            images_total=total,
            started=now,
            updated=now,
        )
        if self.resumed:
            _go_on(record, self.path, run.images_seen)
        self._session, self._record = session, record
        self._began = (time.monotonic(), run.images_seen)
        self._means(session)  # those of batches before this process are no news
        self._write()

    def post(self, *, now: bool = False) -> None:
        """Add a point to the curves if it is time to, or ``now``; this waits for the device."""
        if self._session and self._record and (now or time.monotonic() >= self._due):
            self._record.images_seen = self._session.run.images_seen
            self._record.add(self._means(self._session))
            self._write()

    def _means(self, session: Session) -> dict[str, float]:
        """Mean of every loss over the batches of this epoch since the last call."""
        epoch, before = self._sums
        if epoch != session.run.epochs:
            before = {}  # the session's sums have begun anew
        sums = {name: (float(session.sums[name]), n) for name, n in session.counts.items()}
        self._sums = session.run.epochs, sums
        means = {}
        for name, (total, n) in sums.items():
            old_total, old_n = before.get(name, (0.0, 0))
            if n > old_n:
                means[name] = (total - old_total) / (n - old_n)
        return means

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._session and self._record:
            stopped = self._session.run.interrupted or kind is KeyboardInterrupt
            self._record.state = "interrupted" if stopped else "failed" if kind else "finished"
            self._write()

    def _write(self) -> None:
        """Replace the record; where that fails, say so once."""
        assert self._session and self._record
        record, run = self._record, self._session.run
        began, seen = self._began
        record.epoch = min(run.epochs + 1, run.planned)
        record.images_seen = run.images_seen
        record.images_per_second = (run.images_seen - seen) / max(time.monotonic() - began, 1e-9)
        record.updated = datetime.now(UTC)
        try:
            if record.images_seen or record.state == "training":
                _replace(self.path, record.model_dump_json().encode())
            else:
                self.path.unlink(missing_ok=True)  # it ended before there was anything to show
        except OSError as error:
            if not self._complained:
                reason = escape(error.strerror or str(error))
                console.print(
                    f"[yellow]Warning:[/] {self.path.name} cannot be written ({reason}): training "
                    "goes on, but the app cannot show it."
                )
            self._complained = True
        self._due = time.monotonic() + self.interval


def _go_on(record: Running, path: Path, images_seen: int) -> None:
    """Take over what an earlier process has shown, as far as its run was saved."""
    try:
        old = read(path)
    except ValueError:
        return
    record.started, record.spacing = old.started, old.spacing
    for name, points in old.losses.items():
        if kept := [point for point in points if point[0] <= images_seen]:
            record.losses[name] = kept


def _replace(path: Path, blob: bytes) -> None:
    """As `files.replace_file`, but not through to the disk: it is done every second."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(blob)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def path_of(folder: Path) -> Path:
    """Where the run that fills the checkpoint ``folder`` keeps its record."""
    return folder.with_name(folder.name + SUFFIX)


def folder_of(path: Path) -> Path:
    """The checkpoint folder that the run with this record fills."""
    return path.with_name(path.name.removesuffix(SUFFIX))


def runs(root: Path) -> list[Path]:
    """Records of the runs in ``root`` and its ``judges`` folder, the newest first."""
    found = (*root.glob(f"*{SUFFIX}"), *root.glob(f"judges/*{SUFFIX}"))
    return sorted(found, key=changed, reverse=True)


def changed(path: Path) -> float:
    """When a file last changed, in seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def read(path: Path) -> Running:
    """Read a record. Raises ValueError, in a sentence, where it is damaged or something else."""
    try:
        if not path.is_file():  # a pipe would block
            raise ValueError(f"there is no file {path.name}")
        with path.open("rb") as file:
            blob = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if len(blob) > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_BYTES} bytes: not a run's record")
    try:
        return Running.model_validate_json(blob)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its top level"
        raise ValueError(
            f"{path.name} is no run's record: invalid at {where}: {first['msg']}"
        ) from error


def published(path: Path, record: Running) -> Path | None:
    """The folder with the run's checkpoint so far; None before its first.

    A folder that was written before the run began is an earlier run's.
    """
    folder = folder_of(path)
    newest = max((folder, partial(folder)), key=lambda one: changed(one / "card.json"))
    # File systems round down to two seconds at most.
    begun = record.started.timestamp() - 2
    return newest if changed(newest / "card.json") >= begun else None
