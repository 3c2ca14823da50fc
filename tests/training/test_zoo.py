import dataclasses
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.training.children import begin, end, wait_for
from tests.training.conftest import text
from training import judge, zoo
from training.checkpoint import Judged, load, partial, read_card
from training.cli import app
from training.data import ImageData, data_root
from training.devices import pick_device
from training.publish import publish
from training.recipes import RECIPES, KeepBest, by_name
from training.resume import state_path
from training.running import Running, path_of, read
from training.zoo import Job, Plan, chosen, survey, time_left

# The runs in processes of their own are those of mixtures, which need no files and train in
# seconds; where it does not matter what is trained, `instead` puts a script in their place.
GAN, WGAN = "ring8-gan", "ring8-wgan-gp"
VAE = "mnist-dense-vae-h128-z2"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _data_is_in_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENT_DATA", raising=False)


def run(out: Path, *words: str) -> Result:
    return runner.invoke(app, ["zoo", *words, "--out", str(out), "--device", "cpu"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, Result]:
    """Three recipes, two at once, one of them without its data; and what was said of them."""
    root = tmp_path_factory.mktemp("zoo")
    (root / "data").mkdir()
    words = ["--epochs", "1", "--jobs", "2", "--data", str(root / "data")]
    return root / "runs", run(root / "runs", WGAN, VAE, GAN, *words)


@pytest.fixture
def instead(tmp_path: Path, monkeypatch, first) -> Callable[[str], None]:
    """``instead(code)``: a script in the place of ``fit``, which notes its call and does this.

    It knows ``name``, ``out``, and ``whole()``, which brings a checkpoint made before.
    """

    def put(code: str = "") -> None:
        script = tmp_path / "fit"
        lines = [
            f"#!{sys.executable}",
            "import os, signal, shutil, sys, time, pathlib",
            "name, out = sys.argv[4], pathlib.Path(sys.argv[sys.argv.index('--out') + 1])",
            "with (out / 'calls').open('a') as file: file.write(' '.join(sys.argv[4:]) + '\\n')",
            f"def whole(): shutil.copytree({str(first[0])!r} + '/' + name, out / name)",
            code,
        ]
        script.write_text("\n".join(lines))
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    monkeypatch.setattr(zoo, "TICK", 0.05)
    return put


def calls(out: Path) -> list[str]:
    """The recipes that `instead` was called for, in their order."""
    return [line.split()[0] for line in (out / "calls").read_text().splitlines()]


# Which recipes, and in which order


def test_names_and_globs_choose_recipes_and_nothing_chooses_all():
    assert chosen([]) == list(RECIPES.values())
    assert chosen(["ring8-*", GAN]) == [RECIPES[GAN], RECIPES[WGAN]]
    assert {recipe.dataset for recipe in chosen(["cifar10-[dw]*"])} == {"cifar10"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("mnist-gan-r", "did you mean mnist-gan-r3 or mnist-gan-r2 or mnist-wgan-r2?"),
        ("zebra-*", "no recipe is like 'zebra-*': `latent-train list` shows them all"),
    ],
)
def test_what_means_no_recipe_is_said_before_anything_is_written(tmp_path, word, said):
    result = run(tmp_path / "runs", GAN, word)
    assert result.exit_code == 1
    assert said in text(result)
    assert not (tmp_path / "runs").exists()


def test_the_shortest_missing_one_comes_first(tmp_path):
    jobs, unclear = survey(RECIPES.values(), Plan(tmp_path, None))
    assert {job.recipe.name for job in jobs} == RECIPES.keys()
    assert unclear == {}
    work = [job.images * job.arithmetic for job in jobs]
    assert work == sorted(work)
    assert jobs[0].recipe.dataset in ("ring8", "grid25")
    assert jobs[0].images == 20 * 50_000
    judge = next(job for job in jobs if job.recipe.name == "mnist-judge")
    assert judge.folder == tmp_path / "judges" / "mnist-judge"


def test_recipes_begin_in_that_order(tmp_path, instead):
    instead("sys.exit('no')")
    result = run(tmp_path, "imagenette-vae-z200", "mnist-cgan", GAN, VAE, "--jobs", "1")
    assert calls(tmp_path) == [GAN, VAE, "mnist-cgan", "imagenette-vae-z200"]
    assert "4 to train, the shortest first: ring8-gan, mnist-dense-vae-h128-z2, mnist-cgan" in text(
        result
    )


