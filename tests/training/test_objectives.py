import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from training import objectives


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_kl_agrees_with_torch_distributions():
    mu, log_var = torch.randn(50, 3) * 2, torch.randn(50, 3)
    expected = kl_divergence(Normal(mu, torch.exp(log_var / 2)), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(objectives.gaussian_kl(mu, log_var), expected)


def test_kl_agrees_with_monte_carlo():
    mu, log_var = torch.tensor([[0.7, -1.5]]), torch.tensor([[-1.0, 0.5]])
    q = Normal(mu, torch.exp(log_var / 2))
    z = q.sample(torch.Size([200_000]))
    estimate = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean(0)[0]
    torch.testing.assert_close(objectives.gaussian_kl(mu, log_var), estimate, atol=0.02, rtol=0.0)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    assert torch.equal(objectives.gaussian_kl(torch.zeros(4, 2), torch.zeros(4, 2)), torch.zeros(2))
    assert (objectives.gaussian_kl(torch.randn(64, 5), torch.randn(64, 5)) > 0).all()


def test_bernoulli_nll_agrees_with_numpy():
    logits, x = torch.randn(6, 1, 5, 4) * 3, torch.rand(6, 1, 5, 4)
    p = scipy.special.expit(logits.double().numpy())
    t = x.double().numpy()
    expected = -(t * np.log(p) + (1 - t) * np.log1p(-p)).sum() / 6
    assert objectives.bernoulli_nll(logits, x).item() == pytest.approx(expected, rel=1e-5)


def test_bernoulli_nll_of_binary_pixels_agrees_with_scipy():
    logits, x = torch.randn(6, 1, 5, 4), torch.randint(0, 2, (6, 1, 5, 4)).float()
    p = scipy.special.expit(logits.double().numpy())
    expected = -scipy.stats.bernoulli.logpmf(x.numpy().astype(int), p).sum() / 6
    assert objectives.bernoulli_nll(logits, x).item() == pytest.approx(expected, rel=1e-5)


def test_bernoulli_nll_sums_over_pixels_and_averages_over_images():
    x = torch.rand(2, 1, 28, 28)
    nll = objectives.bernoulli_nll(torch.zeros_like(x), x)
    assert nll.item() == pytest.approx(784 * math.log(2), rel=1e-5)
    twice = objectives.bernoulli_nll(torch.zeros(4, 1, 28, 28), torch.cat([x, x]))
    assert twice.item() == pytest.approx(nll.item(), rel=1e-6)


def test_bernoulli_nll_stays_finite_at_extreme_logits():
    logits = torch.tensor([[[[300.0, -300.0]]]])
    assert objectives.bernoulli_nll(logits, torch.tensor([[[[0.0, 1.0]]]])).item() == 600


def test_reparameterize_has_the_mean_and_deviation_asked_for():
    n = 100_000
    z = objectives.reparameterize(
        torch.full((n, 1), 2.0), torch.full((n, 1), math.log(0.25)), torch.randn(n, 1)
    )
    assert z.mean().item() == pytest.approx(2.0, abs=0.01)
    assert z.std().item() == pytest.approx(0.5, abs=0.01)


def test_discriminator_loss_agrees_with_torchs_cross_entropy():
    d_real, d_fake = torch.randn(32), torch.randn(32)
    expected = F.binary_cross_entropy(torch.sigmoid(d_real), torch.ones(32))
    expected = expected + F.binary_cross_entropy(torch.sigmoid(d_fake), torch.zeros(32))
    torch.testing.assert_close(objectives.discriminator_bce(d_real, d_fake), expected)


def test_generator_loss_agrees_with_torchs_cross_entropy():
    d_fake = torch.randn(32)
    expected = F.binary_cross_entropy(torch.sigmoid(d_fake), torch.ones(32))
    torch.testing.assert_close(objectives.generator_bce(d_fake), expected)


def test_an_undecided_discriminator_loses_log_four():
    loss = objectives.discriminator_bce(torch.zeros(8), torch.zeros(8))
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_players_pull_in_opposite_directions():
    d_fake = torch.zeros(1, requires_grad=True)
    objectives.generator_bce(d_fake).backward()
    assert d_fake.grad is not None
    assert d_fake.grad.item() == pytest.approx(-0.5)
    d_fake.grad = None
    objectives.discriminator_bce(torch.zeros(1), d_fake).backward()
    assert d_fake.grad is not None
    assert d_fake.grad.item() == pytest.approx(0.5)
