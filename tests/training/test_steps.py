import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from training import objectives, steps
from training.networks import GAN, VAE, Classifier, Network, build
from training.recipes import (
    ELBO,
    RECIPES,
    Adversarial,
    CrossEntropy,
    Recipe,
    Wasserstein,
)
from training.specs import Dense, VAESpec

TINY = {
    "vae": "mnist-conv-vae-z2",
    "gan": "mnist-gan-r4-z2",
    "cgan": "mnist-cgan",
    "wgan": "mnist-wgan-r2",
    "wgan-gp": "mnist-wgan-gp-z2",
    "classifier": "mnist-judge",
}
Make = Callable[..., tuple[Recipe, Network]]
Batch = tuple[Tensor, Tensor]


@pytest.fixture
def make(tiny_recipe) -> Make:
    """``make(family, **changes)``: a tiny recipe of a family, and a fresh network of it."""

    def build_one(family: str, **changes: object) -> tuple[Recipe, Network]:
        torch.manual_seed(0)
        recipe = tiny_recipe(TINY[family], **changes)
        return recipe, build(recipe.network).train()

    return build_one


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(1)
    return torch.rand(16, 1, 8, 8), torch.arange(16) % 2


def a_gan(made: tuple[Recipe, Network]) -> GAN:
    assert isinstance(made[1], GAN)
    return made[1]


def adam(module: nn.Module, rate: float = 1e-3) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=rate)


def sgd(module: nn.Module, rate: float) -> torch.optim.SGD:
    return torch.optim.SGD(module.parameters(), lr=rate)


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of parameters and buffers that are not what they were."""
    now = after.state_dict()
    return {k for k, v in before.state_dict().items() if not torch.equal(v, now[k])}


def parameters(module: nn.Module, prefix: str = "") -> set[str]:
    return {name for name, _ in module.named_parameters() if name.startswith(prefix)}


def statistics(module: nn.Module, prefix: str = "") -> set[str]:
    return {name for name, _ in module.named_buffers() if name.startswith(prefix)}


# --- every recipe


def images(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """A few random images of a recipe's shape, as few as batch normalisation takes."""
    torch.manual_seed(0)
    n = 2 if recipe.network.image_shape[1] > 100 else 4
    classes = getattr(recipe.network, "num_classes", 0) or 1
    return torch.rand(n, *recipe.network.image_shape), torch.arange(n) % classes


PARTS = {
    "vae": {"total", "reconstruction", "kl"},
    "gan": {"discriminator", "generator", "jsd", "d_real", "d_fake"},
    "cgan": {"discriminator", "generator", "jsd", "d_real", "d_fake"},
    "wgan": {"critic", "emd", "generator"},
    "wgan-gp": {"critic", "emd", "generator", "penalty"},
    "classifier": {"total", "accuracy"},
}


def check_parts(recipe: Recipe, losses: steps.Losses) -> None:
    values = {name: value.item() for name, value in losses.items()}
    assert all(math.isfinite(value) for value in values.values()), values
    if "jsd" in values:
        assert values["jsd"] == pytest.approx(math.log(2) - values["discriminator"] / 2, abs=1e-5)
    assert not any(value.requires_grad for value in losses.values())
    assert all(value.dtype == torch.float32 for value in losses.values())
    if isinstance(recipe.objective, ELBO):
        total = values["reconstruction"] + recipe.objective.beta * values["kl"]
        assert values["total"] == pytest.approx(total, rel=1e-6)
        assert values["kl"] >= 0
        assert values["reconstruction"] > 0
    if isinstance(recipe.objective, Wasserstein):
        assert values["emd"] == -values["critic"]
        assert values.get("penalty", 0.0) >= 0
    if isinstance(recipe.objective, Adversarial):
        assert 0 < values["d_real"] < 1
        assert 0 < values["d_fake"] < 1
        assert values["discriminator"] > 0


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_two_real_steps(name):
    recipe = RECIPES[name]
    torch.manual_seed(0)
    network = build(recipe.network).train()
    optimizers = steps.make_optimizers(recipe, network)
    step = steps.make_step(recipe, network, optimizers)
    x, y = images(recipe)
    every = getattr(recipe.objective, "critic_steps", 1)
    before = {k: v.clone() for k, v in network.named_parameters()}
    for i in (every - 1, 2 * every - 1):  # steps in which both players move
        losses = step(x, y, i)
        assert losses.keys() == PARTS[recipe.family]
        check_parts(recipe, losses)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    moved = {k for k, v in network.named_parameters() if not torch.equal(v, before[k])}
    weights = {k for k in before if k.endswith("weight")}
    assert moved >= weights
    with torch.no_grad():
        held_out = steps.held_out_losses(recipe, network.eval(), x, y)
    assert held_out.keys() == PARTS[recipe.family] - {"penalty"}
    check_parts(recipe, {k: v.float() for k, v in held_out.items()})


