"""Every system of the five reports as one typed value, and the project's own beside them.

A recipe says what to train and how; it holds no tensors and starts no work. It goes into a
checkpoint's card as JSON and comes back validated. What the reports leave open (widths, kernels,
optimiser settings) is chosen here, once, and said at the line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from training.specs import (
    LSTM,
    ClassifierSpec,
    ConvDown,
    ConvUp,
    Dense,
    Down,
    GANSpec,
    ImageShape,
    NetworkSpec,
    Share,
    Up,
    VAESpec,
)

MNIST: ImageShape = (1, 28, 28)
CIFAR10: ImageShape = (3, 32, 32)
IMAGENETTE: ImageShape = (3, 160, 160)
STACKED: ImageShape = (3, 28, 28)
POINTS: ImageShape = (1, 1, 2)  # a point of the plane is an image of two pixels

Family = Literal["vae", "gan", "cgan", "wgan", "wgan-gp", "classifier"]
Weight = Annotated[float, Field(ge=0, le=1e6)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Epoch = Annotated[int, Field(ge=1, le=100_000)]


@dataclass(frozen=True)
class ELBO:
    """Negative evidence lower bound of a VAE: reconstruction + beta * KL, in nats per image."""

    reconstruction: Literal["bernoulli", "squared-error"] = "bernoulli"
    """Likelihood of a pixel: Bernoulli, or Gaussian of variance 1/2, that is squared error."""
    beta: Weight = 1.0
    """Weight of the KL term (Higgins et al. 2017)."""
    kind: Literal["elbo"] = "elbo"
    """Tells the objectives apart in JSON."""


@dataclass(frozen=True)
class Adversarial:
    """Cross-entropy of a discriminator, whose optimum measures the Jensen-Shannon divergence."""

    generator_loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """-log D(G(z)), or log(1 - D(G(z))) as the two players' game has it."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """How far the label of real images is below 1 (one-sided; Salimans et al. 2016)."""
    feature_matching: Weight = 0.0
    """Weight of the distance of mean discriminator features (Salimans et al. 2016)."""
    kind: Literal["adversarial"] = "adversarial"
    """Tells the objectives apart in JSON."""


@dataclass(frozen=True)
class Wasserstein:
    """Earth mover's distance by a critic kept Lipschitz by clipping or by a gradient penalty."""

    critic_steps: Annotated[int, Field(ge=1, le=100)] = 5
    """Critic steps, one batch each, per generator step."""
    clip: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Largest magnitude of a critic weight (Arjovsky et al. 2017); 0 for none."""
    gradient_penalty: Weight = 0.0
    """Weight of the gradient penalty (Gulrajani et al. 2017); 0 for none."""
    kind: Literal["wasserstein"] = "wasserstein"
    """Tells the objectives apart in JSON."""

    def __post_init__(self) -> None:
        if (self.clip > 0) == (self.gradient_penalty > 0):
            raise ValueError("a critic needs either clipping or a gradient penalty")


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of a classifier, in nats."""

    augment_shift: Annotated[int, Field(ge=0, le=64)] = 0
    """Largest random translation in pixels."""
    augment_flip: bool = False
    """Mirror every second image left to right, at random."""
    kind: Literal["cross-entropy"] = "cross-entropy"
    """Tells the objectives apart in JSON."""


Objective = Annotated[ELBO | Adversarial | Wasserstein | CrossEntropy, Field(discriminator="kind")]


@dataclass(frozen=True)
class KeepBest:
    """Ship the weights of the best epoch instead of the last one's."""

    metric: str
    """Name of a held-out loss or score: total, frechet, class_agreement."""
    larger_is_better: bool = False
    """Which way is better."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many epochs without a better one; None trains to the end."""


