"""Links: one table of everything that a URL remembers, and its way in and out.

The value of a key lives in ``st.session_state`` under the key's own name. A link that cannot be
read in full is used as far as it goes, and says what it left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import streamlit as st

LIMIT = 100
"""Latents of a link lie within ±100: far beyond any real code."""


@dataclass(frozen=True)
class Key:
    """One thing a link remembers."""

    name: str
    """Name in the URL and in the session's state."""
    default: Any
    """Value where the URL is silent; never written into one."""
    read: Callable[[str], Any]
    """Text of the URL -> value; raises ValueError, which never repeats the text, out of range."""
    write: Callable[[Any], str] = str
    """Value -> text of the URL."""


def integer(least: int, most: int) -> Callable[[str], int]:
    """Whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most} is wanted")
        return int(text)

    return read


def pattern(expression: str, words: str) -> Callable[[str], str]:
    """Text that matches a regular expression as a whole; ``words`` say what that is."""

    def read(text: str) -> str:
        if not re.fullmatch(expression, text):
            raise ValueError(f"{words} is wanted")
        return text

    return read


def read_floats(text: str) -> list[float]:
    """Numbers joined by underscores, at most 4,096, each within ±`LIMIT`."""
    values = [_number(part) for part in text.split("_")]
    if len(values) > 4096 or not all(abs(value) <= LIMIT for value in values):
        raise ValueError(f"up to 4,096 numbers from -{LIMIT} to {LIMIT} are wanted")
    return values


def _number(text: str) -> float:
    """A number in plain decimals; NaN, which no range contains, for anything else."""
    return float(text) if re.fullmatch(r"-?[0-9]{1,10}(\.[0-9]{0,20})?", text) else math.nan


def write_floats(values: Iterable[float]) -> str:
    """Numbers with three decimals, joined by underscores."""
    return "_".join(f"{value:.3f}".rstrip("0").rstrip(".") for value in values)


def read_fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1 is wanted")
    return value


def read_pick(text: str) -> str:
    """A picked image: one of the gallery's, a random latent's, or an uploaded picture's code."""
    if text.startswith("code-"):
        read_floats(text.removeprefix("code-"))
        return text
    return _image_or_seed(text)


_image = pattern(r"(test|sample|folder)-[0-9]{1,6}", "an image such as test-12")
_image_or_seed = pattern(
    r"(test|sample|folder)-[0-9]{1,6}|seed-[0-9]{1,9}",
    "an image such as test-12, seed-12 or code-0.5",
)

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("model", "", pattern(r"[A-Za-z0-9._-]{1,100}", "the name of a model")),
        Key("seed", 0, integer(0, 2**31 - 1)),
        Key("z", None, read_floats, write_floats),
        Key("class", 0, integer(0, 999)),
        Key("selected", "", _image),
        Key("grid", False, lambda text: bool(integer(0, 1)(text)), lambda on: str(int(on))),
        Key("a", "", read_pick),
        Key("b", "", read_pick),
        Key("frames", 9, integer(3, 21)),
        Key("path", "linear", pattern("linear|spherical", "linear or spherical")),
        Key("at", 0.0, read_fraction, lambda value: f"{value:.3f}"),
        Key("text", "2026", pattern(r".{0,12}", "up to 12 characters")),
        Key("from", 3, integer(0, 999)),
        Key("to", 8, integer(0, 999)),
        Key("run", "", pattern(r"[A-Za-z0-9._-]{1,100}", "the name of a run")),
        Key("report", "R1", pattern("R[1-5]", "one of R1 to R5")),
        Key("row", "", pattern(r"[A-Za-z0-9._-]{1,100}", "the name of a recipe")),
    )
}

PAGE_KEYS: dict[str, tuple[str, ...]] = {
    "map": ("model", "z", "seed", "selected", "grid"),
    "sliders": ("model", "z", "seed", "class"),
    "morph": ("model", "a", "b", "frames", "path", "at", "from", "to"),
    "digits": ("model", "z", "seed", "text", "from", "to", "at"),
    "reports": ("report", "row"),
    "training": ("run",),
}
"""What the link of each page carries."""


def restore() -> None:
    """Take the URL's values into the session, once, and give every other key its default.

    What the session knows already is newer than the URL: after a restart of the server the page
    brings along what its user did meanwhile.
    """
    if "link_problems" in st.session_state:
        return
    problems = []
    for key in KEYS.values():
        if key.name in st.session_state:
            continue
        value = key.default
        if key.name in st.query_params:
            try:
                value = key.read(st.query_params[key.name])
            except ValueError as error:
                problems.append(f"{key.name} ({error})")
        st.session_state[key.name] = value
    st.session_state["link_problems"] = problems


def publish(page: str) -> None:
    """Write the page's state into the URL, so that its address is its link."""
    wanted = {}
    for name in PAGE_KEYS[page]:
        key, value = KEYS[name], st.session_state[name]
        if value != key.default:
            wanted[name] = key.write(value)
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)
