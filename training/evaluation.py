"""What is scored with what: a checkpoint's samples and reconstructions against real images.

``latent-train evaluate`` takes the full measure, always of the weights as shipped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training import checkpoint, metrics, objectives
from training.checkpoint import Checkpoint, Judged, Scores
from training.data import NUMBERS_AT_ONCE, ImageData, at_once
from training.devices import describe_device
from training.inception import Inception, inception_scores
from training.judge import Reading, read
from training.metrics import unit
from training.mixtures import MIXTURES, modes_covered
from training.networks import VAE
from training.recipes import ELBO
from training.scores import SAMPLES, SCORES

WHOLE = 1000
"""Images compared pixel by pixel: for diversity and for the nearest training image."""
BOUND_IMAGES, BOUND_DRAWS = 500, 50
"""Test images, and codes for each, of the importance-weighted bound."""
SPLITS = 10
"""Parts of the samples over which the Inception Score's deviation is taken."""
MOST_SHARES = 100
"""Classes of which a card lists the shares."""
NOTHING = 1e-12
"""The most that rounding makes of an appearance that is not there."""

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Measured:
    """What scores need to know of a set of images."""

    appearance: dict[str, float]
    """What needs no judge, in absolute numbers: sharpness, diversity and the like."""
    reading: Reading | None
    """What the judge sees in every image; None without a judge."""


@dataclass(frozen=True)
class RealImages:
    """A data set and its measure, taken once for all the models that are compared with it."""

    train: ImageData
    """The training set."""
    test: ImageData
    """The test set."""
    judge: Checkpoint | None
    """Reads images; None where there is none for this data set."""
    features: Tensor | None
    """The judge's features of up to `SAMPLES` training images."""
    measured: Measured
    """The measure of the test set."""
    scores: dict[str, float]
    """The test set's own scores: what a perfect model would get."""


def evaluate(
    opened: Checkpoint,
    real: RealImages,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    inception: Inception | None = None,
    tell: Tell = lambda what, done, total: None,
    pixels: int = NUMBERS_AT_ONCE,
) -> Scores:
    """Score ``samples`` images drawn from N(0, 1), and what a VAE makes of the test set.

    A conditional model is asked for its classes in turn. The same seed gives the same scores on
    the same machine; ``pixels``, how many a batch holds, changes them by rounding at most.
    ``inception`` adds InceptionV3's scores of colour images.
    """
    started = time.perf_counter()
    mixture = MIXTURES.get(opened.card.recipe.dataset)
    images = draw(opened, samples, seed, pixels)
    if mixture:
        images = list(images)  # points are small enough to keep, and wanted twice
    drawn = measure(images, samples, real.train, real.judge, tell, "drawing")
    tell("comparing", 0, 1)
    values = compare(drawn, real.measured, real.features)
    shares: dict[str, float] = {}
    if drawn.reading and len(opened.card.classes) <= MOST_SHARES:
        of_classes = metrics.class_shares(drawn.reading.logits).tolist()
        shares = dict(zip(opened.card.classes, of_classes, strict=True))
    if drawn.reading and opened.card.num_classes:
        values |= agreement(drawn.reading.logits, opened.card.num_classes)
    if opened.card.recipe.dataset == "stacked-mnist" and drawn.reading:
        values["modes"] = len(drawn.reading.logits.argmax(1).unique())
    if mixture:
        points = torch.cat(list(images)).flatten(1)
        covered, good = modes_covered(mixture.to_plane(points), mixture)
        values |= {"modes": covered, "high_quality": good}
    if isinstance(opened.network, VAE):
        values |= reconstruction_scores(opened, real, seed, pixels, tell)
    libraries = ["torch", "numpy", "torchmetrics"]
    if inception is not None:
        batches = draw(opened, samples, seed, pixels)
        values |= inception_scores(inception, batches, samples, tell)
        libraries.append("torch-fidelity")
    return Scores(
        samples=samples,
        seed=seed,
        values={name: values[name] for name in SCORES if name in values},
        real={name: value for name, value in real.scores.items() if name in values},
        class_shares=shares,
        judge=judged(real.judge),
        data_sha256=real.train.fingerprint,
        device=describe_device(opened.device),
        seconds=round(time.perf_counter() - started, 1),
        libraries=checkpoint.installed_versions(libraries),
    )


