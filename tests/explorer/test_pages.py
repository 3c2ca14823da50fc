"""Every page with every kind of model, as a session of the app meets it."""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from streamlit.testing.v1 import AppTest

from explorer import latent, links, live, resources
from explorer.gallery import Gallery
from explorer.live import protocol
from explorer.pages import absent
from tests.explorer.conftest import (
    CGAN,
    VAE_Z2,
    VAE_Z5,
    Open,
    atlas_of_samples,
    checked,
    conv_vae,
    floats,
    make_checkpoint,
    settle,
    told,
    words,
)
from training import atlas
from training.checkpoint import load
from training.data import DataError

TITLES = {
    "map": "Where do the images live?",
    "sliders": "What does each dimension do?",
    "morph": "What lies between two images?",
    "draw": "How does a model read your digit?",
    "digits": "Draw me a 7",
    "compare": "How do models differ?",
}
MODELS = ["tiny-vae-z2", "tiny-vae-z5", "tiny-cgan"]


@pytest.fixture
def open_page(open_app: Open, zoo: Path, mnist_root: Path) -> Open:
    """``open_page(page, **link)``: a new session at that address."""
    return functools.partial(open_app, checkpoints=zoo, data=mnist_root)


def unpacked(text: str) -> NDArray[np.float32]:
    """Numbers as a component's script reads them."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def click(app: AppTest, label: str) -> AppTest:
    [button] = [one for one in app.button if one.label == label]
    return checked(button.click().run())


@pytest.mark.parametrize("page", TITLES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", ["with", "without"])
def test_every_page_opens_with_every_model(
    open_page: Open, empty_root: Path, page: str, model: str, data: str
) -> None:
    app = open_page(page, model=model, **({} if data == "with" else {"data": empty_root}))
    assert [title.value for title in app.title] == [TITLES[page]]
    assert app.session_state["model"] == model
    assert not app.warning
    assert not app.error


@pytest.mark.parametrize("page", TITLES)
def test_the_model_can_be_switched_on_every_page(open_page: Open, page: str) -> None:
    app = open_page(page)
    assert app.session_state["model"] == MODELS[0]
    for model in (*MODELS[1:], MODELS[0]):
        app.sidebar.selectbox(key="model").set_value(model)
        checked(app.run())
        assert app.session_state["model"] == model
        assert app.query_params["model"] == model
        assert [title.value for title in app.title] == [TITLES[page]]


def test_the_sidebar_tells_the_models_card(open_page: Open) -> None:
    app = open_page("sliders", model="tiny-cgan")
    assert "**Tiny conditional GAN** draws 28 x 28" in app.sidebar.markdown[0].value
    assert app.sidebar.selectbox[0].options[0] == "Tiny VAE, z=2"


@pytest.mark.parametrize(("page", "model"), [("sliders", "tiny-vae-z5"), ("digits", "tiny-cgan")])
def test_randomise_draws_a_seed_and_goes_to_its_latent(
    open_page: Open, page: str, model: str
) -> None:
    app = open_page(page, model=model)
    key = f"slider_bank_{model}" if page == "sliders" else f"style_{model}"
    before = told(app, key)
    np.testing.assert_allclose(before["z"], latent.sample_z(0, len(before["z"])))
    click(app, "Randomise" if page == "sliders" else "Another hand")
    seed, after = app.session_state["seed"], told(app, key)
    assert seed != 0
    assert app.query_params["seed"] == str(seed)
    np.testing.assert_allclose(after["z"], latent.sample_z(seed, len(after["z"])))
    assert after["token"] != before["token"]


def test_a_seed_can_be_typed(open_page: Open) -> None:
    app = open_page("sliders", z="1_1")
    assert told(app, "slider_bank_tiny-vae-z2")["z"] == [1, 1]
    app.number_input(key="seed").set_value(123)
    checked(app.run())
    np.testing.assert_allclose(
        told(app, "slider_bank_tiny-vae-z2")["z"], latent.sample_z(123, 2), rtol=1e-6
    )


def test_reset_goes_to_the_middle(open_page: Open) -> None:
    app = open_page("sliders", model="tiny-vae-z5", seed="7")
    before = told(app, "slider_bank_tiny-vae-z5")
    click(app, "Reset")
    assert app.session_state["z"] == [0] * 5
    after = told(app, "slider_bank_tiny-vae-z5")
    assert after["z"] == [0] * 5
    assert after["token"] != before["token"]
    assert app.query_params["z"] == "0_0_0_0_0"


def test_what_the_hand_settles_on_is_remembered_and_linked(open_page: Open) -> None:
    app = open_page("sliders", model="tiny-cgan")
    weights = np.eye(10)[7].tolist()
    z = [0.5, -1.25, 0, 1, 2, 3]
    before = told(app, "slider_bank_tiny-cgan")
    settle(app, "slider_bank_tiny-cgan", {"z": z, "weights": weights})
    assert app.session_state["z"] == z
    assert app.session_state["class"] == 7
    assert app.query_params["z"] == "0.5_-1.25_0_1_2_3"
    assert app.query_params["class"] == "7"
    after = told(app, "slider_bank_tiny-cgan")
    assert (after["z"], after["weights"]) == (z, weights)
    assert after["token"] == before["token"]  # the page is not told to move


def test_a_style_keeps_the_class_of_other_pages(open_page: Open) -> None:
    app = open_page("digits", model="tiny-cgan")
    app.session_state["class"] = 4
    settle(app, "style_tiny-cgan", {"z": [1] * 6, "weights": np.eye(10)[7].tolist()})
    assert app.session_state["z"] == [1] * 6
    assert app.session_state["class"] == 4


def test_a_sliders_link_is_restored(open_page: Open) -> None:
    app = open_page("sliders", model="tiny-cgan", z="1_2_3_-1_-2_-3", seed="5", **{"class": "9"})
    shown = told(app, "slider_bank_tiny-cgan")
    assert shown["model"] == "tiny-cgan"
    assert shown["z"] == [1, 2, 3, -1, -2, -3]
    assert np.argmax(shown["weights"]) == 9
    assert app.number_input(key="seed").value == 5


def test_a_latent_of_another_length_gives_way_to_the_seed(open_page: Open) -> None:
    app = open_page("sliders", model="tiny-vae-z5", z="1_2", seed="5")
    np.testing.assert_allclose(
        told(app, "slider_bank_tiny-vae-z5")["z"], latent.sample_z(5, 5), rtol=1e-6
    )


def test_a_morphs_link_is_restored(open_page: Open) -> None:
    link = {"a": "test-12", "b": "test-4321", "frames": "5", "path": "spherical", "at": "0.250"}
    app = open_page("morph", model="tiny-vae-z5", **link)
    for key in ("a", "b", "path"):
        assert app.session_state[key] == link[key]
    assert app.slider(key="frames").value == 5
    strip = told(app, "strip_tiny-vae-z5")
    assert (strip["frames"], strip["at"]) == (5, 0.25)
    assert len(strip["near"]) == 5
    assert dict(app.query_params) == {"model": "tiny-vae-z5", **link}


def morphed(app: AppTest, name: str) -> NDArray[np.float32]:
    """The codes (n, d) along the path that the strip was told."""
    return unpacked(told(app, f"strip_{name}")["path"]).reshape(latent.FINE, -1)


def test_random_codes_are_walked_between_on_their_sphere_and_encoded_ones_straight(
    open_page: Open,
) -> None:
    app = open_page("morph", model="tiny-cgan", a="seed-1", b="seed-2")
    a, b = (latent.sample_z(seed, 6) for seed in (1, 2))
    codes = morphed(app, "tiny-cgan")
    np.testing.assert_allclose(codes, latent.path("spherical", a, b, latent.FINE), rtol=1e-5)
    assert "path" not in app.query_params

    checked(app.segmented_control(key="path_shown").set_value("linear").run())
    codes = morphed(app, "tiny-cgan")
    np.testing.assert_allclose(codes, latent.path("linear", a, b, latent.FINE), atol=1e-5)
    assert app.query_params["path"] == "linear"

    app = open_page("morph", model="tiny-vae-z5", a="test-1", b="test-2")
    codes = morphed(app, "tiny-vae-z5")
    np.testing.assert_allclose(
        codes, latent.path("linear", codes[0], codes[-1], latent.FINE), atol=1e-5
    )


def test_a_random_morphs_link_is_restored(open_page: Open) -> None:
    link = {"a": "seed-12", "b": "seed-34", "from": "1", "to": "2"}
    app = open_page("morph", model="tiny-cgan", **link)
    assert app.number_input(key="seed_a").value == 12
    assert app.number_input(key="seed_b").value == 34
    assert (app.session_state["from"], app.session_state["to"]) == (1, 2)
    assert not app.warning


def test_back_takes_the_seeds_of_a_random_morph_from_the_link(open_page: Open) -> None:
    link = {"model": "tiny-cgan", "a": "seed-12", "b": "seed-34"}
    app = open_page("morph", **link)
    checked(app.number_input(key="seed_a").set_value(5).run())
    assert app.session_state["a"] == app.query_params["a"] == "seed-5"
    app.session_state["published"] = replace(app.session_state["published"], at=0.0)
    app.query_params = dict(link)
    checked(app.run())
    assert app.number_input(key="seed_a").value == 12
    assert app.session_state["a"] == "seed-12"
    assert dict(app.query_params) == link


def test_a_morph_between_seeds_and_one_between_images_are_each_there_again(
    open_page: Open,
) -> None:
    app = open_page("morph", model="tiny-cgan", a="seed-77")
    app.session_state["model"] = "tiny-vae-z5"
    checked(app.run())
    assert not app.warning
    a, b = app.session_state["a"], app.session_state["b"]
    assert a.startswith("test-")
    assert b.startswith("test-")
    assert a != b, "not an image into itself"
    app.session_state["a"] = "test-12"
    checked(app.run())
    app.session_state["model"] = "tiny-cgan"
    checked(app.run())
    assert [app.number_input(key=f"seed_{side}").value for side in "ab"] == [77, 2]
    app.session_state["model"] = "tiny-vae-z5"
    checked(app.run())
    assert (app.session_state["a"], app.session_state["b"]) == ("test-12", b)


def test_a_map_link_is_restored(open_page: Open) -> None:
    app = open_page("map", selected="test-77", grid="1", z="0.5_-0.5")
    shown = told(app, "latent_map_tiny-vae-z2")
    assert (shown["selected"], shown["grid"], shown["z"]) == (77, True, [0.5, -0.5])
    assert len(shown["neighbours"]) == 8
    assert 77 not in shown["neighbours"]
    assert any("**Selected**: a real" in one.value for one in app.markdown)


def test_a_click_on_the_map_selects_a_digit(open_page: Open) -> None:
    app = open_page("map")
    assert told(app, "latent_map_tiny-vae-z2")["selected"] == -1
    assert "Click a mark" in words(app)
    settle(app, "latent_map_tiny-vae-z2", {"z": [0.125, -0.25], "selected": 4321})
    assert app.session_state["selected"] == "test-4321"
    assert app.query_params["selected"] == "test-4321"
    assert app.query_params["z"] == "0.125_-0.25"
    shown = told(app, "latent_map_tiny-vae-z2")
    assert shown["selected"] == 4321
    assert [len(outline) for outline in shown["outlines"]] == [48, 48]
    settle(app, "latent_map_tiny-vae-z2", {"z": [1, 1], "selected": None})  # by keys
    assert app.session_state["selected"] == "test-4321"


def test_more_latents_are_shown_by_their_principal_plane(open_page: Open) -> None:
    app = open_page("map", model="tiny-vae-z5", selected="test-77")
    shown = told(app, "latent_map_tiny-vae-z5")
    basis, origin = np.array(shown["basis"]), np.array(shown["origin"])
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-5)
    codes = resources.codes("tiny-vae-z5")[0]
    np.testing.assert_allclose(origin, codes.mean(0), atol=1e-3)
    points = unpacked(shown["points"]).reshape(-1, 2)
    np.testing.assert_allclose(points, (codes - origin) @ basis.T, atol=1e-4)
    assert shown["how"] == "plane"
    assert shown["codes"] is None
    assert all("of the variance" in axis for axis in shown["axes"])
    np.testing.assert_allclose(np.mean(shown["outlines"], 1), points[[77, 77]], atol=1e-4)
    assert "plane" not in app.session_state["link_problems"]


@pytest.fixture
def laid_out(open_page: Open, tmp_path: Path) -> Callable[..., AppTest]:
    """``laid_out(model, **link)``: the map of a VAE of five latents or a CGAN, with an atlas, or
    another ``page``."""
    n = 10_000
    plane = torch.randn(n, 2).half()
    codes = {
        "mu": torch.randn(n, 5).half(),
        "labels": torch.arange(n).div(500, rounding_mode="floor").remainder(10).byte(),
        "kl": torch.ones(5),
        "pca_mean": torch.zeros(5),
        "pca_components": torch.eye(5),
        "pca_variance": torch.ones(5),
        "umap": plane,
    }
    make_checkpoint(tmp_path / "vae", VAE_Z5, atlas=codes)
    make_checkpoint(tmp_path / "cgan", CGAN, atlas=atlas_of_samples(n))

    def open_one(model: str, page: str = "map", **link: str) -> AppTest:
        return open_page(page, checkpoints=tmp_path, model=model, **link)

    return open_one


def test_umap_decodes_a_mean_of_codes(laid_out: Callable[..., AppTest]) -> None:
    app = laid_out("vae", plane="umap", selected="test-3")
    shown = told(app, "latent_map_vae")
    assert shown["how"] == "mean"
    assert shown["outlines"] == []
    assert unpacked(shown["codes"]).shape == (50_000,)
    assert shown["axes"] == ["UMAP 1", "UMAP 2"]
    assert any("mean of the nearest codes" in one.value for one in app.caption)
    app.segmented_control(key="plane").set_value("pca")
    checked(app.run())
    assert told(app, "latent_map_vae")["how"] == "plane"
    assert "plane" not in app.query_params


def test_a_drawing_is_shown_among_the_points_of_umap(laid_out: Callable[..., AppTest]) -> None:
    app = laid_out("vae", page="draw", plane="umap")
    shown = told(app, "draw_map_vae")
    assert (shown["how"], shown["pointing"]) == ("mean", False)
    assert unpacked(shown["codes"]).shape == (50_000,)
    captions = " ".join(one.value for one in app.caption)
    assert "the mean of the places of the 8 real codes nearest to its own" in captions
    assert "ellipses" not in captions
    assert app.query_params["plane"] == "umap"
    app.segmented_control(key="plane").set_value("pca")
    checked(app.run())
    assert told(app, "draw_map_vae")["how"] == "plane"
    assert any("ellipses" in one.value for one in app.caption)


@pytest.mark.parametrize("page", ["map", "draw"])
def test_a_plane_that_is_not_known_yet_is_linked_and_offered(open_page: Open, page: str) -> None:
    app = open_page(page, model="tiny-vae-z5", plane="umap")
    assert "**Lay out anew** makes one" in words(app)
    assert app.query_params["plane"] == "umap"


@pytest.mark.parametrize("change", ["folder", "other data", "other order"])
def test_the_umap_of_one_set_of_images_is_never_that_of_another(
    laid_out: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    laid_out("vae", plane="umap")
    opened = resources.trained("vae")
    real = resources.real_images(opened.card)
    assert real
    assert resources._atlas_of_shown(opened).keys() == opened.atlas().keys()
    data = {
        "folder": real.data,
        "other data": replace(real.data, name="fashion"),
        "other order": replace(real.data, labels=real.data.labels.flip(0)),
    }[change]
    source = "folder" if change == "folder" else "test"
    monkeypatch.setattr(resources, "real_images", lambda _: Gallery(source, data))
    assert resources._atlas_of_shown(opened) == {}


def test_a_generator_is_shown_by_its_samples(laid_out: Callable[..., AppTest]) -> None:
    app = laid_out("cgan")
    shown = told(app, "latent_map_cgan")
    assert shown["how"] == "sample"
    d = CGAN.latent_dim
    np.testing.assert_array_equal(
        unpacked(shown["codes"]).reshape(-1, d), atlas.sample_codes(10_000, d).numpy()
    )
    assert shown["axes"][0] == "What the judge sees, component 1: 50% of the variance"
    z = unpacked(shown["codes"])[:d].tolist()
    weights = np.eye(CGAN.num_classes)[4].tolist()
    settle(app, "latent_map_cgan", {"z": z, "weights": weights, "selected": 14})
    assert app.session_state["selected"] == "drawn-14"
    assert app.session_state["class"] == 4
    assert any("asked for 4; the judge reads 4" in one.value for one in app.markdown)
    app = laid_out("cgan", selected="drawn-14", plane="umap")
    assert told(app, "latent_map_cgan")["selected"] == 14
    assert len(told(app, "latent_map_cgan")["neighbours"]) == 8


@pytest.mark.parametrize("selected", ["test-10000", "sample-3", "drawn-3"])
def test_a_selection_that_is_not_shown_selects_nothing(open_page: Open, selected: str) -> None:
    assert told(open_page("map", selected=selected), "latent_map_tiny-vae-z2")["selected"] == -1


def test_a_bad_link_is_used_as_far_as_it_goes_and_warned_about(open_page: Open) -> None:
    app = open_page("sliders", seed="-5", z="1_x", model="tiny-vae-z5", frames="<b>")
    [warning] = app.warning
    for name in ("seed", "z", "frames"):
        assert f"{name} (" in warning.value
    assert "<b>" not in warning.value
    assert app.session_state["model"] == "tiny-vae-z5"
    assert app.session_state["seed"] == 0


def test_a_link_to_a_model_that_is_not_here_says_so(open_page: Open) -> None:
    app = open_page("sliders", model="mnist-nothing")
    assert "mnist-nothing" in app.warning[0].value
    assert app.session_state["model"] == MODELS[0]


@pytest.mark.parametrize("reference", ["test-10000", "sample-9", "code-1_2_3", "code-0.5"])
def test_an_image_that_is_none_of_the_models_is_replaced_and_named(
    open_page: Open, reference: str
) -> None:
    app = open_page("morph", model="tiny-vae-z2", a=reference)
    assert reference in words(app)
    assert app.session_state["a"] == "test-0"


def test_a_link_may_name_an_uploaded_pictures_code(open_page: Open) -> None:
    app = open_page("morph", model="tiny-vae-z2", a="code-0.5_-1.25")
    assert not app.warning
    assert app.session_state["a"] == "code-0.5_-1.25"


@pytest.mark.parametrize("far", ["code-nan_nan", "code-.", "code-1__2", "code-99999_0"])
def test_a_code_that_is_none_is_left_out(open_page: Open, far: str) -> None:
    app = open_page("morph", model="tiny-vae-z2", a=far)
    assert "a (" in words(app)


def test_the_gallery_page_and_the_map_choose_images(open_page: Open) -> None:
    app = open_page("morph", model="tiny-vae-z2", selected="test-4321")
    click_first(app, "The map's selection")
    assert app.session_state["a"] == "test-4321"
    settle(app, "thumbnails_b", {"id": "test-3", "click": 1})
    assert app.session_state["b"] == "test-3"
    click_first(app, "At random")
    assert app.session_state["a"].startswith("test-")


def click_first(app: AppTest, label: str) -> AppTest:
    return checked(next(one for one in app.button if one.label == label).click().run())


def test_a_scrubber_is_remembered(open_page: Open) -> None:
    app = open_page("morph", model="tiny-vae-z2")
    settle(app, "strip_tiny-vae-z2", 0.6184, state="at")
    assert app.session_state["at"] == 0.618
    assert app.query_params["at"] == "0.618"


def upload(app: AppTest, blob: bytes) -> AppTest:
    app.file_uploader(key="file_a").set_value(("mine.png", blob, "image/png"))
    return checked(app.run())


def drawn() -> bytes:
    import io

    image = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(image).line([(50, 10), (50, 90)], fill=0, width=12)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_picture_can_be_uploaded(open_page: Open) -> None:
    app = upload(open_page("morph", model="tiny-vae-z2"), drawn())
    assert app.session_state["a"].startswith("code-")
    assert len(links.read_floats(app.session_state["a"].removeprefix("code-"))) == 2
    assert not app.error
    assert not app.warning


def test_another_model_encodes_an_uploaded_picture_anew(open_page: Open, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "other")):
        make_checkpoint(tmp_path / name, VAE_Z2, seed=seed)
    app = upload(open_page("morph", checkpoints=tmp_path, model="other"), drawn())
    wanted = app.session_state["a"]
    app = upload(open_page("morph", checkpoints=tmp_path, model="one"), drawn())
    assert app.session_state["a"] != wanted
    original = told(app, "strip_one")["originals"][0]
    app.sidebar.selectbox(key="model").set_value("other")
    checked(app.run())
    assert app.session_state["a"] == wanted
    assert told(app, "strip_other")["originals"][0] == original


def test_a_code_from_elsewhere_is_no_uploaded_pictures(open_page: Open) -> None:
    app = upload(open_page("morph", model="tiny-vae-z2"), drawn())
    app.session_state["a"] = "code-0.5_-1.25"
    checked(app.run())
    assert told(app, "strip_tiny-vae-z2")["originals"][0] is None


def test_a_picture_that_cannot_be_read_becomes_a_sentence(open_page: Open) -> None:
    app = open_page("morph", model="tiny-vae-z2")
    before = app.session_state["a"]
    upload(app, b"GIF89a...")
    assert "not a PNG" in app.error[0].value
    assert app.session_state["a"] == before


def test_an_upload_whose_code_lies_far_out_is_still_a_code(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from training.checkpoint import Checkpoint

    app = open_page("morph", model="tiny-vae-z2")
    far = torch.tensor([[1e6, -1e6]])
    monkeypatch.setattr(Checkpoint, "encode", lambda *_: (far, far))
    upload(app, drawn())
    assert app.session_state["a"] == "code-100_-100"
    assert not app.warning


def test_a_typed_number_is_drawn_and_what_is_no_digit_left_out(open_page: Open) -> None:
    app = open_page("digits", model="tiny-cgan", text="70")
    slots = told(app, "typed_tiny-cgan_70")["slots"]
    assert [(slot["label"], int(np.argmax(slot["weights"]))) for slot in slots] == [
        ("7", 7),
        ("0", 0),
    ]
    app.text_input(key="text").set_value("1a2")
    checked(app.run())
    assert [slot["label"] for slot in told(app, "typed_tiny-cgan_12")["slots"]] == ["1", "2"]
    assert "the rest is left out" in words(app)
    app.text_input(key="text").set_value("")
    checked(app.run())


def test_all_ten_digits_are_drawn_in_one_hand(open_page: Open) -> None:
    slots = told(open_page("digits", model="tiny-cgan"), "digits_row_tiny-cgan")["slots"]
    assert [slot["testid"] for slot in slots] == [f"digit-{i}" for i in range(10)]
    np.testing.assert_array_equal([slot["weights"] for slot in slots], np.eye(10))


@pytest.mark.parametrize(
    ("page", "model", "why", "able"),
    [
        ("digits", "tiny-vae-z2", "cannot be asked for a class", ["tiny-cgan"]),
        ("map", "tiny-cgan", "has no encoder", ["tiny-vae-z2", "tiny-vae-z5"]),
        ("draw", "tiny-cgan", "cannot read a drawing", ["tiny-vae-z2", "tiny-vae-z5"]),
    ],
)
def test_a_page_that_a_model_cannot_fill_offers_those_that_can(
    open_page: Open, page: str, model: str, why: str, able: list[str]
) -> None:
    app = open_page(page, model=model)
    assert why in words(app)
    offered = [button.key for button in app.button]
    assert offered == [f"{page} {name}" for name in able]
    checked(app.button[-1].click().run())
    assert app.session_state["model"] == able[-1]
    assert why not in words(app)


@pytest.mark.parametrize("page", TITLES)
def test_without_models_the_app_says_how_to_get_one(
    open_page: Open, tmp_path: Path, page: str
) -> None:
    for root in (tmp_path / "empty", tmp_path / "missing"):
        if root.name == "empty":
            root.mkdir()
        app = open_page(page, checkpoints=root)
        assert app.title[0].value == "No models yet"
        assert "latent-train fit" in app.markdown[0].value
        assert str(root) in app.markdown[0].value


def test_a_broken_model_is_named_beside_the_good_ones(
    open_page: Open, zoo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    (root / "tiny-vae-z5" / "weights.safetensors").write_bytes(b"broken")
    app = open_page("sliders", checkpoints=root)
    [left_out] = app.sidebar.expander
    assert left_out.label == "Left out: 1"
    [told] = left_out.markdown
    assert "**tiny-vae-z5**: weights.safetensors is truncated" in told.value
    assert "Copy the folder again" in told.value
    assert app.sidebar.selectbox[0].options == ["Tiny VAE, z=2", "Tiny conditional GAN"]


def test_only_broken_models_are_named_too(open_page: Open, zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo / "tiny-cgan", root / "mine")
    (root / "mine" / "card.json").write_text("{")
    app = open_page("map", checkpoints=root)
    assert app.title[0].value == "No models yet"
    assert "mine" in app.error[0].value


def test_a_model_that_breaks_while_the_app_runs_becomes_a_sentence(
    open_page: Open, zoo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    app = open_page("sliders", checkpoints=root)
    (root / "tiny-vae-z5" / "weights.safetensors").write_bytes(b"broken")
    app.sidebar.selectbox(key="model").set_value("tiny-vae-z5")
    checked(app.run())
    assert "There is no model 'tiny-vae-z5' here" in words(app)
    [told] = app.sidebar.expander[0].markdown
    assert "**tiny-vae-z5**: weights.safetensors is truncated" in told.value


@pytest.mark.parametrize("page", ["map", "morph"])
def test_without_the_data_set_the_app_says_so_and_offers_to_fetch_it(
    open_page: Open, empty_root: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page(page, data=empty_root, model="tiny-vae-z2")
    assert "5,000 digits" in app.expander[0].label
    assert any("MNIST is not in" in one.value for one in app.markdown)

    def offline(root: Path, on_bytes: Callable[[str, int, int], None]) -> None:
        assert root == empty_root
        on_bytes("train-images", 1, 2)
        raise DataError("no mirror answers")

    monkeypatch.setattr(absent, "download_mnist", offline)
    checked(app.button(key="download").click().run())
    assert "no mirror answers" in words(app)


def test_after_the_download_the_full_test_set_is_shown(
    open_page: Open, empty_root: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("map", data=empty_root)
    assert len(told(app, "latent_map_tiny-vae-z2")["labels"]) < 7000
    monkeypatch.setattr(
        absent,
        "download_mnist",
        lambda root, _: shutil.copytree(mnist_root, root, dirs_exist_ok=True),
    )
    checked(app.button(key="download").click().run())
    assert not any("5,000 digits" in one.label for one in app.expander)
    assert len(told(app, "latent_map_tiny-vae-z2")["labels"]) > 13_000  # 10,000 bytes in base64


@pytest.mark.parametrize("page", TITLES)
@pytest.mark.parametrize("kind", ["colour", "own classes", "many classes"])
def test_models_of_other_images_break_no_page(
    open_page: Open, tmp_path: Path, page: str, kind: str
) -> None:
    shape = (3, 16, 16) if kind == "colour" else (1, 28, 28)
    classes = tuple(f"class {i}" for i in range({"own classes": 3}.get(kind, 26)))
    spec = conv_vae(2, (4,), 4, shape)
    make_checkpoint(tmp_path / "other" / "model", spec, classes=classes)
    app = open_page(page, checkpoints=tmp_path / "other")
    assert [title.value for title in app.title] == [TITLES[page]]
    if page == "map" and kind != "colour":
        settle(app, "latent_map_model", {"z": [0, 0], "selected": 4999})
        assert app.session_state["selected"] == "test-4999"


@pytest.mark.parametrize("page", TITLES)
def test_an_own_folder_of_images_breaks_no_page(open_page: Open, tmp_path: Path, page: str) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("bar", "cross"):
            folder = tmp_path / "own" / split / name
            folder.mkdir(parents=True)
            for i in range(15):
                Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(folder / f"{i}.png")
    app = open_page(page, data=tmp_path / "own", model="tiny-vae-z2")
    assert [title.value for title in app.title] == [TITLES[page]]
    if page == "morph":
        assert app.session_state["a"].startswith("folder-")
        again = open_page(page, data=tmp_path / "own", **app.query_params)
        assert not again.warning


def test_a_link_that_leads_nowhere_beside_the_models_is_passed_over(
    open_page: Open, zoo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    assert open_page("sliders", checkpoints=root).session_state["model"] == MODELS[0]


def test_a_retrained_model_gets_its_own_codes(open_page: Open, tmp_path: Path) -> None:
    root = tmp_path / "models"
    make_checkpoint(root / "vae", VAE_Z2, seed=1)
    before = told(open_page("map", checkpoints=root), "latent_map_vae")["points"]
    make_checkpoint(root / "vae", VAE_Z2, seed=2)
    after = told(open_page("map", checkpoints=root), "latent_map_vae")["points"]
    assert after != before


def test_a_new_model_appears_without_a_restart(open_page: Open, zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo / "tiny-vae-z2", root / "tiny-vae-z2")
    app = open_page("sliders", checkpoints=root)
    assert len(app.sidebar.selectbox[0].options) == 1
    make_checkpoint(root / "new", CGAN, title="New one")
    checked(app.run())
    assert app.sidebar.selectbox[0].options == ["Tiny VAE, z=2", "New one"]


def test_where_no_socket_opens_pictures_come_through_streamlit(open_page: Open, zoo: Path) -> None:
    import base64

    import torch

    app = open_page("sliders", model="tiny-vae-z2")
    z = floats([[0.5, -0.5]])
    asked = base64.b64encode(
        protocol.pack_request(protocol.Request(4, 1, "tiny-vae-z2", z, None))
    ).decode()
    settle(app, "slider_picture_tiny-vae-z2", asked, state="ask")
    reply = told(app, "slider_picture_tiny-vae-z2")["reply"]
    assert reply["ask"] == asked
    answer = protocol.unpack_answer(base64.b64decode(reply["answer"]))
    wanted = load(zoo / "tiny-vae-z2").decode(torch.from_numpy(z))[0, 0].numpy() * 255
    assert answer.id == 4
    assert np.abs(answer.pixels[0, :, :, 0] - wanted).max() <= 0.51
    live.app_service().close()  # the answer is there: no other run decodes it again
    assert told(checked(app.run()), "slider_picture_tiny-vae-z2")["reply"] == reply


def test_a_hostile_checkpoint_brings_no_markup(open_page: Open, zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    hostile = "<img src=x onerror=alert(1)> ![](https://evil.example/x.png)"
    make_checkpoint(root / "m", VAE_Z2, title=hostile, notes=hostile)
    shutil.copytree(zoo / "tiny-cgan", root / "bad")
    card = json.loads((root / "bad" / "card.json").read_text())
    (root / "bad" / "card.json").write_text(json.dumps(card | {hostile: 1}))
    app = open_page("sliders", checkpoints=root)
    shown = [*app.sidebar.markdown, *app.sidebar.error]
    assert len(shown) == 2
    for element in shown:
        assert "evil.example" in element.value
        assert not re.search(r"(?<!\\)[\[\]<>]", element.value)
    assert app.sidebar.markdown[0].allow_html is False
