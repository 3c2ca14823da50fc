import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from training.networks import (
    GAN,
    VAE,
    Classifier,
    ConvTranspose2d,
    Dropout,
    Network,
    OverlapAddConv2d,
    RowLSTM,
    build,
    initialise,
    parameter_counts,
    parameters_by_network,
    recipe_parameters,
)
from training.recipes import RECIPES
from training.specs import ClassifierSpec, ConvDown, ConvUp, Dense, Down, GANSpec, Up, VAESpec


def network_of(name: str) -> Network:
    torch.manual_seed(0)
    return build(RECIPES[name].network)


def vae_of_r3() -> VAE:
    network = network_of("mnist-conv-vae-z2")
    assert isinstance(network, VAE)
    return network


def cgan_of_r3() -> GAN:
    network = network_of("mnist-cgan")
    assert isinstance(network, GAN)
    return network


def shapes(module: nn.Module, kinds: type | tuple[type, ...], x: Tensor) -> list[tuple[int, ...]]:
    """Shapes, without the batch, of what every layer of these kinds makes of x, in order."""
    seen: list[tuple[int, ...]] = []
    hooks = [
        layer.register_forward_hook(lambda *args: seen.append(tuple(args[2].shape[1:])))
        for layer in module.modules()
        if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        module.eval()(x)
    for hook in hooks:
        hook.remove()
    return seen


# --- the reports' own numbers


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        # R1. The dense VAE has 807,700 parameters in all.
        ("mnist-dense-vae-h512-z2", {"encoder": 403_972, "decoder": 403_728}),
        ("mnist-dcgan-z100", {"generator": 726_209}),
        ("mnist-dcgan-deep-z100", {"generator": 1_636_737}),
        ("cifar10-dcgan-z100", {"generator": 4_514_819}),
        ("cifar10-dcgan-deep-z100", {"generator": 17_631_235}),
        ("mnist-wgan-z100", {"generator": 798_113}),
        ("mnist-wgan-deep-z100", {"generator": 1_923_905}),
        ("cifar10-wgan-z100", {"critic": 2_483_393}),
        ("cifar10-wgan-z10", {"critic": 2_483_393}),
        ("cifar10-wgan-deep-z100", {"critic": 15_667_265}),
        # R3
        ("mnist-conv-vae-z2", {"encoder": 69_076, "decoder": 65_089}),
        ("mnist-gan-r3", {"generator": 2_305_472, "discriminator": 212_865}),
        ("mnist-cgan", {"generator": 1_491_215, "discriminator": 80_385}),
    ],
)
def test_parameter_counts_are_the_reports(recipe, expected):
    counts = recipe_parameters(RECIPES[recipe])
    assert counts | expected == counts
    if recipe == "mnist-dense-vae-h512-z2":
        assert sum(counts.values()) == 807_700


def test_counts_without_building_are_those_of_the_built_network():
    for name in ("mnist-conv-vae-z2", "mnist-gan-r3", "mnist-judge", "mnist-lstm-vae-z2"):
        spec = RECIPES[name].network
        assert parameter_counts(spec) == parameters_by_network(build(spec))


def test_the_rows_of_r3s_generator_add_up():
    generator = parameters_of("mnist-gan-r3", "generator")
    rows = [1_254_400, 25_088, 819_200, 256, 204_800, 128, 1_600]
    assert generator == rows  # dense, its normalisation, convolution, its normalisation, ...


def parameters_of(name: str, part: str) -> list[int]:
    """Parameters of each layer of one network, in order."""
    with torch.device("meta"):
        network = build(RECIPES[name].network)
    layers = (layer for layer in network.get_submodule(part).modules() if not [*layer.children()])
    counts = (sum(p.numel() for p in layer.parameters()) for layer in layers)
    return [count for count in counts if count]


