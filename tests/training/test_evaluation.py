import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from training import evaluation, metrics, networks
from training.checkpoint import Card, Checkpoint, load
from training.data import ImageData, points, stacked
from training.evaluation import RealImages, draw, evaluate, measure_real
from training.judge import find_judge, read
from training.networks import VAE
from training.objectives import bernoulli_nll, gaussian_kl
from training.publish import publish
from training.scores import SCORES
from training.specs import Dense, GANSpec, VAESpec

Splits = tuple[ImageData, ImageData]

JUDGED = {
    "inception_score", "inception_score_std", "frechet", "kernel", "kernel_std", "precision",
    "recall", "density", "coverage", "confidence", "class_entropy", "class_distance",
    "largest_class",
}  # fmt: skip
SEEN = {"sharpness", "high_frequency", "diversity", "nearest_training"}
RECONSTRUCTED = {
    "negative_elbo", "reconstruction", "kl", "importance_bound", "mse", "ssim",
    "reconstruction_sharpness",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    tiny_checkpoints: Path, tiny_recipe, train_run, halves: Splits, tmp_path_factory
) -> Path:
    """The tiny VAE and CGAN beside a judge that tells left from right."""
    root = tmp_path_factory.mktemp("scored")
    shutil.copytree(tiny_checkpoints, root, dirs_exist_ok=True)
    judge = tiny_recipe("mnist-judge", epochs=15)
    publish(train_run(judge), *halves, root / "judges" / "mnist-judge")
    return root


@pytest.fixture(scope="module")
def real(folder: Path, halves: Splits) -> RealImages:
    return measure_real(*halves, find_judge(folder, "mnist"))


def drawing(opened: Checkpoint, images: Tensor) -> Checkpoint:
    """The checkpoint with a network that draws these images in turn, whatever its noise."""

    class Draws(torch.nn.Module):
        drawn = 0

        def __init__(self):
            super().__init__()
            self.device_of = torch.nn.Parameter(torch.zeros(1))

        def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            if condition is not None:  # in the class asked for
                return images[condition.argmax(1)]
            index = (torch.arange(len(z)) + self.drawn) % len(images)
            self.drawn += len(z)
            return images[index]

    return Checkpoint(opened.folder, opened.card, Draws())  # pyright: ignore[reportArgumentType]


def as_gan(card: Card) -> Card:
    """The card of an unconditional GAN of the same images."""
    from training.recipes import RECIPES

    network = GANSpec(6, Dense((4,)), Dense((4,)), image_shape=card.image_shape)
    recipe = replace(RECIPES["mnist-gan-r2"], network=network, dataset=card.recipe.dataset)
    return card.model_copy(update={"recipe": recipe, "latent_dim": 6, "num_classes": 0})


def test_every_score_of_every_family_is_explained(folder: Path, real: RealImages):
    vae = evaluate(load(folder / "mnist-conv-vae-z2"), real, samples=120)
    assert vae.values.keys() == JUDGED | SEEN | RECONSTRUCTED
    cgan = evaluate(load(folder / "mnist-cgan"), real, samples=120)
    assert cgan.values.keys() == JUDGED | SEEN | {"class_agreement", "class_agreement_worst"}
    assert vae.values.keys() | cgan.values.keys() <= SCORES.keys()
    assert list(vae.values) == [name for name in SCORES if name in vae.values]
    assert vae.real.keys() == JUDGED | SEEN
    assert all(math.isfinite(v) for v in (*vae.values.values(), *cgan.values.values()))
    assert sum(cgan.class_shares.values()) == pytest.approx(1)
    assert cgan.class_shares.keys() == {"left", "right"}


def test_scores_name_their_judge_and_their_data(folder: Path, real: RealImages, halves: Splits):
    scores = evaluate(load(folder / "mnist-cgan"), real, samples=100, seed=7)
    judge = load(folder / "judges" / "mnist-judge").card
    assert scores.judge is not None
    assert scores.judge.name == "mnist-judge"
    assert scores.judge.sha256 == judge.files["weights.safetensors"].sha256
    assert scores.judge.accuracy == judge.metrics["test/accuracy"]
    assert (scores.samples, scores.seed) == (100, 7)
    assert scores.data_sha256 == halves[0].fingerprint
    assert {"torch", "torchmetrics", "python"} <= scores.libraries.keys()


def test_the_same_seed_gives_the_same_scores_to_the_digit(folder: Path, real: RealImages):
    def values(seed: int, noise: int) -> dict[str, float]:
        torch.manual_seed(noise)
        return evaluate(load(folder / "mnist-conv-vae-z2"), real, samples=150, seed=seed).values

    assert values(0, 1) == values(0, 2)
    assert values(0, 1) != values(1, 1)


