"""Directions: closed forms, order, what is dead, files, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from explorer import directions
from explorer.directions import Carried, Direction, DirectionError, Kept
from tests.explorer.conftest import DIGITS, floats
from training.atlas import pca

CODES = floats([[0, 0], [2, 0], [0, 4], [2, 8], [9, 9]])
LABELS = np.array([0, 0, 1, 1, 2])


def test_a_direction_leads_from_one_mean_to_the_other() -> None:
    np.testing.assert_array_equal(directions.between_classes(CODES, LABELS, 0, 1), [0, 6])
    np.testing.assert_array_equal(directions.between_classes(CODES, LABELS, 1, 0), [0, -6])
    first, second = np.array([0]), np.array([3, 4])
    vector = directions.between_groups(CODES, first, second)
    np.testing.assert_array_equal(vector, [5.5, 8.5])
    assert vector.dtype == np.float32


@pytest.mark.parametrize(
    ("a", "b", "words"), [(1, 1, "two different"), (0, 7, "empty"), (7, 0, "empty")]
)
def test_classes_without_a_direction_are_refused(a: int, b: int, words: str) -> None:
    with pytest.raises(DirectionError, match=words):
        directions.between_classes(CODES, LABELS, a, b)


def test_groups_with_the_same_mean_are_refused() -> None:
    with pytest.raises(DirectionError, match="same mean"):
        directions.between_groups(CODES, np.array([0, 1]), np.array([1, 0]))


def test_the_greatest_comes_first_and_equal_ones_keep_their_order() -> None:
    assert directions.ranked(floats([1, 3, 2, 3, 0, 1])).tolist() == [1, 3, 2, 0, 5, 4]
    assert directions.ranked(floats([0] * 4)).tolist() == [0, 1, 2, 3]


def test_what_does_nothing_is_dead() -> None:
    nats = Carried(floats([2, 0.011, 0.009, 0]), "nats")
    assert nats.dead.tolist() == [False, False, True, True]
    pixels = Carried(floats([0.1, 1.1 / 255, 0.9 / 255]), "pixels")
    assert pixels.dead.tolist() == [False, False, True]


def test_principal_directions_are_those_of_the_codes() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((5000, 3)) * [3, 1, 0.05] + [1, 2, 3]
    found = pca(torch.from_numpy(codes).float())
    atlas = {name: tensor.numpy() for name, tensor in found.items()} | {"mu": floats(codes)}
    first, second, third = directions.principal(atlas)
    np.testing.assert_allclose(first.direction.vector, [1, 0, 0], atol=0.02)
    assert (first.deviation, second.deviation) == pytest.approx((3, 1), rel=0.05)
    assert first.share == pytest.approx(0.9, abs=0.02)
    assert first.share + second.share + third.share == pytest.approx(1, abs=1e-4)
    assert first.centre == pytest.approx(float(first.direction.vector @ codes.mean(0)), abs=1e-3)
    assert [one.dead for one in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "name"),
    [("3 to 8", "3 to 8"), ("<b>a</b>", "bab"), ("~!*", ""), ("x" * 99, "x" * 24), (" a ", "a")],
)
def test_a_name_holds_what_a_link_may_bring(text: str, name: str) -> None:
    assert directions.clean_name(text) == name


def test_what_is_kept_becomes_a_vector_of_this_model() -> None:
    kept = Kept("up", "classes", classes=(0, 1))
    found = directions.resolved(kept, 2, CODES, LABELS, DIGITS)
    assert (found.name, found.source) == ("up", "from the mean of 0 to that of 1")
    np.testing.assert_array_equal(found.vector, [0, 6])
    kept = Kept("mine", "groups", vector=(1.5, 2))
    found = directions.resolved(kept, 2, CODES, LABELS, DIGITS)
    np.testing.assert_array_equal(found.vector, [1.5, 2])


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (Kept("a", "classes", classes=(0, 10)), "not here"),
        (Kept("a", "classes", classes=(3, 4)), "empty"),
        (Kept("a", "file", vector=(1.0, 2.0, 3.0)), "3 numbers; this model has 2"),
    ],
)
def test_what_is_another_models_is_refused(kept: Kept, words: str) -> None:
    with pytest.raises(DirectionError, match=words):
        directions.resolved(kept, 2, CODES, LABELS, DIGITS)


def test_eight_directions_with_names_of_their_own_can_be_kept() -> None:
    eight = [Kept(str(i), "classes", classes=(0, 1)) for i in range(8)]
    assert directions.added(eight[:7], eight[7:]) == eight
    with pytest.raises(DirectionError, match="8 directions"):
        directions.added(eight, [Kept("nine", "classes", classes=(0, 1))])
    with pytest.raises(DirectionError, match="“1” already"):
        directions.added(eight[:2], [Kept("1", "groups", vector=(1.0,))])
    with pytest.raises(DirectionError, match="needs a name"):
        directions.added([], [Kept("", "groups", vector=(1.0,))])


def test_a_file_goes_out_and_comes_back() -> None:
    made = [Direction("3 to 8", floats([0.1, -2 / 3]), ""), Direction("thick", floats([1, 0]), "")]
    text = directions.write_file("mnist-vae", "ab" * 32, made)
    found = directions.read_file(text.encode(), 2)
    assert (found.model, found.weights_sha256) == ("mnist-vae", "ab" * 32)
    for kept, one in zip(found.kept(), made, strict=True):
        assert (kept.name, kept.source) == (one.name, "file")
        np.testing.assert_array_equal(floats(kept.vector), one.vector)


def content(**changes: object) -> bytes:
    one = {"name": "a", "vector": [1.0, 2.0]} | changes.pop("one", {})  # type: ignore[operator]
    whole = {"model": "m", "weights_sha256": "0" * 64, "directions": [one]}
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "first level"),
        (content(more=1), "first level"),
        (content(directions=[]), "directions"),
        (content(directions=[{"name": "a", "vector": [1, 2]}] * 9), "directions"),
        (content(one={"vector": [1.0]}), "has 1 numbers; this model has 2"),
        (content(one={"vector": [1.0, "<b>"]}), "directions 1 vector 2"),
        (content(one={"vector": [1.0, float("nan")]}), "directions 1 vector 2"),
        (content(one={"vector": [1.0, 1e9]}), "directions 1 vector 2"),
        (content(one={"vector": [[1.0], 2.0]}), "directions 1 vector 1"),
        (content(one={"name": 5}), "directions 1 name"),
        (content(one={"<script>": 5}), "directions 1"),
        (b" " * (2 << 20), "2.0 MB; up to 1 MB"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(blob: bytes, words: str) -> None:
    with pytest.raises(DirectionError, match=words) as caught:
        directions.read_file(blob, 2)
    assert "<" not in str(caught.value)
