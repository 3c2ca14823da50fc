"""What a lesson is made of; one module each. Knows nothing of Streamlit.

A lesson is a row of steps. Each asks a question, takes a prediction, lets the thing itself be
tried, and tells what was measured; the last is open: now you.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from explorer.pictures import Pixels

MOST_STEPS = 8


@dataclass(frozen=True)
class Step:
    """One question, and what there is to try."""

    name: str
    """What the lesson's own page draws for it; unique within the lesson."""
    title: str
    """Two to five words, for the list of steps."""
    question: str
    """One sentence, read aloud before anything is shown."""
    options: tuple[str, ...] = ()
    """Two to four predictions to choose from; none where the step is open."""
    why: str = ""
    """Why it came out like that: Markdown, with the loss written out where it speaks."""


@dataclass(frozen=True)
class Lesson:
    """Five to eight steps about one thing."""

    name: str
    """Name in a link."""
    title: str
    """A question or a claim, as a teacher would write it on the board."""
    about: str
    """One or two sentences: what is shown and measured."""
    minutes: int
    """How long a class takes over it."""
    steps: tuple[Step, ...]
    """In the order in which they are taken."""


@dataclass(frozen=True)
class Finding:
    """What was measured, here and now."""

    right: int | None
    """Place of the option that the measurement bears out; None where none is."""
    words: str
    """The answer with its numbers, one to three sentences of Markdown."""


@dataclass(frozen=True)
class Exhibit:
    """What a step has shown: for the answer below it, and for the handout."""

    finding: Finding | None = None
    """What was measured; None while there is nothing yet."""
    pictures: Mapping[str, Pixels] = field(default_factory=dict)
    """Pictures (H, W, C) by their captions."""
    table: list[dict[str, Any]] = field(default_factory=list)
    """Rows of numbers, each a column's title to its value."""
