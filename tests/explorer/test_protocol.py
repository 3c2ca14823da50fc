"""Frames of the live channel: what goes in comes out, byte for byte, and nothing malformed."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from explorer.live import protocol
from explorer.live.protocol import Kind, ProtocolError, Request
from tests.explorer.conftest import floats

Z = floats([[0.5, -1], [2, 0]])

GOLDEN_REQUEST = bytes.fromhex(
    "01"  # version
    "05"  # bytes of the name
    "0302"  # view 0x0203
    "efbeadde"  # id 0xdeadbeef
    "0200"  # n
    "0200"  # d
    "0300"  # k
    "0000"
    "766165 2d 32 000000"  # "vae-2", padded to 8 bytes
    "0000003f 000080bf"  # z: 0.5, -1
    "00000040 00000000"  # z: 2, 0
    "0000803f 00000000 00000000"  # weights: 1, 0, 0
    "00000000 0000003f 0000003f"  # weights: 0, 0.5, 0.5
)
GOLDEN_PIXELS = bytes.fromhex(
    "01"  # version
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


def refused(frame: bytes, words: str, request_id: int = 0) -> None:
    with pytest.raises(ProtocolError, match=words) as caught:
        protocol.unpack_request(frame)
    assert caught.value.request_id == request_id


def patched(offset: int, layout: str, value: int) -> bytes:
    """A good frame with one field overwritten."""
    frame = bytearray(protocol.pack_request(request()))
    struct.pack_into(layout, frame, offset, value)
    return bytes(frame)


def test_the_layout_of_a_request_is_the_documented_one() -> None:
    weights = floats([[1, 0, 0], [0, 0.5, 0.5]])
    sent = Request(id=0xDEADBEEF, view=0x0203, model="vae-2", z=Z, weights=weights)
    assert protocol.pack_request(sent) == GOLDEN_REQUEST
    read = protocol.unpack_request(GOLDEN_REQUEST)
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


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused(version: int) -> None:
    refused(patched(0, "<B", version), f"version {version} is not 1", 7)


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
    assert read.z.shape == (3, 0)
    assert read.weights is None
