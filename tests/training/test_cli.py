import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from tests.conftest import SPECS
from tests.training.conftest import text
from training import checkpoint, fitting, loop, pace, publish, running
from training.checkpoint import find, load, partial, read_card
from training.cli import app
from training.console import SAVING, Interrupts
from training.data import DataError, ImageData
from training.recipes import ELBO, RECIPES, for_images

VAE = "mnist-conv-vae-z2"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tiny_recipe) -> None:
    """Recipes that train in an instant, on pictures of 8x8."""
    for name in SPECS:
        monkeypatch.setitem(RECIPES, name, tiny_recipe(name, dataset="mnist"))
    monkeypatch.delenv("LATENT_DATA", raising=False)
    monkeypatch.delenv("LATENT_CHECKPOINTS", raising=False)


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish after every epoch, however little time these tiny ones take."""
    monkeypatch.setattr(pace, "SHARE_OF_TIME", math.inf)


@pytest.fixture
def fit(tree: Path, tmp_path: Path) -> Callable[..., Result]:
    """``fit(recipe, *options)`` on the tree, into ``tmp_path/runs``, on the CPU."""

    def run(recipe: str, *options: str) -> Result:
        given = ["--data", str(tree), "--out", str(tmp_path / "runs"), "--device", "cpu"]
        return runner.invoke(app, ["fit", recipe, *given, *options])

    return run


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_list_shows_every_name_whole_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = "imagenette-conv-gan-z500-fortnight"
    monkeypatch.setitem(RECIPES, long, replace(RECIPES["mnist-cgan"], name=long))
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    _, _, *rows = result.stdout.splitlines()
    assert [row.split()[0] for row in rows] == list(RECIPES)
    row = next(row for row in rows if row.startswith("mnist-wgan-z100 "))
    assert row.split() == ["mnist-wgan-z100", "WGAN,", "z=100", "R1", "600", "64"]


def test_the_list_as_json_has_every_recipe_with_its_parameters():
    result = runner.invoke(app, ["list", "--json"])
    assert result.exit_code == 0
    listed = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert list(listed) == list(RECIPES)
    networks = {
        "vae": {"encoder", "decoder"},
        "gan": {"generator", "discriminator"},
        "cgan": {"generator", "discriminator"},
        "wgan": {"generator", "critic"},
        "wgan-gp": {"generator", "critic"},
    }
    for name, entry in listed.items():
        recipe = RECIPES[name]
        for key in ("report", "row", "family", "dataset", "latent_dim", "epochs", "batch_size"):
            assert entry[key] == getattr(recipe, key)
        if entry["family"] in networks:
            assert entry["parameters"].keys() == networks[entry["family"]]
        assert all(count > 0 for count in entry["parameters"].values())
    dense = listed["mnist-dense-vae-h512-z2"]["parameters"]  # 784-512-2x2 and 2-512-784
    assert dense == {"encoder": 403_972, "decoder": 403_728}


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


@pytest.mark.parametrize("name", list(SPECS))
def test_fit_trains_on_a_folder_of_pictures_and_verify_accepts_it(fit, tmp_path, name):
    result = fit(name, "--batch-size", "8")
    assert result.exit_code == 0, result.output
    (folder,) = find(tmp_path / "runs")
    assert folder.name == name
    assert (folder.parent.name == "judges") == (name == "mnist-judge")
    opened = load(folder)
    assert opened.card.classes == ("bar", "cross", "dot")
    assert opened.card.num_classes == (3 if name == "mnist-cgan" else 0)
    assert opened.card.recipe.dataset == "shapes"
    assert (opened.card.epochs, opened.card.images_seen) == (2, 2 * 24)
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


def test_dry_run_refuses_what_the_run_would_and_writes_nothing(fit, tmp_path):
    runs = tmp_path / "runs"

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}

    assert "there is no run to resume" in text(fit(VAE, "--resume", "--dry-run"))
    assert not runs.exists()
    assert fit(VAE).exit_code == 0
    before = contents()
    for options, said in (
        ([], "is already there: pass --resume to go on with its run, --overwrite to replace it"),
        (["--resume", "--seed", "1"], "seed was 0, is 1"),
        (["--overwrite", "--seed", "1"], ""),
        (["--resume", "--epochs", "3"], ""),
    ):
        result = fit(VAE, "--dry-run", *options)
        assert result.exit_code == (1 if said else 0), result.output
        assert said in text(result)
    assert contents() == before
    (runs / VAE / "card.json").unlink()
    assert "is not a checkpoint" in text(fit(VAE, "--dry-run", "--overwrite"))
    shutil.rmtree(runs)
    runs.write_text("a file")
    result = fit(VAE, "--dry-run")
    assert result.exit_code == 1
    assert f"{runs} cannot be written" in text(result)


def test_an_unknown_recipe_suggests_one(fit):
    result = fit("mnist-gan-r")
    assert result.exit_code == 1
    assert "did you mean mnist-gan-r3 or mnist-gan-r2 or mnist-wgan-r2?" in text(result)
    result = fit("zebra")
    assert result.exit_code == 1
    assert "no recipe 'zebra': `latent-train list` shows them all" in text(result)


def test_missing_data_says_how_to_get_it(tmp_path):
    result = runner.invoke(app, ["fit", "mnist-linear-vae-z2", "--data", str(tmp_path / "none")])
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


@pytest.mark.parametrize("saved_before", [False, True])
def test_ctrl_c_between_two_epochs_saves_what_has_been_learnt(
    fit, tmp_path, monkeypatch, saved_before
):
    def tell(run, progress):
        if run.epochs == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_tell", tell)
    monkeypatch.setattr(pace.Pace, "due", property(lambda pace: saved_before))
    result = fit(VAE, "--epochs", "9")
    assert result.exit_code == 130, result.output
    folder = tmp_path / "runs" / VAE
    card = read_card(folder)
    assert card.epochs == 3
    assert "Stopped after 3 of 9 epochs" in card.notes
    assert running.read(running.path_of(folder)).state == "interrupted"


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
    assert left(tmp_path / "runs") == [VAE, f"{VAE}.running.json", f"{VAE}.state"]


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
    assert f"Stopped after {epochs} of 50 epochs." in text(result)
    assert load(tmp_path / "runs" / VAE).card.epochs == epochs
    assert left(tmp_path / "runs") == [VAE, f"{VAE}.running.json", f"{VAE}.state"]


def test_ctrl_c_before_the_first_step_writes_nothing(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.steps, "make_step", at_call(loop.steps.make_step, 1))
    result = fit(VAE)
    assert result.exit_code == 130
    assert "before anything new was saved" in text(result)
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
    assert left(tmp_path / "runs") == [VAE, f"{VAE}.running.json", f"{VAE}.state"]


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
    assert "try a smaller learning rate" in text(result)
    assert not (tmp_path / "runs" / VAE).exists()


def test_interrupts_are_held_to_the_end_of_the_block_and_the_handler_restored(capsys):
    before = signal.getsignal(signal.SIGINT)
    reached = False
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.held():
            ctrl_c()
            reached = True
        assert reached
        with interrupts.held():  # the first has come: nothing is raised at the end
            pass
        with interrupts.held():
            ctrl_c()  # a second one breaks through
            raise AssertionError("a second Ctrl-C waits for nothing")
    assert signal.getsignal(signal.SIGINT) is before
    assert " ".join(capsys.readouterr().out.split()).count(SAVING) == 1


def test_interrupts_that_are_not_held_are_raised_at_once():
    with pytest.raises(KeyboardInterrupt), Interrupts():
        ctrl_c()
        raise AssertionError("nothing holds it")


def test_interrupts_that_the_shell_has_switched_off_stay_off():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.held():
            ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


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
    assert left(out) == [VAE, f"{VAE}.running.json", f"{VAE}.state"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of two classes, of every mode and no two of one size, as people have them."""
    root, modes = tmp_path / "My Pictures", ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16")
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for i in range(12):
            height, width = 9 + i, 30 - i
            mode = modes[i % len(modes)]
            if mode == "I;16":
                pixels = rng.integers(0, 2**16, (height, width), dtype=np.uint16)
                picture = Image.fromarray(pixels)
            else:
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                picture = Image.fromarray(pixels).convert(mode)
            picture.save(root / name / f"{i}.{'tiff' if mode == 'CMYK' else 'png'}")
    return root


