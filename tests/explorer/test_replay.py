"""A training as stops: which there are, what is said of each, and all of them as a GIF."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from explorer import catalog, latent, replay
from explorer.replay import Stop
from training.checkpoint import load, shipped

STOPS = {
    "old-vae-z2": [(1, False), (2, False), (4, True)],
    "old-vae-z5": [(1, False), (3, False), (4, True)],  # epoch 4 is kept too: the same weights
    "best-gan": [(1, True), (2, False), (4, False)],  # the best was the first
    "one-gan": [(4, True)],
    "tiny-cgan": [(1, True)],
}


@pytest.mark.parametrize("name", STOPS)
def test_every_time_of_a_training_is_a_stop_once(replays: Path, name: str) -> None:
    opened = load(replays / name)
    stops = replay.stops(opened.card, opened.history())
    assert [(stop.epoch, stop.shipped) for stop in stops] == STOPS[name]
    for stop in stops:
        z, y = torch.ones(1, opened.card.latent_dim), None
        if opened.card.num_classes:
            y = torch.tensor([3])
        wanted = load(replays / name, epoch=stop.kept).decode(z, y)
        assert torch.equal(catalog.open_key(replays, stop.key(name)).decode(z, y), wanted)


def test_shipped_models_have_stops_in_order() -> None:
    found = catalog.scan(shipped())
    replayed = [name for name, card in found.trained.items() if catalog.earlier(card)]
    assert "mnist-gan-r2-collapse" in replayed
    for name in replayed:
        opened = load(shipped() / name)
        stops = replay.stops(opened.card, opened.history())
        epochs = [stop.epoch for stop in stops]
        assert epochs == sorted(set(epochs))
        assert sum(stop.shipped for stop in stops) == 1


def test_a_stop_is_found_by_its_epoch() -> None:
    stops = [Stop(1, False), Stop(3, True), Stop(7, False)]
    assert [replay.find(stops, epoch) for epoch in (1, 3, 7, 0, 2, 99)] == [0, 1, 2, 1, None, None]


def test_a_stop_says_which_epoch_it_is_and_whether_it_is_the_one_shipped() -> None:
    one, other = Stop(3, False), Stop(12, True)
    assert (one.label, one.words, one.key("m"), one.kept) == ("3", "After epoch 3", "m@3", 3)
    assert other.label.split() == ["12", "shipped"]
    assert other.words == "After epoch 12, as shipped"
    assert (other.key("m"), other.kept) == ("m", None)


def test_what_was_measured_is_told_of_that_epoch() -> None:
    history = {
        "train": {"total": [9.0, 8.0]},
        "test": {"total": [7.0, 6.0], "diversity": [0.5, 0.25], "largest_class": [0.125]},
    }
    told = replay.measured(history, 2)
    assert told == "Measured after epoch 2 on the test set: Total 6, Diversity 0.25."
    assert "Largest class 12%" in replay.measured(history, 1)
    assert "training set: Total 8." in replay.measured({**history, "test": {}}, 2)
    assert [replay.measured(history, epoch) for epoch in (0, 3)] == ["", ""]


def test_the_noise_is_the_same_everywhere_and_every_class_has_its_turn(replays: Path) -> None:
    card = load(replays / "old-cgan").card
    z, weights = replay.noise(card)
    assert z.shape == (16, 6)
    np.testing.assert_array_equal(z.ravel(), latent.sample_z(0, 96))
    assert weights is not None
    assert weights.argmax(1).tolist() == [*range(10), *range(6)]
    assert replay.noise(load(replays / "old-gan").card)[1] is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_shows_every_epoch_once_with_its_name(channels: int) -> None:
    levels = (40, 80, 80, 200)
    samples = [np.full((16, 28, 28, channels), level, np.uint8) for level in levels]
    stops = [Stop(1, False), Stop(2, False), Stop(4, False), Stop(8, True)]
    sheets = [replay.sheet(one) for one in samples]
    file = Image.open(io.BytesIO(replay.gif(sheets, stops)))
    frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(file)]
    assert len(frames) == len(stops)  # the two that are alike too: their names differ
    assert (file.info["loop"], file.info["duration"]) == (0, replay.FRAME_MS)
    title = frames[0].shape[0] - sheets[0].shape[0]
    for frame, sheet in zip(frames, sheets, strict=True):
        assert np.abs(frame[title:].astype(int) - sheet[..., 0]).max() <= 2
        assert frame[:title].max() > 200
    assert len({frame[:title].tobytes() for frame in frames}) == len(stops)
