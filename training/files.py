"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_synced(path: Path, blob: bytes) -> None:
    """Write a file through to the disk. Raises OSError where the disk refuses."""
    with path.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, blob: bytes) -> None:
    """Write ``path`` anew, through to the disk; where that fails, it stays as it was.

    A kill between leaves ``.<name>.new-...`` beside it. Raises OSError where the disk refuses.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.new-", dir=path.parent)
    temporary = Path(name)
    try:
        os.close(handle)
        temporary.chmod(0o644)  # mkstemp gives 0600
        write_synced(temporary, blob)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