def test_scoring_leaves_the_random_state_alone(folder: Path, real: RealImages):
    state = torch.get_rng_state()
    evaluate(load(folder / "mnist-conv-vae-z2"), real, samples=100)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["mnist-conv-vae-z2", "mnist-cgan"])
def test_the_batch_size_does_not_matter(folder: Path, halves: Splits, name: str):
    judge = find_judge(folder, "mnist")
    found = [
        evaluate(
            load(folder / name),
            measure_real(*halves, judge, pixels=64 * size),
            samples=130,
            pixels=64 * size,
        ).values
        for size in (1, 7, 1000)
    ]
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=2e-4, abs=1e-6)


# --- what the scores say of generators whose faults are known


def test_a_generator_of_real_images_scores_as_they_do(folder: Path, real: RealImages):
    opened = load(folder / "mnist-cgan")
    gan = Checkpoint(opened.folder, as_gan(opened.card), opened.network)
    x = metrics.unit(real.test.images)
    values = evaluate(drawing(gan, x), real, samples=320).values
    for name in ("sharpness", "high_frequency", "nearest_training"):
        assert values[name] == pytest.approx(1, rel=1e-5)
    assert values["diversity"] == pytest.approx(1, rel=0.05)  # every image is there ten times
    for name in ("frechet", "precision", "largest_class", "confidence"):
        assert values[name] == pytest.approx(real.scores[name], rel=0.05, abs=0.01)


