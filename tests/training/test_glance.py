import pytest
import torch
from rich.progress import Progress
from torch import Tensor

from training import glance
from training.checkpoint import Checkpoint, load
from training.data import ImageData
from training.glance import Reference, reference, sample_scores
from training.health import diagnose
from training.loop import fit
from training.metrics import diversity
from training.networks import GAN, build
from training.publish import publish

Splits = tuple[ImageData, ImageData]
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture(scope="module")
def judge(tiny_recipe, train_run, halves: Splits, tmp_path_factory) -> Checkpoint:
    """A judge that knows left from right."""
    folder = tmp_path_factory.mktemp("judged") / "judge"
    publish(train_run(tiny_recipe("mnist-judge", epochs=15)), *halves, folder)
    return load(folder)


class Draws(GAN):
    """A generator that draws given images, in turn, whatever its noise."""

    def __init__(self, spec, images: Tensor, classes: Tensor | None = None):
        super().__init__(spec)
        self.images = images
        self.classes = classes
        self.drawn = 0

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.classes is not None:  # an image of the class that is asked for
            assert condition is not None
            wanted = condition.argmax(1)
            return torch.stack([self.images[self.classes == y][0] for y in wanted])
        index = (torch.arange(len(z)) + self.drawn) % len(self.images)
        self.drawn += len(z)
        return self.images[index]


def unit(images: Tensor) -> Tensor:
    return images.float() / 255


def scores(recipe, network: GAN, real: Reference) -> dict[str, float]:
    with torch.no_grad():
        return sample_scores(recipe, network, real, CPU)


def test_a_generator_that_draws_real_images_scores_as_they_do(tiny_recipe, halves: Splits, judge):
    recipe = tiny_recipe("mnist-gan-r4-z2")
    real = reference(halves[1], judge)
    assert real.diversity == pytest.approx(diversity(unit(halves[1].images)).item(), rel=1e-5)
    network = Draws(recipe.network, unit(halves[1].images))
    found = scores(recipe, network, real)
    assert found.keys() == {"diversity", "frechet", "largest_class"}
    # 100 draws hold some of the 32 images four times, some three times.
    assert found["diversity"] == pytest.approx(31 / 32 * 100 / 99, rel=0.03)
    assert found["frechet"] < 0.05
    assert found["largest_class"] == pytest.approx(0.5, abs=0.02)


def test_a_collapsed_generator_is_found_out(tiny_recipe, halves: Splits, judge):
    recipe = tiny_recipe("mnist-gan-r4-z2")
    real = reference(halves[1], judge)
    fine = scores(recipe, Draws(recipe.network, unit(halves[1].images)), real)
    found = scores(recipe, Draws(recipe.network, unit(halves[1].images[:1])), real)
    assert found["largest_class"] == 1.0
    assert found["diversity"] == pytest.approx(0, abs=1e-4)
    assert found["frechet"] > 10 * fine["frechet"] + 0.1


def test_a_generator_that_knows_one_class_only(tiny_recipe, halves: Splits, judge):
    """Its images differ, but the judge reads one class in all of them."""
    recipe = tiny_recipe("mnist-gan-r4-z2")
    left = unit(halves[1].images[halves[1].labels == 0])
    found = scores(recipe, Draws(recipe.network, left), reference(halves[1], judge))
    assert found["largest_class"] == 1.0
    assert 0.1 < found["diversity"] < 0.8


def test_class_agreement_of_a_conditional_generator(tiny_recipe, halves: Splits, judge):
    recipe = tiny_recipe("mnist-cgan")
    real = reference(halves[1], judge)
    x, y = unit(halves[1].images), halves[1].labels
    assert scores(recipe, Draws(recipe.network, x, y), real)["class_agreement"] == 1.0
    assert scores(recipe, Draws(recipe.network, x, 1 - y), real)["class_agreement"] == 0.0


def test_without_a_judge_diversity_is_all_there_is(tiny_recipe, halves: Splits):
    recipe = tiny_recipe("mnist-gan-r4-z2")
    real = reference(halves[1], None)
    network = build(recipe.network).eval()
    assert isinstance(network, GAN)
    found = scores(recipe, network, real)
    assert found.keys() == {"diversity"}
    z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = diversity(network.decode(z)).item() / real.diversity
    assert found["diversity"] == pytest.approx(expected, rel=1e-5)


def test_one_held_out_image_tells_nothing_of_diversity(tiny_recipe, halves: Splits):
    recipe = tiny_recipe("mnist-gan-r4-z2")
    one = ImageData(halves[1].images[:1], halves[1].labels[:1], halves[1].classes, "one")
    *_, run = fit(recipe, halves[0], one, Progress(disable=True))
    assert run.finished
    assert "diversity" not in run.history["test"]
    assert "mode collapse" not in diagnose(run.history)


def test_scores_are_taken_from_the_same_noise_every_time(tiny_recipe, halves: Splits, judge):
    recipe = tiny_recipe("mnist-cgan")
    network = build(recipe.network).eval()
    assert isinstance(network, GAN)
    real = reference(halves[1], judge)
    state = torch.get_rng_state()
    first = scores(recipe, network, real)
    assert torch.equal(torch.get_rng_state(), state)  # and nothing else is drawn from
    torch.randn(10)
    assert scores(recipe, network, real) == first


def test_points_of_the_plane_are_taken_as_they_are():
    """Mixtures hold float32 in [0, 1], not bytes."""
    points = ImageData(torch.rand(300, 1, 1, 2), torch.zeros(300).long(), ("only",), "ring8")
    real = reference(points, None)
    # Two uniform points of the unit square lie 0.5214 apart on average.
    assert real.diversity == pytest.approx(0.5214, abs=0.06)


@pytest.mark.parametrize("n", [199, 1000])
def test_the_reference_is_a_hundred_images_of_the_whole_set(n: int):
    """Sorted data: the first hundred would all be alike."""
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    images[n // 2 :] = 255
    data = ImageData(images, torch.zeros(n).long(), ("only",), "sorted")
    half = 50 * 50 / (100 * 99 / 2)  # pairs of different images, 2 apart
    assert reference(data, None).diversity == pytest.approx(2 * half, rel=0.1)
    assert glance.SAMPLES >= 500
