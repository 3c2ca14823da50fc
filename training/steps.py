"""What one optimisation step is, per family; and the same losses on held-out data.

Every function returns its losses as detached scalars on the device: reading them is left to the
loop, so that no step waits for the device. Noise and classes are arguments: nothing here draws a
random number but dropout and the classifier's translations.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from training import objectives
from training.devices import World
from training.networks import GAN, VAE, Classifier
from training.recipes import ELBO, Adversarial, CrossEntropy, Recipe, Wasserstein

Losses = dict[str, Tensor]
Step = Callable[[Tensor, Tensor, int], Losses]
ALONE = World()
ONE_CYCLE_RISE = 0.2
"""Share of a one-cycle run in which the step size grows."""


def autocast(x: Tensor, enabled: bool) -> AbstractContextManager[object]:
    """bfloat16 context for forward passes on the device of ``x``."""
    return torch.autocast(x.device.type, torch.bfloat16) if enabled else nullcontext()


def optimise(loss: Tensor, optimizer: Optimizer, network: nn.Module, world: World) -> None:
    """Step down the gradient of ``loss``, averaged over the processes."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    world.average_gradients(network)
    optimizer.step()


def vae_losses(
    vae: VAE, x: Tensor, noise: Tensor, objective: ELBO, *, bf16: bool = False
) -> Losses:
    """Negative ELBO of images x (n, C, H, W) in nats: total = reconstruction + beta * kl.

    ``noise`` (n, d) is standard normal.
    """
    with autocast(x, bf16):
        mu, log_var = vae.encode(x)
        mu, log_var = mu.float(), log_var.float()
        logits = vae.decoder(objectives.reparameterize(mu, log_var, noise)).float()
    if objective.reconstruction == "bernoulli":
        reconstruction = objectives.bernoulli_nll(logits, x).mean()
    else:
        reconstruction = objectives.squared_error(torch.sigmoid(logits), x).mean()
    kl = objectives.gaussian_kl(mu, log_var).sum()
    total = reconstruction + objective.beta * kl
    return {"total": total, "reconstruction": reconstruction, "kl": kl}


def vae_step(
    vae: VAE,
    optimizer: Optimizer,
    x: Tensor,
    noise: Tensor,
    objective: ELBO,
    *,
    bf16: bool = False,
    world: World = ALONE,
) -> Losses:
    """One step on the negative ELBO."""
    losses = vae_losses(vae, x, noise, objective, bf16=bf16)
    optimise(losses["total"], optimizer, vae, world)
    return _detach(losses)


def gan_losses(
    gan: GAN, x: Tensor, y: Tensor, z: Tensor, objective: Adversarial, *, bf16: bool = False
) -> Losses:
    """Losses of both players on images x (n, C, H, W), classes y (n,) and noise z (n, d)."""
    d_real, d_fake = _scores(gan, x, y, z, bf16)
    return _gan_report(d_real, d_fake, generator_loss(d_fake, objective))


def gan_step(
    gan: GAN,
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    objective: Adversarial,
    *,
    bf16: bool = False,
    world: World = ALONE,
) -> Losses:
    """One step of the discriminator, then one of the generator, on one batch.

    Both steps use the same fakes: the discriminator sees them detached, and the generator's
    gradient flows through a frozen discriminator, so neither leaves gradients in the other.
    """
    condition = one_hot(y, gan)
    with autocast(x, bf16):
        fake = gan.generator(z, condition)
        d_real = gan.discriminator(x, condition).float()
        d_fake = gan.discriminator(fake.detach(), condition).float()
    loss = objectives.discriminator_bce(d_real, d_fake, objective.label_smoothing)
    optimise(loss, discriminator_optimizer, gan.discriminator, world)

    gan.discriminator.requires_grad_(False)
    with autocast(x, bf16):
        features = gan.discriminator.features(gan.discriminator.inside(fake), condition)
        judged = gan.discriminator.head(features).squeeze(1).float()
        loss = adversarial = generator_loss(judged, objective)
        if objective.feature_matching:
            wanted = gan.discriminator.features(gan.discriminator.inside(x), condition)
            means = (world.mean_of_rows(part.float()) for part in (wanted, features))
            match = objectives.feature_matching(*means)
            loss = adversarial + objective.feature_matching * match
    optimise(loss, generator_optimizer, gan.generator, world)
    gan.discriminator.requires_grad_(True)
    return _gan_report(d_real, d_fake, adversarial)


def generator_loss(d_fake: Tensor, objective: Adversarial) -> Tensor:
    """The generator's side of the game, from the logits (n,) of its images."""
    if objective.generator_loss == "minimax":
        return objectives.generator_minimax(d_fake)
    return objectives.generator_bce(d_fake)


def wgan_losses(gan: GAN, x: Tensor, y: Tensor, z: Tensor, *, bf16: bool = False) -> Losses:
    """Critic's and generator's loss and the distance on x (n, C, H, W), y (n,) and z (n, d)."""
    d_real, d_fake = _scores(gan, x, y, z, bf16)
    critic = objectives.critic_loss(d_real, d_fake)
    return _detach(
        {"critic": critic, "emd": -critic, "generator": objectives.generator_wasserstein(d_fake)}
    )


