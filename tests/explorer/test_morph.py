"""A morph's recipe reproduces it to the bit, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from explorer import latent
from explorer.morph import End, Morph
from training.checkpoint import load

MODELS = ["tiny-vae-z2", "tiny-vae-z5", "tiny-cgan"]


def morph(zoo: Path, name: str, **changes: Any) -> Morph:
    card = load(zoo / name).card
    labels = (3, 8) if card.num_classes else (None, None)
    ends = [
        End(
            z=latent.sample_z(seed, card.latent_dim).tolist(), image=f"seed-{seed}", label=labels[i]
        )
        for i, seed in enumerate((11, 22))
    ]
    settings: dict[str, Any] = {
        "model": name,
        "weights_sha256": card.files["weights.safetensors"].sha256,
        "path": "linear",
        "frames": 7,
        "a": ends[0],
        "b": ends[1],
    }
    return Morph(**settings | changes)


def changed(one: Morph, **changes: Any) -> str:
    """Its JSON with some fields replaced; a dot leads into an end."""
    content = json.loads(one.model_dump_json())
    for name, value in changes.items():
        *way, last = name.split("__")
        place = content
        for step in way:
            place = place[step]
        place[last] = value
    return json.dumps(content)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_json_there_and_back_renders_the_same_bits(zoo: Path, name: str, path: str) -> None:
    one = morph(zoo, name, path=path)
    again = Morph.model_validate_json(one.model_dump_json())
    assert again == one
    frames = one.render(load(zoo / name))
    assert frames.shape == (7, 28, 28, 1)
    assert len(np.unique(frames)) > 20
    np.testing.assert_array_equal(again.render(load(zoo / name)), frames)


@pytest.mark.parametrize("name", MODELS)
def test_the_ends_are_the_images_that_were_chosen(zoo: Path, name: str) -> None:
    import torch

    opened = load(zoo / name)
    frames = morph(zoo, name).render(opened)
    for frame, seed, label in ((frames[0], 11, 3), (frames[-1], 22, 8)):
        z = torch.from_numpy(latent.sample_z(seed, opened.card.latent_dim))[None]
        y = torch.tensor([label]) if opened.card.num_classes else None
        wanted = opened.decode(z, y)[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(frame - wanted).max() <= 0.51


@pytest.mark.parametrize("frames", [3, 21])
def test_a_morph_has_as_many_frames_as_it_says(zoo: Path, frames: int) -> None:
    assert len(morph(zoo, "tiny-vae-z2", frames=frames).render(load(zoo / "tiny-vae-z2"))) == frames


def test_only_a_conditional_model_gets_class_weights(zoo: Path) -> None:
    mix = morph(zoo, "tiny-cgan").mix(5, 10)
    assert mix is not None
    assert mix[0].argmax() == 3
    assert mix[-1].argmax() == 8
    assert morph(zoo, "tiny-vae-z2").mix(5, 0) is None


def test_other_weights_are_refused(zoo: Path) -> None:
    one = morph(zoo, "tiny-vae-z2")
    with pytest.raises(ValueError, match="other weights of tiny-vae-z2"):
        one.render(load(zoo / "tiny-vae-z5"))
    other = Morph.model_validate_json(changed(one, weights_sha256="0" * 64))
    with pytest.raises(ValueError, match="other weights"):
        other.render(load(zoo / "tiny-vae-z2"))


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 2},
        {"frames": 22},
        {"frames": 10**9},
        {"frames": "many"},
        {"path": "curved"},
        {"path": "__class__"},
        {"a__z": []},
        {"a__z": [0.0] * 5000},
        {"a__z": [1.0]},
        {"a__z": [1e300, 0.0]},
        {"a__z": ["x", "y"]},
        {"a__z": None},
        {"a__label": -1},
        {"a__code": "import os"},
        {"shell": "rm -rf /"},
        {"model": None},
        {"b": {}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_hostile_json_is_refused(zoo: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Morph.model_validate_json(changed(morph(zoo, "tiny-vae-z2"), **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '{"a": ' * 10_000, "\0"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Morph.model_validate_json(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_refused(zoo: Path, number: str) -> None:
    text = changed(morph(zoo, "tiny-vae-z2"), a__z=[12345.0, 0.0]).replace("12345.0", number)
    with pytest.raises(ValidationError):
        Morph.model_validate_json(text)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("tiny-cgan", {"a__label": 10}, "no class 10"),
        ("tiny-cgan", {"a__label": None}, "say which class"),
        ("tiny-vae-z2", {"a__z": [0.0] * 3, "b__z": [0.0] * 3}, "wants z of shape"),
    ],
)
def test_what_the_model_does_not_take_is_refused(
    zoo: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    one = Morph.model_validate_json(changed(morph(zoo, name), **changes))
    with pytest.raises(ValueError, match=words):
        one.render(load(zoo / name))
