"""The replay's page with and without a timeline: what it tells its components, links and files."""

from __future__ import annotations

import base64
import functools
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from streamlit.testing.v1 import AppTest

from explorer import latent, pictures, replay, resources
from tests.explorer.conftest import Open, checked, settle, told, words
from training.checkpoint import load

FAMILIES = ["old-vae-z2", "old-vae-z5", "old-cgan", "old-gan", "best-gan"]
WITHOUT = ["tiny-vae-z2", "tiny-cgan", "one-gan"]


@pytest.fixture
def open_page(open_app: Open, replays: Path, mnist_root: Path) -> Open:
    """``open_page(**link)``: a new session on the replay's page."""
    return functools.partial(open_app, "replay", checkpoints=replays, data=mnist_root)


def stops_of(app: AppTest, name: str) -> list[str]:
    return [stop["model"] for stop in told(app, f"scrubber_{name}")["stops"]]


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_with_a_timeline_is_replayed(open_page: Open, model: str) -> None:
    app = open_page(model=model)
    assert [title.value for title in app.title] == ["How did it learn?"]
    assert not words(app)
    card = load(resources.models().root / model).card
    stops = stops_of(app, model)
    assert len(stops) == 3
    assert stops.count(model) == 1
    for picture in (f"replay_picture_{model}", f"samples_{model}"):
        assert told(app, picture)["models"] == stops
    slots = told(app, f"samples_{model}")["slots"]
    assert len(slots) == 16
    np.testing.assert_allclose(
        np.ravel([slot["z"] for slot in slots]), latent.sample_z(0, 16 * card.latent_dim)
    )
    assert [slot["weights"] is not None for slot in slots] == [card.num_classes > 0] * 16


@pytest.mark.parametrize("model", WITHOUT)
def test_without_a_timeline_the_page_says_why_and_offers_others(
    open_page: Open, model: str
) -> None:
    app = open_page(model=model)
    assert "keeps no earlier epochs" in words(app)
    assert "--timeline" in words(app)
    offered = {one.key.removeprefix("replay ") for one in app.button if one.key}
    assert offered == set(FAMILIES)
    checked(app.button(key="replay old-vae-z2").click().run())
    assert app.session_state["model"] == "old-vae-z2"
    assert stops_of(app, "old-vae-z2")


def test_where_no_model_has_a_timeline_nothing_is_offered(
    open_app: Open, zoo: Path, mnist_root: Path
) -> None:
    app = open_app("replay", checkpoints=zoo, data=mnist_root)
    assert "keeps no earlier epochs" in words(app)
    assert not app.button


@pytest.mark.parametrize("model", ["old-vae-z2", "old-vae-z5"])
def test_the_map_is_of_every_epochs_own_codes_in_one_plane(open_page: Open, model: str) -> None:
    app = open_page(model=model)
    data = told(app, f"replay_map_{model}")
    shown = [np.frombuffer(base64.b64decode(one), "<f4").reshape(-1, 2) for one in data["stops"]]
    real = resources.real_images(resources.models().cards[model])
    assert real
    images = real.images(range(7)).float() / 255
    origin, basis = np.array(data["origin"]), np.array(data["basis"])
    left, right, bottom, top = data["bounds"]
    for stop, points in zip(stops_of(app, model), shown, strict=True):
        name, _, epoch = stop.partition("@")
        opened = load(resources.models().root / name, epoch=int(epoch) if epoch else None)
        codes = opened.encode(images)[0].numpy()
        np.testing.assert_allclose(points[:7], (codes - origin) @ basis.T, atol=1e-4)
        assert points.shape == (10_000, 2)
        assert left <= points[:, 0].min() <= points[:, 0].max() <= right
        assert bottom <= points[:, 1].min() <= points[:, 1].max() <= top
    assert len({points.tobytes() for points in shown}) == len(shown)
    assert data["models"] == stops_of(app, model)
    assert not data["grid"]
    assert told(open_page(model=model, grid="1"), f"replay_map_{model}")["grid"]


def test_a_generator_has_no_map(open_page: Open) -> None:
    app = open_page(model="old-gan")
    with pytest.raises(KeyError):
        app.get_by_key("replay_map_old-gan")


def test_the_curves_are_told_where_the_stops_are(open_page: Open) -> None:
    app = open_page(model="old-vae-z5")
    data = told(app, "figure_old-vae-z5-epochs-1")
    assert data["marks"] == [1, 3, 4]
    assert data["model"] == "old-vae-z5"