@dataclass(frozen=True)
class Recipe:
    """One trainable system: data set, network, objective and schedule."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]
    """Name of the recipe and of the checkpoint folder it fills, e.g. mnist-conv-vae-z2."""
    title: str
    """The name people read."""
    report: str
    """Report it comes from, R1 to R5; empty for the project's own."""
    row: str
    """Row of the report that it reproduces."""
    dataset: str
    """Data set it is trained on."""
    network: NetworkSpec
    """Architecture and its sizes."""
    objective: Objective
    """What is minimised."""
    epochs: Epoch
    """Passes over the training set."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images per optimisation step, over all devices together."""
    learning_rate: LearningRate
    """Step size of every network of the system."""
    discriminator_learning_rate: LearningRate | None = None
    """Step size of the discriminator where it differs: two time-scales (Heusel et al. 2017)."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam (Kingma & Ba 2015), or RMSprop, which weight clipping wants."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Adam's decay rates."""
    schedule: Literal["constant", "one-cycle"] = "constant"
    """Step size over the run: as it is, or up to it and down to nothing (Smith & Topin 2019)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay per step of the averaged weights that are shipped; None ships the last weights."""
    keep_best: KeepBest | None = None
    """Ship the best epoch instead of the last."""
    bf16: bool = False
    """Run convolutions and matrix products in bfloat16 (losses stay in float32)."""
    timeline: tuple[Epoch, ...] = ()
    """Epochs whose weights are kept beside the last, so that training can be replayed."""
    batch_history: bool = False
    """Keep every loss of every batch, as R5 plots them."""

    def __post_init__(self) -> None:
        objective = {VAESpec: ELBO, GANSpec: Adversarial | Wasserstein}
        if not isinstance(self.objective, objective.get(type(self.network), CrossEntropy)):
            raise ValueError(
                f"objective {self.objective.kind} cannot train a network of kind "
                f"{self.network.kind}"
            )
        norm = isinstance(self.network, GANSpec) and getattr(
            self.network.discriminator, "norm", False
        )
        if norm and getattr(self.objective, "gradient_penalty", 0):
            raise ValueError(
                "a critic under a gradient penalty must not have batch normalisation: the penalty "
                "is on each image by itself (Gulrajani et al. 2017, section 4)"
            )

    @property
    def family(self) -> Family:
        """The family of models it belongs to."""
        match self.objective:
            case ELBO():
                return "vae"
            case Wasserstein():
                return "wgan" if self.objective.clip else "wgan-gp"
            case CrossEntropy():
                return "classifier"
        return "cgan" if getattr(self.network, "num_classes", 0) else "gan"

    @property
    def latent_dim(self) -> int:
        """Latent dimensions; 0 for a classifier."""
        return 0 if isinstance(self.network, ClassifierSpec) else self.network.latent_dim

    @property
    def num_classes(self) -> int:
        """Classes `decode` can be asked for; 0 means unconditional."""
        return self.network.num_classes if isinstance(self.network, GANSpec) else 0


# GANs get worse again; not in the reports, whose last weights are the timeline's last. R1's are
# left as they end: that its deeper generator collapses is what the report tells.
BY_FRECHET = KeepBest("frechet")


def dense_vae(image_shape: ImageShape, hidden: tuple[int, ...], latent_dim: int) -> VAESpec:
    """Fully connected VAE with mirrored hidden layers (R1: one; R4: two and the last of three)."""
    return VAESpec(latent_dim, Dense(hidden), Dense(hidden[::-1]), image_shape)


def r1_vae() -> Iterator[Recipe]:
    """R1's dense VAEs: latent sizes at h=512, and widths at z=2, on both data sets."""
    for dataset, shape in (("mnist", MNIST), ("cifar10", CIFAR10)):
        for h, z in ((512, 2), (512, 5), (512, 10), (128, 2), (256, 2)):
            yield Recipe(
                name=f"{dataset}-dense-vae-h{h}-z{z}",
                title=f"Dense VAE, h={h}, z={z}",
                report="R1",
                row=f"Dense VAE, h={h}, z={z}, {dataset}",
                dataset=dataset,
                network=replace(dense_vae(shape, (h,), z), init="glorot"),  # Keras
                objective=ELBO(),
                epochs=50,  # open in the report, like the next two
                batch_size=128,
                learning_rate=1e-3,
            )


