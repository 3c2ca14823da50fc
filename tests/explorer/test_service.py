"""The decode service: who shares a batch, who goes first, and what one bad request may break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer.live import service as live
from explorer.live.service import (
    BATCH_ROWS,
    PIECE_ROWS,
    SMALL_ROWS,
    DecodeError,
    DecodeService,
)
from tests.explorer.conftest import floats, make_card, make_network
from tests.explorer.fakes import SECONDS, FakeCheckpoint, Fakes, greys, numbered
from training.checkpoint import Checkpoint, CheckpointError
from training.networks import build
from training.recipes import RECIPES
from training.specs import ClassifierSpec, GANSpec, VAESpec

PIECES = SMALL_ROWS // PIECE_ROWS + 1
LARGE = PIECES * PIECE_ROWS
"""Rows of a request just too large to be a small one."""


@pytest.fixture
def opened(zoo: Path) -> Iterator[DecodeService]:
    """A service over the tiny real models."""
    from explorer import catalog

    made = DecodeService(catalog.scan(zoo).open)
    yield made
    made.close()


def one_hot(label: int, rows: int = 1, classes: int = 10) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[[label] * rows]


def test_a_request_is_drawn(fakes: Fakes) -> None:
    assert greys(fakes.submit("one", 5, start=100)) == [100, 101, 102, 103, 104]


def test_requests_that_wait_for_one_model_share_a_batch(fakes: Fakes) -> None:
    fakes.hold()
    with ThreadPoolExecutor(BATCH_ROWS) as threads:
        waiting = list(threads.map(lambda i: fakes.submit("one", 1, start=i), range(BATCH_ROWS)))
    fakes.let()
    assert [greys(future) for future in waiting] == [[i] for i in range(BATCH_ROWS)]
    assert fakes.log == [("one", 1), ("one", BATCH_ROWS)]


def test_requests_of_different_models_never_share_a_batch(fakes: Fakes) -> None:
    fakes.hold()
    waiting = [fakes.submit(name, 2, start=i) for i, name in enumerate(("one", "two") * 3)]
    fakes.let()
    assert [greys(future) for future in waiting] == [[i, i + 1] for i in range(6)]
    assert sorted(fakes.log[1:]) == [("one", 6), ("two", 6)]


def test_a_batch_has_a_largest_size(fakes: Fakes) -> None:
    fakes.hold()
    waiting = [fakes.submit("one", 2, start=i) for i in range(BATCH_ROWS + 1)]
    fakes.let()
    assert [greys(future) for future in waiting] == [[i, i + 1] for i in range(BATCH_ROWS + 1)]
    assert [rows for _, rows in fakes.log[1:]] == [BATCH_ROWS, BATCH_ROWS, 2]


def test_a_small_request_is_drawn_whole(fakes: Fakes) -> None:
    assert greys(fakes.submit("one", SMALL_ROWS)) == list(range(SMALL_ROWS))
    assert fakes.log == [("one", SMALL_ROWS)]


def test_a_large_request_is_drawn_in_pieces_in_order(fakes: Fakes) -> None:
    assert greys(fakes.submit("one", 512)) == [i % 256 for i in range(512)]
    assert {rows for _, rows in fakes.log} == {PIECE_ROWS}
    assert greys(fakes.submit("one", LARGE + 1)) == list(range(LARGE + 1))
    assert [rows for _, rows in fakes.log[-2:]] == [PIECE_ROWS, 1]


def test_a_small_request_overtakes_a_large_one_between_its_pieces(fakes: Fakes) -> None:
    first = fakes.hold()
    large = fakes.submit("one", LARGE)
    fakes.let(1)
    fakes.wait_until_drawing()  # the large one's first piece
    small = fakes.submit("one", 2, start=7)
    order: list[str] = []
    large.add_done_callback(lambda _: order.append("large"))
    small.add_done_callback(lambda _: order.append("small"))
    fakes.let()
    assert greys(first) == [0]
    assert greys(small) == [7, 8]
    assert greys(large) == list(range(LARGE))
    rest = [PIECE_ROWS] * (PIECES - 1)
    assert [rows for _, rows in fakes.log] == [1, PIECE_ROWS, 2, *rest]
    assert order == ["small", "large"]


def test_small_requests_never_starve_a_large_one(fakes: Fakes) -> None:
    fakes.hold()
    large = fakes.submit("one", LARGE)
    small = [fakes.submit(name, 1) for name in ("one", "two")]
    fakes.let()
    assert greys(large) == list(range(LARGE))
    assert [greys(future) for future in small] == [[0], [0]]
    piece = ("one", PIECE_ROWS)
    begin = [("one", 1), piece, ("one", 1), piece, ("two", 1)]
    assert fakes.log == begin + [piece] * (PIECES - 2)


@pytest.mark.parametrize("d", [0, 1, 3, 128])
def test_latents_of_another_length_are_refused(fakes: Fakes, d: int) -> None:
    with pytest.raises(DecodeError, match=f"wants 2 latents in a row, not {d}"):
        fakes.service.submit("one", np.zeros((1, d), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_finite_are_refused(fakes: Fakes, value: float) -> None:
    with pytest.raises(DecodeError, match="finite"):
        fakes.service.submit("one", floats([[0, 0], [0, value]]))


def test_a_class_for_an_unconditional_model_is_refused(fakes: Fakes) -> None:
    with pytest.raises(DecodeError, match="wants 0 weights, not 10"):
        fakes.service.submit("one", numbered(1), one_hot(3))


@pytest.mark.parametrize(
    "weights",
    [
        None,
        floats([[1]]),
        np.zeros((1, 10), np.float32),
        np.full((1, 10), 0.2, np.float32),
        np.full((1, 10), np.nan, np.float32),
        floats([[2, -1, 0, 0, 0, 0, 0, 0, 0, 0]]),
        one_hot(3, rows=2),
    ],
    ids=["none", "one", "zero", "two", "nan", "negative", "rows"],
)
def test_unknown_classes_are_refused(opened: DecodeService, weights: np.ndarray | None) -> None:
    with pytest.raises(DecodeError, match="unknown class"):
        opened.submit("tiny-cgan", np.zeros((1, 6), np.float32), weights)


def test_an_unknown_model_is_refused(opened: DecodeService) -> None:
    for name in ("nobody", "", "../zoo/tiny-vae-z2", "/etc"):
        with pytest.raises(DecodeError, match=r"unknown model.*no such model"):
            opened.submit(name, numbered(1))
        assert not opened.is_open(name)


def test_a_damaged_model_is_refused_with_the_check_that_failed() -> None:
    def damaged(name: str) -> Checkpoint:
        raise CheckpointError(name, "weights.safetensors is truncated")

    service = DecodeService(damaged)
    with pytest.raises(DecodeError, match="is truncated"):
        service.submit("one", numbered(1))
    service.close()


def test_a_classifier_is_refused() -> None:
    spec = ClassifierSpec(channels=(4,))
    judge = Checkpoint(Path("judge"), make_card("judge", spec), build(spec))
    service = DecodeService(lambda _: judge)
    with pytest.raises(DecodeError, match="classifier"):
        service.submit("judge", np.zeros((1, 0), np.float32))
    service.close()


def test_a_model_is_opened_once_however_many_ask_for_it() -> None:
    log: list[str] = []

    def open_model(name: str) -> Checkpoint:
        log.append(name)
        return FakeCheckpoint(name, [])

    service = DecodeService(open_model)
    with ThreadPoolExecutor(8) as threads:
        futures = list(threads.map(lambda i: service.submit("one", numbered(1, i)), range(8)))
    assert [greys(future) for future in futures] == [[i] for i in range(8)]
    assert log == ["one"]
    service.close()


@pytest.mark.parametrize(
    "failure", [RuntimeError("boom"), ValueError("boom"), KeyError("boom"), MemoryError("boom")]
)
def test_a_failure_reaches_its_batch_and_nobody_else(fakes: Fakes, failure: Exception) -> None:
    fakes.hold()
    fakes.models["two"].failure = failure
    bad = [fakes.submit("two", 1), fakes.submit("two", 20)]
    good = [fakes.submit("one", 1, start=3), fakes.submit("one", 20)]
    fakes.let()
    for future in bad:
        with pytest.raises(type(failure), match="boom"):
            future.result(timeout=SECONDS)
    assert greys(good[0]) == [3]
    assert greys(good[1]) == list(range(20))
    fakes.models["two"].failure = None
    assert greys(fakes.submit("two", 2)) == [0, 1]


def test_a_cancelled_request_is_never_drawn(fakes: Fakes) -> None:
    fakes.hold()
    kept, small, large = fakes.submit("one", 2), fakes.submit("two", 3), fakes.submit("two", 40)
    assert small.cancel()
    assert large.cancel()
    fakes.let()
    assert greys(kept) == [0, 1]
    assert greys(fakes.submit("one", 4)) == [0, 1, 2, 3]
    assert fakes.log == [("one", 1), ("one", 2), ("one", 4)]


def test_a_large_request_cancelled_on_its_way_is_given_up(fakes: Fakes) -> None:
    fakes.hold()
    large = fakes.submit("two", 512)
    fakes.let(1)
    fakes.wait_until_drawing("two")
    assert large.cancel()
    fakes.let()
    assert greys(fakes.submit("one", 1)) == [0]
    assert fakes.log == [("one", 1), ("two", PIECE_ROWS), ("one", 1)]


def test_closing_cancels_what_waits_and_refuses_what_comes() -> None:
    fakes = Fakes()
    fakes.hold()
    waiting = [fakes.submit("one", 1), fakes.submit("two", 40)]
    closing = threading.Thread(target=fakes.service.close)
    closing.start()
    for future in waiting:
        with pytest.raises(CancelledError):
            future.result(timeout=SECONDS)
    fakes.let()
    closing.join(SECONDS)
    assert not closing.is_alive()
    with pytest.raises(DecodeError, match="shutting down"):
        fakes.submit("one", 1)
    assert fakes.log == [("one", 1)]


@pytest.mark.parametrize(
    ("name", "d", "k"), [("tiny-vae-z2", 2, 0), ("tiny-vae-z5", 5, 0), ("tiny-cgan", 6, 10)]
)
def test_real_models_are_drawn_as_they_decode(
    opened: DecodeService, zoo: Path, name: str, d: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_cpu_has_bf16", lambda: False)
    from training.checkpoint import load

    rng = np.random.default_rng(0)
    z = rng.normal(size=(20, d)).astype(np.float32)
    weights = np.eye(k, dtype=np.float32)[rng.integers(0, k, 20)] if k else None
    pixels = opened.submit(name, z, weights).result(SECONDS)
    images = load(zoo / name).decode(
        torch.from_numpy(z), None if weights is None else torch.from_numpy(weights)
    )
    assert pixels.shape == (20, 28, 28, 1)
    assert len(np.unique(pixels)) > 50  # pictures, not one grey
    wanted = images.numpy().transpose(0, 2, 3, 1) * 255
    assert np.abs(pixels - wanted).max() <= 0.5 + 1e-3


def test_the_callers_array_may_change_after_submitting(fakes: Fakes) -> None:
    fakes.hold()
    z = numbered(3, start=50)
    future = fakes.service.submit("one", z)
    z[:] = 0
    fakes.let()
    assert greys(future) == [50, 51, 52]


def live_and_exact(open_one: Callable[[], Checkpoint]) -> tuple[Checkpoint, Tensor]:
    """A model for live decoding, and how far its pixels are from float32's, in grey levels."""
    exact, fast = open_one(), live.for_live_decoding(open_one())
    classes, d = exact.card.num_classes, exact.card.latent_dim
    z = torch.randn(50, d, generator=torch.Generator().manual_seed(0))
    y = torch.arange(50) % classes if classes else None
    a, b = (255 * opened.decode(z, y) for opened in (exact, fast))
    assert a.std() > 20  # the pictures have contrast
    return fast, (a - b).abs()


