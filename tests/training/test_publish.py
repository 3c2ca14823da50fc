import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.progress import Progress

from training import atlas, loop
from training.checkpoint import CheckpointError, load, partial, shipped
from training.data import ImageData
from training.loop import fit
from training.publish import confusion, destination, publish, samples_png

Splits = tuple[ImageData, ImageData]


def test_everything_but_the_epochs_losses_is_measured_on_the_shipped_weights(
    tiny_recipe, train_run, halves: Splits, tmp_path
):
    run = train_run(tiny_recipe("mnist-conv-vae-z2"))
    folder = tmp_path / "vae"
    card = publish(run, *halves, folder)
    assert card.metrics == {
        f"test/{name}": values[-1] for name, values in run.history["test"].items()
    }
    assert (folder / "samples.png").read_bytes() == samples_png(load(folder), halves[1])
    assert load(folder).card == card


def test_an_interrupted_run_is_measured_as_it_is(
    tiny_recipe, halves: Splits, tmp_path, monkeypatch
):
    evaluate, calls = loop.evaluate, iter(range(9))

    def interrupted_at_second(*args):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(loop, "evaluate", interrupted_at_second)
    *_, run = fit(tiny_recipe("mnist-conv-vae-z2"), *halves, Progress(disable=True))
    assert run.interrupted
    card = publish(run, *halves, tmp_path / "vae")
    expected = evaluate(run.recipe, run.network, halves[1])
    assert card.metrics == {f"test/{name}": value for name, value in expected.items()}
    assert card.metrics["test/total"] != run.history["test"]["total"][-1]
    assert (card.epochs, card.images_seen) == (1, 192)
    assert card.notes.startswith("Stopped after 1 of 2 epochs.")
    assert load(tmp_path / "vae").history() == run.history


def test_the_card_counts_parameters_of_a_run_stopped_within_a_step(
    tiny_recipe, train_run, halves: Splits, tmp_path
):
    """The generator's step freezes the discriminator for a moment; Ctrl-C can come then."""
    run = train_run(tiny_recipe("mnist-cgan", ema_decay=None))
    expected = loop.networks.parameters_by_network(run.network)
    run.network.get_submodule("discriminator").requires_grad_(False)
    card = publish(run, *halves, tmp_path / "cgan")
    assert card.parameters == expected
    assert min(expected.values()) > 0


def test_a_run_with_broken_weights_writes_nothing(tiny_recipe, train_run, halves: Splits, tmp_path):
    run = train_run(tiny_recipe("mnist-conv-vae-z2"))
    with torch.no_grad():
        next(run.network.parameters()).fill_(torch.nan)
    with pytest.raises(CheckpointError, match="nothing was written"):
        publish(run, *halves, tmp_path / "vae")
    assert list(tmp_path.iterdir()) == []


def test_samples_are_ten_by_ten_and_the_same_every_time(tiny_checkpoints, halves: Splits):
    for name in ("mnist-conv-vae-z2", "mnist-cgan"):
        opened = load(tiny_checkpoints / name)
        picture = samples_png(opened, halves[1])
        assert Image.open(io.BytesIO(picture)).size == (10 * (8 + 2) + 2,) * 2
        assert picture == samples_png(opened, halves[1])


def test_a_grey_picture_is_stored_without_colour(tiny_checkpoints, halves: Splits):
    def mode(folder: Path) -> str:
        return Image.open(io.BytesIO(samples_png(load(folder), halves[1]))).mode

    assert mode(tiny_checkpoints / "mnist-conv-vae-z2") == "L"
    assert mode(tiny_checkpoints / "judges" / "mnist-judge") == "L"
    assert mode(shipped() / "cifar10-conv-vae-z10") == "RGB"


def test_the_confusion_matrix_counts_true_by_read(tiny_checkpoints, halves: Splits):
    opened = load(tiny_checkpoints / "judges" / "mnist-judge")
    matrix = confusion(opened, halves[1])
    read = opened.classify(halves[1].images.float() / 255).argmax(1)
    for true in range(2):
        for seen in range(2):
            of_class = halves[1].labels == true
            expected = (read[of_class] == seen).float().mean()
            assert matrix[true, seen].item() == pytest.approx(expected.item())


def test_a_checkpoint_that_has_seen_more_is_kept_until_the_run_caught_up_or_finished(
    tiny_recipe, train_run, halves: Splits, tmp_path
):
    folder = tmp_path / "vae"
    run = train_run(tiny_recipe("mnist-conv-vae-z2"))
    assert destination(folder, run) == folder  # nothing there yet
    publish(run, *halves, folder)
    behind = replace(run, epochs=1, images_seen=96)
    assert destination(folder, behind) == partial(folder)
    assert destination(folder, replace(behind, images_seen=192)) == folder
    assert destination(folder, replace(behind, planned=1)) == folder
    (folder / "card.json").write_text("{}")
    assert destination(folder, behind) == folder  # damaged: nothing to keep


def test_a_generator_is_laid_out_at_the_end_by_what_its_judge_sees(
    tiny_recipe, train_run, tiny_checkpoints, halves: Splits, tmp_path, monkeypatch
):
    judge = load(tiny_checkpoints / "judges" / "mnist-judge")
    monkeypatch.setattr(atlas, "SAMPLES", 30)
    run = train_run(tiny_recipe("mnist-gan-r4-z2"))
    folder = tmp_path / "gan"
    publish(replace(run, planned=3), *halves, folder, judge)
    assert load(folder).atlas() == {}  # on the way
    publish(run, *halves, folder, judge)
    laid_out = load(folder).atlas()
    assert laid_out["labels"].shape == (30,)
    assert laid_out["effect"].shape == (2,)
