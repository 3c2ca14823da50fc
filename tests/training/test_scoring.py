import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.progress import Progress
from typer.testing import CliRunner

from tests.training.conftest import text
from training import files, scoring
from training.checkpoint import (
    Card,
    Checkpoint,
    CheckpointError,
    add_scores,
    load,
    read_card,
    verify_files,
)
from training.cli import app
from training.data import ImageData, load_images
from training.loop import fit
from training.publish import publish
from training.scoring import score_folders

Splits = tuple[ImageData, ImageData]


@pytest.fixture
def folder(tiny_checkpoints: Path, tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    shutil.copytree(tiny_checkpoints, root)
    return root


@pytest.fixture(autouse=True)
def _halves(monkeypatch: pytest.MonkeyPatch, halves: Splits) -> None:
    """The tiny checkpoints' data set lies on no disk."""
    monkeypatch.setattr(scoring, "load_both", lambda root, dataset, shape, on_image: halves)


def run(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--samples", "100"])


def test_every_model_of_a_folder_is_scored_and_no_judge(folder: Path):
    result = run(folder)
    assert result.exit_code == 0, result.output
    for name in ("mnist-conv-vae-z2", "mnist-cgan"):
        card = verify_files(folder / name)  # still whole, hashes and all
        assert card.scores is not None
        assert card.scores.samples == 100
        assert f"{card.scores.values['sharpness']:.4g}" in result.output.replace("\n", "")
        load(folder / name)
    assert read_card(folder / "judges" / "mnist-judge").scores is None


def test_json_is_what_the_cards_hold(folder: Path):
    result = run(folder / "mnist-cgan", folder / "mnist-conv-vae-z2", "--json")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed.keys() == {"mnist-cgan", "mnist-conv-vae-z2"}
    for name, scores in printed.items():
        on_card = read_card(folder / name).scores
        assert on_card is not None
        assert scores == json.loads(on_card.model_dump_json())


def test_scoring_twice_gives_the_same_numbers(folder: Path):
    first = score_folders([folder / "mnist-conv-vae-z2"], 100, 0)[0]["mnist-conv-vae-z2"]
    second = score_folders([folder / "mnist-conv-vae-z2"], 100, 0)[0]["mnist-conv-vae-z2"]
    assert first.values == second.values
    assert first.real == second.real


def test_the_data_set_is_measured_once_for_all_its_models(folder: Path, monkeypatch):
    calls = []
    measure = scoring.measure_real
    monkeypatch.setattr(
        scoring, "measure_real", lambda *a, **k: calls.append(1) or measure(*a, **k)
    )
    shutil.copytree(folder / "mnist-cgan", folder / "another-cgan")
    score_folders([folder], 100, 0)
    assert len(calls) == 1


def test_two_checkpoints_of_one_name_are_told_apart(folder: Path, tmp_path: Path):
    other = Path(shutil.copytree(folder / "mnist-cgan", tmp_path / "seed 1" / "mnist-cgan"))
    damaged = Path(shutil.copytree(other, tmp_path / "seed 2" / "mnist-cgan"))
    (damaged / "weights.safetensors").write_bytes(b"short")
    scored, failed = score_folders([folder / "mnist-cgan", other, damaged], 100, 0)
    assert set(scored) == {str(folder / "mnist-cgan"), str(other)}
    assert set(failed) == {str(damaged)}


def test_a_damaged_checkpoint_does_not_stop_the_others(folder: Path):
    (folder / "mnist-cgan" / "weights.safetensors").write_bytes(b"short")
    result = run(folder)
    assert result.exit_code == 1
    assert "mnist-cgan: weights.safetensors is truncated" in result.output.replace("\n", " ")
    assert read_card(folder / "mnist-conv-vae-z2").scores is not None
    (folder / "mnist-cgan" / "card.json").write_text("{")
    result = run(folder)
    assert result.exit_code == 1
    assert "card.json is not JSON" in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nothing", "there are no checkpoints in"),
        ("judges/mnist-judge", "it is a judge: it scores other models"),
        ("only", "there are only judges"),
    ],
)
def test_what_cannot_be_scored_is_said(folder: Path, path: str, sentence: str):
    shutil.copytree(folder / "judges", folder / "only" / "judges")
    result = run(folder / path)
    assert result.exit_code == 1
    assert sentence in " ".join(result.output.split())


def test_images_of_other_classes_are_refused(folder: Path, halves: Splits, monkeypatch):
    other = tuple(replace(split, classes=("up", "down")) for split in halves)
    monkeypatch.setattr(scoring, "load_both", lambda *a: other)
    result = run(folder / "mnist-cgan")
    assert result.exit_code == 1
    assert "pass the folder that it was trained on" in " ".join(result.output.split())
    assert read_card(folder / "mnist-cgan").scores is None


def test_other_images_of_the_same_classes_are_told(folder: Path, halves: Splits, monkeypatch):
    train = replace(halves[0], images=halves[0].images.flip(0))
    monkeypatch.setattr(scoring, "load_both", lambda *a: (train, halves[1]))
    result = run(folder / "mnist-cgan")
    assert result.exit_code == 0
    assert "not the images that it was trained on" in " ".join(result.output.split())
    scores = read_card(folder / "mnist-cgan").scores
    assert scores is not None
    assert scores.data_sha256 == train.fingerprint


def test_missing_data_is_one_sentence(
    folder: Path, tiny_recipe, train_run, halves: Splits, monkeypatch
):
    monkeypatch.undo()
    recipe = replace(tiny_recipe("mnist-cgan"), name="a-cgan", dataset="mnist")
    publish(train_run(recipe), *halves, folder / "a-cgan")
    result = run(folder / "a-cgan", "--data", folder / "empty")
    assert result.exit_code == 1
    assert "failed" in result.output
    assert "MNIST" in result.output


