"""Planes to point into: what a place decodes, and where a code lies."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from explorer import latent, layout
from training.atlas import sample_codes
from training.checkpoint import load, shipped

RNG = np.random.default_rng(0)
CODES = (RNG.normal(size=(300, 6)) * np.arange(1, 7)).astype(np.float32)
LABELS = np.arange(300) % 3
PLACES = RNG.uniform(-5, 5, (40, 2)).astype(np.float32)


@pytest.fixture
def pca() -> layout.Layout:
    found = PCA(2).fit(CODES)
    mean, components = np.float32(found.mean_), np.float32(found.components_)
    return layout.pca_plane(CODES, LABELS, np.asarray(mean), np.asarray(components))


@pytest.fixture
def umap() -> layout.Layout:
    return layout.umap_plane(CODES, LABELS, RNG.normal(size=(300, 2)).astype(np.float32) * 4)


def test_a_latent_plane_is_the_latent_space_itself() -> None:
    codes = CODES[:, :2]
    plane = layout.latent_plane(codes, LABELS)
    np.testing.assert_array_equal(plane.points, codes)
    np.testing.assert_array_equal(plane.decoded(PLACES), PLACES)
    np.testing.assert_array_equal(plane.project(codes), codes)


def test_every_place_of_a_principal_plane_is_a_code_of_its_own(pca: layout.Layout) -> None:
    np.testing.assert_allclose(pca.project(pca.decoded(PLACES)), PLACES, atol=1e-5)
    found = PCA(2).fit(CODES)
    np.testing.assert_allclose(pca.points, found.transform(CODES), atol=1e-4)
    np.testing.assert_allclose(pca.decoded(PLACES), found.inverse_transform(PLACES), atol=1e-4)


def test_a_code_is_projected_on_the_nearest_place(pca: layout.Layout) -> None:
    def distance(places: np.ndarray) -> np.ndarray:
        return np.linalg.norm(pca.decoded(places) - CODES[:20], axis=1)

    least = distance(pca.project(CODES[:20]))
    for angle in np.linspace(0, 6, 7):
        aside = np.array([np.cos(angle), np.sin(angle)], np.float32) * 0.1
        assert (distance(pca.project(CODES[:20]) + aside) > least).all()


def test_the_axes_say_how_much_they_carry(pca: layout.Layout) -> None:
    first, second = PCA(2).fit(CODES).explained_variance_ratio_
    assert pca.axes == (
        f"Principal component 1: {first:.0%} of the variance",
        f"Principal component 2: {second:.0%} of the variance",
    )


def test_on_a_point_of_umap_is_its_very_code(umap: layout.Layout) -> None:
    np.testing.assert_allclose(umap.decoded(umap.points), CODES, atol=1e-4)
    np.testing.assert_array_equal(umap.project(CODES), umap.points)


def test_between_points_is_the_mean_of_the_eight_nearest(umap: layout.Layout) -> None:
    distance, near = NearestNeighbors(n_neighbors=8).fit(umap.points).kneighbors(PLACES)
    weight = distance**-2.0
    expected = (weight[..., None] * CODES[near]).sum(1) / weight.sum(1)[:, None]
    np.testing.assert_allclose(umap.decoded(PLACES), expected, atol=1e-4)
    assert (umap.decoded(PLACES) >= CODES[near].min(1) - 1e-4).all()


def test_a_code_between_points_of_umap_lies_amid_the_eight_nearest(umap: layout.Layout) -> None:
    new = ((CODES[:40] + CODES[40:80]) / 2).astype(np.float32)
    distance, near = NearestNeighbors(n_neighbors=8).fit(CODES).kneighbors(new)
    weight = distance**-2.0
    expected = (weight[..., None] * umap.points[near]).sum(1) / weight.sum(1)[:, None]
    np.testing.assert_allclose(umap.project(new), expected, atol=1e-4)


def test_of_fewer_points_all_count() -> None:
    points = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    few = layout.umap_plane(CODES[:3], LABELS[:3], points)
    np.testing.assert_allclose(few.decoded(points), CODES[:3], atol=1e-4)
    one = layout.umap_plane(CODES[:1], LABELS[:1], points[:1])
    np.testing.assert_allclose(one.decoded(PLACES), np.repeat(CODES[:1], 40, 0), rtol=1e-6)
    np.testing.assert_allclose(one.project(CODES), np.repeat(points[:1], 300, 0), rtol=1e-6)


def test_a_generators_map_decodes_the_nearest_sample_by_its_own_z() -> None:
    points = RNG.normal(size=(50, 2)).astype(np.float32)
    samples = layout.sample_plane(points, np.zeros(50, int), 4, 3, layout.feature_axes(PLACES[0]))
    np.testing.assert_array_equal(samples.codes, sample_codes(50, 4).numpy())
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(PLACES)[1][:, 0]
    np.testing.assert_allclose(samples.decoded(PLACES), samples.codes[nearest], atol=1e-6)
    np.testing.assert_array_equal(samples.project(samples.codes + 1e-3), points)
    assert samples.asked is not None
    assert samples.asked.tolist() == [i % 3 for i in range(50)]
    assert layout.sample_plane(points, LABELS[:50], 4, 0, layout.UMAP_AXES).asked is None


def test_an_ellipse_is_one_standard_deviation_of_what_is_cast_on_the_plane() -> None:
    axes = RNG.normal(size=(2, 6)).astype(np.float32)
    outline = latent.ellipse(axes, 16)
    covariance = axes.astype(np.float64) @ axes.T
    distance = np.einsum("ni,ij,nj->n", outline, np.linalg.inv(covariance), outline)
    np.testing.assert_allclose(distance, 1, rtol=1e-4)
    upright = latent.ellipse(np.diag([2.0, 0.5]).astype(np.float32), 400)
    np.testing.assert_allclose(np.abs(upright).max(0), [2, 0.5], rtol=1e-3)


def test_a_checkpoint_says_its_planes() -> None:
    vae = load(shipped() / "mnist-dense-vae-h512-z10")
    principal = layout.of_checkpoint(vae, "pca")
    assert principal.how == "plane"
    assert principal.points.shape == (10_000, 2)
    assert layout.of_checkpoint(vae, "umap").how == "mean"
    assert layout.of_checkpoint(load(shipped() / "mnist-conv-vae-z2"), "latent").how == "plane"
    cgan = layout.of_checkpoint(load(shipped() / "mnist-cgan"), "umap")
    assert cgan.how == "sample"
    for kind in ("latent", "tsne"):
        with pytest.raises(ValueError, match=f"has no plane '{kind}'"):
            layout.of_checkpoint(vae, kind)
