"""Links: one table of everything that a URL remembers, and its way in and out.

The value of a key lives in ``st.session_state`` under the key's own name. A link that cannot be
read in full is used as far as it goes, and says what it left out.
"""

from __future__ import annotations

import contextlib
import copy
import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer import catalog
from explorer.directions import MOST, NAME, Kept
from explorer.lessons import MOST_STEPS
from explorer.lessons.progress import MOST_LESSONS, Said
from training.plane import MOST_POINTS

LIMIT = 100
"""Latents of a link lie within ±100: far beyond any real code."""
SEARCH_LENGTH = 40
ON_ITS_WAY_SECONDS = 0.3
"""How long the browser may still tell the URL before the last one that was published."""
LINKED = 128
"""Numbers that a direction may have to be in a link."""


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


def several(one: Callable[[str], str]) -> Callable[[str], list[str]]:
    """Up to 20 values that ``one`` reads, joined by tildes, which no name has."""

    def read(text: str) -> list[str]:
        values = [one(value) for value in text.split("~")]
        if len(values) > 20:
            raise ValueError("up to 20 values are wanted")
        return values

    return read


def read_directions(text: str) -> list[Kept]:
    """Up to 8 directions joined by tildes: ``3 to 8!c3-8``, ``thick!g0.1_-0.2``."""
    found = [_read_direction(one) for one in text.split("~")]
    if len(found) > MOST or len({one.name for one in found}) < len(found):
        raise ValueError(f"up to {MOST} directions, each with a name of its own, are wanted")
    return found


def _read_direction(text: str) -> Kept:
    found = re.fullmatch(rf"({NAME})!(?:c([0-9]{{1,3}})-([0-9]{{1,3}})|([gf])(.*))", text)
    if not found:
        raise ValueError("a direction such as 3 to 8!c3-8 is wanted")
    name, a, b, source, numbers = found.groups()
    if source is None:
        return Kept(name, "classes", classes=(int(a), int(b)))
    vector = tuple(read_floats(numbers)) if numbers else ()
    if len(vector) > LINKED:
        raise ValueError(f"up to {LINKED} numbers in a direction are wanted")
    return Kept(name, "groups" if source == "g" else "file", vector=vector)


def write_directions(found: Iterable[Kept]) -> str:
    """Between classes, what they are; else the vector, or nothing of it where it is too long."""
    return "~".join(map(_write_direction, found))


def _write_direction(one: Kept) -> str:
    if one.source == "classes":
        return f"{one.name}!c{one.classes[0]}-{one.classes[1]}"
    numbers = write_floats(one.vector) if len(one.vector) <= LINKED else ""
    return f"{one.name}!{one.source[0]}{numbers}"


def read_said(text: str) -> dict[str, str]:
    """What was predicted, lesson by lesson, joined by tildes: ``blur.02x-1~plane.1``."""
    found = [
        re.fullmatch(rf"([a-z]{{1,20}})\.([0-3x-]{{0,{MOST_STEPS - 1}}}[0-3x])", one)
        for one in text.split("~")
    ]
    said = {one[1]: one[2] for one in found if one}
    if len(said) < len(found) or len(said) > MOST_LESSONS:
        raise ValueError("predictions such as blur.02x-1 are wanted")
    return said


def write_said(said: Said) -> str:
    """The marks of each lesson (see `explorer.lessons.progress`)."""
    return "~".join(f"{name}.{marks}" for name, marks in said.items())


def read_points(text: str) -> list[tuple[float, float]]:
    """Up to `MOST_POINTS` points of the square from -1 to 1, joined by tildes: ``0.5_-0.2``."""
    points = [read_floats(one) for one in text.split("~")]
    if len(points) > MOST_POINTS or any(len(p) != 2 or max(map(abs, p)) > 1 for p in points):
        raise ValueError(f"up to {MOST_POINTS} points such as 0.5_-0.2 are wanted")
    return [(x, y) for x, y in points]


def write_points(points: Iterable[tuple[float, float]]) -> str:
    """Points with three decimals."""
    return "~".join(map(write_floats, points))


def write_search(text: str) -> str:
    """What is searched for, without the characters that no link may bring."""
    return re.sub(r"[^\w .,=+-]", "", text)[:SEARCH_LENGTH]


_image = pattern(r"(test|sample|folder|drawn)-[0-9]{1,6}", "an image such as test-12")
_image_or_seed = pattern(
    r"(test|sample|folder)-[0-9]{1,6}|seed-[0-9]{1,9}",
    "an image such as test-12, seed-12 or code-0.5",
)
_dataset = pattern(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,39}", "the name of a data set")
_model = pattern(catalog.NAME, "the name of a model")
_search = pattern(rf"[\w .,=+-]{{0,{SEARCH_LENGTH}}}", f"up to {SEARCH_LENGTH} letters or digits")
_switch = (lambda text: bool(integer(0, 1)(text)), lambda on: str(int(on)))

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("model", "", _model),
        Key("seed", 0, integer(0, 2**31 - 1)),
        Key("z", None, read_floats, write_floats),
        Key("class", 0, integer(0, 999)),
        Key("selected", "", _image),
        Key("plane", "pca", pattern("pca|umap", "pca or umap")),
        Key(
            "along",
            "dimensions",
            pattern("dimensions|principal|own", "dimensions, principal or own"),
        ),
        Key("dirs", [], read_directions, write_directions),
        Key("grid", False, *_switch),
        Key("a", "", read_pick),
        Key("b", "", read_pick),
        Key("frames", 9, integer(3, 21)),
        # None chosen: what suits the model.
        Key("path", "", pattern("linear|spherical", "linear or spherical")),
        Key("at", 0.0, read_fraction, lambda value: f"{value:.3f}"),
        Key("text", "2026", pattern(r".{0,12}", "up to 12 characters")),
        Key("from", 3, integer(0, 999)),
        Key("to", 8, integer(0, 999)),
        Key("epoch", 0, integer(1, 100_000)),  # 0: the weights as shipped
        Key("run", "", pattern(catalog.NAME, "the name of a run")),
        Key("report", "R1", pattern("R[1-5]", "one of R1 to R5")),
        Key("row", "", pattern(catalog.NAME, "the name of a recipe")),
        Key("family", [], several(pattern(r"[a-z-]{1,20}", "a family such as vae")), "~".join),
        Key("data", [], several(_dataset), "~".join),
        Key(
            "reports",
            [],
            several(pattern("R[1-5]|own|yours|brought", "R1 to R5, own, yours or brought")),
            "~".join,
        ),
        Key("with", [], several(_model), "~".join),
        Key("drive", "image", pattern("image|z", "image or z")),
        Key("find", "", _search, write_search),
        Key("lesson", "", pattern(r"[a-z]{1,20}", "the name of a lesson")),
        Key("step", 1, integer(1, MOST_STEPS + 1)),  # after the last one comes the summary
        Key("said", {}, read_said, write_said),
        Key("present", False, *_switch),
        Key("points", [], read_points, write_points),  # none: the lesson's own
        Key("sort", "first", pattern("first|name|score|size|latents", "a known order")),
    )
}