def test_so_many_run_at_once_as_asked_for(tmp_path, instead):
    instead(
        "(out / (name + '.up')).touch()\n"
        "while len(list(out.glob('*.up'))) < 3: time.sleep(0.02)\n"  # waits for the two others
        "whole()"
    )
    result = run(tmp_path, GAN, WGAN, "grid25-gan", "--jobs", "3", "--epochs", "1")
    assert "trained ring8-gan" in text(result)


# How long it takes


def a_job(images: int, arithmetic: float, speed: float = 0.0, name: str = GAN) -> Job:
    return Job(by_name(name), Path(name), 20, 0, images, arithmetic, speed)


def a_record(seen: int, total: int, speed: float) -> Running:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Running(
        name=GAN,
        title="",
        epoch=3,
        epochs=20,
        images_seen=seen,
        images_total=total,
        images_per_second=speed,
        started=now,
        updated=now,
    )


def test_the_time_left_is_told_by_the_speeds_that_are_known():
    assert time_left([], 1) is None
    assert time_left([(a_job(100, 1.0), None)], 1) is None
    assert time_left([(a_job(100, 1.0, speed=10), None)], 1) == 10  # as it was before
    record = a_record(400, 1000, 20.0)
    assert time_left([(a_job(9999, 1.0, speed=1), record)], 2) == 30  # as it is now
    unknown = (a_job(100, 4.0), None)  # a quarter as fast: 100 / 5
    assert time_left([(a_job(0, 1.0), record), unknown], 1) == 30 + 20
    assert time_left([(a_job(0, 1.0), record), unknown], 2) == 30  # the longer one's


def test_the_table_shows_how_far_everything_is():
    console = Console(width=100)
    work = [(a_job(0, 1.0), a_record(400, 1000, 20.0)), (a_job(5, 1.0, name=WGAN), None)]
    others = [a_job(100, 1.0, name=name) for name in ("grid25-gan", VAE, "mnist-cgan")]
    with console.capture() as capture:
        console.print(zoo.picture(work, others, 2, 90.0))
    table = " ".join(capture.get().split())
    assert "ring8-gan 3/20" in table
    assert "20 0:00:30" in table
    assert "ring8-wgan-gp -/20 begins" in table
    assert "0:00:30 left for all" in table
    assert "0:01:30 of the budget" in table
    assert "next: grid25-gan, mnist-dense-vae-h128-z2, mnist-cgan" in table


# What is trained, and what is not


def test_one_that_fails_costs_only_itself(first):
    out, result = first
    assert result.exit_code == 1
    for name in (GAN, WGAN):
        assert f"trained {name}" in text(result)
        opened = load(out / name)
        assert (opened.card.epochs, opened.card.seed) == (1, 0)
        assert read(path_of(out / name)).state == "finished"
    assert f"failed {VAE}: MNIST is not in {out.parent / 'data'}." in text(result)
    assert f"(its log: {out / VAE}.log)" in text(result)
    assert not (out / VAE).exists()
    assert "Trained: 2 of 3. The same command goes on with the others." in text(result)


def test_what_was_trained_is_scored_and_reported(first):
    out, _ = first
    rows = {row["recipe"]: row for row in json.loads((out / "report.json").read_text())["rows"]}
    for name in (GAN, WGAN):
        scores = read_card(out / name).scores
        assert scores is not None
        assert scores.samples == 10_000
        assert rows[name]["scores"]["values"] == scores.values
    assert GAN in (out / "README.md").read_text()


def test_finished_work_stays_as_it_is_and_only_the_rest_is_tried_again(tmp_path, instead, first):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    before = {name: contents(out / name) for name in (GAN, WGAN)}
    instead("sys.exit('still no data')")
    result = run(out, GAN, WGAN, VAE, "--epochs", "1")
    assert calls(out) == [VAE]
    assert "still no data" in text(result)
    assert {name: contents(out / name) for name in (GAN, WGAN)} == before
    result = run(out, "ring8-*", "--epochs", "1", "--budget-minutes", "0.001")
    assert result.exit_code == 0
    assert calls(out) == [VAE]
    assert "Trained: 2 of 2." in text(result)


