import copy

import pytest
import torch
from torch import Tensor, nn

from training import steps
from training.networks import CGAN, VAE, Classifier, build


@pytest.fixture
def networks(tiny_recipe):
    """Fresh tiny networks by family."""
    torch.manual_seed(0)
    names = {"vae": "mnist-conv-vae-z2", "cgan": "mnist-cgan", "classifier": "mnist-judge"}
    return {family: build(tiny_recipe(name).network) for family, name in names.items()}


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(16, 1, 8, 8), torch.arange(16) % 2


def adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=1e-3)


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    now = after.state_dict()
    return {k for k, v in before.state_dict().items() if not torch.equal(v, now[k])}


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_total_is_reconstruction_plus_beta_kl(networks, batch, beta):
    losses = steps.vae_losses(networks["vae"], batch[0], beta=beta)
    assert losses["kl"] > 0
    expected = losses["reconstruction"] + beta * losses["kl"]
    torch.testing.assert_close(losses["total"], expected)


def test_vae_step_changes_every_parameter(networks, batch):
    vae = networks["vae"]
    before = copy.deepcopy(vae)
    losses = steps.vae_step(vae, adam(vae), batch[0])
    assert changed(before, vae) == {name for name, _ in vae.named_parameters()}
    assert not any(value.requires_grad for value in losses.values())


def test_vae_steps_lower_the_loss(networks, batch):
    vae: VAE = networks["vae"]
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    first = steps.vae_step(vae, optimizer, batch[0])["total"]
    rest = [steps.vae_step(vae, optimizer, batch[0])["total"] for _ in range(60)]
    assert rest[-1] < first - 1


def test_held_out_losses_change_nothing(networks, batch):
    x, y = batch
    calls = {
        "vae": lambda n: steps.vae_losses(n, x),
        "cgan": lambda n: steps.cgan_losses(n, x, y, torch.randn(16, 6)),
        "classifier": lambda n: steps.classifier_losses(n, x, y),
    }
    for family, call in calls.items():
        network = networks[family].eval()
        before = copy.deepcopy(network)
        with torch.no_grad():
            call(network)
        assert changed(before, network) == set()
        assert all(p.grad is None for p in network.parameters())


def cgan_step(gan: CGAN, x: Tensor, y: Tensor, *, rates: tuple[float, float]) -> steps.Losses:
    generator = torch.optim.SGD(gan.generator.parameters(), lr=rates[0])
    discriminator = torch.optim.SGD(gan.discriminator.parameters(), lr=rates[1])
    return steps.cgan_step(gan, generator, discriminator, x, y, torch.randn(len(x), 6))


def test_each_player_moves_by_its_own_optimiser_only(networks, batch):
    gan = networks["cgan"]
    before = copy.deepcopy(gan)
    cgan_step(gan, *batch, rates=(0.1, 0.0))
    assert {name.split(".")[0] for name in changed(before, gan)} == {"generator"}
    before = copy.deepcopy(gan)
    cgan_step(gan, *batch, rates=(0.0, 0.1))
    assert {name.split(".")[0] for name in changed(before, gan)} == {"discriminator"}


def test_the_generators_step_leaves_no_gradient_in_the_discriminator(networks, batch):
    """What the discriminator holds after a step is its own loss's gradient, and nothing else."""
    gan: CGAN = networks["cgan"]
    x, y = batch
    reference = copy.deepcopy(gan)
    torch.manual_seed(3)
    z = torch.randn(16, 6)
    torch.manual_seed(3)
    cgan_step(gan, x, y, rates=(0.0, 0.0))

    condition = torch.eye(2)[y]
    fake = reference.generator(z, condition).detach()
    loss = nn.functional.softplus(-reference.discriminator(x, condition)).mean()
    loss = loss + nn.functional.softplus(reference.discriminator(fake, condition)).mean()
    loss.backward()
    for ours, expected in zip(
        gan.discriminator.parameters(), reference.discriminator.parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, expected.grad)


def test_the_discriminators_step_leaves_no_gradient_in_the_generator(networks, batch):
    gan: CGAN = networks["cgan"]
    x, y = batch
    grads: list[bool] = []

    class Watching(torch.optim.SGD):
        def step(self, closure=None):
            grads.append(any(p.grad is not None for p in gan.generator.parameters()))
            return super().step(closure)

    steps.cgan_step(
        gan,
        torch.optim.SGD(gan.generator.parameters(), lr=0.1),
        Watching(gan.discriminator.parameters(), lr=0.1),
        x,
        y,
        torch.randn(16, 6),
    )
    assert grads == [False]
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.requires_grad for p in gan.parameters())


def test_fakes_reach_the_discriminators_loss_detached(networks, batch):
    gan: CGAN = networks["cgan"]
    attached: list[bool] = []
    gan.discriminator.register_forward_pre_hook(
        lambda _, args: attached.append(args[0].requires_grad)
    )
    cgan_step(gan, *batch, rates=(0.1, 0.1))
    assert attached == [False, False, True]  # real, fake for the discriminator, fake again


def test_classifier_learns_two_halves(networks, halves):
    classifier: Classifier = networks["classifier"]
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    x, y = halves[0].images.float() / 255, halves[0].labels
    for _ in range(20):
        steps.classifier_step(classifier, optimizer, x, y)
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


def test_bfloat16_losses_are_float32_and_close(networks, batch):
    x, y = batch
    z = torch.randn(16, 6)
    exact = steps.cgan_losses(networks["cgan"], x, y, z)
    rounded = steps.cgan_losses(networks["cgan"], x, y, z, bf16=True)
    for name, value in rounded.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), abs=0.02)
        assert value.item() != 0
