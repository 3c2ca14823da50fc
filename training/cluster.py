"""Recipes on Ray: one machine or many, every run a task that brings back what it has made.

A task runs the very same ``latent-train fit`` in a temporary folder of its machine. What comes
back is verified, and put in place whole or not at all. Where a worker is lost, its task begins
anew from what was sent: what the run had learnt there is gone.

Ray sends Python objects, so all machines of a cluster must trust each other.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from filelock import FileLock

from training.checkpoint import CheckpointError, load, partial, replace_folder
from training.console import console
from training.files import write_synced
from training.judge import JUDGES
from training.resume import state_path
from training.running import Running, path_of
from training.zoo import (
    STOPPED,
    Job,
    Place,
    Plan,
    close,
    fit_words,
    log_path,
    reason,
    record_of,
    start,
)

LOCAL = "local"
"""The address of a Ray of one's own, on this machine alone, which ends with the zoo."""
ADDRESS = re.compile(r"local|auto|([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
"""What `connected` takes for an address."""
RETRIES = 3
"""How often a task is begun anew whose worker was lost."""
LOOK_SECONDS = 1.0
"""Between two looks of a task at its run."""
Files = dict[str, bytes]


@contextmanager
def connected(address: str, plan: Plan) -> Iterator[Place]:
    """The machines of the Ray at ``address``: local, auto (the one running here), or HOST:PORT.

    Raises ValueError, in a sentence, where there is none.
    """
    ray = _connect(address)
    try:
        board = _board(ray)

        def room() -> int:
            return share(_machines(ray), plan.jobs, plan.device)[1]

        def begin(job: Job) -> Task:
            needs, _ = share(_machines(ray), plan.jobs, plan.device)
            work = ray.remote(_work).options(max_retries=RETRIES, **needs)
            files = pack(plan.out, [*_of_run(job.folder), *_judge_of(job, plan)])
            name = job.folder.relative_to(plan.out).as_posix()
            # Where Ray gives it a GPU, the CPU is no substitute for one that is full.
            decided = replace(plan, device="cuda") if _on_gpu(needs, plan) else plan
            words = fit_words(job, decided)
            return Task(ray, job, plan, board, work.remote(name, words, files, board))

        yield Place(begin, room)
    finally:
        ray.shutdown()


def _connect(address: str) -> Any:
    """Ray itself, once it is connected."""
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no address of Ray: give local, auto or HOST:PORT")
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # Ray's own is: for ever
    if address == LOCAL:
        # Nothing listens beyond 127.0.0.1, as Ray has it on a Mac, and only who has the token,
        # which is in no file, is served.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        options["include_dashboard"] = False
    else:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # each takes most of a minute
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError:
        raise ValueError(
            "--ray needs a package that is not installed: pip install 'latent-explorer[cluster]'"
        ) from None
    try:
        if ":" in address:  # a refusal comes at once here, from Ray after minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        with console.status("Connecting to Ray"):
            ray.init(**options)
    except (OSError, OverflowError, RuntimeError, RayError) as error:
        ray.shutdown()
        raise ValueError(f"there is no Ray at {address} that answers: {_last(error)}") from error
    return ray


def _board(ray: Any) -> Any:
    """An actor on this machine that knows how far every run is, and which ones are to stop."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Board:  # in here Ray sends it whole: its process need not import torch
        def __init__(self) -> None:
            self.records: dict[str, str] = {}
            self.stopping: set[str] = set()

        def post(self, name: str, record: str) -> bool:
            self.records[name] = record
            return name in self.stopping

        def read(self, name: str) -> str | None:
            return self.records.get(name)

        def stop(self, name: str) -> None:
            self.stopping.add(name)

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()


def _machines(ray: Any) -> list[Mapping[str, float]]:
    """What each machine of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share(
    machines: Iterable[Mapping[str, float]], jobs: int, device: str
) -> tuple[dict[str, float], int]:
    """What a run needs for ``jobs`` to fit on a GPU, or on a machine; and how many fit on all.

    The machine with the fewest cores decides for those without GPUs.
    """
    machines = list(machines)
    gpus = sum(machine.get("GPU", 0) for machine in machines)
    if gpus and device != "cpu":
        return {"num_gpus": 1 / jobs, "num_cpus": 0}, int(gpus * jobs)
    cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
    each = max(min(cores, default=1) // jobs, 1)
    return {"num_cpus": each}, sum(n // each for n in cores)


def _on_gpu(needs: Mapping[str, float], plan: Plan) -> bool:
    """Whether a run is to have a GPU, and which kind of device is left open."""
    return "num_gpus" in needs and plan.device == "auto"


class Task:
    """A job at work somewhere in the cluster (see `training.zoo.Attempt`)."""

    def __init__(self, ray: Any, job: Job, plan: Plan, board: Any, result: Any):
        self.ray, self.job, self.plan, self.board, self.result = ray, job, plan, board, result
        self.name = job.folder.relative_to(plan.out).as_posix()
        self._ended: str | None = None

    def record(self) -> Running | None:
        """How far it has come."""
        said = self._said()
        return Running.model_validate_json(said) if said else None

    def _said(self) -> str | None:
        """What it has posted last; None where no machine has begun it yet, "" where unknown."""
        try:
            return self.ray.get(self.board.read.remote(self.name), timeout=5)
        except self.ray.exceptions.RayError:
            return ""

    def ended(self) -> str | None:
        """What went wrong, once it has ended and what it made is in its place."""
        if self._ended is None and self.ray.wait([self.result], timeout=0)[0]:
            try:
                problem, files = self.ray.get(self.result)
                receive(files, self.job, self.plan)
                self._ended = problem  # only now: Ctrl-C may come while it is put in place
            except self.ray.exceptions.TaskCancelledError:
                self._ended = STOPPED
            except self.ray.exceptions.RayError as error:
                self._ended = f"Ray gave it up: {_last(error)}"
            except CheckpointError as error:
                self._ended = f"what came back was refused: {error.check}"
            except OSError as error:
                self._ended = f"what came back cannot be written: {error.strerror or error}"
        return self._ended

    def stop(self) -> None:
        """Ask it to save and to end; what still waits for a machine is not waited for."""
        self.board.stop.remote(self.name)
        if self._said() is None:
            self.ray.cancel(self.result)

    def kill(self) -> None:
        """End it, with its process."""
        if self._ended is None:
            self.ray.cancel(self.result, force=True)


def _work(name: str, words: list[str], files: Files, board: Any) -> tuple[str, Files]:
    """A run in a temporary folder of a worker's machine: what went wrong, and what it has made."""
    import ray

    with _temporary() as out:
        folder, begun, said = out / name, datetime.now(UTC), ""
        if ray.get(board.post.remote(name, said)):
            return STOPPED, {}
        unpack(files, out)
        process = start([*words, "--out", str(out)], log_path(folder), threads=1)
        try:
            while (code := process.poll()) is None:
                if record := record_of(folder, begun):
                    said = record.model_copy(update={"losses": {}}).model_dump_json()
                if ray.get(board.post.remote(name, said)):
                    close(process)
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
            process.wait()
        return reason(code, log_path(folder)), pack(out, [*_of_run(folder), log_path(folder)])


@contextmanager
def _temporary() -> Iterator[Path]:
    """A folder for as long as the block lasts; those of killed workers are removed first."""
    for left in Path(gettempdir()).glob("latent-zoo-*"):
        with suppress(OSError), FileLock(left / ".lock", timeout=0):  # a worker's is its own
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix="latent-zoo-") as folder, FileLock(Path(folder) / ".lock"):
        yield Path(folder)


def _of_run(folder: Path) -> list[Path]:
    """Where the run that fills ``folder`` keeps what it has learnt."""
    beside = partial(folder)
    return [folder, beside, state_path(folder), state_path(beside), path_of(folder)]


def _judge_of(job: Job, plan: Plan) -> list[Path]:
    """The judge of the job's data set, where the user has one of their own."""
    dataset = job.recipe.dataset
    return [plan.out / "judges" / JUDGES[dataset]] if dataset in JUDGES else []


def pack(out: Path, paths: Iterable[Path]) -> Files:
    """The bytes of files and of all files in folders, by name inside ``out``."""
    every = (path for root in paths for path in (root, *root.rglob("*")) if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in every}


def unpack(files: Files, out: Path) -> None:
    """Write what was packed into ``out``, through to the disk."""
    for name, blob in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(path, blob)


def receive(files: Files, job: Job, plan: Plan) -> None:
    """Put what a worker has made in its place, verified, each part whole or not at all.

    Raises CheckpointError for a checkpoint that fails a check; then nothing is put anywhere.
    """
    if not files:
        return
    folder = job.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.new-", dir=folder.parent) as temporary:
        unpack(files, Path(temporary))
        came = Path(temporary) / folder.relative_to(plan.out)
        checkpoints = [new for new in (came, partial(came)) if new.exists()]
        for new in checkpoints:
            load(new)
        for new in checkpoints:
            new.chmod(0o755)
            replace_folder(new, folder.with_name(new.name))
        if came in checkpoints and partial(came) not in checkpoints:  # it has caught up
            shutil.rmtree(partial(folder), ignore_errors=True)
        if not state_path(partial(came)).exists():
            state_path(partial(folder)).unlink(missing_ok=True)
        states = (state_path(came), state_path(partial(came)))
        for new in (*states, path_of(came), log_path(came)):
            if new.exists():
                new.replace(folder.with_name(new.name))


def _last(error: BaseException) -> str:
    """The last line of an error: of Ray's, the one that says something."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
