"""One linear training loop for every family: data -> step -> EMA -> history, epoch by epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.progress import Progress, TaskID
from torch import Tensor, nn
from torch.optim import Optimizer

from training import glance, graphs, networks, resume, running, steps
from training.checkpoint import Checkpoint, History, inference_weights
from training.data import ImageData, at_once, batches
from training.devices import World, random_state_kept
from training.recipes import Recipe

REFRESH_SECONDS = 0.5
ALONE = World()
Hold = Callable[[], AbstractContextManager[None]]
"""Makes a block that Ctrl-C waits for the end of."""


@dataclass
class Best:
    """The best epoch so far."""

    epoch: int
    """Its number, from 1."""
    value: float
    """Its value of the metric that chooses."""
    weights: dict[str, Tensor]
    """Its inference weights, float16, on the CPU."""


@dataclass
class Run:
    """What training has produced so far."""

    recipe: Recipe
    """What is trained."""
    seed: int
    """Seed of initialisation, data order and noise."""
    network: nn.Module
    """The latest weights to ship: the averaged ones where the recipe asks for EMA."""
    planned: int
    """Epochs asked for."""
    history: History = field(default_factory=lambda: {"train": {}, "test": {}})
    """Loss parts per complete epoch, on the training set (running) and the test set."""
    batch_losses: dict[str, Tensor] = field(default_factory=dict)
    """Loss parts per batch, float32 (batches,), where the recipe keeps them."""
    timeline: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    """Inference weights after the epochs that the recipe's timeline names."""
    best: Best | None = None
    """The best epoch, where the recipe keeps it."""
    judged: str = ""
    """SHA-256 of the weights of the judge behind the last epoch's values, and the best one's."""
    epochs: int = 0
    """Complete epochs."""
    steps: int = 0
    """Batches trained on, those of an incomplete epoch included."""
    images_seen: int = 0
    """Training images seen, those of an incomplete epoch included."""
    seconds: float = 0.0
    """Wall-clock seconds, evaluation included."""
    stopped: bool = False
    """Stopped by the recipe's patience."""
    interrupted: bool = False
    """Stopped by Ctrl-C before the last epoch."""

    @property
    def finished(self) -> bool:
        """Every epoch asked for is complete, or patience has run out."""
        return self.stopped or self.epochs >= self.planned

    def weights(self) -> dict[str, Tensor]:
        """The inference weights to ship, float16, on the CPU."""
        return self.best.weights if self.best else inference_weights(self.network)


@dataclass
class Session:
    """Everything that the next step depends on: what ``--resume`` has to bring back."""

    run: Run
    """Progress and results."""
    network: networks.Network
    """The weights being trained."""
    optimizers: dict[str, Optimizer]
    """One per player."""
    average: Average | None
    """Averaged weights, where the recipe asks for EMA."""
    order: torch.Generator
    """Draws the order of the data; on the CPU, so that every device sees the same."""
    epoch_order: Tensor
    """State of ``order`` when the current epoch began."""
    batch: int = 0
    """Batches done in the current epoch."""
    whole: bool = True
    """No step has been begun and not ended: what is saved can be gone on with."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sum of every loss over the current epoch, on the device: reading one makes it wait."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of batches in each sum."""
    recent: dict[str, list[Tensor]] = field(default_factory=dict)
    """The current epoch's losses per batch, where the recipe keeps them."""


def start(
    recipe: Recipe, device: torch.device, seed: int, planned: int, world: World = ALONE
) -> Session:
    """A fresh session: the same seed gives the same run on the same machine."""
    torch.manual_seed(seed)
    network = world.synchronise(networks.build(recipe.network).to(device).train())
    average = Average(network, recipe.ema_decay) if recipe.ema_decay else None
    order = torch.Generator().manual_seed(seed)
    return Session(
        run=Run(recipe, seed, average.module if average else network, planned),
        network=network,  # pyright: ignore[reportArgumentType]
        optimizers=steps.make_optimizers(recipe, network),
        average=average,
        order=order,
        epoch_order=order.get_state(),
    )


