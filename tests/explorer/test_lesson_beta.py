"""The lesson on beta: its answers on measures made by hand, and every step as a page."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer import resources
from explorer.lessons import beta
from explorer.lessons.copies import Copies
from tests.explorer.conftest import VAE_Z5, make_checkpoint, settle, told, words
from tests.explorer.lesson_steps import Draw, answered, drawer, exhibit, found
from training.checkpoint import load, shipped
from training.recipes import ELBO

STEPS = [step.name for step in beta.LESSON.steps]
BETAS = [f"mnist-beta-vae-{value}" for value in ("0.1", "1", "4", "10")]
LAST = 3


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, mnist_root: Path) -> Draw:
    """``draw(lesson, step, checkpoints, selected="")``: a step by itself."""
    return drawer(monkeypatch, mnist_root)


# --- answers


def test_options_and_answers_fit() -> None:
    assert 5 <= len(STEPS) <= 8
    assert len(set(STEPS)) == len(STEPS)
    for step in beta.LESSON.steps:
        assert step.question.endswith("?")
        assert len(step.options) == (0 if step.name == "open" else 3)
        assert len(step.title.split()) <= 5
        assert step.why.count("$") % 2 == 0


@pytest.mark.parametrize(("value", "side"), [(0.1, 0), (0.999, 0), (1, 1), (1.001, 2), (10, 2)])
def test_the_side_of_a_beta(value: float, side: int) -> None:
    assert beta.side(value) == side
    assert beta.name_of(value).endswith(f"{value:g}")


@pytest.mark.parametrize(
    ("kl", "nll", "answer"),
    [
        ((30, 15, 5), (80, 90, 120), 1),
        ((20, 15, 5), (80, 90, 120), 0),
        ((30, 25, 5), (90, 90, 100), 2),
    ],
)
def test_the_bound_counts_both_terms_once(
    kl: tuple[float, ...], nll: tuple[float, ...], answer: int
) -> None:
    measured = {
        value: found([one / 2] * 2, nll=cost)
        for value, one, cost in zip((0.5, 1.0, 4.0), kl, nll, strict=True)
    }
    assert beta.bound_answer(measured) == answer


@pytest.mark.parametrize(("last", "answer"), [([1.0, 0.02], 0), ([1.0, 0.0], 1), ([0.009, 0.0], 2)])
def test_numbers_are_counted_at_the_largest_beta(last: list[float], answer: int) -> None:
    assert beta.collapse_answer({4.0: found(last), 0.5: found([0.0, 1.0])}) == answer


@pytest.mark.parametrize(("last", "answer"), [(0.9, 0), (0.2, 1), (0.41, 2), (0.39, 2)])
def test_copies_are_compared_from_the_smallest_to_the_largest(last: float, answer: int) -> None:
    first = found([1.0], means=0.4)
    assert beta.copies_answer({4.0: found([1.0], means=last), 0.5: first}) == answer


def at(*reach: float) -> Copies:
    """Codes that lie so far from 0, by dimension."""
    return replace(found([1.0] * len(reach)), reach=np.array(reach, np.float32))


@pytest.mark.parametrize(("reach", "answer"), [((2, 2), 0), ((1, 1), 1), ((0.5, 0), 2)])
def test_codes_go_where_their_root_mean_square_does(
    reach: tuple[float, float], answer: int
) -> None:
    assert beta.map_answer({4.0: at(*reach), 0.5: at(1, 1)}) == answer
    assert beta.reach_of(at(3, 4)) == pytest.approx(12.5**0.5)


@pytest.mark.parametrize(("best", "answer"), [(0.5, 0), (1.0, 1), (4.0, 2)])
def test_the_surest_reading_answers_for_samples(best: float, answer: int) -> None:
    assert beta.samples_answer({0.5: 0.7, 1.0: 0.7, 4.0: 0.7} | {best: 0.8}) == answer


# --- the steps


@pytest.mark.parametrize("step", STEPS)
def test_every_step_of_the_shipped_models_finds_its_answer(draw: Draw, step: str) -> None:
    answered(draw("beta", step, shipped()), beta.LESSON, step)


def test_measured_of_the_shipped_models(draw: Draw) -> None:
    """A larger beta costs reconstruction, saves KL, blurs, and in the end collapses numbers."""
    table = exhibit(draw("beta", "copies", shipped())).table
    assert [row["beta"] for row in table] == ["0.1", "1", "4", "10"]
    for name, way in (("reconstruction", 1), ("KL", -1), ("sharpness", -1)):
        values = [row[name] for row in table]
        assert values == sorted(values, key=lambda value, way=way: way * value)
    assert table[0]["numbers in use"] == "10 of 10"
    assert int(table[LAST]["numbers in use"].split()[0]) < 10
    assert min(table, key=lambda row: row["negative ELBO"])["beta"] == "1"


def test_pictures_follow_the_slider_over_beta(draw: Draw) -> None:
    app = draw("beta", "samples", shipped())
    assert [one["model"] for one in told(app, "beta_scrubber")["stops"]] == BETAS
    assert told(app, "beta_scrubber")["name"] == "Beta"
    assert told(app, "beta_samples")["models"] == BETAS
    assert told(app, "beta_samples")["model"] == BETAS[0]


def test_each_number_alone_is_moved_and_the_collapsed_say_so(draw: Draw) -> None:
    app = draw("beta", "collapse", shipped())
    for way in (-2, 2):
        z = [slot["z"] for slot in told(app, f"beta_moved_{way}")["slots"]]
        np.testing.assert_array_equal(z, way * np.eye(10))
    chart = "figure_lesson-beta-kl-1"
    assert "collapsed" not in told(app, chart)["figure"]
    settle(app, "beta_scrubber", LAST, state="at")
    dead = load(shipped() / BETAS[LAST]).atlas()["kl"] < 0.01
    assert told(app, chart)["figure"].count('"collapsed"') == int(dead.sum()) > 0
    drawn = np.array(list(exhibit(app).pictures.values()))
    side = drawn.shape[1] // 28
    low, high = drawn[:, ::side, ::side].astype(int)
    alike = [
        np.abs(low[:, i * 30 : i * 30 + 28] - high[:, i * 30 : i * 30 + 28]) for i in range(10)
    ]
    most = np.array([one.max() for one in alike])
    assert (most < 30).tolist() == dead.tolist()
    assert (most > 100).tolist() == (~dead).tolist()


def test_the_map_holds_the_codes_of_every_beta_in_one_plane(draw: Draw) -> None:
    data = told(draw("beta", "map", shipped()), "beta_map")
    stops = [np.frombuffer(base64.b64decode(one), "<f4").reshape(-1, 2) for one in data["stops"]]
    axes = np.array(data["basis"]).argmax(1)
    np.testing.assert_array_equal(data["basis"], np.eye(10)[axes])
    np.testing.assert_array_equal(data["origin"], np.zeros(10))
    for name, points in zip(BETAS, stops, strict=True):
        np.testing.assert_allclose(points, resources.codes(name)[0][:, axes], atol=1e-6)
    assert stops[0].std() > 1.5 * stops[LAST].std()
    left, right, bottom, top = data["bounds"]
    for points in stops:
        assert left <= points[:, 0].min() <= points[:, 0].max() <= right
        assert bottom <= points[:, 1].min() <= points[:, 1].max() <= top


def test_the_open_step_moves_the_numbers_of_the_beta_settled_on(draw: Draw) -> None:
    app = draw("beta", "open", shipped())
    settle(app, "beta_scrubber", LAST, state="at")
    rows = told(app, f"beta_bank_{BETAS[LAST]}")["rows"]
    assert sum(row["dead"] for row in rows) == 5
    settle(app, "beta_scrubber", 99, state="at")  # a place that is no stop
    assert told(app, f"beta_bank_{BETAS[LAST]}")["rows"] == rows


# --- where models are missing


def test_one_beta_alone_is_no_lesson(draw: Draw, zoo: Path) -> None:
    app = draw("beta", "copies", zoo)
    assert app.session_state["exhibit"] is None
    assert "differ in beta alone" in words(app)
    assert "`latent-train fit mnist-beta-vae-10`" in words(app)


def test_betas_that_are_there_are_shown_and_the_others_named(draw: Draw, tmp_path: Path) -> None:
    for name in (BETAS[0], BETAS[LAST]):
        shutil.copytree(shipped() / name, tmp_path / name)
    app = draw("beta", "copies", tmp_path)
    assert [row["beta"] for row in exhibit(app).table] == ["0.1", "10"]
    assert "`latent-train fit mnist-beta-vae-4`" in words(app)
    assert "mnist-beta-vae-10`" not in words(app)


def test_models_that_were_not_scored_are_drawn_without_an_answer(
    draw: Draw, tmp_path: Path
) -> None:
    for value in (1.0, 8.0):
        objective = {"objective": ELBO(beta=value)}
        make_checkpoint(tmp_path / f"own-{value:g}", VAE_Z5, recipe_changes=objective)
    app = draw("beta", "samples", tmp_path)
    assert exhibit(app).finding is None
    assert len(exhibit(app).pictures) == 2
    assert words(app).count("latent-train evaluate") == 2