# --- what a step changes, and what it leaves


@pytest.mark.parametrize("family", ["vae", "gan", "cgan", "classifier"])
def test_a_step_changes_every_weight(make, batch: Batch, family):
    recipe, network = make(family)
    before = copy.deepcopy(network)
    step = steps.make_step(recipe, network, steps.make_optimizers(recipe, network))
    step(*batch, 0)
    # The slope of a bias in front of a normalisation is zero, or what rounding makes of it.
    kept = parameters(network) - changed(before, network)
    normalised = family == "gan"
    assert all(normalised and name.endswith("bias") for name in kept), kept
    assert changed(before, network) - parameters(network) == statistics(network)
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("family", ["wgan", "wgan-gp"])
def test_the_critic_moves_in_every_step_and_the_generator_in_every_second(
    make, batch: Batch, family
):
    """Two critic steps per generator step, as the tiny recipes say."""
    recipe, network = make(family)
    step = steps.make_step(recipe, network, steps.make_optimizers(recipe, network))
    for i in range(4):
        before = copy.deepcopy(network)
        losses = step(*batch, i)
        moved = changed(before, network) - statistics(network)
        critic = parameters(network, "discriminator")
        # The last bias shifts the scores of real and generated images alike: it has no slope.
        assert critic - moved <= {"discriminator.head.bias"}
        generator = {n for n in moved if n.startswith("generator")}
        assert bool(generator) == (i % 2 == 1)
        assert ("generator" in losses) == (i % 2 == 1)
        if generator:
            assert generator >= {n for n in parameters(network, "generator") if "weight" in n}


@pytest.mark.parametrize("family", ["gan", "cgan"])
def test_each_player_moves_by_its_own_optimiser_only(make, batch: Batch, family):
    made = make(family)
    gan, objective, z = a_gan(made), made[0].objective, torch.randn(16, made[0].latent_dim)
    for rates, mover in (((0.1, 0.0), "generator"), ((0.0, 0.1), "discriminator")):
        before = copy.deepcopy(gan)
        optimizers = sgd(gan.generator, rates[0]), sgd(gan.discriminator, rates[1])
        steps.gan_step(gan, *optimizers, *batch, z, objective)
        moved = changed(before, gan) - statistics(gan)
        assert {name.split(".")[0] for name in moved} == {mover}


@pytest.mark.parametrize("family", TINY)
def test_held_out_losses_change_nothing(make, batch: Batch, family):
    recipe, network = make(family)
    network.eval()
    before = copy.deepcopy(network)
    with torch.no_grad():
        losses = steps.held_out_losses(recipe, network, *batch)
    assert losses
    assert changed(before, network) == set()
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("family", ["gan", "cgan"])
def test_the_generators_step_leaves_no_gradient_in_the_discriminator(make, batch: Batch, family):
    """What the discriminator holds after a step is its own loss's gradient, and nothing else."""
    made = make(family)
    gan, (x, y) = a_gan(made), batch
    reference = copy.deepcopy(gan)
    z = torch.randn(16, made[0].latent_dim)
    still = sgd(gan.generator, 0.0), sgd(gan.discriminator, 0.0)
    steps.gan_step(gan, *still, x, y, z, made[0].objective)

    condition = torch.eye(2)[y] if family == "cgan" else None
    fake = reference.generator(z, condition).detach()
    loss = nn.functional.softplus(-reference.discriminator(x, condition)).mean()
    loss = loss + nn.functional.softplus(reference.discriminator(fake, condition)).mean()
    loss.backward()
    for ours, expected in zip(
        gan.discriminator.parameters(), reference.discriminator.parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, expected.grad)


