"""Comparing models: who goes beside whom, twins of real images, the table, and the page."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import catalog, compare, gallery, latent, resources
from explorer.live.routes import IMAGE_PATH, image_route
from tests.explorer.conftest import (
    CGAN,
    VAE_Z2,
    VAE_Z5,
    Open,
    conv_vae,
    make_card,
    make_checkpoint,
    settle,
    told,
    words,
)
from training.checkpoint import load
from training.data import DataError
from training.scores import SCORES

Z2, Z5, GAN = "tiny-vae-z2", "tiny-vae-z5", "tiny-cgan"


@pytest.fixture
def open_page(open_app: Open, zoo: Path, mnist_root: Path) -> Open:
    """``open_page(**link)``: a new session on the page."""
    return functools.partial(open_app, "compare", checkpoints=zoo, data=mnist_root)


# --- who goes beside whom ----------------------------------------------------------------------


def cards(zoo: Path) -> dict[str, catalog.AnyCard]:
    return catalog.scan(zoo).cards


def test_partners_draw_the_same_images(zoo: Path) -> None:
    found = cards(zoo) | {"colour": make_card("colour", conv_vae(2, image_shape=(3, 32, 32)))}
    assert compare.partners(found, Z2) == [name for name in cards(zoo) if name != Z2]
    assert compare.partners(found, "colour") == []
    assert compare.suggested(found, "colour") == []


def test_another_kind_of_model_is_suggested_first(zoo: Path) -> None:
    assert compare.suggested(cards(zoo), Z2) == [GAN]
    assert compare.suggested(cards(zoo), GAN) == [Z2]
    alike = {name: card for name, card in cards(zoo).items() if card.family == "vae"}
    assert compare.suggested(alike, Z2) == [Z5]


# --- twins -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [6, 96])
def test_the_most_alike_sample_has_the_least_squared_error(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    # Of blocks of 3 x 3 equal pixels where they are large: reducing them loses nothing.
    blocks = side // 3 if side > compare.SIDE else side
    images, drawn = (
        nn.functional.interpolate(torch.rand(n, 1, blocks, blocks, generator=generator), side)
        for n in (230, 40)
    )
    images = (images * 255).byte()
    of = compare.most_alike(images.split(100), drawn)
    errors = (images[:, None].double() / 255 - drawn[None].double()).square().flatten(2).sum(2)
    np.testing.assert_array_equal(of, errors.argmin(1).numpy())
    same = compare.most_alike([images], images.float() / 255)
    np.testing.assert_array_equal(same, np.arange(230))


def test_of_samples_asked_for_a_class_only_the_images_own_count() -> None:
    images = torch.tensor([0, 0, 100, 100], dtype=torch.uint8).view(4, 1, 1, 1)
    drawn = torch.tensor([1, 90, 20, 60]).view(4, 1, 1, 1) / 255
    labels, asked = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
    assert compare.most_alike(images.split(3), drawn, labels, asked).tolist() == [0, 2, 1, 3]


def test_a_twin_is_the_code_of_its_image_with_its_class() -> None:
    codes = np.arange(6, dtype=np.float32).reshape(3, 2)
    z, weights = compare.Twins(codes).at(1)
    assert (z.tolist(), weights) == ([[2.0, 3.0]], None)
    asked = np.array([2, 0, 1])
    z, weights = compare.Twins(codes, np.array([2, 2, 0]), asked, 3).at(1)
    assert weights is not None
    assert (z.tolist(), weights.tolist()) == ([[4.0, 5.0]], [[0.0, 1.0, 0.0]])


# --- the table ---------------------------------------------------------------------------------


def test_the_table_has_a_column_per_model_and_no_empty_row(zoo: Path) -> None:
    found = cards(zoo)
    table = compare.table(found)
    titles = [card.title for card in found.values()]
    assert all(list(row) == ["measure", *titles, "real test images", "better"] for row in table)
    assert all(any(row[title] for title in titles) for row in table)
    latents = next(row for row in table if row["measure"] == "Latent numbers")
    assert [latents[title] for title in titles] == [str(c.latent_dim) for c in found.values()]


def test_scores_stand_beside_those_of_real_images() -> None:
    shipped = catalog.scan(Path("checkpoints")).cards
    chosen = {name: shipped[name] for name in ("mnist-cgan", "mnist-conv-vae-z2")}
    rows = {row["measure"]: row for row in compare.table(chosen)}
    sharp = rows[SCORES["sharpness"].title]
    scores = chosen["mnist-cgan"].scores
    assert scores is not None
    assert sharp[chosen["mnist-cgan"].title] == f"{scores.values['sharpness']:.4g}"
    assert (sharp["real test images"], sharp["better"]) == ("1", "as real images")
    agreement = rows[SCORES["class_agreement"].title]
    assert agreement[chosen["mnist-conv-vae-z2"].title] == ""


def test_models_of_one_title_are_told_apart_by_name() -> None:
    twins = {name: make_card(name, VAE_Z2, title="Twin") for name in ("a", "b")}
    other = {"c": make_card("c", VAE_Z5, title="Other")}
    assert compare.headings(twins | other) == {"a": "a", "b": "b", "c": "Other"}


# --- the page ----------------------------------------------------------------------------------


def test_a_real_image_is_shown_by_every_model(open_page: Open, zoo: Path) -> None:
    app = open_page(model=Z2, **{"with": f"{Z5}~{GAN}"}, selected="test-123")
    images = resources.real_images(cards(zoo)[Z2])
    assert images
    for name in (Z2, Z5):
        codes = told(app, f"compared_image_{name}")["twins"]
        mu, _ = load(zoo / name).encode(images.images([123]).float() / 255)
        at = np.frombuffer(base64.b64decode(codes["codes"]), "<f4").reshape(len(images), -1)[123]
        np.testing.assert_allclose(at, mu[0].numpy(), atol=2e-3)
        assert told(app, f"compared_map_{name}")["linked"] is True
        assert told(app, f"compared_map_{name}")["selected"] == 123
    generator = told(app, f"compared_image_{GAN}")["twins"]
    of = np.frombuffer(base64.b64decode(generator["of"]), "<u2")
    asked = np.frombuffer(base64.b64decode(generator["asked"]), np.uint8)
    assert len(of) == len(images)
    np.testing.assert_array_equal(asked[of], images.data.labels.numpy())


def test_a_click_on_a_map_goes_into_the_link(open_page: Open) -> None:
    app = open_page(model=Z2)
    settle(app, f"compared_map_{Z2}", {"z": [0, 0], "weights": None, "selected": 77})
    assert app.session_state["selected"] == "test-77"
    for wrong in (-1, 10**9, None, "7", 1.5):
        settle(app, f"compared_map_{Z2}", {"z": [0, 0], "weights": None, "selected": wrong})
        assert app.session_state["selected"] == "test-77"


def test_another_image_by_number_and_at_random(open_page: Open) -> None:
    app = open_page(model=Z2)
    [number] = [one for one in app.number_input if one.label == "Number of the image"]
    number.set_value(42).run()
    assert app.session_state["selected"] == "test-42"
    [button] = [one for one in app.button if one.label == "At random"]
    button.click().run()
    assert told(app, "compared_original")["selected"] == int(app.session_state["selected"][5:])


def test_the_same_numbers_lead_every_model(open_page: Open) -> None:
    app = open_page(model=Z2, drive="z", seed="5", **{"with": f"{Z5}~{GAN}"})
    leader = told(app, f"compared_sliders_{GAN}")
    np.testing.assert_allclose(leader["z"], latent.sample_z(5, 6), atol=1e-6)
    for name, d in ((Z2, 2), (Z5, 5), (GAN, 6)):
        data = told(app, f"compared_picture_{name}")
        assert data["leader"] == GAN
        np.testing.assert_allclose(data["z"], leader["z"][:d], atol=1e-6)
        assert (data["slots"][0]["weights"] is None) == (name != GAN)
    assert [row["axis"] for row in leader["rows"]] == list(range(6))


def test_the_class_asked_for_reaches_the_components(open_page: Open) -> None:
    app = open_page(model=Z2, drive="z", **{"with": GAN})
    before = told(app, f"compared_sliders_{GAN}")["token"]
    [chosen] = [one for one in app.selectbox if one.label == "Class asked for"]
    chosen.set_value(7).run()
    sliders = told(app, f"compared_sliders_{GAN}")
    assert sliders["weights"] == np.eye(10)[7].tolist()
    assert sliders["token"] != before
    assert told(app, f"compared_picture_{GAN}")["slots"][0]["weights"] == np.eye(10)[7].tolist()


def test_a_model_that_is_not_here_is_left_out_with_a_word(open_page: Open) -> None:
    app = open_page(model=Z2, **{"with": f"nobody~{Z5}"})
    assert "nobody" in words(app)
    assert app.session_state["with"] == [Z5]


def test_alone_there_is_nothing_to_compare(
    open_app: Open, tmp_path: Path, mnist_root: Path
) -> None:
    make_checkpoint(tmp_path / "only", VAE_Z2)
    app = open_app("compare", checkpoints=tmp_path, data=mnist_root)
    assert "nothing to compare" in words(app)


def test_models_of_other_images_are_compared_by_numbers(
    open_app: Open, tmp_path: Path, mnist_root: Path
) -> None:
    for name in ("a", "b"):
        make_checkpoint(tmp_path / name, conv_vae(3, image_shape=(3, 32, 32)))
    app = open_app("compare", checkpoints=tmp_path, data=mnist_root)
    assert app.session_state["drive"] == "z"
    assert not app.error


def test_two_generators_are_compared_by_numbers(
    open_app: Open, tmp_path: Path, mnist_root: Path
) -> None:
    for name in ("a", "b"):
        make_checkpoint(tmp_path / name, CGAN)
    app: AppTest = open_app("compare", checkpoints=tmp_path, data=mnist_root)
    assert app.session_state["drive"] == "z"


# --- the originals -----------------------------------------------------------------------------


def test_originals_are_served_to_this_origin_alone(
    zoo: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(zoo))
    monkeypatch.setenv("LATENT_DATA", str(mnist_root))
    with TestClient(Starlette(routes=[image_route(resources.original)])) as client:
        answer = client.get(f"{IMAGE_PATH}/{Z2}/31")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        shown = np.asarray(Image.open(io.BytesIO(answer.content)))
        np.testing.assert_array_equal(shown, gallery.open_gallery(mnist_root).pixels(31)[..., 0])
        numbers = ("10000", "-1", "1e3", "1_0", "%D9%A1", "9" * 5000, "")
        for path in (*(f"{Z2}/{number}" for number in numbers), "nobody/0", f"..%2f{Z2}/0"):
            assert client.get(f"{IMAGE_PATH}/{path}").status_code == 404, path[:40]


def test_a_damaged_original_is_told_and_not_raised(
    zoo: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(self: gallery.Gallery, index: int) -> None:
        raise DataError(f"picture {index} is damaged")

    monkeypatch.setenv("LATENT_CHECKPOINTS", str(zoo))
    monkeypatch.setenv("LATENT_DATA", str(mnist_root))
    monkeypatch.setattr(gallery.Gallery, "pixels", damaged)
    with TestClient(Starlette(routes=[image_route(resources.original)])) as client:
        answer = client.get(f"{IMAGE_PATH}/{Z2}/7")
    assert (answer.status_code, answer.text) == (404, "picture 7 is damaged")
