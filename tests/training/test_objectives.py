import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from training import objectives

pytestmark = pytest.mark.usefixtures("seeded")


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
    expected = -(t * np.log(p) + (1 - t) * np.log1p(-p)).sum((1, 2, 3))
    assert objectives.bernoulli_nll(logits, x).numpy() == pytest.approx(expected, rel=1e-5)


def test_bernoulli_nll_of_binary_pixels_agrees_with_scipy():
    logits, x = torch.randn(6, 1, 5, 4), torch.randint(0, 2, (6, 1, 5, 4)).float()
    p = scipy.special.expit(logits.double().numpy())
    expected = -scipy.stats.bernoulli.logpmf(x.numpy().astype(int), p).sum((1, 2, 3))
    assert objectives.bernoulli_nll(logits, x).numpy() == pytest.approx(expected, rel=1e-5)


def test_bernoulli_nll_sums_over_the_pixels_of_each_image():
    x = torch.rand(2, 1, 28, 28)
    nll = objectives.bernoulli_nll(torch.zeros_like(x), x)
    assert nll.tolist() == pytest.approx([784 * math.log(2)] * 2, rel=1e-5)


def test_bernoulli_nll_stays_finite_at_extreme_logits():
    logits = torch.tensor([[[[300.0, -300.0]]]])
    assert objectives.bernoulli_nll(logits, torch.tensor([[[[0.0, 1.0]]]])).item() == 600


def test_bernoulli_nll_of_binary_pixels_agrees_with_torch_distributions():
    logits, x = torch.randn(6, 3, 5, 4), torch.randint(0, 2, (6, 3, 5, 4)).float()
    expected = -Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(objectives.bernoulli_nll(logits, x), expected)


def test_squared_error_is_a_gaussian_likelihood_but_for_its_constant():
    """Variance 1/2: -log p = |x_hat - x|^2 + 1/2 log(pi) per pixel."""
    x_hat, x = torch.rand(6, 3, 5, 4), torch.rand(6, 3, 5, 4)
    nll = -Normal(x_hat, math.sqrt(0.5)).log_prob(x).sum((1, 2, 3))
    constant = 60 / 2 * math.log(math.pi)
    torch.testing.assert_close(objectives.squared_error(x_hat, x), nll - constant)


def test_squared_error_by_hand():
    x_hat = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    x = torch.tensor([[[[0.0, 4.0]]], [[[0.0, 3.0]]]])
    assert objectives.squared_error(x_hat, x).tolist() == [1 + 4, 9]  # summed over pixels


def test_reparameterize_by_hand():
    mu, log_var = torch.tensor([[1.0, -2.0]]), torch.tensor([[math.log(4), math.log(9)]])
    z = objectives.reparameterize(mu, log_var, torch.tensor([[0.5, -1.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, -5.0]]))


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


# --- two players


def test_label_smoothing_is_one_sided():
    """Real images are 1 - 0.1 real and 0.1 fake; fakes stay fake."""
    d_real, d_fake = torch.tensor([0.3, 2.0]), torch.tensor([-1.0, 0.5])
    p_real, p_fake = torch.sigmoid(d_real), torch.sigmoid(d_fake)
    by_hand = -(0.9 * p_real.log() + 0.1 * (1 - p_real).log()).mean() - (1 - p_fake).log().mean()
    torch.testing.assert_close(objectives.discriminator_bce(d_real, d_fake, 0.1), by_hand)
    plain = objectives.discriminator_bce(d_real, d_fake)
    torch.testing.assert_close(
        objectives.discriminator_bce(d_real, d_fake, 0.1) - plain, 0.1 * d_real.mean()
    )


def test_a_smoothed_discriminator_wants_a_probability_of_nine_tenths():
    logits = torch.linspace(-6, 6, 2401)
    losses = torch.stack(
        [objectives.discriminator_bce(d[None], torch.zeros(1), 0.1) for d in logits]
    )
    assert torch.sigmoid(logits[losses.argmin()]).item() == pytest.approx(0.9, abs=1e-3)


