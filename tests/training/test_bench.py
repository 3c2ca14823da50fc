"""The benchmark measures both loops on the same work, and says what it measured."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from training import bench, textbook
from training.bench import Ours, Speed, enough_for, matrix_peak
from training.cli import app
from training.data import ImageData, data_root
from training.recipes import RECIPES, Recipe
from training.textbook import Textbook

CPU = torch.device("cpu")
Small = Callable[[str], Recipe]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    """Recipes on 64 made-up digits, for both loops."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (64, 1, 28, 28), generator=generator, dtype=torch.uint8)
    digits = ImageData(images, torch.arange(64) % 10, tuple("0123456789"), "mnist")
    pairs = [(x.float() / 255, int(y)) for x, y in zip(images, digits.labels, strict=True)]
    monkeypatch.setattr(bench, "load", lambda *_: digits)
    monkeypatch.setattr(textbook, "images", lambda recipe, root: pairs)
    return lambda name: replace(RECIPES[name], batch_size=16, bf16=False)


def test_both_loops_are_measured_on_the_same_number_of_turns(small: Small, tmp_path: Path):
    told: list[str] = []
    recipe = small("mnist-dense-vae-h128-z2")
    speed = bench.bench(recipe, tmp_path, CPU, seconds=0.05, rounds=2, tell=told.append)
    assert speed.recipe == "mnist-dense-vae-h128-z2"
    with_pythae = importlib.util.find_spec("pythae") is not None
    loops = {"ours", "textbook"} | ({"pythae"} if with_pythae else set())
    assert set(speed.images_per_second) == loops
    assert set(speed.ratios) == loops - {"ours"}
    turns = [what.partition(",")[0] for what in told if "round" in what]
    assert turns == sorted(loops, key=list(speed.images_per_second).index) * 2
    assert all(value > 0 for value in speed.images_per_second.values())
    assert speed.share_of_peak > 0
    assert speed.peak_memory > 1e7


def test_a_device_without_bfloat16_is_measured_in_float32(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[torch.dtype] = []
    monkeypatch.setattr(bench, "has_bf16", lambda device: False)
    monkeypatch.setattr(bench, "matrix_peak", lambda device, dtype: asked.append(dtype) or 1e12)
    recipe = replace(small("mnist-dense-vae-h128-z2"), bf16=True)
    bench.bench(recipe, tmp_path, CPU, seconds=0.05, rounds=1)
    assert asked == [torch.float32]


@pytest.mark.parametrize("batch", [16, 24])  # 24: the last 16 of 64 images make no batch
def test_every_loop_says_on_how_many_images_it_has_trained(
    small: Small, tmp_path: Path, batch: int
):
    recipe = replace(small("mnist-dense-vae-h128-z2"), batch_size=batch)
    ours, tutorial = Ours(recipe, tmp_path, CPU, 0), Textbook(recipe, tmp_path, CPU, 0)
    steps = [0]
    take = tutorial.step

    def counted(x: Tensor, y: Tensor) -> float:
        steps[0] += 1
        return take(x, y)

    tutorial.step = counted
    for n in (batch, 64, 144, 64 + batch - 1):
        before = ours.session.run.steps
        assert ours.run(n) == (ours.session.run.steps - before) * batch
        assert 0 < (ours.session.run.steps - before) * batch <= n
        steps[0] = 0
        assert tutorial.run(n) == steps[0] * batch
        assert n - batch < steps[0] * batch <= n


def test_a_data_set_is_gone_through_again_for_what_it_has_too_few_of(small: Small):
    digits = bench.load(Path(), "", "train", (1, 28, 28))
    for n in (64, 100, 127, 128, 200):
        sizes = [len(some) for some in bench.passes(digits, n, 16)]
        assert sum(sizes) <= n < sum(sizes) + 16
        assert all(size == 64 for size in sizes[:-1])


def test_turns_are_long_enough(monkeypatch: pytest.MonkeyPatch):
    """A loop of 1,000 images a second needs 500 images, in whole batches, for half a second."""
    monkeypatch.setattr(bench, "timed", lambda run, n, device: (n, n / 1000))
    n = enough_for(lambda n: n, 16, 0.5, CPU)
    assert n % 16 == 0
    assert abs(n - 500) <= 16


def test_a_loop_is_as_fast_as_the_images_that_it_has_really_trained_on(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bench, "timed", lambda run, n, device: (run(n), 2.0))
    assert bench.speed_of(lambda n: n // 2, 1000, CPU) == 250


@pytest.mark.parametrize("name", ["cuda:1", "mps"])
def test_the_clock_waits_for_the_gpu_that_is_measured(name: str, monkeypatch: pytest.MonkeyPatch):
    waited: list[object] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    device = torch.device(name)
    bench.timed(lambda n: waited.append(n) or n, 16, device)
    assert waited == [device, 16, device]


def test_too_little_memory_is_said(small: Small, monkeypatch: pytest.MonkeyPatch):
    def full(recipe: Recipe, *_: object, **__: object) -> Speed:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(bench, "bench", full)
    run = CliRunner().invoke(app, ["bench", "mnist-cgan", "--device", "cpu"])
    assert run.exit_code == 1
    assert "there is not enough memory for mnist-cgan" in " ".join(run.output.split())


def test_the_matrix_product_is_measured():
    peak = matrix_peak(CPU, torch.float32)
    assert math.isfinite(peak)
    assert 1e8 < peak < 1e14


def test_the_command_prints_figures(small: Small, monkeypatch: pytest.MonkeyPatch):
    def measured(recipe: Recipe, root: Path, device: torch.device, **options) -> Speed:
        assert options["seconds"] == 0.5
        options["tell"]("something")
        return Speed(
            recipe.name, {"ours": 300.0, "textbook": 100.0}, {"textbook": 3.0}, 2**30, 4.0, 0.5
        )

    monkeypatch.setattr(bench, "bench", measured)
    run = CliRunner().invoke(app, ["bench", "mnist-cgan", "--seconds", "0.5", "--device", "cpu"])
    assert run.exit_code == 0, run.output
    assert "mnist-cgan: 300 images/s, 3.00 times textbook's 100; 1.07 GB; 50%" in run.output
    run = CliRunner().invoke(app, ["bench", "--seconds", "0.5", "--device", "cpu", "--json"])
    figures = json.loads(run.output)
    assert [one["recipe"] for one in figures["recipes"]] == list(bench.DEFAULT)
    assert figures["device"].startswith("cpu")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist-cgam"], "mnist-cgan"),
        (["mnist-judge"], "is a judge"),
        (["mnist-cgan", "--data", "nowhere"], "latent-train download mnist"),
        (["mnist-cgan", "--device", "tpu"], "--device cpu works everywhere"),
    ],
)
def test_mistakes_get_a_sentence(arguments: list[str], words: str):
    run = CliRunner().invoke(app, ["bench", *arguments])
    assert run.exit_code == 1, run.output
    assert words in run.output.replace("\n", " ")


def test_the_textbook_reads_the_real_files(mnist: tuple[ImageData, ImageData]):
    x, y = textbook.images(RECIPES["mnist-dense-vae-h128-z2"], data_root(None))[7]
    torch.testing.assert_close(x, mnist[0].images[7].float() / 255)
    assert y == mnist[0].labels[7]
