"""What the page that asks for classes calls them and what it draws."""

from __future__ import annotations

from dataclasses import dataclass

from training.onnx_files import AnyCard


@dataclass(frozen=True)
class Words:
    """What the page calls what it draws."""

    title: str
    """The page's."""
    caption: str
    """What a latent is here."""
    another: str
    """What a new seed brings."""
    between: str
    """What lies between two classes."""
    style: str
    """What a latent is."""


DIGITS = Words(
    "Draw me a 7",
    "One latent is one handwriting: the same numbers draw all ten classes. Move a style slider and "
    "every digit changes with it.",
    "Another hand",
    "Between two digits",
    "handwriting",
)
IMAGES = Words(
    "Draw me one of each",
    "One latent is one style: the same numbers draw every class. Move a style slider and every "
    "image changes with it.",
    "Another style",
    "Between two classes",
    "style",
)


def words_of(card: AnyCard) -> Words:
    """The words for a model: classes of one letter each are called digits, and can be typed."""
    longer = card.num_classes and any(len(one) > 1 for one in card.classes)
    return IMAGES if longer else DIGITS
