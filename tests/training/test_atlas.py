import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from training import atlas
from training.checkpoint import load
from training.data import ImageData
from training.judge import read


def test_the_atlas_holds_the_codes_of_the_test_set_in_order(tiny_checkpoints, halves):
    opened = load(tiny_checkpoints / "mnist-conv-vae-z2")
    tensors = opened.atlas()
    mu, _ = opened.encode(halves[1].images.float() / 255)
    torch.testing.assert_close(tensors["mu"].float(), mu, atol=2e-3, rtol=2e-3)
    assert tensors["labels"].tolist() == halves[1].labels.tolist()
    assert "umap" not in tensors  # two dimensions need no map


def test_an_atlas_says_what_each_dimension_carries(tiny_checkpoints, halves):
    opened = load(tiny_checkpoints / "mnist-conv-vae-z2")
    mu, log_var = opened.encode(halves[1].images.float() / 255)
    codes, prior = Normal(mu.double(), (log_var.double() / 2).exp()), Normal(0.0, 1.0)
    expected = kl_divergence(codes, prior).mean(0)
    torch.testing.assert_close(opened.atlas()["kl"].double(), expected, atol=1e-5, rtol=1e-4)


def test_large_images_are_encoded_a_few_at_a_time(tiny_checkpoints, monkeypatch):
    opened = load(tiny_checkpoints / "mnist-conv-vae-z2")
    seen = []

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(x)
        return torch.randn(len(x), 2), torch.zeros(len(x), 2)

    monkeypatch.setattr(opened, "encode", encode)
    images = torch.zeros(50, 3, 256, 256, dtype=torch.uint8)
    atlas.build(opened, ImageData(images, torch.zeros(50, dtype=torch.long), ("only",)))
    assert sum(map(len, seen)) == 50
    assert all(x.numel() <= 4_000_000 for x in seen)


@pytest.fixture
def drawn(tiny_checkpoints):
    """A tiny CGAN, its judge, and an atlas of 60 samples."""
    judge = load(tiny_checkpoints / "judges" / "mnist-judge")
    opened = load(tiny_checkpoints / "mnist-cgan")
    return opened, judge, atlas.build_samples(opened, judge, 60)


def test_a_generators_atlas_is_what_the_judge_sees(drawn):
    opened, judge, tensors = drawn
    x = opened.decode(atlas.sample_codes(60, 6), torch.arange(60) % 2)
    seen = read(judge, x)
    assert tensors["labels"].tolist() == seen.logits.argmax(1).tolist()
    found = PCA(2, svd_solver="full").fit(seen.features.double().numpy())
    expected = torch.from_numpy(found.transform(seen.features.double().numpy())).abs()
    torch.testing.assert_close(tensors["pca"].double().abs(), expected, atol=2e-2, rtol=2e-3)
    share = torch.from_numpy(found.explained_variance_ratio_)
    torch.testing.assert_close(tensors["pca_share"].double(), share, atol=1e-3, rtol=1e-3)
    assert tensors["umap"].shape == (60, 2)


def test_an_effect_is_how_far_the_pixels_move(drawn, monkeypatch):
    opened, *_ = drawn
    scale = torch.tensor([0.0, 0.1, 0.2, 0.05, 0.0, 0.3])
    monkeypatch.setattr(
        opened, "decode", lambda z, y: (z * scale).sum(1)[:, None, None, None].expand(-1, 1, 8, 8)
    )
    torch.testing.assert_close(atlas.effect(opened), 2 * scale, atol=1e-5, rtol=1e-4)


def test_a_generators_codes_are_the_same_everywhere():
    codes = atlas.sample_codes(3, 2)
    expected = [[1.1176, -1.3871], [-0.4266, -0.8036], [0.6014, -0.0750]]
    torch.testing.assert_close(codes, torch.tensor(expected), atol=1e-4, rtol=0)
    assert torch.equal(atlas.sample_codes(5, 2)[:3], codes)


@pytest.mark.parametrize(("n", "d"), [(200, 2), (200, 12), (5, 12)])
def test_pca_agrees_with_sklearn(n, d):
    torch.manual_seed(0)
    codes = torch.randn(n, d) * torch.arange(1, d + 1) + 3
    ours = atlas.pca(codes)
    k = min(n, d, 8)
    theirs = PCA(n_components=k, svd_solver="full").fit(codes.double().numpy())
    assert ours["pca_components"].shape == (k, d)
    torch.testing.assert_close(
        ours["pca_mean"].double(), torch.from_numpy(theirs.mean_), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        ours["pca_variance"].double(),
        torch.from_numpy(theirs.explained_variance_),
        atol=1e-4,
        rtol=1e-4,
    )
    determined = min(k, n - 1)  # n centred points span n - 1 directions
    torch.testing.assert_close(
        ours["pca_components"][:determined].double(),
        torch.from_numpy(theirs.components_)[:determined],
        atol=1e-4,
        rtol=0,
    )


def test_pca_rows_are_orthonormal_with_a_fixed_sign():
    torch.manual_seed(1)
    rows = atlas.pca(torch.randn(100, 5))["pca_components"]
    torch.testing.assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)
    assert (rows.gather(1, rows.abs().argmax(1, keepdim=True)) > 0).all()


def test_umap_keeps_two_clusters_apart():
    torch.manual_seed(0)
    codes = torch.randn(60, 5) * 0.1
    codes[30:] += 5
    plane = atlas.umap_plane(codes, seed=0)
    assert plane.shape == (60, 2)
    assert plane.dtype == torch.float16
    a, b = plane[:30].float(), plane[30:].float()
    spread = max((c - c.mean(0)).norm(dim=1).max() for c in (a, b))
    assert (a.mean(0) - b.mean(0)).norm() > spread
    assert torch.equal(plane, atlas.umap_plane(codes, seed=0))
    assert torch.get_num_threads() == 1  # as it was: numba and sklearn set their own


def test_too_few_points_have_no_umap(tiny_checkpoints, halves, monkeypatch):
    opened = load(tiny_checkpoints / "mnist-conv-vae-z2")
    few = ImageData(halves[1].images[:10], halves[1].labels[:10], halves[1].classes)
    monkeypatch.setattr(opened, "encode", lambda x: (torch.randn(len(x), 3),) * 2)
    assert "umap" not in atlas.build(opened, few)
