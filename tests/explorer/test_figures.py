"""Figures and tables say exactly what histories, codes and cards hold, and without colour too."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plotly.graph_objects import Figure

from explorer import figures, tables
from tests.explorer.conftest import CGAN, VAE_Z2, floats, make_card
from training.checkpoint import Card, Judged, Scores
from training.loop import Run
from training.recipes import RECIPES, KeepBest, Recipe
from training.report import REPORTED, Row, rows

COLOURS = [f"#{i:02d}0000" for i in range(10)]
VAE_PARTS = ("total", "reconstruction", "kl")
GAN_PARTS = ("discriminator", "generator", "jsd", "d_real", "d_fake")
WGAN_PARTS = ("critic", "emd", "penalty", "generator")
TEST_ONLY = ("diversity", "frechet", "largest_class", "class_agreement")


def make_history(parts: tuple[str, ...], epochs: int, test_only: tuple[str, ...] = ()) -> Any:
    rng = np.random.default_rng(0)
    return {
        "train": {name: rng.normal(size=epochs).tolist() for name in parts},
        "test": {name: rng.normal(size=epochs).tolist() for name in (*parts, *test_only)},
    }


def series(charts: dict[str, Figure]) -> dict[str, Any]:
    """Every series of some figures by its name, which must be a name of its own."""
    every = [one for chart in charts.values() for one in figures.series(chart)]
    assert len({one.name for one in every}) == len(every)
    return {one.name: one for one in every}


# --- losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 30, 600])
@pytest.mark.parametrize("parts", [VAE_PARTS, GAN_PARTS, WGAN_PARTS, ("surprise", "total")])
def test_curves_hold_every_value_of_a_history(parts: tuple[str, ...], epochs: int) -> None:
    history = make_history(parts, epochs, TEST_ONLY)
    drawn = series(figures.loss_curves(history, COLOURS))
    assert len(drawn) == 2 * len(parts) + len(TEST_ONLY)
    for split, values in history.items():
        for name, expected in values.items():
            curve = drawn[f"{figures.part(name).title}, {split}"]
            assert list(curve.x) == list(range(1, epochs + 1))
            assert list(curve.y) == expected
            assert curve.line.dash == {"train": "dot", "test": "solid"}[split]


def test_a_trained_runs_parts_are_all_known(
    tiny_recipe: Callable[..., Recipe], train_run: Callable[..., Run]
) -> None:
    for name in ("mnist-conv-vae-z2", "mnist-cgan", "mnist-wgan-gp-z2"):
        history = train_run(tiny_recipe(name, epochs=1)).history
        assert {*history["train"], *history["test"]} <= figures.PARTS.keys()


@pytest.mark.parametrize("parts", [VAE_PARTS, GAN_PARTS, WGAN_PARTS])
def test_no_two_curves_of_a_figure_differ_by_colour_alone(parts: tuple[str, ...]) -> None:
    for chart in figures.loss_curves(make_history(parts, 5, TEST_ONLY), COLOURS).values():
        looks = [(one.line.dash, one.marker.symbol) for one in figures.series(chart)]
        assert len(set(looks)) == len(looks) > 0


def test_figures_come_in_the_order_in_which_people_read_them() -> None:
    backwards = tuple(reversed(GAN_PARTS))
    assert list(figures.loss_curves(make_history(backwards, 3), COLOURS)) == list(
        figures.loss_curves(make_history(GAN_PARTS, 3), COLOURS)
    )


def test_parts_of_one_unit_share_a_figure() -> None:
    charts = figures.loss_curves(make_history(VAE_PARTS, 3), COLOURS)
    assert {title: len(figures.series(chart)) for title, chart in charts.items()} == {
        "Total and reconstruction": 4,
        "KL divergence": 2,
    }
    assert figures.axes(charts["KL divergence"]) == ("epoch", "nats per image")


def test_a_part_that_only_one_split_has_is_drawn_once() -> None:
    history = {"train": {"penalty": [1.0, 2.0]}, "test": {"frechet": [4.0, 3.0]}}
    drawn = series(figures.loss_curves(history, COLOURS, best=2))
    assert {name: list(one.y) for name, one in drawn.items()} == {
        "Penalty, train": [1.0, 2.0],
        "Fréchet distance, test": [4.0, 3.0],
    }


@pytest.mark.parametrize("larger", [False, True])
def test_the_best_epoch_is_the_one_that_training_kept(
    tiny_recipe: Callable[..., Recipe], train_run: Callable[..., Run], larger: bool
) -> None:
    keep = KeepBest("d_fake", larger_is_better=larger)
    recipe = tiny_recipe("mnist-gan-r4-z2", epochs=5, keep_best=keep)
    run = train_run(recipe)
    assert run.best is not None
    assert figures.best_epoch(recipe, run.history) == run.best.epoch


@pytest.mark.parametrize(("larger", "best"), [(False, 2), (True, 1)])
def test_of_equal_epochs_the_first_is_the_best(larger: bool, best: int) -> None:
    recipe = make_card("a", VAE_Z2, recipe_changes={"keep_best": KeepBest("kl", larger)}).recipe
    history = {"train": {}, "test": {"kl": [3.0, 1.0, 3.0, 1.0]}}
    assert figures.best_epoch(recipe, history) == best


def test_the_best_epoch_is_marked_where_there_is_one() -> None:
    history = make_history(VAE_PARTS, 9)
    for chart in figures.loss_curves(history, COLOURS, 4).values():
        [line] = chart.to_dict()["layout"]["shapes"]
        assert (line["x0"], line["x1"]) == (4, 4)
    for chart in figures.loss_curves(history, COLOURS, None).values():
        assert "shapes" not in chart.to_dict()["layout"]
    recipe = make_card("a", VAE_Z2).recipe
    assert figures.best_epoch(recipe, history) is None
    other = make_card("b", VAE_Z2, recipe_changes={"keep_best": KeepBest("frechet")}).recipe
    assert figures.best_epoch(other, history) is None  # never measured: the last was shipped


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 10, 50])
def test_a_running_mean_is_the_mean_of_the_last_values(window: int) -> None:
    values = np.random.default_rng(1).normal(size=20).astype(np.float32)
    expected = [values[max(i + 1 - window, 0) : i + 1].mean(dtype=np.float64) for i in range(20)]
    np.testing.assert_allclose(figures.running_mean(values, window), expected, rtol=1e-9)


@pytest.mark.parametrize(("batches", "step"), [(1, 1), (2000, 1), (2001, 2), (93_700, 47)])
def test_batches_are_thinned_by_the_rule_that_is_told(batches: int, step: int) -> None:
    assert figures.batch_step(batches) == step
    values = np.random.default_rng(2).normal(size=batches).astype(np.float32)
    mean = figures.running_mean(values, 7)
    drawn = series(figures.batch_curves({"generator": values}, 7, COLOURS))
    for kind, expected in (("each", values), ("mean", mean)):
        curve = drawn[f"Generator, {kind}"]
        assert list(curve.x) == list(range(1, batches + 1, step))
        np.testing.assert_array_equal(curve.y, expected[::step])
        assert len(curve.x) <= figures.MOST_POINTS


def test_of_batches_thinned_before_the_numbers_are_those_of_the_run() -> None:
    drawn = series(figures.batch_curves({"generator": np.arange(4.0)}, 2, COLOURS, every=5))
    assert list(drawn["Generator, each"].x) == [1, 6, 11, 16]


def test_every_part_per_batch_is_drawn_at_its_own_length() -> None:
    losses = {"critic": np.arange(50.0), "generator": np.arange(10.0), "penalty": np.ones(50)}
    drawn = series(figures.batch_curves(losses, 5, COLOURS))
    assert {name: len(one.x) for name, one in drawn.items()} == {
        "Critic, each": 50,
        "Critic, mean": 50,
        "Generator, each": 10,
        "Generator, mean": 10,
        "Penalty, each": 50,
        "Penalty, mean": 50,
    }


# --- planes, bars, sweeps ----------------------------------------------------------------------


def make_plane(classes: tuple[str, ...]) -> tuple[Figure, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(200, 2)).astype(np.float32)
    labels = rng.integers(0, len(classes), 200)
    return figures.plane(points, labels, classes, COLOURS), points, labels


def test_a_plane_holds_every_code_in_its_class() -> None:
    chart, points, labels = make_plane(tuple("0123456789"))
    drawn = figures.series(chart)
    assert [one.name for one in drawn] == list("0123456789")
    for label, one in enumerate(drawn):
        np.testing.assert_array_equal(np.stack([one.x, one.y], 1), points[labels == label])
        assert one.type == "scattergl"
    assert len({one.marker.symbol for one in drawn}) == 10
    assert len({one.marker.color for one in drawn}) == 10


def make_bars() -> tuple[Figure, dict[str, dict[str, tuple[float, float]]]]:
    groups = {
        "report": {"real": (9.5, 0.01), "VAE": (1.72, 0.25)},
        "here": {"real": (9.8, 0.02), "our VAE": (5.25, 0.125)},
    }
    return figures.bars(groups, "Inception Score", COLOURS), groups


def test_bars_hold_values_and_deviations_and_differ_by_pattern() -> None:
    chart, groups = make_bars()
    for one, (title, values) in zip(figures.series(chart), groups.items(), strict=True):
        assert one.name == title
        told = zip(one.x, one.y, one.error_y.array, strict=True)
        assert {x: (y, deviation) for x, y, deviation in told} == values
    assert len({one.marker.pattern.shape for one in figures.series(chart)}) == 2


def test_the_name_of_a_series_is_no_markup() -> None:
    hostile = "<b>bold</b> & more"
    for chart in (
        figures.bars({hostile: {"a": (1.0, 0.1)}}, "share", COLOURS),
        figures.by_epoch({hostile: [1.0]}, "share", COLOURS),
    ):
        [one] = figures.series(chart)
        assert one.name == "&lt;b&gt;bold&lt;/b&gt; &amp; more"
        assert figures.rows(chart)[1][0] == hostile


def trained(name: str, **metrics: float) -> Row:
    card = make_card(name, VAE_Z2, metrics={f"test/{k}": v for k, v in metrics.items()})
    return Row(RECIPES[name], "", card)


def test_sweeps_take_the_trained_systems_of_one_row_of_sizes() -> None:
    systems = [row for row in rows({}, "R1") if "dense-vae" not in row.recipe.name]
    assert figures.dense_sweeps(systems, COLOURS) == {}
    systems += [
        trained("mnist-dense-vae-h512-z10", total=100.0),
        trained("mnist-dense-vae-h512-z2", total=150.0),
        trained("mnist-dense-vae-h128-z2", total=160.0),
        trained("cifar10-dense-vae-h512-z5", total=1800.0),
        Row(RECIPES["mnist-dense-vae-h512-z5"], "", None),
        Row(RECIPES["mnist-dense-vae-h256-z2"], "", make_card("mnist-dense-vae-h256-z2", VAE_Z2)),
    ]
    charts = figures.dense_sweeps(systems, COLOURS)
    points = {
        title: [list(zip(one.x, one.y, strict=True)) for one in figures.series(chart)]
        for title, chart in charts.items()
    }
    assert points == {
        "CIFAR-10: latent size at h=512": [[(5, 1800.0)]],
        "MNIST: latent size at h=512": [[(2, 150.0), (10, 100.0)]],
        "MNIST: width at z=2": [[(128, 160.0), (512, 150.0)]],
    }


# --- data and words ----------------------------------------------------------------------------


def read_back(chart: Figure) -> tuple[list[str], list[list[str]]]:
    header, *lines = csv.reader(io.StringIO(figures.to_csv(chart)))
    return header, lines


def test_a_csv_of_curves_reads_back_as_the_history() -> None:
    history = make_history(VAE_PARTS, 7)
    for title, chart in figures.loss_curves(history, COLOURS).items():
        header, lines = read_back(chart)
        assert header == ["series", *figures.axes(chart)]
        for name in figures.by_figure(VAE_PARTS)[title]:
            for split in ("train", "test"):
                of = f"{figures.part(name).title}, {split}"
                points = [(int(x), float(y)) for one, x, y in lines if one == of]
                assert points == list(enumerate(history[split][name], 1))


def test_a_csv_of_a_plane_holds_every_point_and_the_classes_own_names() -> None:
    chart, points, labels = make_plane(('<b>"one",', "two"))
    assert "<" not in figures.series(chart)[0].name  # Plotly would take it for markup
    header, lines = read_back(chart)
    assert header == ["series", "z₁", "z₂"]
    for label, name in enumerate(('<b>"one",', "two")):
        told = [[float(x), float(y)] for one, x, y in lines if one == name]
        np.testing.assert_array_equal(floats(told), points[labels == label])


def test_a_csv_of_bars_has_deviations() -> None:
    chart, groups = make_bars()
    header, lines = read_back(chart)
    assert header == ["series", "name", "Inception Score", "deviation"]
    told = {(one, name): (float(y), float(std)) for one, name, y, std in lines}
    assert told == {
        (one, name): pair for one, some in groups.items() for name, pair in some.items()
    }


def test_a_figure_is_told_in_words() -> None:
    history = {"train": {"kl": [1.5, 2.0, 2.5]}, "test": {"kl": [3.0, 3.25, 4.0]}}
    [chart] = figures.loss_curves(history, COLOURS).values()
    assert figures.describe(chart) == (
        "nats per image by epoch: KL, train: 1.5 at 1, 2.5 at 3; KL, test: 3 at 1, 4 at 3."
    )
    [begun] = figures.loss_curves({"train": {"kl": [1.5]}, "test": {}}, COLOURS).values()
    assert figures.describe(begun) == "nats per image by epoch: KL, train: 1.5 at 1."
    assert "our VAE 5.25" in figures.describe(make_bars()[0])
    chart, _, labels = make_plane(("a", "b"))
    assert f"a: {(labels == 0).sum()} points" in figures.describe(chart)


def test_a_grid_holds_every_image_in_its_row_and_column() -> None:
    images = np.random.default_rng(4).integers(0, 256, (3, 4, 5, 6, 1), dtype=np.uint8)
    picture = figures.grid(list(images))
    assert picture.shape == (3 * 7 - 2, 4 * 8 - 2, 1)
    for row, column in itertools.product(range(3), range(4)):
        top, left = row * 7, column * 8
        np.testing.assert_array_equal(picture[top : top + 5, left : left + 6], images[row, column])
    assert (picture[5:7] == 128).all()
    assert (picture[:, 6:8] == 128).all()


# --- tables ------------------------------------------------------------------------------------


def make_scores(**values: float) -> Scores:
    return Scores(
        samples=500,
        seed=3,
        values=values,
        real={"inception_score": 9.75, "inception_score_std": 0.02, "sharpness": 1.0},
        judge=Judged(name="mnist-judge", sha256="0" * 64, accuracy=0.992),
        data_sha256="0" * 64,
        device="a test",
        seconds=1,
    )


@pytest.fixture
def cards() -> dict[str, Card]:
    """A VAE that was scored and a conditional GAN that was not."""
    vae = {"test/total": 152.480375, "test/kl": 6.58, "test/reconstruction": 145.9}
    gan = {"test/jsd": 0.125, "samples/class_agreement": 0.984, "judge/test_accuracy": 0.992}
    scores = make_scores(inception_score=5.125, inception_score_std=0.25, sharpness=0.5)
    return {
        "mnist-conv-vae-z2": make_card("mnist-conv-vae-z2", VAE_Z2, metrics=vae, scores=scores),
        "mnist-cgan": make_card("mnist-cgan", CGAN, metrics=gan, epochs=7),
    }


def test_the_overview_tells_how_far_every_system_is(cards: dict[str, Card]) -> None:
    vae, gan, cgan = tables.overview(rows(cards, "R3"), {"mnist-gan-r3": "truncated"})
    assert [line["system"] for line in (vae, gan, cgan)] == ["VAE", "GAN", "CGAN"]
    assert (vae["epochs"], cgan["epochs"]) == ("1 of 30", "7 of 20")
    assert gan["epochs"] == "failed verification"
    assert (vae["Total, test"], vae["KL, test"], vae["JSD, test"]) == (152.5, 6.58, None)
    assert vae["Inception Score (judge)"] == 5.125
    assert (cgan["JSD, test"], cgan["Inception Score (judge)"]) == (0.125, None)
    assert all(line["epochs"] == "not trained yet" for line in tables.overview(rows({}, "R1"), {}))


def test_what_training_measured_is_told_without_the_judge(cards: dict[str, Card]) -> None:
    assert tables.measured(cards["mnist-cgan"]) == [
        {"measure": "JSD", "of": "test set", "value": "0.125"},
        {"measure": "Class agreement", "of": "samples", "value": "0.984"},
    ]


def test_scores_stand_beside_those_of_real_images(cards: dict[str, Card]) -> None:
    assert tables.scored(cards["mnist-cgan"]) == []
    inception, sharpness = tables.scored(cards["mnist-conv-vae-z2"])
    assert (inception["this model"], inception[tables.REAL]) == ("5.125 ± 0.25", "9.75 ± 0.02")
    assert (sharpness["this model"], sharpness[tables.REAL]) == ("0.5", "1")
    assert (inception["better"], sharpness["better"]) == ("higher", "as real images")


def test_inception_scores_are_the_reports_and_ours(cards: dict[str, Card]) -> None:
    groups = tables.inception_scores(rows(cards, "R3"))
    assert groups["report"] == {one.of: (one.value, one.std) for one in REPORTED["R2"].values()}
    assert groups["here"] == {
        tables.REAL: (9.75, 0.02),
        "Convolutional VAE, z=2": (5.125, 0.25),
    }
    table = {line["of"]: line for line in tables.inception_table(groups)}
    assert (table["VAE"]["report"], table["VAE"]["here"]) == ("1.72 ± 0.25", "")
    assert table[tables.REAL]["here"] == "9.75 ± 0.02"


def test_systems_are_compared_by_the_scores_that_one_has(cards: dict[str, Card]) -> None:
    table = tables.compare(rows(cards, "R3"), ("frechet", "inception_score"))
    assert [line["system"] for line in table] == [tables.REAL, "VAE", "CGAN"]
    assert list(table[0]) == ["system", "Inception Score (judge)", "a sample takes"]
    assert [line["Inception Score (judge)"] for line in table] == [
        "9.75 ± 0.02",
        "5.125 ± 0.25",
        "",
    ]
    assert [line["a sample takes"] for line in table] == ["", "2 numbers", "6 numbers and a class"]
