"""The README's examples run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
WHOLE = [block for block in BLOCKS if block.startswith("import")]


@pytest.mark.parametrize("block", WHOLE, ids=lambda block: block.splitlines()[-1].split(" ")[0])
def test_an_example_runs(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert len(WHOLE) == 2