def fit(
    recipe: Recipe,
    train: ImageData,
    test: ImageData,
    progress: Progress,
    *,
    epochs: int | None = None,
    seed: int = 0,
    judge: Checkpoint | None = None,
    saver: resume.Saver | None = None,
    board: running.Board | None = None,
    resumed: Path | None = None,
    world: World = ALONE,
    hold: Hold = nullcontext,
    record: bool = True,
) -> Iterator[Run]:
    """Train ``recipe`` on the device that holds ``train``; yield the run after every epoch.

    ``record`` replays the step from a CUDA graph where there is a GPU: the same numbers, faster.
    ``judge`` scores what generators draw. ``saver`` keeps the state from which a later call
    continues, given as ``resumed``. ``board`` keeps what people see of the run while it goes on.
    Ctrl-C ends the run early and in order: the last run yielded says ``interrupted`` and holds the
    weights of that moment; before the first step there is nothing to yield. Steps are held by
    ``hold``: the state is saved anew where none was broken off. Raises FloatingPointError when a
    loss stops being finite, and resume.ResumeError where ``resumed`` belongs to another run.
    """
    # 1. Network, optimisers, data order: from the seed, or as the earlier run left them.
    device = train.images.device
    session = start(recipe, device, seed, recipe.epochs if epochs is None else epochs, world)
    run = session.run
    run.judged = judged = judge.card.weights_sha256 if judge else ""
    if resumed:
        resume.restore(resumed, session)
    if resumed and run.finished:  # killed before the last epoch was published, perhaps
        yield run
    step = make_step(session, world, record=record)
    real = glance.reference(test, judge) if isinstance(session.network, networks.GAN) else None
    _require_enough(recipe, len(train), world)
    per_epoch = len(train) // recipe.batch_size * recipe.batch_size or len(train)
    total = run.planned * per_epoch
    task = progress.add_task(
        recipe.name, total=total, completed=run.images_seen, losses="", epoch=""
    )
    if board:
        board.start(session, total)

    while not run.finished:
        started = time.perf_counter()
        try:
            # 2. One pass over the training set, then the held-out losses of what would ship.
            progress.update(task, epoch=f"{run.epochs + 1}/{run.planned}")
            train_epoch(session, train, step, total, progress, task, saver, board, world, hold)
            means = {k: float(v / session.counts[k]) for k, v in session.sums.items()}
            _require_finite(recipe, means, run.epochs + 1)
            held_out = world.agreed(evaluate(recipe, run.network, test, real))
            _require_finite(recipe, held_out, run.epochs + 1)
        except KeyboardInterrupt:
            run.interrupted = True
            means = held_out = {}
        run.seconds += time.perf_counter() - started
        if run.interrupted:
            if run.images_seen:
                if board and session.whole:
                    board.post(now=True)
                if saver and session.whole:
                    saver.save(session, now=True)
                yield run
            return

        # 3. History, the weights worth keeping, and whether it is time to stop.
        if run.judged != judged:
            if run.best:
                progress.console.print(
                    "There is another judge, and distances by two judges do not compare: the best "
                    "epoch so far is forgotten."
                )
            run.best, run.judged = None, judged
        close_epoch(session, means, held_out)
        progress.update(task, losses=_line(held_out))
        if saver:
            saver.save(session, now=run.finished)
        with random_state_kept(device):  # nothing the caller draws may change the run
            yield run


def make_step(session: Session, world: World = ALONE, *, record: bool = True) -> steps.Step:
    """The session's step, its average included; recorded where one GPU takes it alone."""
    recipe, average = session.run.recipe, session.average
    plain = steps.make_step(recipe, session.network, session.optimizers, world)

    def step(x: Tensor, y: Tensor, i: int) -> steps.Losses:
        losses = plain(x, y, i)
        if average is not None:
            average.update(session.network)
        return losses

    on_gpu = next(session.network.parameters()).device.type == "cuda"
    if not (record and on_gpu and world.size == 1):
        return step
    return graphs.RecordedStep(step, getattr(recipe.objective, "critic_steps", 1))


def train_epoch(
    session: Session,
    train: ImageData,
    step: steps.Step,
    total: int,
    progress: Progress,
    task: TaskID,
    saver: resume.Saver | None = None,
    board: running.Board | None = None,
    world: World = ALONE,
    hold: Hold = nullcontext,
) -> None:
    """Take a step per batch of what is left of the epoch, summing the losses in the session.

    ``total`` images will have been seen at the end of the run.
    """
    run, recipe = session.run, session.run.recipe
    shown = time.perf_counter()
    for x, y in batches(train, recipe.batch_size, session.order, start=session.batch):
        with hold():
            session.whole = False
            steps.schedule_rates(recipe, session.optimizers, run.images_seen / total)
            # Averaged at once: the first process alone saves the sums for all of them.
            losses = world.means(step(world.share(x), world.share(y), run.steps))
            for name, value in losses.items():
                session.sums[name] = session.sums.get(name, 0) + value
                session.counts[name] = session.counts.get(name, 0) + 1
                if recipe.batch_history:
                    session.recent.setdefault(name, []).append(value)
            run.steps += 1
            session.batch += 1
            run.images_seen += len(x)
            session.whole = True
        progress.advance(task, len(x))
        if saver:
            saver.save(session)
        if time.perf_counter() - shown > REFRESH_SECONDS:
            shown = time.perf_counter()
            progress.update(task, losses=_line(losses))
            if board:
                board.post()
    if board:
        board.post(now=True)