@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.family.startswith("wgan")])
def test_the_discriminator_of_a_wasserstein_gan_is_a_critic(name):
    assert recipe_parameters(RECIPES[name]).keys() == {"generator", "critic"}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mnist-gan-r2", {"generator", "discriminator"}),
        ("mnist-cgan", {"generator", "discriminator"}),
        ("mnist-mlp-vae", {"encoder", "decoder"}),
    ],
)
def test_the_other_families_keep_their_names(name, keys):
    assert recipe_parameters(RECIPES[name]).keys() == keys


CONV = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist-dcgan-z100", [(64, 14, 14), (32, 28, 28), (1, 28, 28)]),
        ("cifar10-dcgan-z100", [(256, 4, 4), (128, 8, 8), (64, 16, 16), (3, 32, 32)]),
        ("cifar10-dcgan-deep-z100", [(512, 4, 4), (256, 8, 8), (128, 16, 16), (3, 32, 32)]),
        ("mnist-wgan-z100", [(64, 14, 14), (32, 28, 28), (1, 28, 28)]),
        ("mnist-lstm-vae-z10", [(8, 8, 8), (4, 12, 12), (2, 24, 24), (1, 28, 28)]),
        ("mnist-gan-r2", [(128, 14, 14), (128, 28, 28), (1, 28, 28)]),
        ("mnist-conv-vae-z2", [(64, 14, 14), (32, 28, 28), (1, 28, 28)]),
        ("mnist-gan-r3", [(128, 7, 7), (64, 14, 14), (1, 28, 28)]),
        ("mnist-gan-r4-z2", [(256, 7, 7), (128, 14, 14), (64, 28, 28), (1, 28, 28)]),
        ("cifar10-gan-r4-z64", [(256, 4, 4), (128, 8, 8), (64, 16, 16), (3, 32, 32)]),
        (
            "imagenette-gan-z500",
            [*((8 * 2**i, 256 // 2**i, 256 // 2**i) for i in range(4, -1, -1)), (3, 256, 256)],
        ),
    ],
)  # fmt: skip
def test_decoders_grow_as_the_reports_say(name, expected):
    network = network_of(name)
    decoder = network.get_submodule("decoder" if isinstance(network, VAE) else "generator")
    z = torch.randn(1, RECIPES[name].latent_dim)
    assert shapes(decoder, CONV, z) == expected


@pytest.mark.parametrize(
    ("name", "convolutions", "features"),
    [
        ("cifar10-wgan-z100", [(16, 16, 16), (256, 8, 8), (1024, 9, 9)], 82_944),
        (
            "cifar10-wgan-deep-z100",
            [(16, 16, 16), (128, 8, 8), (256, 5, 5), (512, 3, 3), (1024, 3, 3), (1024, 3, 3)],
            9_216,
        ),
        ("mnist-gan-r2", [(64, 14, 14), (64, 7, 7)], 3_136),
        ("mnist-gan-r3", [(64, 14, 14), (128, 7, 7)], 6_272),
        ("mnist-conv-vae-z2", [(32, 14, 14), (64, 7, 7)], 3_136),
        (
            "imagenette-vae-z200",
            [(16, 158, 158), (32, 77, 77), (64, 36, 36), (128, 16, 16)],
            8_192,
        ),
        (
            "imagenette-gan-z500",
            [(16, 158, 158), (32, 77, 77), (64, 36, 36), (128, 16, 16)],
            2_048,
        ),
    ],
)
def test_trunks_shrink_as_the_reports_say(name, convolutions, features):
    network = network_of(name)
    trunk = network.get_submodule(
        "encoder.trunk" if isinstance(network, VAE) else "discriminator.trunk"
    )
    x = torch.rand(1, *RECIPES[name].network.image_shape)
    assert shapes(trunk, CONV, x) == convolutions
    assert shapes(trunk, nn.Flatten, x) == [(features,)]


def test_r1s_critic_is_padded_to_nine_by_nine_before_it_is_normalised():
    trunk = network_of("cifar10-wgan-z100").get_submodule("discriminator.trunk")
    kinds = (nn.Conv2d, nn.ZeroPad2d, nn.BatchNorm2d)
    sizes = shapes(trunk, kinds, torch.rand(1, 3, 32, 32))
    assert sizes == [
        (16, 16, 16), (256, 8, 8), (256, 9, 9), (256, 9, 9), (1024, 9, 9), (1024, 9, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("mnist-mlp-vae", [1024, 512, 256, 20, 20]),
        ("mnist-linear-vae-z64", [512, 256, 64, 64]),
        ("mnist-dense-vae-h128-z2", [128, 2, 2]),
    ],
)
def test_widths_of_dense_encoders(name, widths):
    encoder = network_of(name).get_submodule("encoder")
    assert [n for (n,) in shapes(encoder, nn.Linear, torch.rand(1, 1, 28, 28))] == widths


def test_r5s_decoder_is_resized_from_256_to_160_pixels():
    vae = network_of("imagenette-vae-z200").eval()
    assert isinstance(vae, VAE)
    with torch.no_grad():
        x_hat = vae.decode(torch.randn(1, 200))
    assert x_hat.shape == (1, 3, 160, 160)
    assert 0 <= x_hat.min() < x_hat.max() <= 1


def test_global_max_pooling_takes_the_maximum_of_each_map():
    down = ConvDown((Down(3, 3),), end="max")
    gan = build(GANSpec(2, Dense((4,)), down, image_shape=(1, 5, 5)))
    assert isinstance(gan, GAN)
    x = torch.rand(2, 1, 5, 5)
    layers = list(gan.discriminator.trunk.children())
    expected = layers[1](layers[0](x)).amax((2, 3))
    torch.testing.assert_close(gan.discriminator.features(x), expected)


# --- shapes, ranges and modes


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
    shape = (3, 16, 24)
    down = ConvDown(tuple(Down(width, 3, 2) for width in (4, 6, 8)))
    up = ConvUp((Up(6, 3), Up(4, 3), Up(3, 3)), grid=(8, 2, 3))
    vae = build(VAESpec(7, down, up, shape))
    assert isinstance(vae, VAE)
    assert vae.decode(torch.randn(2, 7)).shape == (2, *shape)
    assert vae.encode(torch.rand(2, *shape))[0].shape == (2, 7)
    gan = build(GANSpec(5, up, down, num_classes=3, image_shape=shape))
    assert isinstance(gan, GAN)
    x_hat = gan.decode(torch.randn(2, 5), torch.eye(3)[:2])
    assert x_hat.shape == (2, *shape)
    assert gan.discriminator(x_hat, torch.eye(3)[:2]).shape == (2,)


@pytest.mark.parametrize("name", ["mnist-gan-r3", "mnist-mlp-gan", "grid25-gan"])
def test_a_generator_that_ends_in_tanh_still_draws_in_zero_to_one(name):
    network = network_of(name).eval()
    assert isinstance(network, GAN)
    with torch.no_grad():
        x_hat = network.decode(1000 * torch.randn(64, RECIPES[name].latent_dim))
    assert x_hat.min() == pytest.approx(0, abs=1e-3)
    assert x_hat.max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "limit", "low"), [("tanh", 1.0, -1.0), ("tanh", 5.0, -5.0), ("sigmoid", 1.0, 0.0)]
)
def test_tanh_is_moved_to_zero_to_one_and_back(output, limit, low):
    """With tanh both networks work in [-limit, limit] inside, with sigmoid in [0, 1]."""
    dense = Dense((4,))
    gan = build(GANSpec(2, dense, dense, output=output, limit=limit, image_shape=(1, 1, 2)))
    assert isinstance(gan, GAN)
    seen: list[Tensor] = []
    gan.discriminator.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    gan.discriminator(torch.tensor([[[[0.0, 1.0]]]]))
    assert seen[0].flatten().tolist() == [low, limit]
    logits = torch.tensor([[-0.7, 1.3]])
    drawn = gan.generator.output(logits)
    expected = (torch.tanh(logits) + 1) / 2 if low else torch.sigmoid(logits)
    torch.testing.assert_close(drawn, expected)


