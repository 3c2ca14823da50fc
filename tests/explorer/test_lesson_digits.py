"""The lesson on mode collapse: its measures by hand, and what its steps find on shipped models."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import figures, latent
from explorer.lessons import MOST_STEPS, Exhibit, digits
from explorer.lessons.digits import LESSON, Measured
from explorer.replay import Stop
from tests.explorer.conftest import CGAN, GAN, checked, make_card, make_checkpoint, told, words
from training.checkpoint import load, shipped
from training.judge import Reading
from training.networks import parameter_counts
from training.recipes import RECIPES

Show = Callable[..., AppTest]


def line(*places: float) -> torch.Tensor:
    """Points on a line, as rows."""
    return torch.tensor(places)[:, None]


# --- near-duplicates


@pytest.mark.parametrize(
    ("places", "near", "wanted"),
    [
        ((3.0,) * 5, 0.1, [[0, 1, 2, 3, 4]]),  # all identical
        ((0.0, 2.0, 4.0, 6.0), 1.0, [[0], [1], [2], [3]]),  # all distinct
        ((0.0, 10.0, 1.0, 11.0, 2.0), 1.5, [[0, 2, 4], [1, 3]]),  # 0-1-2: a chain
        ((0.0, 1.0), 1.0, [[0], [1]]),  # as near as that is not nearer
        ((7.0,), 1.0, [[0]]),
    ],
)
def test_near_duplicates_are_grouped_largest_first(
    places: tuple[float, ...], near: float, wanted: list[list[int]]
) -> None:
    found = digits.groups(line(*places), near)
    assert [group.tolist() for group in found] == wanted
    assert digits.repeats(found) == len(places) - len(wanted)


def test_groups_do_not_depend_on_the_order() -> None:
    x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    found = {frozenset(group.tolist()) for group in digits.groups(x, 0.1)}
    again = {frozenset(order[group].tolist()) for group in digits.groups(x[order], 0.1)}
    assert found == again
    assert 1 < len(found) < 60


def test_nearness_is_the_quantile_of_nearest_distances_within_sets() -> None:
    pairs = line(*(value for i in range(1, 101) for value in (1000.0 * i, 1000.0 * i + i)))
    assert digits.nearness(pairs, 2, 50) == pytest.approx(50.5)
    assert digits.nearness(pairs, 2, 0) == 1
    assert digits.nearness(pairs, 2, 100) == 100
    assert digits.nearness(torch.cat([pairs, line(0.0)]), 2, 100) == 100  # no whole set: left out


def test_that_percentage_has_a_neighbour_within_it() -> None:
    x = torch.rand(1000, 5, generator=torch.Generator().manual_seed(3))
    near = digits.nearness(x, 100, 20)
    nearest = torch.cat([digits.distances(some).min(1).values for some in x.split(100)])
    assert float((nearest <= near).float().mean()) == pytest.approx(0.2, abs=0.002)


# --- noise, and what moves


def test_the_same_seed_gives_models_the_same_noise_and_fewer_are_the_first_of_more() -> None:
    gan, other = make_card("one", GAN), make_card("two", GAN)
    z, weights = digits.noise(gan, 5, 40)
    assert weights is None
    assert z.shape == (40, gan.latent_dim)
    np.testing.assert_array_equal(z, digits.noise(other, 5, 40)[0])
    np.testing.assert_array_equal(z[:7], digits.noise(gan, 5, 7)[0])
    np.testing.assert_array_equal(z[0], latent.sample_z(5, gan.latent_dim))
    assert not np.array_equal(z, digits.noise(gan, 6, 40)[0])


def test_a_conditional_model_is_asked_for_its_classes_in_turn() -> None:
    _, weights = digits.noise(make_card("cgan", CGAN), 0, 23)
    assert weights is not None
    assert weights.argmax(1).tolist() == [i % 10 for i in range(23)]
    np.testing.assert_array_equal(weights.sum(1), 1)


def test_change_is_in_grey_levels() -> None:
    a = np.zeros((2, 2, 2, 1), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 255
    b[1, 1, 1] = 9
    assert digits.change(a, b) == digits.change(b, a) == (33.0, 255)
    assert digits.change(a, a) == (0.0, 0)


# --- a judge's reading


def logits_of(*classes: int) -> torch.Tensor:
    """Logits of a judge that is quite sure."""
    return 100.0 * torch.nn.functional.one_hot(torch.tensor(classes), 10)


def test_one_picture_over_and_over_in_numbers() -> None:
    real = line(*map(float, range(10)))
    seen = Reading(line(*[4.1] * 8), logits_of(*[7] * 8))
    one = digits.measure(seen, real)
    assert (one.entropy, one.largest, one.confidence) == (0, 7, 1)
    assert one.scores["inception"] == pytest.approx(1)
    assert one.scores["precision"] == 1
    # Balls reach the fifth neighbour: 5 steps at the ends, then 4, and 3 in the middle.
    assert one.scores["coverage"] == pytest.approx(
        np.mean([abs(i - 4.1) <= max(5 - i, 5 - (9 - i), 3) for i in range(10)])
    )
    assert one.by_class()["7"] == "100.0%"
    assert one.spread()["entropy, bits"] == "0.00"


def test_even_classes_in_numbers() -> None:
    real = line(*map(float, range(10)))
    even = digits.measure(Reading(real, logits_of(*range(10))), real)
    assert even.entropy == pytest.approx(math.log(10))
    assert even.spread()["entropy, bits"] == "3.32"
    assert even.scores == pytest.approx({"inception": 10, "precision": 1, "coverage": 1})
    assert even.marks("coverage") == {"Coverage": "1.00"}


def test_the_typical_one_is_nearest_to_the_mean_of_its_class() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    images = line(0.0, 1.0, 5.0, -9.0, 8.0, 1.0)
    assert digits.typical(images, labels, 0) == 1  # mean 2
    assert digits.typical(images, labels, 1) == 5  # mean 0


# --- which option a measurement bears out


def measured(shares: list[float], **scores: float) -> Measured:
    return Measured(torch.tensor(shares), 1.0, scores)


@pytest.mark.parametrize(
    ("different", "right"),
    [((1, 100, 100), 0), ((100, 3, 90), 1), ((70, 60, 10), 2), ((60, 50, 100), 3)],
)
def test_who_repeats_more_than_half_has_collapsed(different: tuple[int, ...], right: int) -> None:
    counts: dict[str, int] = dict(zip(digits.CAST, different, strict=True))
    assert digits.which_collapsed(counts, 100) == right


@pytest.mark.parametrize(("share", "right"), [(0.0, 0), (0.01, 1), (0.2, 1), (0.21, 2), (1.0, 2)])
def test_how_many_repeat(share: float, right: int) -> None:
    assert digits.how_many_repeat(share) == right


@pytest.mark.parametrize(
    ("shares", "right"),
    [([0, 1.0], 0), ([0.995, 0.005], 0), ([0.5, 0.5], 1), ([0.2] * 5, 1), ([0.1] * 10, 2)],
)
def test_how_many_classes(shares: list[float], right: int) -> None:
    assert digits.how_many_classes(measured(shares)) == right


@pytest.mark.parametrize(("mean", "right"), [(0.0, 0), (0.99, 0), (1.0, 1), (19.9, 1), (20.0, 2)])
def test_what_moves(mean: float, right: int) -> None:
    assert digits.what_moves(mean, twin=40.0) == right


@pytest.mark.parametrize(
    ("diversity", "epoch", "right"),
    [([0.1, 0.9], 1, 0), ([0.9, 0.3, 0.19], 3, 1), ([0.9, 0.2], None, 2)],
)
def test_when_it_fell(diversity: list[float], epoch: int | None, right: int) -> None:
    assert digits.fell(diversity) == epoch
    assert digits.when(diversity) == right


@pytest.mark.parametrize(
    ("values", "right"),
    [([2.0, 9.0, 1.0], 0), ([1.0, 3.0, 1.04], 1), ([1.0, 0.0, 2.0], 2), ([-1.0, -2.0], 0)],
)
def test_what_a_loss_did(values: list[float], right: int) -> None:
    assert digits.trend(values) == right


@pytest.mark.parametrize(
    ("marks", "right"),
    [((1, 1, 0), 1), ((3, 0.5, 0), 0), ((1, 0.5, 0.9), 2), ((1, 0.5, 0), 3), ((3, 1, 0), None)],
)
def test_which_score_is_fooled(marks: tuple[float, ...], right: int | None) -> None:
    collapsed, twin = (
        measured([1.0], **dict(zip(digits.SCORES, one, strict=True)))
        for one in (marks, (2, 0.6, 0.4))
    )
    assert digits.fooled(collapsed, twin) == right


def test_every_stop_has_the_others_last_one_before_it() -> None:
    mine = [Stop(1, False), Stop(3, False), Stop(5, True)]
    its = [Stop(2, False), Stop(3, False), Stop(9, True)]
    beside = digits.side_by_side(mine, its)
    assert [stop.epoch for stop in beside] == [2, 3, 3]


def test_the_loss_is_written_out_with_its_values() -> None:
    history = {
        "train": {},
        "test": {
            "discriminator": [0.8, 0.25],
            "generator": [1.1, 4.5],
            "d_real": [0.7, 0.91],
            "d_fake": [0.3, 0.022],
        },
    }
    written = digits.terms(history, 2)
    for value in ("0.25", "4.50", "0.910", "0.022"):
        assert value in written
    assert digits.terms(history, 3) == ""
    assert digits.terms({"train": {}, "test": {"generator": [1.0]}}, 1) == ""


def test_a_curve_for_each_name() -> None:
    chart = figures.by_epoch({"a<b": [0.5, 0.25], "c": [1.0]}, "diversity", ["#000", "#fff"])
    assert figures.rows(chart) == [
        ["series", "epoch", "diversity"],
        ["a<b", 1, 0.5],
        ["a<b", 2, 0.25],
        ["c", 1, 1.0],
    ]
    assert len({one.marker.symbol for one in figures.series(chart)}) == 2


# --- the lesson


def test_the_lesson_is_whole() -> None:
    assert 5 <= len(LESSON.steps) <= MOST_STEPS
    assert len({step.name for step in LESSON.steps}) == len(LESSON.steps)
    *asked, last = LESSON.steps
    assert all(2 <= len(step.options) <= 4 and step.why for step in asked)
    assert not last.options
    assert "$$" in next(step for step in LESSON.steps if step.name == "loss").why


def test_its_texts_tell_the_recipes_numbers() -> None:
    for name, option in zip(digits.CAST, LESSON.steps[0].options, strict=False):
        assert f"{parameter_counts(RECIPES[name].network)['generator']:,}" in option
    rivals = {tuple(parameter_counts(RECIPES[name].network).values())[1] for name in digits.CAST}
    assert len(rivals) == 1  # discriminators of one size
    recipe = RECIPES[digits.COLLAPSED]
    assert recipe.discriminator_learning_rate
    assert recipe.learning_rate / recipe.discriminator_learning_rate == pytest.approx(50)
    why = next(step for step in LESSON.steps if step.name == "epochs").why
    assert f"({recipe.learning_rate:g} and {recipe.discriminator_learning_rate:g})" in why


# --- its steps, on the shipped models


def script(name: str) -> None:
    """A page that draws one step and keeps what it has shown."""
    import streamlit as st

    from explorer import links
    from explorer.lessons import digits
    from explorer.pages import lesson_digits

    links.restore()
    step = next(step for step in digits.LESSON.steps if step.name == name)
    st.session_state["exhibit"] = lesson_digits.show(step)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, mnist_root: Path) -> Show:
    """``show(name, checkpoints=...)``: a session that looks at one step."""

    def one(name: str, checkpoints: Path | None = None) -> AppTest:
        monkeypatch.setenv("LATENT_CHECKPOINTS", str(checkpoints or shipped()))
        monkeypatch.setenv("LATENT_DATA", str(mnist_root))
        app = AppTest.from_function(script, kwargs={"name": name}, default_timeout=120)
        return checked(app.run())

    return one


def exhibit_of(app: AppTest) -> Exhibit:
    assert not words(app)
    return app.session_state["exhibit"]


def right(app: AppTest, name: str) -> str:
    """The option that the measurement bears out."""
    finding = exhibit_of(app).finding
    assert finding and finding.right is not None
    return next(step for step in LESSON.steps if step.name == name).options[finding.right]


def test_the_smallest_generator_is_the_collapsed_one(show: Show) -> None:
    app = show("sheets")
    assert "1,669" in right(app, "sheets")
    shown = exhibit_of(app).pictures
    different = [int(caption.split(", ")[-1].split(" ")[0]) for caption in shown]
    assert different[0] <= 5
    assert min(different[1:]) >= 80
    assert all(sheet.shape == (302, 302, 1) for sheet in shown.values())
    cells = next(iter(shown.values()))[2:, 2:, 0]
    assert np.ptp([cells[30 * i : 30 * i + 28, :28] for i in range(10)], axis=0).max() <= 32


def test_another_seed_draws_other_pictures(show: Show) -> None:
    app = show("sheets")
    before = list(exhibit_of(app).pictures.values())
    app.number_input(key="seed").set_value(5)
    after = list(exhibit_of(checked(app.run())).pictures.values())
    assert np.abs(before[1].astype(int) - after[1]).mean() > 20
    assert np.abs(before[0].astype(int) - after[0]).mean() < 1


def test_nearly_all_of_the_collapsed_ones_pictures_repeat_and_hardly_any_others(
    show: Show,
) -> None:
    app = show("alike")
    assert right(app, "alike") in next(s for s in LESSON.steps if s.name == "alike").options[:2]
    collapsed, *others = exhibit_of(app).table
    assert collapsed["repeats"] >= 95
    assert all(row["repeats"] <= 20 and row["different"] + row["repeats"] == 100 for row in others)
    app.select_slider(key="digits_percent").set_value(50.0)
    wider = exhibit_of(checked(app.run())).table
    pairs = zip((collapsed, *others), wider, strict=True)
    assert all(before["repeats"] <= after["repeats"] for before, after in pairs)
    assert wider[-1]["repeats"] > others[-1]["repeats"]  # of real digits half have a neighbour


def test_the_judge_reads_at_least_80_percent_as_one_digit(show: Show) -> None:
    app = show("classes")
    assert right(app, "classes") == "One"
    collapsed, twin, _, deeper, real = exhibit_of(app).table
    shares = [float(collapsed[digit].rstrip("%")) for digit in map(str, range(10))]
    assert 80 <= max(shares) <= 100
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert float(collapsed["entropy, nats"]) < 0.8
    assert 1.9 < float(twin["entropy, nats"]) <= 2.31
    assert 2.1 < float(deeper["entropy, nats"]) <= 2.31, "R1's did not collapse here"
    assert 2.1 < float(real["entropy, nats"]) <= 2.31
    assert float(collapsed["Coverage"]) < 0.1 < float(twin["Coverage"])
    chart = told(app, "figure_digits-classes-1")
    assert "GAN that collapses: 0 0" in chart["alt"]


def test_more_pictures_are_read_when_asked(show: Show) -> None:
    app = show("classes")
    app.segmented_control(key="digits_many").set_value(300)
    finding = exhibit_of(checked(app.run())).finding
    assert finding and "of 300 pictures" in finding.words


def test_dragging_z_moves_less_than_a_screen_shows(show: Show) -> None:
    app = show("drag")
    assert right(app, "drag") == "Nothing that a screen can show"
    collapsed, twin, _, deeper, real = (
        float(row["mean change of a pixel"]) for row in exhibit_of(app).table
    )
    assert collapsed < 1
    assert 20 < twin < 80
    assert 20 < deeper < 80
    assert 30 < real < 60  # two real digits
    rows = told(app, "digits_sliders")["rows"]
    start, way = latent.sample_z(0, 100), np.array(rows[0]["vector"])
    assert np.linalg.norm(way) == pytest.approx(1)
    np.testing.assert_allclose(
        start + rows[0]["reach"][1] * way, latent.sample_z(1, 100), atol=0.01
    )
    assert rows[0]["centre"] == pytest.approx(start @ way, abs=1e-4)
    told_z = {tuple(told(app, f"digits_picture_{name}")["z"]) for name in digits.CAST}
    assert len(told_z) == 1


def test_it_fell_before_its_first_epoch_ended(show: Show) -> None:
    app = show("epochs")
    assert right(app, "epochs") == "Before the first epoch ended"
    models = told(app, f"digits_samples_{digits.COLLAPSED}")["models"]
    beside = told(app, f"digits_samples_{digits.HEALTHY}")["models"]
    scrub = told(app, "digits_scrubber")
    assert [stop["model"] for stop in scrub["stops"]] == models
    assert len(models) == len(beside) == 5
    assert all(model.startswith(digits.HEALTHY) for model in beside)
    assert models[0] == f"{digits.COLLAPSED}@1"
    slots = [told(app, f"digits_samples_{name}")["slots"] for name in digits.CAST[:2]]
    assert [one["z"] for one in slots[0]] == [one["z"] for one in slots[1]]
    history = load(shipped() / digits.COLLAPSED).history()["test"]
    assert exhibit_of(app).table[0]["GAN that collapses"] == f"{history['diversity'][0]:.4f}"
    assert told(app, "figure_digits-diversity-1")["marks"] == [1, 2, 3, 4, 5]


def test_the_losses_of_the_epoch_are_written_out(show: Show) -> None:
    app = show("loss")
    assert right(app, "loss") == "It rose"
    history = load(shipped() / digits.COLLAPSED).history()["test"]
    for epoch in (5, 1):
        app.segmented_control(key="digits_epoch").set_value(epoch)
        checked(app.run())
        assert f"{history['generator'][epoch - 1]:.2f}" in app.latex[0].value
        assert f"{history['d_fake'][epoch - 1]:.3f}" in app.latex[0].value
    assert len(app.latex) == 2
    assert exhibit_of(app).table[0]["d_real"] == f"{history['d_real'][0]:.3f}"


def test_copies_of_a_real_digit_are_precise_and_cover_little(show: Show) -> None:
    app = show("scores")
    finding = exhibit_of(app).finding
    assert finding
    app.segmented_control(key="digits_copied").set_value(3)
    table = {row["pictures of"]: row for row in exhibit_of(checked(app.run())).table}
    copies, ten, real = (
        {name: float(row[title]) for name, title in digits.SCORES.items()}
        for row in (
            table["One real 3, 100 times"],
            table["All ten, 10 times each"],
            table["Real digits"],
        )
    )
    assert copies["precision"] == ten["precision"] == 1
    assert copies["inception"] == pytest.approx(1, abs=0.01)
    assert ten["inception"] == pytest.approx(10, abs=0.3)
    assert copies["coverage"] < ten["coverage"] < real["coverage"]
    scores = load(shipped() / digits.COLLAPSED).card.scores
    assert scores
    as_scored = table["GAN that collapses"]["Precision, as scored"]
    assert as_scored == f"{scores.values['precision']:.2f}"


def test_any_two_models_are_measured_alike(show: Show) -> None:
    app = show("open")
    app.selectbox(key="digits_model_0").set_value(digits.COLLAPSED)
    app.selectbox(key="digits_model_1").set_value("mnist-cgan")
    table = exhibit_of(checked(app.run())).table
    assert [row["pictures of"] for row in table] == [
        "GAN that collapses", "Conditional GAN", "Real digits",
    ]  # fmt: skip
    assert table[0]["different"] <= 5
    assert table[1]["different"] >= 80
    cgan = [float(table[1][str(digit)].rstrip("%")) for digit in range(10)]
    assert 5 < min(cgan) <= max(cgan) < 15  # asked for its classes in turn
    app.selectbox(key="digits_model_1").set_value(digits.COLLAPSED)
    assert len(exhibit_of(checked(app.run())).table) == 2


# --- where models are missing, or more are there


@pytest.fixture
def some(tmp_path: Path) -> Callable[..., Path]:
    """``some(*names)``: a folder with these of the shipped models."""

    def copied(*names: str) -> Path:
        for name in names:
            shutil.copytree(shipped() / name, tmp_path / "some" / name)
        (tmp_path / "some").mkdir(exist_ok=True)
        return tmp_path / "some"

    return copied


@pytest.mark.parametrize("step", [step.name for step in LESSON.steps])
def test_without_models_every_step_says_what_to_train(
    show: Show, some: Callable[..., Path], step: str
) -> None:
    app = show(step, some())
    assert app.session_state["exhibit"] is None
    asked = "latent-train list" if step == "open" else f"latent-train fit {digits.COLLAPSED}"
    assert asked in words(app)


@pytest.mark.parametrize("step", ["sheets", "open"])
def test_beside_pictures_of_ones_own_it_asks_for_digits(
    show: Show, monkeypatch: pytest.MonkeyPatch, tree: Path, step: str
) -> None:
    app = show(step)
    monkeypatch.setenv("LATENT_DATA", str(tree))
    checked(app.run())
    assert app.session_state["exhibit"] is None
    assert "--data" in words(app)


def test_without_the_wasserstein_one_the_rest_is_shown(
    show: Show, some: Callable[..., Path]
) -> None:
    root = some(digits.COLLAPSED, digits.HEALTHY)
    for step in ("sheets", "alike"):
        app = show(step, root)
        assert f"latent-train fit {digits.WASSERSTEIN}" in words(app)
        assert len(app.session_state["exhibit"].pictures) >= 2
    assert app.session_state["exhibit"].finding.right == 0


def test_r1s_deeper_one_stands_beside_them_where_it_was_trained(
    show: Show, some: Callable[..., Path]
) -> None:
    root = some(*digits.CAST)
    command = f"latent-train fit {digits.DEEPER}"
    assert command in "".join(one.value for one in show("sheets", root).caption)
    make_checkpoint(root / digits.DEEPER, GAN, title="Deeper")
    app = show("sheets", root)
    assert not any(digits.DEEPER in one.value for one in app.caption)
    assert [caption.split(":")[0] for caption in exhibit_of(app).pictures][-1] == "Deeper"
    rows = exhibit_of(show("scores", root)).table
    assert "Deeper" in [row["pictures of"] for row in rows]
