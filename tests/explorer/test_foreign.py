"""Decoders that people bring along as ONNX files: found, told, drawn and shown like the others."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer import catalog, resources
from explorer.live import app_service
from explorer.live.service import PIECE_ROWS, SMALL_ROWS, DecodeError, DecodeService
from explorer.morph import End, Morph
from tests.explorer.conftest import Open, checked, floats, told, words
from tests.foreign import SHAPE, D, conditional, keras, weights, write
from training.checkpoint import CheckpointError
from training.onnx_files import Foreign, ForeignCard

CLASSES = ["left", "right", "up"]
HOSTILE = '<script>alert("x")</script> ![](https://evil.example/x.png)'


@pytest.fixture(scope="module")
def brought(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two decoders beside trained models, and four that fail; read-only."""
    root = tmp_path_factory.mktemp("brought")
    shutil.copytree(zoo, root, dirs_exist_ok=True)
    write(root / "mine")
    write(root / "orders", conditional(), title="Takes orders", classes=CLASSES, image_range=[0, 1])
    write(root / "bad-file", b"nothing")
    write(root / "bad-card", latent_dim="many")
    write(root / "bad-fit", latent_dim=D + 1)
    shutil.copytree(root / "mine", root / "no-file")
    (root / "no-file" / "decoder.onnx").unlink()
    return root


@pytest.fixture
def service(brought: Path) -> Iterator[DecodeService]:
    made = DecodeService(catalog.scan(brought).open)
    yield made
    made.close()


def test_decoders_are_found_beside_checkpoints_and_bad_ones_hide_none(brought: Path) -> None:
    found = catalog.scan(brought)
    names = ["tiny-vae-z2", "orders", "tiny-cgan", "tiny-vae-z5", "mine"]
    assert list(found.cards) == names
    assert set(found.trained) == {"tiny-vae-z2", "tiny-vae-z5", "tiny-cgan"}
    for name in found.cards:
        assert found.open(name).card == found.cards[name]
    said = {
        "bad-file": "decoder.onnx is not an ONNX file",
        "bad-card": "card.json is invalid at latent_dim",
        "bad-fit": "input z has shape (n, 4), not (n, 5)",
        "no-file": "decoder.onnx is missing",
    }
    assert found.problems.keys() == said.keys()
    for name, part in said.items():
        assert part in found.problems[name]