def test_the_class_changes_what_the_generator_draws():
    gan = cgan_of_r3()
    z = torch.randn(1, 128).expand(10, -1)
    pictures = gan.decode(z, torch.eye(10))
    assert pictures.shape == (10, 1, 28, 28)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert (pictures[1:] - pictures[0]).abs().amax((1, 2, 3)).min() > 0


@torch.no_grad()
def test_between_two_classes_the_condition_is_mixed_and_not_switched():
    """What enters the generator moves on a straight line, and so its pictures move all the way."""
    gan = cgan_of_r3().eval()
    z, shares = torch.randn(1, 128).expand(11, -1), torch.linspace(0, 1, 11)
    condition = torch.zeros(11, 10)
    condition[:, 3], condition[:, 8] = 1 - shares, shares
    entered: list[Tensor] = []
    gan.generator.stem.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    pictures = gan.decode(z, condition)
    assert torch.equal(entered[0], torch.cat([z, condition], dim=1))
    ends = gan.decode(z[:2], torch.eye(10)[[3, 8]])
    torch.testing.assert_close(pictures[[0, -1]], ends, atol=1e-5, rtol=0)
    moved = (pictures[1:] - pictures[:-1]).flatten(1).norm(dim=1)
    assert moved.min() > 0.2 * moved.max()  # a switch of labels would stand still and then jump