def test_scores_are_made_only_for_what_has_none(tmp_path, instead, first):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    card = read_card(out / GAN)
    scores = card.scores
    (out / GAN / "card.json").write_text(card.model_copy(update={"scores": None}).model_dump_json())
    before = contents(out / WGAN)
    instead()
    result = run(out, "ring8-*", "--epochs", "1")
    assert result.exit_code == 0, result.output
    again = read_card(out / GAN).scores
    assert scores and again and again.values == scores.values
    assert contents(out / WGAN) == before


def test_one_trained_for_fewer_epochs_goes_on_from_its_state(tmp_path, instead, first):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    state_path(out / WGAN).unlink()
    instead("sys.exit('no')")
    run(out, "ring8-*", "--epochs", "2", "--seed", "7", "--jobs", "1")
    options = [line.split()[1:] for line in (out / "calls").read_text().splitlines()]
    data = str(data_root().resolve())
    shared = ["--epochs", "2", "--device", "cpu", "--seed", "7", "--data", data]
    end = ["--out", str(out), "--until-eof"]
    assert options == [[*shared, "--resume", *end], [*shared, "--overwrite", *end]]
    assert survey([RECIPES[GAN]], Plan(out, None, epochs=2))[0][0].images == 100_000 - 49_920


def test_one_that_is_to_replace_a_better_one_goes_on_from_its_own_state(tmp_path, instead, first):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    state_path(out / GAN).rename(state_path(partial(out / GAN)))
    instead("sys.exit('no')")
    run(out, GAN, "--epochs", "2")
    assert "--resume" in (out / "calls").read_text().split()
    assert survey([RECIPES[GAN]], Plan(out, None, epochs=2))[0][0].images == 100_000 - 49_920


def test_one_that_patience_has_stopped_is_finished(
    tmp_path, halves: tuple[ImageData, ImageData], train_run, tiny_recipe
):
    keep = KeepBest("total", patience=2)
    recipe = tiny_recipe("mnist-conv-vae-z2", keep_best=keep, epochs=50, learning_rate=1e-20)
    trained = train_run(recipe)
    assert trained.stopped
    publish(trained, *halves, tmp_path / recipe.name)
    recipe = dataclasses.replace(recipe, dataset="mnist")
    assert survey([recipe], Plan(tmp_path, None)) == ([], {})
    patient = dataclasses.replace(keep, patience=4)
    card = read_card(tmp_path / recipe.name)
    card = card.model_copy(update={"recipe": dataclasses.replace(recipe, keep_best=patient)})
    (tmp_path / recipe.name / "card.json").write_text(card.model_dump_json())
    (job,) = survey([recipe], Plan(tmp_path, None))[0]
    assert job.done == card.epochs


@pytest.mark.parametrize("what", ["newer", "damaged"])
def test_a_checkpoint_that_cannot_be_read_is_left_alone(tmp_path, instead, first, what):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    if what == "newer":
        (out / GAN / "card.json").write_text('{"schema_version": 99}')
    else:
        (out / GAN / "weights.safetensors").write_bytes(b"short")
    before = contents(out / GAN)
    instead("whole()")
    shutil.rmtree(out / WGAN)
    result = run(out, "ring8-*", "--epochs", "1")
    assert result.exit_code == 1
    assert calls(out) == [WGAN]
    said = {"newer": "schema version 99 is newer", "damaged": "weights.safetensors is truncated"}
    assert said[what] in text(result)
    assert "it is left alone: move it away, or give another --out" in text(result)
    assert contents(out / GAN) == before


def test_a_checkpoint_half_renamed_by_a_kill_is_found_again(tmp_path, instead, first):
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    before = contents(out / GAN)
    (out / GAN).rename(out / f".{GAN}.old")
    instead()
    assert run(out, GAN, "--epochs", "1").exit_code == 0
    assert contents(out / GAN) == before
    assert not (out / "calls").exists()


# What goes wrong


def test_runs_without_memory_cost_only_themselves(tmp_path, instead):
    instead(
        f"if name == {GAN!r}: os.kill(os.getpid(), signal.SIGKILL)\n"  # as the kernel does
        f"if name == {VAE!r}: sys.exit('latent-train: there is not enough memory for it (x)')\n"
        "whole()"
    )
    result = run(tmp_path, GAN, VAE, WGAN, "--epochs", "1")
    assert result.exit_code == 1
    assert f"failed {GAN}: it was killed by SIGKILL, as the system does when memory" in text(result)
    assert f"failed {VAE}: there is not enough memory for it (x)" in text(result)
    assert f"trained {WGAN}" in text(result)
    assert read_card(tmp_path / WGAN).scores is not None


