import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from training import checkpoint, loop, publish
from training.checkpoint import find, load, partial, read_card
from training.cli import app, interrupts_held
from training.recipes import RECIPES

VAE = "mnist-conv-vae-z2"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tiny_recipe) -> None:
    """Recipes that train in an instant; the pictures stay 28x28, as in the tree."""
    for name in RECIPES:
        network = replace(tiny_recipe(name).network, image_shape=(1, 28, 28))
        monkeypatch.setitem(RECIPES, name, tiny_recipe(name, network=network, dataset="mnist"))
    monkeypatch.delenv("LATENT_DATA", raising=False)
    monkeypatch.delenv("LATENT_CHECKPOINTS", raising=False)


@pytest.fixture
def fit(tree: Path, tmp_path: Path) -> Callable[..., Result]:
    """``fit(recipe, *options)`` on the tree, into ``tmp_path/runs``, on the CPU."""

    def run(recipe: str, *options: str) -> Result:
        given = ["--data", str(tree), "--out", str(tmp_path / "runs"), "--device", "cpu"]
        return runner.invoke(app, ["fit", recipe, *given, *options])

    return run


def text(result: Result) -> str:
    return " ".join(result.output.split())


def test_list_shows_every_name_whole_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = "imagenette-conv-gan-z500-fortnight"
    monkeypatch.setitem(RECIPES, long, replace(RECIPES["mnist-cgan"], name=long))
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert set(RECIPES) <= {line.split()[0] for line in result.stdout.splitlines() if line.strip()}