def measure_real(
    train: ImageData,
    test: ImageData,
    judge: Checkpoint | None,
    *,
    tell: Tell = lambda what, done, total: None,
    pixels: int = NUMBERS_AT_ONCE,
) -> RealImages:
    """Take the measure of a data set: of some training images and of the whole test set."""
    features = None
    if judge is not None:
        some = _some(train, SAMPLES)
        batches, what = _split(some, pixels), "reading training images"
        readings = [read(judge, x) for x in _told(batches, len(some), tell, what)]
        features = Reading.joined(readings).features
    what = "reading test images"
    measured = measure(_split(test.images, pixels), len(test), train, judge, tell, what)
    scores = compare(measured, measured, features)
    return RealImages(train, test, judge, features, measured, scores)


def draw(opened: Checkpoint, n: int, seed: int, pixels: int) -> Iterator[Tensor]:
    """Batches of ``n`` images (b, C, H, W) decoded from N(0, 1), classes in turn."""
    card = opened.card
    z = torch.randn(n, card.latent_dim, generator=torch.Generator().manual_seed(seed))
    y = torch.arange(n) % max(card.num_classes, 1)
    size = at_once(card.image_shape, pixels)
    for some, classes in zip(z.split(size), y.split(size), strict=True):
        yield opened.decode(some, classes if card.num_classes else None)


@torch.inference_mode()
def measure(
    batches: Iterable[Tensor],
    n: int,
    train: ImageData,
    judge: Checkpoint | None,
    tell: Tell,
    what: str,
) -> Measured:
    """Measure ``n`` images that come in batches (b, C, H, W) in [0, 1]."""
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[metrics.spread(n, WHOLE)] = True
    whole: list[Tensor] = []
    edges: dict[str, list[Tensor]] = {}
    readings: list[Reading] = []
    for x in _told(batches, n, tell, what):
        whole.append(x[chosen[: len(x)].to(x.device)])
        chosen = chosen[len(x) :]
        if min(x.shape[2:]) >= 3:  # the points of a plane have no edges
            edges.setdefault("sharpness", []).append(metrics.sharpness(x))
            edges.setdefault("high_frequency", []).append(metrics.high_frequency_energy(x))
        if judge is not None:
            readings.append(read(judge, x))
    some = torch.cat(whole)
    appearance = {name: float(torch.cat(parts).mean()) for name, parts in edges.items()}
    appearance["diversity"] = float(metrics.diversity(some))
    appearance["nearest_training"] = float(metrics.nearest_distance(some, train.images).mean())
    return Measured(appearance, Reading.joined(readings) if readings else None)


def compare(drawn: Measured, test: Measured, features: Tensor | None) -> dict[str, float]:
    """Scores of images: by the judge, and their appearance over that of the test set.

    Left out is what the test set has nothing of, as one image alone has no diversity.
    """
    values: dict[str, float] = {}
    if drawn.reading and features is not None:
        values |= reading_scores(drawn.reading, features)
    for name, value in drawn.appearance.items():
        if (real := test.appearance[name]) > NOTHING:
            values[name] = value / real
    return values


def reading_scores(reading: Reading, features: Tensor) -> dict[str, float]:
    """What the judge makes of images, against its ``features`` (m, width) of training images."""
    logits, shares = reading.logits, metrics.class_shares(reading.logits)
    inception, inception_std = metrics.inception_score(logits, min(SPLITS, len(logits)))
    kernel, kernel_std = metrics.kernel_distance(features, reading.features)
    return {
        "inception_score": inception,
        "inception_score_std": inception_std,
        "frechet": metrics.frechet_distance(features, reading.features),
        "kernel": kernel,
        "kernel_std": kernel_std,
        **metrics.manifold_scores(features, reading.features),
        "confidence": float(logits.softmax(1).max(1).values.mean()),
        "class_entropy": metrics.entropy(shares),
        "class_distance": metrics.distance_from_uniform(shares),
        "largest_class": float(shares.max()),
    }


def agreement(logits: Tensor, classes: int) -> dict[str, float]:
    """Share of images (n, k logits) read as the class asked for, where classes came in turn."""
    right = (logits.argmax(1).cpu() == torch.arange(len(logits)) % classes).float()
    worst = min(float(right[label::classes].mean()) for label in range(min(classes, len(right))))
    return {"class_agreement": float(right.mean()), "class_agreement_worst": worst}


