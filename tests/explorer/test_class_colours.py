"""The colours of the classes: told apart by everybody, and seen on both themes."""

from __future__ import annotations

import tomllib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Vector = NDArray[np.float64]
CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"
THEME: dict[str, Any] = tomllib.loads(CONFIG.read_text())["theme"]
SEEN_BY = {
    "everybody else": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Linear RGB as seen with one kind of cone missing (Machado, Oliveira and Fernandes 2009)."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""From linear sRGB (IEC 61966-2-1)."""


def linear(colour: str) -> Vector:
    """A colour #RRGGBB as linear RGB (3,) in [0, 1]."""
    v = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    """Linear RGB (3,) in CIELAB, where two colours that are just told apart are about 2 apart."""
    relative = TO_XYZ @ rgb / TO_XYZ.sum(1)
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2, 1 to 21."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_any_two_classes_are_told_apart_by(eyes: str) -> None:
    cones = np.array(SEEN_BY[eyes])
    seen = {one: lab((cones @ linear(one)).clip(0, 1)) for one in THEME["chartCategoricalColors"]}
    assert len(seen) == 10
    apart = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(seen, 2)}
    nearest = min(apart, key=lambda pair: apart[pair])
    assert 15 < apart[nearest] < 60, nearest


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_every_class_stands_out_from_the_ground(ground: str) -> None:
    for one in THEME["chartCategoricalColors"]:
        assert 2.2 < contrast(one, THEME[ground]["backgroundColor"]) < 21, one
