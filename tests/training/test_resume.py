import errno
import functools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from rich.progress import Progress
from torch import Tensor
from typer.testing import CliRunner, Result

from tests.training.children import at_call, begin, ctrl_c, end, kill_9, wait_for
from tests.training.conftest import text
from training import checkpoint, loop, pace, publish, resume, steps
from training.checkpoint import Card, Checkpoint, load, partial, read_card
from training.cli import app
from training.console import Interrupts
from training.data import ImageData
from training.loop import fit
from training.pace import Pace
from training.recipes import ELBO, RECIPES, CrossEntropy, KeepBest, Recipe, Wasserstein
from training.resume import ResumeError, Saver, read, settings_of, state_path

Splits = tuple[ImageData, ImageData]
NAMES = ["vae", "cgan", "wgan-gp", "judge", "dropout", "norm"]
runner = CliRunner()


@dataclass
class Every(Saver):
    """Saves at every ``nth`` chance, whatever the time: 1 is after every step."""

    nth: int = 1
    chances: int = 0

    def save(self, session: loop.Session, *, now: bool = False) -> None:
        self.chances += 1
        if now or self.chances % self.nth == 0:
            super().save(session, now=True)


@pytest.fixture(scope="module")
def recipes(tiny_recipe) -> dict[str, Recipe]:
    """One of each kind, six steps an epoch."""
    keep = KeepBest("total")
    return {
        "vae": tiny_recipe(
            "mnist-conv-vae-z2",
            keep_best=keep,
            timeline=(1, 3),
            batch_history=True,
            learning_rate=1e-2,
        ),
        "cgan": tiny_recipe("mnist-cgan", ema_decay=0.9, timeline=(2,)),
        "wgan-gp": tiny_recipe(  # four critic steps a turn: epochs end in the middle of one
            "mnist-wgan-gp-z2",
            objective=Wasserstein(gradient_penalty=10, critic_steps=4),
            batch_history=True,
        ),
        "judge": tiny_recipe("mnist-judge", objective=CrossEntropy(augment_shift=2), ema_decay=0.9),
        "dropout": tiny_recipe("mnist-wgan-r2"),  # RMSprop and clipping too
        "norm": tiny_recipe("mnist-gan-r4-z2"),
    }


def settings(recipe: Recipe, data: ImageData) -> dict[str, Any]:
    return settings_of(recipe, 0, data.fingerprint)


def train(recipe: Recipe, splits: Splits, folder: Path, *, nth: int = 1, epochs: int = 3) -> None:
    """Train into ``folder`` as the command line does: saving, publishing, going on if it can."""
    state = state_path(folder)
    for run in fit(
        recipe,
        *splits,
        Progress(disable=True),
        epochs=epochs,
        saver=Every(state, settings(recipe, splits[0]), nth=nth),
        resumed=state if state.exists() else None,
    ):
        publish.publish(run, *splits, folder)


@pytest.fixture(scope="module")
def whole(recipes, halves: Splits, tmp_path_factory) -> Callable[[str], Path]:
    """``whole(name)``: the folder of a run that nobody disturbed."""

    @functools.cache
    def run(name: str) -> Path:
        folder = tmp_path_factory.mktemp("whole") / name
        train(recipes[name], halves, folder)
        return folder

    return run


def assert_same_run(folder: Path, expected: Path) -> None:
    """State and checkpoint equal, bit by bit, but for what the clock says."""
    (numbers, tensors), (wanted_numbers, wanted) = (read(state_path(f)) for f in (folder, expected))
    assert numbers | {"seconds": 0} == wanted_numbers | {"seconds": 0}
    assert tensors.keys() == wanted.keys()
    different = [name for name, tensor in tensors.items() if not same_bits(tensor, wanted[name])]
    assert different == []
    card, wanted_card = load(folder).card, load(expected).card
    clock = {"seconds": 0.0, "created": ""}
    assert card.model_copy(update=clock) == wanted_card.model_copy(update=clock)  # with all hashes


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