def test_one_hot_planes_are_constant_over_height_and_width():
    gan = cgan_of_r3()
    seen: list[torch.Tensor] = []
    gan.discriminator.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(4, 1, 28, 28)
    condition = torch.eye(10)[[3, 0, 9, 3]]
    gan.discriminator(x, condition)
    (joined,) = seen
    assert joined.shape == (4, 11, 28, 28)
    assert torch.equal(joined[:, :1], x)
    planes = joined[:, 1:]
    assert torch.equal(planes.amax((2, 3)), condition)
    assert torch.equal(planes.amin((2, 3)), condition)


EVALUATED = [
    "mnist-conv-vae-z2", "mnist-lstm-vae-z2", "mnist-mlp-vae", "mnist-dcgan-z10", "mnist-wgan-z10",
    "mnist-gan-r3", "mnist-gan-r4-z2", "mnist-cgan", "mnist-mlp-gan",
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("name", EVALUATED)
def test_in_evaluation_a_picture_depends_on_its_z_alone(name):
    """Neither on batch statistics, nor on chance, nor on the rest of its batch."""
    network = network_of(name)
    assert isinstance(network, VAE | GAN)
    z = torch.randn(6, RECIPES[name].latent_dim)
    condition = torch.eye(10)[:6] if RECIPES[name].num_classes else None
    network.decode(z, condition)  # statistics other than the initial ones
    network.eval()
    together = network.decode(z, condition)
    assert torch.equal(together, network.decode(z, condition))
    alone = [
        network.decode(z[i : i + 1], None if condition is None else condition[i : i + 1])
        for i in range(6)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.25, 0.3, 0.4, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(p, dtype):
    torch.manual_seed(0)
    x = torch.full((101, 3, 33, 33), 2.0, dtype=dtype)
    y = Dropout(p)(x).float()
    n = y.numel()
    rounding = 1e-6 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(
        y[y > 0], torch.full_like(y[y > 0], 2 / (1 - p)), rtol=rounding, atol=0
    )
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5)
    halves = (y == 0).float().flatten()
    assert abs(float(torch.corrcoef(torch.stack([halves[:-1], halves[1:]]))[0, 1])) < 0.01


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropouts_gradient_is_what_it_let_through(layout):
    torch.manual_seed(1)
    x = torch.rand(4, 5, 6, 7).contiguous(memory_format=layout).add_(1).requires_grad_()
    y = Dropout(0.3)(x)
    assert y.is_contiguous(memory_format=layout)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y != 0).float() / 0.7)