@pytest.fixture
def fit_images(pictures: Path, tmp_path: Path) -> Callable[..., Result]:
    """``fit_images(*options)`` on `pictures`, into ``tmp_path/runs``, on the CPU."""

    def run(*options: str) -> Result:
        given = ["--images", str(pictures), "--out", str(tmp_path / "runs"), "--device", "cpu"]
        small = ["--size", "8", "--z", "3", "--batch-size", "4", "--epochs", "1"]
        return runner.invoke(app, ["fit", *given, *small, *options])

    return run


@pytest.mark.parametrize("family", ["vae", "gan", "cgan", "wgan", "wgan-gp"])
def test_own_pictures_train_a_model_of_every_family(fit_images, tmp_path, family):
    result = fit_images("--family", family)
    assert result.exit_code == 0, result.output
    opened = load(tmp_path / "runs" / f"my-pictures-{family}-z3")
    assert opened.card.family == family
    assert opened.card.classes == ("cats", "dogs")
    assert opened.card.recipe.dataset == "My Pictures"
    assert opened.card.title == f"{family.upper()} of my-pictures, z=3"
    assert (opened.card.epochs, opened.card.recipe.epochs) == (1, 1)
    assert "Stopped" not in opened.card.notes
    y = torch.tensor([0, 1]) if family == "cgan" else None
    x = opened.decode(torch.randn(2, 3), y)
    assert x.shape == (2, 3, 8, 8)
    assert opened.history()["test"]
    assert (opened.encode(x)[0].shape == (2, 3)) if family == "vae" else not opened.atlas()