def test_the_discriminators_step_leaves_no_gradient_in_the_generator(make, batch: Batch):
    made = make("cgan")
    gan = a_gan(made)
    grads: list[bool] = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            grads.append(any(p.grad is not None for p in gan.generator.parameters()))
            return super().step(closure)

    optimizers = sgd(gan.generator, 0.1), Watching(gan.discriminator.parameters(), lr=0.1)
    steps.gan_step(gan, *optimizers, *batch, torch.randn(16, 6), made[0].objective)
    assert grads == [False]
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.requires_grad for p in gan.parameters())


def test_fakes_reach_the_discriminators_loss_detached(make, batch: Batch):
    made = make("cgan")
    gan = a_gan(made)
    attached: list[bool] = []
    gan.discriminator.trunk.register_forward_pre_hook(
        lambda _, args: attached.append(args[0].requires_grad)
    )
    optimizers = sgd(gan.generator, 0.1), sgd(gan.discriminator, 0.1)
    steps.gan_step(gan, *optimizers, *batch, torch.randn(16, 6), made[0].objective)
    assert attached == [False, False, True]  # real, fake for the discriminator, fake again


@pytest.mark.parametrize("family", ["wgan", "wgan-gp"])
def test_the_wasserstein_players_leave_no_gradient_in_each_other(make, batch: Batch, family):
    made = make(family)
    gan, (x, y) = a_gan(made), batch
    z, weight = torch.randn(16, made[0].latent_dim), torch.rand(16)
    steps.critic_step(gan, adam(gan.discriminator), x, y, z, weight, made[0].objective)
    assert all(p.grad is None for p in gan.generator.parameters())
    assert all(p.grad is not None for p in gan.discriminator.parameters())
    kept = [p.grad.clone() for p in gan.discriminator.parameters() if p.grad is not None]
    before = copy.deepcopy(gan.discriminator)
    steps.wgan_generator_step(gan, adam(gan.generator), y, z)
    after = [p.grad for p in gan.discriminator.parameters()]
    assert all(g is not None and torch.equal(g, k) for g, k in zip(after, kept, strict=True))
    assert changed(before, gan.discriminator) == set()
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.requires_grad for p in gan.parameters())


# --- the VAE