def test_of_a_traceback_the_error_is_said_and_not_what_follows_it(tmp_path, instead):
    instead(
        "print('latent-train: as before', flush=True)\n"
        "raise RuntimeError('CUDA error: an illegal memory access was encountered\\n'"
        " 'For debugging consider passing CUDA_LAUNCH_BLOCKING=1\\n'"
        " 'Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.')"
    )
    said = text(run(tmp_path, GAN))
    assert f"failed {GAN}: RuntimeError: CUDA error: an illegal memory access was" in said
    assert "Compile with" not in said


def test_a_checkpoint_that_is_damaged_after_training_costs_only_itself(tmp_path, instead):
    instead(
        f"whole()\nif name == {GAN!r}: (out / name / 'weights.safetensors').write_bytes(b'short')"
    )
    result = run(tmp_path, "ring8-*", "--epochs", "1")
    assert result.exit_code == 1
    assert f"failed {GAN}: weights.safetensors is truncated" in text(result)
    assert "Trained: 1 of 2." in text(result)
    assert (tmp_path / "report.json").exists()


def test_what_another_judge_has_scored_is_scored_anew(tmp_path, instead, first, monkeypatch):
    """One trained by this zoo, where the scores before were those of the shipped one."""
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    card = read_card(out / GAN)
    assert card.scores
    by_another = Judged(name="mnist-judge", sha256="0" * 64, accuracy=0.5)
    scores = card.scores.model_copy(update={"judge": by_another})
    card = card.model_copy(update={"scores": scores})
    (out / GAN / "card.json").write_text(card.model_dump_json())
    monkeypatch.setitem(judge.JUDGES, "ring8", "mnist-judge")
    asked: list[str] = []
    monkeypatch.setattr(
        zoo, "score_folders", lambda found, *_, **__: (asked.extend(f.name for f in found), {})
    )
    instead()
    assert run(out, "ring8-*", "--epochs", "1").exit_code == 0
    assert asked == [GAN], "the other has no judge, as its data set has none"
    own = judge.find_judge(out, "mnist")
    assert own
    scores = scores.model_copy(
        update={"judge": by_another.model_copy(update={"sha256": own.card.weights_sha256})}
    )
    card = card.model_copy(update={"scores": scores})
    (out / GAN / "card.json").write_text(card.model_dump_json())
    run(out, "ring8-*", "--epochs", "1")
    assert asked == [GAN]


def test_what_auto_means_is_decided_once_for_all_runs(tmp_path, instead):
    instead("sys.exit('no')")
    runner.invoke(app, ["zoo", GAN, "--out", str(tmp_path)])
    words = (tmp_path / "calls").read_text().split()
    assert words[words.index("--device") + 1] == str(pick_device("auto"))


def test_a_silent_failure_is_said_too(tmp_path, instead):
    instead("sys.exit(3)")
    assert f"failed {GAN}: it ended with exit code 3" in text(run(tmp_path, GAN))


def test_a_run_that_cannot_begin_costs_only_itself(tmp_path, instead, monkeypatch):
    instead("whole()")
    start = zoo.start

    def begin(words, log, threads):
        if words[0] == GAN:
            raise OSError(11, "Resource temporarily unavailable")
        return start(words, log, threads)

    monkeypatch.setattr(zoo, "start", begin)
    result = run(tmp_path, "ring8-*", "--epochs", "1")
    assert f"failed {GAN}: it cannot begin: [Errno 11] Resource temporarily" in text(result)
    assert f"trained {WGAN}" in text(result)


def test_a_readme_of_ones_own_is_kept_and_said(tmp_path, instead):
    instead("whole()")
    (tmp_path / "README.md").write_text("mine")
    result = run(tmp_path, GAN, "--epochs", "1")
    assert result.exit_code == 1
    assert "was not written by `latent-train report`" in text(result)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_what_cannot_be_done_at_all_is_one_sentence(tmp_path, instead):
    instead()
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file", GAN)
    assert result.exit_code == 1
    assert f"{tmp_path / 'file'} cannot be written" in text(result)
    words = ["zoo", GAN, "--out", str(tmp_path / "runs"), "--device", "cuda:99"]
    result = runner.invoke(app, words)
    assert result.exit_code == 1
    assert "--device cpu works everywhere" in text(result)
    assert not (tmp_path / "runs" / "calls").exists()


