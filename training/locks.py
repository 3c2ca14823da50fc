"""One process at a time: what a second one would destroy is locked, and it says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file ``path`` until the block ends; a process that is killed lets go of it.

    Raises ValueError, with the ``refusal``, where another process holds it, or where the folder
    cannot be written.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(refusal) from None
    except NotImplementedError:  # by some network's disk: then nobody is refused
        pass
    except OSError as error:
        raise ValueError(f"{path.parent} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open
            path.unlink()
        lock.release()
