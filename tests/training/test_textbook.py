"""The loop we are measured against takes the same steps as ours, only slower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from training import loop, networks, textbook
from training.data import DataError
from training.networks import GAN, ConvTranspose2d, OverlapAddConv2d
from training.recipes import RECIPES, Recipe
from training.textbook import Textbook, images, plain

FAMILIES = (
    "mnist-conv-vae-z2",
    "mnist-linear-vae-z2",
    "mnist-gan-r4-z64",
    "mnist-cgan",
    "mnist-wgan-r2",
    "mnist-wgan-gp-z64",
)


def without_dropout(recipe: Recipe) -> Recipe:
    """Random numbers drawn elsewhere would tell the two loops apart."""
    network = recipe.network
    if hasattr(network, "discriminator"):
        trunk = replace(network.discriminator, dropout=0.0)  # pyright: ignore
        network = replace(network, discriminator=trunk)  # pyright: ignore
    return replace(recipe, network=network, bf16=False)


def inputs(recipe: Recipe) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(8, *recipe.network.image_shape, generator=generator)
    return x, torch.arange(8) % 10


@pytest.mark.parametrize("name", FAMILIES)
def test_it_takes_our_steps(name: str, monkeypatch: pytest.MonkeyPatch):
    recipe = without_dropout(RECIPES[name])
    x, y = inputs(recipe)
    session = loop.start(recipe, torch.device("cpu"), 5, 1)
    other = networks.build(recipe.network).train()
    other.load_state_dict(session.network.state_dict())
    step = textbook.make_step(recipe, plain(other))
    ours = loop.make_step(session)
    noise = torch.randn(8, recipe.latent_dim, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.linspace(0, 1, 8))
    losses, told = {}, 0.0
    for i in range(5):
        losses = ours(x, y, i)
        told = step(x, y)
    weights = zip(session.network.parameters(), other.parameters(), strict=True)
    apart = torch.cat([(a - b).detach().flatten() for a, b in weights])
    assert apart.square().mean().sqrt() < 0.1 * recipe.learning_rate, "the same place"
    total = {
        "vae": ("total",),
        "gan": ("discriminator", "generator"),
        "cgan": ("discriminator", "generator"),
        "wgan": ("critic",),
        "wgan-gp": ("critic",),
    }[recipe.family]
    wanted = sum(float(losses[part]) for part in total)
    if "penalty" in losses:
        wanted += recipe.objective.gradient_penalty * float(losses["penalty"])  # pyright: ignore
    assert told == pytest.approx(wanted, rel=2e-3, abs=1e-4)


def test_its_transposed_convolutions_are_torchs():
    network = plain(networks.build(RECIPES["mnist-conv-vae-z2"].network)).train()
    own = [m for m in network.modules() if isinstance(m, ConvTranspose2d)]
    assert len(own) == 3
    h = torch.randn(2, 64, 7, 7)
    torch.testing.assert_close(own[0](h), nn.ConvTranspose2d.forward(own[0], h), rtol=0, atol=0)


def test_its_networks_are_plain():
    network = plain(networks.build(RECIPES["mnist-cgan"].network))
    assert isinstance(network, GAN)
    x = torch.randn(2, 138)
    own = [m for m in network.modules() if isinstance(m, OverlapAddConv2d)]
    assert own, "there is one to be computed torch's way"
    h = torch.randn(2, 128, 28, 28)
    torch.testing.assert_close(own[0](h), nn.Conv2d.forward(own[0], h), rtol=0, atol=0)
    for parameter in network.parameters():
        assert parameter.is_contiguous()
    assert network.generator(x[:, :128], x[:, 128:]).shape == (2, 1, 28, 28)


def test_judges_have_no_textbook():
    with pytest.raises(ValueError, match="mnist-judge is a judge"):
        textbook.make_step(RECIPES["mnist-judge"], nn.Identity())


def test_data_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="latent-train download mnist"):
        images(RECIPES["mnist-cgan"], tmp_path)
    with pytest.raises(DataError, match="latent-train download imagenette"):
        images(RECIPES["imagenette-vae-z200"], tmp_path)
    with pytest.raises(DataError, match="torchvision has no ring8"):
        images(RECIPES["ring8-gan"], tmp_path)


def test_pictures_in_folders_are_cut_to_the_networks_size(tmp_path: Path):
    folder = tmp_path / "imagenette2-160" / "train" / "n01440764"
    folder.mkdir(parents=True)
    Image.new("RGB", (300, 200), (255, 0, 0)).save(folder / "a.jpg")
    x, y = images(RECIPES["imagenette-vae-z200"], tmp_path)[0]
    assert (tuple(x.shape), y) == ((3, 160, 160), 0)  # pyright: ignore[reportAttributeAccessIssue]


def test_it_trains_on_as_many_images_as_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    recipe = replace(RECIPES["mnist-dense-vae-h128-z2"], batch_size=4)
    data = [(torch.rand(1, 28, 28), i % 10) for i in range(10)]
    monkeypatch.setattr(textbook, "images", lambda recipe, root: data)
    one = Textbook(recipe, tmp_path, torch.device("cpu"), 0)
    seen: list[int] = []
    monkeypatch.setattr(one, "step", lambda x, y: seen.append(len(x)))
    one.run(8)
    assert seen == [4, 4]
    one.run(20)
    assert seen == [4, 4] + [4] * 5, "over again, in whole batches"
