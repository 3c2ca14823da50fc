"""Devices and processes: what to train on, how a card names it, and who shares the work."""

from __future__ import annotations

import atexit
import logging
import platform
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """The torch device called ``name``; ``auto`` takes a GPU where there is one that works.

    Raises ValueError, saying why, where the device cannot compute.
    """
    if name == "auto":
        name = "mps" if torch.backends.mps.is_available() else "cpu"
        return _or_cpu("cuda" if torch.cuda.is_available() else name)
    try:
        return _working(name)
    except ValueError as error:
        raise ValueError(f"{error}; --device cpu works everywhere") from error


@cache
def _or_cpu(name: str) -> torch.device:
    """The device, or the CPU where it does not work: said once."""
    from training.console import errors

    try:
        return _working(name)
    except ValueError as error:
        errors.print(f"{error}: the CPU is taken instead.", markup=False, soft_wrap=True)
        return torch.device("cpu")


def _working(name: str) -> torch.device:
    """The device, which has computed a sum; or ValueError with the reason."""
    try:
        device = torch.device(name)
        torch.ones(2, device=device).sum().item()  # reading it back rules out "meta"
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used ({reason})") from error
    return device


def random_states(device: torch.device) -> dict[str, Tensor]:
    """What random numbers on the CPU and on ``device`` are drawn from, by type of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on from `random_states`, perhaps those of a run on another device."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Put the random states of the CPU and of ``device`` back when the block ends."""
    states = random_states(device)
    try:
        yield
    finally:
        set_random_states(states, device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # torch asks about the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return False


def out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory: not every place that asks for it says so by type."""
    signs = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in str(error) for sign in signs
    )


def describe_device(device: torch.device) -> str:
    """Device with the name of the processor, e.g. "cpu (AMD EPYC, 2 threads)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({_processor()}, {threads} thread{'' if threads == 1 else 's'})"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class World:
    """The processes that train one model together, each on its own device, as one would alone.

    Every process draws the noise of the whole batch and keeps its share of it, and gradients are
    averaged before every step: the result is that of one process at the same batch size. Not so
    are dropout and translations, which repeat from process to process, and batch normalisation on
    CPUs, which sees one process's share (on GPUs it is synchronised).

    Gradients are averaged here and not by a wrapped module: two players that take turns, a frozen
    discriminator and a double backward are what such wrappers get wrong.
    """

    fabric: Fabric | None = None
    """Lightning Fabric once launched; None for a single process."""

    @property
    def device(self) -> torch.device | None:
        """This process's device; None for a single process, which may choose."""
        return self.fabric.device if self.fabric else None

    @property
    def rank(self) -> int:
        """Number of this process, 0 to ``size`` - 1."""
        return self.fabric.global_rank if self.fabric else 0

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.fabric.world_size if self.fabric else 1

    def share(self, batch: Tensor) -> Tensor:
        """This process's rows of what all of them have drawn, (n, ...) -> (n / size, ...)."""
        return batch.chunk(self.size)[self.rank] if self.size > 1 else batch

    def synchronise(self, network: nn.Module) -> nn.Module:
        """The network with batch statistics taken over all processes, where they are GPUs."""
        on_gpu = next(network.parameters()).device.type == "cuda"
        if self.size > 1 and on_gpu:
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network

    def average_gradients(self, module: nn.Module) -> None:
        """Replace every gradient by its mean over the processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        mean = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = mean.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.size == 1:
            return value
        total = value.clone()
        torch.distributed.all_reduce(total)  # Fabric's own waits for every device at each call
        return total / self.size

    def means(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of every scalar over the processes, in one message."""
        if self.size == 1:
            return values
        return dict(zip(values, self.mean(torch.stack([*values.values()])), strict=True))

    def mean_of_rows(self, share: Tensor) -> Tensor:
        """Mean (1, ...) over the whole batch's rows, of which this process has a share (n, ...).

        Its gradient is the share's own: those of all processes are averaged before the step.
        """
        mean = share.mean(0, keepdim=True)
        return mean + (self.mean(mean.detach()) - mean.detach()) if self.size > 1 else mean

    def agreed(self, value: T) -> T:
        """The first process's value, so that all decide alike what a last digit could decide."""
        return self.fabric.broadcast(value) if self.fabric else value

    def wait(self) -> None:
        """Wait until every process has come this far."""
        if self.fabric:
            self.fabric.barrier()


def launch(device: torch.device, devices: int, nodes: int, strategy: str) -> World:
    """Start ``devices`` processes on each of ``nodes`` machines; return this one's world.

    With Lightning Fabric: on one machine it starts the other processes itself, by running the
    same command again; on several, each machine runs the command with the variables
    MASTER_ADDR, MASTER_PORT and NODE_RANK set, or under torchrun or SLURM.

    Ctrl-C is the first process's alone: however it ends, the others of its machine end with it.
    Raises ValueError for a device or a strategy that cannot do it.
    """
    if devices == nodes == 1:
        return World()
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--devices and --nodes work on cpu and cuda, not on {device.type}")
    if strategy != "ddp":
        raise ValueError(
            f"strategy {strategy!r} is not ddp: the models are small, so every device holds a "
            "whole one and a share of the data"
        )
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise ValueError(f"--devices {devices}: there are {torch.cuda.device_count()} GPUs here")
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator=device.type, devices=devices, num_nodes=nodes, strategy=strategy)
    atexit.register(_end_others, fabric)
    logger = logging.getLogger("lightning_fabric")
    logger.setLevel(logging.WARNING)  # a greeting from every process
    fabric.launch()
    logger.setLevel(logging.INFO)  # but not the word that one has died
    if fabric.global_rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return World(fabric)


def _end_others(fabric: Fabric) -> None:
    """End the processes that this one has started: they may wait for its next message for ever."""
    processes = getattr(fabric.strategy.launcher, "procs", [])
    others = list(processes)
    processes.clear()  # or Fabric's watch would take their end for an accident, and kill this one
    for process in others:
        process.kill()
        process.wait()
