"""Frames of the live channel, version 1. All numbers are little-endian.

Request (client to server)::

    offset  type      field
    0       uint8     version, 1
    1       uint8     m, bytes of the model's name
    2       uint16    view: which canvas asks; a newer request of a view replaces its waiting one
    4       uint32    id, returned with the answer
    8       uint16    n, rows
    10      uint16    d, latent dimensions
    12      uint16    k, class weights per row; 0 where the model is unconditional
    14      uint16    0
    16      bytes     the model's name, ASCII, padded with zeros to a multiple of 4
    ...     float32   z, n*d, row by row
    ...     float32   class weights, n*k, rows summing to 1: one-hot for one class

Answer (server to client)::

    0       uint8     version, 1
    1       uint8     kind: 0 pixels, 1 error, 2 replaced by a newer request of the view
    2       uint16    n, images
    4       uint32    id of the request
    8       uint16    height
    10      uint16    width
    12      uint8     channels
    13      3 bytes   0
    16      bytes     pixels uint8, n*height*width*channels; or the error, UTF-8
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

VERSION = 1
MAX_ROWS = 512
MAX_MESSAGE_BYTES = 1 << 20

_REQUEST = struct.Struct("<BBHIHHHH")
_ANSWER = struct.Struct("<BBHIHHB3x")


class Kind(IntEnum):
    """What an answer carries."""

    PIXELS = 0
    ERROR = 1
    REPLACED = 2


class ProtocolError(ValueError):
    """A frame that cannot be read; ``request_id`` is 0 where even that is unreadable."""

    def __init__(self, message: str, request_id: int = 0):
        super().__init__(message)
        self.request_id = request_id


@dataclass(frozen=True)
class Request:
    """Some latents of one model to be drawn for one view."""

    id: int
    """Chosen by the client."""
    view: int
    """Canvas that asks."""
    model: str
    """Name of the checkpoint folder."""
    z: NDArray[np.float32]
    """(n, d)."""
    weights: NDArray[np.float32] | None
    """Class weights (n, k), or None."""


@dataclass(frozen=True)
class Answer:
    """An answer as the client reads it."""

    id: int
    """Of the request."""
    kind: Kind
    """What it carries."""
    pixels: NDArray[np.uint8]
    """(n, height, width, channels); empty unless ``kind`` is PIXELS."""
    message: str
    """The error; empty unless ``kind`` is ERROR."""


def pack_request(request: Request) -> bytes:
    """Request -> frame."""
    name = request.model.encode("ascii")
    n, d = request.z.shape
    k = 0 if request.weights is None else request.weights.shape[1]
    head = _REQUEST.pack(VERSION, len(name), request.view, request.id, n, d, k, 0)
    weights = b"" if request.weights is None else request.weights.astype("<f4").tobytes()
    return head + _padded(name) + request.z.astype("<f4").tobytes() + weights


def unpack_request(frame: bytes) -> Request:
    """Frame -> request. Raises ProtocolError for anything malformed, unbounded or not finite."""
    if len(frame) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message may hold {MAX_MESSAGE_BYTES} bytes, not {len(frame)}")
    if len(frame) < _REQUEST.size:
        raise ProtocolError(f"a request begins with {_REQUEST.size} bytes, not {len(frame)}")
    version, m, view, request_id, n, d, k, _ = _REQUEST.unpack_from(frame)
    if version != VERSION:
        raise ProtocolError(
            f"protocol version {version} is not {VERSION}: reload the page", request_id
        )
    if not 1 <= n <= MAX_ROWS:
        raise ProtocolError(f"a request draws 1 to {MAX_ROWS} images, not {n}", request_id)
    start = _REQUEST.size + m + -m % 4
    if len(frame) != start + 4 * n * (d + k):
        raise ProtocolError(
            f"{n} rows of {d} latents and {k} class weights take {start + 4 * n * (d + k)} bytes, "
            f"not {len(frame)}",
            request_id,
        )
    numbers = np.frombuffer(frame, "<f4", offset=start)
    if not np.isfinite(numbers).all():
        raise ProtocolError("z and class weights must be finite", request_id)
    try:
        model = frame[_REQUEST.size : _REQUEST.size + m].decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("the model's name is not ASCII", request_id) from None
    z, weights = numbers[: n * d].reshape(n, d), numbers[n * d :].reshape(n, k)
    return Request(request_id, view, model, z, weights if k else None)


def pack_pixels(request_id: int, pixels: NDArray[np.uint8]) -> bytes:
    """Images (n, height, width, channels) -> frame."""
    n, height, width, channels = pixels.shape
    head = _ANSWER.pack(VERSION, Kind.PIXELS, n, request_id, height, width, channels)
    return head + pixels.tobytes()


def pack_error(request_id: int, message: str) -> bytes:
    """Error message -> frame."""
    return _ANSWER.pack(VERSION, Kind.ERROR, 0, request_id, 0, 0, 0) + message.encode()


def pack_replaced(request_id: int) -> bytes:
    """The answer to a request that a newer one replaced -> frame."""
    return _ANSWER.pack(VERSION, Kind.REPLACED, 0, request_id, 0, 0, 0)


def unpack_answer(frame: bytes) -> Answer:
    """Frame -> answer; what the page's JavaScript does, for tests, benchmarks and scripts."""
    _, kind, n, request_id, height, width, channels = _ANSWER.unpack_from(frame)
    body = frame[_ANSWER.size :]
    shape = (n, height, width, channels)
    pixels = np.frombuffer(body if kind == Kind.PIXELS else b"", np.uint8).reshape(shape)
    return Answer(request_id, Kind(kind), pixels, body.decode() if kind == Kind.ERROR else "")


def _padded(name: bytes) -> bytes:
    return name + bytes(-len(name) % 4)
