"""Decodes latents of many sessions, several requests of one model in one batch; encodes drawings.

One worker thread does all decoding, so that requests that arrive while it works are waiting
together when it is free and share the next batch. Small requests (a canvas under the hand) come
before large ones (filmstrips, grids), which are drawn in pieces in between.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from explorer.live.protocol import MAX_PIXEL_BYTES
from explorer.uploads import UploadError, as_mnist
from training import networks
from training.checkpoint import Checkpoint, CheckpointError, class_weights, require_latents
from training.devices import has_bf16
from training.onnx_files import AnyCard, AnyModel

SMALL_ROWS = 16
"""Requests of up to this many rows are served first."""
BATCH_ROWS = 8
"""Rows of one batch of small requests: a larger one takes longer and saves next to nothing."""
PIECE_ROWS = 4
"""Rows of a large request drawn before small ones are looked at again: under 10 ms of the CGAN."""
PIECE_NUMBERS = 2**15
"""And of larger images so few that they are no more numbers, but one at least."""

MOST_BYTES = 256 << 20
"""Weights held open together; the models that were used longest ago leave first."""

BF16_PARAMETERS = 1_000_000
"""Models from this size on decode in bfloat16."""

Pixels = NDArray[np.uint8]
Model = TypeVar("Model", bound=AnyModel)


class DecodeError(ValueError):
    """A request that no model can answer; the message is for the person who sent it."""


@dataclass(frozen=True)
class Code:
    """What an encoder makes of an image: the posterior q(z|x)."""

    seen: Pixels
    """The image as the model saw it (height, width, channels)."""
    mu: NDArray[np.float32]
    """Its mean (d,)."""
    sigma: NDArray[np.float32]
    """Its standard deviations (d,)."""


@dataclass(frozen=True)
class _Open:
    model: AnyModel
    stamp: Hashable
    size: int


@dataclass(eq=False)
class _Job:
    model: AnyModel
    z: torch.Tensor
    weights: torch.Tensor | None
    future: Future[Pixels] = field(default_factory=Future)
    pieces: list[Pixels] = field(default_factory=list)
    done: int = 0

    @property
    def small(self) -> bool:
        return len(self.z) <= SMALL_ROWS


def _condition(
    card: AnyCard, z: torch.Tensor, weights: NDArray[np.float32] | None
) -> torch.Tensor | None:
    """Class weights (n, k) of a request; raises DecodeError for what the model does not take."""
    most = max(MAX_PIXEL_BYTES // math.prod(card.image_shape), 1)
    if len(z) > most:
        raise DecodeError(
            f"{card.name} draws large images: ask for {most} images at once, not {len(z)}"
        )
    try:
        require_latents(card, z)
        given = None if weights is None else torch.from_numpy(np.array(weights, np.float32))
        condition = class_weights(card, given, len(z))
    except ValueError as error:
        raise DecodeError(str(error)) from error
    if condition is not None and not card.mixes_classes and (condition.amax(1) < 0.999).any():
        raise DecodeError(f"{card.name} takes one class: it draws nothing between two")
    return condition


class DecodeService:
    """Draws latents of any model that ``open_model`` can open. Thread-safe.

    ``stamp`` tells of a name what changes when its model does, which is then opened again; it may
    raise CheckpointError, where there is no such model, so that nobody waits to be refused.
    """

    def __init__(
        self,
        open_model: Callable[[str], AnyModel],
        stamp: Callable[[str], Hashable] = lambda name: None,
    ):
        self._open_model = open_model
        self._stamp = stamp
        self._models: OrderedDict[str, _Open] = OrderedDict()
        self._table = threading.Lock()
        self._loading = threading.Lock()
        self._encoding = threading.Lock()
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self.opening = ThreadPoolExecutor(1, "open")
        """For callers that do not wait: opening a model reads files."""
        self._worker = threading.Thread(target=self._work, name="decode", daemon=True)
        self._worker.start()

    def submit(
        self, model: str, z: NDArray[np.float32], weights: NDArray[np.float32] | None = None
    ) -> Future[Pixels]:
        """Ask for z (n, d), with class weights (n, k) where the model is conditional.

        The future gives uint8 (n, height, width, channels); cancel it to withdraw the request.
        Raises DecodeError for an unknown model, what the model does not take, and more than
        `MAX_PIXEL_BYTES` at once.
        """
        opened = self.model(model)
        latents = torch.from_numpy(np.array(z, np.float32))
        job = _Job(opened, latents, _condition(opened.card, latents, weights))
        with self._changed:
            if self._closed:
                raise DecodeError("the server is shutting down")
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def encode(self, model: str, ink: NDArray[np.uint8]) -> Code:
        """What a VAE makes of a drawing, bright ink on black (h, w), centred as MNIST's digits are.

        Takes some milliseconds. Raises DecodeError for an unknown model, one that takes no such
        drawing, and a drawing without ink.
        """
        opened = self.model(model)
        channels, height, width = opened.card.image_shape
        if opened.card.family != "vae":
            raise DecodeError(f"{model} has no encoder: it cannot say which numbers a drawing is")
        if channels != 1 or height != width:
            raise DecodeError(
                f"{model} knows other pictures than grey squares: it takes no drawing"
            )
        try:
            seen = as_mnist(ink, height)
        except UploadError as error:
            raise DecodeError(str(error)) from error
        # One at a time: threads of several would wait for one another on the cores of the decoder.
        with self._encoding:
            mu, log_var = opened.encode(torch.from_numpy(seen)[None, None].float() / 255)
        code = Code(seen[..., None], mu[0].cpu().numpy(), log_var[0].mul(0.5).exp().cpu().numpy())
        if not (np.isfinite(code.mu).all() and np.isfinite(code.sigma).all()):
            raise DecodeError(f"{model} makes no finite numbers of this drawing")
        return code

    def is_open(self, name: str) -> bool:
        """Whether ``name`` is loaded as it is now, so that `submit` returns at once.

        Raises DecodeError where there is no such model.
        """
        return self._at_hand(name, self._stamped(name)) is not None

    def model(self, name: str) -> AnyModel:
        """The model called ``name``, opened and warmed up on first use and when it has changed."""
        stamp = self._stamped(name)
        if opened := self._at_hand(name, stamp):
            return opened
        with self._loading:
            if opened := self._at_hand(name, stamp):  # somebody else was first
                return opened
            try:
                opened = self._open_model(name)
            except CheckpointError as error:
                raise DecodeError(f"unknown model: {error}") from error
            if opened.card.family == "classifier":
                raise DecodeError(f"{name} is a classifier: it draws nothing")
            opened = _warmed_up(for_live_decoding(opened))
            self._keep(name, _Open(opened, stamp, _size(opened)))
        return opened

    def _stamped(self, name: str) -> Hashable:
        try:
            return self._stamp(name)
        except CheckpointError as error:
            raise DecodeError(f"unknown model: {error}") from error

    def _at_hand(self, name: str, stamp: Hashable) -> AnyModel | None:
        """The model, where it is open as it is now; it counts as used."""
        with self._table:
            found = self._models.get(name)
            if found is None or found.stamp != stamp:
                return None
            self._models.move_to_end(name)
            return found.model

    def _keep(self, name: str, opened: _Open) -> None:
        """Hold a model open; those used longest ago make room."""
        with self._table:
            self._models[name] = opened
            self._models.move_to_end(name)
            while len(self._models) > 1 and sum(o.size for o in self._models.values()) > MOST_BYTES:
                self._models.popitem(last=False)

    def close(self) -> None:
        """Stop the worker; waiting requests are cancelled."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.future.cancel()
            self._changed.notify()
        self.opening.shutdown(wait=False, cancel_futures=True)
        self._worker.join()

    def _work(self) -> None:
        large_next = False
        while batch := self._take(large_next):
            self._draw(batch)
            large_next = batch[0].small

    def _take(self, large_next: bool) -> list[_Job]:
        """The jobs of the next batch, all of one model; empty when the service is closed."""
        with self._changed:
            while not self._closed:
                self._jobs = [job for job in self._jobs if not job.future.cancelled()]
                if self._jobs:
                    break
                self._changed.wait()
            if self._closed:
                return []
            small = [job for job in self._jobs if job.small]
            large = [job for job in self._jobs if not job.small]
            if large and (large_next or not small):
                return large[:1]
            batch, rows = [], 0
            for job in small:
                fits = not batch or rows + len(job.z) <= BATCH_ROWS
                if job.model is small[0].model and fits:
                    batch.append(job)
                    rows += len(job.z)
            return batch

    def _draw(self, batch: list[_Job]) -> None:
        """Decode one batch of small jobs, or one piece of a large one."""
        step = SMALL_ROWS if batch[0].small else _piece_rows(batch[0].model)  # a small one whole
        parts = [slice(job.done, min(job.done + step, len(job.z))) for job in batch]
        z = [job.z[part] for job, part in zip(batch, parts, strict=True)]
        weights = [
            job.weights[part]
            for job, part in zip(batch, parts, strict=True)
            if job.weights is not None
        ]
        try:
            pixels = self._decode(
                batch[0].model, torch.cat(z), torch.cat(weights) if weights else None
            )
        except Exception as error:  # whatever it is, the other requests must still be drawn
            if len(batch) == 1:
                self._finish(batch[0], error)
                return
            for job in batch:  # alone, so that only what cannot be drawn fails
                self._draw([job])
            return
        start = 0
        for job, part in zip(batch, parts, strict=True):
            count = part.stop - part.start
            job.pieces.append(pixels[start : start + count])
            job.done += count
            start += count
            if job.done == len(job.z) or job.future.cancelled():
                self._finish(job, None)

    def _decode(
        self, model: AnyModel, z: torch.Tensor, weights: torch.Tensor | None
    ) -> NDArray[np.uint8]:
        images = model.decode(z, weights)
        return (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _finish(self, job: _Job, error: Exception | None) -> None:
        with self._changed:
            self._jobs.remove(job)
        if not job.future.set_running_or_notify_cancel():
            return
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(np.concatenate(job.pieces))


def _piece_rows(opened: AnyModel) -> int:
    """Rows of a large request of a model that are drawn at a time."""
    return max(min(PIECE_ROWS, PIECE_NUMBERS // math.prod(opened.card.image_shape)), 1)


def _size(opened: AnyModel) -> int:
    """Bytes of a model's weights, in memory or, of a foreign one, in its file."""
    if not isinstance(opened, Checkpoint):
        return sum(entry.size for entry in opened.card.files.values())
    return sum(one.numel() * one.element_size() for one in opened.network.parameters())


def for_live_decoding(opened: Model) -> Model:
    """Run the convolutions that draw, of a large model, in bfloat16 where the processor has it.

    That halves the time of R3's CGAN. Its pixels move by 0.03 grey levels of 255 on average, and
    all but one in ten thousand by less than 1.5. Small models gain nothing and stay exact.
    """
    if not isinstance(opened, Checkpoint):  # onnxruntime computes in what the file says
        return opened
    size = sum(parameter.numel() for parameter in opened.network.parameters())
    if opened.device.type == "cpu" and size >= BF16_PARAMETERS and has_bf16(opened.device):
        network = opened.network
        drawing = network.decoder if isinstance(network, networks.VAE) else network
        for layer in drawing.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.to(torch.bfloat16)
    return opened


def _warmed_up(opened: Model) -> Model:
    """Decode once in every size that dragging asks for: first calls choose and pack kernels."""
    classes = opened.card.num_classes
    for n in (*range(1, BATCH_ROWS + 1), 10):
        y = torch.zeros(n, dtype=torch.int64) if classes else None
        opened.decode(torch.zeros(n, opened.card.latent_dim), y)
    return opened
