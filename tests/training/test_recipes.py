import dataclasses

import pytest
from pydantic import TypeAdapter, ValidationError

from training.recipes import (
    RECIPES,
    ClassifierSpec,
    ConvCGANSpec,
    ConvVAESpec,
    Recipe,
    by_name,
)


def test_every_recipe_survives_json():
    adapter = TypeAdapter(Recipe)
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert adapter.validate_json(adapter.dump_json(recipe)) == recipe


def test_an_unknown_name_suggests_the_nearest():
    assert by_name("mnist-cgan") is RECIPES["mnist-cgan"]
    with pytest.raises(ValueError, match="did you mean mnist-cgan"):
        by_name("mnist-cgann")
    with pytest.raises(ValueError, match="latent-train list"):
        by_name("zebra")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvVAESpec(image_shape=(1, 30, 28)),
        lambda: ConvVAESpec(channels=(8, 8, 8), image_shape=(1, 28, 28)),
        lambda: ConvCGANSpec(image_shape=(1, 28, 26)),
        lambda: ClassifierSpec(channels=(4, 4, 4, 4), image_shape=(1, 4, 4)),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused(make):
    with pytest.raises(ValueError, match=r"divisible|halve"):
        make()


def test_a_family_must_match_its_network():
    with pytest.raises(ValueError, match="family vae"):
        dataclasses.replace(RECIPES["mnist-cgan"], family="vae")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("ema_decay", 1.0),
        ("batch_size", 0),
        ("name", "../x"),
    ],
)
def test_settings_out_of_bounds_are_refused(field, value):
    content = dataclasses.asdict(RECIPES["mnist-judge"]) | {field: value}
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(Recipe).validate_python(content)
    assert raised.value.errors()[0]["loc"][0] == field
