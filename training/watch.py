"""The app beside a run: a process of its own, which never outlives the training."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from rich.markup import escape

from training import children
from training.console import console

HOST = "127.0.0.1"
START_SECONDS = 60
"""How long the app may take to start."""
END_SECONDS = 5
"""How long it may take to end before it is killed."""


@contextmanager
def shown_in_app(
    checkpoints: Path, name: str, data: Path | None = None, images: Path | None = None
) -> Iterator[None]:
    """Show the run called ``name`` in the explorer, a process of its own, until the block ends.

    With the real images of the folder ``data`` and the user's own ``images``, where they are there.
    Where the explorer cannot be started, a sentence says so, and the block runs all the same.
    """
    options = ["--checkpoints", str(checkpoints.resolve())]
    for option, folder in (("--data", data), ("--images", images)):
        if folder and folder.is_dir():
            options += [option, str(folder.resolve())]
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        try:
            with console.status("Starting the app"):
                url = f"{_start_app(options, log, stack)}/training?run={name}"
        except OSError as error:
            console.print(
                f"[yellow]Warning:[/] the app cannot be started ({escape(str(error))}): "
                "training goes on without it."
            )
        else:
            console.print(f"Watch it at {url}", soft_wrap=True)
            if _has_display():
                webbrowser.open(url)
        yield


def _start_app(options: list[str], log: IO[bytes], stack: ExitStack) -> str:
    """Start the explorer until ``stack`` unwinds; its address, once it answers, or an OSError."""
    port = free_port()
    options = [*options, "--port", str(port), "--no-browser"]
    child = children.start("explorer.cli", options, stdout=subprocess.DEVNULL, stderr=log)
    stack.callback(children.end, child, END_SECONDS)
    deadline = time.monotonic() + START_SECONDS
    while not answers(port):
        if child.poll() is not None:
            log.seek(0)
            words = log.read().decode(errors="replace").strip()
            raise ChildProcessError(words.splitlines()[-1] if words else "it ended at once")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer in {START_SECONDS} seconds")
        time.sleep(0.1)
    return f"http://{HOST}:{port}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def answers(port: int) -> bool:
    """Whether a Streamlit server on this machine's port says that it is healthy."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/_stcore/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _has_display() -> bool:
    """Whether a browser can open a window here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
