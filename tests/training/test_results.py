"""What is kept of models too large to ship."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training import checkpoint, results
from training.checkpoint import CheckpointError, Scores, add_scores, load, read_card
from training.cli import app

CGAN, VAE = "mnist-cgan", "mnist-conv-vae-z2"
runner = CliRunner()


@pytest.fixture
def scored(tiny_checkpoints: Path, tmp_path: Path) -> Path:
    """A folder of runs, the CGAN of which is scored and the VAE is not."""
    root = shutil.copytree(tiny_checkpoints, tmp_path / "runs")
    scores = Scores(
        samples=100, seed=0, values={"sharpness": 0.5}, data_sha256="0" * 64, device="", seconds=1
    )
    add_scores(root / CGAN, scores, read_card(root / CGAN).weights_sha256)
    return root


def text(output: str) -> str:
    return " ".join(output.split())


def test_card_history_and_picture_are_kept_and_no_weights(scored, tmp_path):
    card = results.keep(scored / CGAN, tmp_path / "checkpoints")
    (folder,) = results.find(tmp_path / "checkpoints")
    assert folder == tmp_path / "checkpoints" / "results" / CGAN
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"card.json", "history.json", "samples.png"}
    assert all((folder / n).read_bytes() == (scored / CGAN / n).read_bytes() for n in kept)
    assert results.read(folder) == card == read_card(scored / CGAN)
    assert card.weights_sha256  # a model trained again can be told from this one


def test_results_are_no_checkpoint(scored, tmp_path):
    results.keep(scored / CGAN, tmp_path)
    assert checkpoint.find(tmp_path) == []
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is missing"):
        load(tmp_path / "results" / CGAN)


def test_results_kept_again_are_replaced(scored, tmp_path):
    results.keep(scored / CGAN, tmp_path)
    card = read_card(scored / CGAN)
    assert card.scores
    again = card.scores.model_copy(update={"seed": 1})
    add_scores(scored / CGAN, again, card.weights_sha256)
    results.keep(scored / CGAN, tmp_path)
    scores = results.read(tmp_path / "results" / CGAN).scores
    assert scores
    assert scores.seed == 1
    assert [folder.name for folder in (tmp_path / "results").iterdir()] == [CGAN]


def test_a_model_without_scores_is_refused(scored, tmp_path):
    with pytest.raises(CheckpointError, match="evaluate it first"):
        results.keep(scored / VAE, tmp_path)
    assert results.find(tmp_path) == []


def test_a_damaged_model_is_refused_and_leaves_the_results_there_are(scored, tmp_path):
    results.keep(scored / CGAN, tmp_path)
    (scored / CGAN / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated"):
        results.keep(scored / CGAN, tmp_path)
    results.read(tmp_path / "results" / CGAN)


@pytest.mark.parametrize("name", ["card.json", "history.json", "samples.png"])
def test_a_damaged_file_is_named(scored, tmp_path, name):
    results.keep(scored / CGAN, tmp_path)
    (tmp_path / "results" / CGAN / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=name):
        results.read(tmp_path / "results" / CGAN)


def test_the_command_keeps_what_it_can_and_names_the_rest(scored, tmp_path):
    into = str(tmp_path / "checkpoints")
    result = runner.invoke(app, ["keep", str(scored / VAE), str(scored / CGAN), "--into", into])
    assert result.exit_code == 1
    assert f"refused {VAE}: it is not scored" in text(result.output)
    assert f"kept {CGAN}" in text(result.output)
    result = runner.invoke(app, ["verify", into])
    assert result.exit_code == 0
    assert f"results/{CGAN}: results, without weights" in text(result.output)
    (tmp_path / "checkpoints" / "results" / CGAN / "samples.png").write_bytes(b"")
    result = runner.invoke(app, ["verify", into])
    assert result.exit_code == 1
    assert "samples.png is truncated" in text(result.output)


def test_a_place_that_cannot_be_written_is_a_sentence(scored, tmp_path):
    (tmp_path / "taken").write_text("")
    into = str(tmp_path / "taken")
    result = runner.invoke(app, ["keep", str(scored / CGAN), "--into", into])
    assert result.exit_code == 1
    assert f"latent-train: {into} cannot be written" in text(result.output)
    assert (tmp_path / "taken").read_text() == ""
