"""Keeps what is costly and can wait to a share of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SHARE_OF_TIME = 0.05


@dataclass
class Pace:
    """Says when it is time for something again: the longer it takes, the longer it waits."""

    interval: float = 0.0
    """Seconds between two times, at least."""
    _due: float = field(default=0.0, init=False, repr=False)

    @property
    def due(self) -> bool:
        """Whether it is time; at first it is."""
        return time.monotonic() >= self._due

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Do it in this block, whose time decides when it is due again."""
        started = time.monotonic()
        yield
        now = time.monotonic()
        self._due = now + max(self.interval, (now - started) / SHARE_OF_TIME)