PAGE_KEYS: dict[str, tuple[str, ...]] = {
    "models": ("family", "data", "reports", "find", "sort"),
    "map": ("model", "z", "seed", "selected", "plane", "grid"),
    "sliders": ("model", "z", "seed", "class", "along", "dirs"),
    "morph": ("model", "a", "b", "frames", "path", "at", "from", "to"),
    "draw": ("model", "z", "seed", "plane"),
    "digits": ("model", "z", "seed", "text", "from", "to", "at"),
    "compare": ("model", "with", "drive", "selected", "z", "seed", "class"),
    "replay": ("model", "z", "seed", "class", "epoch", "grid"),
    "lessons": ("lesson", "step", "said", "present", "seed", "selected", "points"),
    "reports": ("report", "row"),
    "training": ("run",),
}
"""What the link of each page carries."""


def restore() -> bool:
    """Take the URL's values into the session, once, and give every other key its default.

    True for the run that does; a page is opened by it.

    What the session knows already is newer than the URL: after a restart of the server the page
    brings along what its user did meanwhile.
    """
    if "link_problems" in st.session_state:
        return False
    problems = []
    for key in KEYS.values():
        if key.name in st.session_state:
            continue
        value = copy.copy(key.default)  # a list is the session's own
        if key.name in st.query_params:
            try:
                value = key.read(st.query_params[key.name])
            except ValueError as error:
                problems.append(f"{key.name} ({error})")
        st.session_state[key.name] = value
    st.session_state["link_problems"] = problems
    return True


@dataclass(frozen=True)
class Published:
    """What the URL of a session was when its page was last drawn."""

    page: str
    """The page that was shown."""
    link: dict[str, str]
    """What its link says."""
    at: float
    """When a URL was last sent to the browser, in seconds of a monotonic clock."""


def publish(page: str) -> None:
    """Write the page's state into the URL, so that its address is its link.

    A URL that was followed stays as it is: one more entry would end the way forward.
    """
    link = _written(page)
    written = not st.session_state["followed"] and st.query_params.to_dict() != link
    before: Published | None = st.session_state.get("published")
    at = time.monotonic() if written else before.at if before else 0.0
    st.session_state["published"] = Published(page, link, at)
    if st.session_state.pop("bare", False):
        _entries()[page] = link
    if written:
        st.query_params.from_dict(link)


def follow(page: str) -> bool:
    """Where the browser went back or forward, take the page's keys from its URL.

    It did where a page is entered whose URL says anything (a link to another page says nothing),
    or where the URL is another than the one published and the state is still the same: what the
    user did since is newer than any URL. True there, and wherever a page is entered.
    """
    entered = st.session_state.get("page") != page
    st.session_state["page"] = page  # at once: whoever leaves a page soon cuts its drawing off
    if entered:
        st.session_state["bare"] = not st.query_params
    st.session_state["followed"] = went = _went(page, entered)
    if went:
        _take(page)
    return went or entered


def _went(page: str, entered: bool) -> bool:
    """Whether the browser went back or forward."""
    published: Published | None = st.session_state.get("published")
    found, link = st.query_params.to_dict(), _written(page)
    if published is None or found == link:
        return False
    if entered:
        return bool(found)
    unchanged = (published.page, published.link) == (page, link)
    return unchanged and time.monotonic() - published.at > ON_ITS_WAY_SECONDS


def _take(page: str) -> None:
    """Set the page's keys to what its URL says, or to their defaults; what was said stays said.

    A URL that says nothing stands for what the page was entered with.
    """
    link = st.query_params.to_dict() or _entries().get(page, {})
    for name in PAGE_KEYS[page]:
        if name == "said":
            continue
        key, value = KEYS[name], KEYS[name].default
        if name in link:
            with contextlib.suppress(ValueError):  # none that was published
                value = key.read(link[name])
        st.session_state[name] = value


def _entries() -> dict[str, dict[str, str]]:
    """What pages published first, after a link to them that said nothing, by page."""
    return st.session_state.setdefault("entries", {})


def _written(page: str) -> dict[str, str]:
    """What the page's link says, by the keys' names."""
    pairs = [(KEYS[name], st.session_state[name]) for name in PAGE_KEYS[page]]
    return {key.name: key.write(value) for key, value in pairs if value != key.default}
