"""Frames of the live channel, version 2. All numbers are little-endian.

Request (client to server)::

    offset  type      field
    0       uint8     version, 2
    1       uint8     m, bytes of the model's name
    2       uint16    view: which canvas asks; a newer request of a view replaces its waiting one
    4       uint32    id, returned with the answer
    8       uint16    n, rows; 1 to encode
    10      uint16    d, latent dimensions; to encode, pixels along a side of the drawing
    12      uint16    k, class weights per row; 0 where the model is unconditional, and to encode
    14      uint16    what: 0 decode latents, 1 encode a drawing
    16      bytes     the model's name, ASCII, padded with zeros to a multiple of 4
                      to decode:
    ...     float32   z, n*d, row by row
    ...     float32   class weights, n*k, rows summing to 1: one-hot for one class
                      to encode:
    ...     uint8     ink, d*d, row by row: 255 for ink on the black ground of 0

Answer (server to client)::

    0       uint8     version, 2
    1       uint8     kind: 0 pixels, 1 error, 2 replaced by a newer request of the view, 3 a code
    2       uint16    n, images; 1 for a code
    4       uint32    id of the request
    8       uint16    height
    10      uint16    width
    12      uint8     channels
    13      3 bytes   0
    16      bytes     pixels uint8, n*height*width*channels, 16 MiB at most where n is not 1: of a
                      code, those that the model saw; or the error, UTF-8
                      of a code, after the pixels padded with zeros to a multiple of 4:
    ...     float32   mu, as many as the model has latents
    ...     float32   standard deviations, as many
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

VERSION = 2
MAX_ROWS = 512
MAX_MESSAGE_BYTES = 1 << 20
MAX_PIXEL_BYTES = 16 << 20
"""Of an answer; one image may always be asked for."""
LEAST_SIDE, MOST_SIDE = 16, 256
"""Pixels along a side of a drawing."""

_REQUEST = struct.Struct("<BBHIHHHH")
_ANSWER = struct.Struct("<BBHIHHB3x")


class What(IntEnum):
    """What a request asks for."""

    DECODE = 0
    ENCODE = 1


class Kind(IntEnum):
    """What an answer carries."""

    PIXELS = 0
    ERROR = 1
    REPLACED = 2
    CODE = 3


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
    """Name of the checkpoint folder; ``name@epoch`` for its weights after an earlier epoch."""
    z: NDArray[np.float32]
    """(n, d)."""
    weights: NDArray[np.float32] | None
    """Class weights (n, k), or None."""


@dataclass(frozen=True)
class Drawing:
    """What somebody draws, to be encoded by one model for one view."""

    id: int
    """Chosen by the client."""
    view: int
    """Canvas that asks."""
    model: str
    """Name of the checkpoint folder."""
    ink: NDArray[np.uint8]
    """Bright ink on black (side, side)."""


@dataclass(frozen=True)
class Answer:
    """An answer as the client reads it."""

    id: int
    """Of the request."""
    kind: Kind
    """What it carries."""
    pixels: NDArray[np.uint8]
    """(n, height, width, channels); empty unless ``kind`` is PIXELS or CODE."""
    message: str
    """The error; empty unless ``kind`` is ERROR."""
    mu: NDArray[np.float32]
    """Mean (d,) of the posterior; empty unless ``kind`` is CODE."""
    sigma: NDArray[np.float32]
    """Its standard deviations (d,); empty unless ``kind`` is CODE."""


def pack_request(request: Request | Drawing) -> bytes:
    """Request -> frame."""
    if isinstance(request, Drawing):
        n, d, k, what, body = 1, len(request.ink), 0, What.ENCODE, request.ink.tobytes()
    else:
        n, d = request.z.shape
        k = 0 if request.weights is None else request.weights.shape[1]
        weights = b"" if request.weights is None else request.weights.astype("<f4").tobytes()
        what, body = What.DECODE, request.z.astype("<f4").tobytes() + weights
    name = request.model.encode("ascii")
    head = _REQUEST.pack(VERSION, len(name), request.view, request.id, n, d, k, what)
    return head + _padded(name) + body


def unpack_request(frame: bytes) -> Request | Drawing:
    """Frame -> request. Raises ProtocolError for anything malformed, unbounded or not finite."""
    if len(frame) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message may hold {MAX_MESSAGE_BYTES} bytes, not {len(frame)}")
    if len(frame) < _REQUEST.size:
        raise ProtocolError(f"a request begins with {_REQUEST.size} bytes, not {len(frame)}")
    version, m, view, request_id, n, d, k, what = _REQUEST.unpack_from(frame)
    if version != VERSION:
        raise ProtocolError(
            f"protocol version {version} is not {VERSION}: reload the page", request_id
        )
    try:
        start = _REQUEST.size + m + -m % 4
        if what == What.ENCODE:
            ink = _unpack_ink(frame, start, n, d, k)
            return Drawing(request_id, view, _unpack_name(frame, m), ink)
        if what != What.DECODE:
            raise ProtocolError(f"a request decodes (0) or encodes (1); {what} is neither")
        z, weights = _unpack_latents(frame, start, n, d, k)
        return Request(request_id, view, _unpack_name(frame, m), z, weights)
    except ProtocolError as error:
        raise ProtocolError(str(error), request_id) from None


def _unpack_latents(
    frame: bytes, start: int, n: int, d: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """z (n, d) and class weights (n, k) from ``start`` on."""
    if not 1 <= n <= MAX_ROWS:
        raise ProtocolError(f"a request draws 1 to {MAX_ROWS} images, not {n}")
    _require_length(frame, start + 4 * n * (d + k), f"{n} rows of {d} latents and {k} weights")
    numbers = np.frombuffer(frame, "<f4", offset=start)
    if not np.isfinite(numbers).all():
        raise ProtocolError("z and class weights must be finite")
    z, weights = numbers[: n * d].reshape(n, d), numbers[n * d :].reshape(n, k)
    return z, weights if k else None


def _unpack_ink(frame: bytes, start: int, n: int, side: int, k: int) -> NDArray[np.uint8]:
    """One drawing (side, side) from ``start`` on."""
    if n != 1 or k != 0:
        raise ProtocolError(f"one drawing without classes is encoded, not {n} with {k}")
    if not LEAST_SIDE <= side <= MOST_SIDE:
        raise ProtocolError(
            f"a drawing has {LEAST_SIDE} to {MOST_SIDE} pixels along a side, not {side}"
        )
    _require_length(frame, start + side * side, f"a drawing of {side} x {side} pixels")
    return np.frombuffer(frame, np.uint8, offset=start).reshape(side, side)


def _require_length(frame: bytes, length: int, what: str) -> None:
    if len(frame) != length:
        raise ProtocolError(f"{what} take {length} bytes, not {len(frame)}")


def _unpack_name(frame: bytes, m: int) -> str:
    try:
        return frame[_REQUEST.size : _REQUEST.size + m].decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("the model's name is not ASCII") from None


def pack_pixels(request_id: int, pixels: NDArray[np.uint8]) -> bytes:
    """Images (n, height, width, channels) -> frame."""
    n, height, width, channels = pixels.shape
    head = _ANSWER.pack(VERSION, Kind.PIXELS, n, request_id, height, width, channels)
    return head + pixels.tobytes()


def pack_code(
    request_id: int,
    seen: NDArray[np.uint8],
    mu: NDArray[np.float32],
    sigma: NDArray[np.float32],
) -> bytes:
    """The image that the model saw (height, width, channels) and its posterior (d,) -> frame."""
    head = _ANSWER.pack(VERSION, Kind.CODE, 1, request_id, *seen.shape)
    numbers = np.concatenate([mu, sigma]).astype("<f4").tobytes()
    return head + _padded(seen.tobytes()) + numbers


def pack_error(request_id: int, message: str) -> bytes:
    """Error message -> frame."""
    return _ANSWER.pack(VERSION, Kind.ERROR, 0, request_id, 0, 0, 0) + message.encode()


def pack_replaced(request_id: int) -> bytes:
    """The answer to a request that a newer one replaced -> frame."""
    return _ANSWER.pack(VERSION, Kind.REPLACED, 0, request_id, 0, 0, 0)


def unpack_answer(frame: bytes) -> Answer:
    """Frame -> answer; what the page's JavaScript does, for tests, benchmarks and scripts."""
    _, kind, n, request_id, height, width, channels = _ANSWER.unpack_from(frame)
    size = n * height * width * channels  # 0 for an error
    pixels = np.frombuffer(frame, np.uint8, size, _ANSWER.size).reshape(n, height, width, channels)
    rest = frame[_ANSWER.size + size + -size % 4 :]
    mu, sigma = np.frombuffer(rest if kind == Kind.CODE else b"", "<f4").reshape(2, -1)
    message = rest.decode() if kind == Kind.ERROR else ""
    return Answer(request_id, Kind(kind), pixels, message, mu, sigma)


def _padded(block: bytes) -> bytes:
    return block + bytes(-len(block) % 4)