# Where a run is killed: a module or class, a function of it, and the number of its call.
IN_STEP = (steps, "optimise")  # between two players' steps as well
IN_SAVE = (os, "fsync")  # of the state or of a file of the checkpoint
IN_PUBLISH = (publish, "samples_png")
IN_EVALUATION = (loop, "evaluate")
IN_RENAME = (checkpoint, "replace_folder")
AFTER_SAVE = (resume, "progress_of")


@pytest.mark.parametrize(
    ("name", "nth", "kills"),
    [
        ("vae", 1, [(*IN_STEP, 3), (*IN_SAVE, 4), (*IN_EVALUATION, 2), (*IN_RENAME, 1)]),
        ("vae", 4, [(*IN_STEP, 9), (*IN_PUBLISH, 1), (*IN_STEP, 6)]),
        ("cgan", 1, [(*IN_STEP, 4), (*IN_SAVE, 8), (*IN_STEP, 7), (*IN_PUBLISH, 2)]),
        ("cgan", 3, [(*IN_STEP, 10), (*AFTER_SAVE, 3), (*IN_RENAME, 1)]),
        ("wgan-gp", 1, [(*IN_STEP, 3), (*IN_STEP, 4), (*IN_STEP, 5), (*IN_EVALUATION, 2)]),
        ("wgan-gp", 2, [(*IN_STEP, 8), (*IN_SAVE, 5)]),
        ("judge", 1, [(*IN_STEP, 2), (*IN_SAVE, 2), (*IN_EVALUATION, 1), (*IN_STEP, 5)]),
        ("dropout", 1, [(*IN_STEP, 5), (*IN_STEP, 8), (*IN_SAVE, 3)]),
        ("norm", 5, [(*IN_STEP, 14), (*IN_STEP, 14)]),
    ],
)
def test_a_run_killed_again_and_again_equals_one_left_alone(
    name, nth, kills, recipes, halves: Splits, tmp_path, whole
):
    folder = tmp_path / name
    for module, function, number in kills:

        def killed(module=module, function=function, number=number):
            setattr(module, function, at_call(getattr(module, function), number, kill_9))
            train(recipes[name], halves, folder, nth=nth)

        assert end(begin(killed)) == -signal.SIGKILL
        checkpoint.recover(folder)
        if folder.exists():
            load(folder)  # whatever was published last is whole
    train(recipes[name], halves, folder)
    assert_same_run(folder, whole(name))


def test_a_kill_from_outside_at_any_moment_changes_nothing(
    recipes, halves: Splits, tmp_path, whole
):
    folder = tmp_path / "wgan-gp"
    for wait in (0.02, 0.11, 0.2, 0.06):
        child = begin(lambda: train(recipes["wgan-gp"], halves, folder))
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        end(child)
    train(recipes["wgan-gp"], halves, folder)
    assert_same_run(folder, whole("wgan-gp"))


@pytest.mark.parametrize("call", [1, 2, 3, 12, 13, 14, 25])
def test_ctrl_c_in_a_step_saves_no_half_done_step(call, recipes, halves: Splits, tmp_path, whole):
    """Calls are of the discriminator and the generator in turn."""
    folder = tmp_path / "cgan"

    def interrupted():
        steps.optimise = at_call(steps.optimise, call, ctrl_c)
        train(recipes["cgan"], halves, folder)

    assert end(begin(interrupted)) == 0
    if call > 2:
        done, _ = read(state_path(folder))
        assert done["steps"] == (call - 1) // 2
        assert done["images_seen"] == 16 * done["steps"]
    else:
        assert not state_path(folder).exists()
    train(recipes["cgan"], halves, folder)
    assert_same_run(folder, whole("cgan"))