def test_dropout_follows_the_seed_and_rests_in_evaluation():
    x = torch.rand(3, 1000)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(Dropout(0.5)(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(Dropout(0.5).eval()(x), x)


@pytest.mark.parametrize(
    "name", ["mnist-mlp-vae", "mnist-gan-r3", "mnist-gan-r2", "mnist-wgan-z10"]
)
def test_dropout_is_on_in_training_and_off_in_evaluation(name):
    network = network_of(name)
    trunk = network.get_submodule(
        "encoder.trunk" if isinstance(network, VAE) else "discriminator.trunk"
    )
    rates = {layer.p for layer in trunk.modules() if isinstance(layer, nn.Dropout)}
    (rate,) = rates
    x = torch.rand(4, 1, 28, 28)
    trunk.train()
    dropped = trunk(x)
    assert not torch.equal(dropped, trunk(x))
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.1)
    trunk.eval()
    kept = trunk(x)
    assert torch.equal(kept, trunk(x))
    assert (kept == 0).float().mean() < 0.01


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


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        ("none", ["ConvTranspose2d", "LeakyReLU", "ConvTranspose2d"]),
        ("before", ["ConvTranspose2d", "BatchNorm2d", "LeakyReLU", "ConvTranspose2d"]),
        ("after", ["ConvTranspose2d", "LeakyReLU", "BatchNorm2d", "ConvTranspose2d"]),
    ],
)
def test_a_decoder_is_normalised_before_or_after_its_activation_but_not_at_its_end(norm, order):
    spec = ConvUp((Up(4, 4), Up(1, 4)), grid=(8, 2, 2), norm=norm, activation="leaky")
    gan = build(GANSpec(2, spec, Dense((4,)), image_shape=(1, 8, 8)))
    assert isinstance(gan, GAN)
    assert [type(layer).__name__ for layer in gan.generator.convs] == order


def test_a_trunk_is_normalised_in_every_stage_but_the_first():
    trunk = network_of("mnist-gan-r4-z2").get_submodule("discriminator.trunk")
    kinds = [type(layer).__name__ for layer in trunk.children()]
    assert kinds == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "LeakyReLU", "Flatten"]


def test_the_lstm_reads_rows_from_top_to_bottom():
    torch.manual_seed(0)
    reader = RowLSTM(2 * 3, 5)
    x = torch.rand(4, 2, 7, 3)  # 7 rows of 3 pixels in 2 channels
    hidden = cell = torch.zeros(4, 5)
    step = nn.LSTMCell(6, 5)
    step.load_state_dict({k.removesuffix("_l0"): v for k, v in reader.lstm.state_dict().items()})
    for row in range(7):
        hidden, cell = step(x[:, :, row].flatten(1), (hidden, cell))
    torch.testing.assert_close(reader(x), hidden)


