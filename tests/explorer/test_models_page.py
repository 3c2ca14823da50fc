"""The start page: a tile per model, filters, and the ways on."""

from __future__ import annotations

import functools
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from explorer import resources
from tests.explorer.conftest import (
    CGAN,
    VAE_Z2,
    Open,
    checked,
    make_card,
    make_checkpoint,
    words,
)
from training import checkpoint, networks, onnx_files
from training.recipes import RECIPES

TITLE = "Which model do you want to hold?"
ALL = ["Tiny VAE, z=2", "Tiny conditional GAN", "Tiny VAE, z=5"]


@pytest.fixture
def open_page(open_app: Open, zoo: Path, empty_root: Path) -> Open:
    """``open_page(page, **link)``: a new session at that address."""
    return functools.partial(open_app, checkpoints=zoo, data=empty_root)


def titles(app: AppTest) -> list[str]:
    """Titles of the tiles, in their order."""
    return [one.value[6:] for one in app.markdown if one.value.startswith("##### ")]


def count(app: AppTest) -> str:
    [found] = [one.value for one in app.markdown if " models**" in one.value]
    return found


def click(app: AppTest, key: str) -> AppTest:
    return checked(app.button(key=key).click().run())


def alternatives(app: AppTest) -> list[str]:
    """What the pictures of a page are for those who do not see them."""
    return [one.proto.imgs[0].alt for one in app.image]


def test_every_model_has_a_tile(open_page: Open) -> None:
    app = open_page("models")
    assert [title.value for title in app.title] == [TITLE]
    assert titles(app) == ALL
    assert count(app) == "**3 of 3 models**"
    assert alternatives(app) == [f"Samples of {title}" for title in ALL]
    assert any(":blue-badge[Conditional GAN]" in one.value for one in app.markdown)
    assert any("stopped at 1 of" in one.value and "Not scored" in one.value for one in app.markdown)
    assert not words(app)
    assert dict(app.query_params) == {}
    assert not app.sidebar.selectbox, "the page is about all models"


def test_what_a_page_cannot_do_is_told_why(open_page: Open) -> None:
    app = open_page("models")
    refused = {button.key: button.help for button in app.button if button.disabled}
    never = {f"replay tiny-{name}" for name in ("vae-z2", "vae-z5", "cgan")}
    others = {"map tiny-cgan", "draw tiny-cgan", "digits tiny-vae-z2", "digits tiny-vae-z5"}
    assert refused.keys() == never | others
    assert all("no earlier epochs" in refused[key] for key in never)
    assert "no encoder" in refused["map tiny-cgan"]
    assert "no encoder" in refused["draw tiny-cgan"]
    above = ("start", "lessons")
    helps = [one.help for one in app.button if not one.disabled and one.key not in above]
    assert len(set(helps)) == len(helps) == 11, "each says where it leads, with which model"


@pytest.mark.parametrize(
    ("where", "model", "title"),
    [
        ("map", "tiny-vae-z2", "Where do the images live?"),
        ("sliders", "tiny-vae-z5", "What does each dimension do?"),
        ("morph", "tiny-cgan", "What lies between two images?"),
        ("draw", "tiny-vae-z2", "How does a model read your digit?"),
        ("digits", "tiny-cgan", "Draw me a 7"),
    ],
)
def test_a_button_opens_its_page_with_the_model(
    open_page: Open, where: str, model: str, title: str
) -> None:
    app = click(open_page("models"), f"{where} {model}")
    assert [one.value for one in app.title] == [title]
    assert app.session_state["model"] == model
    assert app.query_params["model"] == model
    assert app.sidebar.selectbox(key="model").value == model
    assert "go" not in app.session_state


def test_the_first_button_opens_the_map(open_page: Open) -> None:
    app = click(open_page("models"), "start")
    assert app.title[0].value == "Where do the images live?"
    assert app.session_state["model"] == "tiny-vae-z2"


