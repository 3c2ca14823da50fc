"""The reports' page on tiny checkpoints of every report, on the shipped ones, and on bad ones."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import figures, latent, resources
from explorer.catalog import system
from explorer.pages import report_pictures
from tests.explorer.conftest import CGAN, VAE_Z5, Open, checked, make_checkpoint, told, words
from training import results
from training.checkpoint import (
    History,
    Judged,
    Scores,
    add_scores,
    load,
    read_card,
    read_history,
    shipped,
)
from training.data import ImageData
from training.loop import Run
from training.publish import publish
from training.recipes import RECIPES, KeepBest, Recipe
from training.report import REPORTS, rows

TRAINED = {
    "mnist-dense-vae-h512-z2": ("mnist-conv-vae-z2", {}),
    "mnist-lstm-vae-z2": ("mnist-conv-vae-z2", {"keep_best": KeepBest("kl")}),
    "mnist-wgan-r2": ("mnist-wgan-r2", {"timeline": (1,)}),
    "mnist-conv-vae-z2": ("mnist-conv-vae-z2", {}),
    "mnist-cgan": ("mnist-cgan", {}),
    "mnist-gan-r4-z2": ("mnist-gan-r4-z2", {"timeline": (1, 2)}),
    "mnist-wgan-gp-z2": ("mnist-wgan-gp-z2", {}),
    "mnist-mlp-vae": ("mnist-conv-vae-z2", {"batch_history": True}),
    "mnist-mlp-gan": ("mnist-gan-r4-z2", {"batch_history": True, "timeline": (1, 2)}),
}
"""Systems by name, the tiny recipe that stands for each, and what it adds."""
FIRST = {
    "R1": "mnist-dense-vae-h512-z2",
    "R2": "mnist-lstm-vae-z2",
    "R3": "mnist-conv-vae-z2",
    "R4": "mnist-gan-r4-z2",
    "R5": "mnist-mlp-vae",
}
SECTIONS = {
    "mnist-dense-vae-h512-z2": ["Losses", "Samples", "The latent plane"],
    "mnist-wgan-r2": ["Losses", "Samples"],
    "mnist-conv-vae-z2": ["Losses", "Samples", "The latent plane", "Between two images"],
    "mnist-cgan": ["Losses", "Samples", "Between two images"],
    "mnist-gan-r4-z2": ["Losses", "Samples"],
    "mnist-mlp-gan": ["Losses", "Samples", "Between two images"],
}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
    halves: tuple[ImageData, ImageData],
    tiny_recipe: Callable[..., Recipe],
    train_run: Callable[..., Run],
) -> Path:
    """Tiny checkpoints of every report, and an unrelated one; read-only: copy to tamper."""
    root = tmp_path_factory.mktemp("trained")
    for name, (base, changes) in TRAINED.items():
        recipe = replace(tiny_recipe(base, **changes), name=name, report=RECIPES[name].report)
        run = train_run(recipe)
        publish(run, *halves, root / name)
    make_checkpoint(root / "somebody-elses", VAE_Z5)
    return root


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "copied")


@pytest.fixture
def open_page(open_app: Open, trained: Path, empty_root: Path) -> Open:
    """``open_page(checkpoints=..., data=..., **link)``: the page at that address."""
    return functools.partial(open_app, "reports", checkpoints=trained, data=empty_root)


def headings(app: AppTest) -> list[str]:
    return [one.value for one in app.subheader]


def charts(app: AppTest) -> dict[str, dict[str, Any]]:
    """What every figure's component has been told, by its title, which none shares."""
    every = [json.loads(one.proto.json) for one in app.get("bidi_component")]
    assert len({data["title"] for data in every}) == len(every)
    return {data["title"]: data for data in every}


