"""InceptionV3's own weights are not here: the network is as published, its weights are random."""

import hashlib
import json
import pickle
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity.feature_extractor_inceptionv3 as published
from rich.progress import Progress
from torch import Tensor, nn
from torch_fidelity.metric_isc import isc_features_to_metric
from typer.testing import CliRunner

from tests.conftest import synthetic
from training import inception, scoring
from training.checkpoint import read_card
from training.cli import app
from training.inception import Inception, inception_scores, open_network, read_training
from training.loop import fit
from training.metrics import unit
from training.publish import publish
from training.specs import ConvUp, Up

CPU = torch.device("cpu")
SMALLEST = 75
"""Pixels that InceptionV3 needs: 16 times quicker than 299."""


def quiet(what: str, done: int, total: int) -> None:
    pass


# --- the weights' file


class Unfilled(published.FeatureExtractorInceptionV3):
    """The published network as it is before its weights are read."""

    def load_state_dict(self, *args: object, **kwargs: object) -> Any:
        pass


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published file's format, of a scale that keeps features apart."""
    path = tmp_path_factory.mktemp("weights") / inception.WEIGHTS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load_state_dict_from_url", lambda *args, **kwargs: {})
        network = Unfilled("unfilled", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def expected(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights' file, taken for the published one."""
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    return weights


def test_the_hash_is_the_one_in_the_files_name():
    assert len(inception.SHA256) == 64
    assert inception.SHA256.startswith(Path(inception.WEIGHTS).stem.split("-")[-1])


def test_images_are_read_as_the_protocol_says(expected: Path):
    """Bytes, stretched from the upper left corner as TensorFlow 1 does, in [-1, 1]."""
    network = open_network(expected, CPU)
    assert not network.training
    saved = torch.load(expected, weights_only=True)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())
    seen: list[Tensor] = []
    network.get_submodule("Conv2d_1a_3x3").register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    x = torch.randint(0, 256, (1, 3, 8, 6), dtype=torch.uint8)
    features, logits = network(x)
    assert features.shape == (1, 2048)
    torch.testing.assert_close(logits, features @ saved["fc.weight"].T)
    pixels = x[0].double().numpy()
    for axis, size in ((1, 8), (2, 6)):
        at = np.arange(299) * size / 299
        low = np.floor(at).astype(int)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, size - 1)
        pixels = pixels.take(low, axis) * (1 - part) + pixels.take(high, axis) * part
    np.testing.assert_allclose(seen[0][0].numpy(), (pixels - 128) / 128, atol=1e-4)


def test_another_file_is_refused_before_it_is_loaded(expected: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "load", lambda *args, **kwargs: pytest.fail("loaded"))
    altered = bytearray(expected.read_bytes())
    altered[len(altered) // 2] ^= 1
    other = tmp_path / expected.name
    other.write_bytes(altered)
    with pytest.raises(ValueError, match=r"is not pt_inception.*SHA-256.*download it from https"):
        open_network(other, CPU)


def test_code_in_a_file_is_not_run_even_where_the_hash_agrees(tmp_path: Path, monkeypatch):
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trap,)

    path = tmp_path / inception.WEIGHTS
    torch.save({"fc.weight": Trap()}, path)
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError):
        open_network(path, CPU)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists()  # it does spring


def evaluate(*arguments: object):
    options = ["evaluate", *map(str, arguments), "--samples", "100", "--device", "cpu"]
    return CliRunner().invoke(app, options)


def test_a_missing_file_and_a_folder_are_one_sentence(tiny_checkpoints: Path, tmp_path: Path):
    for path in (tmp_path / "nowhere.pth", tmp_path):
        result = evaluate(tiny_checkpoints, "--inception", path)
        assert result.exit_code == 1
        assert result.output.strip() == (
            f"latent-train: there is no file {path}: download InceptionV3's weights from "
            f"{inception.URL}"
        )


def test_a_file_that_cannot_be_read_is_one_sentence(expected: Path, monkeypatch):
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot be read: Permission denied$"):
        open_network(expected, CPU)


