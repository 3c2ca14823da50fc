"""Frames of the live channel: what goes in comes out, byte for byte, and nothing malformed."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from explorer.live import protocol
from explorer.live.protocol import Drawing, Kind, ProtocolError, Request
from tests.explorer.conftest import floats

Z = floats([[0.5, -1], [2, 0]])

GOLDEN_REQUEST = bytes.fromhex(
    "02"  # version
    "05"  # bytes of the name
    "0302"  # view 0x0203
    "efbeadde"  # id 0xdeadbeef
    "0200"  # n
    "0200"  # d
    "0300"  # k
    "0000"  # decode
    "766165 2d 32 000000"  # "vae-2", padded to 8 bytes
    "0000003f 000080bf"  # z: 0.5, -1
    "00000040 00000000"  # z: 2, 0
    "0000803f 00000000 00000000"  # weights: 1, 0, 0
    "00000000 0000003f 0000003f"  # weights: 0, 0.5, 0.5
)
GOLDEN_DRAWING = bytes.fromhex(
    "02"  # version
    "05"  # bytes of the name
    "0302"  # view 0x0203
    "efbeadde"  # id 0xdeadbeef
    "0100"  # one drawing
    "1000"  # 16 pixels along a side
    "0000"  # no classes
    "0100"  # encode
    "766165 2d 32 000000"  # "vae-2", padded to 8 bytes
) + bytes(range(256))
GOLDEN_CODE = bytes.fromhex(
    "02"  # version
    "03"  # kind: a code
    "0100"  # one image
    "efbeadde"  # id
    "0100"  # height
    "0300"  # width
    "01"  # channels
    "000000"
    "0102ff 00"  # pixels, padded to 4 bytes
    "0000003f 000080bf"  # mu: 0.5, -1
    "0000803e 00000040"  # standard deviations: 0.25, 2
)
GOLDEN_PIXELS = bytes.fromhex(
    "02"  # version
    "00"  # kind: pixels
    "0200"  # n
    "efbeadde"  # id
    "0100"  # height
    "0200"  # width
    "03"  # channels
    "000000"
    "010203 040506"  # image 0: two pixels of three channels
    "0708ff 0a0b0c"  # image 1
)


def request(**changes: Any) -> Request:
    settings: dict[str, Any] = {"id": 7, "view": 1, "model": "tiny", "z": Z, "weights": None}
    return Request(**settings | changes)


def drawing(side: int = 16, **changes: Any) -> bytes:
    """A frame that asks for the code of a drawing."""
    ink = np.random.default_rng(side).integers(0, 256, (side, side), np.uint8)
    settings: dict[str, Any] = {"id": 7, "view": 1, "model": "tiny", "ink": ink}
    return protocol.pack_request(Drawing(**settings | changes))


def refused(frame: bytes, words: str, request_id: int = 0) -> None:
    with pytest.raises(ProtocolError, match=words) as caught:
        protocol.unpack_request(frame)
    assert caught.value.request_id == request_id


def patched(offset: int, layout: str, value: int, good: bytes | None = None) -> bytes:
    """A good frame with one field overwritten."""
    frame = bytearray(good or protocol.pack_request(request()))
    struct.pack_into(layout, frame, offset, value)
    return bytes(frame)


def test_the_layout_of_a_request_is_the_documented_one() -> None:
    weights = floats([[1, 0, 0], [0, 0.5, 0.5]])
    sent = Request(id=0xDEADBEEF, view=0x0203, model="vae-2", z=Z, weights=weights)
    assert protocol.pack_request(sent) == GOLDEN_REQUEST
    read = protocol.unpack_request(GOLDEN_REQUEST)
    assert isinstance(read, Request)
    assert (read.id, read.view, read.model) == (0xDEADBEEF, 0x0203, "vae-2")
    np.testing.assert_array_equal(read.z, Z)
    assert read.weights is not None
    np.testing.assert_array_equal(read.weights, weights)


def test_the_layout_of_an_answer_is_the_documented_one() -> None:
    pixels = np.array([[[[1, 2, 3], [4, 5, 6]]], [[[7, 8, 255], [10, 11, 12]]]], np.uint8)
    assert protocol.pack_pixels(0xDEADBEEF, pixels) == GOLDEN_PIXELS
    answer = protocol.unpack_answer(GOLDEN_PIXELS)
    assert (answer.id, answer.kind, answer.message) == (0xDEADBEEF, Kind.PIXELS, "")
    np.testing.assert_array_equal(answer.pixels, pixels)


@pytest.mark.parametrize("n", [1, 3, protocol.MAX_ROWS])
@pytest.mark.parametrize("d", [1, 2, 128])
@pytest.mark.parametrize("k", [0, 10])
@pytest.mark.parametrize("model", ["a", "mnist-cgan", "x" * 255])
def test_a_request_comes_back(n: int, d: int, k: int, model: str) -> None:
    rng = np.random.default_rng(0)
    z, weights = (rng.normal(size=(n, size)).astype(np.float32) for size in (d, k))
    sent = request(z=z, weights=weights if k else None, model=model, id=2**32 - 1, view=2**16 - 1)
    read = protocol.unpack_request(protocol.pack_request(sent))
    assert isinstance(read, Request)
    assert (read.id, read.view, read.model) == (sent.id, sent.view, model)
    np.testing.assert_array_equal(read.z, z)
    if k:
        assert read.weights is not None
        np.testing.assert_array_equal(read.weights, weights)
    else:
        assert read.weights is None


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (40, 32, 32, 3), (512, 28, 28, 1)])
def test_pixels_come_back(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    answer = protocol.unpack_answer(protocol.pack_pixels(3, pixels))
    assert (answer.id, answer.kind) == (3, Kind.PIXELS)
    np.testing.assert_array_equal(answer.pixels, pixels)


def test_an_error_comes_back_in_words() -> None:
    answer = protocol.unpack_answer(protocol.pack_error(9, "größer als 1 MiB …"))
    assert (answer.id, answer.kind, answer.message) == (9, Kind.ERROR, "größer als 1 MiB …")
    assert answer.pixels.size == 0


def test_a_replaced_request_is_named() -> None:
    answer = protocol.unpack_answer(protocol.pack_replaced(11))
    assert (answer.id, answer.kind, answer.message) == (11, Kind.REPLACED, "")
    assert answer.pixels.size == 0


@pytest.mark.parametrize("length", range(16))
def test_a_frame_without_a_whole_header_is_refused(length: int) -> None:
    refused(protocol.pack_request(request())[:length], f"16 bytes, not {length}")


@pytest.mark.parametrize("version", [0, 1, 255])
def test_another_version_is_refused(version: int) -> None:
    refused(patched(0, "<B", version), f"version {version} is not 2", 7)


def test_no_rows_are_refused() -> None:
    refused(protocol.pack_request(request(z=np.zeros((0, 2), np.float32))), "not 0", 7)


def test_too_many_rows_are_refused() -> None:
    z = np.zeros((protocol.MAX_ROWS + 1, 1), np.float32)
    refused(protocol.pack_request(request(z=z)), f"1 to {protocol.MAX_ROWS} images, not 513", 7)


@pytest.mark.parametrize(
    "frame",
    [
        protocol.pack_request(request())[:-1],
        protocol.pack_request(request())[:-4],
        protocol.pack_request(request()) + b"\0",
        protocol.pack_request(request()) + bytes(4),
        protocol.pack_request(request())[:16],
        patched(1, "<B", 5),  # a longer name
        patched(1, "<B", 0),  # no name
        patched(8, "<H", 1),  # fewer rows
        patched(8, "<H", 3),  # more rows
        patched(10, "<H", 65535),  # more latents
        patched(12, "<H", 65535),  # more classes
    ],
)
def test_a_length_that_disagrees_with_the_header_is_refused(frame: bytes) -> None:
    refused(frame, f"bytes, not {len(frame)}", 7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["z", "weights"])
def test_numbers_that_are_not_finite_are_refused(value: float, field: str) -> None:
    good = {"z": Z, "weights": floats([[1, 0], [0, 1]])}
    bad = good[field].copy()
    bad[1, 1] = value
    refused(protocol.pack_request(request(**good | {field: bad})), "finite", 7)


def test_a_name_that_is_not_ascii_is_refused() -> None:
    refused(patched(16, "<B", 0xE9), "not ASCII", 7)
    with pytest.raises(UnicodeEncodeError):
        protocol.pack_request(request(model="modèle"))


def test_a_frame_over_the_limit_is_refused_unread() -> None:
    frame = patched(8, "<H", 1) + bytes(protocol.MAX_MESSAGE_BYTES)
    refused(frame, f"may hold {protocol.MAX_MESSAGE_BYTES} bytes")


def test_a_request_without_latents_is_read_for_the_service_to_refuse() -> None:
    read = protocol.unpack_request(protocol.pack_request(request(z=np.zeros((3, 0), np.float32))))
    assert isinstance(read, Request)
    assert read.z.shape == (3, 0)
    assert read.weights is None


# --- Drawings ----------------------------------------------------------------------------------


def test_the_layout_of_a_drawing_is_the_documented_one() -> None:
    ink = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sent = Drawing(id=0xDEADBEEF, view=0x0203, model="vae-2", ink=ink)
    assert protocol.pack_request(sent) == GOLDEN_DRAWING
    read = protocol.unpack_request(GOLDEN_DRAWING)
    assert isinstance(read, Drawing)
    assert (read.id, read.view, read.model) == (0xDEADBEEF, 0x0203, "vae-2")
    np.testing.assert_array_equal(read.ink, ink)


def test_the_layout_of_a_code_is_the_documented_one() -> None:
    seen = np.array([[[1], [2], [255]]], np.uint8)
    mu, sigma = floats([0.5, -1]), floats([0.25, 2])
    assert protocol.pack_code(0xDEADBEEF, seen, mu, sigma) == GOLDEN_CODE
    answer = protocol.unpack_answer(GOLDEN_CODE)
    assert (answer.id, answer.kind, answer.message) == (0xDEADBEEF, Kind.CODE, "")
    np.testing.assert_array_equal(answer.pixels, seen[None])
    np.testing.assert_array_equal(answer.mu, mu)
    np.testing.assert_array_equal(answer.sigma, sigma)


@pytest.mark.parametrize("side", [protocol.LEAST_SIDE, 17, 112, protocol.MOST_SIDE])
@pytest.mark.parametrize("model", ["a", "x" * 255])
def test_a_drawing_comes_back(side: int, model: str) -> None:
    frame = drawing(side, model=model)
    read = protocol.unpack_request(frame)
    assert isinstance(read, Drawing)
    assert (read.model, read.ink.shape, read.ink.dtype) == (model, (side, side), np.uint8)
    assert protocol.pack_request(read) == frame


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 5, 3), (1, 1, 1)])
@pytest.mark.parametrize("d", [1, 2, 128])
def test_a_code_comes_back(shape: tuple[int, int, int], d: int) -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, shape, np.uint8)
    mu, sigma = rng.normal(size=(2, d)).astype(np.float32)
    answer = protocol.unpack_answer(protocol.pack_code(3, seen, mu, sigma))
    assert answer.kind == Kind.CODE
    np.testing.assert_array_equal(answer.pixels[0], seen)
    np.testing.assert_array_equal(answer.mu, mu)
    np.testing.assert_array_equal(answer.sigma, sigma)


def test_no_other_answer_has_a_code() -> None:
    pixels = np.zeros((1, 28, 28, 1), np.uint8)
    frames = (protocol.pack_pixels(1, pixels), protocol.pack_error(1, "no"))
    for frame in (*frames, protocol.pack_replaced(1)):
        answer = protocol.unpack_answer(frame)
        assert answer.mu.size == answer.sigma.size == 0


@pytest.mark.parametrize("side", [0, 1, protocol.LEAST_SIDE - 1, protocol.MOST_SIDE + 1, 1000])
def test_a_drawing_of_another_size_is_refused(side: int) -> None:
    refused(drawing(side), f"16 to 256 pixels along a side, not {side}", 7)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (8, 0, "one drawing without classes is encoded, not 0"),
        (8, 2, "one drawing without classes is encoded, not 2"),
        (12, 1, "one drawing without classes is encoded, not 1 with 1"),
        (10, 17, "a drawing of 17 x 17 pixels take 309 bytes, not 276"),
        (10, 65535, "along a side, not 65535"),
        (14, 0, "1 rows of 16 latents"),  # its ink read as latents is of another length
        (14, 2, "2 is neither"),
        (14, 65535, "65535 is neither"),
    ],
)
def test_a_drawing_with_a_wrong_header_is_refused(offset: int, value: int, words: str) -> None:
    refused(patched(offset, "<H", value, drawing()), words, 7)


@pytest.mark.parametrize("change", [b"\0", bytes(4), bytes(256)])
def test_a_drawing_of_another_length_is_refused(change: bytes) -> None:
    frame = drawing()
    for bad in (frame + change, frame[: -len(change)]):
        refused(bad, f"bytes, not {len(bad)}", 7)


def test_latents_are_no_drawing() -> None:
    refused(patched(14, "<H", 1), "is encoded, not 2", 7)


def test_a_damaged_frame_is_read_or_refused_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for good in (drawing(), protocol.pack_request(request())):
        for _ in range(500):
            frame = bytearray(good)
            for _ in range(rng.integers(1, 4)):
                frame[rng.integers(24)] = rng.integers(256)
            try:
                read = protocol.unpack_request(bytes(frame[: rng.integers(1, len(good) + 9)]))
            except ProtocolError as error:
                assert str(error)
            else:
                assert isinstance(read, Drawing | Request)
