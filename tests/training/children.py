"""Child processes that may be killed: forked, so that none has to import torch again."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def begin(work: Callable[[], object]) -> int:
    """Run ``work`` in a child process; return the child's id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end(child: int) -> int:
    """Wait for a child; its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What ``condition`` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def at_call(function: Callable, number: int, before: Callable[[], object]) -> Callable:
    """``function``, with ``before`` called ahead of its ``number``-th call."""
    calls = iter(range(1, 1_000_000))

    def wrapped(*args, **kwargs):
        if next(calls) == number:
            before()
        return function(*args, **kwargs)

    return wrapped


def kill_9() -> None:
    """What the kernel, a power cut or an impatient colleague does."""
    os.kill(os.getpid(), signal.SIGKILL)


def ctrl_c() -> None:
    """What Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)