def test_short_sittings_add_up(recipes, halves: Splits, tmp_path, whole):
    """Ctrl-C saves the state of that step, however short a time after the last one was saved."""
    folder = tmp_path / "cgan"
    state = state_path(folder)
    recipe = recipes["cgan"]

    def sit(steps_taken: int) -> None:
        steps.optimise = at_call(steps.optimise, 2 * steps_taken - 1, ctrl_c)
        seldom = Saver(state, settings(recipe, halves[0]), Pace(3600))
        with Interrupts() as interrupts:
            for run in fit(
                recipe,
                *halves,
                Progress(disable=True),
                epochs=3,
                saver=seldom,
                resumed=state if state.exists() else None,
                hold=interrupts.held,
            ):
                publish.publish(run, *halves, folder)

    done = 0
    for taken in (1, 3, 4, 2):
        assert end(begin(lambda taken=taken: sit(taken))) == 0
        done += taken
        assert read(state)[0]["steps"] == done
    train(recipe, halves, folder)
    assert_same_run(folder, whole("cgan"))


def test_more_epochs_go_on_as_if_asked_for_at_once(recipes, halves: Splits, tmp_path, whole):
    folder = tmp_path / "vae"
    train(recipes["vae"], halves, folder, epochs=1)
    assert read_card(folder).epochs == 1
    train(recipes["vae"], halves, folder, epochs=2)
    train(recipes["vae"], halves, folder, epochs=3)
    assert_same_run(folder, whole("vae"))


def test_a_run_that_patience_ended_is_not_trained_further(recipes, halves: Splits, tmp_path):
    keep = KeepBest("total", larger_is_better=True, patience=1)  # which training makes smaller
    recipe = replace(recipes["vae"], keep_best=keep)
    folder = tmp_path / "vae"
    for _ in range(2):
        train(recipe, halves, folder, epochs=9)
        state, _ = read(state_path(folder))
        assert (state["epochs"], state["stopped"], state["best"][0]) == (2, True, 1)
        assert "Weights of epoch 1 of 2" in read_card(folder).notes


@pytest.fixture
def judges(tiny_checkpoints, tiny_recipe, train_run, halves: Splits, tmp_path) -> list[Checkpoint]:
    """A judge, and another one that was trained longer."""
    publish.publish(train_run(tiny_recipe("mnist-judge", epochs=3)), *halves, tmp_path / "longer")
    return [load(tiny_checkpoints / "judges" / "mnist-judge"), load(tmp_path / "longer")]


def go_on(
    recipe: Recipe, halves: Splits, folder: Path, epochs: int, judge: Checkpoint | None
) -> Card:
    """Train from where the folder's state is, if there is one, and publish."""
    state = state_path(folder)
    *_, run = fit(
        recipe,
        *halves,
        Progress(),
        epochs=epochs,
        judge=judge,
        saver=Every(state, settings(recipe, halves[0])),
        resumed=state if state.exists() else None,
    )
    return publish.publish(run, *halves, folder, judge)