@pytest.mark.parametrize("reconstruction", ["bernoulli", "squared-error"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_total_is_reconstruction_plus_beta_kl(make, batch: Batch, beta, reconstruction):
    vae, (x, _) = make("vae")[1], batch
    noise = torch.randn(16, 2)
    losses = steps.vae_losses(vae, x, noise, ELBO(reconstruction, beta))
    assert losses["kl"] > 0
    torch.testing.assert_close(losses["total"], losses["reconstruction"] + beta * losses["kl"])
    # The parts themselves, from the network's outputs: sums over pixels and over dimensions.
    mu, log_var = vae.encode(x)
    x_hat = vae.decode(mu + (log_var / 2).exp() * noise)
    by_hand = {
        "bernoulli": -(x * x_hat.log() + (1 - x) * (1 - x_hat).log()).sum((1, 2, 3)).mean(),
        "squared-error": (x - x_hat).square().sum((1, 2, 3)).mean(),
    }
    torch.testing.assert_close(losses["reconstruction"], by_hand[reconstruction])
    kl = 0.5 * (mu.square() + log_var.exp() - log_var - 1).sum(1).mean()
    torch.testing.assert_close(losses["kl"], kl)


def test_a_larger_beta_leaves_less_in_the_code(halves):
    """Trained alike but for beta: more of it, less KL and a worse reconstruction."""
    x = halves[0].images.float() / 255
    found = {}
    for beta in (0.1, 1.0, 10.0):
        torch.manual_seed(0)
        vae = build(VAESpec(2, Dense((16,)), Dense((16,)), (1, 8, 8)))
        assert isinstance(vae, VAE)
        optimizer = adam(vae, 1e-2)
        losses: steps.Losses = {}
        for _ in range(200):
            losses = steps.vae_step(vae, optimizer, x, torch.randn(96, 2), ELBO(beta=beta))
        found[beta] = {name: value.item() for name, value in losses.items()}
    kl = [found[beta]["kl"] for beta in (0.1, 1.0, 10.0)]
    reconstruction = [found[beta]["reconstruction"] for beta in (0.1, 1.0, 10.0)]
    assert kl[0] > kl[1] + 0.5 > kl[2] + 1
    assert reconstruction[0] < reconstruction[1] + 0.5 < reconstruction[2] + 1


def test_a_tiny_vae_overfits_32_images():
    """64 random bits per image: 44.4 nats for a network that knows nothing."""
    torch.manual_seed(0)
    x = torch.randint(0, 2, (32, 1, 8, 8)).float()
    vae = build(VAESpec(8, Dense((64,)), Dense((64,)), (1, 8, 8)))
    assert isinstance(vae, VAE)
    optimizer = adam(vae, 5e-3)
    history = [
        steps.vae_step(vae, optimizer, x, torch.randn(32, 8), ELBO())["reconstruction"].item()
        for _ in range(600)
    ]
    assert history[0] == pytest.approx(64 * math.log(2), abs=1.5)
    assert sum(history[-20:]) / 20 < 5
    with torch.no_grad():
        x_hat = vae.eval().decode(vae.encode(x)[0])
    assert ((x_hat > 0.5) == (x > 0.5)).float().mean() > 0.98


# --- two players


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "objective",
    [
        Adversarial(),
        Adversarial("minimax"),
        Adversarial(label_smoothing=0.2),
        Adversarial(feature_matching=3.0),
        Adversarial("minimax", label_smoothing=0.1, feature_matching=0.5),
    ],
)
def test_both_players_descend_the_objective_that_was_asked_for(make, batch: Batch, objective):
    gan, (x, y) = a_gan(make("cgan")), batch
    z, hot = torch.randn(16, 6), torch.eye(2)[y]
    reference = copy.deepcopy(gan)
    losses = steps.gan_step(
        gan, sgd(gan.generator, 0), sgd(gan.discriminator, 0), x, y, z, objective
    )

    fake = reference.generator(z, hot)
    real_score, fake_score = reference.discriminator(x, hot), reference.discriminator(fake, hot)
    p_real, p_fake = torch.sigmoid(real_score), torch.sigmoid(fake_score)
    smooth = objective.label_smoothing
    discriminator = -((1 - smooth) * p_real.log() + smooth * (1 - p_real).log()).mean()
    discriminator = discriminator - (1 - p_fake).log().mean()
    if objective.generator_loss == "minimax":
        adversarial = (1 - p_fake).log().mean()
    else:
        adversarial = -p_fake.log().mean()
    means = [reference.discriminator.features(images, hot).mean(0) for images in (x, fake)]
    generator = adversarial + objective.feature_matching * (means[0] - means[1]).square().sum()

    for ours, loss in ((gan.generator, generator), (gan.discriminator, discriminator)):
        part = reference.generator if ours is gan.generator else reference.discriminator
        expected = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
        for one, other in zip(gradients(ours), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    # Reported is the plain cross-entropy, whose optimum is known, and the adversarial part alone.
    plain = -p_real.log().mean() - (1 - p_fake).log().mean()
    torch.testing.assert_close(losses["discriminator"], plain.detach())
    torch.testing.assert_close(losses["generator"], adversarial.detach())
    torch.testing.assert_close(losses["d_real"], p_real.mean().detach())
    torch.testing.assert_close(losses["d_fake"], p_fake.mean().detach())


def test_held_out_losses_of_the_players_are_the_steps(make, batch: Batch):
    """At the weights a step began with, in the mode it ran in."""
    for family in ("cgan", "gan"):
        recipe, gan = make(family)
        assert isinstance(gan, GAN)
        z = torch.randn(16, recipe.latent_dim)
        with torch.no_grad():
            before = steps.gan_losses(copy.deepcopy(gan), *batch, z, recipe.objective)
        taken = steps.gan_step(gan, sgd(gan.generator, 0), sgd(gan.discriminator, 0), *batch, z,
                               recipe.objective)  # fmt: skip
        assert before.keys() == taken.keys()
        for name, value in taken.items():
            # With batch normalisation the discriminator moves between the two, at rate 0 not.
            torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["wgan", "wgan-gp"])
def test_a_critic_step_raises_the_distance(make, batch: Batch, family):
    made = make(family)
    gan, (x, y) = a_gan(made), batch
    gan.eval()  # no dropout: the same function before and after
    z, weight = torch.randn(16, made[0].latent_dim), torch.rand(16)
    objective = Wasserstein(clip=10) if family == "wgan" else Wasserstein(gradient_penalty=1e-6)

    def distance() -> float:
        with torch.no_grad():
            real, fake = gan.discriminator(x), gan.discriminator(gan.decode(z))
        return float(real.mean() - fake.mean())

    before = distance()
    optimizer = sgd(gan.discriminator, 0.02)
    losses = steps.critic_step(gan, optimizer, x, y, z, weight, objective)
    assert losses["emd"].item() == pytest.approx(before, rel=1e-4, abs=1e-7)
    for _ in range(20):
        steps.critic_step(gan, optimizer, x, y, z, weight, objective)
    assert distance() > before + 1e-4


@pytest.mark.parametrize("family", ["wgan", "wgan-gp"])
def test_a_generator_step_raises_the_critics_score_of_its_images(make, batch: Batch, family):
    made = make(family)
    gan = a_gan(made).eval()
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p.mul_(3)  # a critic with an opinion
    z = torch.randn(16, made[0].latent_dim)

    def score() -> float:
        with torch.no_grad():
            return float(gan.discriminator(gan.decode(z)).mean())

    before = score()
    optimizer = adam(gan.generator, 1e-2)
    losses = steps.wgan_generator_step(gan, optimizer, batch[1], z)
    assert losses["generator"].item() == pytest.approx(-before, rel=1e-4, abs=1e-7)
    for _ in range(10):
        steps.wgan_generator_step(gan, optimizer, batch[1], z)
    assert score() > before + 1e-4


def test_clipping_comes_after_the_step(make, batch: Batch):
    made = make("wgan")
    gan, (x, y) = a_gan(made), batch
    with torch.no_grad():
        for p in gan.discriminator.parameters():
            p.fill_(0.5)
    optimizer = torch.optim.RMSprop(gan.discriminator.parameters(), lr=10.0)
    z = torch.randn(16, 6)
    before = copy.deepcopy(gan.generator)
    steps.critic_step(gan, optimizer, x, y, z, torch.rand(16), Wasserstein(clip=0.01))
    largest = [p.abs().max().item() for p in gan.discriminator.parameters()]
    bound = torch.tensor(0.01).item()
    assert all(value <= bound for value in largest)
    assert largest.count(bound) == len(largest)  # everything started or jumped beyond it
    assert changed(before, gan.generator) == set()  # the generator is never clipped


def test_without_a_clip_weights_are_not_bounded(make, batch: Batch):
    made = make("wgan-gp")
    gan = a_gan(made)
    optimizer = sgd(gan.discriminator, 0.0)
    with torch.no_grad():
        next(gan.discriminator.parameters()).fill_(2.0)
    z = torch.randn(16, 2)
    steps.critic_step(gan, optimizer, *batch, z, torch.rand(16), Wasserstein(gradient_penalty=10))
    assert next(gan.discriminator.parameters()).min() == 2.0


def test_the_penalty_is_weighted_and_reported_unweighted(make, batch: Batch):
    gan, (x, y) = a_gan(make("wgan-gp")), batch
    z, weight = torch.randn(16, 2), torch.rand(16)
    reference = copy.deepcopy(gan)
    objective = Wasserstein(gradient_penalty=7)
    losses = steps.critic_step(gan, sgd(gan.discriminator, 0), x, y, z, weight, objective)
    fake = reference.generator(z).detach()
    distance = reference.discriminator(fake).mean() - reference.discriminator(x).mean()
    # In [-1, 1], where these networks work: a slope of 1 there is one of 2 in [0, 1].
    penalty = objectives.gradient_penalty(
        lambda inside: reference.discriminator((inside + 1) / 2), 2 * x - 1, 2 * fake - 1, weight
    )
    torch.testing.assert_close(losses["critic"], distance.detach())
    torch.testing.assert_close(losses["penalty"], penalty.detach())
    slopes = torch.autograd.grad(
        distance + 7 * penalty, list(reference.discriminator.parameters()), allow_unused=True
    )
    for ours, expected in zip(gan.discriminator.parameters(), slopes, strict=True):
        torch.testing.assert_close(ours.grad, expected)


def test_the_penaltys_places_are_uniform_and_one_per_image(make, batch: Batch, monkeypatch):
    recipe, network = make("wgan-gp")
    places: list[Tensor] = []
    noise: list[Tensor] = []
    penalty = objectives.gradient_penalty

    def watching(critic, x, x_hat, weight):
        places.append(weight.detach())
        assert not x.requires_grad
        assert not x_hat.requires_grad
        return penalty(critic, x, x_hat, weight)

    monkeypatch.setattr(objectives, "gradient_penalty", watching)
    network.generator.register_forward_pre_hook(lambda _, args: noise.append(args[0]))
    step = steps.make_step(recipe, network, steps.make_optimizers(recipe, network))
    for i in range(60):
        step(*batch, i)
    assert {tuple(weight.shape) for weight in places} == {(16,)}
    drawn = torch.cat(places)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert len(drawn.unique()) > 900  # of 960: another one for every image of every step
    assert scipy.stats.kstest(drawn.numpy(), "uniform").pvalue > 0.001
    assert len(noise) == 60 + 30  # new noise for the generator's steps
    z = torch.cat(noise).flatten()
    assert len(z.unique()) > 0.99 * len(z)
    assert scipy.stats.kstest(z.numpy(), "norm").pvalue > 0.001


def test_a_conditional_critic_sees_the_condition(make, batch: Batch):
    recipe, network = make("cgan", objective=Wasserstein(critic_steps=1, gradient_penalty=10))
    gan = a_gan((recipe, network))
    seen: list[Tensor] = []
    gan.discriminator.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    step = steps.make_step(recipe, network, steps.make_optimizers(recipe, network))
    losses = step(*batch, 0)
    assert losses.keys() == PARTS["wgan-gp"]
    assert len(seen) == 4  # real, fake, between, fake again
    for x in seen:
        assert torch.equal(x[:, 1:, 0, 0], torch.eye(2)[batch[1]])


# --- optimisers


def test_every_optimiser_is_the_recipes():
    for name in ("mnist-gan-r3", "mnist-wgan-gp-z2", "imagenette-gan-z500-helped", "mnist-wgan-r2"):
        recipe = RECIPES[name]
        with torch.device("meta"):
            network = build(recipe.network)
        optimizers = steps.make_optimizers(recipe, network)
        assert optimizers.keys() == {"generator", "discriminator"}
        for player, optimizer in optimizers.items():
            (group,) = optimizer.param_groups
            own = network.get_submodule(player).parameters()
            assert {id(p) for p in group["params"]} == {id(p) for p in own}
            rate = recipe.learning_rate
            if player == "discriminator":
                rate = recipe.discriminator_learning_rate or rate
            assert group["lr"] == rate
            if recipe.optimizer == "rmsprop":
                assert type(optimizer) is torch.optim.RMSprop
            else:
                assert type(optimizer) is torch.optim.Adam
                assert group["betas"] == recipe.betas
            assert group["weight_decay"] == 0


def test_two_time_scales_reach_the_optimisers():
    recipe = RECIPES["imagenette-gan-z500-helped"]
    with torch.device("meta"):
        optimizers = steps.make_optimizers(recipe, build(recipe.network))
    rates = {player: o.param_groups[0]["lr"] for player, o in optimizers.items()}
    assert rates == {"generator": 1e-4, "discriminator": 4e-4}


def test_one_network_has_one_optimiser(make):
    for family, rate in (("vae", 1e-3), ("classifier", 3e-3)):
        recipe, network = make(family)
        (optimizer,) = steps.make_optimizers(recipe, network).values()
        (group,) = optimizer.param_groups
        assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
        assert (group["lr"], group["betas"]) == (rate, (0.9, 0.999))


def test_a_network_and_an_objective_that_do_not_match(make):
    recipe, _ = make("vae")
    _, other = make("cgan")
    optimizers = steps.make_optimizers(recipe, other)
    with pytest.raises(TypeError, match="no step for GAN under elbo"):
        steps.make_step(recipe, other, optimizers)
    with pytest.raises(TypeError, match="no losses for GAN under elbo"):
        steps.held_out_losses(recipe, other, torch.rand(2, 1, 8, 8), torch.zeros(2).long())


# --- the classifier


def test_classifier_learns_two_halves(make, halves):
    classifier: Classifier = make("classifier")[1]
    optimizer = adam(classifier, 1e-2)
    x, y = halves[0].images.float() / 255, halves[0].labels
    for _ in range(20):
        steps.classifier_step(classifier, optimizer, x, y, CrossEntropy())
    test = halves[1]
    losses = steps.classifier_losses(classifier.eval(), test.images.float() / 255, test.labels)
    assert losses["accuracy"] == 1.0


def test_accuracy_and_cross_entropy_by_hand():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])

    x, y = torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 1, 0])
    losses = steps.classifier_losses(Fixed(), x, y)  # pyright: ignore[reportArgumentType]
    assert losses["accuracy"].item() == 0.75
    by_hand = -sum(
        torch.log_softmax(row, 0)[label].item() for row, label in zip(Fixed()(x), y, strict=True)
    )
    assert losses["total"].item() == pytest.approx(by_hand / 4)