def curves(chart: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    traces = json.loads(chart["figure"])["data"]
    return {trace["name"]: (trace["x"], trace["y"]) for trace in traces}


def captions(app: AppTest) -> list[str]:
    """What stands under every picture."""
    return [image.caption for one in app.image for image in one.proto.imgs]


def frame(app: AppTest, i: int = 0) -> Any:
    return app.dataframe[i].value


# --- every report ------------------------------------------------------------------------------


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_shows_every_system_and_the_first_that_is_trained(
    open_page: Open, report: str
) -> None:
    app = open_page(report=report)
    assert app.segmented_control(key="report").value == report
    assert app.session_state["row"] == FIRST[report]
    systems = rows({}, report)
    assert list(frame(app)["system"]) == [system(row.recipe) for row in systems]
    told_epochs = dict(zip((row.recipe.name for row in systems), frame(app)["epochs"], strict=True))
    for name, epochs in told_epochs.items():
        assert epochs == ("2 of 2" if name in TRAINED else "not trained yet")
    assert [one.value for one in app.header] == [system(RECIPES[FIRST[report]])]
    says = next(row.says for row in systems if row.recipe.name == FIRST[report])
    assert says.split()[0] in "\n".join(one.value for one in app.markdown)
    assert not app.error
    assert not app.warning
    assert dict(app.query_params) == {"row": FIRST[report]} | (
        {"report": report} if report != "R1" else {}
    )


@pytest.mark.parametrize("report", REPORTS)
def test_every_report_opens_on_the_shipped_checkpoints(open_page: Open, report: str) -> None:
    app = open_page(checkpoints=shipped(), report=report)
    systems = rows({}, report)
    assert list(frame(app)["system"]) == [system(row.recipe) for row in systems]
    assert not app.error
    here = [row for row in systems if (shipped() / row.recipe.name / "card.json").exists()]
    assert (len(charts(app)) >= 2) == bool(here)


def test_data_sets_are_called_by_their_names(open_page: Open) -> None:
    names = list(frame(open_page(report="R1"))["system"])
    assert names[0] == "Dense VAE, h=512, z=2, MNIST"
    assert "WGAN CIFAR-10 1, z=10" in names
    assert not any("mnist" in name or "cifar10" in name for name in names)


@pytest.mark.parametrize("report", REPORTS)
def test_without_any_model_every_system_tells_its_command(
    open_page: Open, report: str, tmp_path: Path
) -> None:
    app = open_page(checkpoints=tmp_path, report=report)
    assert set(frame(app)["epochs"]) == {"not trained yet"}
    first = rows({}, report)[0].recipe.name
    assert f"`latent-train fit {first}`" in words(app)
    assert [title.value for title in app.title] == ["What did the reports find?"]
    assert not captions(app)


def test_a_system_that_is_not_trained_tells_its_command(open_page: Open) -> None:
    app = open_page(report="R3", row="mnist-gan-r3")
    assert "`latent-train fit mnist-gan-r3`" in words(app)
    assert "sharp" in "\n".join(one.value for one in app.markdown)
    assert "Losses" not in headings(app)


def test_the_model_of_the_other_pages_is_not_asked_for(open_page: Open) -> None:
    app = open_page(report="R3")
    assert not app.sidebar.selectbox
    assert app.session_state["model"] == ""


def test_another_report_begins_at_its_own_first_trained_system(open_page: Open) -> None:
    app = open_page(report="R3", row="mnist-cgan")
    app.segmented_control(key="report").set_value("R5")
    checked(app.run())
    assert app.session_state["row"] == FIRST["R5"]
    assert not app.warning
    app.selectbox(key="row").set_value("mnist-mlp-gan")
    checked(app.run())
    assert dict(app.query_params) == {"report": "R5", "row": "mnist-mlp-gan"}


def test_a_link_to_a_system_of_another_report_says_so(open_page: Open) -> None:
    app = open_page(report="R3", row="mnist-mlp-gan")
    assert "mnist-mlp-gan" in words(app)
    assert app.session_state["row"] == FIRST["R3"]


# --- one system --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SECTIONS)
def test_a_system_has_its_sections(open_page: Open, name: str) -> None:
    app = open_page(report=RECIPES[name].report, row=name)
    shown = [
        one
        for one in headings(app)
        if one
        in {
            "Losses",
            "Samples",
            "The latent plane",
            "Originals over reconstructions",
            "Between two images",
        }
    ]
    assert shown == SECTIONS[name]
    family = load_family(name)
    assert ("no originals" in words(app)) == (family == "vae")  # 8x8 halves are no data set


def load_family(name: str) -> str:
    return RECIPES[TRAINED[name][0]].family


@pytest.mark.parametrize("name", TRAINED)
def test_the_curves_are_the_checkpoints_history(open_page: Open, trained: Path, name: str) -> None:
    app = open_page(report=RECIPES[name].report, row=name)
    assert losses(app) == by_curve(load(trained / name).history())


def losses(app: AppTest) -> dict[str, tuple[list[float], list[float]]]:
    """Every curve of the losses per epoch."""
    drawn = [chart for chart in charts(app).values() if "-losses-" in chart["file"]]
    return {title: points for chart in drawn for title, points in curves(chart).items()}


def by_curve(history: History) -> dict[str, tuple[list[float], list[float]]]:
    return {
        f"{figures.part(part).title}, {split}": ([1, 2], values)
        for split, parts in history.items()
        for part, values in parts.items()
    }


def test_the_epoch_that_was_kept_is_marked(open_page: Open, trained: Path) -> None:
    app = open_page(report="R2", row="mnist-lstm-vae-z2")
    [best] = re.findall(r"Weights of epoch (\d+)", read_card(trained / "mnist-lstm-vae-z2").notes)
    layout = json.loads(charts(app)["KL divergence"]["figure"])["layout"]
    assert [line["x0"] for line in layout["shapes"]] == [int(best)]
    assert any(f"The weights of epoch {best}" in one.value for one in app.caption)
    app = open_page(report="R3")
    assert "shapes" not in json.loads(charts(app)["KL divergence"]["figure"])["layout"]


def test_batches_are_drawn_where_they_were_kept(open_page: Open, trained: Path) -> None:
    app = open_page(report="R5", row="mnist-mlp-gan")
    batches = [one for one in charts(app).values() if "-batches-" in one["file"]]
    drawn = {name: points for one in batches for name, points in curves(one).items()}
    _, losses = load(trained / "mnist-mlp-gan").batch_losses()
    assert len(drawn) == 2 * len(losses)
    for part, values in losses.items():
        x, y = drawn[f"{figures.part(part).title}, each"]
        assert x == list(range(1, 13))
        np.testing.assert_allclose(y, values.numpy(), rtol=1e-6)
    assert any("Per batch, one in 1." in one.value for one in app.caption)
    app = open_page(report="R4", row="mnist-gan-r4-z2")
    assert not [one for one in charts(app).values() if "-batches-" in one["file"]]


class Drawn:
    """Everything that the page asks to be drawn and shows, as it does so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[int | None, np.ndarray, np.ndarray]] = []
        self.shown: dict[str, list[np.ndarray]] = {}
        draw, show_rows = resources.draw, report_pictures.show_rows

        def spy(name: str, z: latent.Array, weights: Any = None, epoch: int | None = None) -> Any:
            self.asked.append((epoch, z, draw(name, z, weights, epoch)))
            return self.asked[-1][-1]

        def show(key: str, rows: Any, captions: Any, whole: str = "") -> None:
            self.shown[key] = list(rows)
            show_rows(key, rows, captions, whole)

        monkeypatch.setattr(resources, "draw", spy)
        monkeypatch.setattr(report_pictures, "show_rows", show)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(monkeypatch)


def test_samples_come_from_the_same_noise_after_every_epoch(open_page: Open, drawn: Drawn) -> None:
    app = open_page(report="R4", row="mnist-gan-r4-z2")
    assert captions(app) == ["After epoch 1", "After epoch 2", "The weights that are shipped"]
    by_epoch = {epoch: pixels for epoch, _, pixels in drawn.asked}
    assert by_epoch.keys() == {1, 2, None}
    assert all(np.array_equal(z, drawn.asked[0][1]) for _, z, _ in drawn.asked)
    assert (by_epoch[1] != by_epoch[2]).any()
    np.testing.assert_array_equal(by_epoch[2], by_epoch[None])  # the last epoch's are shipped
    for row, epoch in zip(drawn.shown["mnist-gan-r4-z2-samples"], (1, 2, None), strict=True):
        np.testing.assert_array_equal(row, by_epoch[epoch])


def test_reconstructions_and_strips_are_of_real_digits(
    open_page: Open, tmp_path: Path, mnist_root: Path, drawn: Drawn
) -> None:
    make_checkpoint(tmp_path / "mnist-mlp-vae", VAE_Z5)
    app = open_page(checkpoints=tmp_path, data=mnist_root, report="R5")
    assert "Originals over reconstructions" in headings(app)
    opened = load(tmp_path / "mnist-mlp-vae")
    gallery = resources.real_images(opened.card)
    assert gallery
    originals, reconstructed = drawn.shown["mnist-mlp-vae-reconstructions"]
    real = gallery.images([int(gallery.of_class(label)[0]) for label in range(10)])
    np.testing.assert_array_equal(originals[..., 0], real[:, 0].numpy())
    mu = opened.encode(real.float() / 255)[0].numpy()
    expected = opened.decode(torch.from_numpy(mu))[:, 0] * 255
    np.testing.assert_allclose(reconstructed[..., 0], expected, atol=0.51)
    strips = drawn.shown["mnist-mlp-vae-strips"]
    paths = [(z, pixels) for _, z, pixels in drawn.asked if len(z) == 9]
    assert len(strips) == len(paths) == 5
    for i, (strip, (z, pixels)) in enumerate(zip(strips, paths, strict=True)):
        steps = np.linspace(0, 1, 9)[:, None]
        np.testing.assert_allclose(z, (1 - steps) * mu[i] + steps * mu[i + 5], atol=1e-6)
        assert np.abs(mu[i] - mu[i + 5]).max() > 1e-4
        np.testing.assert_array_equal(strip[0], originals[i])
        np.testing.assert_array_equal(strip[1:-1], pixels)
        np.testing.assert_array_equal(strip[-1], originals[i + 5])


def test_a_conditional_gans_strips_are_one_class_a_row(
    open_page: Open, tmp_path: Path, drawn: Drawn
) -> None:
    make_checkpoint(tmp_path / "mnist-cgan", CGAN)
    open_page(checkpoints=tmp_path, report="R3", row="mnist-cgan")
    opened = load(tmp_path / "mnist-cgan")
    z = latent.path("spherical", latent.sample_z(0, 6), latent.sample_z(1, 6), 9)
    strips = drawn.shown["mnist-cgan-strips"]
    assert len(strips) == 10
    for label, strip in enumerate(strips):
        expected = torch.full((9,), label)
        images = opened.decode(torch.from_numpy(z), expected)[:, 0] * 255
        np.testing.assert_allclose(strip[..., 0], images, atol=0.51)


def test_the_plane_is_the_atlas(open_page: Open, trained: Path) -> None:
    app = open_page(report="R2", row="mnist-lstm-vae-z2")
    [chart] = [one for one in charts(app).values() if one["title"].startswith("Codes of")]
    atlas = load(trained / "mnist-lstm-vae-z2").atlas()
    drawn = curves(chart)
    assert list(drawn) == ["left", "right"]
    for label, (x, y) in enumerate(drawn.values()):
        np.testing.assert_allclose(
            np.stack([x, y], 1), atlas["mu"][atlas["labels"] == label].numpy(), rtol=1e-6
        )
    assert any("99 % of the codes in each" in caption for caption in captions(app))


# --- scores ------------------------------------------------------------------------------------


def score(folder: Path, **values: float) -> None:
    scores = Scores(
        samples=500,
        seed=0,
        values=values,
        real={"inception_score": 9.75, "inception_score_std": 0.02},
        judge=Judged(name="mnist-judge", sha256="0" * 64, accuracy=0.9921),
        data_sha256="0" * 64,
        device="a test",
        seconds=1,
    )
    add_scores(folder, scores, read_card(folder).weights_sha256)


def test_an_unscored_system_tells_its_command(open_page: Open, trained: Path) -> None:
    app = open_page(report="R3", row="mnist-cgan")
    assert f"`latent-train evaluate {trained / 'mnist-cgan'}`" in words(app)
    app = open_page(checkpoints=shipped(), report="R3", row="mnist-cgan")
    if read_card(shipped() / "mnist-cgan").scores is None:
        assert "`latent-train evaluate checkpoints/mnist-cgan`" in words(app)


def test_scores_stand_beside_real_images_with_their_judge(open_page: Open, copied: Path) -> None:
    score(copied / "mnist-cgan", inception_score=9.5, inception_score_std=0.25)
    app = open_page(checkpoints=copied, report="R3", row="mnist-cgan")
    assert "latent-train evaluate" not in words(app)
    table = app.dataframe[-1].value
    assert list(table["this model"]) == ["9.5 ± 0.25"]
    assert list(table["real test images"]) == ["9.75 ± 0.02"]
    [told_judge] = [one.value for one in app.caption if "99.2%" in one.value]
    assert "mnist-judge" in told_judge.replace("\\", "")
    compared = frame(app, 1)
    assert list(compared["system"]) == ["real test images", "VAE", "CGAN"]
    assert list(compared["Inception Score (judge)"]) == ["9.75 ± 0.02", "", "9.5 ± 0.25"]


def test_r2s_inception_scores_stand_beside_ours(open_page: Open, copied: Path) -> None:
    score(copied / "mnist-wgan-r2", inception_score=5.5, inception_score_std=0.5)
    app = open_page(checkpoints=copied, report="R2")
    data = json.loads(charts(app)["Inception Score"]["figure"])["data"]
    bars = {trace["name"]: dict(zip(trace["x"], trace["y"], strict=True)) for trace in data}
    assert list(bars["report"].values()) == [9.50, 1.72, 7.52]
    assert bars["here"] == {"real test images": 9.75, "GAN, Wasserstein": 5.5}
    table = frame(app, 1).set_index("of")
    assert table.loc["GAN", "report"] == "7.52 ± 0.58"
    assert table.loc["GAN, Wasserstein", "here"] == "5.50 ± 0.50"


def test_r1s_sweep_is_the_final_test_loss(open_page: Open, trained: Path) -> None:
    app = open_page(report="R1")
    total = read_card(trained / "mnist-dense-vae-h512-z2").metrics["test/total"]
    assert curves(charts(app)["MNIST: latent size at h=512"]) == {"Test loss": ([2], [total])}
    assert curves(charts(app)["MNIST: width at z=2"]) == {"Test loss": ([512], [total])}


# --- results without weights -------------------------------------------------------------------


@pytest.fixture
def without_weights(copied: Path) -> Path:
    """The checkpoints, the CGAN of which has left its results only."""
    score(copied / "mnist-cgan", inception_score=9.5, inception_score_std=0.25)
    results.keep(copied / "mnist-cgan", copied)
    shutil.rmtree(copied / "mnist-cgan")
    return copied


def test_results_are_shown_without_weights(open_page: Open, without_weights: Path) -> None:
    app = open_page(checkpoints=without_weights, report="R3", row="mnist-cgan")
    assert list(frame(app)["epochs"]) == ["2 of 2", "not trained yet", "2 of 2, results only"]
    assert headings(app)[-3:] == ["Scores", "Losses", "Samples"]
    assert captions(app) == ["Drawn at the end of its training"]
    [told_so] = [one.value for one in app.info]
    assert "latent-train fit mnist-cgan" in told_so
    assert list(frame(app, 1)["system"]) == ["real test images", "VAE", "CGAN"]
    folder = without_weights / "results" / "mnist-cgan"
    assert losses(app) == by_curve(read_history(folder, read_card(folder)))
    assert not app.error


def test_a_report_opens_on_a_model_with_weights(open_page: Open, without_weights: Path) -> None:
    shutil.copytree(
        without_weights / "results" / "mnist-cgan",
        without_weights / "results" / "mnist-conv-vae-z2",
    )
    assert open_page(checkpoints=without_weights, report="R3").session_state["row"] == (
        "mnist-conv-vae-z2"
    )
    shutil.rmtree(without_weights / "mnist-conv-vae-z2")
    assert open_page(checkpoints=without_weights, report="R3").session_state["row"] == "mnist-cgan"


def test_damaged_results_show_a_sentence(open_page: Open, without_weights: Path) -> None:
    (without_weights / "results" / "mnist-cgan" / "samples.png").write_bytes(b"")
    app = open_page(checkpoints=without_weights, report="R3", row="mnist-cgan")
    assert list(frame(app)["epochs"]) == ["2 of 2", "not trained yet", "failed verification"]
    [error] = app.error
    assert "samples.png is truncated" in error.value.replace("\\", "")


# --- failures ----------------------------------------------------------------------------------


def test_a_checkpoint_that_fails_verification_shows_a_sentence(
    open_page: Open, copied: Path
) -> None:
    weights = copied / "mnist-cgan" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    app = open_page(checkpoints=copied, report="R3", row="mnist-cgan")
    assert list(frame(app)["epochs"]) == ["2 of 2", "not trained yet", "failed verification"]
    [error] = app.error
    assert "truncated" in error.value
    assert "latent-train fit" not in words(app)
    app.selectbox(key="row").set_value("mnist-conv-vae-z2")
    checked(app.run())
    assert "Losses" in headings(app)
    assert not app.error


@pytest.mark.parametrize("file", ["history.json", "timeline/epoch-0001.safetensors"])
def test_a_file_that_is_altered_while_the_app_runs_shows_a_sentence(
    open_page: Open, copied: Path, file: str
) -> None:
    app = open_page(checkpoints=copied, report="R4", row="mnist-gan-r4-z2")
    assert not app.error
    path = copied / "mnist-gan-r4-z2" / file
    blob = path.read_bytes()
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    resources._drawn.clear()
    checked(app.run())
    [error] = app.error
    assert Path(file).name in error.value.replace("\\", "")
    assert "altered" in error.value
    assert app.selectbox(key="row").value == "mnist-gan-r4-z2"


def test_a_card_speaks_in_plain_text(open_page: Open, copied: Path) -> None:
    card = read_card(copied / "mnist-cgan")
    hostile = card.model_copy(update={"notes": "<b>bold</b> [click](https://example.com)"})
    (copied / "mnist-cgan" / "card.json").write_text(hostile.model_dump_json())
    app = open_page(checkpoints=copied, report="R3", row="mnist-cgan")
    [note] = [one.value for one in app.caption if "bold" in one.value]
    assert "<b>" not in note
    assert "[click]" not in note


def test_the_component_is_told_words_and_a_file_name(open_page: Open) -> None:
    app = open_page(report="R3")
    data = told(app, "figure_mnist-conv-vae-z2-losses-1")
    assert data["file"] == "mnist-conv-vae-z2-losses-1"
    assert data["alt"].startswith("loss per image by epoch: Total, train: ")
