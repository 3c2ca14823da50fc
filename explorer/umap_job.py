"""UMAP in a process of its own, so that nothing that people drag meanwhile waits for it.

``python -m explorer.umap_job FOLDER NEIGHBOURS MIN_DIST`` reads ``codes.npy`` from the folder and
writes ``points.npy`` there; what `Job` starts.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

from explorer.latent import Array
from training import children, umap_layout

MOST_NEIGHBOURS = 200
MOST_JOBS = 2
"""Processes at once, of all sessions together."""
END_SECONDS = 2.0


class Job:
    """A layout on its way."""

    def __init__(self, codes: Array, neighbours: int, min_dist: float):
        """Begin to lay out codes (n, d), by 2 to `MOST_NEIGHBOURS` neighbours of each.

        ``min_dist`` in [0, 1) is how close points may lie together. Raises RuntimeError where
        `MOST_JOBS` are on their way already, OSError where no process can be started.
        """
        with _beginning:
            if sum(job.process.poll() is None for job in _begun) >= MOST_JOBS:
                raise RuntimeError(
                    f"{MOST_JOBS} layouts are being computed already: try again in a minute."
                )
            self._begin(codes, neighbours, min_dist)
            _begun.add(self)

    def _begin(self, codes: Array, neighbours: int, min_dist: float) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="latent-umap-")  # goes with this object
        self.folder = Path(self._place.name)
        np.save(self.folder / "codes.npy", codes.astype(np.float32))
        words = [str(self.folder), str(min(neighbours, len(codes) - 1)), str(min_dist)]
        with (self.folder / "log").open("wb") as log:
            self.process = children.start(
                "explorer.umap_job", words, stdout=log, stderr=log, behind=True
            )

    def progress(self) -> float:
        """Share of the epochs that are done, in [0, 1]; 0 while neighbours are still looked for."""
        percent = re.findall(r"(\d{1,3})%", (self.folder / "log").read_text(errors="replace"))
        return min(int(percent[-1]) / 100, 1.0) if percent else 0.0

    def result(self) -> Array | None:
        """The points (n, 2), or None while it works. Raises RuntimeError where it has failed."""
        code = self.process.poll()
        if code is None:
            return None
        try:
            return np.load(self.folder / "points.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"it ended with exit code {code}"
            raise RuntimeError(f"UMAP could not lay out these codes: {why}") from error

    def cancel(self) -> None:
        """End it."""
        children.end(self.process, END_SECONDS)


_begun: weakref.WeakSet[Job] = weakref.WeakSet()
_beginning = threading.Lock()


def main(folder: Path, neighbours: int, min_dist: float) -> None:
    """What the process does."""
    codes = np.load(folder / "codes.npy", allow_pickle=False)
    points = umap_layout.umap_plane(codes, neighbours=neighbours, min_dist=min_dist, verbose=True)
    whole = folder / "whole.npy"
    np.save(whole, points)
    whole.replace(folder / "points.npy")


if __name__ == "__main__":
    children.at_eof(lambda: os._exit(1))
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