def critic_step(
    gan: GAN,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    weight: Tensor,
    objective: Wasserstein,
    *,
    bf16: bool = False,
    world: World = ALONE,
) -> Losses:
    """One step of the critic; ``weight`` (n,) in [0, 1] places the penalty's points.

    The penalty's double backward stays in float32. Clipping comes after the step.
    """
    condition = one_hot(y, gan)
    with torch.no_grad(), autocast(x, bf16):
        fake = gan.generator(z, condition)
    with autocast(x, bf16):
        d_real = gan.discriminator(x, condition).float()
        d_fake = gan.discriminator(fake, condition).float()
    loss = objectives.critic_loss(d_real, d_fake)
    losses = {"critic": loss, "emd": -loss}
    if objective.gradient_penalty:
        # In the range that the critic works in: a slope of 1 means the same for every data set.
        critic = partial(gan.discriminator.score, condition=condition)
        between = (gan.discriminator.inside(x), gan.discriminator.inside(fake))
        penalty = objectives.gradient_penalty(critic, *between, weight)
        loss = loss + objective.gradient_penalty * penalty
        losses["penalty"] = penalty
    optimise(loss, optimizer, gan.discriminator, world)
    if objective.clip:
        clip(gan.discriminator, objective.clip)
    return _detach(losses)


@torch.no_grad()
def clip(critic: nn.Module, largest: float) -> None:
    """Cut every weight to [-largest, largest] (Arjovsky et al. 2017, algorithm 1, line 7)."""
    for parameter in critic.parameters():
        parameter.clamp_(-largest, largest)


def wgan_generator_step(
    gan: GAN,
    optimizer: Optimizer,
    y: Tensor,
    z: Tensor,
    *,
    bf16: bool = False,
    world: World = ALONE,
) -> Losses:
    """One step of the generator up the critic's score; the critic is frozen meanwhile."""
    condition = one_hot(y, gan)
    gan.discriminator.requires_grad_(False)
    with autocast(z, bf16):
        d_fake = gan.discriminator(gan.generator(z, condition), condition).float()
    loss = objectives.generator_wasserstein(d_fake)
    optimise(loss, optimizer, gan.generator, world)
    gan.discriminator.requires_grad_(True)
    return _detach({"generator": loss})


def classifier_losses(
    classifier: Classifier, x: Tensor, y: Tensor, *, bf16: bool = False
) -> Losses:
    """Cross-entropy in nats and accuracy in [0, 1] on images x (n, C, H, W), classes y (n,)."""
    with autocast(x, bf16):
        logits = classifier(x).float()
    accuracy = (logits.argmax(1) == y).float().mean()
    return {"total": F.cross_entropy(logits, y), "accuracy": accuracy}


def classifier_step(
    classifier: Classifier,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    objective: CrossEntropy,
    *,
    bf16: bool = False,
    world: World = ALONE,
) -> Losses:
    """One step on the cross-entropy of images moved, and mirrored, at random."""
    x = translate(x, objective.augment_shift)
    if objective.augment_flip:
        x = mirror(x)
    losses = classifier_losses(classifier, x, y, bf16=bf16)
    optimise(losses["total"], optimizer, classifier, world)
    return _detach(losses)