def test_the_minimax_loss_is_the_discriminators_own_term_with_the_other_sign():
    d_real, d_fake = torch.randn(32), torch.randn(32)
    minimax = objectives.generator_minimax(d_fake)
    torch.testing.assert_close(minimax, torch.log(1 - torch.sigmoid(d_fake)).mean())
    torch.testing.assert_close(
        objectives.discriminator_bce(d_real, d_fake) + minimax, objectives.generator_bce(d_real)
    )


@pytest.mark.parametrize("logit", [-8.0, -1.0, 0.0, 3.0])
def test_minimax_saturates_where_the_discriminator_is_sure_and_the_other_does_not(logit):
    """d/ds log(1 - D) = -D, d/ds -log D = -(1 - D), with D = sigmoid(s)."""
    p = 1 / (1 + math.exp(-logit))
    for loss, expected in (
        (objectives.generator_minimax, -p),
        (objectives.generator_bce, -(1 - p)),
    ):
        score = torch.tensor([logit], requires_grad=True)
        (slope,) = torch.autograd.grad(loss(score), score)
        assert slope.item() == pytest.approx(expected, rel=1e-4)


def test_jsd_of_a_blind_and_of_a_perfect_discriminator():
    blind = objectives.discriminator_bce(torch.zeros(8), torch.zeros(8))
    assert objectives.jsd(blind).item() == pytest.approx(0, abs=1e-6)
    perfect = objectives.discriminator_bce(torch.full((8,), 100.0), torch.full((8,), -100.0))
    assert objectives.jsd(perfect).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_best_discriminator_measures_the_divergence_of_two_known_distributions():
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.25, 0.25, 0.4, 0.1])
    m = (p + q) / 2
    by_hand = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
    best = torch.from_numpy(np.log(p / q)).float()  # sigmoid gives p / (p + q)
    # 1,000 draws of each that have exactly these shares
    d_real, d_fake = (
        best.repeat_interleave(torch.from_numpy(s * 1000).round().int()) for s in (p, q)
    )
    estimate = objectives.jsd(objectives.discriminator_bce(d_real, d_fake)).item()
    assert estimate == pytest.approx(by_hand, rel=1e-4)
    worse = objectives.jsd(objectives.discriminator_bce(d_real + 0.3, d_fake + 0.3)).item()
    assert 0 < worse < estimate - 1e-3  # any other discriminator gives less


def test_feature_matching_by_hand():
    real = torch.tensor([[1.0, 2.0], [3.0, 6.0]])  # mean (2, 4)
    fake = torch.tensor([[0.0, 0.0], [0.0, 3.0], [3.0, 0.0]])  # mean (1, 1)
    assert objectives.feature_matching(real, fake).item() == pytest.approx(1 + 9)
    assert objectives.feature_matching(real, real.flip(0)).item() == 0  # means, not images


def test_feature_matching_pulls_the_fakes_mean_towards_the_real_one():
    real, fake = torch.ones(4, 3), torch.zeros(4, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(objectives.feature_matching(real, fake), fake)
    torch.testing.assert_close(slope, torch.full((4, 3), -0.5))


# --- earth mover's distance


def test_wasserstein_losses_by_hand():
    d_real, d_fake = torch.tensor([1.0, 4.0]), torch.tensor([-1.0, 2.0])
    assert objectives.critic_loss(d_real, d_fake).item() == 0.5 - 2.5
    assert objectives.generator_wasserstein(d_fake).item() == -0.5


def test_the_wasserstein_losses_pull_in_the_right_directions():
    d_real = torch.zeros(4, requires_grad=True)
    d_fake = torch.zeros(4, requires_grad=True)
    up, down = torch.autograd.grad(objectives.critic_loss(d_real, d_fake), (d_real, d_fake))
    assert (up < 0).all()  # descent raises the score of real images
    assert (down > 0).all()  # and lowers that of fakes
    (slope,) = torch.autograd.grad(objectives.generator_wasserstein(d_fake), d_fake)
    assert (slope < 0).all()  # the generator raises it again


class Linear(nn.Module):
    """D(x) = w . x."""

    def __init__(self, w: Tensor):
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 1, 2)])
@pytest.mark.parametrize("norm", [0.25, 1.0, 7.0])
def test_the_penalty_of_a_linear_critic_is_in_closed_form(shape, norm):
    w = torch.randn(shape)
    critic = Linear(w * norm / w.norm())
    x, x_hat = torch.rand(5, *shape), torch.rand(5, *shape)
    penalty = objectives.gradient_penalty(critic, x, x_hat, torch.rand(5))
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-4, abs=1e-8)
    (slope,) = torch.autograd.grad(penalty, critic.w)
    expected = 2 * (norm - 1) * critic.w.detach() / norm
    torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-5)