def test_without_a_map_there_is_no_way_in_by_it(open_page: Open, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "models" / "gan", CGAN, title="GAN")
    app = open_page("models", checkpoints=tmp_path / "models")
    assert titles(app) == ["GAN"]
    assert "start" not in [button.key for button in app.button]
    assert not app.pills, "one model leaves nothing to choose from"


def test_filters_are_chosen_and_cleared(open_page: Open) -> None:
    app = open_page("models")
    assert [one.key for one in app.pills] == ["family"]  # data set and report are alike
    checked(app.pills(key="family").select("vae").run())
    assert titles(app) == [ALL[0], ALL[2]]
    assert count(app) == "**2 of 3 models**"
    assert dict(app.query_params) == {"family": "vae"}
    checked(app.text_input(key="find").set_value("Z=5").run())
    assert titles(app) == [ALL[2]]
    assert dict(app.query_params) == {"family": "vae", "find": "Z=5"}
    click(app, "clear")
    assert titles(app) == ALL
    assert dict(app.query_params) == {}
    assert "clear" not in [button.key for button in app.button]


def test_where_nothing_matches_a_sentence_says_so(open_page: Open) -> None:
    app = open_page("models", family="cgan", find="z=5")
    assert titles(app) == []
    assert count(app).startswith("**0 of 3 models**: none")
    click(app, "clear")
    assert titles(app) == ALL


def test_tiles_can_be_sorted(open_page: Open) -> None:
    app = open_page("models")
    checked(app.selectbox(key="sort").set_value("latents").run())
    assert titles(app) == [ALL[0], ALL[2], ALL[1]]
    assert dict(app.query_params) == {"sort": "latents"}


def test_a_link_is_restored(open_page: Open) -> None:
    link = {"family": "vae~cgan", "find": "tiny", "sort": "name"}
    app = open_page("models", **link)
    assert app.pills(key="family").value == ["vae", "cgan"]
    assert app.text_input(key="find").value == "tiny"
    assert titles(app) == [ALL[1], ALL[0], ALL[2]]
    assert dict(app.query_params) == link


def test_what_no_model_has_is_named_and_left_out(open_page: Open) -> None:
    app = open_page("models", family="wgan~vae", reports="R5", sort="best")
    assert "family wgan" in words(app)
    assert "report R5" in words(app)
    assert "sort (" in words(app)
    assert titles(app) == [ALL[0], ALL[2]]
    assert dict(app.query_params) == {"family": "vae"}


def test_filters_outlive_a_walk_through_the_pages(open_page: Open) -> None:
    app = open_page("models", family="vae")
    click(app, "sliders tiny-vae-z5")
    assert "family" not in app.query_params
    app._page_hash = calc_hash("")  # as the navigation does: a page's URL says nothing at first
    app.query_params.clear()
    checked(app.run())
    assert titles(app) == [ALL[0], ALL[2]]


@pytest.mark.parametrize(
    "link",
    [
        {"model": "tiny-vae-z2", "z": "0.5_-0.5"},
        {"model": "tiny-vae-z5"},
        {"selected": "test-7", "grid": "1"},
        {"seed": "5"},
    ],
)
def test_an_old_link_to_the_map_goes_on_to_it(open_page: Open, link: dict[str, str]) -> None:
    app = open_page("models", **link)
    assert app.title[0].value == "Where do the images live?"
    assert link.items() <= dict(app.query_params).items()
    assert not app.warning


