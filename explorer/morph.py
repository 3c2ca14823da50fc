"""A morph as a recipe that reproduces it, without Streamlit."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from explorer import latent, pictures
from training.onnx_files import AnyModel

Latent = Annotated[float, Field(ge=-1e9, le=1e9)]
PathKind = Literal["linear", "spherical"]


class End(BaseModel):
    """One end of a morph."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    z: Annotated[list[Latent], Field(min_length=1, max_length=4096)]
    """The latent (d,)."""
    image: str
    """Where it comes from: test-12, sample-12, seed-12 or code-... (an upload's code)."""
    label: Annotated[int, Field(ge=0)] | None = None
    """The class asked for, where the model is conditional."""


class Morph(BaseModel):
    """Everything that determines a morph's frames."""

    model_config = ConfigDict(extra="forbid")

    model: str
    """Name of the checkpoint."""
    weights_sha256: str
    """Hash of the weights it was made with."""
    path: PathKind
    """Straight line or great circle."""
    frames: Annotated[int, Field(ge=3, le=21)]
    """Images from one end to the other, both included."""
    a: End
    """Where it starts."""
    b: End
    """Where it ends."""

    @model_validator(mode="after")
    def _ends_agree(self) -> Morph:
        if len(self.a.z) != len(self.b.z):
            raise ValueError(f"ends of {len(self.a.z)} and {len(self.b.z)} latents")
        return self

    def codes(self, n: int) -> latent.Array:
        """``n`` latents (n, d) along the path."""
        a, b = (np.array(end.z, np.float32) for end in (self.a, self.b))
        return latent.path(self.path, a, b, n)

    def mix(self, n: int, num_classes: int, mixes: bool = True) -> latent.Array | None:
        """Class weights (n, k) along the path; None for an unconditional model.

        The class changes step by step, or halfway for a model that ``mixes`` none.
        """
        if not num_classes or self.a.label is None or self.b.label is None:
            return None
        if (last := max(self.a.label, self.b.label)) >= num_classes:
            raise ValueError(f"{self.model} knows no class {last}")
        weights = latent.class_mix(self.a.label, self.b.label, n, num_classes)
        return weights if mixes else latent.nearest_class(weights)

    def render(self, opened: AnyModel) -> pictures.Pixels:
        """The frames (frames, H, W, C).

        Raises ValueError where ``opened`` is not the model, or not the weights, it was made with.
        """
        card = opened.card
        if card.weights_sha256 != self.weights_sha256:
            raise ValueError(f"this recipe was made with other weights of {self.model}")
        mix = self.mix(self.frames, card.num_classes, card.mixes_classes)
        return pictures.drawn(opened, self.codes(self.frames), mix)
