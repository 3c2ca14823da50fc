"""Training as tutorials write it: what `training.bench` measures our loop against.

A DataLoader over torchvision's data sets, float32 in torch's default layout, an optimiser as it
comes, and a loss read back at every step. The networks are ours, with torch's own convolutions.
Nothing else uses this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from training import networks, objectives
from training.data import DataError
from training.networks import GAN, VAE, ConvTranspose2d, OverlapAddConv2d
from training.recipes import ELBO, Recipe, Wasserstein

TextbookStep = Callable[[Tensor, Tensor], float]
"""One step on images (n, C, H, W) and classes (n,); returns a loss."""


class Textbook:
    """A recipe's system under a textbook's loop."""

    def __init__(self, recipe: Recipe, root: Path, device: torch.device, seed: int):
        torch.manual_seed(seed)
        self.recipe = recipe
        self.device = device
        self.images = images(recipe, root)
        self.network = plain(networks.build(recipe.network)).to(device).train()
        self.step = make_step(recipe, self.network)

    def run(self, n: int) -> int:
        """Train on ``n`` images in whole batches, over again where there are fewer; on how many."""
        size, trained = self.recipe.batch_size, 0
        some = Subset(self.images, range(min(n, len(self.images))))  # pyright: ignore
        loader = DataLoader(some, size, shuffle=True, drop_last=len(some) >= size)
        epochs = chain.from_iterable(repeat(loader))
        for x, y in islice(epochs, max(n // size, 1)):
            self.step(x.to(self.device), y.to(self.device))
            trained += len(x)
        return trained


def images(recipe: Recipe, root: Path) -> Dataset[tuple[Tensor, int]]:
    """The training set as torchvision has it. Raises DataError where it cannot read it."""
    from torchvision import datasets, transforms

    shape = recipe.network.image_shape
    to_tensor = transforms.ToTensor()
    folders = {"cifar10": root / "cifar10/train", "imagenette": root / "imagenette2-160/train"}
    try:
        if recipe.dataset == "mnist" and shape[0] == 1:
            return datasets.MNIST(str(root), transform=to_tensor)
        if recipe.dataset == "cifar10" and not folders["cifar10"].is_dir():
            return datasets.CIFAR10(str(root), transform=to_tensor)
        if recipe.dataset in folders:
            cut = [transforms.Resize(shape[1]), transforms.CenterCrop(shape[1:])]
            return datasets.ImageFolder(
                str(folders[recipe.dataset]), transforms.Compose([*cut, to_tensor])
            )
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"torchvision cannot read {recipe.dataset} in {root} ({error}): run "
            f"`latent-train download {recipe.dataset} --data {root}`."
        ) from error
    raise DataError(f"torchvision has no {recipe.dataset}: there is no textbook loop for it.")


def plain(network: nn.Module) -> nn.Module:
    """The network in torch's default layout, every convolution computed torch's way."""
    torchs = {OverlapAddConv2d: nn.Conv2d, ConvTranspose2d: nn.ConvTranspose2d}
    for module in network.modules():
        if type(module) in torchs:
            module.forward = partial(torchs[type(module)].forward, module)
    return network.to(memory_format=torch.contiguous_format)


def make_step(recipe: Recipe, network: nn.Module) -> TextbookStep:
    """The step of a tutorial for this family; ValueError for a classifier."""
    match network:
        case VAE():
            return vae_step(recipe, network)
        case GAN() if isinstance(recipe.objective, Wasserstein):
            return wgan_step(recipe, network, recipe.objective)
        case GAN():
            return gan_step(recipe, network)
    raise ValueError(f"{recipe.name} is a judge: there is no textbook loop for it")


def optimizer(
    recipe: Recipe, module: nn.Module, rate: float | None = None
) -> torch.optim.Optimizer:
    """Adam or RMSprop with the recipe's numbers and torch's defaults."""
    rate = rate or recipe.learning_rate
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(module.parameters(), lr=rate)
    return torch.optim.Adam(module.parameters(), lr=rate, betas=recipe.betas)


def vae_step(recipe: Recipe, vae: VAE) -> TextbookStep:
    """As in pytorch/examples, vae/main.py: losses summed, one optimiser."""
    assert isinstance(recipe.objective, ELBO)
    objective, optim = recipe.objective, optimizer(recipe, vae)

    def step(x: Tensor, y: Tensor) -> float:
        optim.zero_grad()
        mu, log_var = vae.encode(x)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        x_hat = torch.sigmoid(vae.decoder(z))
        if objective.reconstruction == "bernoulli":
            error = F.binary_cross_entropy(x_hat, x, reduction="sum")
        else:
            error = F.mse_loss(x_hat, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
        loss = (error + objective.beta * kl) / len(x)
        loss.backward()
        optim.step()
        return loss.item()

    return step


def gan_step(recipe: Recipe, gan: GAN) -> TextbookStep:
    """As in pytorch/examples, dcgan/main.py: three passes through the discriminator."""
    generator = optimizer(recipe, gan.generator)
    discriminator = optimizer(recipe, gan.discriminator, recipe.discriminator_learning_rate)
    loss_of = nn.BCEWithLogitsLoss()

    def step(x: Tensor, y: Tensor) -> float:
        condition = F.one_hot(y, gan.num_classes).float() if gan.num_classes else None
        z = torch.randn(len(x), recipe.latent_dim, device=x.device)
        ones, zeros = torch.ones(len(x), device=x.device), torch.zeros(len(x), device=x.device)

        gan.discriminator.zero_grad()
        real = loss_of(score(gan, x, condition), ones)
        real.backward()
        fake = gan.generator(z, condition)
        made = loss_of(score(gan, fake.detach(), condition), zeros)
        made.backward()
        discriminator.step()

        gan.generator.zero_grad()
        loss = loss_of(score(gan, fake, condition), ones)
        loss.backward()
        generator.step()
        return (real + made).item() + loss.item()

    return step


def wgan_step(recipe: Recipe, gan: GAN, objective: Wasserstein) -> TextbookStep:
    """As in the papers' algorithms: the critic at every step, the generator at some."""
    generator, critic = optimizer(recipe, gan.generator), optimizer(recipe, gan.discriminator)
    taken = 0

    def step(x: Tensor, y: Tensor) -> float:
        nonlocal taken
        taken += 1
        critic.zero_grad()
        fake = gan.generator(torch.randn(len(x), recipe.latent_dim, device=x.device)).detach()
        loss = score(gan, fake).mean() - score(gan, x).mean()
        if objective.gradient_penalty:
            inside = gan.discriminator.inside
            penalty = objectives.gradient_penalty(
                lambda between: gan.discriminator.head(gan.discriminator.trunk(between)).squeeze(1),
                inside(x),
                inside(fake),
                torch.rand(len(x), device=x.device),
            )
            loss = loss + objective.gradient_penalty * penalty
        loss.backward()
        critic.step()
        if objective.clip:
            for parameter in gan.discriminator.parameters():
                parameter.data.clamp_(-objective.clip, objective.clip)
        if taken % objective.critic_steps == 0:
            generator.zero_grad()
            z = torch.randn(len(x), recipe.latent_dim, device=x.device)
            (-score(gan, gan.generator(z)).mean()).backward()
            generator.step()
        return loss.item()

    return step


def score(gan: GAN, x: Tensor, condition: Tensor | None = None) -> Tensor:
    """The discriminator's logits (n,) of images (n, C, H, W), in their own layout."""
    x = gan.discriminator.inside(x)
    if condition is not None:
        planes = condition[:, :, None, None].expand(-1, -1, *x.shape[2:])
        x = torch.cat([x, planes], dim=1)
    return gan.discriminator.head(gan.discriminator.trunk(x)).squeeze(1)
