"""The lesson on the latent space: measures in closed form, answers, every step as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from explorer import latent, resources
from explorer.lessons import Exhibit, space, survey
from explorer.lessons.survey import Readings
from explorer.pages.lesson_space_walks import FRAMES
from tests.explorer.conftest import VAE_Z2, conv_vae, make_card, make_checkpoint, told, words
from tests.explorer.lesson_steps import Draw, answered, drawer, exhibit
from training.checkpoint import Checkpoint, load, shipped
from training.judge import Reading
from training.networks import build

STEPS = [step.name for step in space.LESSON.steps]
SMALLEST = "mnist-dense-vae-h512-z2"


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, mnist_root: Path) -> Draw:
    """``draw(lesson, step, checkpoints, selected="")``: a step by itself."""
    return drawer(monkeypatch, mnist_root)


# --- the measures


class Plane(Checkpoint):
    """A VAE of pictures of two pixels, which are their code; ``drawn`` is what it makes of one."""

    def __init__(self, drawn: Callable[[Tensor], Tensor] = lambda z: z):
        super().__init__(Path("plane"), make_card("plane", VAE_Z2), build(conv_vae(2, (1,), 1)))
        self.drawn = drawn

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), torch.zeros(len(x), 2)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.drawn(z)[:, None, None, :]


def points(*xy: tuple[float, float]) -> Tensor:
    """Pictures (n, 1, 1, 2) whose codes these are."""
    return torch.tensor(xy, dtype=torch.float32)[:, None, None, :]


@pytest.mark.parametrize(
    ("drawn", "largest", "ends"),
    [
        (lambda z: z, 1 / survey.STEPS, 2 * latent.REACH),
        (lambda z: (z > 0.05).float(), 1.0, 1.0),
        (lambda z: 0 * z, 1 / survey.STEPS, 0.0),
        (lambda z: z.clamp(min=0), 2 / survey.STEPS, latent.REACH),
    ],
    ids=["even", "jump", "still", "half"],
)
def test_a_walk_tells_even_steps_from_a_jump(
    drawn: Callable[[Tensor], Tensor], largest: float, ends: float
) -> None:
    found = survey.walked(Plane(drawn))
    assert found == (pytest.approx(largest, rel=1e-4), pytest.approx(ends, rel=1e-4))


def test_neighbours_are_those_that_another_library_finds() -> None:
    mu = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    y = (mu[:, 0] + 0.5 * mu[:, 1] > 0).long()
    near = KNeighborsClassifier(survey.NEIGHBOURS).fit(mu, y).kneighbors(return_distance=False)
    expected = (y.numpy()[near] == y.numpy()[:, None]).mean()
    assert survey.alike(mu, y) == pytest.approx(expected)
    assert 0.6 < expected < 0.99
    assert survey.alike(mu, torch.zeros(200, dtype=torch.long)) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_every_image_has_another_of_its_own(n: int) -> None:
    found = survey.others(n)
    assert sorted(found.tolist()) == list(range(n))
    assert n == 1 or (found != torch.arange(n)).all()


class Strips:
    """Reads the plane in three strips along its first number, surer far from their edges."""

    def __init__(self, edge: float):
        self.edge = edge

    def __call__(self, judge: Checkpoint, x: Tensor) -> Reading:
        at = x.flatten(1)[:, 0]
        logits = 10 * torch.stack([-at - self.edge, torch.zeros(len(at)), at - self.edge], 1)
        return Reading(logits, logits)


def test_a_survey_of_a_plane_is_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes 0 and 2 on either side of 0: half way between them lies class 1, where no code is."""
    monkeypatch.setattr(survey, "read", Strips(edge=1.0))
    x = torch.cat([points((-3, 0)).repeat(20, 1, 1, 1), points((3, 0)).repeat(20, 1, 1, 1)])
    y = torch.tensor([0] * 20 + [2] * 20)
    opened = Plane()
    found = survey.survey(opened, opened, x, y)
    assert (found.count, found.alike, found.chance, found.rim) == (40, 1, 0.5, 3)
    assert found.spread == pytest.approx(3 * (40 / 39) ** 0.5 / 2)
    pairs = (y != y[survey.others(40)]).float().mean()
    assert found.change == pytest.approx(1 / float(pairs))
    assert found.readings is not None
    assert found.readings.kept == 1
    assert found.readings.third == 1
    assert found.readings.half_sure > 0.99
    assert found.readings.real_sure > 0.99
    without = survey.survey(opened, None, x, y)
    assert without.readings is None
    assert without.largest == found.largest