def test_recipes_and_the_list_do_without_torch():
    code = (
        "import sys, training.recipes; assert 'torch' not in sys.modules;"
        "from training.cli import app; app(['list'], standalone_mode=False);"
        "assert 'torch' not in sys.modules and 'umap' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mnist-cgan" in done.stdout


def test_help_names_every_command():
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in ("list", "fit", "verify", "download"):
        assert command in result.stdout


@pytest.mark.parametrize("name", list(RECIPES))
def test_fit_trains_on_a_folder_of_pictures_and_verify_accepts_it(fit, tmp_path, name):
    result = fit(name)
    assert result.exit_code == 0, result.output
    (folder,) = find(tmp_path / "runs")
    assert folder.name == name
    assert (folder.parent.name == "judges") == (name == "mnist-judge")
    opened = load(folder)
    assert opened.card.classes == ("bar", "cross", "dot")
    assert opened.card.num_classes == (3 if name == "mnist-cgan" else 0)
    assert opened.card.recipe.dataset == "shapes"
    assert (opened.card.epochs, opened.card.images_seen) == (2, 2 * 16)
    assert str(folder) in result.output.replace("\n", "")
    result = runner.invoke(app, ["verify", str(tmp_path / "runs")])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("ok")


def test_dry_run_writes_nothing(fit, tmp_path):
    result = fit(VAE, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "24 training and 12 test images" in text(result)
    assert "encoder" in text(result)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_an_unknown_recipe_suggests_one(fit):
    result = fit("mnist-gan")
    assert result.exit_code == 1
    assert "did you mean mnist-cgan" in text(result)


def test_missing_data_says_how_to_get_it(tmp_path):
    result = runner.invoke(app, ["fit", VAE, "--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "latent-train download" in text(result)
    assert result.stdout == ""  # errors go to stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there(fit, tmp_path):
    result = fit(VAE, "--device", "cuda:99")
    assert result.exit_code == 1
    assert "--device cpu works everywhere" in text(result)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", [["--epochs", "0"], ["--seed", "-1"], ["--epochs", "x"]])
def test_settings_out_of_range_are_usage_errors(fit, tmp_path, options):
    assert fit(VAE, *options).exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_messages_keep_square_brackets(tmp_path):
    result = runner.invoke(app, ["verify", str(tmp_path / "[red]runs[/]")])
    assert result.exit_code == 1
    assert "[red]runs[/]" in result.output


def test_an_existing_checkpoint_is_replaced_only_when_asked(fit, tmp_path):
    folder = tmp_path / "runs" / VAE
    assert fit(VAE).exit_code == 0
    before = read_card(folder)
    result = fit(VAE, "--seed", "1")
    assert result.exit_code == 1
    assert "--overwrite" in result.output
    assert read_card(folder) == before
    assert fit(VAE, "--seed", "1", "--overwrite").exit_code == 0
    assert read_card(folder).seed == 1
    assert not partial(folder).exists()


def test_a_folder_that_is_no_checkpoint_is_never_replaced(fit, tmp_path):
    folder = tmp_path / "runs" / VAE
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("precious")
    result = fit(VAE, "--overwrite")
    assert result.exit_code == 1
    assert "is not a checkpoint" in text(result)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_an_out_folder_that_cannot_be_made_fails_before_training(fit, tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("a file")
    monkeypatch.setattr(loop, "fit", lambda *_, **__: pytest.fail("trained"))
    result = fit(VAE)
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_a_full_disk_is_said_and_keeps_the_old_checkpoint(fit, tmp_path, monkeypatch):
    assert fit(VAE).exit_code == 0

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = fit(VAE, "--overwrite", "--seed", "1")
    monkeypatch.undo()
    assert result.exit_code == 1
    assert "No space left on device" in text(result)
    assert "untouched" in text(result)
    assert load(tmp_path / "runs" / VAE).card.seed == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [VAE]


def ctrl_c(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def at_call(function: Callable, number: int, before: Callable[..., None] = ctrl_c) -> Callable:
    """``function``, with ``before`` called ahead of its ``number``-th call."""
    calls = iter(range(1, 1000))

    def wrapped(*args, **kwargs):
        if next(calls) == number:
            before()
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("module", "name", "number", "epochs"),
    [
        (loop.steps, "vae_step", 2, 1),  # 24 pictures in batches of 16: a step an epoch
        (loop, "evaluate", 2, 1),
        (publish.atlas, "build", 1, 1),
        (publish.atlas, "build", 2, 2),
        (os, "fsync", 2, 1),
    ],
)
def test_ctrl_c_anywhere_leaves_a_checkpoint(
    fit, tmp_path, monkeypatch, module, name, number, epochs
):
    monkeypatch.setattr(module, name, at_call(getattr(module, name), number))
    result = fit(VAE, "--epochs", "50")
    assert result.exit_code == 130, result.output
    assert "Traceback" not in result.output
    assert "Stopping" in result.output
    assert f"Stopped after {epochs} of 2 epochs." in text(result) or epochs == 2
    assert load(tmp_path / "runs" / VAE).card.epochs == epochs
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [VAE]


def test_ctrl_c_before_the_first_step_writes_nothing(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 1))
    result = fit(VAE)
    assert result.exit_code == 130
    assert "before there was anything to save" in text(result)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_second_ctrl_c_gives_the_epoch_up_and_keeps_the_last_checkpoint(
    fit, tmp_path, monkeypatch
):
    def twice():
        ctrl_c()
        ctrl_c()

    monkeypatch.setattr(publish.atlas, "build", at_call(publish.atlas.build, 2, twice))
    result = fit(VAE, "--epochs", "50")
    assert result.exit_code == 130, result.output
    assert load(tmp_path / "runs" / VAE).card.epochs == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [VAE]


def test_an_interrupted_run_does_not_replace_a_better_checkpoint(fit, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / VAE
    assert fit(VAE, "--epochs", "4").exit_code == 0
    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 3))
    result = fit(VAE, "--epochs", "4", "--seed", "1", "--overwrite")
    assert result.exit_code == 130
    assert "has seen more images and was kept" in text(result)
    assert (read_card(folder).seed, read_card(folder).epochs) == (0, 4)
    kept = load(partial(folder)).card
    assert (kept.seed, kept.epochs) == (1, 2)
    assert find(tmp_path / "runs") == [folder]

    monkeypatch.undo()


def test_a_run_that_catches_up_replaces_the_checkpoint_before_it_is_finished(
    fit, tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / VAE
    assert fit(VAE, "--epochs", "2").exit_code == 0
    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 4))
    result = fit(VAE, "--epochs", "9", "--seed", "1", "--overwrite")
    assert result.exit_code == 130
    assert (read_card(folder).seed, read_card(folder).epochs) == (1, 3)
    assert not partial(folder).exists()


def test_fit_recovers_what_a_kill_left(fit, tmp_path):
    folder = tmp_path / "runs" / VAE
    assert fit(VAE).exit_code == 0
    folder.rename(folder.with_name(f".{VAE}.old"))
    result = fit(VAE)
    assert result.exit_code == 1
    assert "already there" in text(result)
    assert load(folder).card.epochs == 2


def test_a_loss_that_is_not_finite_is_said(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *_: {"total": float("nan")})
    result = fit(VAE)
    assert result.exit_code == 1
    assert "no longer finite" in text(result)
    assert list((tmp_path / "runs").iterdir()) == []


def test_interrupts_are_held_to_the_end_of_the_block_and_the_handler_restored():
    before = signal.getsignal(signal.SIGINT)
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_held(False):
        ctrl_c()
        reached = True
    assert reached
    with interrupts_held(True):  # the first has come: nothing is raised at the end
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_verify_names_the_failing_check_and_checks_the_others(tiny_checkpoints, tmp_path):
    root = Path(shutil.copytree(tiny_checkpoints, tmp_path / "runs"))
    assert runner.invoke(app, ["verify", str(root)]).exit_code == 0
    weights = root / VAE / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = runner.invoke(app, ["verify", str(root)])
    assert result.exit_code == 1
    lines = {line.split(":")[0].split()[-1]: line for line in result.output.splitlines()}
    assert "weights.safetensors is truncated" in lines[str(root / VAE)]
    assert lines[str(root / "mnist-cgan")].startswith("ok")
    assert runner.invoke(app, ["verify", str(root / VAE)]).exit_code == 1
    assert runner.invoke(app, ["verify", str(root / "mnist-cgan")]).exit_code == 0


def test_verify_checks_history_and_atlas_too(tiny_checkpoints, tmp_path, monkeypatch):
    root = Path(shutil.copytree(tiny_checkpoints, tmp_path / "runs"))
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(root))
    assert runner.invoke(app, ["verify"]).exit_code == 0
    opened = load(root / VAE)
    weights = checkpoint.inference_weights(opened.network)
    longer = {"train": {}, "test": {"total": [1.0, 2.0, 3.0]}}
    checkpoint.save(root / VAE, opened.card, weights, longer, opened.atlas(), b"")
    result = runner.invoke(app, ["verify"])
    assert result.exit_code == 1
    assert "history.json has 3 values" in text(result)


def test_verify_of_nothing_fails(tmp_path):
    result = runner.invoke(app, ["verify", str(tmp_path)])
    assert result.exit_code == 1
    assert "there are no checkpoints" in text(result)


def test_sigint_to_a_real_process_leaves_a_checkpoint_and_no_traceback(tree, tmp_path):
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "training.cli", "fit", VAE, "--epochs", "1000000"]
    process = subprocess.Popen(
        [*command, "--data", str(tree), "--out", str(out), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / VAE / "card.json").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "Stopp" in output
    assert load(out / VAE).card.epochs >= 1
    assert [path.name for path in out.iterdir()] == [VAE]
