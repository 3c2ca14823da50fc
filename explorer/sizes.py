"""How large images are shown, and how many of them at once, by their own height."""

from __future__ import annotations

MOST_TILES, TILES_HEIGHT = 20, 1280
"""Images along a side of the map's decoded plane, and their pixels together: 5 MB at most."""
MOST_FRAMES, FRAMES_WIDTH = 11, 800
"""Frames of a filmstrip, and their pixels together."""


def enlargement(height: int, most: int) -> int:
    """How many times an image is enlarged, in whole steps, so as to be no higher than ``most``."""
    return max(most // height, 1)


def across(height: int, about: int) -> int:
    """CSS pixels across for an image that is drawn live, ``about`` so many: whole steps again."""
    return height * max(round(about / height), 1)


def plane_tiles(height: int) -> int:
    """Images along the longer side of the map's decoded plane."""
    return max(min(TILES_HEIGHT // height, MOST_TILES), 2)


def film_frames(height: int) -> int:
    """Frames of a filmstrip: an odd number, so that one is in the middle."""
    frames = max(min(FRAMES_WIDTH // height, MOST_FRAMES), 3)
    return frames - 1 + frames % 2
