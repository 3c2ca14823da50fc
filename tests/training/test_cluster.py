import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from tests.training.children import wait_for
from tests.training.conftest import text
from training import cluster
from training.checkpoint import CheckpointError, load, partial, read_card
from training.cli import app
from training.cluster import pack, receive, share
from training.recipes import RECIPES
from training.resume import read, state_path
from training.running import Running, path_of
from training.zoo import STOPPED, Job, Plan, fit_words, survey

GAN, WGAN = "ring8-gan", "ring8-wgan-gp"
VAE = "mnist-conv-vae-z2"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """Ray is told by variables how to start."""
    before = dict(os.environ)
    os.environ.pop("LATENT_DATA", None)
    yield
    os.environ.clear()
    os.environ.update(before)


def run(out: Path, *words: str) -> Result:
    return runner.invoke(app, ["zoo", GAN, "--out", str(out), *words])


# Where there is no Ray


@pytest.mark.parametrize("words", [["--ray"], ["--ray", "auto"], ["--ray", "--jobs", "2"]])
def test_without_the_package_a_sentence_says_so(tmp_path, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run(tmp_path, *words)
    assert result.exit_code == 1
    assert "not installed: pip install 'latent-explorer[cluster]'" in text(result)


def test_an_address_where_nobody_answers_is_said(tmp_path):
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run(tmp_path, "--ray", address)
    assert result.exit_code == 1
    assert f"there is no Ray at {address} that answers: " in text(result)
    assert "refused" in text(result)


@pytest.mark.parametrize("address", ["--ray=nonsense", "--ray=http://127.0.0.1:1", "--ray=a:b"])
def test_what_is_no_address_is_said(tmp_path, address):
    result = run(tmp_path, address)
    assert result.exit_code == 1
    assert "is no address of Ray: give local, auto or HOST:PORT" in text(result)


def test_a_name_behind_ray_is_a_recipe_and_no_address(tmp_path):
    result = run(tmp_path, "--ray", "mnist-gan-r")
    assert result.exit_code == 1
    assert "there is no recipe 'mnist-gan-r'" in text(result)


# How many fit


@pytest.mark.parametrize(
    ("machines", "jobs", "device", "needs", "room"),
    [
        ([{"CPU": 2.0}], 2, "auto", {"num_cpus": 1}, 2),
        ([{"CPU": 2.0}], 1, "auto", {"num_cpus": 2}, 1),
        ([{"CPU": 2.0}], 5, "auto", {"num_cpus": 1}, 2),
        ([{"CPU": 16.0}, {"CPU": 8.0}, {"memory": 1.0}], 2, "cpu", {"num_cpus": 4}, 6),
        ([{"CPU": 16.0, "GPU": 8.0}, {"CPU": 4.0}], 4, "auto", {"num_gpus": 0.25}, 32),
        ([{"CPU": 16.0, "GPU": 8.0}], 4, "cpu", {"num_cpus": 4}, 4),
        ([], 2, "auto", {"num_cpus": 1}, 0),
    ],
)
def test_what_a_run_needs_and_how_many_fit(machines, jobs, device, needs, room):
    found, many = share(machines, jobs, device)
    assert {name: value for name, value in found.items() if value} == needs
    assert many == room


# What goes to a worker and comes back


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "runs").mkdir()
    return Job(RECIPES[VAE], tmp_path / "runs" / VAE, 2, 0, 1, 1.0)


@pytest.fixture
def files(tiny_checkpoints: Path) -> dict[str, bytes]:
    """A checkpoint as it comes back, with a state and a log beside it."""
    packed = pack(tiny_checkpoints, [tiny_checkpoints / VAE])
    return packed | {f"{VAE}.state": b"state", f"{VAE}.log": b"log"}


def test_what_comes_back_is_put_in_its_place(job, files, tmp_path):
    plan = Plan(tmp_path / "runs", None)
    partial(job.folder).mkdir()  # of a run that has caught up now
    receive(files, job, plan)
    load(job.folder)
    assert pack(plan.out, [job.folder, state_path(job.folder), job.folder.with_suffix(".log")]) == (
        files
    )
    assert sorted(path.name for path in plan.out.iterdir()) == [VAE, f"{VAE}.log", f"{VAE}.state"]
    receive(files, job, plan)  # over what is there
    load(job.folder)
    receive({}, job, plan)


def test_the_state_of_a_run_beside_a_better_one_goes_and_comes_with_it(job, files, tmp_path):
    plan = Plan(tmp_path / "runs", None)
    beside = state_path(partial(job.folder))
    receive(files | {beside.name: b"behind"}, job, plan)
    assert beside.read_bytes() == b"behind"
    assert beside.name in pack(plan.out, cluster._of_run(job.folder))
    receive(files, job, plan)  # it has caught up
    assert not beside.exists()
    assert state_path(job.folder).read_bytes() == b"state"


def test_what_fails_a_check_changes_nothing(job, files, tmp_path):
    plan = Plan(tmp_path / "runs", None)
    receive(files, job, plan)
    before = pack(plan.out, [plan.out])
    name = f"{VAE}/weights.safetensors"
    for altered in (files[name][:-1], bytes(len(files[name]))):
        with pytest.raises(CheckpointError):
            receive(files | {name: altered, f"{VAE}.state": b"newer"}, job, plan)
        assert pack(plan.out, [plan.out]) == before


def board(stop: Callable[[str], bool]) -> SimpleNamespace:
    """A board without Ray, which ends a run as soon as ``stop(record)``."""
    return SimpleNamespace(post=SimpleNamespace(remote=lambda name, record: stop(record)))


