"""Steps recorded once as CUDA graphs and replayed: one launch instead of hundreds.

A GPU is done with a small network's kernel before Python has launched the next one. A graph holds
the whole step: both players, gradient penalty, optimiser, average. (torch.compile, the other way,
has no double backward, which the penalty needs.) What a graph may hold is in
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from training.steps import Losses, Step

WARM_UP = 3
"""Steps of each kind taken before one is recorded: libraries choose their kernels meanwhile."""


@dataclass(frozen=True)
class Recording:
    """One step on the device, with the places that it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    """The kernels in their order."""
    x: Tensor
    """Images read (n, C, H, W)."""
    y: Tensor
    """Classes read (n,)."""
    names: tuple[str, ...]
    """Names of the losses."""
    losses: Tensor
    """Losses written (len(names),)."""

    def replay(self, x: Tensor, y: Tensor) -> Losses:
        """Take the step on images and classes of the shapes recorded."""
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return dict(zip(self.names, self.losses.clone().unbind(), strict=True))


def record(step: Step, x: Tensor, y: Tensor, i: int) -> Recording:
    """Record ``step``; the device does nothing yet."""
    x, y = x.clone(), y.clone()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(x.device)
    with torch.cuda.device(x.device), torch.cuda.graph(graph, stream=stream):  # else on cuda:0
        losses = step(x, y, i)
        written = torch.stack(list(losses.values()))
    return Recording(graph, x, y, tuple(losses), written)


class RecordedStep:
    """``step``, replayed from a graph once it has been taken a few times.

    Every ``period``-th step is of another kind than those between (a generator moves after some
    critic steps) and has a graph of its own. Every call is a step of the run, the first ones and
    those that are recorded too: the numbers are those of ``step`` called by itself.
    """

    def __init__(self, step: Step, period: int = 1):
        self.step = step
        self.period = period
        self.taken: Counter[bool] = Counter()
        self.recordings: dict[bool, Recording] = {}

    def __call__(self, x: Tensor, y: Tensor, i: int) -> Losses:
        """Take step ``i`` on images (n, C, H, W) and classes (n,) on a GPU."""
        last = (i + 1) % self.period == 0
        self.taken[last] += 1
        if self.taken[last] <= WARM_UP:
            return on_a_side_stream(self.step, x, y, i)
        if last not in self.recordings:
            self.recordings[last] = record(self.step, x, y, i)
        return self.recordings[last].replay(x, y)


def on_a_side_stream(step: Step, x: Tensor, y: Tensor, i: int) -> Losses:
    """Take a step as it will be recorded: nothing of it may be tied to the default stream."""
    side = torch.cuda.Stream(x.device)
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        losses = step(x, y, i)
    torch.cuda.current_stream(x.device).wait_stream(side)
    return losses
