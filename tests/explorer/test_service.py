"""The decode service: who shares a batch, who goes first, and what one bad request may break."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from explorer import resources
from explorer.live import app_service
from explorer.live import service as live
from explorer.live.service import (
    BATCH_ROWS,
    PIECE_ROWS,
    SMALL_ROWS,
    DecodeError,
    DecodeService,
)
from explorer.uploads import as_mnist
from tests.explorer.conftest import (
    GAN,
    VAE_Z2,
    conv_vae,
    floats,
    make_card,
    make_checkpoint,
    make_network,
    make_replay,
)
from tests.explorer.fakes import SECONDS, FakeCheckpoint, Fakes, greys, numbered
from tests.foreign import SHAPE, D, keras, write
from training.checkpoint import Checkpoint, CheckpointError, inference_weights, load, save
from training.networks import build
from training.onnx_files import open_any
from training.recipes import RECIPES
from training.specs import ClassifierSpec, GANSpec, ImageShape, VAESpec

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


@pytest.fixture
def replayed(replays: Path) -> Iterator[DecodeService]:
    """A service over tiny models that have a timeline."""
    from explorer import catalog

    made = DecodeService(functools.partial(catalog.open_key, replays))
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
    with pytest.raises(DecodeError, match=rf"wants z of shape \(n, 2\), not \(1, {d}\)"):
        fakes.service.submit("one", np.zeros((1, d), np.float32))


@pytest.mark.parametrize(("shape", "most"), [((3, 512, 512), 21), ((1, 1024, 512), 32)])
def test_an_answer_of_too_many_pixels_is_refused(shape: ImageShape, most: int) -> None:
    card = make_card("wide", conv_vae(2, (1,), 1, shape))
    service = DecodeService(lambda name: Checkpoint(Path(name), card, build(card.recipe.network)))
    try:
        assert len(service.submit("wide", numbered(most)).result(timeout=SECONDS)) == most
        with pytest.raises(DecodeError, match=f"ask for {most} images at once, not {most + 1}"):
            service.submit("wide", numbered(most + 1))
    finally:
        service.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_finite_are_refused(fakes: Fakes, value: float) -> None:
    with pytest.raises(DecodeError, match="NaN or infinity"):
        fakes.service.submit("one", floats([[0, 0], [0, value]]))


def test_a_class_for_an_unconditional_model_is_refused(fakes: Fakes) -> None:
    with pytest.raises(DecodeError, match="one is unconditional: it takes no class"):
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
    with pytest.raises(DecodeError, match="class"):
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


@pytest.fixture
def counted() -> Iterator[Callable[..., tuple[DecodeService, list[str]]]]:
    """``counted(stamp)``: a service, and the names of the models that it has opened so far."""
    services: list[DecodeService] = []

    def make(**options: Callable[[str], int]) -> tuple[DecodeService, list[str]]:
        asked: list[str] = []

        def open_model(name: str) -> Checkpoint:
            asked.append(name)
            return FakeCheckpoint(name, [])

        services.append(DecodeService(open_model, **options))
        return services[-1], asked

    yield make
    for one in services:
        one.close()


def test_the_models_used_longest_ago_make_room(counted, monkeypatch: pytest.MonkeyPatch) -> None:
    service, asked = counted()
    size = live._size(service.model("a"))
    assert size == 4 * sum(p.numel() for p in service.model("a").network.parameters())
    monkeypatch.setattr(live, "MOST_BYTES", 2 * size)
    for name in ("b", "a", "c", "a", "c"):  # b has to go
        service.model(name)
    assert asked == ["a", "b", "c"]
    assert [service.is_open(name) for name in "abc"] == [True, False, True]
    service.model("b")
    assert asked == ["a", "b", "c", "b"]
    assert not service.is_open("a")


def test_a_model_larger_than_all_room_is_kept_while_it_is_used(
    counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 1)
    service, asked = counted()
    service.model("a")
    service.model("a")
    assert asked == ["a"]


def test_a_model_that_leaves_finishes_what_it_was_asked(
    counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 1)
    service, _ = counted()
    model = service.model("a")
    model.steps = threading.Semaphore(0)
    future = service.submit("a", numbered(1, 7))
    service.model("b")
    assert not service.is_open("a")
    model.steps.release()
    assert greys(future) == [7]


def test_a_model_that_has_changed_is_opened_again(counted) -> None:
    stamps = {"a": 1, "b": 1}
    service, asked = counted(stamp=stamps.__getitem__)
    before = service.model("a")
    service.model("b")
    assert service.model("a") is before
    stamps["a"] = 2
    assert not service.is_open("a")
    assert service.model("a") is not before
    assert asked == ["a", "b", "a"]
    assert service.is_open("b")


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


def test_a_latent_that_cannot_be_drawn_fails_nobody_it_shares_a_batch_with(tmp_path: Path) -> None:
    infinite = [  # less itself: NaN, where the latent was so far away
        helper.make_node("Sub", ["m", "m"], ["none"]),
        helper.make_node("Reshape", ["none", "shape"], ["nothing"]),
        helper.make_node("Add", ["h", "nothing"], ["image"]),
    ]
    write(tmp_path / "mine", keras(infinite))
    service = DecodeService(lambda name: open_any(tmp_path / name))
    service.model("mine")
    try:
        busy = service.submit("mine", np.zeros((500, D), np.float32))
        one, far, other = (
            service.submit("mine", np.full((1, D), value, np.float32)) for value in (0, 3e38, 0)
        )
        with pytest.raises(ValueError, match="NaN or infinity"):
            far.result(timeout=SECONDS)
        grey = np.full((1, *SHAPE[1:], SHAPE[0]), 128)  # of the middle of [-1, 1]
        for future in (one, other):
            np.testing.assert_array_equal(future.result(timeout=SECONDS), grey)
        assert len(busy.result(timeout=SECONDS)) == 500
    finally:
        service.close()


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
    monkeypatch.setattr(live, "has_bf16", lambda device: False)
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


def ink_of(side: int = 112) -> np.ndarray:
    """A thick stroke, off centre."""
    ink = np.zeros((side, side), np.uint8)
    ink[side // 8 : side // 2, side // 4 : side // 4 + side // 10] = 255
    return ink


@pytest.mark.parametrize("name", ["tiny-vae-z2", "tiny-vae-z5"])
@pytest.mark.parametrize("side", [16, 112, 256])
def test_a_drawing_is_encoded_as_an_upload_is(
    opened: DecodeService, zoo: Path, name: str, side: int
) -> None:
    code = opened.encode(name, ink_of(side))
    np.testing.assert_array_equal(code.seen[..., 0], as_mnist(ink_of(side)))
    exact = load(zoo / name)
    mu, log_var = exact.encode(torch.from_numpy(code.seen).permute(2, 0, 1)[None].float() / 255)
    np.testing.assert_allclose(code.mu, mu[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code.sigma, torch.exp(log_var[0] / 2), rtol=1e-5)
    assert code.mu.shape == code.sigma.shape == (exact.card.latent_dim,)


def test_where_a_drawing_lies_on_the_canvas_is_all_the_same(opened: DecodeService) -> None:
    moved = np.roll(ink_of(), (30, 20), (0, 1))
    one, other = (opened.encode("tiny-vae-z2", ink) for ink in (ink_of(), moved))
    np.testing.assert_array_equal(one.seen, other.seen)
    np.testing.assert_array_equal(one.mu, other.mu)


def test_drawings_are_encoded_while_others_decode(opened: DecodeService) -> None:
    wanted = opened.encode("tiny-vae-z2", ink_of()).mu
    with ThreadPoolExecutor(8) as threads:
        drawn = [opened.submit("tiny-vae-z2", numbered(20)) for _ in range(8)]
        codes = list(threads.map(lambda _: opened.encode("tiny-vae-z2", ink_of()), range(16)))
    for code in codes:
        np.testing.assert_array_equal(code.mu, wanted)
    assert all(len(future.result(SECONDS)) == 20 for future in drawn)


@pytest.mark.parametrize("trace", [0, 1])
def test_a_drawing_without_ink_is_refused(opened: DecodeService, trace: int) -> None:
    ink = np.zeros((32, 32), np.uint8)
    ink[5, 5] = trace
    with pytest.raises(DecodeError, match=r"blank|too thin"):
        opened.encode("tiny-vae-z2", ink)


def test_a_model_that_takes_no_drawing_is_refused(opened: DecodeService, tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="tiny-cgan has no encoder"):
        opened.encode("tiny-cgan", ink_of())
    with pytest.raises(DecodeError, match="no such model"):
        opened.encode("nobody", ink_of())
    make_checkpoint(tmp_path / "colour", conv_vae(2, (4,), 4, (3, 16, 16)))
    service = DecodeService(lambda name: load(tmp_path / name))
    with pytest.raises(DecodeError, match="other pictures than grey squares"):
        service.encode("colour", ink_of())
    service.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_code_that_is_not_finite_is_refused(
    opened: DecodeService, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    broken = torch.full((1, 2), value)
    for mu, log_var in ((broken, torch.zeros(1, 2)), (torch.zeros(1, 2), broken)):
        monkeypatch.setattr(Checkpoint, "encode", lambda *_, pair=(mu, log_var): pair)
        with pytest.raises(DecodeError, match="no finite numbers"):
            opened.encode("tiny-vae-z2", ink_of())


def test_a_large_vae_encodes_exactly(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = load(zoo / "tiny-vae-z2")
    monkeypatch.setattr(live, "has_bf16", lambda device: True)
    monkeypatch.setattr(live, "BF16_PARAMETERS", 1)
    service = DecodeService(lambda name: load(zoo / name))
    code = service.encode("tiny-vae-z2", ink_of())
    opened = service.model("tiny-vae-z2")
    assert isinstance(opened, Checkpoint)
    assert convolution_types(opened) == {torch.float32, torch.bfloat16}
    mu, _ = exact.encode(torch.from_numpy(code.seen).permute(2, 0, 1)[None].float() / 255)
    np.testing.assert_allclose(code.mu, mu[0], rtol=1e-5, atol=1e-6)
    service.close()


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
    monkeypatch.setattr(live, "has_bf16", lambda device: True)
    fast, difference = live_and_exact(lambda: in_memory("mnist-cgan"))
    assert convolution_types(fast) == {torch.bfloat16}
    assert 0 < difference.mean() < 0.5
    assert (difference < 1.5).float().mean() > 0.97
    assert difference.max() < 24  # measured on trained models: 21, single pixels on edges


def test_a_small_model_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "has_bf16", lambda device: True)
    fast, difference = live_and_exact(lambda: in_memory("mnist-conv-vae-z2"))
    assert convolution_types(fast) == {torch.float32}
    assert difference.max() == 0


def test_without_bfloat16_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "has_bf16", lambda device: False)
    fast, difference = live_and_exact(lambda: in_memory("mnist-cgan"))
    assert convolution_types(fast) == {torch.float32}
    assert difference.max() == 0


@pytest.mark.parametrize("name", ["old-vae-z2", "old-vae-z5", "old-cgan", "old-gan"])
def test_any_epoch_of_a_timeline_is_drawn(
    replayed: DecodeService, replays: Path, name: str
) -> None:
    opened = load(replays / name)
    k = opened.card.num_classes
    z = np.random.default_rng(0).standard_normal((3, opened.card.latent_dim)).astype(np.float32)
    weights = np.eye(k, dtype=np.float32)[[7, 0, 9]] if k else None
    y = None if weights is None else torch.from_numpy(weights)
    drawn = []
    for epoch in (None, *opened.timeline()):
        key = name if epoch is None else f"{name}@{epoch}"
        images = load(replays / name, epoch=epoch).decode(torch.from_numpy(z), y)
        drawn.append(replayed.submit(key, z, weights).result(timeout=SECONDS))
        wanted = images.numpy().transpose(0, 2, 3, 1) * 255
        assert np.abs(drawn[-1] - wanted).max() <= 0.51
    assert len({pixels.tobytes() for pixels in drawn[:-1]}) == len(drawn) - 1


@pytest.mark.parametrize("key", ["old-gan@", "old-gan@-1", "old-gan@3", "tiny-cgan@1", "a@b@1"])
def test_an_epoch_that_is_not_there_is_refused_in_words(replayed: DecodeService, key: str) -> None:
    with pytest.raises(DecodeError, match=r"unknown model: .*(no such model|keeps no weights)"):
        replayed.submit(key, np.zeros((1, 6), np.float32))
    assert not replayed.is_open(key)


@pytest.fixture
def of_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecodeService]:
    """The app's service, on an empty folder of checkpoints."""
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(tmp_path))
    app_service.cache_clear()
    yield app_service()
    app_service().close()
    app_service.cache_clear()