def translate(x: Tensor, shift: int) -> Tensor:
    """Move every image of the batch (n, C, H, W) by one random offset each, padding with zeros."""
    if shift == 0:
        return x
    n, _, height, width = x.shape
    offset = torch.randint(0, 2 * shift + 1, (2, n, 1), device=x.device)
    rows = (offset[0] + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (offset[1] + torch.arange(width, device=x.device))[:, None, None, :]
    image = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return F.pad(x, (shift,) * 4)[image, channel, rows, columns]


def mirror(x: Tensor) -> Tensor:
    """Turn each image of the batch (n, C, H, W) left to right with a chance of one half."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(3), x)


def one_hot(y: Tensor, gan: GAN) -> Tensor | None:
    """Classes (n,) int64 -> condition (n, k) float32; None for an unconditional model."""
    if not gan.num_classes:
        return None
    # By comparison: F.one_hot reads the largest class back from the device.
    return (y[:, None] == torch.arange(gan.num_classes, device=y.device)).float()


def make_optimizers(recipe: Recipe, network: nn.Module) -> dict[str, Optimizer]:
    """One optimiser per player: "generator" and "discriminator", or "network"."""
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"  # where the step may be recorded, its size included

    def optimizer(player: str, module: nn.Module) -> Optimizer:
        rate = rate_of(recipe, player)
        lr = torch.tensor(rate, device=device) if on_gpu else rate
        if recipe.optimizer == "rmsprop":
            return torch.optim.RMSprop(module.parameters(), lr=lr, capturable=on_gpu)
        # Fused: one pass over the weights instead of eight, 2 ms instead of 19 for an MLP on a CPU.
        fused = device.type in ("cpu", "cuda")
        return torch.optim.Adam(
            module.parameters(), lr=lr, betas=recipe.betas, fused=fused, capturable=on_gpu
        )

    players = {"network": network}
    if isinstance(network, GAN):
        players = {"generator": network.generator, "discriminator": network.discriminator}
    return {player: optimizer(player, module) for player, module in players.items()}


def rate_of(recipe: Recipe, player: str) -> float:
    """Largest step size of one player."""
    if player == "discriminator" and recipe.discriminator_learning_rate is not None:
        return recipe.discriminator_learning_rate
    return recipe.learning_rate


def schedule_rates(recipe: Recipe, optimizers: dict[str, Optimizer], done: float) -> None:
    """Set every step size for the share ``done`` in [0, 1] of the run.

    "one-cycle" rises in a straight line over the first fifth and falls to zero after it, as in
    Smith & Topin 2019 (arXiv:1708.07120, section 3). A function of the place alone, so that a
    resumed run needs nothing to be saved for it.
    """
    if recipe.schedule == "constant":
        return
    factor = min(done / ONE_CYCLE_RISE, (1 - done) / (1 - ONE_CYCLE_RISE))
    for player, optimizer in optimizers.items():
        rate = rate_of(recipe, player) * factor
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # a recorded step reads this very tensor
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def make_step(
    recipe: Recipe, network: nn.Module, optimizers: dict[str, Optimizer], world: World = ALONE
) -> Step:
    """The step of a recipe as a function of images, classes and the number of steps before it.

    Images and classes are this process's share of the batch; noise is drawn for the whole batch.
    """
    options = {"bf16": recipe.bf16, "world": world}

    def normal(x: Tensor) -> Tensor:
        return world.share(torch.randn(len(x) * world.size, recipe.latent_dim, device=x.device))

    def uniform(x: Tensor) -> Tensor:
        return world.share(torch.rand(len(x) * world.size, device=x.device))

    match network, recipe.objective:
        case VAE(), ELBO() as elbo:
            return lambda x, y, i: vae_step(
                network, optimizers["network"], x, normal(x), elbo, **options
            )
        case GAN(), Adversarial() as adversarial:
            g, d = optimizers["generator"], optimizers["discriminator"]
            return lambda x, y, i: gan_step(network, g, d, x, y, normal(x), adversarial, **options)
        case GAN(), Wasserstein() as wasserstein:
            g, d = optimizers["generator"], optimizers["discriminator"]

            def step(x: Tensor, y: Tensor, i: int) -> Losses:
                losses = critic_step(
                    network, d, x, y, normal(x), uniform(x), wasserstein, **options
                )
                if (i + 1) % wasserstein.critic_steps == 0:
                    losses |= wgan_generator_step(network, g, y, normal(x), **options)
                return losses

            return step
        case Classifier(), CrossEntropy() as entropy:
            return lambda x, y, i: classifier_step(
                network, optimizers["network"], x, y, entropy, **options
            )
    raise TypeError(f"no step for {type(network).__name__} under {recipe.objective.kind}")


def held_out_losses(recipe: Recipe, network: nn.Module, x: Tensor, y: Tensor) -> Losses:
    """Losses of a recipe on held-out images x (n, C, H, W) and classes y (n,), with own noise."""
    match network, recipe.objective:
        case VAE(), ELBO() as elbo:
            noise = torch.randn(len(x), recipe.latent_dim, device=x.device)
            return vae_losses(network, x, noise, elbo)
        case GAN(), Adversarial() as adversarial:
            z = torch.randn(len(x), recipe.latent_dim, device=x.device)
            return gan_losses(network, x, y, z, adversarial, bf16=recipe.bf16)
        case GAN(), Wasserstein():
            z = torch.randn(len(x), recipe.latent_dim, device=x.device)
            return wgan_losses(network, x, y, z, bf16=recipe.bf16)
        case Classifier(), CrossEntropy():
            return classifier_losses(network, x, y)
    raise TypeError(f"no losses for {type(network).__name__} under {recipe.objective.kind}")


def _scores(gan: GAN, x: Tensor, y: Tensor, z: Tensor, bf16: bool) -> tuple[Tensor, Tensor]:
    """The discriminator's logits (n,) of real images, and of what the generator makes of z."""
    condition = one_hot(y, gan)
    with autocast(x, bf16):
        d_fake = gan.discriminator(gan.generator(z, condition), condition).float()
        d_real = gan.discriminator(x, condition).float()
    return d_real, d_fake


def _gan_report(d_real: Tensor, d_fake: Tensor, generator_loss: Tensor) -> Losses:
    discriminator = objectives.discriminator_bce(d_real, d_fake)
    return _detach(
        {
            "discriminator": discriminator,
            "generator": generator_loss,
            "jsd": objectives.jsd(discriminator),
            "d_real": torch.sigmoid(d_real).mean(),
            "d_fake": torch.sigmoid(d_fake).mean(),
        }
    )


def _detach(losses: Losses) -> Losses:
    return {name: value.detach() for name, value in losses.items()}