@torch.inference_mode()
def reconstruction_scores(
    opened: Checkpoint, real: RealImages, seed: int, pixels: int, tell: Tell
) -> dict[str, float]:
    """−ELBO of the test set with its parts, a tighter bound, and how near reconstructions are.

    Those of MSE, SSIM and sharpness are decoded from the mean of the posterior.
    """
    test = real.test
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(test), opened.card.latent_dim, generator=generator)
    size, done = at_once(opened.card.image_shape, pixels), 0
    sums = torch.zeros(5, dtype=torch.float64)
    for x, eps in zip(_split(test.images, pixels), noise.split(size), strict=True):
        mu, log_var = opened.encode(x)
        nll = negative_log_likelihood(
            opened, objectives.reparameterize(mu, log_var, eps.to(mu.device)), x
        ).mean()
        x_hat = opened.decode(mu)
        parts = (
            nll,
            objectives.gaussian_kl(mu, log_var).sum(),
            (x_hat - x).square().mean(),
            torch.tensor(metrics.ssim(x, x_hat)),
            metrics.sharpness(x_hat).mean(),
        )
        sums += torch.stack([part.cpu().double() for part in parts]) * len(x)
        done += len(x)
        tell("reconstructing", done, len(test))
    nll, kl, mse, ssim, sharp = (sums / len(test)).tolist()
    values = {
        "negative_elbo": nll + kl,
        "reconstruction": nll,
        "kl": kl,
        "importance_bound": importance_bound(opened, test, generator, pixels, tell),
        "mse": mse,
        "ssim": ssim,
    }
    if (of_real := real.measured.appearance["sharpness"]) > NOTHING:
        values["reconstruction_sharpness"] = sharp / of_real
    return values


@torch.inference_mode()
def importance_bound(
    opened: Checkpoint, test: ImageData, generator: torch.Generator, pixels: int, tell: Tell
) -> float:
    """Importance-weighted bound of −log p(x) in nats, over `BOUND_IMAGES` test images.

    −log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k drawn from q: at most the −ELBO on average, and
    nearer to the truth with every draw (Burda et al. 2016, arXiv:1509.00519, equation 8).
    """
    images = _some(test, BOUND_IMAGES)
    width, total = opened.card.latent_dim, 0.0
    for i, image in enumerate(images):
        x = unit(image)[None]
        mu, log_var = opened.encode(x)
        eps = torch.randn(BOUND_DRAWS, width, generator=generator).to(mu.device)
        z = objectives.reparameterize(mu, log_var, eps)
        nll = torch.cat(
            [
                negative_log_likelihood(opened, some, x)
                for some in z.split(at_once(opened.card.image_shape, pixels))
            ]
        )
        # log p(z) - log q(z|x); the constants of the two normal densities cancel.
        log_ratio = 0.5 * (eps.square() + log_var - z.square()).sum(1)
        total -= float(torch.logsumexp(log_ratio - nll, 0)) - math.log(BOUND_DRAWS)
        tell("bounding the likelihood", i + 1, len(images))
    return total / len(images)


def negative_log_likelihood(opened: Checkpoint, z: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) (n,) in nats for codes z (n, d) and images x (n or 1, C, H, W).

    By the recipe's likelihood; for squared error without its constant, as in training.
    """
    objective, network = opened.card.recipe.objective, opened.network
    assert isinstance(objective, ELBO)
    assert isinstance(network, VAE)
    logits = network.decoder(z).float()
    if objective.reconstruction == "bernoulli":
        return objectives.bernoulli_nll(logits, x.expand_as(logits))
    return objectives.squared_error(torch.sigmoid(logits), x)


def judged(judge: Checkpoint | None) -> Judged | None:
    """The judge as a card names it."""
    if judge is None:
        return None
    return Judged(
        name=judge.card.name,
        sha256=judge.card.files["weights.safetensors"].sha256,
        accuracy=judge.card.metrics["test/accuracy"],
    )


def _told(batches: Iterable[Tensor], n: int, tell: Tell, what: str) -> Iterator[Tensor]:
    """The batches, telling after each how many of ``n`` images are done."""
    done = 0
    for x in batches:
        yield x
        done += len(x)
        tell(what, done, n)


def _some(data: ImageData, most: int) -> Tensor:
    """Up to ``most`` stored images that stand for all."""
    return data.images[metrics.spread(len(data), most).to(data.images.device)]


def _split(images: Tensor, pixels: int) -> Iterator[Tensor]:
    """Stored images in batches (b, C, H, W), float32 in [0, 1]."""
    for some in images.split(at_once(images.shape[1:], pixels)):
        yield unit(some)