def test_a_decoder_that_went_bad_after_the_scan_cannot_be_opened(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")
    found = catalog.scan(tmp_path)
    (folder / "decoder.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match="not an ONNX file"):
        found.open("mine")
    assert not catalog.scan(tmp_path).cards


def test_a_decoder_is_told_in_words_and_nothing_is_invented(brought: Path) -> None:
    cards = catalog.scan(brought).cards
    told = catalog.describe(cards["mine"])
    assert "**A decoder of mine** draws 8 x 6 colour images from **4 numbers**." in told
    assert "brought along as an ONNX file" in told
    assert "trained on faces" in told
    for invented in ("parameters", "min on", "passes", "report", "asked for"):
        assert invented not in told
    assert "asked for one of 3 classes" in catalog.describe(cards["orders"])
    able = catalog.abilities(cards["mine"], False)
    assert {page for page, why_not in able.items() if not why_not} == {"sliders", "morph"}
    assert "trained elsewhere" in able["replay"]


def test_a_hostile_card_is_told_as_text(tmp_path: Path) -> None:
    write(tmp_path / "mine", title=HOSTILE, dataset=HOSTILE, notes=HOSTILE)
    told = catalog.describe(catalog.scan(tmp_path).cards["mine"])
    assert not re.search(r"(?<!\\)[\[\]<>]", told)


def test_the_decode_service_draws_them(service: DecodeService) -> None:
    opened = service.model("mine")
    assert isinstance(opened, Foreign)
    rng = np.random.default_rng(0)
    for n in (1, SMALL_ROWS, SMALL_ROWS + PIECE_ROWS + 1):
        z = rng.standard_normal((n, D)).astype(np.float32)
        pixels = service.submit("mine", z).result(timeout=60)
        assert pixels.shape == (n, *SHAPE[1:], SHAPE[0])
        images = opened.decode(torch.from_numpy(z)).permute(0, 2, 3, 1).numpy()
        assert np.abs(pixels - images * 255).max() <= 0.51


def test_the_decode_service_takes_one_class_and_no_mixture(service: DecodeService) -> None:
    z, eye = np.zeros((3, D), np.float32), np.eye(3, dtype=np.float32)
    pixels = service.submit("orders", z, eye).result(timeout=60)
    assert len(np.unique(pixels.reshape(3, -1), axis=0)) == 3
    with pytest.raises(DecodeError, match="takes one class"):
        service.submit("orders", z, floats([[0.5, 0.5, 0]] * 3))
    with pytest.raises(DecodeError, match="is conditional: say which class"):
        service.submit("orders", z)


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_a_decoder_that_has_changed_is_drawn_and_told_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    root, z = tmp_path / "checkpoints", np.ones((1, D), np.float32)
    file = write(root / "mine") / "decoder.onnx"
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(root))
    app_service.cache_clear()
    live = app_service()
    try:
        before = live.submit("mine", z).result(timeout=60)
        card = resources.models().cards["mine"]
        other = keras(constants={"w": weights(seed=1)}).SerializeToString()
        if how == "replaced":
            (tmp_path / "other.onnx").write_bytes(other)
            (tmp_path / "other.onnx").replace(file)
        else:
            file.write_bytes(other)
        drawn = live.submit("mine", z).result(timeout=60)
        assert not np.array_equal(drawn, before)
        now = resources.models().cards["mine"]
        assert now.weights_sha256 == hashlib.sha256(other).hexdigest() != card.weights_sha256
    finally:
        live.close()
        app_service.cache_clear()


def test_a_bad_decoder_is_refused_by_the_service(service: DecodeService) -> None:
    with pytest.raises(DecodeError, match=r"unknown model: bad-file: decoder\.onnx is not an ONNX"):
        service.submit("bad-file", np.zeros((1, D), np.float32))


def test_a_morph_of_one_changes_its_class_halfway(brought: Path) -> None:
    opened = catalog.scan(brought).open("orders")
    ends = [End(z=[0.0] * D, image="seed-1", label=label) for label in (0, 2)]
    morph = Morph(
        model="orders", weights_sha256=opened.card.weights_sha256, path="linear", frames=5,
        a=ends[0], b=ends[1],
    )  # fmt: skip
    frames = morph.render(opened)
    assert frames.shape == (5, *SHAPE[1:], SHAPE[0])
    assert len(np.unique(frames.reshape(5, -1), axis=0)) == 2
    mixed = morph.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(ValueError, match="other weights"):
        mixed.render(opened)


@pytest.mark.parametrize("name", ["mine", "orders"])
@pytest.mark.parametrize("page", ["sliders", "morph", "digits", "map"])
def test_every_page_shows_them(
    open_app: Open, brought: Path, empty_root: Path, page: str, name: str
) -> None:
    app = open_app(page, checkpoints=brought, data=empty_root, model=name)
    assert app.session_state["model"] == name
    assert not app.warning
    assert app.sidebar.selectbox(key="model").value == name
    assert "ONNX file" in app.sidebar.markdown[0].value
    failed = {error.value.split("**")[1] for error in app.sidebar.error}
    assert failed <= {"bad-file", "bad-card", "bad-fit", "no-file"}
    if page == "map":
        assert "no encoder" in words(app)
    if page == "digits" and name == "orders":
        assert "nothing lies between two" in words(app)


def test_a_slider_moves_it(open_app: Open, brought: Path, empty_root: Path) -> None:
    app = open_app("sliders", checkpoints=brought, data=empty_root, model="orders", z="1_0_-1_2")
    bank = told(app, "slider_bank_orders")
    assert (bank["z"], bank["classes"], bank["shape"]) == ([1, 0, -1, 2], CLASSES, list(SHAPE))
    app.number_input(key="seed").set_value(7)
    checked(app.run())
    assert told(app, "slider_bank_orders")["z"] != [1, 0, -1, 2]


def test_the_start_page_shows_them(open_app: Open, brought: Path, empty_root: Path) -> None:
    app = open_app("models", checkpoints=brought, data=empty_root)
    assert any("A decoder of mine" in one.value for one in app.markdown)


def test_a_decoder_named_like_a_recipe_is_no_reports_system(tmp_path: Path, zoo: Path) -> None:
    write(tmp_path / "mnist-cgan")
    found = catalog.scan(tmp_path)
    assert isinstance(found.cards["mnist-cgan"], ForeignCard)
    assert found.trained == {}
