"""Mode collapse in the plane, counted: the recipes do what the lessons will say of them."""

import torch
from rich.progress import Progress

from training.data import load_both
from training.loop import fit
from training.mixtures import MIXTURES, modes_covered
from training.networks import GAN
from training.recipes import RECIPES


def covered(name: str, tmp_path, epochs: int) -> tuple[int, float]:
    """Modes covered by 2,500 samples of a recipe after ``epochs``, and the share that is good."""
    recipe = RECIPES[name]
    sets = load_both(tmp_path, recipe.dataset, recipe.network.image_shape)
    *_, run = fit(recipe, *sets, Progress(disable=True), epochs=epochs)
    assert isinstance(run.network, GAN)
    z = torch.randn(2500, 2, generator=torch.Generator().manual_seed(5))
    mixture = MIXTURES[recipe.dataset]
    with torch.inference_mode():
        points = run.network.eval().decode(z).flatten(1)
    return modes_covered(mixture.to_plane(points), mixture)


def test_a_wgan_gp_covers_the_grid_on_which_a_plain_gan_of_its_size_collapses(tmp_path):
    wasserstein, plain = RECIPES["grid25-wgan-gp"], RECIPES["grid25-gan"]
    assert wasserstein.network == plain.network
    modes, good = covered("grid25-wgan-gp", tmp_path, epochs=12)
    assert 20 <= modes <= 25
    assert 0.2 < good < 0.99  # not by scattering: a uniform cloud scores 0.02
    fewer, _ = covered("grid25-gan", tmp_path, epochs=12)
    assert fewer <= 10
