import shutil
from pathlib import Path

import pytest
import torch

from training import judge
from training.checkpoint import load, read_card
from training.data import ImageData
from training.judge import Reading, find_judge, judge_of, read
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
    publish(train_run(tiny_recipe("mnist-judge", epochs=15)), *halves, tmp_path / "j", tmp_path)
    logits = load(tmp_path / "j").classify(halves[1].images.float() / 255)
    assert (logits.argmax(1) == halves[1].labels).all()
    assert read_card(tmp_path / "j").metrics["test/accuracy"] == 1.0


def test_a_cgans_card_names_its_judge(
    tiny_checkpoints, tiny_recipe, train_run, halves: Splits, tmp_path
):
    shutil.copytree(tiny_checkpoints / JUDGE, tmp_path / JUDGE)
    recipe = tiny_recipe("mnist-cgan", dataset="mnist")
    card = publish(train_run(recipe), *halves, tmp_path / "mnist-cgan", tmp_path)
    judged_by = read_card(tmp_path / JUDGE)
    assert card.judge == judged_by.files["weights.safetensors"].sha256
    assert card.metrics["judge/test_accuracy"] == judged_by.metrics["test/accuracy"]


def test_a_judge_of_other_classes_scores_nothing(
    shipped, tiny_recipe, train_run, halves: Splits, tmp_path
):
    from dataclasses import replace

    train, test = (replace(split, classes=("up", "down")) for split in halves)
    recipe = tiny_recipe("mnist-cgan", dataset="mnist")
    card = publish(
        train_run(recipe), train, test, tmp_path / "runs" / "mnist-cgan", tmp_path / "runs"
    )
    assert card.judge == ""
    assert "judge/test_accuracy" not in card.metrics


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
