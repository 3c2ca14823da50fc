import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from training import networks
from training.recipes import RECIPES, Recipe
from training.specs import (
    LSTM,
    ClassifierSpec,
    ConvDown,
    ConvUp,
    Dense,
    Down,
    GANSpec,
    ImageShape,
    NetworkSpec,
    Up,
    VAESpec,
)

RECIPE = TypeAdapter(Recipe)
NETWORK = TypeAdapter(NetworkSpec)

DOWN = ConvDown((Down(4, 3, 2), Down(8, 3, 2)))
UP = ConvUp(grid=(8, 2, 2), stages=(Up(4, 4), Up(1, 4)))
SHAPE = (1, 8, 8)
VANISHING = ConvUp((Up(1, 5, 1, "valid", "conv"),), grid=(8, 4, 4))


# --- what a spec says is what its network does


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_stage_towards_features_ends_in_the_size_it_says(padding):
    refused = kept = 0
    for kernel, stride, pad, pool, size in product(
        range(1, 8), range(1, 5), (0, 1), (1, 2), range(1, 11)
    ):
        spec = ConvDown((Down(2, kernel, stride, padding, pad, pool),))
        try:
            shape = spec.shape((1, size, size))
        except ValueError:
            refused += 1
            assert size < kernel + pool * stride, spec  # too small for it
            continue
        kept += 1
        module, width = networks.conv_trunk(spec, (1, size, size))
        features = module(torch.zeros(1, 1, size, size))
        assert features.shape == (1, width) == (1, math.prod(shape)), (spec, size)
    assert kept > 500
    assert refused > 20


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("op", ["transposed", "conv"])
def test_a_stage_towards_an_image_ends_in_the_size_it_says(op, padding):
    kept = 0
    for kernel, stride, size in product(range(1, 9), range(1, 5), range(1, 7)):
        try:
            spec = ConvUp((Up(2, kernel, stride, padding, op),), grid=(3, size, size))
            shape = spec.shape()
        except ValueError:
            even = op == "transposed" and padding == "same" and stride == 1 and kernel % 2 == 0
            small = op == "conv" and padding == "valid" and size * stride < kernel
            assert even or small, (kernel, stride, size)
            continue
        kept += 1
        layers = nn.Sequential(*networks.convolutions(spec, 3))
        assert layers(torch.zeros(1, 3, size, size)).shape == (1, *shape), (kernel, stride, size)
        if padding == "same":
            assert shape[1:] == (size * stride, size * stride)
    assert kept > 100


def test_same_padding_divides_by_the_stride():
    """Rounded up, as Keras does it; even kernels, padded alike on both sides, round down."""
    assert [Down(1, 3, 2).size(n) for n in (1, 2, 3, 7, 28)] == [1, 1, 2, 4, 14]
    assert [Down(1, 5, 3).size(n) for n in (1, 3, 4, 28)] == [1, 1, 2, 10]
    assert [Down(1, 4, 1).size(n) for n in (1, 7)] == [1, 7]
    assert [Down(1, 4, 2).size(n) for n in (2, 7, 28)] == [1, 3, 14]


# --- what does not fit together


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VAESpec(2, DOWN, UP, (1, 9, 8)), r"end in \(1, 8, 8\), not in \(1, 9, 8\)"),
        (lambda: VAESpec(2, DOWN, UP, (3, 8, 8)), r"end in \(1, 8, 8\), not in \(3, 8, 8\)"),
        (lambda: GANSpec(2, UP, DOWN, image_shape=(1, 28, 28)), r"not in \(1, 28, 28\)"),
        (lambda: VAESpec(2, DOWN, replace(UP, resize=True), (3, 8, 8)), "not in"),
        (
            lambda: VAESpec(2, ConvDown((Down(4, 5, padding="valid"),) * 2), UP, SHAPE),
            "2 convolutions leave nothing of",
        ),
        (
            lambda: GANSpec(2, UP, ConvDown((Down(4, 3, 1, "same", 0, 4),) * 3), image_shape=SHAPE),
            "3 convolutions leave nothing of",
        ),
        (
            lambda: GANSpec(2, UP, Dense((8,)), num_classes=2, image_shape=SHAPE),
            "a conditional discriminator must be convolutional",
        ),
        (lambda: ClassifierSpec((4, 4, 4, 4), image_shape=(1, 4, 4)), "halve"),
        (lambda: Up(4, 4, stride=1), "odd kernels"),
        (lambda: ConvUp((Up(1, 4),), dense=(16,)), "grid"),
        (lambda: ConvUp((Up(1, 4),), stem_norm="channels"), "grid"),
        (lambda: GANSpec(2, VANISHING, DOWN, image_shape=SHAPE), "leave nothing of a grid"),
    ],
)
def test_what_does_not_fit_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_resized_decoder_may_end_in_another_size():
    spec = VAESpec(2, DOWN, replace(UP, resize=True), (1, 12, 10))
    vae = networks.build(spec)
    assert isinstance(vae, networks.VAE)
    assert vae.decode(torch.zeros(3, 2)).shape == (3, 1, 12, 10)


