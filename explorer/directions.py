"""Directions in a latent space: which dimensions matter, principal ones, and those people make.

Nothing here needs the app: in a notebook, ``between_classes(codes, labels, 3, 8)`` is the vector
that makes an 8 of a 3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from explorer.latent import Array

MOST = 8
"""Directions that a model can have at a time."""
NAME_LENGTH = 24
NAME = rf"[\w .,=+-]{{1,{NAME_LENGTH}}}"
"""What a name may hold: a link brings it along."""
LIMIT = 100.0
"""Numbers of a vector lie within ±100: far beyond any difference of codes."""
MAX_BYTES = 1 << 20
"""Of a file of directions."""
DEAD_NATS = 0.01
"""A dimension with less KL is not used. Burda et al. 2016 (arXiv:1509.00519) call a unit active
where the variance of its mean is above 0.01; here the same number is asked of the KL."""
DEAD_EFFECT = 1 / 255
"""A dimension that moves pixels by less than one grey level, of pixels in [0, 1]."""
ACTIVE_VARIANCE = 0.01
"""Burda et al.'s own bound, for the variance of codes along a principal direction."""


class DirectionError(ValueError):
    """A direction that cannot be made or read; the message says why."""


@dataclass(frozen=True)
class Carried:
    """What each latent dimension does."""

    values: Array
    """One number per dimension (d,), 0 or more."""
    unit: Literal["nats", "pixels"]
    """KL from the prior in nats, or root mean square change of pixels in [0, 1]."""

    @property
    def dead(self) -> NDArray[np.bool_]:
        """The dimensions (d,) that do nothing."""
        return self.values < (DEAD_NATS if self.unit == "nats" else DEAD_EFFECT)


@dataclass(frozen=True)
class Direction:
    """A named vector in a latent space."""

    name: str
    """What people call it."""
    vector: Array
    """From where it starts to where it leads (d,), float32."""
    source: str
    """Where it comes from, in words."""


@dataclass(frozen=True)
class Principal:
    """A direction in which codes differ most."""

    direction: Direction
    """Of length 1; the directions of one model are at right angles."""
    centre: float
    """Coordinate of the codes' mean along it."""
    deviation: float
    """Standard deviation of the codes along it."""
    share: float
    """Share of the codes' variance that it carries, in [0, 1]."""

    @property
    def dead(self) -> bool:
        """Codes hardly differ along it."""
        return self.deviation**2 < ACTIVE_VARIANCE


@dataclass(frozen=True)
class Kept:
    """A direction as a session keeps it: what it was made from, so that a link can be short."""

    name: str
    """What its maker called it."""
    source: Literal["classes", "groups", "file"]
    """What it was made from."""
    classes: tuple[int, int] = (0, 0)
    """From which class to which, where it is between classes."""
    vector: tuple[float, ...] = ()
    """The vector itself (d,), for the others."""


def ranked(values: Array) -> NDArray[np.int64]:
    """Indices (d,) of values (d,), the greatest first; equal ones keep their order."""
    return np.argsort(-values, kind="stable")


def between_groups(codes: Array, first: NDArray[np.integer], second: NDArray[np.integer]) -> Array:
    """From the mean of one group of codes (n, d) to that of another, by their indices -> (d,).

    The attribute vectors of Larsen et al. 2016 (arXiv:1512.09300). Raises DirectionError where a
    group is empty or nothing lies between them.
    """
    if not len(first) or not len(second):
        raise DirectionError("A direction leads from one group to another: one of them is empty.")
    vector = codes[second].mean(0) - codes[first].mean(0)
    if not np.any(np.abs(vector) > 1e-6):
        raise DirectionError("Both groups have the same mean: nothing lies between them.")
    return vector.astype(np.float32)


def between_classes(codes: Array, labels: NDArray[np.integer], a: int, b: int) -> Array:
    """From the mean code of class ``a`` to that of class ``b``; codes (n, d), labels (n,) -> (d,).

    Raises DirectionError where a class has no code, or both are the same.
    """
    if a == b:
        raise DirectionError("Choose two different classes.")
    return between_groups(codes, np.flatnonzero(labels == a), np.flatnonzero(labels == b))


def principal(atlas: Mapping[str, Array]) -> tuple[Principal, ...]:
    """The principal directions of an atlas (see `training.atlas`), the strongest first.

    Its ``pca_mean`` (d,), ``pca_components`` (k, d) and ``pca_variance`` (k,), and the codes
    ``mu`` (n, d) for the variance in all.
    """
    total = max(float(atlas["mu"].var(0, ddof=1).sum()), 1e-12)
    rows = zip(atlas["pca_components"], atlas["pca_variance"], strict=True)
    return tuple(
        Principal(
            Direction(f"Principal direction {i + 1}", row, "principal components of the codes"),
            centre=float(row @ atlas["pca_mean"]),
            deviation=float(np.sqrt(variance)),
            share=min(float(variance) / total, 1.0),
        )
        for i, (row, variance) in enumerate(rows)
    )


