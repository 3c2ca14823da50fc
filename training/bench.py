"""How fast training is here: our loop beside a textbook's, alternating, on one machine.

Ratios are what to read: both loops train the same network at the same batch size in one process,
turn by turn, so that whatever else slows the machine slows both.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import io
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.progress import Progress

from training import loop, operations
from training.data import ImageData, load
from training.devices import has_bf16
from training.networks import VAE
from training.recipes import ELBO, Recipe
from training.textbook import Textbook, plain

DEFAULT = (
    "mnist-dense-vae-h512-z2",
    "mnist-mlp-vae",
    "mnist-mlp-gan",
    "mnist-conv-vae-z2",
    "mnist-cgan",
)
"""Recipes measured unless others are named."""
MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}
OURS = "ours"
Tell = Callable[[str], None]
"""Told what is being measured."""
Loop = Callable[[int], int]
"""Trains on about so many images, in whole batches; returns on how many."""


@dataclass(frozen=True)
class Speed:
    """What one recipe's loops reached."""

    recipe: str
    """Its name."""
    images_per_second: dict[str, float]
    """Median over the rounds, by loop: ours, textbook and, where installed, pythae."""
    ratios: dict[str, float]
    """Our speed over another loop's: median of the rounds' own ratios."""
    peak_memory: int
    """Most memory that our loop held, in bytes: of the GPU, or of the whole process on a CPU."""
    flops_per_image: float
    """Floating-point operations of matrix products and convolutions, per image."""
    share_of_peak: float
    """Our arithmetic a second, over what this device reaches in one large matrix product."""


def bench(
    recipe: Recipe,
    root: Path,
    device: torch.device,
    *,
    seconds: float = 5.0,
    rounds: int = 3,
    seed: int = 0,
    tell: Tell = lambda what: None,
) -> Speed:
    """Measure one recipe: each loop ``seconds`` a round, turn by turn.

    Raises ValueError for a judge, and DataError where the data set is not there.
    """
    if not has_bf16(device):
        recipe = replace(recipe, bf16=False)
    tell("ours, warming up")
    ours = Ours(recipe, root, device, seed)
    loops: dict[str, Loop] = {OURS: ours.run}
    n = {OURS: enough_for(ours.run, recipe.batch_size, seconds, device)}
    peak_memory = ours.peak_memory()  # before another loop adds to it
    flops = operations.per_image(recipe)
    loops["textbook"] = Textbook(recipe, root, device, seed).run
    if isinstance(recipe.objective, ELBO) and importlib.util.find_spec("pythae"):
        loops["pythae"] = Pythae(recipe, ours.train, device, seed).run
    for name, run in loops.items():
        tell(f"{name}, warming up")
        n.setdefault(name, enough_for(run, recipe.batch_size, seconds, device))
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds):
        for name, run in loops.items():
            tell(f"{name}, round {turn + 1} of {rounds}")
            speeds[name].append(speed_of(run, n[name], device))
    tell("a matrix product")
    peak = matrix_peak(device, torch.bfloat16 if recipe.bf16 else torch.float32)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(speeds[OURS], values, strict=True))
        for name, values in speeds.items()
        if name != OURS
    }
    share = flops * medians[OURS] / peak
    return Speed(recipe.name, medians, ratios, peak_memory, flops, share)


