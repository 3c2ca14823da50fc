"""The epochs of a training as stops of a slider, which a page's components follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explorer.components import declare

_mount = declare("scrubber")


def scrubber(
    key: str,
    shared: Mapping[str, Any],
    *,
    labels: Sequence[str],
    words: Sequence[str],
    models: Sequence[str],
    at: int,
    settled: Callable[[int], None],
    name: str = "Epoch",
    notes: Sequence[str] = (),
) -> None:
    """Draw a slider over stops, in the order of their epochs, with a play button.

    Of each stop ``labels`` is written under the slider, ``words`` above it, ``notes`` below it,
    and ``models`` is what the live channel calls its weights, which are opened before the hand
    asks for them. It starts on stop ``at``; ``settled`` receives the stop that the user settles on.
    ``name`` is what the slider is called, where stops are no epochs.
    """
    stops = [
        {"label": label, "words": said, "model": model, "note": note}
        for label, said, model, note in zip(
            labels, words, models, notes or [""] * len(labels), strict=True
        )
    ]
    _mount(key, {**shared, "stops": stops, "at": at, "name": name}, settled, state="at")