def convolution_types(opened: Checkpoint) -> set[torch.dtype]:
    return {
        layer.weight.dtype
        for layer in opened.network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    }


def in_memory(name: str) -> Checkpoint:
    spec = RECIPES[name].network
    assert isinstance(spec, VAESpec | GANSpec)
    return Checkpoint(Path("m"), make_card("m", spec), make_network(spec))


def test_bfloat16_changes_no_picture_that_anybody_could_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "_cpu_has_bf16", lambda: True)
    fast, difference = live_and_exact(lambda: in_memory("mnist-cgan"))
    assert convolution_types(fast) == {torch.bfloat16}
    assert 0 < difference.mean() < 0.5
    assert (difference < 1.5).float().mean() > 0.97
    assert difference.max() < 24  # measured on trained models: 21, single pixels on edges


def test_a_small_model_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_cpu_has_bf16", lambda: True)
    fast, difference = live_and_exact(lambda: in_memory("mnist-conv-vae-z2"))
    assert convolution_types(fast) == {torch.float32}
    assert difference.max() == 0


def test_without_bfloat16_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_cpu_has_bf16", lambda: False)
    fast, difference = live_and_exact(lambda: in_memory("mnist-cgan"))
    assert convolution_types(fast) == {torch.float32}
    assert difference.max() == 0