def test_ones_own_pictures(tree: Path, folder: Path, tiny_recipe, monkeypatch):
    """Scored with --images, as the model was trained."""
    monkeypatch.undo()
    monkeypatch.setenv("LATENT_DATA", str(folder / "empty"))
    train, test = load_images(tree, (1, 8, 8))
    recipe = replace(tiny_recipe("mnist-gan-r4-z2"), name="mine", dataset="shapes", batch_size=8)
    *_, last = fit(recipe, train, test, Progress(disable=True))
    publish(last, train, test, folder / "mine")
    without = run(folder / "mine")
    assert without.exit_code == 1
    assert "trained on pictures of your own, shapes: name their folder by --images" in text(without)
    result = run(folder / "mine", "--images", tree)
    assert result.exit_code == 0, result.output
    scores = read_card(folder / "mine").scores
    assert scores is not None
    assert scores.judge is None
    assert scores.values.keys() == {"sharpness", "high_frequency", "diversity", "nearest_training"}


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_a_model_too_large_for_memory_does_not_stop_the_others(folder, monkeypatch, error):
    decode = Checkpoint.decode

    def full(opened: Checkpoint, *args):
        if opened.card.name == "mnist-cgan":
            raise error
        return decode(opened, *args)

    monkeypatch.setattr(Checkpoint, "decode", full)
    result = run(folder)
    assert result.exit_code == 1
    assert "mnist-cgan: there is not enough memory" in " ".join(result.output.split())
    assert read_card(folder / "mnist-conv-vae-z2").scores is not None


def test_images_read_before_a_failure_stand_in_for_no_others(folder: Path, monkeypatch):
    """Those of the second data set are at hand when its InceptionV3 features cannot be had."""
    first = read_card(folder / "mnist-cgan")
    second = first.model_copy(update={"recipe": replace(first.recipe, dataset="cifar10")})
    colour = {"image_shape": (scoring.COLOURS, 28, 28)}
    first, second = (card.model_copy(update=colour) for card in (first, second))
    scorer = scoring._Scorer(100, 0, None, None, torch.device("cpu"), torch.nn.Identity())

    def images(card: Card, *_: object) -> SimpleNamespace:
        return SimpleNamespace(train=SimpleNamespace(images=card.recipe.dataset))

    def features(network: object, of: str, tell: object) -> str:
        if of == "cifar10":
            raise MemoryError
        return of

    monkeypatch.setattr(scoring, "_real_images", images)
    monkeypatch.setattr(scoring, "read_training", features)

    def compared(card: Card) -> object:
        return scorer._compared(card, folder, lambda *_: None).train.images

    assert compared(first) == first.recipe.dataset
    with pytest.raises(MemoryError):
        compared(second)
    assert compared(first) == first.recipe.dataset
    assert scorer._known == first.recipe.dataset


# --- the card


def test_a_full_disk_leaves_the_card_as_it_was(folder: Path, monkeypatch):
    scores = score_folders([folder / "mnist-cgan"], 100, 0)[0]["mnist-cgan"]
    before = (folder / "mnist-cgan" / "card.json").read_bytes()

    def full(path: Path, blob: bytes) -> None:
        path.write_bytes(blob[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_synced", full)
    with pytest.raises(OSError, match="No space left"):
        weights = read_card(folder / "mnist-cgan").weights_sha256
        add_scores(folder / "mnist-cgan", scores.model_copy(update={"seed": 5}), weights)
    assert (folder / "mnist-cgan" / "card.json").read_bytes() == before
    assert not list((folder / "mnist-cgan").glob(".card*"))
    result = run(folder / "mnist-cgan")
    assert result.exit_code == 1
    assert "No space left on device" in result.output


def test_scores_of_weights_that_are_gone_are_not_written(
    folder: Path, monkeypatch, tiny_recipe, train_run, halves: Splits
):
    """Training goes on, and publishes, while a checkpoint is scored."""
    name = "mnist-conv-vae-z2"
    further = train_run(tiny_recipe(name, epochs=3))
    evaluate = scoring.evaluate

    def meanwhile(*args, **options):
        publish(further, *halves, folder / name)
        return evaluate(*args, **options)

    monkeypatch.setattr(scoring, "evaluate", meanwhile)
    result = run(folder / name)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert f"{name}: it has other weights now than those that were scored: score it again" in said
    card = read_card(folder / name)
    assert (card.epochs, card.scores) == (3, None)


def test_scores_need_a_card(tmp_path: Path, folder: Path):
    scores = score_folders([folder / "mnist-cgan"], 100, 0)[0]["mnist-cgan"]
    with pytest.raises(CheckpointError, match="no card"):
        add_scores(tmp_path, scores, "0" * 64)


@pytest.mark.parametrize(
    "spoil",
    [
        {"values": {"frechet": float("nan")}},
        {"judge": {"name": "x", "sha256": "zz", "accuracy": 0.5}},
        {"judge": {"name": "x", "sha256": "0" * 64, "accuracy": 1.5}},
        {"foreign": 1},
    ],
)
def test_a_card_with_impossible_scores_is_refused(folder: Path, spoil: dict):
    score_folders([folder / "mnist-cgan"], 100, 0)
    path = folder / "mnist-cgan" / "card.json"
    content = json.loads(path.read_text())
    content["scores"] |= spoil
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"card\.json"):
        read_card(folder / "mnist-cgan")
