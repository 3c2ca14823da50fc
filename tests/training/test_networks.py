import pytest
import torch

from training.networks import (
    CGAN,
    VAE,
    Classifier,
    OverlapAddConv2d,
    build,
    parameter_counts,
    parameters_by_network,
)
from training.recipes import RECIPES, ClassifierSpec, ConvCGANSpec, ConvVAESpec


def vae_of_r3() -> VAE:
    torch.manual_seed(0)
    network = build(RECIPES["mnist-conv-vae-z2"].network)
    assert isinstance(network, VAE)
    return network


def cgan_of_r3() -> CGAN:
    torch.manual_seed(0)
    network = build(RECIPES["mnist-cgan"].network)
    assert isinstance(network, CGAN)
    return network


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("mnist-conv-vae-z2", {"encoder": 69_076, "decoder": 65_089}),
        ("mnist-cgan", {"generator": 1_491_215, "discriminator": 80_385}),
    ],
)
def test_parameter_counts_are_the_reports(recipe, expected):
    assert parameter_counts(RECIPES[recipe].network) == expected
    assert parameters_by_network(build(RECIPES[recipe].network)) == expected


def test_vae_shapes_and_range():
    vae = vae_of_r3()
    mu, log_var = vae.encode(torch.rand(3, 1, 28, 28))
    assert mu.shape == log_var.shape == (3, 2)
    x_hat = vae.decode(torch.randn(5, 2))
    assert x_hat.shape == (5, 1, 28, 28)
    assert 0 <= x_hat.min() < x_hat.max() <= 1


def test_decode_is_the_sigmoid_of_the_decoders_logits():
    vae = vae_of_r3()
    z = torch.randn(4, 2)
    torch.testing.assert_close(vae.decode(z), 1 / (1 + torch.exp(-vae.decoder(z))))


def test_other_shapes_than_mnist():
    vae = build(ConvVAESpec(latent_dim=7, channels=(4, 6, 8), image_shape=(3, 16, 24)))
    assert isinstance(vae, VAE)
    assert vae.decode(torch.randn(2, 7)).shape == (2, 3, 16, 24)
    assert vae.encode(torch.rand(2, 3, 16, 24))[0].shape == (2, 7)
    gan = build(ConvCGANSpec(latent_dim=5, num_classes=3, image_shape=(3, 12, 16)))
    assert isinstance(gan, CGAN)
    x_hat = gan.decode(torch.randn(2, 5), torch.eye(3)[:2])
    assert x_hat.shape == (2, 3, 12, 16)
    assert gan.discriminator(x_hat, torch.eye(3)[:2]).shape == (2,)


def test_the_class_changes_what_the_generator_draws():
    gan = cgan_of_r3()
    z = torch.randn(1, 128).expand(10, -1)
    pictures = gan.decode(z, torch.eye(10))
    assert pictures.shape == (10, 1, 28, 28)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert (pictures[1:] - pictures[0]).abs().amax((1, 2, 3)).min() > 0


def test_a_mixture_of_classes_is_a_condition_too():
    gan = cgan_of_r3()
    z = torch.randn(1, 128)
    mixed = gan.decode(z, torch.tensor([[0.5, 0.5] + [0.0] * 8]))
    assert not torch.equal(mixed, gan.decode(z, torch.eye(10)[:1]))


def test_one_hot_planes_are_constant_over_height_and_width():
    gan = cgan_of_r3()
    seen: list[torch.Tensor] = []
    gan.discriminator.get_submodule("features").register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    x = torch.rand(4, 1, 28, 28)
    condition = torch.eye(10)[[3, 0, 9, 3]]
    gan.discriminator(x, condition)
    (joined,) = seen
    assert joined.shape == (4, 11, 28, 28)
    assert torch.equal(joined[:, :1], x)
    planes = joined[:, 1:]
    assert torch.equal(planes.amax((2, 3)), condition)
    assert torch.equal(planes.amin((2, 3)), condition)


def test_the_same_z_twice_gives_the_same_picture():
    vae, z = vae_of_r3().eval(), torch.randn(2, 2)
    assert torch.equal(vae.decode(z), vae.decode(z))
    gan, z, condition = cgan_of_r3().eval(), torch.randn(2, 128), torch.eye(10)[:2]
    assert torch.equal(gan.decode(z, condition), gan.decode(z, condition))


def test_a_picture_does_not_depend_on_its_batch():
    gan = cgan_of_r3().eval()
    z, condition = torch.randn(6, 128), torch.eye(10)[:6]
    alone = torch.cat([gan.decode(z[i : i + 1], condition[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(gan.decode(z, condition), alone, atol=1e-5, rtol=0)


def test_classifier_uses_batch_statistics_in_training_only():
    classifier = build(ClassifierSpec(channels=(4, 8), image_shape=(1, 8, 8)))
    assert isinstance(classifier, Classifier)
    a, b = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    classifier.eval()
    torch.testing.assert_close(classifier(torch.cat([a, b]))[:4], classifier(a))
    classifier.train()
    assert not torch.allclose(classifier(torch.cat([a, b]))[:4], classifier(a))
    assert classifier(a).shape == (4, 10)
    assert classifier.features(a).shape == (4, 8)


@pytest.mark.parametrize(("channels", "kernel", "bias"), [(1, 7, True), (3, 5, False)])
def test_overlap_add_is_a_convolution(channels, kernel, bias):
    torch.manual_seed(0)
    ours = OverlapAddConv2d(6, channels, kernel, padding=kernel // 2, bias=bias).double()
    reference = torch.nn.Conv2d(6, channels, kernel, padding=kernel // 2, bias=bias).double()
    reference.load_state_dict(ours.state_dict())
    x = torch.rand(2, 6, 9, 11, dtype=torch.float64, requires_grad=True)
    y, expected = ours(x), reference(x)
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=0)
    weights = torch.rand_like(expected)
    (ours_grad,) = torch.autograd.grad((y.double() * weights).sum(), x)
    (reference_grad,) = torch.autograd.grad((expected * weights).sum(), x)
    torch.testing.assert_close(ours_grad, reference_grad, atol=1e-5, rtol=0)


def test_the_cgan_starts_as_keras_would():
    """Glorot: uniform within sqrt(6 / (fan_in + fan_out)), biases zero."""
    generator = cgan_of_r3().generator
    convolution = generator.get_submodule("convs.0")
    weight, bias = (convolution.get_parameter(name) for name in ("weight", "bias"))
    bound = (6 / (16 * (138 + 128))) ** 0.5
    largest = weight.abs().max().item()
    assert 0.99 * bound < largest <= bound
    assert bias.abs().max().item() == 0
