import shutil
from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from training import fitting, judge, loop
from training.checkpoint import load, read_card
from training.data import ImageData
from training.devices import World
from training.judge import Reading, find_judge, judge_for, judge_of, read
from training.publish import publish

Splits = tuple[ImageData, ImageData]

JUDGE = Path("judges/mnist-judge")


@pytest.fixture
def shipped(tiny_checkpoints, tmp_path, monkeypatch) -> Path:
    """Shipped checkpoints that hold a judge, instead of the project's."""
    root = tmp_path / "shipped"
    shutil.copytree(tiny_checkpoints / JUDGE, root / JUDGE)
    monkeypatch.setattr(judge, "shipped", lambda: root)
    return root


def test_the_judge_of_the_run_comes_before_the_shipped_one(shipped, tiny_checkpoints, tmp_path):
    found = find_judge(tiny_checkpoints, "mnist")
    assert found is not None
    assert found.folder == tiny_checkpoints / JUDGE
    found = find_judge(tmp_path / "empty", "mnist")
    assert found is not None
    assert found.folder == shipped / JUDGE


def test_a_judge_that_does_not_verify_is_passed_over(shipped, tmp_path):
    broken = Path(shutil.copytree(shipped / JUDGE, tmp_path / "runs" / JUDGE))
    (broken / "weights.safetensors").write_bytes(b"")
    found = find_judge(tmp_path / "runs", "mnist")
    assert found is not None
    assert found.folder == shipped / JUDGE
    (shipped / JUDGE / "card.json").unlink()
    assert find_judge(tmp_path / "runs", "mnist") is None


def test_another_data_set_has_no_judge(shipped, tiny_checkpoints):
    assert find_judge(tiny_checkpoints, "cats") is None


def test_the_judge_reads_what_it_was_trained_on(tiny_recipe, train_run, halves: Splits, tmp_path):
    publish(train_run(tiny_recipe("mnist-judge", epochs=15)), *halves, tmp_path / "j")
    logits = load(tmp_path / "j").classify(halves[1].images.float() / 255)
    assert (logits.argmax(1) == halves[1].labels).all()
    assert read_card(tmp_path / "j").metrics["test/accuracy"] == 1.0


def test_a_cgans_card_names_its_judge(tiny_checkpoints, tiny_recipe, halves: Splits, tmp_path):
    recipe = tiny_recipe("mnist-cgan", dataset="mnist")
    used = judge_for(recipe, tiny_checkpoints, halves[0].classes)
    assert used is not None
    *_, run = loop.fit(recipe, *halves, Progress(disable=True), judge=used)
    card = publish(run, *halves, tmp_path / "mnist-cgan", used)
    assert card.judge == used.card.weights_sha256
    assert card.metrics["judge/test_accuracy"] == used.card.metrics["test/accuracy"]


def test_a_card_names_the_judge_that_measured_though_another_came_meanwhile(
    tiny_checkpoints, tiny_recipe, train_run, halves: Splits, tmp_path, monkeypatch
):
    shutil.copytree(tiny_checkpoints / JUDGE, tmp_path / JUDGE)
    used = read_card(tmp_path / JUDGE)
    better = train_run(tiny_recipe("mnist-judge", epochs=9))
    evaluate = loop.evaluate

    def meanwhile(*args):
        publish(better, *halves, tmp_path / JUDGE)
        return evaluate(*args)

    monkeypatch.setattr(loop, "evaluate", meanwhile)
    recipe = tiny_recipe("mnist-cgan", dataset="mnist", epochs=1)
    options = fitting.Options(out=tmp_path, epochs=1)
    fitting._train(recipe, *halves, tmp_path / "mnist-cgan", options, World())
    card = read_card(tmp_path / "mnist-cgan")
    assert read_card(tmp_path / JUDGE).weights_sha256 != used.weights_sha256
    assert card.judge == used.weights_sha256
    assert card.metrics["judge/test_accuracy"] == used.metrics["test/accuracy"]


def test_a_judge_of_other_classes_scores_nothing(shipped, tiny_recipe, tmp_path):
    recipe = tiny_recipe("mnist-cgan", dataset="mnist")
    assert judge_for(recipe, tmp_path, ("left", "right")) is not None
    assert judge_for(recipe, tmp_path, ("up", "down")) is None


def test_a_judge_reads_images_of_its_own_size_and_classes_only(shipped, tiny_checkpoints):
    classes = ("left", "right")
    assert judge_of("mnist", (1, 8, 8), tiny_checkpoints, classes) is not None
    assert judge_of("mnist", (1, 10, 10), tiny_checkpoints, classes) is None
    assert judge_of("mnist", (1, 8, 8), tiny_checkpoints, ("up", "down")) is None
    assert judge_of("cats", (1, 8, 8), tiny_checkpoints, classes) is None


def test_reading_is_features_and_the_same_logits_as_classifying(tiny_checkpoints):
    opened = load(tiny_checkpoints / JUDGE)
    x = torch.rand(5, 1, 8, 8)
    seen = read(opened, x)
    assert seen.features.shape == (5, 8)
    torch.testing.assert_close(seen.logits, opened.classify(x))
    parts = Reading.joined([read(opened, x[:2]), read(opened, x[2:])])
    torch.testing.assert_close(parts.features, seen.features)
    torch.testing.assert_close(parts.logits, seen.logits)


def test_stacked_images_are_read_channel_by_channel(shipped, tiny_checkpoints):
    opened = load(tiny_checkpoints / JUDGE)
    x = torch.rand(6, 3, 8, 8)
    seen = read(opened, x)
    alone = [opened.classify(x[:, i : i + 1]).softmax(1) for i in range(3)]
    expected = torch.einsum("na,nb,nc->nabc", *alone).flatten(1)
    torch.testing.assert_close(seen.logits.softmax(1), expected)
    assert seen.features.shape == (6, 3 * 8)
    names = [
        a + b + c for a in ("left", "right") for b in ("left", "right") for c in ("left", "right")
    ]
    assert judge_of("stacked-mnist", (3, 8, 8), tiny_checkpoints, tuple(names)) is not None
    assert judge_of("stacked-mnist", (3, 8, 8), tiny_checkpoints, tuple(names[::-1])) is None
