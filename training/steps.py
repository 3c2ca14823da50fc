"""What one optimisation step is, per family; and the same losses on held-out data.

Every function returns its losses as detached scalars on the device: reading them is left to the
loop, so that no step waits for the device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from training import objectives
from training.networks import CGAN, VAE, Classifier

Losses = dict[str, Tensor]


def autocast(x: Tensor, enabled: bool) -> torch.autocast:
    """bfloat16 context for forward passes on the device of ``x``."""
    return torch.autocast(x.device.type, torch.bfloat16, enabled=enabled)


def vae_losses(vae: VAE, x: Tensor, *, beta: float = 1.0, bf16: bool = False) -> Losses:
    """Negative ELBO of images x (n, C, H, W) in nats: total = reconstruction + beta * kl."""
    with autocast(x, bf16):
        mu, log_var = vae.encode(x)
        mu, log_var = mu.float(), log_var.float()
        z = objectives.reparameterize(mu, log_var, torch.randn_like(mu))
        logits = vae.decoder(z)
    reconstruction = objectives.bernoulli_nll(logits.float(), x)
    kl = objectives.gaussian_kl(mu, log_var).sum()
    return {"total": reconstruction + beta * kl, "reconstruction": reconstruction, "kl": kl}


def vae_step(
    vae: VAE, optimizer: Optimizer, x: Tensor, *, beta: float = 1.0, bf16: bool = False
) -> Losses:
    """One Adam step on the negative ELBO."""
    losses = vae_losses(vae, x, beta=beta, bf16=bf16)
    optimizer.zero_grad(set_to_none=True)
    losses["total"].backward()
    optimizer.step()
    return _detach(losses)


def cgan_losses(gan: CGAN, x: Tensor, y: Tensor, z: Tensor, *, bf16: bool = False) -> Losses:
    """Losses of both players on images x (n, C, H, W), classes y (n,) and noise z (n, d)."""
    condition = one_hot(y, gan)
    with autocast(x, bf16):
        d_fake = gan.discriminator(gan.generator(z, condition), condition).float()
        d_real = gan.discriminator(x, condition).float()
    return _gan_report(d_real, d_fake, objectives.generator_bce(d_fake))


def cgan_step(
    gan: CGAN,
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    *,
    bf16: bool = False,
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
    discriminator_optimizer.zero_grad(set_to_none=True)
    objectives.discriminator_bce(d_real, d_fake).backward()
    discriminator_optimizer.step()

    gan.discriminator.requires_grad_(False)
    with autocast(x, bf16):
        judged = gan.discriminator(fake, condition).float()
    generator_loss = objectives.generator_bce(judged)
    generator_optimizer.zero_grad(set_to_none=True)
    generator_loss.backward()
    generator_optimizer.step()
    gan.discriminator.requires_grad_(True)
    return _gan_report(d_real, d_fake, generator_loss)


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
    *,
    shift: int = 0,
    bf16: bool = False,
) -> Losses:
    """One Adam step on the cross-entropy of images translated by up to ``shift`` pixels."""
    losses = classifier_losses(classifier, translate(x, shift), y, bf16=bf16)
    optimizer.zero_grad(set_to_none=True)
    losses["total"].backward()
    optimizer.step()
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


def one_hot(y: Tensor, gan: CGAN) -> Tensor:
    """Classes (n,) int64 -> condition (n, k) float32."""
    return F.one_hot(y, gan.num_classes).float()


def _gan_report(d_real: Tensor, d_fake: Tensor, generator_loss: Tensor) -> Losses:
    return _detach(
        {
            "discriminator": objectives.discriminator_bce(d_real, d_fake),
            "generator": generator_loss,
            "d_real": torch.sigmoid(d_real).mean(),
            "d_fake": torch.sigmoid(d_fake).mean(),
        }
    )


def _detach(losses: Losses) -> Losses:
    return {name: value.detach() for name, value in losses.items()}