def close_epoch(session: Session, means: dict[str, float], held_out: dict[str, float]) -> None:
    """Write an epoch into the history, keep its weights where wanted, and begin the next."""
    run, recipe = session.run, session.run.recipe
    for split, values in (("train", means), ("test", held_out)):
        for name, value in values.items():
            run.history[split].setdefault(name, []).append(value)
    run.epochs += 1
    for parts in run.history.values():  # a judge that came or went has measured some epochs alone
        for name in [name for name, values in parts.items() if len(values) != run.epochs]:
            del parts[name]
    for name, values in session.recent.items():
        new = torch.stack(values).to("cpu", torch.float32)
        run.batch_losses[name] = torch.cat([run.batch_losses.get(name, new[:0]), new])
    if run.epochs in recipe.timeline:
        run.timeline[run.epochs] = inference_weights(run.network)
    keep = recipe.keep_best
    if keep and keep.metric in held_out:
        value = held_out[keep.metric]
        best = run.best
        if best is None or (value > best.value if keep.larger_is_better else value < best.value):
            run.best = best = Best(run.epochs, value, inference_weights(run.network))
        run.stopped = keep.patience is not None and run.epochs - best.epoch >= keep.patience
    session.sums, session.counts, session.recent, session.batch = {}, {}, {}, 0
    session.epoch_order = session.order.get_state()


def _require_enough(recipe: Recipe, images: int, world: World) -> None:
    batch = min(recipe.batch_size, images)
    if batch % world.size:
        raise ValueError(f"{world.size} processes cannot share a batch of {batch} images evenly")
    steps_needed = getattr(recipe.objective, "critic_steps", 1)
    if images // batch < steps_needed:
        raise ValueError(
            f"{recipe.name} takes {steps_needed} critic steps per generator step, and {images} "
            f"images make fewer batches of {recipe.batch_size}: use a smaller batch or more images"
        )


def _require_finite(recipe: Recipe, losses: dict[str, float], epoch: int) -> None:
    if not all(math.isfinite(value) for value in losses.values()):
        values = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise FloatingPointError(
            f"{recipe.name}: a loss is no longer finite in epoch {epoch} ({values}); "
            "try a smaller learning rate"
        )


@torch.no_grad()
def evaluate(
    recipe: Recipe,
    network: nn.Module,
    test: ImageData,
    real: glance.Reference | None = None,
) -> dict[str, float]:
    """Mean losses over the test set, in evaluation mode, with their own fixed noise.

    With ``real``, what a generator draws is scored as well.
    """
    training = network.training
    network.eval()
    device = test.images.device
    total: dict[str, Tensor] = {}
    with random_state_kept(device):
        torch.manual_seed(0)
        for x, y in batches(test, at_once(test.images.shape[1:])):
            for name, value in steps.held_out_losses(recipe, network, x, y).items():
                total[name] = total.get(name, 0) + value * len(x)
    values = {name: float(value) / len(test) for name, value in total.items()}
    if real and isinstance(network, networks.GAN):
        values |= glance.sample_scores(recipe, network, real, device)
    network.train(training)
    return values


class Average(nn.Module):
    """Exponential moving average of a network's weights and batch statistics.

    At update n, from 0, the decay is min(decay, (1 + n) / (10 + n)): a constant 0.999 would need
    thousands of steps to forget the random weights it starts from. Statistics are averaged with
    the weights that they belong to. Updates are counted on the device: torch's AveragedModel counts
    on the CPU, and a recorded step would repeat the decay of the update at which it was recorded.
    """

    updates: Tensor
    """How many there were, a number on the device."""

    def __init__(self, network: nn.Module, decay: float):
        super().__init__()
        self.module = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        device = next(network.parameters()).device
        self.register_buffer("updates", torch.zeros((), device=device))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the weights of ``network`` as they are now."""
        follow = 1 - ((1 + self.updates) / (10 + self.updates)).clamp(max=self.decay)
        current = network.state_dict()
        for name, average in self.module.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], follow)
            else:
                average.copy_(current[name])  # counters
        self.updates += 1


def _line(losses: dict[str, Tensor] | dict[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.3f}" for name, value in losses.items())
