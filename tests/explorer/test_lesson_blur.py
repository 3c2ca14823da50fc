"""The lesson on blur: its measures by closed forms, its answers, and every step as a page."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.lessons import blur, copies
from explorer.lessons.copies import Look
from tests.explorer.conftest import (
    CGAN,
    GAN,
    VAE_Z2,
    VAE_Z5,
    checked,
    conv_vae,
    make_card,
    make_checkpoint,
    settle,
    words,
)
from tests.explorer.lesson_steps import Draw, drawer, exhibit, found, look
from training import metrics, objectives
from training.checkpoint import load, shipped
from training.recipes import ELBO, RECIPES

PIXELS = (1, 28, 28)


def wave(k: int, height: int, width: int) -> torch.Tensor:
    """A cosine of k half periods along the longer side, as an image (1, 1, height, width)."""
    along = max(height, width)
    cosine = torch.cos(math.pi * k * (torch.arange(along) + 0.5) / along)
    across = cosine[:, None] if height == along else cosine[None, :]
    return across.expand(height, width)[None, None].contiguous()


# --- the spectrum


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 20)])
@pytest.mark.parametrize("k", [1, 7, 11])
def test_the_spectrum_of_a_cosine_lies_at_its_frequency(k: int, height: int, width: int) -> None:
    power, frequency = copies.radial_spectrum(wave(k, height, width))
    at = int(power[0].argmax())
    assert float(frequency[at]) == pytest.approx(k / (2 * max(height, width)))
    assert float(power[0, at]) == pytest.approx(0.5, abs=1e-5)
    assert float(power[0].sum()) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 32, 32), (2, 1, 9, 16)])
def test_the_rings_of_a_spectrum_sum_to_the_mean_square(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    power, frequency = copies.radial_spectrum(x)
    assert power.shape == (shape[0], len(frequency))
    torch.testing.assert_close(power.sum(1), x.square().mean((1, 2, 3)))
    assert bool((frequency.diff() > 0).all())


def test_bands_divide_what_is_not_mean_brightness() -> None:
    x = torch.rand(4, *PIXELS, generator=torch.Generator().manual_seed(1))
    look = copies.look(x)
    variance = float((x - x.mean((2, 3), keepdim=True)).square().mean())
    bands = [look.band(*band) for band in blur.BANDS.values()]
    assert sum(bands) == pytest.approx(variance, rel=1e-4)
    assert look.count == 4
    assert look.sharpness == pytest.approx(float(metrics.sharpness(x).mean()))
    assert look.error == pytest.approx(float(metrics.sharpness(x).std(unbiased=False)) / 2)


# --- means


def stripe(at: int) -> torch.Tensor:
    """An image with one bright column."""
    image = torch.zeros(PIXELS)
    image[:, :, at] = 1
    return image


def test_means_are_of_the_first_so_many_images() -> None:
    images = torch.tensor([0.0, 1.0, 0.5, 0.9])[:, None, None, None].expand(4, *PIXELS)
    means = copies.means_of(images, (1, 2, 4))
    torch.testing.assert_close(means[:, 0, 3, 5], torch.tensor([0.0, 0.5, 0.6]))
    assert means.shape == (3, *PIXELS)


def test_the_mean_of_shifted_edges_is_less_sharp_than_any_of_them() -> None:
    row = torch.stack([stripe(at) for at in (5, 12, 20)])
    one, two, three = copies.averaged([row, row.flip(0)], (1, 2, 3))
    assert one == pytest.approx(float(metrics.sharpness(row[:1])), rel=1e-5)
    assert two == pytest.approx(one / 2, rel=0.1)  # half the contrast at twice the edges
    assert three == pytest.approx(one / 3, rel=0.1)
    same = copies.averaged([row[:1].repeat(3, 1, 1, 1)], (1, 3))
    assert same[1] == pytest.approx(same[0], rel=1e-5)


def test_no_mean_of_draws_is_sharper_than_the_draws(zoo: Path) -> None:
    opened = load(zoo / "tiny-vae-z5")
    drawn = opened.decode(copies.posterior(opened, stripe(9), 20, seed=3))
    mean = float(metrics.sharpness(drawn.mean(0, keepdim=True)))
    assert 0 < mean < float(metrics.sharpness(drawn).mean())


@pytest.mark.parametrize(
    ("wanted", "count"), [(0.5, 10.0), (1.0, 1.0), (2.0, 1.0), (0.0, 100.0), (-1.0, math.inf)]
)
def test_a_count_is_reached_on_the_logarithm(wanted: float, count: float) -> None:
    assert copies.reached((1, 100), (1.0, 0.0), wanted) == pytest.approx(count)


def test_a_count_is_reached_within_the_right_piece() -> None:
    assert copies.reached((1, 2, 8), (1.0, 0.6, 0.2), 0.4) == pytest.approx(4)


def test_the_loss_has_a_part_that_no_picture_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    images, drawn = torch.rand(7, *PIXELS, generator=generator), torch.rand(PIXELS)
    mean = images.mean(0)
    parts = copies.loss(mean[None], drawn) + copies.loss(images, mean)
    assert copies.loss(images, drawn) == pytest.approx(parts, rel=1e-5)
    two = torch.stack([torch.zeros(PIXELS), torch.ones(PIXELS)])
    assert copies.loss(two, torch.full(PIXELS, 0.5)) == pytest.approx(784 / 4)
    assert copies.loss(two, two[0]) == pytest.approx(784 / 2)


def test_the_even_mixture_loses_least_and_half_as_much_as_either_image() -> None:
    a, b = stripe(3), stripe(17)
    mixtures = copies.mixtures(a, b, blur.MIXES)
    torch.testing.assert_close(mixtures[0], a)
    torch.testing.assert_close(mixtures[-1], b)
    losses = [copies.loss(torch.stack([a, b]), one) for one in mixtures]
    apart = float((a - b).square().sum())
    for t, loss in zip(blur.MIXES, losses, strict=True):
        assert loss == pytest.approx(apart * (t**2 + (1 - t) ** 2) / 2, rel=1e-4)
    assert int(np.argmin(losses)) == 5
    assert losses[5] == pytest.approx(losses[0] / 2)
    assert blur.pair_answer(losses) == 1


def test_the_closest_pair_is_of_two_classes() -> None:
    codes = np.array([[0, 0], [0.1, 0], [0, 0.3], [5, 5]], np.float32)
    near = np.argsort(np.linalg.norm(codes[:, None] - codes[None], axis=2), axis=1)[:, :3]
    assert copies.closest_pair(codes, np.array([0, 0, 1, 1]), near) == (0, 2)
    assert copies.closest_pair(codes, np.array([0, 1, 1, 1]), near) == (0, 1)
    assert copies.closest_pair(codes, np.zeros(4, int), near) is None


# --- what a VAE makes of images


def test_copies_are_measured_as_the_training_counts(zoo: Path) -> None:
    opened = load(zoo / "tiny-vae-z5")
    x = torch.stack([stripe(at) for at in range(4, 24)])
    one = copies.measure(opened, x)
    mu, log_var = opened.encode(x)
    np.testing.assert_allclose(one.kl, objectives.gaussian_kl(mu, log_var), rtol=1e-5)
    np.testing.assert_allclose(one.reach, mu.square().mean(0).sqrt(), rtol=1e-5)
    np.testing.assert_allclose(one.noise, (log_var / 2).exp().mean(0), rtol=1e-5)
    sharp = float(metrics.sharpness(opened.decode(mu)).mean())
    assert one.share == pytest.approx(sharp / float(metrics.sharpness(x).mean()), rel=1e-5)
    logits = opened.network.get_submodule("decoder")(copies_of(opened, x)).detach()
    nll = (torch.nn.functional.softplus(logits) - x * logits).flatten(1).sum(1).mean()
    assert one.reconstruction == pytest.approx(float(nll), rel=1e-4)
    assert one.negative_elbo == pytest.approx(one.reconstruction + one.kl.sum())
    draws = float(metrics.sharpness(logits.sigmoid()).mean())
    assert one.draws.sharpness == pytest.approx(draws, rel=1e-4)


def copies_of(opened: Any, x: torch.Tensor) -> torch.Tensor:
    """The draws of seed 0 from the posteriors of images."""
    mu, log_var = opened.encode(x)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
    return mu + (log_var / 2).exp() * noise


def test_draws_have_the_encoders_mean_and_as_much_noise_as_asked_for(zoo: Path) -> None:
    opened = load(zoo / "tiny-vae-z2")
    mu, log_var = opened.encode(stripe(9)[None])
    still = copies.posterior(opened, stripe(9), 3, seed=0, width=0.0)
    torch.testing.assert_close(still, mu.expand(3, 2))
    once, twice = (copies.posterior(opened, stripe(9), 4000, 1, width) for width in (1.0, 2.0))
    torch.testing.assert_close(twice - mu, 2 * (once - mu))
    spread = (log_var[0] / 2).exp()
    torch.testing.assert_close(once.std(0), spread, rtol=0.05, atol=0)
    assert bool(((once.mean(0) - mu[0]).abs() < 0.08 * spread).all())


def test_a_number_that_tells_nothing_has_collapsed() -> None:
    nothing = objectives.gaussian_kl(torch.zeros(5, 1), torch.zeros(5, 1))
    assert float(nothing) == 0
    one = found([2.0, float(nothing), 0.0099, 0.0101])
    assert one.collapsed.tolist() == [False, True, True, False]
    assert one.used == 2
    assert one.negative_elbo == pytest.approx(82.02)
    assert one.share == pytest.approx(0.5)


# --- answers


@pytest.mark.parametrize(
    ("values", "place"), [((3, 2, 1), 0), ((1, 2), 2), ((1, 3, 2, 2), 1), ((2, 2, 1), 0)]
)
def test_the_place_of_the_greatest(values: tuple[int, ...], place: int) -> None:
    assert copies.place(values) == blur.sizes_answer(values) == place


@pytest.mark.parametrize(
    ("shares", "answer"),
    [((0.1, 0.3), 1), ((0.1, 0.9), 0), ((0.30, 0.305), 2), ((0.3, 0.2), 2)],
)
def test_width_helps_where_the_widest_is_sharper(shares: tuple[float, ...], answer: int) -> None:
    assert blur.widths_answer(shares) == answer


@pytest.mark.parametrize(
    ("means", "draws", "answer"), [(0.5, 0.9, 0), (0.5, 0.51, 1), (0.5, 0.7, 1), (0.5, 0.4, 2)]
)
def test_noise_blurs_where_draws_are_less_sharp(means: float, draws: float, answer: int) -> None:
    assert blur.draws_answer(found([1.0], means=means, draws=draws)) == answer


@pytest.mark.parametrize(("count", "answer"), [(4.9, 0), (5, 1), (30, 1), (31, 2), (math.inf, 2)])
def test_counts_belong_to_the_options_that_name_them(count: float, answer: int) -> None:
    assert blur.nearest_answer(count) == answer


@pytest.mark.parametrize(
    ("coarse", "fine", "answer"), [(0.9, 0.1, 1), (0.1, 0.9, 0), (0.5, 0.51, 2)]
)
def test_what_is_kept_least_is_lost_most(coarse: float, fine: float, answer: int) -> None:
    assert blur.spectrum_answer({"coarse": coarse, "fine": fine}) == answer


def test_what_is_kept_is_a_share_of_the_band() -> None:
    half = Look(1, 1, 0, np.array([9, 0.5, 0.25], np.float32), look(1).frequencies)
    kept = blur.kept(half, look(1))
    assert kept == pytest.approx({"coarse": 0.5, "middle": 0.0, "fine": 0.25})


@pytest.mark.parametrize(
    ("sharp", "sure", "answer"), [(0.31, 0.99, 0), (0.9, 0.8, 1), (0.9, 0.9, 2), (0.9, 0.95, 2)]
)
def test_the_gan_is_judged_by_both_scores(sharp: float, sure: float, answer: int) -> None:
    vae, gan = ({"sharpness": a, "confidence": b} for a, b in ((0.3, 0.9), (sharp, sure)))
    assert blur.gan_answer(vae, gan) == answer


# --- which models belong together


def vae_card(name: str, **changes: Any) -> Any:
    recipe = RECIPES[name]
    return make_card(
        name, recipe.network, recipe_changes={"objective": recipe.objective}, **changes
    )


def test_rows_of_models_follow_their_recipes() -> None:
    names = [
        *(f"mnist-dense-vae-h{h}-z2" for h in (512, 128, 256)),
        *(f"mnist-dense-vae-h512-z{z}" for z in (10, 5)),
        *(f"mnist-beta-vae-{beta}" for beta in ("10", "0.1", "1", "4")),
        "mnist-mlp-vae",
    ]
    cards = {name: vae_card(name) for name in names}
    cards |= {name: make_card(name, RECIPES[name].network) for name in ("mnist-cgan",)}
    assert copies.by_latent(cards) == [
        *(f"mnist-dense-vae-h512-z{z}" for z in (2, 5, 10)),
        "mnist-mlp-vae",
    ]
    assert copies.by_width(cards) == [f"mnist-dense-vae-h{h}-z2" for h in (128, 256, 512)]
    assert copies.by_beta(cards) == [f"mnist-beta-vae-{beta}" for beta in ("0.1", "1", "4", "10")]
    assert copies.equal_size(cards) is None
    for gan in ("mnist-mlp-gan", "mnist-gan-r4-z64"):
        network = RECIPES[gan].network
        changes = {"objective": RECIPES[gan].objective}
        cards[gan] = make_card(gan, network, recipe_changes=changes)
    assert copies.equal_size(cards) == ("mnist-mlp-vae", "mnist-mlp-gan")


def test_models_of_other_images_are_left_out() -> None:
    cards = {
        "grey": make_card("grey", VAE_Z2),
        "colour": make_card("colour", conv_vae(2, image_shape=(3, 32, 32))),
        "other": make_card("other", VAE_Z2, recipe_changes={"dataset": "shapes"}),
        "gan": make_card("gan", GAN),
    }
    assert list(copies.alike(cards, cards["grey"])) == ["grey", "gan"]
    assert copies.by_latent({}) == copies.by_width({}) == copies.by_beta({}) == []


# --- the lesson, and its steps


def test_options_and_answers_fit() -> None:
    assert 5 <= len(blur.LESSON.steps) <= 8
    assert len({step.name for step in blur.LESSON.steps}) == len(blur.LESSON.steps)
    for step in blur.LESSON.steps:
        assert step.question.endswith("?")
        assert len(step.options) == (0 if step.name == "open" else 3)
        assert len(step.title.split()) <= 5
        assert step.why.count("$") % 2 == 0


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, mnist_root: Path) -> Draw:
    """``draw(lesson, step, checkpoints, selected="")``: a step by itself."""
    return drawer(monkeypatch, mnist_root)


def sharpnesses(app: AppTest) -> list[str]:
    """What is told under every picture."""
    return [str(one.proto.text) for one in app.get("progress")]


@pytest.mark.parametrize("step", [step.name for step in blur.LESSON.steps])
def test_every_step_of_the_shipped_models_finds_its_answer(draw: Draw, step: str) -> None:
    app = draw("blur", step, shipped())
    told = exhibit(app).finding
    assert told is not None
    assert not words(app)
    options = next(one for one in blur.LESSON.steps if one.name == step).options
    assert (told.right in range(len(options))) if options else told.right is None
    if step != "spectrum":
        assert exhibit(app).pictures
    for picture in exhibit(app).pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3


def test_measured_of_the_shipped_models(draw: Draw) -> None:
    """What the lesson is about holds: VAEs blur, with a short code most, and the GAN does not."""
    rows = {row[""]: row["sharpness"] for row in exhibit(draw("blur", "sizes", shipped())).table}
    assert 0.05 < rows["z = 2"] < rows["z = 5"] < rows["z = 10"] < 0.7
    scores = exhibit(draw("blur", "gan", shipped())).table
    vae, gan, real = (row["Sharpness"] for row in scores)
    assert 0.2 < vae < 0.7
    assert 0.85 < gan < 1.15
    assert real == 1


def test_the_sharpness_told_is_that_of_the_pictures_shown(draw: Draw) -> None:
    app = draw("blur", "sizes", shipped(), selected="test-7")
    [(caption, picture)] = exhibit(app).pictures.items()
    assert caption.split(" · ")[:2] == ["original", "z = 2"]
    side = picture.shape[0] // 28
    small = picture[::side, ::side]
    images = np.stack([small[:, i * 30 : i * 30 + 28] for i in range(small.shape[1] // 30 + 1)])
    sharp = copies.sharpness_of(images)
    assert sharpnesses(app) == [f"Sharpness {value:.2f}" for value in sharp / sharp[0]]


def test_averaging_more_images_moves_the_measured_sharpness(draw: Draw) -> None:
    app = draw("blur", "nearest", shipped())
    few, many = ([], [])
    for into, k in ((few, 2), (many, 200)):
        app.select_slider(key="lesson_averaged").set_value(k)
        checked(app.run())
        into += [float(text.split()[-1]) for text in sharpnesses(app)]
    assert few[:2] == many[:2]  # the original, and the decoder's
    assert few[2] > 2 * many[2]


def test_noise_is_asked_for_on_the_open_step(draw: Draw) -> None:
    app = draw("blur", "open", shipped(), selected="test-3")
    app.selectbox(key="lesson_vae").set_value("mnist-dense-vae-h512-z10")
    app.slider(key="lesson_noise").set_value(0.0)
    checked(app.run())
    _, copy, *drawn, _ = sharpnesses(app)
    assert drawn == [copy] * 3
    app.slider(key="lesson_noise").set_value(3.0)
    checked(app.run())
    assert sharpnesses(app)[2:5] != drawn


def test_an_image_is_chosen_from_the_gallery(draw: Draw) -> None:
    app = draw("blur", "sizes", shipped())
    before = exhibit(app).pictures
    settle(app, "lesson_images_0", {"id": "test-3"})
    assert app.session_state["selected"] == "test-3"
    assert list(exhibit(app).pictures) == list(before)
    [a], [b] = before.values(), exhibit(app).pictures.values()
    assert a.shape == b.shape
    assert not np.array_equal(a, b)


# --- where models are missing


@pytest.mark.parametrize("step", [step.name for step in blur.LESSON.steps])
def test_other_models_take_the_place_of_those_that_are_missing(
    draw: Draw, zoo: Path, step: str
) -> None:
    app = draw("blur", step, zoo)
    if step == "widths":
        assert "fewer than two" in words(app)
        assert app.session_state["exhibit"] is None
    elif step == "gan":
        assert "no unconditional GAN" in words(app)
        assert "`latent-train fit mnist-mlp-gan`" in words(app)
    else:
        assert exhibit(app).finding
    if step != "open":
        assert "latent-train fit mnist-" in words(app)


def test_a_gan_that_was_not_scored_is_shown_all_the_same(
    draw: Draw, zoo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    make_checkpoint(root / "tiny-gan", GAN, title="Tiny GAN")
    app = draw("blur", "gan", root)
    shown = exhibit(app)
    assert shown.finding is None
    assert len(shown.pictures) == 2
    assert words(app).count("latent-train evaluate") == 2


@pytest.mark.parametrize("lesson", ["blur", "beta", "space"])
def test_without_a_vae_the_lesson_says_what_would_train_one(
    draw: Draw, tmp_path: Path, lesson: str
) -> None:
    make_checkpoint(tmp_path / "only-cgan", CGAN)
    app = draw(lesson, "open", tmp_path)
    assert app.session_state["exhibit"] is None
    assert "`latent-train fit mnist-dense-vae-h512-z2`" in words(app)


@pytest.mark.parametrize(("lesson", "step"), [("blur", "sizes"), ("space", "codes")])
def test_vaes_of_other_betas_are_no_lesson(
    draw: Draw, tmp_path: Path, lesson: str, step: str
) -> None:
    make_checkpoint(tmp_path / "beta", VAE_Z5, recipe_changes={"objective": ELBO(beta=4.0)})
    assert "beta 1" in words(draw(lesson, step, tmp_path))


def test_vaes_of_colour_images_are_a_lesson_too(
    monkeypatch: pytest.MonkeyPatch, colour_root: Path, tmp_path: Path
) -> None:
    for d in (2, 3):
        spec = conv_vae(d, image_shape=(3, 32, 32))
        make_checkpoint(tmp_path / f"c{d}", spec, recipe_changes={"dataset": "cifar10"})
    draw = drawer(monkeypatch, colour_root)
    for name in ("sizes", "nearest", "pair", "open"):
        app = draw("blur", name, tmp_path)
        assert exhibit(app).finding
        assert not words(app)