def test_translate_moves_each_image_by_its_own_offset_and_pads_with_zeros():
    torch.manual_seed(0)
    x = torch.zeros(200, 2, 9, 9)
    x[:, 0, 4, 4] = 1
    x[:, 1, 4, 4] = 2
    moved = steps.translate(x, 2)
    assert moved.shape == x.shape
    assert torch.equal(moved.sum((2, 3)), x.sum((2, 3)))
    assert torch.equal(moved[:, 0] * 2, moved[:, 1])  # channels move together
    places = moved[:, 0].nonzero()[:, 1:]
    assert places.unique(dim=0).tolist() == [[r, c] for r in range(2, 7) for c in range(2, 7)]
    assert steps.translate(x, 0) is x


def test_mirror_turns_about_half_of_the_images_whole():
    torch.manual_seed(0)
    x = torch.rand(1000, 2, 3, 4)
    mirrored = steps.mirror(x)
    turned = (mirrored == x.flip(3)).flatten(1).all(1)
    kept = (mirrored == x).flatten(1).all(1)
    assert (turned ^ kept).all()
    assert 430 <= turned.sum() <= 570


def test_the_classifier_sees_mirrored_images_where_the_recipe_says_so(make, monkeypatch):
    seen = []
    monkeypatch.setattr(steps, "mirror", lambda x: seen.append(len(x)) or x)
    classifier = make("classifier")[1]
    x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])
    steps.classifier_step(classifier, adam(classifier), x, y, CrossEntropy())
    assert seen == []
    steps.classifier_step(classifier, adam(classifier), x, y, CrossEntropy(augment_flip=True))
    assert seen == [4]