@pytest.fixture
def no_atlas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without laying out 10,000 samples, which takes most of what publishing takes."""
    monkeypatch.setattr(publish.atlas, "build_samples", lambda opened, judge: {})


@pytest.mark.usefixtures("no_atlas")
@pytest.mark.parametrize(
    ("second", "epochs", "best"), [(0, 2, 1), (1, 2, 2), (None, 2, 2), (1, 1, 1)]
)
def test_distances_of_two_judges_are_not_compared(
    second, epochs, best, recipes, judges, halves: Splits, tmp_path, monkeypatch, capsys
):
    """The first judge measures 1, the second 5; a run that is finished is only published again."""
    recipe = replace(recipes["cgan"], keep_best=KeepBest("frechet"))
    folder = tmp_path / "cgan"
    hashes = ["" if i is None else judges[i].card.weights_sha256 for i in (0, second)]
    for judge, distance, planned in (
        (judges[0], 1.0, 1),
        (None if second is None else judges[second], 5.0, epochs),
    ):
        monkeypatch.setattr(loop, "evaluate", lambda *_, value=distance: {"frechet": value})
        card = go_on(recipe, halves, folder, planned, judge)
    assert f"Weights of epoch {best} of {epochs}" in card.notes
    assert card.metrics["test/frechet"] == (1.0 if best == 1 else 5.0)
    assert card.judge == hashes[best - 1]
    told = "the best epoch so far is forgotten" in " ".join(capsys.readouterr().out.split())
    assert told == (best == 2)


@pytest.mark.usefixtures("no_atlas")
@pytest.mark.parametrize("first", [True, False], ids=["goes", "comes"])
def test_a_judge_may_come_or_go_between_two_runs(first, recipes, judges, halves: Splits, tmp_path):
    recipe, folder = recipes["cgan"], tmp_path / "cgan"
    for judged, planned in ((first, 1), (not first, 2), (not first, 3)):
        judge = judges[0] if judged else None
        card = go_on(recipe, halves, folder, planned, judge)
    held_out = load(folder).history()["test"]
    assert {len(values) for values in held_out.values()} == {3}
    assert "frechet" not in held_out, "it was not measured in every epoch"
    assert "test/generator" in card.metrics


def test_a_state_that_names_no_judge_is_gone_on_with(
    recipes, judges, halves: Splits, tmp_path, monkeypatch
):
    """As those are that were saved before judges were noted."""
    recipe = replace(recipes["cgan"], keep_best=KeepBest("frechet"))
    state = tmp_path / "a.state"
    given: dict[str, Any] = {"judge": judges[0], "resumed": None}
    for distance in (1.0, 5.0):
        monkeypatch.setattr(loop, "evaluate", lambda *_, value=distance: {"frechet": value})
        saver = Every(state, settings(recipe, halves[0]))
        planned = 2 if given["resumed"] else 1
        *_, run = fit(recipe, *halves, Progress(disable=True), epochs=planned, saver=saver, **given)
        numbers, tensors = read(state)
        del numbers["judge"]
        resume._write(state, tensors, numbers)
        given["resumed"] = state
    assert run.best is not None
    assert (run.epochs, run.best.epoch) == (2, 1)


def test_the_end_of_a_run_is_saved_whatever_the_interval(recipes, halves: Splits, tmp_path):
    path = tmp_path / "vae.state"
    saver = Saver(path, {})
    for run in fit(recipes["vae"], *halves, Progress(disable=True), saver=saver):
        state, _ = read(path)
        assert (state["epochs"], state["batch"]) == ((2, 0) if run.finished else (0, 1))


def test_states_are_saved_after_the_interval_and_never_take_much_of_the_time(
    recipes, halves: Splits, tmp_path, monkeypatch
):
    clock = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    session = loop.start(recipes["vae"], torch.device("cpu"), 0, 3)
    saver = Saver(tmp_path / "a.state", {}, Pace(10))
    write, taken, saved_at = resume._write, 0.0, []

    def slow(*args):
        write(*args)
        clock[0] += taken
        saved_at.append(clock[0])

    monkeypatch.setattr(resume, "_write", slow)

    def save_for(seconds: int) -> list[float]:
        saved_at.clear()
        for _ in range(seconds):
            saver.save(session)
            clock[0] += 1
        return [round(time, 3) for time in saved_at]

    assert save_for(25) == [100, 110, 120]
    taken = 1.0  # 5 % of the time: every twenty seconds
    assert save_for(45) == [131, 152]
    saver.save(session, now=True)
    assert len(saved_at) == 3


def test_a_full_disk_while_saving_leaves_the_state_before(
    recipes, halves: Splits, tmp_path, monkeypatch
):
    folder = tmp_path / "vae"
    train(recipes["vae"], halves, folder, epochs=1)
    before = state_path(folder).read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        train(recipes["vae"], halves, folder)
    monkeypatch.undo()
    assert state_path(folder).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vae", "vae.state"]
    assert load(folder).card.epochs == 1


def test_a_state_is_safetensors_and_json(whole):
    blob = state_path(whole("cgan")).read_bytes()
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["epochs"] == 3
    names = {name.split("/")[0] for name in header}
    assert {"network", "average", "optimizer", "random", "timeline"} <= names


# The command line


@pytest.fixture
def cli(tree: Path, tmp_path: Path, monkeypatch, tiny_recipe) -> Callable[..., Result]:
    """``cli(*options)``: a VAE on the tree, four steps of six pictures an epoch."""
    recipe = tiny_recipe("mnist-conv-vae-z2", dataset="mnist", batch_size=6, epochs=3)
    monkeypatch.setitem(RECIPES, "mnist-conv-vae-z2", recipe)
    monkeypatch.setattr(resume, "Saver", Every)
    monkeypatch.delenv("LATENT_DATA", raising=False)

    def run(*options: str) -> Result:
        out = [] if "--out" in options else ["--out", str(tmp_path / "runs")]
        given = ["--data", str(tree), "--device", "cpu", *out]
        return runner.invoke(app, ["fit", "mnist-conv-vae-z2", *given, *options])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mnist-conv-vae-z2"


def exits(result: Result) -> None:
    raise SystemExit(result.exit_code)


def test_fit_killed_and_interrupted_goes_on_to_the_same_checkpoint(cli, folder, tmp_path):
    def killed():
        steps.optimise = at_call(steps.optimise, 6, kill_9)
        cli()

    def interrupted():
        steps.optimise = at_call(steps.optimise, 4, ctrl_c)
        result = cli("--resume")
        assert "after 1 epochs" in text(result)
        assert "Go on with it by the same command and --resume." in text(result)
        exits(result)

    assert end(begin(killed)) == -signal.SIGKILL
    again = cli()
    assert again.exit_code == 1
    assert "pass --resume to go on with its run, --overwrite to replace it" in text(again)
    assert end(begin(interrupted)) == 130
    result = cli("--resume")
    assert result.exit_code == 0, result.output
    assert "after 2 epochs" in text(result)
    other = tmp_path / "other"
    assert cli("--out", str(other)).exit_code == 0
    assert_same_run(folder, other / folder.name)


def test_a_finished_run_resumed_publishes_again_and_is_well(cli, folder):
    assert cli().exit_code == 0
    card = read_card(folder)
    (folder / "weights.safetensors").unlink()
    result = cli("--resume")
    assert result.exit_code == 0, result.output
    clock = {"created": card.created}
    assert load(folder).card.model_copy(update=clock) == card


def test_a_recipe_that_is_called_otherwise_is_gone_on_with(cli, folder, monkeypatch):
    assert cli("--epochs", "1").exit_code == 0
    recipe = RECIPES["mnist-conv-vae-z2"]
    monkeypatch.setitem(RECIPES, recipe.name, replace(recipe, title="Another name", row="a row"))
    assert cli("--resume").exit_code == 0
    assert read_card(folder).title == "Another name"


def test_only_the_epochs_may_differ_and_every_difference_is_named(
    cli, folder, tree, tmp_path, monkeypatch
):
    assert cli("--epochs", "1").exit_code == 0
    before = state_path(folder).read_bytes()
    recipe = RECIPES["mnist-conv-vae-z2"]
    changed = replace(recipe, learning_rate=0.01, objective=ELBO(beta=4.0))
    monkeypatch.setitem(RECIPES, recipe.name, changed)
    (tree / "train" / "bar" / "0.png").unlink()
    monkeypatch.setattr(loop, "train_epoch", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(resume, "settings_of", lambda *a: settings_of(*a) | {"processes": 2})
    result = cli("--resume", "--batch-size", "4", "--seed", "7", "--ema", "0.5")
    assert result.exit_code == 1
    for difference in (
        "recipe.batch_size was 6, is 4",
        "seed was 0, is 7",
        f"recipe.learning_rate was {recipe.learning_rate}, is 0.01",
        "recipe.objective.beta was 1.0, is 4.0",
        "recipe.ema_decay was None, is 0.5",
        "data_sha256 was ",
        "processes was 1, is 2",
    ):
        assert difference in text(result)
    assert text(result).count(" was ") == 7
    assert state_path(folder).read_bytes() == before


def test_fewer_epochs_than_are_done_are_refused(cli, folder):
    def killed():
        steps.optimise = at_call(steps.optimise, 11, kill_9)  # in the third epoch
        cli()

    assert end(begin(killed)) == -signal.SIGKILL
    before = read_card(folder)
    for epochs in ("1", "2"):
        result = cli("--resume", "--epochs", epochs)
        assert result.exit_code == 1
        assert "is further on already: give --epochs 3 or more" in text(result)
    assert read_card(folder) == before


def test_nothing_to_resume_is_said(cli, tmp_path):
    result = cli("--resume")
    assert result.exit_code == 1
    assert "there is no run to resume" in text(result)
    assert "start one without --resume" in text(result)


def test_a_damaged_state_is_refused_and_the_checkpoint_stays(cli, folder):
    assert cli("--epochs", "1").exit_code == 0
    path = state_path(folder)
    whole = path.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:100],
        b"",
        b"\x80\x04K\x01.",  # a pickle
        whole.replace(b'\\"epochs\\": 1', b'\\"epochs\\": x', 1),
    ):
        assert damaged != whole
        path.write_bytes(damaged)
        result = cli("--resume")
        assert result.exit_code == 1
        assert "cannot be read" in text(result)
        assert "start anew without --resume, with --overwrite" in text(result)
    assert load(folder).card.epochs == 1
    assert cli("--overwrite").exit_code == 0
    assert load(folder).card.epochs == 3


def test_a_foreign_safetensors_file_is_no_state(cli, folder):
    assert cli().exit_code == 0
    state_path(folder).write_bytes((folder / "weights.safetensors").read_bytes())
    result = cli("--resume")
    assert result.exit_code == 1
    assert "it is not the state of a run" in text(result)


@pytest.mark.parametrize("missing", ["network/", "random/order", "sums/"])
def test_a_state_without_one_of_its_parts_is_refused(
    missing, recipes, halves: Splits, whole, tmp_path
):
    numbers, tensors = read(state_path(whole("cgan")))
    kept = {name: t for name, t in tensors.items() if not name.startswith(missing)}
    if missing == "sums/":
        numbers["counts"] = {"generator": 1}
    resume._write(tmp_path / "a.state", kept, numbers)
    session = loop.start(recipes["cgan"], torch.device("cpu"), 0, 3)
    with pytest.raises(ResumeError, match="does not hold a whole run"):
        resume.restore(tmp_path / "a.state", session)


def test_a_folder_that_is_no_checkpoint_is_left_alone_by_resume_too(cli, folder):
    assert cli().exit_code == 0
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    result = cli("--resume")
    assert result.exit_code == 1
    assert "is not a checkpoint" in text(result)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_full_disk_while_saving_the_state_is_said(cli, folder, monkeypatch):
    assert cli("--epochs", "1").exit_code == 0
    before = state_path(folder).read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = cli("--resume")
    assert result.exit_code == 1
    assert "No space left on device" in text(result)
    assert "untouched" in text(result)
    assert state_path(folder).read_bytes() == before
    assert load(folder).card.epochs == 1


# Two runs in one folder


@pytest.mark.parametrize("options", [[], ["--resume"], ["--overwrite"]])
def test_a_second_run_into_the_folder_is_refused_and_disturbs_nothing(cli, folder, options):
    child = begin(lambda: cli("--epochs", "100000"))
    try:
        wait_for(lambda: (folder / "card.json").exists())
        result = cli("--epochs", "1", *options)
        assert result.exit_code == 1
        assert f"another run is at work in {folder}: wait until it has ended" in text(result)
        assert "or give another --out" in text(result)
        assert cli("--out", str(folder.parent.parent / "other"), "--epochs", "1").exit_code == 0
    finally:
        os.kill(child, signal.SIGINT)
        code = end(child)
    assert code == 0, "it went on to its Ctrl-C"
    load(folder)
    assert read(state_path(folder))[0]["epochs"] >= 1
    names = {folder.name, f"{folder.name}.state", f"{folder.name}.running.json"}
    assert {path.name for path in folder.parent.iterdir()} == names


def test_the_lock_of_a_killed_run_locks_nobody_out(cli, folder):
    child = begin(lambda: cli("--epochs", "100000"))
    wait_for(lambda: (folder / "card.json").exists())
    os.kill(child, signal.SIGKILL)
    end(child)
    epochs = read(state_path(folder))[0]["epochs"]
    assert cli("--resume", "--epochs", str(epochs + 2)).exit_code == 0
    assert load(folder).card.epochs == epochs + 2
    assert not list(folder.parent.glob(".*"))


def test_a_second_run_is_refused_before_it_clears_up_what_the_first_is_writing(cli, folder):
    half = folder.with_name(f".{folder.name}.new-half")
    half.mkdir(parents=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        assert cli().exit_code == 1
    assert half.is_dir()


def test_what_two_processes_save_at_once_is_one_of_the_two(whole, tmp_path, monkeypatch):
    """Where no lock keeps them apart: two machines, and a disk between them that knows none."""
    numbers, tensors = read(state_path(whole("cgan")))
    path = tmp_path / "a.state"
    sync = os.fsync

    def meanwhile(file: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        resume._write(path, tensors, numbers | {"steps": 1})
        sync(file)

    monkeypatch.setattr(os, "fsync", meanwhile)
    resume._write(path, tensors, numbers | {"steps": 2})
    assert read(path)[0]["steps"] == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_half_written_at_a_kill_is_cleared_up(cli, folder):
    def killed():
        os.fsync = at_call(os.fsync, 1, kill_9)
        cli()

    assert end(begin(killed)) == -signal.SIGKILL
    assert list(folder.parent.glob(".*new*"))
    assert cli().exit_code == 0
    assert not list(folder.parent.glob(".*"))


# A run that is to replace a better one


@pytest.fixture
def overwriting(cli, folder) -> bytes:
    """A finished run, and one of another seed that is to replace it, stopped in its second epoch.

    Returned is the state of the finished one.
    """
    assert cli().exit_code == 0
    kept = state_path(folder).read_bytes()

    def interrupted():
        steps.optimise = at_call(steps.optimise, 6, ctrl_c)
        exits(cli("--overwrite", "--seed", "1"))

    assert end(begin(interrupted)) == 130
    return kept


def test_a_run_that_is_kept_keeps_its_state_until_the_new_one_has_caught_up(
    cli, folder, overwriting, tmp_path
):
    assert state_path(folder).read_bytes() == overwriting
    assert (load(folder).card.seed, load(partial(folder)).card.seed) == (0, 1)
    again = cli("--seed", "1")
    assert "pass --resume to go on with its run" in text(again)
    result = cli("--resume", "--seed", "1")
    assert result.exit_code == 0, result.output
    assert "after 1 epochs" in text(result)
    other = tmp_path / "other"
    assert cli("--out", str(other), "--seed", "1").exit_code == 0
    assert_same_run(folder, other / folder.name)
    names = {folder.name, f"{folder.name}.state", f"{folder.name}.running.json"}
    assert {path.name for path in folder.parent.iterdir()} == names


@pytest.mark.usefixtures("overwriting")
def test_resume_goes_on_with_the_run_whose_settings_are_given(cli, folder):
    result = cli("--resume", "--epochs", "4")
    assert result.exit_code == 0, result.output
    assert "after 3 epochs" in text(result)
    assert (load(folder).card.seed, load(folder).card.epochs) == (0, 4)
    assert load(partial(folder)).card.seed == 1
    refused = cli("--resume", "--seed", "2")
    assert refused.exit_code == 1
    assert "seed was 1, is 2" in text(refused)
    assert cli("--resume", "--seed", "1", "--epochs", "5").exit_code == 0
    assert (load(folder).card.seed, load(folder).card.epochs) == (1, 5)
    assert not partial(folder).exists()
    assert read(state_path(folder))[0]["epochs"] == 5
    assert not state_path(partial(folder)).exists()
