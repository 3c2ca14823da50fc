import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, Imagenette

from training import data
from training.data import (
    CIFAR10_CLASSES,
    CIFAR10_SHAPE,
    DATASETS,
    IMAGENETTE_CLASSES,
    MNIST_SHAPE,
    POINT_SHAPE,
    DataError,
    ImageData,
    ImageShape,
    Split,
    batches,
    data_root,
    load,
    load_both,
    load_images,
    points,
    require_classes,
    stacked,
)
from training.mixtures import MIXTURES, modes_covered

MIXED = ("ring8", "grid25")


def load_mnist(root: Path, split: Split, shape: ImageShape = MNIST_SHAPE) -> ImageData:
    return load(root, "mnist", split, shape)


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


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("start", [0, 1, 2, 3, 4])
def test_a_pass_can_be_taken_up_where_it_was_left(seed, start):
    def one_pass(start: int) -> tuple[list[list[int]], list[int]]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        one = [indices(x) for x, _ in batches(numbered(100), 32, generator, start)]
        return one, [] if generator is None else generator.get_state().tolist()

    whole, state = one_pass(0)
    rest, state_after = one_pass(start)
    assert rest == whole[start:]
    assert state_after == state  # so that the next pass has the same order, too


def test_pixels_become_floats_between_zero_and_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    ((x, _),) = batches(ImageData(images, torch.zeros(3).long(), ("a",)), 3)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_floats_stay_as_they_are():
    ring = points("ring8", 10, seed=0)
    ((x, y),) = batches(ring, 10)
    assert torch.equal(x, ring.images)
    assert torch.equal(y, ring.labels)


def test_images_come_in_channels_last():
    images = torch.zeros(4, 3, 5, 7, dtype=torch.uint8)
    ((x, _),) = batches(ImageData(images, torch.zeros(4).long(), ("a",)), 4)
    assert x.is_contiguous(memory_format=torch.channels_last)


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
    assert one.fingerprint == numbered(20).fingerprint
    assert one.fingerprint != numbered(21).fingerprint
    other = ImageData(one.images, one.labels.flip(0), one.classes)
    assert one.fingerprint != other.fingerprint


def test_the_data_folder_is_the_argument_then_the_variable_then_data(monkeypatch):
    monkeypatch.delenv("LATENT_DATA", raising=False)
    assert data_root() == Path("data")
    monkeypatch.setenv("LATENT_DATA", "/elsewhere")
    assert data_root() == Path("/elsewhere")
    assert data_root(Path("here")) == Path("here")


def test_missing_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataError) as raised:
        load_mnist(tmp_path, "train")
    message = str(raised.value)
    assert f"latent-train download mnist --data {tmp_path}" in message
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
        load_mnist(mnist_copy, "test")


def test_mnist_labels_out_of_range_are_refused(mnist_copy):
    path = mnist_copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    blob = bytearray(path.read_bytes())
    blob[-1] = 200
    path.write_bytes(blob)
    with pytest.raises(DataError, match="out of range"):
        load_mnist(mnist_copy, "test")


def test_mnist_does_not_fit_other_shapes(mnist):
    with pytest.raises(DataError, match="MNIST has images of shape"):
        load_mnist(data_root(), "train", (3, 32, 32))


def test_a_tree_of_pictures(tree):
    train, test = load_both(tree, "mnist", MNIST_SHAPE)
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
    train = load_mnist(tree, "train", shape)
    assert train.images.shape == (25, *shape)
    assert train.images.dtype == torch.uint8


def test_a_val_folder_serves_as_test(tree):
    (tree / "test").rename(tree / "val")
    assert len(load_mnist(tree, "test")) == 12


def test_files_that_are_no_pictures_are_passed_over(tree):
    (tree / "train" / "bar" / ".DS_Store").write_bytes(b"\0")
    (tree / "train" / "bar" / "notes.txt").write_text("hello")
    assert len(load_mnist(tree, "train")) == 24