def test_a_second_zoo_in_the_folder_is_refused(tmp_path, instead):
    instead("whole()")
    with FileLock(tmp_path / ".zoo.lock"):
        result = run(tmp_path, GAN, "--epochs", "1")
        assert result.exit_code == 1
        assert f"another zoo is at work in {tmp_path}" in text(result)
        assert not (tmp_path / "calls").exists()
    assert run(tmp_path, GAN, "--epochs", "1").exit_code == 0


def test_what_somebody_else_trains_is_waited_for(tmp_path, instead, first, monkeypatch):
    instead("whole()")
    monkeypatch.setattr(zoo, "BUSY_SECONDS", 2.0)
    record = read(path_of(first[0] / GAN)).model_copy(
        update={"state": "training", "updated": datetime.now(UTC)}
    )
    path_of(tmp_path / GAN).write_text(record.model_dump_json())
    result = run(tmp_path, "ring8-*", "--epochs", "1", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert f"waiting {GAN}: its record says that it is being trained" in text(result)
    assert calls(tmp_path) == [WGAN, GAN]


def test_what_somebody_else_has_trained_meanwhile_is_not_trained_again(tmp_path, instead, first):
    instead(
        f"shutil.copytree({str(first[0] / GAN)!r}, out / {GAN!r})\n"
        f"(out / '{GAN}.running.json').unlink()\n"
        "whole()"
    )
    record = read(path_of(first[0] / GAN)).model_copy(
        update={"state": "training", "updated": datetime.now(UTC)}
    )
    path_of(tmp_path / GAN).write_text(record.model_dump_json())
    result = run(tmp_path, "ring8-*", "--epochs", "1", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert calls(tmp_path) == [WGAN]
    assert "Trained: 2 of 2." in text(result)


# The budget


SMALL = "too small for anything: give --budget-minutes 1 or more"
ENDLESS = "more than a year: without --budget-minutes there is no limit"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(one, SMALL) for one in ("0", "0.9", "-1", "nan")]
    + [(one, ENDLESS) for one in ("inf", "1e15", "600000")],
)
def test_a_budget_that_is_none_is_refused(tmp_path, instead, minutes, words):
    instead()
    result = run(tmp_path, GAN, "--budget-minutes", minutes)
    assert result.exit_code == 1
    assert words in text(result)
    assert not (tmp_path / "calls").exists()


@pytest.fixture
def small_budgets(monkeypatch) -> None:
    monkeypatch.setattr(zoo, "LEAST_BUDGET", 0.0)
    monkeypatch.setattr(zoo, "LEAST_SECONDS", 0.0)


UNTIL_EOF = "os.read(0, 1); (out / (name + '.saved')).touch(); sys.exit(130)"


@pytest.mark.usefixtures("small_budgets")
def test_the_budget_ends_what_is_at_work_and_begins_no_more(tmp_path, instead):
    instead(f"if name == {GAN!r}: whole(); sys.exit()\n" + UNTIL_EOF)
    words = [GAN, WGAN, VAE, "mnist-cgan"]
    result = run(tmp_path, *words, "--epochs", "1", "--jobs", "2", "--budget-minutes", "0.1")
    assert result.exit_code == 0, result.output
    called = calls(tmp_path)
    assert sorted(called) == sorted([GAN, WGAN, VAE])
    assert called.index(GAN) < called.index(VAE)
    for name in (WGAN, VAE):
        assert f"stopped {name}: the budget is used up" in text(result)
        assert (tmp_path / f"{name}.saved").exists()
    assert read_card(tmp_path / GAN).scores is not None  # this takes longer than the budget
    assert "Trained: 1 of 4. The same command goes on with the others." in text(result)


@pytest.mark.usefixtures("small_budgets")
def test_a_budget_in_which_nothing_was_learnt_is_said(tmp_path, instead):
    instead(UNTIL_EOF)
    result = run(tmp_path, "ring8-*", "--budget-minutes", "0.02")
    assert result.exit_code == 1
    assert "0.02 minutes were too few for anything: no recipe has learnt anything" in text(result)


