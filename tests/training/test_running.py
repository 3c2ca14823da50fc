import errno
import itertools
import json
import math
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress
from typer.testing import CliRunner

from tests.training.children import at_call, begin, ctrl_c, end, kill_9
from tests.training.conftest import text
from training import checkpoint, fitting, loop, resume, running, watch
from training.cli import app
from training.data import ImageData
from training.devices import World
from training.loop import Session, fit
from training.recipes import RECIPES, Recipe
from training.resume import Saver
from training.running import MAX_BYTES, MAX_POINTS, Board, Running, path_of, published, read, runs

Splits = tuple[ImageData, ImageData]
VAE = "mnist-conv-vae-z2"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
runner = CliRunner()


def record(**changes: Any) -> Running:
    settings: dict[str, Any] = {
        "name": "a-run",
        "title": "A run, z=2, naïve",
        "epochs": 3,
        "images_total": 300,
        "started": START,
        "updated": START,
    }
    return Running(**settings | changes)


def write(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record(**changes).model_dump_json())
    return path


# The curves


def fill(length: int, images: Callable[[int], int]) -> Running:
    """A record after ``length`` points of a curve and of one that begins a tenth later."""
    one = record()
    for i in range(length):
        one.images_seen = images(i)
        one.add({"total": 1 / (1 + i)} | ({"kl": float(i)} if i >= length // 10 else {}))
        for points in one.losses.values():
            assert len(points) <= MAX_POINTS
            assert points[-1][0] == images(i)
    return one


@pytest.mark.parametrize("length", [1, 2, 499, 500, 501, 502, 999, 1003, 20_000])
def test_a_curve_keeps_its_first_and_last_point_and_stays_small(length):
    one = fill(length, lambda i: 128 * (i + 1))
    for name, value, first in (
        ("total", lambda i: 1 / (1 + i), 0),
        ("kl", float, length // 10),
    ):
        points = one.losses[name]
        assert points[0] == (128 * (first + 1), value(first))
        assert points[-1] == (128 * length, value(length - 1))
        assert all(y == value(x // 128 - 1) for x, y in points)
        assert min(MAX_POINTS // 2, length - first) <= len(points) <= MAX_POINTS
    assert len(one.model_dump_json()) < MAX_BYTES / 10


@pytest.mark.parametrize("slow_start", [False, True])
def test_points_lie_evenly_however_long_a_run_is(slow_start):
    images = (lambda i: 10 * i if i < 5 else 50 + 1000 * i) if slow_start else (lambda i: 1000 * i)
    for points in fill(30_000, images).losses.values():
        gaps = [b[0] - a[0] for a, b in itertools.pairwise(points[:-1])]
        assert max(gaps[1:]) <= 4.1 * min(gaps[1:])


def test_numbers_that_are_not_finite_are_left_out():
    one = record()
    for seen, value in ((1, 1.0), (2, math.nan), (3, math.inf), (4, -math.inf), (5, 5.0)):
        one.images_seen = seen
        one.add({"total": value, "kl": 0.5})
    assert one.losses["total"] == [(1, 1.0), (5, 5.0)]
    assert [seen for seen, _ in one.losses["kl"]] == [1, 2, 3, 4, 5]


# Reading


def test_a_record_reads_back_as_it_was(tmp_path):
    written = record(losses={"total": [(10, 0.1), (20, -3e300)]}, spacing=3, state="failed")
    path = tmp_path / "a-run.running.json"
    path.write_text(written.model_dump_json())
    assert read(path) == written
    times = json.loads(path.read_text())
    assert times["started"] == times["updated"] == "2026-01-02T03:04:05Z"


DAMAGED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is no run's record: invalid at its top level"),
    "cut": (record().model_dump_json()[:-20], "is no run's record"),
    "noise": (bytes(range(256)), "is no run's record"),
    "list": ("[1, 2]", "is no run's record"),
    "foreign": ('{"epochs": 3}', "invalid at name: Field required"),
    "deep": ("[" * 100_000, "is no run's record"),
    "huge": (" " * MAX_BYTES + "{}", "larger than 1048576 bytes"),
}
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "newer": ({"schema_version": 2}, "invalid at schema_version"),
    "more": ({"password": "x"}, "invalid at password"),
    "state": ({"state": "resting"}, "invalid at state"),
    "negative": ({"images_seen": -1}, "invalid at images_seen"),
    "astronomic": ({"images_total": 10**30}, "invalid at images_total"),
    "nan": ({"images_per_second": math.nan}, "invalid at images_per_second"),
    "nan-loss": ({"losses": {"total": [[1, math.nan]]}}, "invalid at losses.total.0.1"),
    "points": ({"losses": {"total": [[1, 1]] * (MAX_POINTS + 1)}}, "invalid at losses.total"),
    "parts": ({"losses": {f"a{i}": [] for i in range(33)}}, "invalid at losses"),
    "markup": ({"losses": {"<b>total</b>": []}}, "invalid at losses"),
    "no-zone": ({"started": "2026-01-02T03:04:05"}, "invalid at started"),
    "name": ({"name": "../up"}, "invalid at name"),
    "title": ({"title": "x" * 301}, "invalid at title"),
}


@pytest.mark.parametrize("case", [*DAMAGED, *CHANGED])
def test_anything_else_is_refused_in_a_sentence(tmp_path, case):
    path = tmp_path / "a-run.running.json"
    if case in DAMAGED:
        content, message = DAMAGED[case]
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    else:
        changes, message = CHANGED[case]
        path.write_text(json.dumps(json.loads(record().model_dump_json()) | changes))
    with pytest.raises(ValueError, match=r"^a-run\.running\.json ") as caught:
        read(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file gone\.running\.json"):
        read(tmp_path / "gone.running.json")
    os.mkfifo(pipe := tmp_path / "pipe.running.json")
    with pytest.raises(ValueError, match="there is no file"):
        read(pipe)


def test_runs_are_listed_newest_first_and_nothing_else_is(tmp_path):
    paths = [tmp_path / f"{name}.running.json" for name in ("b", "judges/c", "a")]
    for age, path in enumerate(paths):
        write(path)
        os.utime(path, (1000 - age, 1000 - age))
    write(tmp_path / ".a.running.json.new")
    write(tmp_path / "a.json")
    write(tmp_path / "deep" / "er" / "d.running.json")
    (tmp_path / "a.state").touch()
    assert runs(tmp_path) == paths
    assert runs(tmp_path / "nowhere") == []
    assert [running.folder_of(path) for path in paths][1] == tmp_path / "judges" / "c"
    assert all(path_of(running.folder_of(path)) == path for path in paths)


def test_a_record_is_not_taken_for_a_checkpoint(tmp_path):
    write(tmp_path / "a.running.json")
    (tmp_path / "b.running.json").mkdir()
    assert checkpoint.find(tmp_path) == []


def test_the_checkpoint_so_far_is_the_newest_of_this_run(tmp_path):
    folder = tmp_path / "a"
    path = path_of(folder)
    begun = START.timestamp()

    def card(where: Path, seconds: float) -> None:
        where.mkdir(exist_ok=True)
        (where / "card.json").touch()
        os.utime(where / "card.json", (begun + seconds, begun + seconds))

    assert published(path, record()) is None
    card(folder, -60)  # of an earlier run, kept until this one has caught up
    assert published(path, record()) is None
    card(checkpoint.partial(folder), -30)
    assert published(path, record()) is None
    card(checkpoint.partial(folder), 30)
    assert published(path, record()) == checkpoint.partial(folder)
    card(folder, 60)
    assert published(path, record()) == folder
    assert published(path, record(started=START + timedelta(seconds=90))) is None


# Keeping the record


@pytest.fixture
def session(tiny_recipe) -> Session:
    """A session at its first step."""
    return loop.start(tiny_recipe(VAE), torch.device("cpu"), 0, 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a board reads, as a list of one."""
    now = [100.0]
    monkeypatch.setattr(running.time, "monotonic", lambda: now[0])
    return now


def take(session: Session, images: int, **losses: float) -> None:
    """What a step does to a session."""
    session.run.images_seen += images
    for name, value in losses.items():
        session.sums[name] = session.sums.get(name, 0) + torch.tensor(value)
        session.counts[name] = session.counts.get(name, 0) + 1


def test_a_point_is_the_mean_since_the_point_before(session, clock, tmp_path):
    board = Board(path := tmp_path / "a.running.json")
    board.start(session, 1000)
    assert read(path).losses == {}
    take(session, 10, critic=1.0, generator=5.0)
    take(session, 10, critic=2.0)
    clock[0] += 1
    board.post()
    take(session, 10, critic=6.0)
    board.post()  # too early
    assert read(path).images_seen == 20
    clock[0] += 1
    board.post()
    take(session, 10, critic=8.0, generator=7.0)
    board.post(now=True)
    loop.close_epoch(session, {}, {})
    take(session, 10, critic=-4.0)
    board.post(now=True)
    shown = read(path)
    assert shown.losses == {
        "critic": [(20, 1.5), (30, 6.0), (40, 8.0), (50, -4.0)],
        "generator": [(20, 5.0), (40, 7.0)],
    }
    assert (shown.epoch, shown.epochs, shown.images_seen, shown.images_total) == (2, 3, 50, 1000)
    assert shown.images_per_second == 50 / 2


def test_losses_are_read_and_written_once_a_second_at_most(session, clock, tmp_path, monkeypatch):
    written: list[float] = []
    monkeypatch.setattr(running, "_replace", lambda *_: written.append(clock[0]))
    board = Board(tmp_path / "a.running.json")
    board.start(session, 1000)
    for _ in range(41):
        clock[0] += 0.125
        take(session, 1, total=1.0)
        board.post()
    assert written == [100, 101, 102, 103, 104, 105]


def test_a_record_that_cannot_be_written_is_said_once(session, tmp_path, capsys):
    board = Board(tmp_path / "gone" / "a.running.json", interval=0)
    with board:
        board.start(session, 1000)
        for _ in range(3):
            take(session, 1, total=1.0)
            board.post()
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("a.running.json cannot be written (No such file or directory)") == 1
    assert told.count("training goes on") == 1


def test_once_the_disk_has_room_again_the_record_is_written(session, tmp_path, monkeypatch):
    board = Board(path := tmp_path / "a.running.json", interval=0)

    def full(self: Path, blob: bytes) -> None:
        with self.open("wb") as file:
            file.write(blob[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        board.start(session, 1000)
        assert list(tmp_path.iterdir()) == []
    take(session, 10, total=1.0)
    board.post()
    assert read(path).images_seen == 10
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_kill_between_writing_and_renaming_leaves_the_record_before(session, tmp_path, call):
    path = tmp_path / "a.running.json"

    def work() -> None:
        Path.replace = at_call(Path.replace, call, kill_9)  # type: ignore[method-assign]
        board = Board(path, interval=0)
        board.start(session, 1000)
        for _ in range(5):
            take(session, 10, total=1.0)
            board.post()

    assert end(begin(work)) == -signal.SIGKILL
    assert path.exists() == (call > 1)
    if call > 1:
        assert read(path).images_seen == 10 * (call - 2)
    assert runs(tmp_path) == [path][: call - 1]
    Board(path).start(session, 1000)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_reader_ever_finds_half_a_record(session, tmp_path):
    path = tmp_path / "a.running.json"
    rng = random.Random(0)

    def work() -> None:
        board = Board(path, interval=0)
        board.start(session, 1000)
        while True:
            take(session, 10, total=1.0, kl=2.0)
            board.post()

    for _ in range(5):
        child = begin(work)
        try:
            while not path.exists():
                time.sleep(0.001)
            seen = [read(path).images_seen for _ in range(rng.randrange(50, 150))]
        finally:
            os.kill(child, signal.SIGKILL)
            end(child)
        assert seen == sorted(seen)
        assert read(path).images_seen >= seen[-1]
        path.unlink()


# Training


@dataclass
class Both:
    """Weights and history of a run, bit for bit."""

    weights: dict[str, torch.Tensor]
    history: checkpoint.History


def train(recipe: Recipe, splits: Splits, board: Board | None) -> Both:
    *_, run = fit(recipe, *splits, Progress(disable=True), board=board)
    return Both(run.network.state_dict(), run.history)


@pytest.mark.parametrize("name", [VAE, "mnist-cgan", "mnist-wgan-gp-z2", "mnist-wgan-r2"])
def test_a_board_changes_no_bit_of_the_training(
    name, tiny_recipe, halves: Splits, tmp_path, monkeypatch
):
    recipe = tiny_recipe(name, epochs=3)
    without = train(recipe, halves, None)
    monkeypatch.setattr(loop, "REFRESH_SECONDS", 0)
    path = tmp_path / "a.running.json"
    given = train(recipe, halves, Board(path, interval=0))
    assert len(read(path).losses[next(iter(given.history["train"]))]) > 3
    assert given.history == without.history
    assert given.weights.keys() == without.weights.keys()
    for key, tensor in given.weights.items():
        assert torch.equal(tensor, without.weights[key])


def test_every_batch_of_a_slow_run_is_a_point(tiny_recipe, halves: Splits, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REFRESH_SECONDS", 0)
    recipe = tiny_recipe("mnist-wgan-gp-z2", batch_history=True)
    *_, run = fit(recipe, *halves, Progress(disable=True), board=Board(tmp_path / "a", interval=0))
    shown = read(tmp_path / "a")
    assert shown.losses.keys() == run.batch_losses.keys()
    for name, values in run.batch_losses.items():
        every = 2 if name == "generator" else 1  # critic steps a generator step
        assert [seen for seen, _ in shown.losses[name]] == [
            16 * every * (i + 1) for i in range(len(values))
        ]
        got = [value for _, value in shown.losses[name]]
        assert got == pytest.approx(values.tolist(), rel=1e-4, abs=1e-4)


def test_the_points_of_a_fast_run_are_its_epochs(tiny_recipe, halves: Splits, tmp_path):
    board = Board(path := tmp_path / "a", interval=1e6)
    seen = []
    for run in fit(tiny_recipe(VAE, epochs=3), *halves, Progress(disable=True), board=board):
        shown = read(path)
        seen.append((shown.epoch, shown.images_seen))
        assert (shown.epochs, shown.images_total) == (3, 3 * 96)
        for name, values in run.history["train"].items():
            assert [x for x, _ in shown.losses[name]] == [96 * (i + 1) for i in range(run.epochs)]
            assert [y for _, y in shown.losses[name]] == pytest.approx(values, rel=1e-5)
    assert seen == [(1, 96), (2, 192), (3, 288)]


# The command line


def test_a_finished_run_says_so(command, path, tmp_path):
    before = datetime.now(UTC)
    assert command().exit_code == 0
    shown = read(path)
    assert (shown.state, shown.epoch, shown.epochs) == ("finished", 3, 3)
    assert shown.images_seen == shown.images_total == 3 * 24
    assert (shown.name, shown.title) == (VAE, RECIPES[VAE].title)
    assert before <= shown.started <= shown.updated <= datetime.now(UTC)
    assert shown.images_per_second > 0
    assert [seen for seen, _ in shown.losses["total"]] == list(range(6, 73, 6))
    assert published(path, shown) == tmp_path / "runs" / VAE
    assert checkpoint.find(tmp_path / "runs") == [tmp_path / "runs" / VAE]
    assert runner.invoke(app, ["verify", str(tmp_path / "runs")]).exit_code == 0


def test_ctrl_c_is_told(command, path, monkeypatch):
    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 6, ctrl_c))
    assert command().exit_code == 130
    shown = read(path)
    done = 6 * 6  # the sixth step was taken to its end
    assert (shown.state, shown.epoch, shown.images_seen) == ("interrupted", 2, done)


def test_ctrl_c_while_the_checkpoint_is_written_is_told(command, path, monkeypatch):
    monkeypatch.setattr(os, "fsync", at_call(os.fsync, 3, ctrl_c))
    assert command("--epochs", "50").exit_code == 130
    assert read(path).state == "interrupted"


def test_a_run_that_took_no_step_leaves_nothing(command, path, monkeypatch):
    monkeypatch.setattr(loop.steps, "make_step", at_call(loop.steps.make_step, 1, ctrl_c))
    assert command().exit_code == 130
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("a defect")]
)
def test_an_error_is_told(command, path, monkeypatch, error):
    def fail() -> None:
        raise error

    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 6, fail))
    assert command().exit_code == 1
    assert (read(path).state, read(path).images_seen) == ("failed", 30)


def test_a_run_whose_losses_are_not_finite_has_a_readable_record(command, path, monkeypatch):
    real, calls = loop.steps.vae_step, iter(range(100))

    def step(*args, **kwargs):
        losses = real(*args, **kwargs)
        return losses | {"kl": losses["kl"] * math.nan} if next(calls) >= 5 else losses

    monkeypatch.setattr(loop.steps, "vae_step", step)
    result = command()
    assert result.exit_code == 1
    assert "no longer finite" in text(result)
    shown = read(path)
    assert (shown.state, shown.epoch) == ("failed", 2)
    assert [seen for seen, _ in shown.losses["total"]] == list(range(6, 49, 6))
    assert [seen for seen, _ in shown.losses["kl"]] == list(range(6, 31, 6))


def test_a_killed_run_still_says_training(command, path, monkeypatch):
    monkeypatch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 6, kill_9))
    assert end(begin(command)) == -signal.SIGKILL
    shown = read(path)
    assert (shown.state, shown.epoch, shown.images_seen) == ("training", 2, 30)


class EveryStep(Saver):
    """Saves after every step."""

    def save(self, session: Session, *, now: bool = False) -> None:
        super().save(session, now=True)


class EveryEpoch(Saver):
    """Saves after every epoch."""

    def save(self, session: Session, *, now: bool = False) -> None:
        if session.batch == 0:
            super().save(session, now=True)


def test_resume_goes_on_with_the_old_curve(command, path, monkeypatch):
    monkeypatch.setattr(resume, "Saver", EveryEpoch)  # so the curve is two steps ahead
    with monkeypatch.context() as patch:
        patch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 7, kill_9))
        assert end(begin(command)) == -signal.SIGKILL
    killed = read(path)
    assert killed.losses["total"][-1][0] == 36
    result = command("--resume")
    assert result.exit_code == 0, result.output
    shown = read(path)
    assert (shown.state, shown.started) == ("finished", killed.started)
    points = shown.losses["total"]
    assert points[:4] == killed.losses["total"][:4]
    assert [seen for seen, _ in points] == list(range(6, 73, 6))


def test_resume_in_the_middle_of_an_epoch_counts_no_batch_twice(command, path, monkeypatch):
    monkeypatch.setattr(resume, "Saver", EveryStep)
    with monkeypatch.context() as patch:
        patch.setattr(loop.steps, "vae_step", at_call(loop.steps.vae_step, 7, ctrl_c))
        assert command().exit_code == 130
    before = read(path).losses
    assert command("--resume").exit_code == 0
    resumed = read(path).losses
    assert resumed["total"][:6] == before["total"][:6]
    assert command("--overwrite").exit_code == 0
    whole = read(path).losses
    for name, points in whole.items():
        assert [seen for seen, _ in resumed[name]] == [seen for seen, _ in points]
        assert [value for _, value in resumed[name]] == pytest.approx([v for _, v in points])


def test_a_damaged_record_does_not_stop_a_resumed_run(command, path):
    assert command("--epochs", "1").exit_code == 0
    path.write_text("{")
    assert command("--resume", "--epochs", "2").exit_code == 0
    assert [seen for seen, _ in read(path).losses["total"]] == [30, 36, 42, 48]


def test_overwrite_starts_anew(command, path):
    assert command().exit_code == 0
    first = read(path)
    assert command("--overwrite", "--epochs", "1", "--seed", "1").exit_code == 0
    second = read(path)
    assert second.started > first.updated
    assert [seen for seen, _ in second.losses["total"]] == [6, 12, 18, 24]
    assert second.losses["total"][0] != first.losses["total"][0]


def test_a_refused_run_leaves_the_record_of_the_one_before(command, path):
    assert command().exit_code == 0
    before = path.read_bytes()
    for options in (["--resume", "--seed", "1"], ["--resume", "--epochs", "1"], []):
        assert command(*options).exit_code == 1
        assert path.read_bytes() == before


def test_a_folder_in_the_records_place_does_not_stop_the_training(command, path, tmp_path):
    path.mkdir(parents=True)
    result = command()
    assert result.exit_code == 0, result.output
    assert text(result).count("cannot be written") == 1
    assert checkpoint.load(tmp_path / "runs" / VAE).card.epochs == 3


def test_only_the_first_process_keeps_a_record(tiny_recipe, halves: Splits, tmp_path, monkeypatch):
    class Second(World):
        rank = 1  # type: ignore[assignment]

    monkeypatch.setattr(watch, "shown_in_app", lambda *_: pytest.fail("opened the app"))
    for world, left in ((Second(), []), (World(), [VAE, f"{VAE}.running.json", f"{VAE}.state"])):
        options = fitting.Options(out=tmp_path, epochs=1, watch=world.rank == 1)
        fitting._train(tiny_recipe(VAE), *halves, tmp_path / VAE, options, world)
        assert sorted(one.name for one in tmp_path.iterdir()) == left