def clean_name(text: str) -> str:
    """A name without the characters that no link may bring; may end up empty."""
    return re.sub(r"[^\w .,=+-]", "", text).strip()[:NAME_LENGTH]


def resolved(
    kept: Kept, latent_dim: int, codes: Array, labels: NDArray[np.integer], classes: Sequence[str]
) -> Direction:
    """What a session keeps, as a vector of this model.

    ``codes`` (n, d) and ``labels`` (n,) may be empty where nothing is between classes. Raises
    DirectionError where it is none of this model's.
    """
    if kept.source != "classes":
        if not kept.vector:
            raise DirectionError(f"{kept.name} was too long for a link: load it from its file.")
        if len(kept.vector) != latent_dim:
            raise DirectionError(
                f"{kept.name} has {len(kept.vector)} numbers; this model has {latent_dim}."
            )
        words = {"groups": "between two groups of marks", "file": "from a file"}[kept.source]
        return Direction(kept.name, np.array(kept.vector, np.float32), words)
    a, b = kept.classes
    if max(a, b) >= len(classes):
        raise DirectionError(f"{kept.name} is between classes that are not here.")
    words = f"from the mean of {classes[a]} to that of {classes[b]}"
    return Direction(kept.name, between_classes(codes, labels, a, b), words)


def added(kept: Sequence[Kept], new: Sequence[Kept]) -> list[Kept]:
    """Directions with new ones at their end.

    Raises DirectionError where they would be too many or a name is missing or taken.
    """
    names = [one.name for one in (*kept, *new)]
    if not all(names):
        raise DirectionError("A direction needs a name, of letters and digits.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DirectionError(f"There is a direction called “{twice}” already.")
    if len(names) > MOST:
        raise DirectionError(f"A model can have {MOST} directions: remove one first.")
    return [*kept, *new]


Number = Annotated[float, Field(ge=-LIMIT, le=LIMIT, allow_inf_nan=False)]


class _Named(BaseModel):
    """A direction in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(max_length=200)]
    vector: Annotated[list[Number], Field(min_length=1, max_length=4096)]


class DirectionsFile(BaseModel):
    """What `write_file` writes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(max_length=200)]
    """Name of the model that they were made in."""
    weights_sha256: Annotated[str, Field(max_length=64)]
    """Hash of its weights: in others, the same numbers mean something else."""
    directions: Annotated[list[_Named], Field(min_length=1, max_length=MOST)]
    """Names and vectors (d,)."""

    def kept(self) -> list[Kept]:
        """Its directions, as a session keeps them."""
        return [
            Kept(clean_name(one.name), "file", vector=tuple(one.vector)) for one in self.directions
        ]


def write_file(model: str, sha256: str, directions: Sequence[Direction]) -> str:
    """Directions as JSON: the model, the hash of its weights, names and vectors."""
    named = [{"name": one.name, "vector": one.vector.tolist()} for one in directions]
    return json.dumps({"model": model, "weights_sha256": sha256, "directions": named}, indent=1)


def read_file(blob: bytes, latent_dim: int) -> DirectionsFile:
    """Directions from a file that anyone may have written.

    Raises DirectionError, in a sentence, for anything else than up to 8 vectors of ``latent_dim``
    finite numbers within ±100.
    """
    if len(blob) > MAX_BYTES:
        raise DirectionError(f"The file has {len(blob) / 2**20:.1f} MB; up to 1 MB can be read.")
    try:
        found = DirectionsFile.model_validate_json(blob)
    except ValidationError as error:
        raise DirectionError(_words(error)) from None
    for one in found.directions:
        if len(one.vector) != latent_dim:
            raise DirectionError(
                f"A direction of this file has {len(one.vector)} numbers; this model has "
                f"{latent_dim} latent dimensions."
            )
    return found


def _words(error: ValidationError) -> str:
    """What is wrong with a file, without a word of the file's own."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "This is not a file of directions: it is not JSON."
    known = {"model", "weights_sha256", "directions", "name", "vector"}
    path = [str(part + 1 if isinstance(part, int) else part) for part in first["loc"]]
    place = " ".join(part for part in path if part in known or part.isdigit())
    limits = f"up to {MOST} names with vectors of finite numbers within ±{LIMIT:.0f}"
    return f"This is not a file of directions ({limits}): look at its {place or 'first level'}."