def test_own_pictures_in_grey_and_under_a_name(fit_images, tmp_path):
    assert fit_images("pets", "--family", "vae", "--grey").exit_code == 0
    card = load(tmp_path / "runs" / "pets").card
    assert card.image_shape == (1, 8, 8)
    assert card.title == "VAE of pets, z=3"


def test_more_epochs_of_own_pictures_are_trained_on_from_their_last(fit_images, tmp_path):
    assert fit_images("pets", "--family", "vae").exit_code == 0
    assert fit_images("pets", "--family", "vae", "--resume", "--epochs", "3").exit_code == 0
    card = read_card(tmp_path / "runs" / "pets")
    assert (card.epochs, card.recipe.epochs, card.notes) == (3, 3, "")


def test_the_name_of_a_folder_is_cut_to_what_a_model_may_be_called(pictures, tmp_path):
    long = pictures.rename(tmp_path / ("p" * 150))
    words = ["--images", str(long), "--out", str(tmp_path / "runs"), "--device", "cpu", "--z", "3"]
    small = ["--size", "8", "--batch-size", "4", "--epochs", "1", "--family", "vae"]
    result = runner.invoke(app, ["fit", *words, *small])
    assert result.exit_code == 0, result.output
    (folder,) = find(tmp_path / "runs")
    assert folder.name == "p" * 93 + "-vae-z3"


def test_a_class_whose_name_is_no_text_is_refused_before_training(fit_images, pictures, tmp_path):
    try:
        (pictures / "cats").rename(pictures / os.fsdecode(b"F\xf6\xe9"))
    except OSError:
        pytest.skip("this disk has no such names")
    result = fit_images("--family", "vae")
    assert result.exit_code == 1
    assert "has a name that is not UTF-8: rename it" in text(result)
    assert list(tmp_path.glob("runs/*")) == []


@pytest.mark.parametrize("classes", [1000, 1001])
def test_more_classes_than_a_checkpoint_can_have_are_refused_before_training(classes):
    recipe = for_images("many", "cgan", 4, 8)
    names = tuple(str(i) for i in range(classes))
    data = ImageData(torch.zeros(classes, 3, 8, 8), torch.arange(classes), names, "many")
    if classes == 1000:
        assert fitting._for_data(recipe, data).num_classes == 1000
        return
    with pytest.raises(DataError, match="at most 1,000 classes apart, but there are 1,001 in many"):
        fitting._for_data(recipe, data)
    unconditional = for_images("many", "gan", 4, 8)
    assert fitting._for_data(unconditional, data).dataset == "many"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family", "diffusion"], "family 'diffusion' is not one of vae, gan, cgan"),
        ([], "--images needs --family: vae, gan, cgan, wgan or wgan-gp"),
        (["--family", "vae", "--z", "0"], "z = 0 is out of range: 1 to 4096"),
        (["--family", "vae", "--z", "5000"], "z = 5000 is out of range"),
        (["--family", "vae", "--size", "100"], "size 100 is out of range"),
        (["--family", "vae", "--size", "512"], "the nearest is 256"),
        (["mnist-cgan", "--family", "vae"], "mnist-cgan is the name of a recipe"),
        (["My Model!", "--family", "vae"], "'My Model!' is no name for a model"),
        (["judges", "--family", "vae"], "'judges' is no name for a model"),
        (["results", "--family", "vae"], "'results' is no name for a model"),
        (["pets.partial", "--family", "vae"], "what ends in .partial, .state, .log or .json lies"),
        (["pets.state", "--family", "vae"], "'pets.state' is no name for a model"),
        (["pets.log", "--family", "vae"], "'pets.log' is no name for a model"),
        (["pets.running.json", "--family", "vae"], "'pets.running.json' is no name for a model"),
        (["--family", "wgan", "--batch-size", "20"], "use a smaller batch or more images"),
        (["--family", "vae", "--timeline", "1,x"], "no list of epochs like 1,5,20"),
        (["--family", "vae", "--timeline", ""], "no list of epochs like 1,5,20"),
        (["--family", "vae", "--timeline", "0,5"], "counts epochs from 1"),
        (["--family", "vae", "--timeline", "1000000"], "counts epochs from 1 to 100,000"),
        (["--family", "vae", "--precision", "16"], "is not 32-true or bf16-mixed"),
        (["--family", "vae", "--devices", "3"], "cannot be shared evenly by 3 processes"),
        (["--family", "vae", "--devices", "2", "--strategy", "fsdp"], "strategy 'fsdp' is not ddp"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    fit_images, tmp_path, options, message
):
    result = fit_images(*options)
    assert result.exit_code == 1
    assert message in text(result)
    assert "Traceback" not in result.output
    assert list(tmp_path.glob("runs/*/card.json")) == []


