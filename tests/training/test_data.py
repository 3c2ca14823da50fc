import gzip
import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import MNIST

from training import data
from training.data import DataError, ImageData, batches, data_root, load, load_both


def numbered(n: int) -> ImageData:
    """Pictures that carry their own index in two pixels."""
    index = torch.arange(n)
    images = torch.stack([index // 256, index % 256], 1).to(torch.uint8).view(n, 1, 1, 2)
    return ImageData(images, index % 10, tuple("0123456789"))


def indices(x: torch.Tensor) -> list[int]:
    pixels = (x.flatten(1) * 255).round().long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


@pytest.mark.parametrize("seed", [None, 0])
def test_an_epoch_visits_every_image_once_with_its_label(seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    seen: list[int] = []
    for x, y in batches(numbered(320), 32, generator):
        assert x.shape == (32, 1, 1, 2)
        assert y.tolist() == [i % 10 for i in indices(x)]
        seen += indices(x)
    assert sorted(seen) == list(range(320))
    assert (seen == sorted(seen)) == (seed is None)


def test_the_order_is_seeded_and_differs_between_epochs():
    def epochs(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [
            [i for x, _ in batches(numbered(100), 10, generator) for i in indices(x)]
            for _ in range(2)
        ]

    assert epochs(0) == epochs(0)
    assert epochs(0) != epochs(1)
    first, second = epochs(0)
    assert first != second


def test_a_short_last_batch_is_dropped_in_training_and_kept_in_evaluation():
    generator = torch.Generator().manual_seed(0)
    training = [len(x) for x, _ in batches(numbered(100), 32, generator)]
    assert training == [32, 32, 32]
    assert [len(x) for x, _ in batches(numbered(100), 32)] == [32, 32, 32, 4]
    assert [len(x) for x, _ in batches(numbered(5), 32, generator)] == [5]


def test_pixels_become_floats_between_zero_and_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    ((x, _),) = batches(ImageData(images, torch.zeros(3).long(), ("a",)), 3)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_mnist(mnist):
    train, test = mnist
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.images.shape == (60_000, 1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.classes == test.classes == tuple("0123456789")
    assert torch.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert train.images.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_the_fingerprint_names_pixels_and_labels():
    one = numbered(20)
    assert one.fingerprint() == numbered(20).fingerprint()
    assert one.fingerprint() != numbered(21).fingerprint()
    other = ImageData(one.images, one.labels.flip(0), one.classes)
    assert one.fingerprint() != other.fingerprint()


def test_the_data_folder_is_the_argument_then_the_variable_then_data(monkeypatch):
    monkeypatch.delenv("LATENT_DATA", raising=False)
    assert data_root() == Path("data")
    monkeypatch.setenv("LATENT_DATA", "/elsewhere")
    assert data_root() == Path("/elsewhere")
    assert data_root(Path("here")) == Path("here")


def test_missing_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataError) as raised:
        load(tmp_path, "train")
    message = str(raised.value)
    assert f"latent-train download --data {tmp_path}" in message
    assert "t10k-labels-idx1-ubyte" in message


@pytest.fixture
def mnist_copy(mnist, tmp_path) -> Path:
    """A writable copy of MNIST's test files, with links to its training files."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (data_root() / "MNIST" / "raw").iterdir():
        if path.name.startswith("t10k"):
            shutil.copyfile(path, raw / path.name)
        else:
            (raw / path.name).symlink_to(path.resolve())
    return tmp_path


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda blob: b"",
        lambda blob: blob[:3],
        lambda blob: blob[:5000],
        lambda blob: blob + b"\0",
        lambda blob: b"\xff" * len(blob),
        lambda blob: blob[:4] + (99).to_bytes(4, "big") + blob[8:],
    ],
    ids=["empty", "no-header", "truncated", "longer", "garbage", "fewer"],
)
def test_damaged_mnist_is_named(mnist_copy, name, damage):
    path = mnist_copy / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="incomplete or damaged"):
        load(mnist_copy, "test")


def test_mnist_labels_out_of_range_are_refused(mnist_copy):
    path = mnist_copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    blob = bytearray(path.read_bytes())
    blob[-1] = 200
    path.write_bytes(blob)
    with pytest.raises(DataError, match="out of range"):
        load(mnist_copy, "test")


def test_mnist_does_not_fit_other_shapes(mnist):
    with pytest.raises(DataError, match="MNIST has images of shape"):
        load(data_root(), "train", (3, 32, 32))


def test_a_tree_of_pictures(tree):
    train, test = load_both(tree)
    assert (len(train), len(test)) == (24, 12)
    assert train.classes == ("bar", "cross", "dot")
    assert train.name == "shapes"
    assert torch.bincount(train.labels).tolist() == [8, 8, 8]
    picture = Image.open(tree / "train" / "cross" / "3.png")
    assert train.images[8 + 3, 0].flatten().tolist() == list(picture.tobytes())


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (40, 60)), ("RGBA", (28, 28)), ("P", (9, 9)), ("L", (300, 20))]
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 16)])
def test_pictures_of_any_kind_take_the_recipes_shape(tree, mode, size, shape):
    Image.new(mode, size, 255 if mode in "LP" else (255,) * len(mode)).save(
        tree / "train" / "bar" / "other.png"
    )
    train = load(tree, "train", shape)
    assert train.images.shape == (25, *shape)
    assert train.images.dtype == torch.uint8


def test_a_val_folder_serves_as_test(tree):
    (tree / "test").rename(tree / "val")
    assert len(load(tree, "test")) == 12


def test_files_that_are_no_pictures_are_passed_over(tree):
    (tree / "train" / "bar" / ".DS_Store").write_bytes(b"\0")
    (tree / "train" / "bar" / "notes.txt").write_text("hello")
    assert len(load(tree, "train")) == 24


@pytest.mark.parametrize(
    "damage",
    [lambda blob: b"", lambda blob: blob[: len(blob) // 2], lambda blob: b"no picture"],
    ids=["empty", "truncated", "text"],
)
def test_a_damaged_picture_is_named(tree, damage):
    path = tree / "train" / "dot" / "5.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as raised:
        load(tree, "train")
    assert str(path) in str(raised.value)


def test_a_tree_without_a_test_split_or_with_an_empty_class(tree):
    shutil.rmtree(tree / "test")
    with pytest.raises(DataError, match="no test or val folder"):
        load_both(tree)
    (tree / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        load(tree, "train")


def test_a_tree_without_classes(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="one folder of images per class"):
        load(tmp_path, "train")


def test_splits_with_different_classes_are_refused(tree):
    (tree / "test" / "dot").rename(tree / "test" / "square")
    with pytest.raises(DataError, match="dot, square"):
        load_both(tree)


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """One packed file on a mirror made of files, instead of MNIST's four on the network."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    packed = gzip.compress(b"digits")
    (folder / "digits.gz").write_bytes(packed)
    monkeypatch.setattr(MNIST, "mirrors", [f"{folder.as_uri()}/gone/", f"{folder.as_uri()}/"])
    md5 = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(MNIST, "resources", [("digits.gz", md5)])
    return folder


def test_download_unpacks_from_the_first_mirror_that_answers(mirror, tmp_path):
    calls: list[tuple[str, int, int]] = []
    data.download_mnist(tmp_path, lambda *progress: calls.append(progress))
    raw = tmp_path / "MNIST" / "raw"
    assert [path.name for path in raw.iterdir()] == ["digits"]
    assert (raw / "digits").read_bytes() == b"digits"
    size = (mirror / "digits.gz").stat().st_size
    assert calls[-1] == ("digits.gz", size, size)


def test_a_download_that_does_not_match_its_checksum_is_dropped(mirror, tmp_path):
    (mirror / "digits.gz").write_bytes(gzip.compress(b"others"))
    with pytest.raises(DataError, match="checksum") as raised:
        data.download_mnist(tmp_path, lambda *_: None)
    assert str(tmp_path / "MNIST" / "raw") in str(raised.value)
    assert list((tmp_path / "MNIST" / "raw").iterdir()) == []
