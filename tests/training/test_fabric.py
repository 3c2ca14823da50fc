"""Two processes on the CPU give the result of one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.training.children import at_call, begin, end, kill_9
from training import devices, loop, steps
from training.checkpoint import load, read_card
from training.cli import app
from training.data import ImageData
from training.devices import World, launch
from training.loop import fit
from training.pace import Pace
from training.recipes import Adversarial, KeepBest, Recipe, Wasserstein
from training.resume import Saver, read, settings_of, state_path
from training.specs import Dense, GANSpec

Splits = tuple[ImageData, ImageData]
PATIENCE = 120  # seconds until a test gives processes up

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def recipes(tiny_recipe) -> dict[str, Recipe]:
    """Without batch normalisation, which on CPUs is each process's own."""
    network = GANSpec(3, Dense((16,)), Dense((16,)), output="tanh", image_shape=(1, 8, 8))
    return {
        "vae": tiny_recipe("mnist-conv-vae-z2", batch_history=True, ema_decay=0.9),
        "gan": tiny_recipe(
            "mnist-gan-r4-z2",
            network=network,
            objective=Adversarial(feature_matching=1.0),
            batch_history=True,
        ),
        "wgan-gp": tiny_recipe(
            "mnist-wgan-gp-z2",
            network=network,
            objective=Wasserstein(gradient_penalty=10, critic_steps=2),
            batch_history=True,
        ),
    }


