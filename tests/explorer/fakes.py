"""A decode service over fake models, whose batches a test can hold and count."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from torch import Tensor

from explorer.live.service import DecodeService, Pixels
from tests.explorer.conftest import VAE_Z2, conv_vae, make_card
from training.checkpoint import Checkpoint
from training.networks import Network, build

SECONDS = 60
"""A test that waits longer than this hangs."""


class FakeCheckpoint(Checkpoint):
    """Draws every latent as one pixel, its first number, and stops at each batch if told to."""

    def __init__(self, name: str, log: list[tuple[str, int]]):
        super().__init__(Path(name), make_card(name, VAE_Z2), _one_weight())
        self.name = name
        self.log = log
        self.entered = threading.Semaphore(0)
        self.steps: threading.Semaphore | None = None
        self.failure: Exception | None = None

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.log.append((self.name, len(z)))
        self.entered.release()
        if self.steps is not None:
            assert self.steps.acquire(timeout=SECONDS)
        if self.failure is not None:
            raise self.failure
        return z[:, :1, None, None].clone()


def _one_weight() -> Network:
    return build(conv_vae(1, (1,), 1, (1, 4, 4)))


class Fakes:
    """A service over two fake models, with control over when their batches are drawn."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.models = {name: FakeCheckpoint(name, self.log) for name in ("one", "two")}
        self.service = DecodeService(lambda name: self.models[name])
        for name in self.models:
            self.service.model(name)  # opened and warmed up
        self.log.clear()
        self.steps = threading.Semaphore(0)

    def hold(self) -> Future[Pixels]:
        """Make every batch wait for `let`; returns a request that is now being drawn."""
        for model in self.models.values():
            model.steps = self.steps
            model.entered = threading.Semaphore(0)
        first = self.submit("one", 1)
        self.wait_until_drawing()
        return first

    def wait_until_drawing(self, name: str = "one") -> None:
        assert self.models[name].entered.acquire(timeout=SECONDS)

    def let(self, batches: int = 1000) -> None:
        self.steps.release(batches)

    def submit(self, name: str, rows: int, start: int = 0) -> Future[Pixels]:
        return self.service.submit(name, numbered(rows, start))


def numbered(rows: int, start: int = 0) -> np.ndarray:
    """Latents that a fake draws as grey levels start, start + 1, ..., modulo 256."""
    z = np.zeros((rows, 2), np.float32)
    z[:, 0] = (np.arange(start, start + rows) % 256) / 255
    return z


def greys(future: Future[Pixels]) -> list[int]:
    pixels = future.result(timeout=SECONDS)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (1, 1, 1)
    return pixels[:, 0, 0, 0].tolist()
