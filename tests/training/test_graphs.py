"""Steps recorded as CUDA graphs: what they must not do anywhere, and their numbers on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from training import graphs, loop, steps
from training.cli import app
from training.devices import World
from training.graphs import WARM_UP, RecordedStep
from training.recipes import RECIPES, Recipe

FAMILIES = (
    "mnist-conv-vae-z2",
    "mnist-lstm-vae-z2",
    "mnist-cgan",
    "mnist-wgan-z100",
    "mnist-wgan-gp-z64",
    "imagenette-gan-z500-helped",
    "mnist-judge",
)
READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"}
"""Operations whose result, or its size, the processor has to wait for."""


class Reads(TorchDispatchMode):
    """Notes every operation that makes the processor wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name.startswith("index") and any(
            isinstance(one, Tensor) and one.dtype == torch.bool
            for arg in args
            if isinstance(arg, list | tuple)
            for one in arg
        )
        if name in READS or masked:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def inputs(recipe: Recipe, n: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(n, *recipe.network.image_shape, generator=generator)
    y = torch.randint(10, (n,), generator=generator)
    return x.to(device).contiguous(memory_format=torch.channels_last), y.to(device)


def test_the_watch_for_reads_sees_them():
    x = torch.rand(3)
    with Reads() as reads:
        float(x[0])
        bool(x[0] > 0)
        x[x > 0.5]
    assert len(reads.seen) == 3


@pytest.mark.parametrize("ema", [None, 0.99])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_step_waits_for_the_device(
    name: str, ema: float | None, monkeypatch: pytest.MonkeyPatch
):
    """A recorded step must not read a number back, and a plain one should not either."""
    recipe = replace(RECIPES[name], ema_decay=ema)
    session = loop.start(recipe, torch.device("cpu"), 0, 1)
    step = loop.make_step(session)
    x, y = inputs(recipe, 2)
    critic_steps = getattr(recipe.objective, "critic_steps", 1)
    for optimizer in session.optimizers.values():  # torch's own step on a CPU counts by reading
        monkeypatch.setattr(optimizer, "step", lambda: None)
    with Reads() as reads:
        for i in range(critic_steps):
            step(x, y, i)
    assert reads.seen == []


class FakeGraph:
    """A graph that counts its replays, and does in one what a test says."""

    def __init__(self) -> None:
        self.replays = 0
        self.again: Callable[[], None] = lambda: None

    def replay(self) -> None:
        self.replays += 1
        self.again()


class FakeCuda:
    """Recording without a GPU; the first one is current until another is made so."""

    def __init__(self) -> None:
        self.current: torch.device | str = "cuda:0"
        self.recorded_on: list[tuple[torch.device | str, object]] = []
        self.recording: FakeGraph | None = None
        self.graphs: list[FakeGraph] = []
        self.side_streams = 0

    def new_graph(self) -> FakeGraph:
        self.graphs.append(FakeGraph())
        return self.graphs[-1]

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, device
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: FakeGraph, stream: object) -> Iterator[None]:
        self.recorded_on.append((self.current, stream))
        self.recording = graph
        yield
        self.recording = None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", fake.new_graph)
    monkeypatch.setattr(torch.cuda, "graph", fake.graph)
    monkeypatch.setattr(torch.cuda, "device", fake.device)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: ("a stream on", device))

    def on_a_side_stream(step: steps.Step, x: Tensor, y: Tensor, i: int) -> steps.Losses:
        fake.side_streams += 1
        return step(x, y, i)

    monkeypatch.setattr(graphs, "on_a_side_stream", on_a_side_stream)
    return fake


def counting(cuda: FakeCuda, calls: list[tuple[float, int]]) -> steps.Step:
    """A step that notes what it is given; when recorded, a replay reads and writes in place."""

    def step(x: Tensor, y: Tensor, i: int) -> steps.Losses:
        total = x.sum() + y.sum()
        if cuda.recording is None:
            calls.append((float(total), i))
            return {"total": total, "half": total / 2}
        return {"total": total, "half": total / 2}

    return step