class Ours:
    """A recipe under the project's own loop, as ``latent-train fit`` runs it."""

    def __init__(self, recipe: Recipe, root: Path, device: torch.device, seed: int):
        if recipe.family == "classifier":
            raise ValueError(f"{recipe.name} is a judge: there is no textbook loop for it")
        self.recipe = recipe
        self.train = load(root, recipe.dataset, "train", recipe.network.image_shape).to(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.session = loop.start(recipe, device, seed, recipe.epochs)
        self.step = loop.make_step(self.session)

    def run(self, n: int) -> int:
        """See `Loop`; over again where there are fewer images."""
        size, progress = self.recipe.batch_size, Progress(disable=True)
        before = self.session.run.images_seen
        for some in passes(self.train, n, size):
            task = progress.add_task("", total=len(some))
            loop.train_epoch(self.session, some, self.step, len(some), progress, task)
            self.session.batch = 0
        return self.session.run.images_seen - before

    def peak_memory(self) -> int:
        """Most memory held so far, in bytes."""
        device = self.train.images.device
        if device.type == "cuda":
            return torch.cuda.max_memory_allocated(device)
        import resource  # which Windows has not

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere


class Pythae:
    """A VAE under pythae's trainer (Chadebec et al. 2022, arXiv:2206.08309), if installed."""

    def __init__(self, recipe: Recipe, train: ImageData, device: torch.device, seed: int):
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE as Model
        from pythae.models import VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        for name in [one for one in logging.root.manager.loggerDict if one.startswith("pythae")]:
            logging.getLogger(name).setLevel(logging.WARNING)
        network = loop.start(recipe, torch.device("cpu"), seed, 1).network
        assert isinstance(network, VAE)
        plain(network)

        class Encoder(BaseEncoder):
            def __init__(self):
                super().__init__()
                self.encoder = network.encoder

            def forward(self, x):
                mu, log_var = self.encoder(x)
                return ModelOutput(embedding=mu, log_covariance=log_var)

        class Decoder(BaseDecoder):
            def __init__(self):
                super().__init__()
                self.decoder = network.decoder

            def forward(self, z):
                return ModelOutput(reconstruction=torch.sigmoid(self.decoder(z)))

        assert isinstance(recipe.objective, ELBO)
        bernoulli = recipe.objective.reconstruction == "bernoulli"
        config = VAEConfig(
            input_dim=recipe.network.image_shape,
            latent_dim=recipe.latent_dim,
            reconstruction_loss="bce" if bernoulli else "mse",
        )
        self.model = Model(config, encoder=Encoder(), decoder=Decoder())
        self.dataset, self.trainer, self.config = BaseDataset, BaseTrainer, BaseTrainerConfig
        self.recipe, self.train, self.device = recipe, train, device

    def run(self, n: int) -> int:
        """See `Loop`; in epochs of at most the whole data set."""
        size = self.recipe.batch_size
        return sum(self._epoch(some) for some in passes(self.train, n, size))

    def _epoch(self, some: ImageData) -> int:
        with tempfile.TemporaryDirectory() as folder:
            config = self.config(
                output_dir=folder,
                num_epochs=1,
                learning_rate=self.recipe.learning_rate,
                per_device_train_batch_size=self.recipe.batch_size,
                no_cuda=self.device.type == "cpu",
            )
            images = self.dataset(some.images.cpu().float() / 255, some.labels.cpu())
            with redirect_stderr(io.StringIO()):  # its progress bar
                trainer = self.trainer(self.model, images, training_config=config)
                trainer.prepare_training()
                trainer.train_step(1)
        return len(some)


def passes(data: ImageData, n: int, batch: int) -> Iterator[ImageData]:
    """``n`` images of a data set, over again where it has fewer; less than a batch is left out."""
    while n >= batch:
        some = min(n, len(data))
        yield replace(data, images=data.images[:some], labels=data.labels[:some])
        n -= some


def enough_for(run: Loop, batch: int, seconds: float, device: torch.device) -> int:
    """How many images, in whole batches, ``run`` trains on in ``seconds``; this warms it up."""
    n = 16 * batch
    timed(run, n, device)
    trained, taken = timed(run, n, device)
    while taken < min(seconds, 1):
        n *= 2
        trained, taken = timed(run, n, device)
    return max(round(trained / taken * seconds / batch), 1) * batch


def speed_of(run: Loop, n: int, device: torch.device) -> float:
    """Images a second of a loop that is told to train on ``n``."""
    trained, seconds = timed(run, n, device)
    return trained / seconds


def timed(run: Loop, n: int, device: torch.device) -> tuple[int, float]:
    """What ``run(n)`` returns, and the seconds it takes, the device's own time included."""
    wait(device)
    started = time.perf_counter()
    done = run(n)
    wait(device)
    return done, time.perf_counter() - started


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU has, always."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of one large square matrix product, the best of many."""
    size = MATRIX_SIZE.get(device.type, 2048)
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)

    def multiply(times: int) -> int:
        for _ in range(times):
            torch.mm(a, b)
        return times

    timed(multiply, 3, device)
    return 2 * size**3 * max(speed_of(multiply, 5, device) for _ in range(5))
