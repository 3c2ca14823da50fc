"""Processes that end with the one that started them, even where that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

PROJECT = Path(__file__).resolve().parent.parent
UNTIL_EOF = "--until-eof"
"""Hidden option of both commands: to end when standard input closes."""
NICENESS = 10


def start(
    module: str,
    words: Sequence[str],
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    environment: Mapping[str, str] | None = None,
    behind: bool = False,
) -> subprocess.Popen[bytes]:
    """Start the command line of ``module``, which ends when its standard input closes.

    ``environment`` holds only for names that this process's own leaves open. What goes ``behind``
    leaves the cores to whoever wants them: the app, and the browser that paints. Raises OSError.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words, UNTIL_EOF],
        cwd=PROJECT,
        env={**(environment or {}), **os.environ},
        stdin=subprocess.PIPE,  # it closes when this process dies, however it does
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the other
    )
    if behind:
        _step_back(child.pid)  # from here, as importing torch or UMAP is the first of its loads
    return child


def _step_back(process: int) -> None:
    with suppress(OSError):  # it may have ended already
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, process, NICENESS)
        # Linux shares cores by session first, and the process has its own.
        Path(f"/proc/{process}/autogroup").write_text(str(NICENESS))


def end(child: subprocess.Popen[Any], seconds: float) -> None:
    """Ask a process to end, wait for it, and kill it where it does not within ``seconds``."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def at_eof(act: Callable[[], None]) -> None:
    """Call ``act``, in a thread of its own, once standard input has closed."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()