def test_far_outside_is_so_many_times_as_far_as_the_farthest_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(survey, "read", Strips(edge=1.0))
    asked: list[Tensor] = []

    def kept(z: Tensor) -> Tensor:
        asked.append(z)
        return z

    x, y = points((3, 4), (0, 1), (1, 0), (1, 1)), torch.tensor([0, 1, 0, 1])
    survey.readings(Plane(kept), Plane(), x, y, x.flatten(1), rim=5.0)
    lengths = [z.norm(dim=1) for z in asked if len(z) == 4 and float(z.norm(dim=1).min()) > 5]
    assert len(lengths) == 1
    torch.testing.assert_close(lengths[0], torch.full((4,), 5 * survey.FAR))


# --- answers


@pytest.mark.parametrize(
    ("alike", "chance", "spread", "answer"),
    [(0.11, 0.1, 1, 0), (0.6, 0.1, 1, 1), (0.6, 0.5, 1, 0), (0.9, 0.5, 1, 1), (0.9, 0.1, 0, 2)],
)
def test_neighbours_are_compared_with_chance(
    alike: float, chance: float, spread: float, answer: int
) -> None:
    assert space.codes_answer(alike, chance, spread) == answer


@pytest.mark.parametrize(
    ("largest", "change", "answer"), [(0.03, 0.9, 0), (0.6, 0.9, 1), (0.03, 0.01, 2), (1, 0.01, 2)]
)
def test_a_walk_is_even_or_jumps_or_stands_still(
    largest: float, change: float, answer: int
) -> None:
    assert space.number_answer(largest, change) == answer


def read(**changes: float) -> Readings:
    values = dict.fromkeys(
        ("kept", "third", "half_sure", "outside_sure", "outside_light", "real_sure"), 0.9
    )
    return Readings(count=500, **values | changes)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [({"third": 0.2}, 0), ({"third": 0.7}, 1), ({"third": 0.7, "half_sure": 0.3}, 2)],
)
def test_half_way_is_what_the_judge_reads(changes: dict[str, float], answer: int) -> None:
    assert space.between_answer(read(**changes)) == answer


@pytest.mark.parametrize(
    ("changes", "answer"),
    [({"outside_light": 0.0}, 0), ({"outside_sure": 0.3}, 1), ({"outside_light": 1.4}, 2)],
)
def test_far_outside_is_black_or_noise_or_a_picture(changes: dict[str, float], answer: int) -> None:
    assert space.outside_answer(read(**changes)) == answer


@pytest.mark.parametrize(("kept", "answer"), [(0.1, 0), (0.34, 1), (0.66, 1), (0.68, 2), (1, 2)])
def test_copies_that_are_kept_are_counted_in_thirds(kept: float, answer: int) -> None:
    assert space.size_answer(kept) == answer


@pytest.mark.parametrize(("distance", "answer"), [(0.0, 0), (0.4, 0), (0.9, 1), (1.3, 1)])
def test_a_copy_is_near_its_image(distance: float, answer: int) -> None:
    assert space.new_answer(distance) == answer


# --- the steps


@pytest.mark.parametrize("step", STEPS)
def test_every_step_of_the_shipped_models_finds_its_answer(draw: Draw, step: str) -> None:
    answered(draw("space", step, shipped()), space.LESSON, step)


def test_measured_of_the_shipped_models(draw: Draw) -> None:
    """Two numbers keep about half of the copies readable, and a third class lies half way."""
    rows = exhibit(draw("space", "size", shipped())).table
    kept = [float(row["copies read rightly"].rstrip("%")) for row in rows]
    third = [float(row["half way, neither class"].rstrip("%")) for row in rows]
    assert [row["VAE"].split("z=")[1] for row in rows] == ["2", "5", "10", "20", "64"]
    assert 45 < kept[0] < 67
    assert min(kept[1:]) > 85
    assert 50 < third[0] < 75
    assert max(third[1:]) < 50
    found = resources.surveyed(SMALLEST)
    assert 0.5 < found.alike < 0.75
    assert found.chance == pytest.approx(0.1, abs=0.01)
    assert 1 / survey.STEPS < found.largest < 0.1


def test_copies_read_as_their_original_are_those_of_the_judge_itself(draw: Draw) -> None:
    draw("space", "codes", shipped())
    opened, judge = load(shipped() / SMALLEST), load(shipped() / "judges" / "mnist-judge")
    images = resources.real_images(opened.card)
    assert images
    chosen = np.linspace(0, len(images) - 1, resources.MEASURED).astype(int)[::2]
    x = images.images(chosen.tolist()).float() / 255
    network, labels = judge.network, images.data.labels[chosen]
    with torch.inference_mode():
        copies = opened.decode(opened.encode(x)[0])
        features = network.features(copies)  # type: ignore[operator]
        said = network.head(features).argmax(1)  # type: ignore[operator]
    found = resources.surveyed(SMALLEST).readings
    assert found is not None
    assert found.kept == pytest.approx(float((said == labels).float().mean()), abs=0.004)


