"""Operations of a training step, against closed forms: two for each weight that a product uses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from training.networks import GAN, build
from training.operations import per_image
from training.recipes import RECIPES


def products(network: nn.Module) -> list[int]:
    """Weights of each layer of a network of dense layers."""
    return [weight.numel() for weight in network.parameters() if weight.ndim > 1]


def players(name: str) -> tuple[int, int, int, int]:
    """Weights of generator and discriminator, all and the first layer's."""
    gan = build(RECIPES[name].network)
    assert isinstance(gan, GAN)
    g, d = products(gan.generator), products(gan.discriminator)
    return sum(g), g[0], sum(d), d[0]


@pytest.mark.parametrize(("h", "z"), [(128, 2), (512, 10)])
def test_a_vae_is_passed_forward_and_back_by_weights_and_by_inputs(h, z):
    weights = 784 * h + 2 * h * z + z * h + h * 784
    expected = 2 * (3 * weights - 784 * h)  # nobody asks for the gradient of the images
    assert per_image(RECIPES[f"mnist-dense-vae-h{h}-z{z}"]) == expected


@pytest.mark.parametrize("name", ["mnist-mlp-gan", "ring8-gan"])
def test_a_gan_passes_its_discriminator_three_times_forward_and_three_times_back(name):
    g, g_first, d, d_first = players(name)
    generator = 2 * (3 * g - g_first)
    on_real_and_fake = 2 * 2 * (3 * d - d_first)
    frozen = 2 * 2 * d  # forward, and back to the images
    assert per_image(RECIPES[name]) == generator + on_real_and_fake + frozen


def test_a_gradient_penalty_takes_three_more_passes_forward_and_back():
    g, g_first, d, d_first = players("ring8-wgan-gp")
    critic = 2 * g + 2 * 2 * (3 * d - d_first)
    generator = 2 * (3 * g - g_first) + 2 * 2 * d
    penalty = per_image(RECIPES["ring8-wgan-gp"]) - critic - generator
    assert penalty == pytest.approx(6 * 2 * d, rel=0.01)


def test_a_generator_that_moves_every_fifth_step_counts_a_fifth():
    recipe = RECIPES["ring8-wgan-gp"]
    g, g_first, d, _ = players(recipe.name)
    generator = 2 * (3 * g - g_first) + 2 * 2 * d
    rarely = replace(recipe, objective=replace(recipe.objective, critic_steps=5))
    assert per_image(recipe) - per_image(rarely) == pytest.approx(generator * 4 / 5)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("mnist-dense-vae-h128-z2", "mnist-dense-vae-h256-z2"),
        ("mnist-dcgan-z10", "mnist-dcgan-deep-z100"),
        ("ring8-gan", "ring8-wgan-gp"),  # the penalty
        ("mnist-lstm-vae-z2", "imagenette-vae-z200"),
    ],
)
def test_larger_networks_take_more(less, more):
    assert per_image(RECIPES[less]) < per_image(RECIPES[more])


def test_counting_draws_no_random_number():
    before = torch.get_rng_state()
    per_image.__wrapped__(RECIPES["mnist-mlp-gan"])
    assert torch.equal(torch.get_rng_state(), before)