def test_a_conditional_model_wants_two_classes(fit_images, pictures):
    shutil.rmtree(pictures / "dogs")
    result = fit_images("--family", "cgan")
    assert result.exit_code == 1
    assert "at least 2 classes" in text(result)


def test_a_recipe_or_pictures_must_be_named(tmp_path):
    result = runner.invoke(app, ["fit"])
    assert result.exit_code == 1
    assert "say which recipe" in text(result)
    result = runner.invoke(app, ["fit", VAE, "--family", "vae"])
    assert result.exit_code == 1
    assert "--family goes with --images" in text(result)


def test_settings_given_reach_the_card(fit, tmp_path):
    options = ["--timeline", "2,1,2", "--ema", "0.5", "--batch-size", "8", "--precision"]
    assert fit(VAE, *options, "bf16-mixed").exit_code == 0
    opened = load(tmp_path / "runs" / VAE)
    recipe = opened.card.recipe
    assert (recipe.batch_size, recipe.ema_decay, recipe.bf16) == (8, 0.5, True)
    assert opened.timeline() == list(recipe.timeline) == [1, 2]
    assert opened.card.images_seen == 2 * 24


def test_learning_rate_and_beta_reach_the_card_and_the_loss(fit, tmp_path):
    assert fit(VAE, "--learning-rate", "0.01", "--beta", "4").exit_code == 0
    card = read_card(tmp_path / "runs" / VAE)
    assert card.recipe.learning_rate == 0.01
    assert card.recipe.objective == ELBO(beta=4.0)
    parts = {name: card.metrics[f"test/{name}"] for name in ("total", "reconstruction", "kl")}
    assert parts["total"] == pytest.approx(parts["reconstruction"] + 4 * parts["kl"], rel=1e-5)
    result = fit("mnist-cgan", "--beta", "4")
    assert result.exit_code == 1
    assert "--beta weighs the KL of a VAE, and mnist-cgan is none" in text(result)


def test_epochs_of_the_timeline_behind_the_last_one_are_told(fit):
    result = fit(VAE, "--timeline", "1,3,5")
    assert result.exit_code == 0
    assert "--timeline 3,5: the run ends after epoch 2" in text(result)


def test_an_average_of_zero_and_full_precision_turn_a_recipes_own_off(fit, tmp_path):
    assert fit("mnist-cgan", "--ema", "0", "--precision", "32-true").exit_code == 0
    recipe = read_card(tmp_path / "runs" / "mnist-cgan").recipe
    assert (recipe.ema_decay, recipe.bf16) == (None, False)


def test_publishing_takes_little_of_the_time_but_the_end_is_always_published(
    fit, tmp_path, monkeypatch
):
    monkeypatch.setattr(pace, "SHARE_OF_TIME", 1e-9)
    published: list[int] = []
    real = publish.publish

    def spy(run, *rest):
        published.append(run.epochs)
        return real(run, *rest)

    monkeypatch.setattr(publish, "publish", spy)
    result = fit(VAE, "--epochs", "5")
    assert result.exit_code == 0, result.output
    assert published == [1, 5]
    assert [f"epoch {n}:" in result.output for n in range(1, 6)] == [True] * 5
    assert len(load(tmp_path / "runs" / VAE).history()["test"]["total"]) == 5