def test_the_first_steps_are_taken_and_then_one_is_recorded_and_replayed(cuda: FakeCuda):
    calls: list[tuple[float, int]] = []
    step = RecordedStep(counting(cuda, calls))
    x, y = torch.ones(2, 1, 2, 2), torch.zeros(2, dtype=torch.long)
    for i in range(10):
        step(x * i, y, i)
    assert [i for _, i in calls] == list(range(WARM_UP)), "taken by themselves, in order"
    assert cuda.side_streams == WARM_UP
    [graph] = cuda.graphs
    assert graph.replays == 10 - WARM_UP, "recording takes no step, so its step is a replay too"


def test_a_replay_reads_new_images_and_its_losses_are_its_own(cuda: FakeCuda):
    step = RecordedStep(counting(cuda, []))
    x, y = torch.ones(2, 1, 2, 2), torch.ones(2, dtype=torch.long)
    losses = [step(x, y, i) for i in range(WARM_UP + 1)][-1]
    [recording] = step.recordings.values()

    def again() -> None:
        total = recording.x.sum() + recording.y.sum()
        recording.losses.copy_(torch.stack([total, total / 2]))

    recording.graph.again = again  # pyright: ignore[reportAttributeAccessIssue]
    first = step(2 * x, y, WARM_UP + 1)
    second = step(3 * x, 2 * y, WARM_UP + 2)
    assert {k: float(v) for k, v in losses.items()} == {"total": 10, "half": 5}
    assert {k: float(v) for k, v in first.items()} == {"total": 18, "half": 9}
    assert {k: float(v) for k, v in second.items()} == {"total": 28, "half": 14}
    assert x.sum() == 8, "what it was recorded with is a copy"


def test_a_generator_that_moves_every_fifth_step_has_a_graph_of_its_own(cuda: FakeCuda):
    calls: list[tuple[float, int]] = []
    step = RecordedStep(counting(cuda, calls), period=5)
    x, y = torch.ones(1, 1, 1, 1), torch.zeros(1, dtype=torch.long)
    for i in range(40):
        step(x, y, i)
    assert set(step.recordings) == {False, True}
    assert {kind: r.graph.replays for kind, r in step.recordings.items()} == {  # pyright: ignore
        False: 32 - WARM_UP,
        True: 8 - WARM_UP,
    }
    assert [i for _, i in calls if (i + 1) % 5 == 0] == [4, 9, 14]


def test_it_is_recorded_where_the_images_are_and_not_on_the_first_gpu(cuda: FakeCuda):
    step = RecordedStep(counting(cuda, []))
    x, y = torch.ones(2, 1, 2, 2), torch.zeros(2, dtype=torch.long)
    for i in range(WARM_UP + 1):
        step(x, y, i)
    assert cuda.recorded_on == [(x.device, ("a stream on", x.device))]
    assert cuda.current == "cuda:0"


def test_a_cpu_takes_its_steps_one_by_one(tiny_recipe):
    session = loop.start(tiny_recipe("mnist-cgan"), torch.device("cpu"), 0, 1)
    assert not isinstance(loop.make_step(session), RecordedStep)


@pytest.mark.parametrize("asked", [[], ["--eager"]])
def test_steps_are_recorded_unless_eager_ones_are_asked_for(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made: list[bool] = []
    make_step = loop.make_step

    def noted(session: loop.Session, world: World, *, record: bool) -> steps.Step:
        made.append(record)
        return make_step(session, world, record=record)

    monkeypatch.setattr(loop, "make_step", noted)
    words = ["--epochs", "1", "--batch-size", "5000", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["fit", "ring8-gan", *words, *asked])
    assert result.exit_code == 0, result.output
    assert made == [not asked]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", FAMILIES)
def test_recorded_steps_have_the_numbers_of_plain_ones(name: str):
    recipe = RECIPES[name]
    ends, losses = [], []
    for record in (False, True):
        session = loop.start(recipe, torch.device("cuda"), 0, 1)
        step = loop.make_step(session, record=record)
        assert isinstance(step, RecordedStep) is record
        x, y = inputs(recipe, 16, "cuda")
        told = [step(x, y, i) for i in range(30)][-1]
        losses.append(torch.stack(list(told.values())))
        ends.append(torch.cat([p.detach().flatten() for p in session.network.parameters()]))
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=30 * recipe.learning_rate)
    moved = (ends[0] - ends[1]).square().mean().sqrt()
    assert moved < recipe.learning_rate, "the same course, but for rounding"