# --- convolutions and initial weights


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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("stride", "bias"), [(1, True), (2, True), (2, False)])
def test_a_transposed_convolution_is_torchs(training, stride, bias):
    torch.manual_seed(0)
    settings = {"stride": stride, "padding": 1, "output_padding": stride - 1, "bias": bias}
    ours = ConvTranspose2d(6, 4, 3, **settings).double().train(training)
    reference = nn.ConvTranspose2d(6, 4, 3, **settings).double()
    reference.load_state_dict(ours.state_dict())
    x = torch.rand(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    y, expected = ours(x), reference(x)
    torch.testing.assert_close(y, expected)
    weights = torch.rand_like(expected)
    for one, other in zip(
        torch.autograd.grad((y * weights).sum(), [x, *ours.parameters()]),
        torch.autograd.grad((expected * weights).sum(), [x, *reference.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours.float()(x.float()).dtype == torch.bfloat16


def test_overlap_add_is_used_where_a_wide_convolution_ends_in_few_channels():
    used = {
        name
        for name in ("mnist-cgan", "mnist-gan-r2", "mnist-conv-vae-z2", "mnist-wgan-z10")
        if any(isinstance(layer, OverlapAddConv2d) for layer in network_of(name).modules())
    }
    assert used == {"mnist-cgan", "mnist-gan-r2"}


@pytest.mark.parametrize(("kernel", "stride"), [(4, 1), (4, 2), (3, 2), (2, 1)])
def test_upsampling_repeats_pixels_and_then_convolves_with_same_padding(kernel, stride):
    torch.manual_seed(0)
    spec = ConvUp((Up(2, kernel, stride, op="conv"),), grid=(3, 4, 4))
    gan = build(GANSpec(5, spec, Dense((4,)), image_shape=(2, 4 * stride, 4 * stride)))
    assert isinstance(gan, GAN)
    x = torch.rand(1, 3, 4, 4)
    (conv,) = (layer for layer in gan.generator.convs if isinstance(layer, nn.Conv2d))
    grown = x.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    near, far = (kernel - 1) // 2, kernel // 2  # as Keras pads
    padded = nn.functional.pad(grown, (near, far, near, far))
    expected = nn.functional.conv2d(padded, conv.weight, conv.bias)
    torch.testing.assert_close(gan.generator.convs(x), expected)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: layer.weight.detach()
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    }


def test_glorot_is_uniform_with_the_variance_of_keras():
    """Within sqrt(6 / (fan_in + fan_out)), variance 2 / (fan_in + fan_out), biases zero."""
    gan = cgan_of_r3()
    weights = weights_of(gan)
    assert len(weights) == 7
    for name, weight in weights.items():
        reach = weight[0, 0].numel()
        fans = (weight.shape[0] + weight.shape[1]) * reach
        largest = weight.abs().max().item()
        bound = math.sqrt(6 / fans)
        # A uniform variable's variance is estimated to sqrt(0.8 / n) of itself.
        off = 5 * math.sqrt(0.8 / weight.numel())
        assert (1 - 10 / weight.numel()) * bound < largest <= bound * (1 + 1e-6), name
        assert weight.square().mean().item() == pytest.approx(2 / fans, rel=off), name
        assert abs(weight.mean().item()) < 5 * math.sqrt(2 / fans / weight.numel()), name
    biases = [p for name, p in gan.named_parameters() if name.endswith("bias")]
    assert len(biases) == 7
    assert all((bias == 0).all() for bias in biases)


def test_normal_is_dcgans():
    """Weights from N(0, 0.02), scales of normalisation from N(1, 0.02), shifts and biases zero."""
    gan = network_of("cifar10-gan-r4-z64")
    for name, weight in weights_of(gan).items():
        n = weight.numel()
        assert weight.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * n)), name
        assert abs(weight.mean().item()) < 5 * 0.02 / math.sqrt(n), name
        kurtosis = (weight / weight.std()).pow(4).mean().item()
        assert kurtosis == pytest.approx(3, abs=5 * math.sqrt(24 / n) + 0.01), name
    scales = [layer for layer in gan.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(scales) == 4
    together = torch.cat([layer.weight.detach() for layer in scales])
    assert together.mean().item() == pytest.approx(1, abs=5 * 0.02 / math.sqrt(len(together)))
    assert together.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * len(together)))
    assert all((layer.bias == 0).all() for layer in scales)


def test_torchs_own_weights_are_left_alone():
    layer = nn.Conv2d(3, 5, 3)
    before = layer.weight.clone()
    initialise(layer, "torch")
    assert torch.equal(layer.weight, before)
    initialise(layer, "glorot")
    assert not torch.equal(layer.weight, before)


def test_the_same_seed_gives_the_same_weights():
    a, b = network_of("mnist-gan-r3"), network_of("mnist-gan-r3")
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_checkpoint_opens_without_importing_what_drawing_weights_would():
    """On the meta device torch imports sympy for it: 1.1 s here, for weights that nobody keeps."""
    code = (
        "import sys; from training.checkpoint import load, shipped; "
        "load(shipped() / 'mnist-cgan'); sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
