"""One linear training loop for every family: data -> step -> EMA -> history, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from rich.progress import Progress, TaskID
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from training import networks, steps
from training.checkpoint import History, latent_dim
from training.data import ImageData, batches
from training.recipes import Recipe

REFRESH_SECONDS = 0.5


@dataclass
class Run:
    """What training has produced so far."""

    recipe: Recipe
    """What is trained."""
    seed: int
    """Seed of initialisation, data order and noise."""
    network: nn.Module
    """The weights to ship: the averaged ones where the recipe asks for EMA."""
    planned: int
    """Epochs asked for."""
    history: History = field(default_factory=lambda: {"train": {}, "test": {}})
    """Loss parts per complete epoch, on the training set (running) and the test set."""
    epochs: int = 0
    """Complete epochs."""
    images_seen: int = 0
    """Training images seen, those of an incomplete epoch included."""
    seconds: float = 0.0
    """Wall-clock seconds, evaluation included."""
    interrupted: bool = False
    """Stopped by Ctrl-C before the last epoch."""

    @property
    def finished(self) -> bool:
        """Every epoch asked for is complete."""
        return self.epochs == self.planned


def fit(
    recipe: Recipe,
    train: ImageData,
    test: ImageData,
    progress: Progress,
    *,
    epochs: int | None = None,
    seed: int = 0,
) -> Iterator[Run]:
    """Train ``recipe`` on the device that holds ``train``; yield the run after every epoch.

    Ctrl-C ends the run early and in order: the last run yielded says ``interrupted`` and holds
    the weights of that moment; before the first step there is nothing to yield. Raises
    FloatingPointError when a loss stops being finite.
    """
    # 1. Seeds, network, optimisers: the same seed gives the same run on the same machine.
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    network = networks.build(recipe.network).to(train.images.device).train()
    optimise = make_step(recipe, network)
    average = averaged(network, recipe.ema_decay) if recipe.ema_decay else None
    planned = recipe.epochs if epochs is None else epochs
    run = Run(recipe, seed, average.module if average else network, planned)
    whole_batches = len(train) // recipe.batch_size * recipe.batch_size
    total = planned * (whole_batches or len(train))
    task = progress.add_task(recipe.name, total=total, losses="", epoch=f"0/{planned}")

    def step(x: Tensor, y: Tensor) -> steps.Losses:
        losses = optimise(x, y)
        if average is not None:
            average.update_parameters(network)
        return losses

    while not run.finished:
        started = time.perf_counter()
        try:
            # 2. One pass over the training set, then the held-out losses of what would ship.
            progress.update(task, epoch=f"{run.epochs + 1}/{planned}")
            epoch = batches(train, recipe.batch_size, order)
            means = train_epoch(step, epoch, run, progress, task)
            _require_finite(recipe, means, run.epochs + 1)
            held_out = evaluate(recipe, run.network, test)
            _require_finite(recipe, held_out, run.epochs + 1)
        except KeyboardInterrupt:
            run.interrupted = True
            means = held_out = {}
        run.seconds += time.perf_counter() - started
        if run.interrupted:
            if run.images_seen:
                yield run
            return

        # 3. History: mean of the running training losses beside the held-out ones.
        for split, values in (("train", means), ("test", held_out)):
            for name, value in values.items():
                run.history[split].setdefault(name, []).append(value)
        run.epochs += 1
        progress.update(task, losses=_line(held_out))
        yield run


def train_epoch(
    step: Callable[[Tensor, Tensor], steps.Losses],
    epoch: Iterator[tuple[Tensor, Tensor]],
    run: Run,
    progress: Progress,
    task: TaskID,
) -> dict[str, float]:
    """Take a step per batch; return the mean of every loss over the epoch.

    Losses are summed on the device and shown twice a second: reading one makes the device wait.
    """
    total: dict[str, Tensor] = {}
    count = 0
    shown = time.perf_counter()
    for x, y in epoch:
        losses = step(x, y)
        total = {name: total.get(name, 0) + value for name, value in losses.items()}
        count += 1
        run.images_seen += len(x)
        progress.advance(task, len(x))
        if time.perf_counter() - shown > REFRESH_SECONDS:
            shown = time.perf_counter()
            progress.update(task, losses=_line(losses))
    return {name: float(value) / count for name, value in total.items()}


def _require_finite(recipe: Recipe, losses: dict[str, float], epoch: int) -> None:
    if not all(math.isfinite(value) for value in losses.values()):
        values = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise FloatingPointError(
            f"{recipe.name}: a loss is no longer finite in epoch {epoch} ({values}); "
            "try a smaller learning rate"
        )


def make_step(recipe: Recipe, network: nn.Module) -> Callable[[Tensor, Tensor], steps.Losses]:
    """The optimisation step of a recipe's family as a function of images and classes."""
    adam = partial(torch.optim.Adam, lr=recipe.learning_rate)
    match network:
        case networks.VAE():
            optimizer = adam(network.parameters())
            return lambda x, y: steps.vae_step(
                network, optimizer, x, beta=recipe.beta, bf16=recipe.bf16
            )
        case networks.CGAN():
            generator_optimizer = adam(network.generator.parameters())
            discriminator_optimizer = adam(network.discriminator.parameters())
            return lambda x, y: steps.cgan_step(
                network,
                generator_optimizer,
                discriminator_optimizer,
                x,
                y,
                torch.randn(len(x), latent_dim(recipe), device=x.device),
                bf16=recipe.bf16,
            )
        case networks.Classifier():
            optimizer = adam(network.parameters())
            return lambda x, y: steps.classifier_step(
                network, optimizer, x, y, shift=recipe.augment_shift, bf16=recipe.bf16
            )
    raise TypeError(f"no step for {type(network).__name__}")


@torch.no_grad()
def evaluate(recipe: Recipe, network: nn.Module, test: ImageData) -> dict[str, float]:
    """Mean losses over the test set, in evaluation mode and float32, with their own fixed noise."""
    training = network.training
    network.eval()
    device = test.images.device
    total: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for x, y in batches(test, 500):
            for name, value in _test_losses(recipe, network, x, y).items():
                total[name] = total.get(name, 0) + value * len(x)
    network.train(training)
    return {name: float(value) / len(test) for name, value in total.items()}


def _test_losses(recipe: Recipe, network: nn.Module, x: Tensor, y: Tensor) -> steps.Losses:
    match network:
        case networks.VAE():
            return steps.vae_losses(network, x, beta=recipe.beta)
        case networks.CGAN():
            z = torch.randn(len(x), latent_dim(recipe), device=x.device)
            return steps.cgan_losses(network, x, y, z, bf16=recipe.bf16)
        case networks.Classifier():
            return steps.classifier_losses(network, x, y)
    raise TypeError(f"no losses for {type(network).__name__}")


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and batch statistics.

    At update n the decay is min(decay, (1 + n) / (10 + n)): a constant 0.999 would need thousands
    of steps to forget the random weights it starts from. Statistics are averaged with the weights
    that they belong to.
    """

    @torch.no_grad()
    def update(average: PARAM_LIST, current: PARAM_LIST, n: Tensor | int) -> None:
        # Computed on the device, so that no step waits for a number.
        keep = torch.as_tensor((1 + n) / (10 + n)).clamp(max=decay)
        for a, c in zip(average, current, strict=True):
            if a.is_floating_point():
                a.lerp_(c, 1 - keep)
            else:
                a.copy_(c)  # counters

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _line(losses: dict[str, Tensor] | dict[str, float]) -> str:
    return "  ".join(f"{name} {float(value):.3f}" for name, value in losses.items())
