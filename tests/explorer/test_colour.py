"""CIFAR-10 and Imagenette on every page: originals where the data are, an honest word elsewhere."""

from __future__ import annotations

import base64
import functools
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from streamlit.testing.v1 import AppTest

from explorer import catalog, gallery, resources
from explorer.gallery import open_gallery
from explorer.pages import morph
from tests.explorer.conftest import (
    Open,
    checked,
    conv_vae,
    make_checkpoint,
    settle,
    told,
    words,
    write_pictures,
)
from training import atlas, data, pictures
from training.checkpoint import load as open_checkpoint
from training.data import CIFAR10_CLASSES, IMAGENETTE_CLASSES, DataError, load_images
from training.specs import ConvDown, ConvUp, Down, GANSpec, ImageShape, Up

SHAPES: dict[str, ImageShape] = {"cifar10": (3, 32, 32), "imagenette": (3, 160, 160)}
CLASSES = {"cifar10": CIFAR10_CLASSES, "imagenette": tuple(IMAGENETTE_CLASSES.values())}
DATASETS = list(SHAPES)
PAGES = ["map", "sliders", "morph", "digits"]
KINDS = ["vae", "gan", "cgan"]


def gan(shape: ImageShape, num_classes: int) -> GANSpec:
    up = ConvUp(
        (Up(4, 4), Up(4, 4), Up(3, 7, stride=1, op="conv")),
        grid=(4, shape[1] // 4, shape[2] // 4),
        activation="leaky",
    )
    down = ConvDown((Down(4, 3, 2),), end="max")
    return GANSpec(4, up, down, num_classes=num_classes, image_shape=shape, init="glorot")


def make_vae(folder: Path, dataset: str, root: Path | None = None) -> Path:
    """A VAE of five latents; with the atlas of its test set where that is in ``root``."""
    make = functools.partial(
        make_checkpoint,
        folder,
        conv_vae(5, (4, 8), 8, SHAPES[dataset]),
        classes=CLASSES[dataset],
        recipe_changes={"dataset": dataset},
    )
    make()
    if root:
        test = data.load(root, dataset, "test", SHAPES[dataset])
        codes = atlas.build(open_checkpoint(folder), test, umap=False)
        make(atlas={**codes, "umap": torch.randn(len(test), 2).half()})
    return folder


@pytest.fixture(scope="module")
def colour_zoo(tmp_path_factory: pytest.TempPathFactory, colour_root: Path) -> Path:
    """A VAE, a GAN and a conditional GAN of each data set, the GAN without an atlas; read-only."""
    zoo = tmp_path_factory.mktemp("colour-zoo")
    for dataset, shape in SHAPES.items():
        make_vae(zoo / f"{dataset}-vae", dataset, colour_root)
        told_of = {"classes": CLASSES[dataset], "recipe_changes": {"dataset": dataset}}
        make_checkpoint(zoo / f"{dataset}-gan", gan(shape, 0), **told_of)
        plane = torch.randn(40, 2).half()
        samples = {
            "labels": torch.arange(40).remainder(10).byte(),
            "pca": plane,
            "umap": -plane,
            "pca_share": torch.tensor([0.5, 0.25]),
            "effect": torch.ones(4),
        }
        make_checkpoint(zoo / f"{dataset}-cgan", gan(shape, 10), atlas=samples, **told_of)
    return zoo


@pytest.fixture
def own_root(colour_root: Path, tmp_path: Path) -> Path:
    """A copy of the data folder, to be damaged."""
    return Path(shutil.copytree(colour_root, tmp_path / "own-data"))


@pytest.fixture
def open_page(open_app: Open, colour_zoo: Path, colour_root: Path) -> Open:
    """``open_page(page, **link)``: a new session at that address."""
    return functools.partial(open_app, checkpoints=colour_zoo, data=colour_root)


def test_set(root: Path, dataset: str) -> data.ImageData:
    return data.load(root, dataset, "test", SHAPES[dataset])


test_set.__test__ = False  # type: ignore[attr-defined]


def alternatives(app: AppTest) -> list[str]:
    return [one.proto.imgs[0].alt for one in app.image]


def bytes_of(text: str, shape: ImageShape) -> NDArray[np.uint8]:
    """Pixels (C, H, W) as a component's script reads them."""
    channels, height, width = shape
    flat = np.frombuffer(base64.b64decode(text), np.uint8)
    return flat.reshape(height, width, channels).transpose(2, 0, 1)


# --- Real images -------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATASETS)
def test_pictures_read_one_by_one_are_those_of_training_in_their_order(
    colour_root: Path, dataset: str
) -> None:
    images = open_gallery(colour_root, dataset, SHAPES[dataset])
    whole = test_set(colour_root, dataset)
    assert (images.source, images.problem, len(images)) == ("test", "", 30)
    assert images.data.classes == whole.classes
    assert torch.equal(images.data.labels, whole.labels)
    for i in (0, 7, 29):
        np.testing.assert_array_equal(images.pixels(i), whole.images[i].permute(1, 2, 0))
    assert torch.equal(torch.cat(list(images.in_parts(7))), whole.images)
    assert images.of_class(4).tolist() == [12, 13, 14]


def test_imagenette_is_as_small_as_the_model_wants_it(colour_root: Path) -> None:
    images = open_gallery(colour_root, "imagenette", (3, 64, 64))
    whole = data.load(colour_root, "imagenette", "test", (3, 64, 64))
    np.testing.assert_array_equal(images.pixels(5), whole.images[5].permute(1, 2, 0))


@pytest.mark.parametrize("dataset", [*DATASETS, "photos"])
def test_where_there_are_no_images_the_reason_is_given(empty_root: Path, dataset: str) -> None:
    with pytest.raises(DataError) as raised:
        open_gallery(empty_root, dataset, (3, 32, 32))
    command = f"`latent-train download {dataset} --data {empty_root}`"
    assert (command if dataset != "photos" else "start the app with `--images`") in str(
        raised.value
    )


def test_ones_own_pictures_in_colour_are_shown(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_pictures(tmp_path / split, ["bar", "cross"], 2, 50)
    images = open_gallery(tmp_path, "photos", (3, 24, 24))
    assert (images.source, images.data.classes) == ("folder", ("bar", "cross"))
    assert images.pixels(3).shape == (24, 24, 3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures of two classes as somebody keeps them, not split into training and test sets."""
    folder = tmp_path / "Holiday Photos"
    write_pictures(folder, ["bar", "cross"], 30, 50)
    return folder


def test_the_pictures_that_training_held_out_are_shown(photos: Path, tmp_path: Path) -> None:
    shown = open_gallery(tmp_path, "Holiday Photos", (3, 24, 24), photos)
    _, held_out = load_images(photos, (3, 24, 24))
    assert (shown.source, len(shown), shown.data.classes) == ("folder", 6, ("bar", "cross"))
    torch.testing.assert_close(shown.images(range(6)), held_out.images)
    assert shown.data.labels.tolist() == held_out.labels.tolist()


@pytest.mark.parametrize("change", ["bar/0.png", "bar", ""])
def test_a_change_of_ones_own_pictures_is_noticed(
    photos: Path, tmp_path: Path, change: str
) -> None:
    def stamp() -> catalog.Stamp:
        return catalog.stamp(*gallery.places(tmp_path, "Holiday Photos", photos))

    before = stamp()
    (photos / change).rename(photos / "gone" if change else tmp_path / "gone")
    assert stamp() != before


def test_a_model_of_ones_own_pictures_meets_them(
    open_app: Open, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    shapes: dict[str, ImageShape] = {"colour": (3, 24, 24), "grey": (1, 28, 28)}
    for name, shape in shapes.items():
        make_checkpoint(
            models / name,
            conv_vae(5, (4, 8), 8, shape),
            classes=("bar", "cross"),
            recipe_changes={"dataset": "Holiday Photos"},
        )
    where = {"checkpoints": models, "data": tmp_path}
    app = open_app("morph", model="colour", **where)
    assert "start the app with `--images`" in app.expander[0].markdown[0].value
    monkeypatch.setenv("LATENT_IMAGES", str(photos))
    for name, shape in shapes.items():
        app = open_app("morph", model=name, a="folder-1", b="folder-4", **where)
        assert not app.warning
        _, held_out = load_images(photos, shape)
        originals = told(app, f"strip_{name}")["originals"]
        for text, i in zip(originals, (1, 4), strict=True):
            np.testing.assert_array_equal(bytes_of(text, shape), held_out.images[i])
        assert "--images" not in "".join(one.value for one in app.markdown)


@pytest.mark.parametrize("dataset", DATASETS)
def test_other_pictures_are_noticed(own_root: Path, dataset: str) -> None:
    def stamp() -> catalog.Stamp:
        return catalog.stamp(*gallery.places(own_root, dataset))

    before = stamp()
    assert stamp() == before
    [tree] = gallery.TREES[dataset]
    folder = sorted((own_root / tree).iterdir())[3]
    (folder / "0.png").unlink()
    assert stamp() != before


# --- Pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["with", "without"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_page_opens_with_every_model(
    open_page: Open, empty_root: Path, dataset: str, there: str
) -> None:
    here = {} if there == "with" else {"data": empty_root}
    for kind in KINDS:
        for page in PAGES:
            app = open_page(page, model=f"{dataset}-{kind}", **here)
            assert len(app.title) == 1
            assert not app.warning, (kind, page)
            assert not app.error, (kind, page)
            said = [one.value for one in (*app.caption, *app.markdown)]
            assert not any("digit" in one for one in said if "Digits" not in one), (kind, page)
    assert len(open_page("models", **here).button) > 12
    assert not open_page("reports", **here).error


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_is_selected_on_the_map_is_a_real_image(
    open_page: Open, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery._decoded.cache_clear()
    decoded: list[Path] = []
    read = pictures._read_picture
    monkeypatch.setattr(
        pictures, "_read_picture", lambda path, shape: decoded.append(path) or read(path, shape)
    )
    name = f"{dataset}-vae"
    app = open_page("map", model=name, selected="test-7")
    shown = told(app, f"latent_map_{name}")
    assert (shown["selected"], len(shown["outlines"]), len(shown["neighbours"])) == (7, 2, 8)
    assert any("original" in one for one in alternatives(app))
    assert any(f"a real {CLASSES[dataset][2]}" in one.value for one in app.markdown)
    assert len(set(decoded)) == 9, "the selected image and its neighbours, and no other"
    settle(app, f"latent_map_{name}", {"z": [0] * 5, "selected": 29})
    assert app.query_params["selected"] == "test-29"


@pytest.mark.parametrize("dataset", DATASETS)
def test_without_the_data_the_map_goes_by_the_atlas_and_says_what_to_fetch(
    open_page: Open, empty_root: Path, dataset: str
) -> None:
    name = f"{dataset}-vae"
    with_data = told(open_page("map", model=name), f"latent_map_{name}")["points"]
    app = open_page("map", model=name, selected="test-7", data=empty_root)
    shown = told(app, f"latent_map_{name}")
    assert shown["points"] == with_data
    assert (shown["selected"], shown["outlines"]) == (7, [])
    assert not any("original" in one for one in alternatives(app))
    assert "Showing no originals" in app.expander[0].label
    command = f"latent-train download {dataset} --data {empty_root}"
    assert any(command in one.value for one in app.markdown)
    assert not [one for one in app.button if one.key == "download"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_first_and_last_columns_of_a_strip_are_the_originals(
    open_page: Open, colour_root: Path, dataset: str
) -> None:
    name, whole = f"{dataset}-vae", test_set(colour_root, dataset)
    app = open_page("morph", model=name, a="test-4", b="test-22", frames="5")
    strip = told(app, f"strip_{name}")
    for text, i in zip(strip["originals"], (4, 22), strict=True):
        np.testing.assert_array_equal(bytes_of(text, SHAPES[dataset]), whole.images[i])
    mu = open_checkpoint(resources.models().root / name).encode(whole.images[[4, 22]] / 255)[0]
    path = np.frombuffer(base64.b64decode(strip["path"]), "<f4").reshape(-1, 5)
    np.testing.assert_allclose(path[[0, -1]], mu, atol=2e-3)  # float16 in the atlas
    assert len(strip["near"]) == 5


def test_a_saved_strip_has_the_originals_that_are_known() -> None:
    frames = np.stack([np.full((4, 4, 3), i, np.uint8) for i in (1, 2, 3)])
    first, last = (np.full((4, 4, 3), i, np.uint8) for i in (0, 4))
    for originals, columns in (
        ((first, last), [0, 1, 2, 3, 4]),
        ((None, last), [1, 2, 3, 4]),
        ((None, None), [1, 2, 3]),
    ):
        assert morph._beside(frames, originals)[:, 0, 0, 0].tolist() == columns


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_morph_begins_with_images_of_two_classes_and_offers_the_rest(
    open_page: Open, dataset: str
) -> None:
    app = open_page("morph", model=f"{dataset}-vae", selected="test-11")
    assert (app.session_state["a"], app.session_state["b"]) == ("test-0", "test-21")
    thumbnails = told(app, "thumbnails_a")
    assert thumbnails["ids"] == ["test-0", "test-1", "test-2"]
    assert thumbnails["shape"] == [3, *(2 * [min(SHAPES[dataset][1], 80)])]
    assert thumbnails["labels"][0].startswith(CLASSES[dataset][0])
    next(one for one in app.button if one.key == "from_map_a").click()
    checked(app.run())
    assert app.session_state["a"] == "test-11"


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("dataset", DATASETS)
def test_an_uploaded_picture_stays_in_colour(open_page: Open, dataset: str) -> None:
    name = f"{dataset}-vae"
    blocks = np.random.default_rng(0).integers(0, 256, (*SHAPES[dataset][1:], 3), np.uint8)
    app = open_page("morph", model=name)
    app.file_uploader(key="file_a").set_value(("mine.png", as_png(blocks), "image/png"))
    checked(app.run())
    assert app.session_state["a"].startswith("code-")
    strip = told(app, f"strip_{name}")
    assert np.array_equal(
        bytes_of(strip["originals"][0], SHAPES[dataset]), blocks.transpose(2, 0, 1)
    )
    app.file_uploader(key="file_a").set_value(("mine.png", b"no picture", "image/png"))
    checked(app.run())
    assert "not a PNG" in words(app)


def test_an_upload_for_one_model_is_no_original_of_another(open_page: Open) -> None:
    app = open_page("morph", model="cifar10-vae")
    picture = as_png(np.zeros((32, 32, 3), np.uint8))
    app.file_uploader(key="file_a").set_value(("mine.png", picture, "image/png"))
    checked(app.run())
    app.sidebar.selectbox(key="model").set_value("imagenette-vae")
    checked(app.run())
    assert told(app, "strip_imagenette-vae")["originals"][0] is None


def test_directions_lead_between_classes_of_words(open_page: Open) -> None:
    app = open_page("sliders", model="imagenette-vae", along="own", dirs="church to parachute!c4-9")
    [row] = told(app, "slider_bank_imagenette-vae")["rows"]
    codes, labels = resources.codes("imagenette-vae")
    expected = codes[labels == 9].mean(0) - codes[labels == 4].mean(0)
    np.testing.assert_allclose(row["vector"], expected, atol=1e-5)
    assert any(one.label == "Start from church" for one in app.button)


@pytest.mark.parametrize("dataset", DATASETS)
def test_without_an_atlas_the_images_are_encoded(
    open_app: Open, tmp_path: Path, colour_root: Path, empty_root: Path, dataset: str
) -> None:
    zoo = tmp_path / "bare"
    opened = open_checkpoint(make_vae(zoo / "vae", dataset))
    app = open_app("map", checkpoints=zoo, data=colour_root, model="vae", selected="test-3")
    assert told(app, "latent_map_vae")["selected"] == 3
    whole = test_set(colour_root, dataset)
    codes, labels = resources.codes("vae")
    np.testing.assert_allclose(codes, opened.encode(whole.images / 255)[0], atol=1e-5)
    assert labels.tolist() == whole.labels.tolist()
    app = open_app("map", checkpoints=zoo, data=empty_root, model="vae")
    assert "There is no map" in words(app)
    assert f"latent-train download {dataset}" in words(app)
    app = open_app("models", checkpoints=zoo, data=empty_root)
    assert "real images are not on this computer" in app.button(key="map vae").help


def test_the_atlas_gives_way_where_the_images_are_in_another_order(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_page("map", model="cifar10-vae")
    opened = resources.trained("cifar10-vae")
    assert resources._atlas_of_shown(opened)
    found = resources.real_images(opened.card)
    assert found
    turned = replace(found.data, labels=found.data.labels.flip(0))
    monkeypatch.setattr(resources, "real_images", lambda _: replace(found, data=turned))
    assert not resources._atlas_of_shown(opened)


def test_a_damaged_picture_becomes_a_sentence(open_page: Open, own_root: Path) -> None:
    path = own_root / "imagenette2-160" / "val" / "n01440764" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    app = open_page("map", data=own_root, model="imagenette-vae", selected="test-1")
    assert path.name in words(app)
    assert "replace or delete it" in words(app)


def test_half_a_data_set_is_none(open_page: Open, own_root: Path) -> None:
    shutil.rmtree(own_root / "cifar10" / "test" / "truck")
    app = open_page("map", data=own_root, model="cifar10-vae", selected="test-1")
    assert any("has 27 pictures, but 30 belong there" in one.value for one in app.markdown)
    assert told(app, "latent_map_cifar10-vae")["selected"] == 1


def test_large_images_come_in_smaller_numbers(open_page: Open) -> None:
    counts: dict[str, tuple[int, int]] = {}
    for dataset in DATASETS:
        name = f"{dataset}-vae"
        film = told(open_page("sliders", model=name), f"slider_bank_{name}")["frames"]
        counts[dataset] = (film, told(open_page("map", model=name), f"latent_map_{name}")["tiles"])
    assert counts == {"cifar10": (11, 20), "imagenette": (5, 8)}