@pytest.mark.parametrize(
    "damage",
    [lambda blob: b"", lambda blob: blob[: len(blob) // 2], lambda blob: b"no picture"],
    ids=["empty", "truncated", "text"],
)
def test_a_damaged_picture_is_named(tree, damage):
    path = tree / "train" / "dot" / "5.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as raised:
        load_mnist(tree, "train")
    assert str(path) in str(raised.value)


def test_a_tree_without_a_test_split_or_with_an_empty_class(tree):
    shutil.rmtree(tree / "test")
    with pytest.raises(DataError, match="no test or val folder"):
        load_both(tree, "mnist", MNIST_SHAPE)
    (tree / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        load_mnist(tree, "train")


def test_a_tree_without_classes(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="one folder of images per class"):
        load_mnist(tmp_path, "train")


def test_splits_with_different_classes_are_refused(tree):
    (tree / "test" / "dot").rename(tree / "test" / "square")
    with pytest.raises(DataError, match="dot, square"):
        load_both(tree, "mnist", MNIST_SHAPE)


def test_pictures_loose_among_classes_are_not_passed_over_in_silence(tree):
    shutil.copy(tree / "train" / "dot" / "5.png", tree / "train" / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png"):
        load_mnist(tree, "train")


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "imagenette", "shapes"])
def test_an_own_tree_is_taken_whatever_the_recipe_says(tree, dataset):
    train, test = load_both(tree, dataset, (3, 16, 16))
    assert (train.name, test.name) == ("shapes", "shapes")
    assert train.images.shape == (24, 3, 16, 16)


@pytest.mark.parametrize(
    ("dataset", "shape", "layouts"),
    [
        ("mnist", MNIST_SHAPE, ["MNIST/raw"]),
        ("cifar10", CIFAR10_SHAPE, ["cifar10/train", "cifar10/test", "cifar-10-batches-py"]),
        ("imagenette", (3, 160, 160), ["imagenette2-160/train", "imagenette2-160/val"]),
    ],
)
def test_an_absent_data_set_says_what_to_do(tmp_path, dataset, shape, layouts):
    with pytest.raises(DataError) as raised:
        load_both(tmp_path, dataset, shape)
    message = str(raised.value)
    assert f"latent-train download {dataset} --data {tmp_path}" in message
    for layout in layouts:
        assert str(tmp_path / layout) in message


def test_an_unknown_data_set_lists_those_that_exist(tmp_path):
    with pytest.raises(DataError) as raised:
        load(tmp_path, "cifar100", "train", (3, 32, 32))
    assert all(name in str(raised.value) for name in DATASETS)


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", *MIXED])
def test_data_sets_of_one_shape_refuse_others(tmp_path, dataset):
    with pytest.raises(DataError, match="has images of shape"):
        load(tmp_path, dataset, "train", (3, 31, 31))


def write_tree(folder: Path, classes: list[str], count: int, size: int, ending: str) -> Path:
    """``count`` random RGB pictures per class, the first of them white, losslessly where it can."""
    rng = np.random.default_rng(len(folder.name))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            pixels = np.full_like(pixels, 255) if i == 0 else pixels
            Image.fromarray(pixels).save(folder / name / f"{i}.{ending}", lossless=True)
    return folder


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> Path:
    """A data folder with CIFAR-10's tree, of 2 training and 1 test picture per class."""
    for split, count in (("train", 2), ("test", 1)):
        write_tree(tmp_path / "cifar10" / split, list(CIFAR10_CLASSES), count, 32, "webp")
    monkeypatch.setitem(data.SIZES, "cifar10", {"train": 20, "test": 10})
    return tmp_path


def pickled(content: object) -> tuple[bytes, str]:
    """Bytes as in CIFAR-10's batches, and their MD5 sum."""
    blob = pickle.dumps(content)
    return blob, hashlib.md5(blob, usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar10_batches(cifar10, tmp_path, monkeypatch) -> Path:
    """A data folder with the pictures of ``cifar10`` in reverse, as torchvision's batches."""
    root = tmp_path / "with-batches"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    lists = {}
    for split in ("train", "test"):
        tree = load(cifar10, "cifar10", split, CIFAR10_SHAPE)
        rows = tree.images.flip(0).flatten(1).numpy()
        content = {"data": rows, "labels": tree.labels.flip(0).tolist()}
        blob, md5 = pickled(content)
        (folder / split).write_bytes(blob)
        lists[split] = [[split, md5]]
    blob, md5 = pickled({"label_names": list(CIFAR10_CLASSES)})
    (folder / "meta").write_bytes(blob)
    monkeypatch.setattr(CIFAR10, "train_list", lists["train"])
    monkeypatch.setattr(CIFAR10, "test_list", lists["test"])
    meta = {"filename": "meta", "key": "label_names", "md5": md5}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return root


def test_cifar10_is_the_same_from_either_layout(cifar10, cifar10_batches):
    for tree, packed in zip(
        load_both(cifar10, "cifar10", CIFAR10_SHAPE),
        load_both(cifar10_batches, "cifar10", CIFAR10_SHAPE),
        strict=True,
    ):
        assert tree.classes == packed.classes == CIFAR10_CLASSES == tuple(sorted(CIFAR10_CLASSES))
        assert tree.name == packed.name == "cifar10"
        assert packed.images.dtype == torch.uint8
        assert torch.equal(tree.images, packed.images.flip(0))
        assert torch.equal(tree.labels, packed.labels.flip(0))


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_no_batch_is_unpickled_unless_all_are_the_original_ones(
    cifar10_batches, tmp_path, name, split
):
    path = cifar10_batches / "cifar-10-batches-py" / name
    blob, _ = pickled(Bomb(tmp_path / "exploded"))
    path.write_bytes(blob)
    with pytest.raises(DataError) as raised:
        load(cifar10_batches, "cifar10", split, CIFAR10_SHAPE)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(blob)
    assert (tmp_path / "exploded").exists()  # else the assertion above says nothing


def test_a_missing_batch_is_named(cifar10_batches):
    path = cifar10_batches / "cifar-10-batches-py" / "test"
    path.unlink()
    with pytest.raises(DataError) as raised:
        load(cifar10_batches, "cifar10", "train", CIFAR10_SHAPE)
    assert str(path) in str(raised.value)


@pytest.fixture
def imagenette(tmp_path, monkeypatch) -> Path:
    """A data folder with Imagenette's tree, of 2 training and 1 test picture per class."""
    for split, count in (("train", 2), ("val", 1)):
        folder = tmp_path / "imagenette2-160" / split
        write_tree(folder, list(IMAGENETTE_CLASSES), count, 160, "JPEG")
    monkeypatch.setitem(data.SIZES, "imagenette", {"train": 20, "test": 10})
    return tmp_path


@pytest.mark.parametrize("size", [160, 64])
def test_imagenette_shows_names_in_the_order_of_its_folders(imagenette, size):
    train, test = load_both(imagenette, "imagenette", (3, size, size))
    assert train.images.shape == (20, 3, size, size)
    assert test.images.shape == (10, 3, size, size)
    assert (train.images[::2] == 255).all()
    assert train.labels.tolist() == [i // 2 for i in range(20)]
    assert train.classes == tuple(
        Imagenette._WNID_TO_CLASS[wnid][0] for wnid in sorted(Imagenette._WNID_TO_CLASS)
    )
    assert list(IMAGENETTE_CLASSES) == sorted(Imagenette._WNID_TO_CLASS)
    assert train.name == "imagenette"


@pytest.mark.parametrize("change", ["picture gone", "class gone", "split gone", "picture added"])
def test_half_an_unpacked_archive_says_how_much_is_there(cifar10, change):
    train = cifar10 / "cifar10" / "train"
    found = {"picture gone": 19, "class gone": 18, "split gone": 0, "picture added": 21}[change]
    match change:
        case "picture gone":
            (train / "truck" / "1.webp").unlink()
        case "class gone":
            shutil.rmtree(train / "truck")
        case "split gone":
            shutil.rmtree(train)
        case "picture added":
            shutil.copy(train / "truck" / "1.webp", train / "truck" / "2.webp")
    with pytest.raises(DataError) as raised:
        load(cifar10, "cifar10", "train", CIFAR10_SHAPE)
    message = str(raised.value)
    assert f"has {found} pictures, but 20 belong there" in message
    assert f"delete {cifar10 / 'cifar10'}" in message
    assert f"latent-train download cifar10 --data {cifar10}" in message


def test_a_damaged_picture_of_a_known_data_set_is_named(imagenette):
    path = imagenette / "imagenette2-160" / "val" / "n03028079" / "0.JPEG"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError) as raised:
        load(imagenette, "imagenette", "test", (3, 160, 160))
    assert str(path) in str(raised.value)


def test_progress_is_told_for_each_split(cifar10):
    told: list[tuple[int, int]] = []
    load_both(cifar10, "cifar10", CIFAR10_SHAPE, lambda done, total: told.append((done, total)))
    assert told == [(20, 20), (10, 10)]


def test_real_cifar10():
    root = data_root()
    if not any((root / name).is_dir() for name in ("cifar10", "cifar-10-batches-py")):
        pytest.skip(f"CIFAR-10 is not in {root}: run `latent-train download cifar10`")
    test = load(root, "cifar10", "test", CIFAR10_SHAPE)
    assert test.classes == CIFAR10_CLASSES
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    mean = test.images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(
        mean, torch.tensor([0.4942, 0.4851, 0.4504]).double(), atol=1e-4, rtol=0
    )


def test_real_imagenette():
    root = data_root()
    if not (root / "imagenette2-160").is_dir():
        pytest.skip(f"Imagenette is not in {root}: run `latent-train download imagenette`")
    test = load(root, "imagenette", "test", (3, 160, 160))
    assert torch.bincount(test.labels).tolist() == [
        387, 395, 357, 386, 409, 394, 389, 419, 399, 390,
    ]  # fmt: skip
    assert test.images.shape == (3925, 3, 160, 160)
    assert 0.42 < test.images.double().mean().item() / 255 < 0.48


@pytest.mark.parametrize("dataset", MIXED)
def test_mixtures_are_generated_and_never_read(tree, dataset):
    train, test = load_both(tree, dataset, POINT_SHAPE)
    assert (train.name, test.name) == (dataset, dataset)
    assert train.images.shape == (50_000, 1, 1, 2)
    assert test.images.shape == (10_000, 1, 1, 2)
    assert train.images.dtype == torch.float32
    assert 0 < train.images.min() < 0.1
    assert 0.9 < train.images.max() < 1
    assert train.fingerprint == points(dataset, 50_000, seed=0).fingerprint
    assert test.fingerprint == points(dataset, 10_000, seed=1).fingerprint
    assert train.classes == tuple(str(i) for i in range(len(MIXTURES[dataset].centres)))


@pytest.mark.parametrize("dataset", MIXED)
def test_the_label_of_a_point_is_its_mode(dataset):
    mixture = MIXTURES[dataset]
    data = points(dataset, 2000, seed=3)
    plane = mixture.to_plane(data.images.view(-1, 2))
    assert modes_covered(plane, mixture)[0] == len(mixture.centres)
    centres = torch.tensor(mixture.centres)
    assert (plane - centres[data.labels]).abs().max() < 6 * mixture.std


def write_pictures(folder: Path, count: int) -> Path:
    """Grey pictures, each of its own brightness."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("L", (9, 9), i).save(folder / f"{i:02}.png")
    return folder


def brightness(data: ImageData) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


def test_own_pictures_with_a_test_set_are_taken_as_they_are(tree):
    train, test = load_images(tree, MNIST_SHAPE)
    both = load_both(tree, "mnist", MNIST_SHAPE)
    for own, expected in zip((train, test), both, strict=True):
        assert own.fingerprint == expected.fingerprint
        assert (own.name, own.classes) == ("shapes", ("bar", "cross", "dot"))


@pytest.mark.parametrize("held", ["test", "val"])
def test_own_pictures_with_a_test_set_need_no_classes(tmp_path, held):
    write_pictures(tmp_path / "train", 20)
    write_pictures(tmp_path / held, 5)
    train, test = load_images(tmp_path, (1, 9, 9))
    assert (len(train), len(test)) == (20, 5)
    assert train.classes == test.classes == ("images",)


def test_without_a_test_set_a_tenth_of_each_class_is_held_out(tmp_path):
    for name, count in (("many", 40), ("some", 19), ("two", 2)):
        write_pictures(tmp_path / "own" / name, count)
    train, test = load_images(tmp_path / "own", (1, 9, 9))
    assert train.classes == test.classes == ("many", "some", "two")
    assert torch.bincount(train.labels).tolist() == [36, 18, 1]
    assert torch.bincount(test.labels).tolist() == [4, 1, 1]
    assert (train.name, test.name) == ("own", "own")
    many = brightness(train)[:36] + brightness(test)[:4]
    assert sorted(many) == list(range(40))
    assert brightness(test)[:4] not in ([0, 1, 2, 3], [36, 37, 38, 39])  # nor the first or last
    again = load_images(tmp_path / "own", (1, 9, 9))
    assert [part.fingerprint for part in again] == [train.fingerprint, test.fingerprint]


def test_a_flat_folder_is_one_class(tmp_path):
    train, test = load_images(write_pictures(tmp_path / "faces", 30), (3, 8, 8))
    assert train.classes == test.classes == ("images",)
    assert (len(train), len(test)) == (27, 3)
    assert (train.name, train.images.shape) == ("faces", (27, 3, 8, 8))
    with pytest.raises(DataError, match="one folder of pictures per class"):
        require_classes(train)
    require_classes(train, at_least=1)


def test_two_classes_are_enough_for_a_conditional_model():
    labels = torch.tensor([0, 1])
    require_classes(ImageData(torch.zeros(2, 1, 1, 1), labels, ("a", "b")))
    with pytest.raises(DataError, match="at least 3 classes, but there are 2 in birds"):
        require_classes(ImageData(torch.zeros(2, 1, 1, 1), labels, ("a", "b"), "birds"), 3)


def test_train_can_be_the_name_of_a_class(tmp_path):
    write_pictures(tmp_path / "plane", 10)
    write_pictures(tmp_path / "train", 10)
    train, _ = load_images(tmp_path, (1, 9, 9))
    assert train.classes == ("plane", "train")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "is not a folder"),
        ({"own": 0}, "has no pictures"),
        ({"own": 9}, "has 9 pictures: put at least 10"),
        ({"own/a": 5, "own/b": 4}, "has 9 pictures: put at least 10"),
        ({"own/a": 20, "own/b": 1}, "b has one picture"),
        ({"own/a": 20, "own/b": 0}, "b has no pictures"),
        ({"own/a": 20, "own/b/deeper": 20}, "b has no pictures"),
        ({"own": 20, "own/b": 20}, "has both pictures"),
        ({"own/train/a": 20, "own/train/b": 20}, "no test or val folder"),
        ({"own/train/a": 5, "own/test/a": 4}, "has 9 pictures"),
        ({"own/train/a": 20, "own/test/b": 4}, "a, b is only in one"),
    ],
)
def test_own_pictures_that_are_not_enough_say_what_to_do(tmp_path, layout, message):
    for name, count in sorted(layout.items(), reverse=True):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("L", (9, 9)).save(tmp_path / name / f"{i}.png")
    with pytest.raises(DataError, match=message) as raised:
        load_images(tmp_path / "own", (1, 9, 9))
    assert str(tmp_path / "own") in str(raised.value)


def test_hidden_files_and_folders_are_no_pictures(tmp_path):
    write_pictures(tmp_path / "own", 10)
    (tmp_path / "own" / "._00.png").write_bytes(b"\0")
    (tmp_path / "own" / ".thumbnails").mkdir()
    train, test = load_images(tmp_path / "own", (1, 9, 9))
    assert len(train) + len(test) == 10


# --- Stacked-MNIST


def test_stacked_digits_hold_one_digit_per_channel():
    digits = ImageData(
        torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 28, 28),
        torch.arange(10),
        tuple("0123456789"),
        "mnist",
    )
    data = stacked(digits, seed=3)
    assert data.images.shape == (10, 3, 28, 28)
    assert data.name == "stacked-mnist"
    assert len(data.classes) == 1000
    for image, label in zip(data.images, data.labels, strict=True):
        assert data.classes[int(label)] == "".join(str(int(c[0, 0])) for c in image)
    again = stacked(digits, seed=3)
    assert torch.equal(data.images, again.images)
    assert not torch.equal(data.images, stacked(digits, seed=4).images)


def test_stacked_mnist_is_made_of_mnist(mnist):
    train, test = load_both(data_root(), "stacked-mnist", (3, 28, 28))
    assert (len(train), len(test)) == (60_000, 10_000)
    assert len(train.labels.unique()) == 1000
    # Each channel shows the ten digits about evenly, whatever the others show.
    for channel in range(3):
        digits = train.labels // 10 ** (2 - channel) % 10
        shares = torch.bincount(digits, minlength=10) / len(train)
        assert (shares - torch.bincount(mnist[0].labels) / 60_000).abs().max() < 0.01
    with pytest.raises(DataError, match="Stacked-MNIST has images of shape"):
        load_both(data_root(), "stacked-mnist", (1, 28, 28))