def learnt(record: str) -> bool:
    return bool(record) and Running.model_validate_json(record).images_seen > 0


def test_a_stopped_run_comes_back_with_its_state_and_goes_on_from_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.2)
    plan = Plan(tmp_path, None, "cpu", epochs=100_000)
    (job,), _ = survey([RECIPES[GAN]], plan)
    words = fit_words(job, plan)
    problem, files = cluster._work(GAN, words, {}, board(lambda record: True))
    assert (problem, files) == (STOPPED, {})
    problem, files = cluster._work(GAN, words, {}, board(learnt))
    assert problem
    receive(files, job, plan)
    (again,), _ = survey([RECIPES[GAN]], plan)
    assert read(state_path(job.folder))[0]["images_seen"] >= 100_000 * 50_000 - again.images > 0

    plan = Plan(tmp_path, None, "cpu", epochs=read_card(job.folder).epochs + 1)
    sent = pack(tmp_path, cluster._of_run(job.folder))
    words = fit_words(survey([RECIPES[GAN]], plan)[0][0], plan)
    assert "--resume" in words
    problem, files = cluster._work(GAN, words, sent, board(lambda record: False))
    assert problem == ""
    receive(files, job, plan)
    assert b"Going on with" in files[f"{GAN}.log"]
    assert read_card(job.folder).epochs == plan.epochs


class FakeRay:
    """A Ray with one task, which has ended with ``outcome``, or waits for a machine."""

    class exceptions:
        """Ray's own."""

        class RayError(Exception):
            """Any."""

        class TaskCancelledError(RayError):
            """What a cancelled task ends with."""

    def __init__(self, outcome: object = None, said: str | None = None) -> None:
        self.outcome, self.said = outcome, said
        self.board = SimpleNamespace(
            read=SimpleNamespace(remote=lambda name: SimpleNamespace(said=self.said)),
            stop=SimpleNamespace(remote=lambda name: None),
        )

    def wait(self, results: list[object], timeout: float) -> tuple[list[object], list[object]]:
        return (results, []) if self.outcome else ([], results)

    def get(self, what: object, timeout: float = 0) -> object:
        if isinstance(what, SimpleNamespace):
            return what.said
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self, result: object, *, force: bool = False) -> None:
        self.outcome = self.exceptions.TaskCancelledError()


def task(ray: FakeRay, job: Job, plan: Plan) -> cluster.Task:
    return cluster.Task(ray, job, plan, ray.board, "result")


def test_ctrl_c_while_a_result_is_put_in_place_loses_nothing(job, files, tmp_path, monkeypatch):
    plan = Plan(tmp_path / "runs", None)
    one = task(FakeRay(("", files)), job, plan)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.ended()
    assert one.ended() == ""  # as the zoo asks while it waits for all to end
    load(job.folder)


def test_a_task_that_no_machine_has_begun_is_not_waited_for(job, tmp_path):
    plan = Plan(tmp_path / "runs", None)
    waiting, begun = (task(FakeRay(said=said), job, plan) for said in (None, ""))
    for one in (waiting, begun):
        one.stop()
    assert waiting.ended() == STOPPED
    assert begun.ended() is None, "it saves what it has learnt first"


def test_where_ray_gives_it_a_gpu_a_run_trains_there_or_says_why_not():
    assert cluster._on_gpu({"num_gpus": 0.5}, Plan(Path(), None))
    assert not cluster._on_gpu({"num_gpus": 0.5}, Plan(Path(), None, "cuda:1"))
    assert not cluster._on_gpu({"num_cpus": 2}, Plan(Path(), None))


# Ray itself, on this machine


def ancestors_of(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def processes_of(root: int) -> list[int]:
    """The process ``root`` and all that it has started, in groups of their own too."""
    every = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in every if root in ancestors_of(pid)]


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def listening(pids: list[int]) -> list[str]:
    """Hexadecimal addresses that these processes listen on."""
    sockets = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(fd.readlink()))
            except OSError:
                continue
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [
        line[1].split(":")[0]
        for line in lines
        if line[3] == "0A" and f"socket:[{line[9]}]" in sockets
    ]


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
def test_a_lost_worker_is_replaced_and_nothing_stays_behind(tmp_path):
    pytest.importorskip("ray")
    out, log = tmp_path / "runs", tmp_path / "log"
    words = ["--epochs", "1", "--out", str(out), "--device", "cpu", "--jobs", "2", "--ray"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.cli", "zoo", "ring8-*", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:

        def at_work() -> dict[str, int]:
            assert process.poll() is None, log.read_text()
            found = {}
            for pid in processes_of(process.pid):
                given = words_of(pid)
                if "--until-eof" in given:
                    found[given[given.index("fit") + 1]] = pid
            return found

        lost = wait_for(lambda: at_work().get(GAN))
        found = listening(processes_of(process.pid))
        assert found
        assert set(found) <= LOOPBACK
        _, worker, *_ = ancestors_of(lost)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{lost}").exists())
        wait_for(lambda: at_work().get(GAN))  # begun anew
        started = processes_of(process.pid)
        assert process.wait(300) == 0, log.read_text()
    finally:
        process.terminate()
        process.wait(30)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in started))
    for name in (GAN, WGAN):
        card = load(out / name).card
        assert card.epochs == 1
        assert card.scores is not None
        assert path_of(out / name).exists()
    assert (out / "report.json").exists()
    assert not list(out.glob(".*.new-*"))
