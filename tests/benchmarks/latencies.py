"""From inputs and paints to figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP_S = 1 / 60
"""Between two steps of a dragging hand."""


class AttributionError(RuntimeError):
    """A painted request did not hold the newest input's value: latencies would be too good."""


@dataclass(frozen=True)
class Latencies:
    """How long inputs took to show."""

    count: int
    """Inputs."""
    unanswered: int
    """Inputs that nothing painted reflects."""
    per_second: float
    """Paints, or answers, per second."""
    median_ms: float
    """Half of the inputs took at most this long."""
    p95_ms: float
    """95 % of them took at most this long."""
    max_ms: float
    """The longest."""

    @classmethod
    def of(cls, latencies: list[float], unanswered: int, per_second: float) -> Latencies:
        """Statistics of ``latencies`` in ms; an unanswered input took for ever."""
        every = latencies + [np.inf] * unanswered or [np.inf]
        median, p95, longest = np.percentile(every, (50, 95, 100), method="inverted_cdf").tolist()
        return cls(len(latencies) + unanswered, unanswered, per_second, median, p95, longest)


@dataclass(frozen=True)
class Recording:
    """What `probe.js` saw; times in ms."""

    inputs: list[float]
    """When each input happened."""
    paints: list[tuple[float, int]]
    """When each picture was painted, and the index of the newest input it reflects, or -1."""
    stale: int
    """Paints of requests that did not hold the value of the input they were taken to reflect."""

    def latencies(self) -> Latencies:
        """For every input, the time to the first paint of a state at least as new.

        An input that was overtaken by a newer one thus waits for the newer one's picture.
        """
        if self.stale:
            raise AttributionError(f"{self.stale} of {len(self.paints)} paints were out of date")
        found: list[float] = []
        for time_ms, newest in self.paints:
            found += [time_ms - at for at in self.inputs[len(found) : newest + 1]]
        span_ms = self.paints[-1][0] - self.inputs[0] if found else np.inf
        return Latencies.of(found, len(self.inputs) - len(found), 1000 * len(self.paints) / span_ms)