# --- the schedule


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing(make):
    recipe, network = make("classifier")
    optimizers = steps.make_optimizers(recipe, network)

    def rate(done: float) -> float:
        steps.schedule_rates(recipe, optimizers, done)
        return optimizers["network"].param_groups[0]["lr"]

    top = recipe.learning_rate
    assert [rate(d) for d in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, top / 2, top, top / 2, 0])
    assert rate(0.2) == pytest.approx(top)  # whatever it was before


def test_a_constant_rate_stays(make):
    recipe, network = make("wgan-gp")
    optimizers = steps.make_optimizers(recipe, network)
    for done in (0.0, 0.3, 1.0):
        steps.schedule_rates(recipe, optimizers, done)
        rates = [o.param_groups[0]["lr"] for o in optimizers.values()]
        assert rates == [recipe.learning_rate] * 2


def test_both_players_follow_the_schedule_at_their_own_rates(make):
    recipe, network = make(
        "gan", schedule="one-cycle", learning_rate=1e-3, discriminator_learning_rate=4e-3
    )
    optimizers = steps.make_optimizers(recipe, network)
    steps.schedule_rates(recipe, optimizers, 0.1)
    rates = {player: o.param_groups[0]["lr"] for player, o in optimizers.items()}
    assert rates == {"generator": pytest.approx(5e-4), "discriminator": pytest.approx(2e-3)}


