"""What was predicted so far: a mark per step, short enough for a link. No Streamlit here.

A mark is the place of the option that was said, `LOOKED`, or `OPEN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explorer.lessons import Finding, Lesson, Step

OPEN = "-"
"""Not reached yet."""
LOOKED = "x"
"""Seen without a prediction."""
MOST_LESSONS = 8
"""Lessons that one link remembers."""

Said = Mapping[str, str]
"""Marks of a lesson's first steps, one character each, by the lesson's name."""


def marks(said: Said, lesson: Lesson) -> str:
    """A mark for each step of a lesson; what it has no option or step for counts as open."""
    kept = said.get(lesson.name, "").ljust(len(lesson.steps), OPEN)
    pairs = zip(kept, lesson.steps, strict=False)
    return "".join(mark if _fits(mark, step) else OPEN for mark, step in pairs)


def _fits(mark: str, step: Step) -> bool:
    return mark == LOOKED or (mark.isdecimal() and int(mark) < len(step.options))


def marked(said: Said, lesson: Lesson, at: int, mark: str) -> dict[str, str]:
    """The same with another mark at a step; a lesson without any is left out."""
    now = marks(said, lesson)
    text = (now[:at] + mark + now[at + 1 :]).rstrip(OPEN)
    others = {name: text for name, text in said.items() if name != lesson.name}
    return others | ({lesson.name: text} if text else {})


def done(now: str) -> int:
    """How many steps were seen."""
    return len(now) - now.count(OPEN)


def first_open(now: str) -> int:
    """Place of the first step that was not seen; 0 where all were."""
    return max(now.find(OPEN), 0)


def is_right(mark: str, finding: Finding | None) -> bool | None:
    """Whether a prediction is borne out; None without one, or while nothing is measured."""
    if finding is None or not mark.isdecimal():
        return None
    return int(mark) == finding.right


def standing(mark: str, finding: Finding | None) -> str:
    """What became of a step, in a word and a sign."""
    if mark == OPEN:
        return "not yet"
    if mark == LOOKED:
        return "seen"
    return {None: "predicted", True: "✓ right", False: "✗ not so"}[is_right(mark, finding)]


def score(now: str, findings: Sequence[Finding | None]) -> tuple[int, int]:
    """How many predictions were right, of how many that have been measured."""
    judged = [
        right
        for mark, finding in zip(now, findings, strict=True)
        if (right := is_right(mark, finding)) is not None
    ]
    return sum(judged), len(judged)