# --- JSON, as cards hold it


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name):
    recipe = RECIPES[name]
    assert recipe.name == name
    back = RECIPE.validate_json(RECIPE.dump_json(recipe))
    assert back == recipe
    assert type(back.network) is type(recipe.network)
    assert type(back.objective) is type(recipe.objective)


def test_defaults_may_be_left_out_of_json():
    text = """{"kind": "gan", "latent_dim": 3, "image_shape": [1, 1, 2],
               "generator": {"kind": "dense", "widths": [4]},
               "discriminator": {"kind": "dense", "widths": [4, 5]}}"""
    expected = GANSpec(3, Dense((4,)), Dense((4, 5)), image_shape=(1, 1, 2))
    assert NETWORK.validate_json(text) == expected


def edited(spec: NetworkSpec, *path: str | int, value: object) -> dict:
    """The spec as JSON would hold it, with one value changed."""
    content = TypeAdapter(NetworkSpec).dump_python(spec, mode="json")
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return content


TINY_VAE = VAESpec(2, DOWN, UP, SHAPE)
TINY_GAN = GANSpec(2, UP, DOWN, image_shape=SHAPE)
ROWS = VAESpec(2, LSTM(8), Dense((4,)), SHAPE)


@pytest.mark.parametrize(
    ("spec", "path", "value"),
    [
        (TINY_VAE, ("latent_dim",), 0),
        (TINY_VAE, ("latent_dim",), 4097),
        (TINY_VAE, ("latent_dim",), "many"),
        (TINY_VAE, ("image_shape",), [1, 0, 8]),
        (TINY_VAE, ("image_shape",), [1, 8, 1024]),
        (TINY_VAE, ("image_shape",), [5, 8, 8]),
        (TINY_VAE, ("image_shape",), [8, 8]),
        (TINY_VAE, ("init",), "zeros"),
        (TINY_VAE, ("kind",), "transformer"),
        (TINY_VAE, ("encoder", "kind"), "conv-up"),
        (TINY_VAE, ("encoder", "stages"), []),
        (TINY_VAE, ("encoder", "stages", 0, "channels"), 0),
        (TINY_VAE, ("encoder", "stages", 0, "channels"), 16385),
        (TINY_VAE, ("encoder", "stages", 0, "kernel"), 17),
        (TINY_VAE, ("encoder", "stages", 0, "stride"), 0),
        (TINY_VAE, ("encoder", "stages", 0, "stride"), 5),
        (TINY_VAE, ("encoder", "stages", 0, "pad"), -1),
        (TINY_VAE, ("encoder", "stages", 0, "pool"), 9),
        (TINY_VAE, ("encoder", "dropout"), 1.0),
        (TINY_VAE, ("encoder", "dropout"), float("nan")),
        (TINY_VAE, ("encoder", "dense"), [10**9]),
        (TINY_VAE, ("encoder", "dense"), [4] * 9),
        (TINY_VAE, ("encoder", "activation"), "sine"),
        (TINY_VAE, ("decoder", "grid"), [8, 2, 100_000]),
        (TINY_VAE, ("decoder", "stages", 0, "op"), "eval"),
        (TINY_GAN, ("num_classes",), -1),
        (TINY_GAN, ("num_classes",), 1001),
        (TINY_GAN, ("output",), "softmax"),
        (TINY_GAN, ("limit",), 0.0),
        (TINY_GAN, ("limit",), float("inf")),
        (TINY_GAN, ("discriminator",), {"kind": "lstm", "hidden": 4}),
        (ROWS, ("encoder", "hidden"), 4097),
        (ROWS, ("decoder", "widths"), [-1]),
    ],
)  # fmt: skip
def test_hostile_sizes_are_refused(spec, path, value):
    NETWORK.validate_python(edited(spec, "latent_dim", value=3))  # the rest of it is in order
    with pytest.raises(ValidationError) as raised:
        NETWORK.validate_python(edited(spec, *path, value=value))
    assert raised.value.error_count() >= 1


def growing(channels: int) -> ConvUp:
    """From one pixel to 512x512: few weights can ask for much memory."""
    return ConvUp((Up(channels, 1, 4),) * 4 + (Up(1, 2, 2),), grid=(1, 1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: VAESpec(1, Dense((1,)), growing(4096), (1, 512, 512)),
        lambda: VAESpec(1, ConvDown((Down(4096, 1), Down(1, 1, 4))), Dense(()), (1, 512, 512)),
        lambda: GANSpec(1, ConvUp((Up(1, 1, 4),) * 6, grid=(1, 1, 1)), DOWN, image_shape=SHAPE),
    ],
)
def test_a_small_network_cannot_ask_for_large_feature_maps(make: Callable[[], NetworkSpec]):
    with pytest.raises(ValueError, match="over"):
        make()


def test_a_large_image_is_within_bounds():
    shape: ImageShape = (4, 512, 512)
    up = ConvUp((Up(16, 4, 4), Up(4, 4, 2)), grid=(64, 64, 64))
    assert VAESpec(2, ConvDown((Down(32, 4, 2),)), up, shape).image_shape == shape