def r1_dcgan_generator(dataset: str, depth: int) -> ConvUp:
    """R1's DCGAN generator; CIFAR's alone activates and normalises the grid."""
    if dataset == "mnist":
        width = 128 * depth
        stages = (Up(width // 2, 3), Up(width // 4, 3), Up(1, 3, stride=1))
        return ConvUp(stages, grid=(width, 7, 7), stem_activation=False, norm="before")
    width = 512 * depth
    stages = (*(Up(width // n, 5) for n in (2, 4, 8)), Up(3, 5))
    return ConvUp(
        stages,
        grid=(width, 2, 2),
        stem_norm="channels",
        norm="before",
        activation="leaky",
    )


# R1's discriminators are open: two (MNIST) and three (CIFAR) strided convolutions with dropout.
R1_DISCRIMINATOR = {
    "mnist": ConvDown((Down(64, 5, 2), Down(128, 5, 2)), dropout=0.3),
    "cifar10": ConvDown((Down(64, 5, 2), Down(128, 5, 2), Down(256, 5, 2)), dropout=0.3),
}


def r1_dcgan() -> Iterator[Recipe]:
    """R1's DCGANs: latent 100 and 10 on the first architecture, and the deeper generator."""
    for dataset, shape, epochs in (("mnist", MNIST, 50), ("cifar10", CIFAR10, 100)):
        for depth, z in ((1, 100), (1, 10), (2, 100)):
            yield Recipe(
                name=f"{dataset}-dcgan{'-deep' if depth == 2 else ''}-z{z}",
                title=f"DCGAN{', deeper' if depth == 2 else ''}, z={z}",
                report="R1",
                row=f"DCGAN {dataset} {depth}, z={z}",
                dataset=dataset,
                network=GANSpec(
                    z,
                    r1_dcgan_generator(dataset, depth),
                    R1_DISCRIMINATOR[dataset],
                    output="tanh",  # open, like the rest of this recipe
                    image_shape=shape,
                    init="glorot",
                ),
                objective=Adversarial(),
                epochs=epochs,
                batch_size=128,
                learning_rate=2e-4,
                betas=(0.5, 0.999),
                timeline=(1, 2, 5, 10, 20, epochs),
                bf16=True,
            )


def r1_wgan_generator(image_shape: ImageShape, depth: int) -> ConvUp:
    """R1's WGAN generator, which upsamples and then convolves; for CIFAR-10 it is open.

    There it has the same shape, from 8x8 instead of 7x7.
    """
    channels, height, _ = image_shape
    width = 128 * depth
    last = Up(channels, 4, stride=1, op="conv")
    stages = (Up(width // 2, 4, op="conv"), Up(width // 4, 4, op="conv"), last)
    grid = (width, height // 4, height // 4)
    return ConvUp(stages, grid=grid, stem_activation=False, norm="before")


R1_CRITIC = {
    # MNIST's critic is open: the first CIFAR critic with a quarter of its widths.
    ("mnist", 1): ConvDown(
        (Down(16, 3, 2), Down(64, 3, 2, pad=1), Down(256, 3)), norm=True, dropout=0.25
    ),
    ("cifar10", 1): ConvDown(
        (Down(16, 3, 2), Down(256, 3, 2, pad=1), Down(1024, 3)), norm=True, dropout=0.25
    ),
    ("cifar10", 2): ConvDown(
        (
            Down(16, 3, 2),
            Down(128, 3, 2, pad=1),
            Down(256, 3, 2),
            Down(512, 3, 2),
            Down(1024, 3),
            Down(1024, 3),
        ),
        norm=True,
        dropout=0.25,  # the share is open
    ),
}
R1_CRITIC["mnist", 2] = R1_CRITIC["mnist", 1]


def r1_wgan() -> Iterator[Recipe]:
    """R1's WGANs with weight clipping: latent 100 and 10, and the deeper networks."""
    for dataset, shape in (("mnist", MNIST), ("cifar10", CIFAR10)):
        for depth, z in ((1, 100), (1, 10), (2, 100)):
            yield Recipe(
                name=f"{dataset}-wgan{'-deep' if depth == 2 else ''}-z{z}",
                title=f"WGAN{', deeper' if depth == 2 else ''}, z={z}",
                report="R1",
                row=f"WGAN {dataset} {depth}, z={z}",
                dataset=dataset,
                network=GANSpec(
                    z,
                    r1_wgan_generator(shape, depth),
                    R1_CRITIC[dataset, depth],
                    output="tanh",
                    image_shape=shape,
                    init="glorot",
                ),
                # Clipping, RMSprop and their numbers: Arjovsky et al. 2017, algorithm 1.
                objective=Wasserstein(clip=0.01),
                epochs=600,  # the report's curves settle there at z=100
                batch_size=64,
                learning_rate=5e-5,
                optimizer="rmsprop",
                timeline=(1, 50, 600),
                bf16=True,
            )


def r2() -> Iterator[Recipe]:
    """R2's LSTM-encoder VAEs, and its GAN under two losses and with too simple a generator."""
    for z in (10, 2):
        yield Recipe(
            name=f"mnist-lstm-vae-z{z}",
            title=f"LSTM VAE, z={z}",
            report="R2",
            row=f"LSTM VAE, z={z}",
            dataset="mnist",
            network=VAESpec(
                z,
                LSTM(256),
                # 4 -> 8 -> 12 -> 24 -> 28 pixels: the kernels that give R2's sizes without crops.
                ConvUp(
                    dense=(16, 64),
                    grid=(8, 4, 4),
                    stages=(
                        Up(8, 4),
                        Up(4, 5, stride=1, padding="valid"),
                        Up(2, 4),
                        Up(1, 5, stride=1, padding="valid"),
                    ),
                ),
                init="glorot",
            ),
            objective=ELBO(),
            epochs=60,
            batch_size=128,
            learning_rate=1e-3,
            keep_best=KeepBest("total", patience=4),
            bf16=True,
        )
    discriminator = ConvDown((Down(64, 3, 2), Down(64, 3, 2)), dropout=0.4)
    generator = ConvUp(
        grid=(128, 7, 7),
        stages=(Up(128, 4), Up(128, 4), Up(1, 7, stride=1, op="conv")),
        activation="leaky",
    )
    gan = Recipe(
        name="mnist-gan-r2",
        title="GAN, cross-entropy",
        report="R2",
        row="GAN (a), cross-entropy",
        dataset="mnist",
        network=GANSpec(100, generator, discriminator, init="glorot"),
        objective=Adversarial(),
        epochs=100,
        batch_size=128,
        learning_rate=2e-4,
        betas=(0.5, 0.999),
        keep_best=BY_FRECHET,
        timeline=(1, 5, 10, 20, 50, 100),
        bf16=True,
    )
    yield gan
    yield replace(
        gan,
        name="mnist-wgan-r2",
        title="GAN, Wasserstein",
        row="GAN (b), the same networks with Wasserstein loss",
        objective=Wasserstein(clip=0.01),
        learning_rate=5e-5,
        optimizer="rmsprop",
    )
    # (c): all noise passes through one hidden unit, which cannot tell ten digits apart. Generator
    # steps fifty times the discriminator's let it run to whatever single picture scores best
    # (Goodfellow et al. 2014, section 6). Its twin differs in the generator alone.
    collapse = replace(
        gan,
        name="mnist-gan-r2-collapse",
        title="GAN that collapses",
        row="GAN (c), a generator too simple for its discriminator",
        network=GANSpec(100, Dense((1,), "leaky"), discriminator, init="glorot"),
        epochs=5,
        learning_rate=5e-3,
        discriminator_learning_rate=1e-4,
        keep_best=None,
        timeline=(1, 2, 3, 4, 5),
        bf16=False,  # as these rates were tried out
    )
    yield collapse
    narrow = replace(
        generator,
        grid=(16, 7, 7),
        stages=(Up(16, 4), Up(16, 4), Up(1, 7, stride=1, op="conv")),
    )
    yield replace(
        collapse,
        name="mnist-gan-r2-healthy",
        title="GAN that does not collapse",
        report="",
        row="the twin of GAN (c), with a convolutional generator",
        network=replace(collapse.network, generator=narrow),
        epochs=8,
        ema_decay=0.999,
        timeline=(1, 2, 3, 4, 5, 8),
    )


def r3() -> Iterator[Recipe]:
    """R3's convolutional VAE, GAN and conditional GAN."""
    yield Recipe(
        name="mnist-conv-vae-z2",
        title="Convolutional VAE, z=2",
        report="R3",
        row="VAE",
        dataset="mnist",
        network=VAESpec(
            2,
            ConvDown((Down(32, 3, 2), Down(64, 3, 2)), dense=(16,), activation="relu"),
            ConvUp(grid=(64, 7, 7), stages=(Up(64, 3), Up(32, 3), Up(1, 3, stride=1))),
            # As in Keras. With torch's default all images have nearly the same code at first, and
            # most seeds end in a posterior that carries next to nothing.
            init="glorot",
        ),
        objective=ELBO(),
        epochs=30,
        batch_size=128,
        learning_rate=1e-3,
        timeline=(1, 2, 4, 8, 15),
        bf16=True,
    )
    yield Recipe(
        name="mnist-gan-r3",
        title="Convolutional GAN",
        report="R3",
        row="GAN",
        dataset="mnist",
        network=GANSpec(
            100,
            ConvUp(
                grid=(256, 7, 7),
                stem_norm="units",
                stages=(Up(128, 5, stride=1), Up(64, 5), Up(1, 5)),
                norm="before",
                bias=False,
                activation="leaky",
            ),
            ConvDown((Down(64, 5, 2), Down(128, 5, 2)), dropout=0.3),
            output="tanh",
            init="glorot",
        ),
        objective=Adversarial(),
        epochs=50,
        batch_size=256,  # the report leaves it open
        learning_rate=1e-4,
        keep_best=BY_FRECHET,
        timeline=(1, 5, 10, 20, 50),
        bf16=True,
    )
    yield Recipe(
        name="mnist-cgan",
        title="Conditional GAN",
        report="R3",
        row="CGAN",
        dataset="mnist",
        network=GANSpec(
            128,
            ConvUp(
                grid=(138, 7, 7),
                stages=(Up(128, 4), Up(128, 4), Up(1, 7, stride=1, op="conv")),
                activation="leaky",
            ),
            ConvDown((Down(64, 3, 2), Down(128, 3, 2)), end="max"),
            num_classes=10,
            init="glorot",
        ),
        objective=Adversarial(),
        epochs=20,
        batch_size=64,  # the report leaves it open
        learning_rate=3e-4,
        ema_decay=0.999,  # not in the report: steadies what is shipped, training is unchanged
        bf16=True,  # not in the report: 1.7 times the speed on a CPU that has bfloat16
    )


def r4() -> Iterator[Recipe]:
    """R4's linear VAE, GAN and WGAN-GP, each at two latent sizes, on both data sets.

    The widths are open. Weights after 20 epochs are kept in the timeline.
    """
    discriminator = ConvDown((Down(64, 4, 2), Down(128, 4, 2)), norm=True)
    critic = replace(discriminator, norm=False)  # Gulrajani et al. 2017, section 4
    generator = {
        # Four transposed convolutions: 1 -> 7 -> 14 -> 28 -> 28 and 1 -> 4 -> 8 -> 16 -> 32.
        "mnist": ConvUp(
            (Up(256, 7, 1, "valid"), Up(128, 4), Up(64, 4), Up(1, 3, stride=1)), norm="before"
        ),
        "cifar10": ConvUp((Up(256, 4, 1, "valid"), Up(128, 4), Up(64, 4), Up(3, 4)), norm="before"),
    }
    for dataset, shape, sizes in (("mnist", MNIST, (2, 64)), ("cifar10", CIFAR10, (64, 512))):
        for z in sizes:
            vae = Recipe(
                name=f"{dataset}-linear-vae-z{z}",
                title=f"Linear VAE, z={z}",
                report="R4",
                row=f"Linear VAE, z={z}, {dataset}",
                dataset=dataset,
                network=dense_vae(shape, (512, 256), z),
                objective=ELBO("squared-error"),
                epochs=100,
                batch_size=128,
                learning_rate=1e-4,
                timeline=(20, 100),
            )
            # The report's last Conv -> 1 covers all that is left: a dense layer on the flattened
            # maps is the same function with the same parameters.
            gan = replace(
                vae,
                name=f"{dataset}-gan-r4-z{z}",
                title=f"GAN, z={z}",
                row=f"GAN, z={z}, {dataset}",
                network=GANSpec(
                    z,
                    generator[dataset],
                    discriminator,
                    output="tanh",
                    image_shape=shape,
                    init="normal",
                ),
                objective=Adversarial(),
                batch_size=64,
                betas=(0.5, 0.999),
                keep_best=BY_FRECHET,
                bf16=True,
            )
            yield vae
            yield gan
            yield replace(
                gan,
                name=f"{dataset}-wgan-gp-z{z}",
                title=f"WGAN-GP, z={z}",
                row=f"WGAN-GP, z={z}, {dataset}",
                network=replace(gan.network, discriminator=critic),
                objective=Wasserstein(gradient_penalty=10),
                learning_rate=5e-5,
                betas=(0.0, 0.9),  # Gulrajani et al. 2017, algorithm 1
            )


def r5() -> Iterator[Recipe]:
    """R5's VAE against GAN at equal size, on MNIST and on Imagenette at 160 pixels."""
    down = Dense((1024, 512, 256), "leaky", dropout=0.3)
    up = Dense((256, 512, 1024), "leaky")
    mnist = Recipe(
        name="mnist-mlp-vae",
        title="MLP VAE, z=20",
        report="R5",
        row="MNIST VAE, z=20",
        dataset="mnist",
        network=VAESpec(20, down, up),
        objective=ELBO(),
        epochs=100,
        batch_size=64,
        learning_rate=2e-4,
        timeline=(1, 10, 50, 100),
        bf16=True,
        batch_history=True,
    )
    yield mnist
    yield replace(
        mnist,
        name="mnist-mlp-gan",
        title="MLP GAN, z=100",
        row="MNIST GAN, z=100",
        network=GANSpec(100, up, down, output="tanh"),
        objective=Adversarial(),
        epochs=200,
        betas=(0.5, 0.999),
        keep_best=BY_FRECHET,
        timeline=(1, 10, 50, 100, 200),
    )
    blocks = tuple(Down(c, 3, padding="valid", pool=2) for c in (16, 32, 64, 128))
    widths = (128, 64, 32, 16, 8)
    # 8 -> 16 -> 32 -> 64 -> 128 -> 256 pixels, then 3 channels, then resized to 160.
    decoder = ConvUp(
        grid=(256, 8, 8),
        stages=(*(Up(c, 4) for c in widths), Up(3, 3, stride=1)),
        norm="after",
        activation="leaky",
        resize=True,
    )
    vae = Recipe(
        name="imagenette-vae-z200",
        title="Imagenette VAE, z=200",
        report="R5",
        row="Imagenette VAE, z=200",
        dataset="imagenette",
        network=VAESpec(200, ConvDown(blocks, activation="relu"), decoder, IMAGENETTE),
        objective=ELBO("squared-error"),
        epochs=200,
        batch_size=48,
        learning_rate=2e-4,
        timeline=(1, 20, 100, 200),
        bf16=True,
        batch_history=True,
    )
    yield vae
    critic = ConvDown((*blocks[:3], replace(blocks[3], pool=4)), activation="relu")
    gan = replace(
        vae,
        name="imagenette-gan-z500",
        title="Imagenette GAN, z=500",
        row="Imagenette GAN, z=500",
        network=GANSpec(500, decoder, critic, output="tanh", image_shape=IMAGENETTE),
        objective=Adversarial(),
        epochs=100,
        betas=(0.5, 0.999),
        timeline=(1, 20, 50, 100),
    )
    yield gan
    upsampling = replace(
        decoder,
        stages=(*(Up(c, 3, op="conv") for c in widths), Up(3, 3, stride=1, op="conv")),
    )
    yield replace(
        gan,
        name="imagenette-gan-z500-helped",
        title="Imagenette GAN with R5's four remedies",
        row="Imagenette GAN with label smoothing, feature matching, TTUR and upsampling",
        network=replace(gan.network, generator=upsampling),
        objective=Adversarial(label_smoothing=0.1, feature_matching=1.0),
        learning_rate=1e-4,
        discriminator_learning_rate=4e-4,
    )


def lessons() -> Iterator[Recipe]:
    """The project's own: judges, over- and under-regularised VAEs, mixtures in the plane."""
    judge = Recipe(
        name="mnist-judge",
        title="Digit classifier (judge)",
        report="",
        row="classifier that scores samples, after R2's Inception Score on MNIST",
        dataset="mnist",
        network=ClassifierSpec(),
        objective=CrossEntropy(augment_shift=2),
        epochs=16,
        batch_size=128,
        learning_rate=3e-3,
        schedule="one-cycle",
        ema_decay=0.999,
        bf16=True,
    )
    yield judge
    yield replace(
        judge,
        name="cifar10-judge",
        title="CIFAR-10 classifier (judge)",
        dataset="cifar10",
        network=ClassifierSpec((64, 128, 256), image_shape=CIFAR10),
        objective=CrossEntropy(augment_shift=3, augment_flip=True),
        epochs=14,
    )
    base = next(r1_vae())  # narrower, as four of them are shipped
    for beta in (0.1, 1.0, 4.0, 10.0):
        yield replace(
            base,
            name=f"mnist-beta-vae-{beta:g}",
            title=f"VAE with beta={beta:g}",
            report="",
            row=f"R1's dense VAE, with h=128, z=10, and beta={beta:g}",
            network=replace(dense_vae(MNIST, (128,), 10), init="glorot"),
            objective=ELBO(beta=beta),
            epochs=30,
        )
    yield replace(
        next(r3()),
        name="cifar10-conv-vae-z10",
        title="Convolutional VAE, z=10",
        report="",
        row="R3's VAE in colour, deeper by a stage, and small enough to ship",
        dataset="cifar10",
        network=VAESpec(
            10,
            ConvDown((Down(32, 3, 2), Down(32, 3, 2), Down(64, 3, 2)), activation="relu"),
            ConvUp(grid=(64, 4, 4), stages=(Up(32, 3), Up(32, 3), Up(32, 3), Up(3, 3, stride=1))),
            CIFAR10,
            init="glorot",
        ),
        epochs=50,
        timeline=(),
    )
    # R4's networks on three digits at once: of a thousand modes, how many are reached?
    for kind in ("gan-r4", "wgan-gp"):
        (on_digits,) = (recipe for recipe in r4() if recipe.name == f"mnist-{kind}-z64")
        network = on_digits.network
        assert isinstance(network, GANSpec)
        assert isinstance(network.generator, ConvUp)
        stages = (*network.generator.stages[:-1], Up(3, 3, stride=1))
        yield replace(
            on_digits,
            name=f"stacked-mnist-{kind.removesuffix('-r4')}",
            title=f"{on_digits.title.split(',')[0]} on Stacked-MNIST",
            report="",
            row="mode collapse on images, a thousand modes",
            dataset="stacked-mnist",
            network=replace(
                network, generator=replace(network.generator, stages=stages), image_shape=STACKED
            ),
            epochs=25,
            timeline=(),
        )
    # The plane's own coordinates, within the limits of training.mixtures.
    for dataset, modes, limit in (("ring8", 8, 1.25), ("grid25", 25, 5.0)):
        gan = Recipe(
            name=f"{dataset}-gan",
            title=f"GAN on {modes} Gaussians",
            report="",
            row=f"mode collapse in the plane, {modes} Gaussians",
            dataset=dataset,
            network=GANSpec(
                2,
                Dense((128, 128, 128)),
                Dense((128, 128, 128)),
                output="tanh",
                limit=limit,
                image_shape=POINTS,
            ),
            objective=Adversarial(),
            epochs=20,
            batch_size=256,
            learning_rate=2e-3,
            betas=(0.0, 0.9),
            ema_decay=0.995,
        )
        # Adam's own momentum, 0.9, makes this one collapse: with 0 it covers every mode too.
        yield replace(gan, betas=(0.9, 0.999))
        yield replace(
            gan,
            name=f"{dataset}-wgan-gp",
            title=f"WGAN-GP on {modes} Gaussians",
            objective=Wasserstein(gradient_penalty=1.0, critic_steps=1),
        )


def for_images(name: str, family: str, latent_dim: int, size: int, channels: int = 3) -> Recipe:
    """A recipe for the user's own pictures, ``size`` pixels square, by family.

    ``name`` may end in family and latent size, which the title says in words.
    DCGAN's shape (Radford et al. 2016, section 3) with as many halvings as leave 4 to 7 pixels.
    Raises ValueError for a size that cannot be halved to that, a latent size or family out of
    range.
    """
    if family not in ("vae", "gan", "cgan", "wgan", "wgan-gp"):
        raise ValueError(f"family {family!r} is not one of vae, gan, cgan, wgan, wgan-gp")
    if not 1 <= latent_dim <= 4096:
        raise ValueError(f"z = {latent_dim} is out of range: 1 to 4096 latent dimensions")
    sizes = [side << n for n in range(1, 7) for side in (4, 5, 6, 7) if side << n <= 256]
    if size not in sizes:
        nearest = min(sizes, key=lambda known: abs(known - size))
        raise ValueError(
            f"size {size} is out of range: 4, 5, 6 or 7 times a power of two, 8 to 256; "
            f"the nearest is {nearest}"
        )
    halvings = next(n for n in range(1, 7) if size >> n in (4, 5, 6, 7) and size % (1 << n) == 0)
    widths = [min(32 << i, 256) for i in range(halvings)]
    shape = (channels, size, size)
    down = ConvDown(tuple(Down(width, 4, 2) for width in widths), norm=family != "wgan-gp")
    up = ConvUp(
        grid=(widths[-1], size >> halvings, size >> halvings),
        stages=(*(Up(width, 4) for width in widths[-2::-1]), Up(channels, 4)),
        stem_norm="channels",
        norm="before",
    )
    objectives = {
        "vae": ELBO("squared-error"),
        "wgan": Wasserstein(clip=0.01),
        "wgan-gp": Wasserstein(gradient_penalty=10),
    }
    ending = f"-{family}-z{latent_dim}"
    if family == "vae":
        network = VAESpec(latent_dim, down, up, shape)
    else:
        network = GANSpec(
            latent_dim,
            up,
            down,
            num_classes=2 if family == "cgan" else 0,  # the data's number comes in later
            output="tanh",
            image_shape=shape,
            init="normal",
        )
    return Recipe(
        name=name,
        title=f"{family.upper()} of {name.removesuffix(ending)}, z={latent_dim}",
        report="",
        row="",
        dataset=name,
        network=network,
        objective=objectives.get(family, Adversarial()),
        epochs=100,
        batch_size=64,
        learning_rate={"vae": 1e-3, "wgan": 5e-5, "wgan-gp": 1e-4}.get(family, 2e-4),
        optimizer="rmsprop" if family == "wgan" else "adam",
        betas={"vae": (0.9, 0.999), "wgan-gp": (0.0, 0.9)}.get(family, (0.5, 0.999)),
        ema_decay=None if family == "vae" else 0.999,
        bf16=True,
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for group in (r1_vae, r1_dcgan, r1_wgan, r2, r3, r4, r5, lessons)
    for recipe in group()
}


def by_name(name: str) -> Recipe:
    """Look a recipe up; raises ValueError with the nearest names where there is none."""
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"there is no recipe {name!r}: {hint}`latent-train list` shows them all")