@pytest.mark.usefixtures("small_budgets")
def test_a_run_beside_a_better_checkpoint_has_learnt_something(tmp_path, instead, first):
    """Its folder still holds the better one's card."""
    out = Path(shutil.copytree(first[0], tmp_path / "runs"))
    state = state_path(out / GAN).rename(tmp_path / "state")
    beside = state_path(partial(out / GAN))
    instead(f"os.read(0, 1); shutil.copy({str(state)!r}, {str(beside)!r}); sys.exit(130)")
    result = run(out, GAN, "--epochs", "2", "--budget-minutes", "0.05")
    assert result.exit_code == 0, result.output
    assert "Trained: 0 of 1. The same command goes on with the others." in text(result)


@pytest.mark.usefixtures("small_budgets")
def test_what_fails_at_the_end_of_the_budget_has_failed(tmp_path, instead):
    """Such as a state that a full disk does not take."""
    instead("os.read(0, 1); sys.exit('latent-train: it cannot be written: No space left')")
    result = run(tmp_path, "ring8-*", "--budget-minutes", "0.02")
    assert result.exit_code == 1
    assert f"failed {GAN}: it cannot be written: No space left" in text(result)
    assert "the budget is used up" not in text(result)


def test_no_run_begins_when_too_little_of_the_budget_is_left(tmp_path, instead, monkeypatch):
    monkeypatch.setattr(zoo, "LEAST_BUDGET", 0.0)
    monkeypatch.setattr(zoo, "LEAST_SECONDS", 5.0)
    instead("time.sleep(2); whole()")
    result = run(tmp_path, "ring8-*", "--epochs", "1", "--jobs", "1", "--budget-minutes", "0.1")
    assert result.exit_code == 0, result.output
    assert calls(tmp_path) == [GAN]


# Ctrl-C and worse


def processes(out: Path) -> list[int]:
    """Ids of the runs at work in ``out``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--until-eof" in words and str(out).encode() in words:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_however_it_ends_its_runs_save_and_end_and_it_goes_on(tmp_path, how):
    out = tmp_path / "runs"
    words = ["zoo", GAN, "--out", str(out), "--device", "cpu", "--epochs"]
    child = begin(lambda: app([*words, "100000"]))
    try:
        wait_for(lambda: (out / GAN / "card.json").exists())
        (run_id,) = processes(out)
        assert "another zoo is at work" in text(run(out, WGAN))
        os.kill(child, how)
        code = end(child)
    finally:
        for one in processes(out) if sys.exc_info()[0] else ():
            os.kill(one, signal.SIGKILL)
    if how == signal.SIGINT:
        assert code == 130
        assert processes(out) == []
    else:
        assert code == -signal.SIGKILL
        wait_for(lambda: run_id not in processes(out))
    assert read(path_of(out / GAN)).state == "interrupted"
    epochs = load(out / GAN).card.epochs

    result = runner.invoke(app, [*words, str(epochs + 2)])
    assert result.exit_code == 0, result.output
    assert "Going on with" in (out / f"{GAN}.log").read_text()
    assert load(out / GAN).card.epochs == epochs + 2


def test_ctrl_c_says_what_became_of_what_was_at_work(tmp_path, instead, capfd):
    instead("os.read(0, 1); sys.exit(130 if 'wgan' in name else 'full')")
    child = begin(lambda: app(["zoo", "ring8-*", "--out", str(tmp_path), "--device", "cpu"]))
    wait_for(lambda: len(processes(tmp_path)) == 2)
    time.sleep(0.3)
    os.kill(child, signal.SIGINT)
    assert end(child) == 130
    said = " ".join("".join(capfd.readouterr()).split())
    assert f"stopped {WGAN}: what it has learnt is kept" in said
    assert f"failed {GAN}: full" in said


def test_a_second_ctrl_c_kills_what_does_not_end(tmp_path, instead):
    instead("signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)")
    child = begin(lambda: app(["zoo", GAN, "--out", str(tmp_path), "--device", "cpu"]))
    wait_for(lambda: processes(tmp_path))
    time.sleep(0.3)
    os.kill(child, signal.SIGINT)
    time.sleep(0.3)
    assert processes(tmp_path)
    os.kill(child, signal.SIGINT)
    assert end(child) == 130
    assert processes(tmp_path) == []
