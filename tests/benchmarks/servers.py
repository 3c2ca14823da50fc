"""Servers as subprocesses: started on a free port of 127.0.0.1, always stopped again (Linux)."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
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
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def server(
    command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Start a Streamlit server and wait until it is healthy."""
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        with process(command, environment, stdout=log, stderr=log) as child:
            while not _healthy(port):
                late = time.perf_counter() - started > START_SECONDS
                if late or child.poll() is not None:
                    log.seek(0)
                    what = f"no answer in {START_SECONDS} s" if late else "the server ended"
                    raise ServerError(f"{what}: {log.read()[-2000:]}")
                time.sleep(0.02)
            healthy = time.perf_counter() - started
            yield Server(f"http://{HOST}:{port}", child.pid, started, healthy)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/_stcore/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