# --- bfloat16


@pytest.mark.parametrize("family", ["cgan", "gan", "wgan", "wgan-gp"])
def test_bfloat16_losses_are_float32_and_close(make, batch: Batch, family):
    recipe, network = make(family)
    network.eval()
    found = []
    for bf16 in (False, True):
        torch.manual_seed(5)
        with torch.no_grad():
            found.append(steps.held_out_losses(replace(recipe, bf16=bf16), network, *batch))
    exact, rounded = found
    assert any(not torch.equal(exact[name], rounded[name]) for name in exact)
    for name, value in rounded.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), abs=0.02)


def test_the_penalty_stays_in_float32(make, batch: Batch):
    gan, (x, y) = a_gan(make("wgan-gp")), batch
    kinds: list[torch.dtype] = []
    conv = next(layer for layer in gan.discriminator.modules() if isinstance(layer, nn.Conv2d))
    conv.register_forward_hook(lambda *args: kinds.append(args[2].dtype))
    objective = Wasserstein(gradient_penalty=10)
    z, weight = torch.randn(16, 2), torch.rand(16)
    steps.critic_step(gan, adam(gan.discriminator), x, y, z, weight, objective, bf16=True)
    assert kinds == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert all(p.dtype == torch.float32 for p in gan.parameters())
