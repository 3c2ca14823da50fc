"""Training objectives as pure functions of tensors; parts are returned apart, never mixed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def reparameterize(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * noise, all (n, d) (Kingma & Welling 2014, section 2.4)."""
    return mu + torch.exp(0.5 * log_var) * noise


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) in nats of each image (n,) for Bernoulli pixels.

    ``logits`` and ``x`` are (n, C, H, W), ``x`` in [0, 1]; summed over pixels
    (Kingma & Welling 2014, appendix C.1).
    """
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return nll.flatten(1).sum(1)


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Squared error of each image (n,), summed over pixels.

    That is -log p(x|z) in nats for Gaussian pixels of variance 1/2, but for the constant
    CHW / 2 log(pi), which is left out (Kingma & Welling 2014, appendix C.2; the loss of R4).
    ``x_hat`` and ``x`` are (n, C, H, W).
    """
    return (x_hat - x).square().flatten(1).sum(1)


def gaussian_kl(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) in nats per latent dimension, averaged over the batch.

    -1/2 (1 + log sigma^2 - mu^2 - sigma^2) (Kingma & Welling 2014, appendix B).
    ``mu`` and ``log_var`` are (n, d); returns (d,), whose sum is the KL term of the ELBO.
    """
    return (-0.5 * (1 + log_var - mu.square() - log_var.exp())).mean(0)


def discriminator_bce(d_real: Tensor, d_fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """Discriminator's loss -E log D(x) - E log(1 - D(G(z))), in nats.

    Both arguments are logits (n,) (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).
    ``smoothing`` lowers the label of real images from 1, never that of fakes from 0
    (Salimans et al. 2016, arXiv:1606.03498, section 3.4).
    """
    real = (1 - smoothing) * F.softplus(-d_real) + smoothing * F.softplus(d_real)
    return real.mean() + F.softplus(d_fake).mean()


def jsd(discriminator_loss: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats that a discriminator's loss is evidence of.

    log 2 - loss / 2, a lower bound of the true one in [0, log 2], reached by the best
    discriminator (Goodfellow et al. 2014, theorem 1); a bad one gives less, even below 0.
    """
    return math.log(2) - discriminator_loss / 2


def generator_bce(d_fake: Tensor) -> Tensor:
    """Non-saturating generator loss -E log D(G(z)), in nats, from logits (n,).

    Goodfellow et al. 2014, section 3: stronger gradients early on than log(1 - D).
    """
    return F.softplus(-d_fake).mean()


def generator_minimax(d_fake: Tensor) -> Tensor:
    """Generator's loss in the two players' game, E log(1 - D(G(z))), in nats, from logits (n,).

    Goodfellow et al. 2014, equation 1; it saturates where the discriminator is sure.
    """
    return -F.softplus(d_fake).mean()


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """Squared distance of the mean discriminator features, each given as (n, width).

    Salimans et al. 2016, arXiv:1606.03498, section 3.1. Returns a scalar.
    """
    return (real.mean(0) - fake.mean(0)).square().sum()


def critic_loss(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """Critic's loss E D(G(z)) - E D(x), from scores (n,) each: minus the distance it estimates.

    Arjovsky et al. 2017, arXiv:1701.07875, equation 2. Its negative is the earth mover's distance
    times the critic's Lipschitz constant, at most.
    """
    return d_fake.mean() - d_real.mean()


def generator_wasserstein(d_fake: Tensor) -> Tensor:
    """Generator's loss -E D(G(z)), from scores (n,) (Arjovsky et al. 2017, algorithm 1)."""
    return -d_fake.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], x: Tensor, x_hat: Tensor, weight: Tensor
) -> Tensor:
    """E (|grad D| - 1)^2 at points between real and generated images.

    Gulrajani et al. 2017, arXiv:1704.00028, equation 3. ``x`` and ``x_hat`` are (n, ...) and
    detached; ``weight`` (n,), uniform in [0, 1], places one point per pair. The norm runs over
    everything but the batch. Returns a scalar through which the critic's weights have gradients.
    """
    weight = weight.view(-1, *[1] * (x.ndim - 1))
    between = torch.lerp(x, x_hat, weight).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The root has no slope at zero: the tiny constant keeps it finite there.
    norm = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norm - 1).square().mean()
