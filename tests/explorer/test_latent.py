"""Geometry of the latent space against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from explorer import latent
from tests.explorer.conftest import floats

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(400, 3)).astype(np.float32)


def pair(d: int, seed: int = 1) -> tuple[latent.Array, latent.Array]:
    a, b = np.random.default_rng(seed).normal(size=(2, d)).astype(np.float32)
    return a, 2.5 * b


def between(a: latent.Array, b: latent.Array) -> float:
    """Angle between two vectors, by the half-angle formula (Kahan)."""
    u, v = (np.asarray(x, np.float64) / np.linalg.norm(np.asarray(x, np.float64)) for x in (a, b))
    return 2 * float(np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)))


@pytest.mark.parametrize("kind", latent.PATHS)
@pytest.mark.parametrize("frames", range(3, 22))
def test_a_path_has_its_frames_and_meets_both_ends_exactly(kind: str, frames: int) -> None:
    for d in (1, 2, 5, 128):
        a, b = pair(d, seed=frames)
        codes = latent.path(kind, a, b, frames)
        assert codes.shape == (frames, d)
        assert codes.dtype == np.float32
        np.testing.assert_array_equal(codes[0], a)
        np.testing.assert_array_equal(codes[-1], b)


def test_lerp_is_the_straight_line() -> None:
    a, b = floats([1, 2]), floats([3, -2])
    wanted = [[1, 2], [1.5, 1], [2, 0], [3, -2]]
    np.testing.assert_allclose(latent.lerp(a, b, floats([0, 0.25, 0.5, 1])), wanted)


@pytest.mark.parametrize("d", [2, 3, 64])
def test_slerp_turns_evenly_and_changes_length_evenly(d: int) -> None:
    a, b = pair(d)
    t = np.linspace(0, 1, 9, dtype=np.float32)
    codes = latent.slerp(a, b, t)
    lengths = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), lengths, rtol=1e-5)
    whole = between(a, b)
    np.testing.assert_allclose([between(a, z) for z in codes], t * whole, atol=1e-5)
    np.testing.assert_allclose([between(z, b) for z in codes], (1 - t) * whole, atol=1e-5)


def test_slerp_of_a_quarter_turn() -> None:
    half = np.float32(np.sqrt(0.5))
    codes = latent.slerp(floats([1, 0]), floats([0, 1]), floats([0.5]))
    np.testing.assert_allclose(codes, [[half, half]], rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0, 0], [0, 0]),
        ([0, 0], [1, 2]),
        ([1, 2], [0, 0]),
        ([1, 2], [1, 2]),
        ([1, 2], [2, 4]),
        ([1, 2], [-1, -2]),
        ([1, 2], [-3, -6]),
    ],
)
def test_slerp_goes_straight_where_it_has_no_direction(a: list[int], b: list[int]) -> None:
    first, last = floats(a), floats(b)
    codes = latent.path("spherical", first, last, 5)
    np.testing.assert_array_equal(codes, latent.path("linear", first, last, 5))
    assert np.isfinite(codes).all()


def test_slerp_of_almost_parallel_vectors_stays_between_them() -> None:
    a = floats([1, 0])
    for angle in (1e-6, 1e-5, 9e-5, 1.1e-4, 1e-3):
        b = floats([np.cos(angle), np.sin(angle)])
        codes = latent.slerp(a, b, floats([0, 0.5, 1]))
        np.testing.assert_allclose(codes[1], (a + b) / 2, atol=1e-6)


@pytest.mark.parametrize("frames", [3, 9, 21])
def test_class_weights_go_from_one_class_to_the_other(frames: int) -> None:
    mix = latent.class_mix(3, 8, frames, 10)
    assert mix.shape == (frames, 10)
    np.testing.assert_allclose(mix.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(mix[0], np.eye(10)[3])
    np.testing.assert_array_equal(mix[-1], np.eye(10)[8])
    np.testing.assert_allclose(mix[frames // 2, [3, 8]], 0.5, atol=1e-6)


def test_class_weights_between_a_class_and_itself_stay() -> None:
    np.testing.assert_array_equal(latent.class_mix(4, 4, 5, 10), np.eye(10)[[4] * 5])


def test_neighbours_are_the_nearest_codes_nearest_first() -> None:
    index = latent.index_codes(CODES)
    for z in RNG.normal(size=(20, 3)).astype(np.float32):
        wanted = np.argsort(np.linalg.norm(CODES - z, axis=1))[:8]
        np.testing.assert_array_equal(index.neighbours(z, 8), wanted)


def test_density_counts_the_codes_within_the_radius() -> None:
    index = latent.index_codes(CODES)
    z = np.concatenate([RNG.normal(size=(20, 3)), [[50, 50, 50]]]).astype(np.float32)
    distances = np.linalg.norm(z[:, None] - CODES[None], axis=2)
    np.testing.assert_array_equal(index.density(z), (distances <= index.radius).sum(1))
    assert index.density(z)[-1] == 0


def test_half_of_the_codes_have_their_twentieth_neighbour_within_the_radius() -> None:
    distances = np.linalg.norm(CODES[:, None].astype(np.float64) - CODES[None], axis=2)
    twentieth = np.sort(distances, axis=1)[:, 20]
    assert latent.index_codes(CODES).radius == pytest.approx(np.median(twentieth), rel=1e-5)


def test_of_few_codes_all_are_neighbours() -> None:
    index = latent.index_codes(CODES[:4])
    assert sorted(index.neighbours(CODES[0], 9)) == [0, 1, 2, 3]
    assert np.isfinite(index.radius)
    assert latent.index_codes(CODES[:1]).density(CODES[:1]).tolist() == [1]


def test_a_seed_stands_for_one_latent() -> None:
    np.testing.assert_array_equal(latent.sample_z(7, 128), latent.sample_z(7, 128))
    assert not np.array_equal(latent.sample_z(7, 128), latent.sample_z(8, 128))
    assert latent.sample_z(7, 5).shape == (5,)
    assert latent.sample_z(7, 5).dtype == np.float32


def test_a_seed_stands_for_the_same_latent_on_every_machine() -> None:
    np.testing.assert_allclose(
        latent.sample_z(2026, 3), [-0.7931225, 0.2405713, -1.8963263], rtol=1e-6
    )


def test_latents_of_seeds_are_standard_normal() -> None:
    z = latent.sample_z(0, 100_000)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02