def test_faults_show_in_the_scores_that_are_there_for_them(folder: Path, real: RealImages):
    opened = load(folder / "mnist-cgan")
    gan = Checkpoint(opened.folder, as_gan(opened.card), opened.network)
    x = metrics.unit(real.test.images)

    def scores(images: Tensor) -> dict[str, float]:
        return evaluate(drawing(gan, images), real, samples=320).values

    fine, collapsed = scores(x), scores(x[:1])
    assert collapsed["largest_class"] == 1
    assert collapsed["diversity"] == pytest.approx(0, abs=1e-4)
    assert collapsed["class_entropy"] == 0
    assert collapsed["class_distance"] == pytest.approx(0.5)
    assert collapsed["coverage"] < 0.5 * fine["coverage"]
    assert collapsed["inception_score"] == pytest.approx(1, abs=1e-4)
    blurred = scores(torch.nn.functional.avg_pool2d(x, 3, 1, 1))
    assert blurred["sharpness"] < 0.3
    assert blurred["high_frequency"] < 0.3
    copied = scores(metrics.unit(real.train.images))
    assert copied["nearest_training"] == pytest.approx(0, abs=3e-3)
    noise = scores(torch.rand(320, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert noise["frechet"] > 5 * fine["frechet"]
    assert noise["nearest_training"] > 1.2


def test_agreement_with_the_class_asked_for(folder: Path, real: RealImages):
    opened = load(folder / "mnist-cgan")
    x, y = metrics.unit(real.test.images), real.test.labels
    right = torch.stack([x[y == 0][0], x[y == 1][0]])
    values = evaluate(drawing(opened, right), real, samples=101).values
    assert (values["class_agreement"], values["class_agreement_worst"]) == (1, 1)
    values = evaluate(drawing(opened, right[:1].expand(2, -1, -1, -1)), real, samples=100).values
    assert (values["class_agreement"], values["class_agreement_worst"]) == (0.5, 0)


def test_without_a_judge_what_needs_none_is_scored(folder: Path, halves: Splits):
    scores = evaluate(load(folder / "mnist-conv-vae-z2"), measure_real(*halves, None), samples=100)
    assert scores.values.keys() == SEEN | RECONSTRUCTED
    assert scores.judge is None
    assert scores.class_shares == {}


@pytest.mark.parametrize(
    ("n", "level", "without"),
    [
        (1, None, {"diversity"}),
        (32, 128, {"diversity", "sharpness", "high_frequency", "reconstruction_sharpness"}),
    ],
)
def test_nothing_is_measured_by_what_real_images_lack(
    folder: Path, halves: Splits, n: int, level: int | None, without: set[str]
):
    """One image differs from no other, and images of one grey have no edges."""
    train, test = halves
    images = test.images[:n] if level is None else torch.full_like(test.images, level)
    real = measure_real(train, replace(test, images=images, labels=test.labels[:n]), None)
    values = evaluate(load(folder / "mnist-conv-vae-z2"), real, samples=100).values
    assert values.keys() == (SEEN | RECONSTRUCTED) - without
    assert real.scores.keys() == SEEN - without


def test_a_mixtures_modes_are_counted(tiny_recipe):
    train, test = points("ring8", 500, 0), points("ring8", 300, 1)
    from training.recipes import RECIPES

    recipe = RECIPES["ring8-gan"]
    card = Card(
        recipe=recipe, classes=train.classes, latent_dim=2, num_classes=0, image_shape=(1, 1, 2),
        parameters={}, seed=0, epochs=1, images_seen=1, seconds=0, device="", data_sha256="",
        libraries={}, created="",
    )  # fmt: skip
    gan = Checkpoint(Path("ring"), card, networks.build(recipe.network))
    real = measure_real(train, test, None)
    values = evaluate(drawing(gan, test.images), real, samples=300).values
    assert values["modes"] == 8
    assert values["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.02)
    assert values.keys() == {"modes", "high_quality", "diversity", "nearest_training"}
    one = test.images[test.labels == 3]
    assert evaluate(drawing(gan, one), real, samples=300).values["modes"] == 1


def test_stacked_digits_are_counted_by_their_modes(folder: Path, halves: Splits):
    train, test = (stacked(split, seed) for seed, split in enumerate(halves))
    judge = find_judge(folder, "stacked-mnist")
    real = measure_real(train, test, judge)
    opened = load(folder / "mnist-cgan")
    card = as_gan(opened.card)
    recipe = replace(
        card.recipe,
        dataset="stacked-mnist",
        network=replace(card.recipe.network, image_shape=(3, 8, 8)),
    )
    card = card.model_copy(
        update={"recipe": recipe, "image_shape": (3, 8, 8), "classes": train.classes}
    )
    gan = Checkpoint(opened.folder, card, opened.network)
    x, y = metrics.unit(test.images), test.labels
    assert evaluate(drawing(gan, x), real, samples=64).values["modes"] == len(y.unique()) == 8
    some = x[(y == 0) | (y == 5)]
    scores = evaluate(drawing(gan, some), real, samples=64)
    assert scores.values["modes"] == 2
    assert scores.class_shares["leftleftleft"] + scores.class_shares["rightleftright"] == 1


# --- of which images


def black_and_white(n: int) -> ImageData:
    """Images of 8x8 sorted by class: the first half black, the others white."""
    images = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    images[n // 2 :] = 255
    return ImageData(images, (torch.arange(n) >= n // 2).long(), ("black", "white"), "sorted")


@pytest.mark.parametrize("n", [1999, 10_000])
@pytest.mark.parametrize("in_turn", [False, True])
def test_pixels_are_compared_over_all_classes(n: int, in_turn: bool):
    """Of a sorted test set, and of ten classes in turn of which every second one is white."""
    data = black_and_white(n)
    x = metrics.unit(data.images)
    if in_turn:
        x = x[torch.arange(n) % 2 * (n - 1)]
    measured = evaluation.measure(x.split(300), n, data, None, lambda *_: None, "")
    pairs = 500 * 500 / (1000 * 999 / 2)  # of different images, 8 apart
    assert measured.appearance["diversity"] == pytest.approx(8 * pairs, rel=0.02)
    only = replace(data, images=data.images[: n // 2], labels=data.labels[: n // 2])
    measured = evaluation.measure(x.split(300), n, only, None, lambda *_: None, "")
    assert measured.appearance["nearest_training"] == pytest.approx(4, rel=0.1)


def test_the_bound_is_of_all_classes(halves: Splits):
    """A decoder that says white whatever the code: white images are likelier than black ones."""
    opened = blank_vae(halves)
    assert isinstance(opened.network, VAE)
    bias = list(opened.network.decoder.parameters())[-1]
    torch.nn.init.constant_(bias, 2.0)
    bound = evaluation.importance_bound(
        opened, black_and_white(999), torch.Generator(), 4_000_000, lambda *_: None
    )
    black, white = (64 * math.log1p(math.exp(logit)) for logit in (2, -2))
    assert bound == pytest.approx((black + white) / 2, rel=0.1)


def test_the_judges_features_are_of_all_classes(folder: Path, halves: Splits, monkeypatch):
    monkeypatch.setattr(evaluation, "SAMPLES", 60)
    train = replace(
        halves[0],
        images=halves[0].images[halves[0].labels.argsort()],
        labels=halves[0].labels.sort().values,
    )
    judge = find_judge(folder, "mnist")
    assert judge is not None
    features = measure_real(train, halves[1], judge).features
    assert features is not None
    assert len(features) == 60
    right = read(judge, metrics.unit(train.images[train.labels == 1])).features
    nearest = torch.cdist(features, right).min(1).values
    assert 20 <= (nearest < 1e-3).sum() <= 40


# --- reconstructions and the bounds


def blank_vae(halves: Splits, latent_dim: int = 2) -> Checkpoint:
    """A VAE whose weights are all zero: it encodes to N(0, 1) and decodes to grey."""
    from training.recipes import RECIPES

    spec = VAESpec(latent_dim, Dense((4,)), Dense((4,)), (1, 8, 8))
    vae = networks.build(spec)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.zero_()
    recipe = replace(RECIPES["mnist-conv-vae-z2"], network=spec, dataset="halves")
    card = Card(
        recipe=recipe, classes=halves[1].classes, latent_dim=latent_dim, num_classes=0,
        image_shape=(1, 8, 8), parameters={}, seed=0, epochs=1, images_seen=1, seconds=0,
        device="", data_sha256="", libraries={}, created="",
    )  # fmt: skip
    return Checkpoint(Path("blank"), card, vae)


def test_negative_elbo_agrees_with_the_losses_of_training(folder: Path, real: RealImages):
    opened = load(folder / "mnist-conv-vae-z2")
    values = evaluate(opened, real, samples=100).values
    assert values["negative_elbo"] == pytest.approx(values["reconstruction"] + values["kl"])
    assert values["negative_elbo"] == pytest.approx(opened.card.metrics["test/total"], rel=0.02)
    x = metrics.unit(real.test.images)
    mu, log_var = opened.encode(x)
    assert values["kl"] == pytest.approx(gaussian_kl(mu, log_var).sum().item(), rel=1e-4)
    x_hat = opened.decode(mu)
    assert values["mse"] == pytest.approx((x - x_hat).square().mean().item(), rel=1e-4)
    ratio = metrics.sharpness(x_hat).mean() / metrics.sharpness(x).mean()
    assert values["reconstruction_sharpness"] == pytest.approx(ratio.item(), rel=1e-4)


def test_the_importance_weighted_bound_closes_in_on_the_likelihood(halves: Splits, monkeypatch):
    """One latent dimension, an encoder that says N(0, 1): -log p(x) by quadrature."""
    opened = blank_vae(halves, latent_dim=1)
    assert isinstance(opened.network, VAE)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in opened.network.decoder.parameters():
            parameter.normal_(0, 1)
    z = torch.linspace(-6, 6, 2001)[:, None]
    expected = 0.0
    test = replace(halves[1], images=halves[1].images[:8], labels=halves[1].labels[:8])
    for image in test.images:
        x = image.float()[None] / 255
        with torch.no_grad():
            logits = opened.network.decoder(z)
        log_joint = -bernoulli_nll(logits, x.expand_as(logits)).double()
        log_joint += Normal(0.0, 1.0).log_prob(z[:, 0].double())
        expected -= float(torch.logsumexp(log_joint, 0) + math.log(12 / 2000)) / 8

    def bound(draws: int) -> float:
        monkeypatch.setattr(evaluation, "BOUND_DRAWS", draws)
        generator = torch.Generator().manual_seed(1)
        return evaluation.importance_bound(opened, test, generator, 4_000_000, lambda *_: None)

    assert bound(5000) == pytest.approx(expected, abs=0.02)
    assert bound(1) > bound(5) > expected + 0.02


def test_the_importance_weighted_bound_against_torch_distributions(folder: Path, real: RealImages):
    """The same sum, weight by weight, from normal and Bernoulli densities."""
    opened = load(folder / "mnist-conv-vae-z2")
    assert isinstance(opened.network, VAE)
    test = replace(real.test, images=real.test.images[:3], labels=real.test.labels[:3])
    bound = evaluation.importance_bound(
        opened, test, torch.Generator().manual_seed(5), 4_000_000, lambda *_: None
    )
    generator = torch.Generator().manual_seed(5)
    total = 0.0
    for image in test.images:
        x = image.float()[None] / 255
        mu, log_var = opened.encode(x)
        q = Normal(mu.double(), (log_var.double() / 2).exp())
        z = q.mean + q.stddev * torch.randn(50, 2, generator=generator).double()
        with torch.no_grad():
            logits = opened.network.decoder(z.float())
        log_w = -bernoulli_nll(logits, x.expand_as(logits)).double()
        log_w += (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(1)
        total -= float(torch.logsumexp(log_w, 0) - math.log(50))
    assert bound == pytest.approx(total / 3, rel=1e-5)


def test_the_importance_weighted_bound_reaches_a_known_likelihood(halves: Splits):
    """A decoder that ignores z: every bound is -log p(x) itself, whatever the encoder says."""
    opened = blank_vae(halves)
    values = evaluate(opened, measure_real(*halves, None), samples=100).values
    expected = 64 * math.log(2)  # logits 0: every pixel costs log 2
    assert values["importance_bound"] == pytest.approx(expected, rel=1e-5)
    assert values["negative_elbo"] == pytest.approx(expected, rel=1e-5)
    assert values["kl"] == 0


def test_draws_are_from_the_seed_with_classes_in_turn(folder: Path):
    opened = load(folder / "mnist-cgan")
    x = torch.cat(list(draw(opened, 7, 3, 4_000_000)))
    z = torch.randn(7, 6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(x, opened.decode(z, torch.arange(7) % 2))