def in_two_processes(work: Callable[[World], object]) -> list[int]:
    """Run ``work`` in two processes of one world; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
        signal.alarm(PATIENCE)
        work(launch(torch.device("cpu"), 2, 1, "ddp"))

    children = [begin(lambda rank=rank: process(rank)) for rank in (0, 1)]
    return [end(child) for child in children]


def train(
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    world: World = loop.ALONE,
    *,
    resumed: bool = False,
) -> loop.Run:
    """Two epochs; every process writes its weights, the first one its state after every step."""
    state = state_path(folder)
    settings = settings_of(recipe, 0, splits[0].fingerprint, world.size)
    saver = Saver(state, settings, Pace(0)) if world.rank == 0 else None
    resumed_from = state if resumed else None
    *_, run = fit(
        recipe,
        *splits,
        Progress(disable=True),
        saver=saver,
        resumed=resumed_from,
        world=world,
    )
    folder.mkdir(exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in run.network.state_dict().items()}
    save_file(weights, folder / f"{world.rank}.safetensors")
    world.wait()
    return run


def assert_close(a: Any, b: Any, what: str, rel: float = 2e-5, least: float = 1e-6) -> None:
    a, b = torch.as_tensor(a).float(), torch.as_tensor(b).float()
    difference = (a - b).abs().max()
    assert difference <= rel * b.abs().max() + least, f"{what} differs by {difference}"


@pytest.mark.parametrize("name", ["vae", "gan", "wgan-gp"])
def test_two_processes_give_the_result_of_one(name, recipes, halves: Splits, tmp_path):
    recipe, one, two = recipes[name], tmp_path / "one", tmp_path / "two"
    alone = train(recipe, halves, one)
    assert in_two_processes(lambda world: train(recipe, halves, two, world)) == [0, 0]

    first, second = (load_file(two / f"{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    (state, tensors), (wanted_state, wanted) = (read(state_path(f)) for f in (two, one))
    assert tensors.keys() == wanted.keys()
    for key in tensors:
        if key.startswith(("network/", "average/", "optimizer/")):
            assert_close(tensors[key], wanted[key], key)
        elif key.startswith("random/"):
            assert torch.equal(tensors[key], wanted[key])
        elif key.startswith("batch_losses/"):  # float16
            assert_close(tensors[key], wanted[key], key, rel=2e-3)
    for split in ("train", "test"):
        for part, values in alone.history[split].items():
            assert_close(state["history"][split][part], values, f"{split} {part}")
    assert (state["steps"], state["images_seen"]) == (12, 192)
    assert (wanted_state["steps"], wanted_state["images_seen"]) == (12, 192)
    assert alone.steps == 12


def test_two_processes_killed_and_resumed_go_on_as_if_nothing_had_been(
    recipes, halves: Splits, tmp_path
):
    recipe, whole, folder = recipes["wgan-gp"], tmp_path / "whole", tmp_path / "killed"

    def killed(world: World) -> None:
        number = 5 if world.rank == 0 else 1000  # the other one notices by itself
        steps.optimise = at_call(steps.optimise, number, kill_9)
        train(recipe, halves, folder, world)

    first, second = in_two_processes(killed)
    assert (first, second != 0) == (-signal.SIGKILL, True)
    assert in_two_processes(lambda w: train(recipe, halves, folder, w, resumed=True)) == [0, 0]
    assert in_two_processes(lambda w: train(recipe, halves, whole, w)) == [0, 0]
    (state, tensors), (wanted_state, wanted) = (read(state_path(f)) for f in (folder, whole))
    for key in tensors:
        if key.startswith(("network/", "optimizer/", "random/")):
            assert torch.equal(tensors[key], wanted[key]), key
    assert state["history"] == wanted_state["history"]
    for key in wanted:
        if key.startswith("batch_losses/"):
            assert torch.equal(tensors[key], wanted[key]), key


def test_the_first_process_decides_when_to_stop(recipes, halves: Splits, tmp_path, tiny_recipe):
    keep = KeepBest("total", patience=1)
    recipe = tiny_recipe("mnist-conv-vae-z2", epochs=5, keep_best=keep)

    def work(world: World) -> None:
        totals = iter([3.0, 2.0, 2.5] if world.rank == 0 else [1.0, 2.0, 2.0])
        loop.evaluate = lambda *_: {"total": next(totals)}
        run = train(recipe, halves, tmp_path / "vae", world)
        assert run.best is not None
        assert (run.epochs, run.stopped, run.best.epoch) == (3, True, 2)

    assert in_two_processes(work) == [0, 0]


def test_one_process_is_a_world_of_its_own():
    world, x = World(), torch.arange(4)
    assert (world.rank, world.size, world.device) == (0, 1, None)
    assert world.share(x) is world.mean(x) is world.agreed(x) is x
    assert launch(torch.device("cpu"), 1, 1, "anything") == world


@pytest.mark.parametrize(
    ("device", "strategy", "message"),
    [
        ("meta", "ddp", "on cpu and cuda, not on meta"),
        ("cpu", "fsdp", "strategy 'fsdp' is not ddp"),
        ("cuda", "ddp", "--devices 99: there are"),
    ],
)
def test_what_cannot_be_launched_is_refused(device, strategy, message):
    with pytest.raises(ValueError, match=message):
        launch(torch.device(device), 99, 1, strategy)


def test_the_end_of_one_process_is_the_end_of_those_it_started():
    sleeping = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)]
    launcher = SimpleNamespace(procs=list(sleeping))
    fabric: Any = SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))
    devices._end_others(fabric)
    assert [process.poll() for process in sleeping] == [-signal.SIGKILL]
    assert launcher.procs == []  # or Fabric's watch would end this process, too


# The real command line


@pytest.fixture
def command(tree: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``command(*options)``: latent-train in two processes of a group of their own."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        given = ["--data", str(tree), "--out", str(tmp_path / "two"), "--device", "cpu"]
        fit_it = [sys.executable, "-m", "training.cli", "fit", "mnist-linear-vae-z2"]
        process = subprocess.Popen(
            [*fit_it, *given, "--batch-size", "8", "--devices", "2", "--strategy", "ddp", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if alive(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(process: subprocess.Popen[str]) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def totals(output: str) -> list[float]:
    """The held-out totals of the first two epochs, as printed."""
    return [float(total) for total in re.findall(r"epoch \d+: test/total (\S+)", output)[:2]]


def test_the_command_line_with_two_processes_and_its_ctrl_c(command, tree, tmp_path):
    folder = tmp_path / "two" / "mnist-linear-vae-z2"
    process = command("--epochs", "1000000")
    deadline = time.monotonic() + PATIENCE
    while not (folder / "card.json").exists() or read_card(folder).epochs < 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert not alive(process)
    assert "Traceback" not in output
    for once in ("2 processes", "epoch 1: ", "epoch 2: ", "Stopping", "--resume"):
        assert output.count(once) == 1  # only the first one talks
    assert "GLOBAL_RANK" not in output
    assert load(folder).card.epochs >= 2

    given = ["--data", str(tree), "--out", str(tmp_path / "one"), "--device", "cpu"]
    alone = ["fit", "mnist-linear-vae-z2", *given, "--batch-size", "8", "--epochs", "2"]
    result = CliRunner().invoke(app, alone)
    assert result.exit_code == 0
    assert totals(output) == pytest.approx(totals(result.output), rel=1e-3)
    assert len(totals(output)) == 2