def test_a_missing_package_is_one_sentence(tiny_checkpoints: Path, expected: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    result = evaluate(tiny_checkpoints, "--inception", expected)
    assert result.exit_code == 1
    assert result.output.strip() == (
        "latent-train: --inception needs a package that is not installed: "
        "pip install torch-fidelity"
    )


# --- the scores, with a smaller network


class Small(nn.Module):
    """Reads images as InceptionV3 does, in a thousandth of its time, and remembers them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 12, 5, stride=2), nn.ReLU())
        self.head = nn.Linear(12, 7)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert x.dtype == torch.uint8
        self.seen.append(x)
        features = self.body(x / 32 - 4).mean((2, 3))
        return features, 20 * self.head(features)


def pictures(n: int, seed: int) -> Tensor:
    return torch.randint(
        0, 256, (n, 3, 9, 9), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


def score(known: Inception, images: Tensor, batch: int = 50) -> dict[str, float]:
    return inception_scores(known, [unit(images)], len(images), quiet, batch=batch)


def test_the_training_set_itself_scores_nothing_and_noise_more_and_more():
    train = pictures(130, 1)
    known = read_training(Small(), train, quiet)
    assert score(known, train.flip(0))["inception_v3_fid"] == pytest.approx(0, abs=1e-6)
    noise = torch.randn(train.shape, generator=torch.Generator().manual_seed(2))
    noisy = [
        score(known, (train + sigma * noise).clamp(0, 255).byte())["inception_v3_fid"]
        for sigma in (8, 16, 32, 64)
    ]
    assert noisy[0] > 1e-4
    assert all(more > 1.5 * less for less, more in pairwise(noisy))


def test_scores_agree_with_scipy_and_torch_fidelity():
    """Of all training images, and of samples rounded to bytes."""
    network, train, samples = Small(), pictures(123, 1), pictures(70, 2) // 2
    known = read_training(network, train, quiet)
    network.seen.clear()
    x = (unit(samples) + torch.linspace(-0.0019, 0.0019, 70)[:, None, None, None]).clamp(0, 1)
    found = inception_scores(known, x.split(32), len(samples), quiet)
    assert torch.equal(torch.cat(network.seen), samples)
    with torch.no_grad():
        (a, _), (b, logits) = network(train), network(samples)
    a, b = a.double().numpy(), b.double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))
    fid = ((a.mean(0) - b.mean(0)) ** 2).sum()
    fid += np.trace(np.cov(a.T) + np.cov(b.T) - 2 * np.real(root))
    assert found["inception_v3_fid"] == pytest.approx(fid, rel=1e-5)
    # Which samples fall into which split is by chance on both sides: seven of 70 in each.
    parts = [isc_features_to_metric(logits, 10, True, seed) for seed in range(30)]
    for name, key in (("inception_v3_is", "mean"), ("inception_v3_is_std", "std")):
        values = np.array([part[f"inception_score_{key}"] for part in parts])
        assert found[name] == pytest.approx(values.mean(), abs=3 * values.std())
        assert values.mean() > 3 * values.std()


def test_the_inception_score_is_of_ten_splits():
    samples = pictures(10, 1)  # one in each: every one scores 1
    found = score(read_training(Small(), samples, quiet), samples)
    assert found["inception_v3_is"] == pytest.approx(1)
    assert found["inception_v3_is_std"] == pytest.approx(0, abs=1e-9)


def test_the_batch_size_does_not_matter():
    train, samples = pictures(61, 1), pictures(40, 2)
    whole = score(read_training(Small(), train, quiet, batch=100), samples, batch=100)
    for batch in (1, 7):
        parts = score(read_training(Small(), train, quiet, batch=batch), samples, batch=batch)
        assert parts == pytest.approx(whole, rel=1e-5)


def test_one_models_samples_do_not_enter_the_next_ones_scores():
    known = read_training(Small(), pictures(60, 1), quiet)
    first = score(known, pictures(30, 2))
    assert score(known, pictures(20, 3) // 4) != first
    assert score(known, pictures(30, 2)) == first


def test_progress_ends_where_it_should():
    told: list[tuple[int, int]] = []
    known = read_training(Small(), pictures(61, 1), lambda what, *of: told.append(of), batch=20)
    assert told == [(20, 61), (40, 61), (60, 61), (61, 61)]
    told.clear()
    batches = unit(pictures(40, 2)).split(25)
    inception_scores(known, batches, 40, lambda what, *of: told.append(of), batch=10)
    assert told == [(25, 40), (40, 40)]


# --- the command


@pytest.fixture
def folder(tiny_recipe, tiny_checkpoints: Path, tmp_path: Path, monkeypatch) -> Path:
    """A grey model and a tiny one of colour images, whose data sets lie on no disk."""
    monkeypatch.setattr(published.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", SMALLEST)
    shape = (3, 8, 8)
    colours = synthetic(32, 1, shape), synthetic(16, 2, shape)
    greys = synthetic(32, 1), synthetic(16, 2)
    monkeypatch.setattr(
        scoring, "load_both", lambda root, dataset, of, on_image: colours if of == shape else greys
    )
    root = tmp_path / "runs"
    shutil.copytree(tiny_checkpoints / "mnist-cgan", root / "mnist-cgan")
    recipe = tiny_recipe("mnist-gan-r4-z2", epochs=1)
    generator = ConvUp((Up(8, 2, 1, "valid"), Up(8, 4), Up(3, 4)), norm="before")
    network = replace(recipe.network, generator=generator, image_shape=shape)
    recipe = replace(recipe, name="in-colour", network=network)
    *_, run = fit(recipe, *colours, Progress(disable=True))
    publish(run, *colours, root / "in-colour")
    return root


NAMES = {"inception_v3_fid", "inception_v3_is", "inception_v3_is_std"}


def test_a_folder_is_scored_and_grey_models_are_skipped(folder: Path, expected: Path):
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    result = evaluate(folder, "--inception", expected)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    skipped = "InceptionV3 reads colour images: it does not score mnist-cgan."
    assert [line for line in lines if "colour images" in line] == [skipped]
    scores = read_card(folder / "in-colour").scores
    assert scores is not None
    assert scores.values.keys() >= NAMES
    fid = scores.values["inception_v3_fid"]
    assert fid > 0
    assert 1 <= scores.values["inception_v3_is"] < 10
    assert scores.values["inception_v3_is_std"] >= 0
    assert f"FID (InceptionV3) {fid:.4g}" in result.output
    assert "torch-fidelity" in scores.libraries
    grey = read_card(folder / "mnist-cgan").scores
    assert grey is not None
    assert grey.values.keys().isdisjoint(NAMES)
    assert "torch-fidelity" not in grey.libraries
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before


def test_training_images_are_read_once_for_all_models(folder: Path, expected: Path, monkeypatch):
    counted: list[int] = []
    monkeypatch.setattr(scoring, "open_network", lambda path, device: Small())
    read = scoring.read_training
    monkeypatch.setattr(
        scoring,
        "read_training",
        lambda network, images, tell: counted.append(len(images)) or read(network, images, tell),
    )
    shutil.copytree(folder / "in-colour", folder / "second")
    result = evaluate(folder, "--inception", expected, "--json")
    assert result.exit_code == 0
    assert counted == [32]
    printed = json.loads(result.stdout)
    assert printed["in-colour"]["values"].keys() >= NAMES
    for name in ("in-colour", "second"):
        scores = read_card(folder / name).scores
        assert scores is not None
        assert scores.values == printed["in-colour"]["values"]


def test_a_model_is_never_left_without_them_unsaid(folder: Path, expected: Path, monkeypatch):
    """Where memory runs out the first time, the next model of these images tries again."""
    monkeypatch.setattr(scoring, "open_network", lambda path, device: Small())
    read, tries = scoring.read_training, []

    def read_at_last(*arguments):
        tries.append(1)
        if len(tries) == 1:
            raise MemoryError
        return read(*arguments)

    monkeypatch.setattr(scoring, "read_training", read_at_last)
    shutil.copytree(folder / "in-colour", folder / "second")
    result = evaluate(folder, "--inception", expected, "--json")
    assert result.exit_code == 1
    assert "not enough memory" in result.output
    assert read_card(folder / "in-colour").scores is None
    scores = read_card(folder / "second").scores
    assert scores is not None
    assert scores.values.keys() >= NAMES


def test_without_the_option_nothing_is_added(folder: Path):
    result = evaluate(folder / "in-colour")
    assert result.exit_code == 0, result.output
    scores = read_card(folder / "in-colour").scores
    assert scores is not None
    assert scores.values.keys().isdisjoint(NAMES)


def test_help_states_the_protocol():
    said = CliRunner().invoke(app, ["evaluate", "--help"], env={"COLUMNS": "200"}).output
    said = " ".join(said.replace("│", " ").split())
    for words in (
        inception.WEIGHTS,
        "uint8",
        "whole training set",
        "299 pixels",
        "2048 pooled features",
        "10 splits",
        "--samples 50000",
    ):
        assert words in said