def test_the_penalty_is_safe_where_the_critic_is_flat():
    critic = Linear(torch.zeros(1, 4, 4))
    x = torch.rand(3, 1, 4, 4)
    penalty = objectives.gradient_penalty(critic, x, torch.rand_like(x), torch.rand(3))
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    (slope,) = torch.autograd.grad(penalty, critic.w)
    assert torch.isfinite(slope).all()


def test_every_point_lies_between_its_own_pair_at_its_own_place():
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1).sum(1)

    x, x_hat, weight = torch.rand(64, 3, 5, 4), torch.rand(64, 3, 5, 4), torch.rand(64)
    objectives.gradient_penalty(critic, x, x_hat, weight)
    (points,) = seen  # asked once, for all of them together
    assert points.requires_grad
    places = ((points - x) / (x_hat - x)).detach().flatten(1).median(1, keepdim=True).values
    torch.testing.assert_close(places.squeeze(1), weight, atol=1e-4, rtol=0)
    expected = x + weight[:, None, None, None] * (x_hat - x)  # the same for every pixel
    torch.testing.assert_close(points.detach(), expected)


def test_the_ends_of_the_segment_are_the_real_and_the_generated_image():
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    x, x_hat = torch.rand(2, 1, 3, 3), torch.rand(2, 1, 3, 3)
    objectives.gradient_penalty(critic, x, x_hat, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(seen[0], torch.stack([x[0], x_hat[1]]))


def curved(shape: tuple[int, int, int]) -> nn.Module:
    """A critic whose gradient differs from point to point, in float64."""
    layers = nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.Softplus(), nn.Flatten(), nn.LazyLinear(6), nn.Tanh(),
        nn.Linear(6, 1), nn.Flatten(0),
    ).double()  # fmt: skip
    layers(torch.zeros(1, *shape, dtype=torch.float64))
    return layers


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 6, 5)])
def test_the_penalty_agrees_with_one_image_at_a_time(shape):
    critic = curved(shape)
    x, x_hat = (torch.rand(7, *shape, dtype=torch.float64) for _ in range(2))
    weight = torch.rand(7, dtype=torch.float64)
    terms = []
    for i in range(7):
        point = (weight[i] * x_hat[i] + (1 - weight[i]) * x[i]).requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic(point[None])[0], point)
        terms.append((math.sqrt(sum(float(g) ** 2 for g in gradient.flatten())) - 1) ** 2)
    ours = objectives.gradient_penalty(critic, x, x_hat, weight).item()
    assert ours == pytest.approx(sum(terms) / 7, rel=1e-8)


def test_the_penaltys_gradient_reaches_the_critics_weights():
    critic = curved((1, 6, 6))
    x, x_hat = (torch.rand(4, 1, 6, 6, dtype=torch.float64) for _ in range(2))
    weight = torch.rand(4, dtype=torch.float64)

    def penalty() -> Tensor:
        return objectives.gradient_penalty(critic, x, x_hat, weight)

    parameters = dict(critic.named_parameters())
    slopes = dict(
        zip(
            parameters,
            torch.autograd.grad(penalty(), list(parameters.values()), allow_unused=True),
            strict=True,
        )
    )
    assert slopes["5.bias"] is None  # a constant has no slope
    for name in ("0.weight", "0.bias", "3.weight", "5.weight"):
        slope, values = slopes[name], parameters[name].data.view(-1)
        assert slope is not None
        for i in (0, len(values) - 1):
            differences = []
            for step in (1e-5, -1e-5):
                values[i] += step
                differences.append(penalty().item())
                values[i] -= step
            expected = (differences[0] - differences[1]) / 2e-5
            assert abs(expected) > 1e-6
            assert slope.view(-1)[i].item() == pytest.approx(expected, rel=1e-4), name
