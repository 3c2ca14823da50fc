"""Servers as subprocesses: started on a free port of 127.0.0.1, always stopped again (Linux)."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from explorer.lab_job import New, Play, unpack, write_command
from explorer.lessons.plane import PENALISED
from explorer.live.lab import LAB_PATH
from training.children import end
from training.plane import MOST_STEPS
from training.watch import HOST, answers, free_port

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
STOP_SECONDS = 10


class ServerError(RuntimeError):
    """A server ended, or did not answer in time; the message ends with its last words."""


@dataclass(frozen=True)
class Server:
    """A Streamlit server that answers."""

    url: str
    """Its address, without a slash at the end."""
    pid: int
    """Of the process that serves."""
    started: float
    """When its process was started, on the clock of time.perf_counter."""
    healthy_s: float
    """Seconds from there to the first healthy answer."""

    def resident_mb(self) -> float:
        """Memory that the process holds now (VmRSS), in MB of 10^6 bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        if match is None:
            raise ServerError(f"process {self.pid} has no resident memory: it has ended")
        return int(match[1]) * 1024 / 1e6


@contextmanager
def process(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, **options
) -> Iterator[subprocess.Popen]:
    """A subprocess in the project's folder that ends with the block, whatever happens in it.

    It gets a session of its own, so that Ctrl-C reaches this process alone, which then stops it.
    """
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=PROJECT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        **options,
    )
    try:
        yield child
    finally:
        end(child, STOP_SECONDS)


@contextmanager
def explorer(root: Path) -> Iterator[Server]:
    """The app on a folder of checkpoints, as ``latent-explorer`` starts it."""
    script = Path(sysconfig.get_path("scripts")) / "latent-explorer"
    port = free_port()
    command = (script, "--checkpoints", root, "--no-browser", "--port", str(port))
    with server(command, port) as one:
        yield one


@contextmanager
def server(
    command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a Streamlit server and wait until it is healthy."""
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        with process(command, environment, stdout=log, stderr=log) as child:
            while not answers(port):
                late = time.perf_counter() - started > START_SECONDS
                if late or child.poll() is not None:
                    log.seek(0)
                    what = f"no answer in {START_SECONDS} s" if late else "the server ended"
                    raise ServerError(f"{what}: {log.read()[-2000:]}")
                time.sleep(0.02)
            healthy = time.perf_counter() - started
            yield Server(f"http://{HOST}:{port}", child.pid, started, healthy)


@contextmanager
def training(one: Server) -> Iterator[Callable[[], int]]:
    """A lab that trains behind a server for the block; gives how many steps it has come."""
    steps = [0]
    with connect(one.url.replace("http", "ws", 1) + LAB_PATH, origin=Origin(one.url)) as socket:

        def read() -> None:
            with suppress(ConnectionClosed):
                while True:
                    head, _ = unpack(socket.recv(decode=False))
                    steps[0] = head["step"]

        for command in (New(PENALISED), Play(MOST_STEPS)):
            socket.send(write_command(command).decode())
        reader = threading.Thread(target=read)
        reader.start()
        while not steps[0]:
            if not reader.is_alive():
                raise ServerError("the lab ended before its first step")
            time.sleep(0.02)
        yield lambda: steps[0]
    reader.join()