def test_a_device_without_bfloat16_trains_in_float32(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("training.devices.has_bf16", lambda device: False)
    monkeypatch.setitem(RECIPES, VAE, replace(RECIPES[VAE], bf16=True))
    run = fit(VAE, "--epochs", "1")
    assert run.exit_code == 0, run.output
    assert "no bfloat16" in run.output
    assert not read_card(tmp_path / "runs" / VAE).recipe.bf16
    asked = fit(VAE, "--epochs", "1", "--overwrite", "--precision", "bf16-mixed")
    assert asked.exit_code == 0, asked.output
    assert read_card(tmp_path / "runs" / VAE).recipe.bf16


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError(),
    ],
)
def test_no_memory_left_names_the_setting_to_lower(fit, tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(loop.steps, "vae_step", full)
    result = fit(VAE)
    assert result.exit_code == 1
    assert "lower --batch-size, now 16" in text(result)
    assert not (tmp_path / "runs" / VAE).exists()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer"),
        torch.distributed.DistBackendError("NCCL error: remote process exited"),
    ],
)
def test_a_process_left_alone_by_the_others_says_so(fit, monkeypatch, error):
    def alone(*_, **__):
        raise error

    monkeypatch.setattr(loop.steps, "vae_step", alone)
    result = fit(VAE)
    assert result.exit_code == 1
    assert "another process of this run has ended; --resume goes on" in text(result)


def test_other_errors_are_not_taken_for_a_lack_of_memory(fit, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(loop.steps, "vae_step", broken)
    assert str(fit(VAE).exception) == "a defect"


def test_tensorboard_that_is_not_installed_is_said_before_training(fit, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("trained"))
    result = fit(VAE, "--tensorboard", str(tmp_path / "board"))
    assert result.exit_code == 1
    assert "pip install tensorboard" in text(result)


def test_a_folder_for_tensorboard_that_cannot_be_made_is_named(fit, tmp_path, monkeypatch):
    class Writer:
        def __init__(self, folder: str, purge_step: int):
            Path(folder).mkdir(parents=True)

    fake = types.ModuleType("torch.utils.tensorboard")
    vars(fake)["SummaryWriter"] = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    (tmp_path / "file").write_text("")
    result = fit(VAE, "--tensorboard", str(tmp_path / "file" / "x"))
    assert result.exit_code == 1
    folder = tmp_path / "file" / "x" / VAE
    assert f"--tensorboard: {folder} cannot be written: Not a directory" in text(result)
    assert str(tmp_path / "runs") not in text(result)


def test_every_loss_of_every_epoch_goes_to_tensorboard(fit, tmp_path, monkeypatch):
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int):
            assert (folder, purge_step) == (str(tmp_path / "board" / VAE), 1)

        def __enter__(self):
            return self

        def __exit__(self, *_: object):
            written.append(("closed", 0.0, 0))

        def add_scalar(self, *scalar):
            written.append(scalar)

    fake = types.ModuleType("torch.utils.tensorboard")
    vars(fake)["SummaryWriter"] = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    assert fit(VAE, "--tensorboard", str(tmp_path / "board")).exit_code == 0
    history = load(tmp_path / "runs" / VAE).history()
    expected = [
        (f"{name}/{split}", values[epoch], epoch + 1)
        for epoch in range(2)
        for split, parts in history.items()
        for name, values in parts.items()
    ]
    assert written == [*expected, ("closed", 0.0, 0)]


def test_tensorboard_reads_what_was_written(fit, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # pyright: ignore
        EventAccumulator,
    )

    assert fit(VAE, "--tensorboard", str(tmp_path / "board")).exit_code == 0
    events = EventAccumulator(str(tmp_path / "board" / VAE))
    events.Reload()
    history = load(tmp_path / "runs" / VAE).history()
    for split, parts in history.items():
        for name, values in parts.items():
            seen = events.Scalars(f"{name}/{split}")
            assert [scalar.step for scalar in seen] == [1, 2]
            assert [scalar.value for scalar in seen] == pytest.approx(values, rel=1e-5)


def test_a_mixture_in_the_plane_trains_without_any_data(tmp_path):
    options = ["--device", "cpu", "--epochs", "1", "--batch-size", "10000"]
    result = runner.invoke(app, ["fit", "ring8-gan", "--out", str(tmp_path / "runs"), *options])
    assert result.exit_code == 0, result.output
    opened = load(tmp_path / "runs" / "ring8-gan")
    assert opened.card.image_shape == (1, 1, 2)
    points = opened.decode(torch.randn(5, 2))
    assert points.shape == (5, 1, 1, 2)
    assert 0 <= points.min() <= points.max() <= 1
    assert Image.open(tmp_path / "runs" / "ring8-gan" / "samples.png").size == (224, 224)


def test_a_collapse_is_warned_about_after_its_epoch(fit, monkeypatch):
    evaluate = loop.evaluate
    monkeypatch.setattr(loop, "evaluate", lambda *a: evaluate(*a) | {"kl": 0.0})
    result = fit(VAE)
    assert "Warning: posterior collapse" in text(result)
    assert "Try a smaller --beta" in text(result)