def test_what_is_settled_on_is_linked_and_told(open_page: Open) -> None:
    app = open_page(model="old-vae-z2", seed="7")
    stops = told(app, "scrubber_old-vae-z2")["stops"]
    measured = "Measured after epoch {} on the test set: Total {}"
    for stop, (epoch, total) in zip(stops, ((1, 2), (2, 1), (4, 0.5)), strict=True):
        assert stop["note"].startswith(measured.format(epoch, total))
    assert "epoch" not in app.query_params
    z = told(app, "replay_picture_old-vae-z2")["z"]
    settle(app, "scrubber_old-vae-z2", 1, state="at")
    assert app.query_params["epoch"] == "2"
    after = told(app, "replay_picture_old-vae-z2")
    assert after["z"] == z
    settle(app, "scrubber_old-vae-z2", 2, state="at")
    assert "epoch" not in app.query_params


def captions(app: AppTest) -> str:
    return "\n".join(one.value for one in app.caption)


@pytest.mark.parametrize(("epoch", "at"), [("1", 0), ("2", 1), ("4", 2)])
def test_a_link_opens_on_its_epoch(open_page: Open, epoch: str, at: int) -> None:
    app = open_page(model="old-gan", epoch=epoch)
    assert told(app, "scrubber_old-gan")["at"] == at
    assert not words(app)


def test_an_epoch_that_was_not_kept_is_named_and_the_shipped_one_shown(open_page: Open) -> None:
    app = open_page(model="old-gan", epoch="3")
    assert "Epoch 3 of this model is not kept" in words(app)
    assert told(app, "scrubber_old-gan")["at"] == 2
    assert not words(checked(app.run()))
    assert "epoch" not in app.query_params


@pytest.mark.parametrize("at", [-5, 99])
def test_a_place_that_is_no_stop_becomes_one(open_page: Open, at: int) -> None:
    app = open_page(model="old-gan")
    settle(app, "scrubber_old-gan", at, state="at")
    assert app.session_state["epoch"] == (1 if at < 0 else 0)


def test_the_held_latent_is_moved_by_seed_and_class(open_page: Open) -> None:
    app = open_page(model="old-cgan", epoch="1")
    before = told(app, "replay_picture_old-cgan")
    app.selectbox(key="class").set_value(7)
    after = told(checked(app.run()), "replay_picture_old-cgan")
    assert (before["weights"].index(1), after["weights"].index(1)) == (0, 7)
    assert after["z"] == before["z"]
    assert after["token"] != before["token"]
    [button] = [one for one in app.button if one.label == "Randomise"]
    moved = told(checked(button.click().run()), "replay_picture_old-cgan")
    assert moved["z"] != before["z"]
    assert app.query_params["epoch"] == "1"


@pytest.mark.parametrize("model", ["old-vae-z2", "old-cgan"])
def test_the_samples_are_saved_as_they_were_at_every_epoch(
    open_page: Open, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    made: dict[str, tuple[Callable[[], bytes], str]] = {}
    monkeypatch.setattr(
        "streamlit.download_button",
        lambda label, make, file, *_, **__: made.update({label: (make, file)}),
    )
    open_page(model=model, epoch="2")
    root = resources.models().root
    z, weights = replay.noise(load(root / model).card)
    y = None if weights is None else torch.from_numpy(weights)
    sheets = []
    for epoch in (1, 2, None):
        images = load(root / model, epoch=epoch).decode(torch.from_numpy(z), y).numpy()
        sheets.append(replay.sheet(pictures.to_pixels(images))[..., 0])
    make, file = made["Save PNG"]
    assert file == f"{model}-epoch-2.png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(make()))), sheets[1])
    make, file = made["Save GIF"]
    assert file == f"{model}-replay.gif"
    frames = ImageSequence.Iterator(Image.open(io.BytesIO(make())))
    shown = [np.asarray(frame.convert("L"))[-len(sheets[0]) :] for frame in frames]
    np.testing.assert_array_equal(shown, sheets)


def test_a_file_that_changes_under_the_page_is_named(
    open_app: Open, replays: Path, mnist_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copied"
    shutil.copytree(replays, root)
    app = open_app("replay", checkpoints=root, data=mnist_root, model="old-gan")
    (root / "old-gan" / "history.json").write_text("{}")
    assert "history.json" in words(checked(app.run()))