def test_a_bad_folder_is_a_tile_of_its_own(open_page: Open, zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    (root / "tiny-vae-z5" / "weights.safetensors").write_bytes(b"broken")
    shutil.copytree(zoo / "tiny-cgan", root / "mnist-cgan")
    card = json.loads((root / "mnist-cgan" / "card.json").read_text())
    (root / "mnist-cgan" / "card.json").write_text(json.dumps(card | {"<img src=x>": 1}))
    app = open_page("models", checkpoints=root)
    assert titles(app) == ALL[:2]
    assert app.subheader[0].value == "Left out"
    told = {one.value for one in app.markdown if "broken_image" in one.value}
    [cut] = [text for text in told if "tiny-vae-z5" in text]
    assert "truncated" in cut
    assert "Copy the folder again" in cut
    [invalid] = [text for text in told if "mnist-cgan" in text]
    assert "latent-train fit mnist-cgan" in invalid
    assert "<img" not in invalid.replace(r"\<", "")


def test_models_of_points_are_named_with_where_to_see_them(
    open_page: Open, zoo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    recipe = RECIPES["ring8-gan"]
    card = make_card("ring8-gan", recipe.network)
    checkpoint.save(
        root / "ring8-gan",
        card,
        checkpoint.inference_weights(networks.build(recipe.network)),
        {"train": {"total": [2.0]}, "test": {"total": [3.0]}},
        {},
        b"",
    )
    app = open_page("models", checkpoints=root)
    assert titles(app) == ALL
    [told] = [one.value for one in app.caption if "ring8-gan" in one.value]
    assert "latent-train report" in told
    shutil.rmtree(root / "tiny-vae-z2")
    shutil.rmtree(root / "tiny-vae-z5")
    shutil.rmtree(root / "tiny-cgan")
    assert any("ring8-gan" in one.value for one in open_page("models", checkpoints=root).caption)


def test_without_models_the_page_says_how_to_get_one(open_page: Open, tmp_path: Path) -> None:
    app = open_page("models", checkpoints=tmp_path / "missing")
    assert [title.value for title in app.title] == ["No models yet"]
    assert "latent-train fit" in app.markdown[0].value
    assert not app.button


def samples() -> bytes:
    """Ten by ten samples with the gaps of training's pictures."""
    file = io.BytesIO()
    Image.fromarray(np.full((302, 302, 3), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("picture", [b"", b"no picture", samples()], ids=["none", "broken", "good"])
def test_no_network_is_opened_where_there_is_a_picture(
    open_page: Open, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    opened = checkpoint.load(zoo / "tiny-vae-z2")
    weights = checkpoint.inference_weights(opened.network)
    history = {"train": {"total": [2.0]}, "test": {"total": [3.0]}}
    card = opened.card.model_copy(update={"files": {}})
    checkpoint.save(tmp_path / "models" / "one", card, weights, history, {}, picture)
    drawn: list[str] = []
    draw = resources.draw
    monkeypatch.setattr(resources, "draw", lambda name, *a: (drawn.append(name), draw(name, *a))[1])
    app = open_page("models", checkpoints=tmp_path / "models")
    assert alternatives(app) == ["Samples of Tiny VAE, z=2"]
    assert drawn == ([] if picture == samples() else ["one"])


def test_a_decoder_brought_along_has_a_tile(open_page: Open, zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(zoo, root)
    onnx_files.export(checkpoint.load(zoo / "tiny-cgan"), root / "mine")
    app = open_page("models", checkpoints=root)
    assert sorted(titles(app)) == sorted([*ALL, "Tiny conditional GAN"])
    assert any("blue-badge[Decoder]" in one.value for one in app.markdown)
    assert len(alternatives(app)) == 4
    checked(app.pills(key="reports").select("brought").run())
    assert titles(app) == ["Tiny conditional GAN"]
    assert app.button(key="map mine").disabled
    click(app, "sliders mine")
    assert app.session_state["model"] == "mine"


def test_a_hostile_title_brings_no_markup(open_page: Open, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)> ![](https://evil.example/x.png)"
    recipe = {"dataset": hostile, "report": hostile}
    make_checkpoint(tmp_path / "models" / "m", VAE_Z2, title=hostile, recipe_changes=recipe)
    make_checkpoint(tmp_path / "models" / "n", CGAN)
    app = open_page("models", checkpoints=tmp_path / "models")
    for element in app.markdown:
        assert not element.allow_html
        assert "![" not in element.value
        assert "<img" not in element.value.replace(r"\<", "")