def test_an_epoch_is_opened_anew_when_its_model_has_changed(
    of_the_app: DecodeService, tmp_path: Path
) -> None:
    z = np.ones((1, 6), np.float32)
    make_replay(tmp_path / "gan", GAN)
    first = of_the_app.submit("gan@1", z).result(timeout=SECONDS)
    assert of_the_app.is_open("gan@1")
    make_replay(tmp_path / "gan", replace(GAN, latent_dim=7))
    assert not of_the_app.is_open("gan@1")
    z = np.ones((1, 7), np.float32)
    assert not np.array_equal(of_the_app.submit("gan@1", z).result(timeout=SECONDS), first)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nobody", "no such model"),
        ("nobody@1", "no such model"),
        ("", "no such model"),
        ("..", "no such model"),
        ("../checkpoints", "no such model"),
        ("gan\0", "no such model"),
        ("n" * 255, "no such model"),
        ("judge", "no such model"),
        ("gan@3", "keeps no weights of epoch 3"),
        ("cut", r"weights\.safetensors is truncated"),
        ("cut@1", r"weights\.safetensors is truncated"),
    ],
)
def test_what_the_app_cannot_open_is_refused_with_the_reason(
    of_the_app: DecodeService, tmp_path: Path, key: str, words: str
) -> None:
    for name in ("gan", "cut"):
        make_replay(tmp_path / name, GAN)
    (tmp_path / "cut" / "weights.safetensors").write_bytes(b"")
    spec = ClassifierSpec(channels=(4,))
    history = {"train": {"total": [1.0]}, "test": {"total": [1.0]}}
    weights = inference_weights(build(spec))
    save(tmp_path / "judge", make_card("judge", spec), weights, history, {}, b"")
    with pytest.raises(DecodeError, match=f"unknown model: .*{words}"):
        of_the_app.submit(key, np.zeros((1, 6), np.float32))


def test_weights_that_go_bad_and_are_mended_are_looked_at_again(
    of_the_app: DecodeService, tmp_path: Path
) -> None:
    make_checkpoint(tmp_path / "vae", VAE_Z2)
    weights = tmp_path / "vae" / "weights.safetensors"
    whole = weights.read_bytes()
    first = of_the_app.submit("vae", numbered(1)).result(timeout=SECONDS)
    assert list(resources.models().cards) == ["vae"]
    weights.write_bytes(whole[:-1])
    with pytest.raises(DecodeError, match=r"unknown model: vae: weights.* is truncated"):
        of_the_app.submit("vae", numbered(1))
    assert "truncated" in resources.models().problems["vae"]
    weights.write_bytes(whole)
    again = of_the_app.submit("vae", numbered(1)).result(timeout=SECONDS)
    np.testing.assert_array_equal(again, first)
    assert list(resources.models().cards) == ["vae"]