def test_no_judge_of_digits_reads_pictures_that_stand_in_their_place(
    draw: Draw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The data folder may hold one's own, of the digits' size: it would call them all wrong."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 2), ("test", 12)):
        for kind in ("cat", "dog", "emu"):
            folder = tmp_path / "pets" / split / kind
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    own = drawer(monkeypatch, tmp_path / "pets")("space", "between", shipped())
    assert resources.surveyed(SMALLEST).readings is None
    assert exhibit(own).finding is None
    assert "No judge reads these images" in words(own)


def codes_of(images: tuple[int, int]) -> NDArray[np.float32]:
    return resources.codes(SMALLEST)[0][list(images)]


def test_the_walk_goes_from_one_code_to_that_of_another_class(draw: Draw) -> None:
    app = draw("space", "between", shipped(), "test-7")
    data = told(app, "space_between")
    assert data["model"] == SMALLEST
    assert data["frames"] == FRAMES
    labels = resources.real_images(resources.models().cards[SMALLEST]).data.labels  # type: ignore
    line = np.array(told(app, "space_map")["outlines"][0], np.float32)
    np.testing.assert_allclose(line[0], codes_of((7, 7))[0], atol=1e-6)
    ends = [int(np.abs(resources.codes(SMALLEST)[0] - end).sum(1).argmin()) for end in line]
    assert labels[ends[0]] != labels[ends[1]]
    assert all("sure" in label for label in data["labels"])
    assert "cross-fade of the pixels" in exhibit(app).pictures


def test_the_cross_fade_begins_and_ends_with_the_images_and_mixes_between(draw: Draw) -> None:
    shown = exhibit(draw("space", "between", shipped(), "test-7"))
    faded = shown.pictures["cross-fade of the pixels"]
    scale = faded.shape[0] // 28
    cells = [
        faded[::scale, ::scale][:, 30 * i : 30 * i + 28].astype(int) for i in range(FRAMES + 2)
    ]
    images = resources.real_images(resources.models().cards[SMALLEST])
    assert images
    np.testing.assert_array_equal(cells[0], images.pixels(7))
    assert any((cells[-1] == images.pixels(i)).all() for i in range(len(images)))
    np.testing.assert_allclose(cells[FRAMES // 2 + 1], (cells[0] + cells[-1]) / 2, atol=0.5)


def test_outside_ends_where_it_says(draw: Draw) -> None:
    app = draw("space", "outside", shipped())
    rim = resources.surveyed(SMALLEST).rim
    near = told(app, "space_outside")["near"]
    assert near[0] > 0
    assert near[-1] == 0
    assert f"{rim:.1f} from 0" in " ".join(one.value for one in app.caption)


def test_each_sample_stands_over_the_real_image_most_like_it(draw: Draw) -> None:
    shown: Exhibit = exhibit(draw("space", "new", shipped()))
    sample, alike = (picture.astype(float) for picture in shown.pictures.values())
    assert sample.shape == alike.shape
    error = np.square(sample - alike).mean()
    others = [np.square(sample - np.roll(alike, 120 * i, axis=1)).mean() for i in (1, 2, 3)]
    assert error < min(others)


# --- where something is missing


def test_one_model_alone_is_a_lesson_too(draw: Draw, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "own", VAE_Z2)
    for step in ("codes", "number", "between", "outside", "size", "open"):
        app = draw("space", step, tmp_path)
        assert exhibit(app).finding, step
    assert "`latent-train fit mnist-dense-vae-h512-z10`" in words(app)


def test_a_model_that_was_not_scored_draws_its_samples(draw: Draw, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "own", VAE_Z2)
    app = draw("space", "new", tmp_path)
    assert exhibit(app).finding is None
    assert len(exhibit(app).pictures) == 2
    assert "latent-train evaluate" in words(app)


@pytest.mark.parametrize("step", ["between", "outside", "size"])
def test_without_a_judge_a_step_is_shown_and_measures_nothing(
    draw: Draw, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_checkpoint(tmp_path / "own", VAE_Z2)
    monkeypatch.setattr(resources, "judge", lambda card: None)
    app = draw("space", step, tmp_path)
    assert exhibit(app).finding is None
    assert exhibit(app).pictures
    assert "No judge reads these images" in words(app)


def test_images_of_colour_are_a_lesson_too(
    monkeypatch: pytest.MonkeyPatch, colour_root: Path, tmp_path: Path
) -> None:
    for d in (2, 3):
        spec = conv_vae(d, image_shape=(3, 32, 32))
        make_checkpoint(tmp_path / f"c{d}", spec, recipe_changes={"dataset": "cifar10"})
    draw = drawer(monkeypatch, colour_root)
    for step in STEPS:
        assert exhibit(draw("space", step, tmp_path)).pictures or step == "codes"
