"""Training objectives as pure functions of tensors; parts are returned apart, never mixed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def reparameterize(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * noise, all (n, d) (Kingma & Welling 2014, section 2.4)."""
    return mu + torch.exp(0.5 * log_var) * noise


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) in nats per image for Bernoulli pixels, averaged over the batch.

    ``logits`` and ``x`` are (n, C, H, W), ``x`` in [0, 1]; summed over pixels
    (Kingma & Welling 2014, appendix C.1). Returns a scalar.
    """
    nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return nll.flatten(1).sum(1).mean()


def gaussian_kl(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) in nats per latent dimension, averaged over the batch.

    -1/2 (1 + log sigma^2 - mu^2 - sigma^2) (Kingma & Welling 2014, appendix B).
    ``mu`` and ``log_var`` are (n, d); returns (d,), whose sum is the KL term of the ELBO.
    """
    return (-0.5 * (1 + log_var - mu.square() - log_var.exp())).mean(0)


def discriminator_bce(d_real: Tensor, d_fake: Tensor) -> Tensor:
    """Discriminator's loss -E log D(x) - E log(1 - D(G(z))), in nats.

    Both arguments are logits (n,) (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).
    log 4 - loss estimates twice the Jensen-Shannon divergence.
    """
    return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()


def generator_bce(d_fake: Tensor) -> Tensor:
    """Non-saturating generator loss -E log D(G(z)), in nats, from logits (n,).

    Goodfellow et al. 2014, section 3: stronger gradients early on than log(1 - D).
    """
    return F.softplus(-d_fake).mean()
