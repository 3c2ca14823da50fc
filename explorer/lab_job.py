"""A lab in a process of its own, so that nothing that people drag meanwhile waits for it.

``python -m explorer.lab_job`` reads commands from standard input, JSON, one in a line, and writes
pictures of the run to standard output, each after its length as uint32. A picture is whole: who
misses one loses nothing but that one. All numbers are little-endian::

    offset  type      field
    0       uint32    h, bytes of the head
    4       bytes     the head: JSON, padded with spaces to a multiple of 4
    4 + h   float32   the blocks, one after the other, shaped as the head says
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from queue import Empty, SimpleQueue
from typing import IO, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from training.plane import MOST_STEPS, Diverged, Lab, Moment, Setting

FRAME_SECONDS = 1 / 15
"""Between two pictures of a run at full speed."""
MOST_BYTES = 1 << 16
"""Of a command."""
MOST_PICTURE_BYTES = 1 << 20
MOST_WAITING = 32
"""Commands that may wait; more than a hand can give are dropped."""
COLUMNS = tuple(one.name for one in fields(Moment))
"""Of the block of moments."""

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class New:
    """Begin a run; it waits at its first step."""

    setting: Setting
    """What is trained on what."""
    do: Literal["new"] = "new"
    """Tells commands apart."""


@dataclass(frozen=True)
class Play:
    """Train."""

    until: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    """Step at which the run stops by itself."""
    pace: Annotated[int, Field(ge=0, le=15)] = 0
    """Steps in a second, each with its picture; 0 for as many as the processor can."""
    do: Literal["play"] = "play"
    """Tells commands apart."""


@dataclass(frozen=True)
class Pause:
    """Stand still."""

    do: Literal["pause"] = "pause"
    """Tells commands apart."""


@dataclass(frozen=True)
class Step:
    """Train for some steps, and stand still."""

    count: Annotated[int, Field(ge=1, le=100)] = 1
    """How many."""
    do: Literal["step"] = "step"
    """Tells commands apart."""


@dataclass(frozen=True)
class Rewind:
    """Go to a moment that the run has kept, and stand still."""

    step: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    """Its step, or one shortly after it."""
    do: Literal["rewind"] = "rewind"
    """Tells commands apart."""


Command = New | Play | Pause | Step | Rewind

_COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="do")])


def read_command(text: str | bytes) -> Command:
    """A command from JSON. Raises ValueError, with a sentence, for anything else."""
    if len(text) > MOST_BYTES:
        raise ValueError(f"a command may hold {MOST_BYTES} bytes, not {len(text)}")
    try:
        return _COMMAND.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def write_command(command: Command) -> bytes:
    """The inverse of `read_command`, as a line."""
    return _COMMAND.dump_json(command) + b"\n"


def pack(head: dict[str, Any], blocks: dict[str, NDArray[np.float32]] | None = None) -> bytes:
    """A picture of a run; or only words, where it has no blocks."""
    blocks = blocks or {}
    shapes = {name: block.shape for name, block in blocks.items()}
    text = json.dumps({**head, "blocks": shapes}, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join(
        [_LENGTH.pack(len(text)), text, *(one.astype("<f4").tobytes() for one in blocks.values())]
    )


def unpack(picture: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """The inverse of `pack`; what the page's JavaScript does."""
    (length,) = _LENGTH.unpack_from(picture)
    start = _LENGTH.size + length
    head = json.loads(picture[_LENGTH.size : start])
    blocks = {}
    for name, shape in head.pop("blocks").items():
        count = int(np.prod(shape))
        blocks[name] = np.frombuffer(picture, "<f4", count, start).reshape(shape)
        start += 4 * count
    return head, blocks


def write_picture(pipe: IO[bytes], picture: bytes) -> None:
    """Put one picture into a pipe."""
    pipe.write(_LENGTH.pack(len(picture)) + picture)
    pipe.flush()


def read_picture(pipe: IO[bytes]) -> bytes | None:
    """The next picture of a pipe, or None where it has ended."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    picture = pipe.read(length) if length <= MOST_PICTURE_BYTES else b""
    return picture if picture and len(picture) == length else None


class Player:
    """Does what commands say, and shows every change by ``show``."""

    def __init__(self, show: Callable[[bytes], None]):
        self._show = show
        self._lab: Lab | None = None
        self._until = 0
        self._pace = 0
        self._due = 0.0

    def run(self, commands: SimpleQueue[Command]) -> None:
        """Serve for ever."""
        while True:
            try:
                self.do(commands.get(timeout=self.patience()))
            except Empty:
                self.go_on()

    def patience(self) -> float | None:
        """Seconds until there is something to do; None for as long as no command comes."""
        if not self._until:
            return None
        return max(self._due - time.monotonic(), 0.0) if self._pace else 0.0

    def do(self, command: Command) -> None:
        """Obey."""
        if isinstance(command, New):
            self._lab = Lab(command.setting)
        lab, self._until = self._lab, 0
        if lab is None:
            return
        match command:
            case Play(until, pace) if until > lab.step:
                self._until, self._pace, self._due = until, pace, time.monotonic()
                self._tell(lab, lambda: None)
            case Step(count):
                self._tell(lab, lambda: lab.advance(count))
            case Rewind(step):
                self._tell(lab, lambda: lab.rewind(step))
            case _:
                self._tell(lab, lambda: None)

    def go_on(self) -> None:
        """Train for the time of a picture, or for one step where the pace is slow."""
        if self._lab is not None:
            self._tell(self._lab, self._stride)

    def _stride(self) -> None:
        lab, now = self._lab, time.monotonic()
        assert lab is not None
        if self._pace:
            self._due = max(self._due, now - 1 / self._pace) + 1 / self._pace
        lab.advance(1)
        while not self._pace and lab.step < self._until and time.monotonic() < now + FRAME_SECONDS:
            lab.advance(1)
        if lab.step >= self._until:
            self._until = 0

    def _tell(self, lab: Lab, act: Callable[[], None]) -> None:
        """Do something and show what has become of it."""
        problem = ""
        try:
            act()
            now = lab.now()
        except Diverged as error:
            problem, self._until = str(error), 0
            lab.rewind(lab.step)  # to the last moment that can be shown
            now = lab.now()
        moments = lab.moments
        head = {
            "step": lab.step,
            "playing": self._until > 0,
            "reached": moments[-1].step,
            "problem": problem,
            "now": asdict(now),
            "critic": lab.is_critic,
            "columns": COLUMNS,
            "limit": lab.mixture.limit,
            "std": lab.mixture.std,
            "centres": lab.mixture.centres,
        }
        view = {name: tensor.numpy() for name, tensor in vars(lab.view()).items()}
        rows = np.array([astuple(moment) for moment in moments], np.float32)
        self._show(pack(head, {**view, "moments": rows}))


def main() -> None:
    """What the process does."""
    torch.set_num_threads(1)
    pictures = sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray word must not end up among the pictures
    commands: SimpleQueue[Command] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            if commands.qsize() < MOST_WAITING:
                commands.put(read_command(line))
        os._exit(0)  # who asked has gone

    threading.Thread(target=listen, daemon=True).start()
    Player(lambda picture: write_picture(pictures, picture)).run(commands)


if __name__ == "__main__":
    main()
