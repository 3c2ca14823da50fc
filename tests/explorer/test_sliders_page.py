"""The Sliders page: order, principal directions, and directions that people make."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import directions, resources
from tests.explorer.conftest import (
    CGAN,
    VAE_Z2,
    VAE_Z5,
    Open,
    checked,
    conv_vae,
    make_checkpoint,
    settle,
    told,
    words,
)
from training import atlas
from training.atlas import pca

OpenModel = Callable[..., AppTest]
BANK = "slider_bank_vae"


def codes() -> tuple[torch.Tensor, torch.Tensor]:
    """10,000 codes (n, 5), the third number of which is their class, and classes (n,): those of
    the test set in the tests' data folder."""
    labels = torch.arange(10_000) // 500 % 10
    mu = torch.randn(10_000, 5, generator=torch.Generator().manual_seed(0))
    mu[:, 2] = labels.float()
    return mu.half(), labels.byte()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE and a conditional GAN with atlases, and one of each without; read-only."""
    root = tmp_path_factory.mktemp("models")
    mu, labels = codes()
    kl = torch.tensor([0.5, 0.0, 2.0, 0.009, 0.5])
    made = {"mu": mu, "labels": labels, "kl": kl, **pca(mu.float())}
    # Of its own seed: what is cached goes by the hash of the weights, an atlas aside.
    make_checkpoint(root / "vae", VAE_Z5, seed=9, atlas=made)
    samples = {
        "labels": labels,
        "pca": torch.randn(10_000, 2).half(),
        "umap": torch.randn(10_000, 2).half(),
        "pca_share": torch.tensor([0.5, 0.25]),
        "effect": torch.tensor([0.1, 0.001, 0.3, 0.2, 0.1, 0.0]),
    }
    make_checkpoint(root / "cgan", CGAN, seed=9, atlas=samples)
    make_checkpoint(root / "bare-vae", VAE_Z2)
    make_checkpoint(root / "bare-cgan", CGAN)
    make_checkpoint(root / "wide", conv_vae(200, (4,), 4))
    return root


@pytest.fixture
def open_model(open_app: Open, models: Path, mnist_root: Path) -> OpenModel:
    """``open_model(model, page="sliders", **link)``: a new session at that address."""
    opened = functools.partial(open_app, checkpoints=models, data=mnist_root)

    def open_one(model: str, page: str = "sliders", **link: str) -> AppTest:
        return opened(page, model=model, **link)

    return open_one


def rows(app: AppTest, key: str = BANK) -> list[dict]:
    return told(app, key)["rows"]


def choose(app: AppTest, along: str) -> AppTest:
    app.segmented_control(key="along").set_value(along)
    return checked(app.run())


# --- Dimensions ----------------------------------------------------------------------------------


def test_what_carries_most_comes_first_and_what_carries_nothing_last(open_model: OpenModel) -> None:
    app = open_model("vae")
    shown = rows(app)
    assert [row["axis"] for row in shown] == [2, 0, 4, 3, 1]
    assert [row["id"] for row in shown] == ["2", "0", "4", "3", "1"]
    assert [row["name"] for row in shown] == ["z₃", "z₁", "z₅", "z₄", "z₂"]
    notes = ["2.00 nats", "0.50 nats", "0.50 nats", "carries nothing", "carries nothing"]
    assert [row["note"] for row in shown] == notes
    assert [row["dead"] for row in shown] == [False, False, False, True, True]
    assert [row["share"] for row in shown] == pytest.approx([1, 0.25, 0.25, 0, 0])
    assert told(app, BANK)["shown"] == 8
    assert any("nats of KL" in one.value for one in app.caption)


@pytest.mark.parametrize(
    ("page", "key"), [("sliders", "slider_bank_cgan"), ("digits", "style_cgan")]
)
def test_what_moves_the_image_most_comes_first(open_model: OpenModel, page: str, key: str) -> None:
    shown = rows(open_model("cgan", page), key)
    assert [row["axis"] for row in shown] == [2, 3, 0, 4, 1, 5]
    assert shown[0]["note"] == "moves pixels by 0.30"
    assert [row["note"] for row in shown[4:]] == ["moves nothing"] * 2


def test_without_an_atlas_the_effect_is_measured_here(open_model: OpenModel) -> None:
    app = open_model("bare-cgan")
    moved = atlas.effect(resources.checkpoint("bare-cgan"), resources.EFFECT_BASES)
    found = resources.carried("bare-cgan")
    assert found is not None
    np.testing.assert_allclose(found.values, moved.numpy(), rtol=1e-4)
    order = [row["axis"] for row in rows(app, "slider_bank_bare-cgan")]
    assert order == directions.ranked(moved.numpy()).tolist()


def test_what_takes_too_long_to_measure_keeps_its_order_and_says_so(
    open_model: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "EFFECT_SIZE", 199 * 28 * 28)
    app = open_model("wide")
    shown = rows(app, "slider_bank_wide")
    assert [row["axis"] for row in shown] == list(range(200))
    assert {(row["note"], row["share"], row["dead"]) for row in shown} == {("", None, False)}
    assert not any("comes first" in one.value for one in app.caption)
    assert any("In their own order" in one.value for one in app.caption)


# --- Principal directions ------------------------------------------------------------------------


def test_principal_directions_are_three_deviations_long(open_model: OpenModel) -> None:
    app = choose(open_model("vae"), "principal")
    shown = rows(app)
    mu = codes()[0].float()
    found = pca(mu)
    assert len(shown) == 5
    assert shown[0]["id"] == "principal-0"
    np.testing.assert_allclose([row["vector"] for row in shown], found["pca_components"], atol=1e-5)
    far = 3 * found["pca_variance"].sqrt()
    np.testing.assert_allclose([row["reach"][1] for row in shown], far, atol=0.006)
    centres = found["pca_components"] @ found["pca_mean"]
    np.testing.assert_allclose([row["centre"] for row in shown], centres, atol=1e-4)
    assert shown[0]["note"] == "67% of the variance"
    assert app.query_params["along"] == "principal"


def test_a_vae_without_an_atlas_has_principal_directions_too(open_model: OpenModel) -> None:
    shown = rows(open_model("bare-vae", along="principal"), "slider_bank_bare-vae")
    assert [row["id"] for row in shown] == ["principal-0", "principal-1"]


def test_a_generator_has_no_principal_directions(open_model: OpenModel) -> None:
    app = open_model("cgan", along="principal")
    assert app.segmented_control(key="along").options == ["Dimensions", "Your directions"]
    assert rows(app, "slider_bank_cgan")[0]["axis"] == 2


# --- Directions of one's own ---------------------------------------------------------------------


def make(app: AppTest, a: int, b: int, name: str = "") -> AppTest:
    app.selectbox(key="direction_From_vae").set_value(a)
    app.selectbox(key="direction_To_vae").set_value(b)
    checked(app.run())
    if name:
        app.text_input(key=f"direction_name_vae_{a}_{b}").set_value(name)
        checked(app.run())
    return checked(app.button(key="make_classes").click().run())


def test_a_direction_between_two_classes_becomes_a_slider_and_a_link(open_model: OpenModel) -> None:
    app = open_model("vae", along="own")
    assert rows(app) == []
    assert "No directions yet" in words(app)
    checked(app.button(key="make_classes").click().run())
    make(app, 7, 1, "thinner <b>")
    first, second = rows(app)
    assert (first["name"], first["reach"], first["axis"], first["centre"]) == (
        "3 to 8",
        [-2, 2],
        None,
        None,
    )
    mu, labels = codes()
    difference = mu.float()[labels == 8].mean(0) - mu.float()[labels == 3].mean(0)
    np.testing.assert_allclose(first["vector"], difference, atol=1e-5)
    assert first["vector"][2] == pytest.approx(5)
    assert (second["name"], second["vector"][2]) == ("thinner b", pytest.approx(-6))
    assert app.query_params["dirs"] == "3 to 8!c3-8~thinner b!c7-1"
    again = open_model(**app.query_params)
    assert rows(again) == [first, second]
    assert not again.warning


def test_what_is_chosen_and_named_at_the_last_moment_is_made(open_model: OpenModel) -> None:
    """A click on the button is what ends the typing: both are told at once."""
    app = open_model("vae", along="own")
    app.text_input(key="direction_name_vae_3_8").set_value("mine")
    checked(app.button(key="make_classes").click().run())
    app.selectbox(key="direction_From_vae").set_value(1)
    checked(app.button(key="make_classes").click().run())
    assert app.query_params["dirs"] == "mine!c3-8~1 to 8!c1-8"


def test_a_direction_is_removed(open_model: OpenModel) -> None:
    app = open_model("vae", along="own", dirs="a!c1-2~b!c3-4~c!c5-6")
    second = app.button(key="remove_direction_b")
    checked(second.click().run())
    assert [row["name"] for row in rows(app)] == ["a", "c"]
    checked(second.click().run())  # clicked twice, faster than it goes
    assert [row["name"] for row in rows(app)] == ["a", "c"]
    assert app.query_params["dirs"] == "a!c1-2~c!c5-6"


def test_a_direction_that_cannot_be_made_becomes_a_sentence(open_model: OpenModel) -> None:
    app = open_model("vae", along="own", dirs="3 to 8!c3-8")
    checked(app.button(key="make_classes").click().run())
    assert "“3 to 8” already" in words(app)
    make(app, 4, 4)
    assert "two different classes" in words(app)
    make(app, 4, 5, "!!!")
    assert "needs a name" in words(app)
    assert [row["name"] for row in rows(app)] == ["3 to 8"]
    app = open_model("vae", along="own", dirs="~".join(f"{i}!c1-2" for i in range(8)))
    make(app, 4, 5)
    assert "can have 8 directions" in words(app)


def test_one_starts_from_an_image_of_the_class(open_model: OpenModel) -> None:
    app = open_model("vae", along="own", dirs="up!c3-8~down!c3-1")
    checked(app.button(key="start_from_3").click().run())
    assert told(app, BANK)["z"][2] == 3
    mu, _ = codes()
    assert np.abs(mu.float().numpy() - told(app, BANK)["z"]).max(1).min() < 0.001


def test_each_model_has_its_own_directions(open_model: OpenModel) -> None:
    app = open_model("vae", along="own", dirs="a!c1-2")
    app.sidebar.selectbox(key="model").set_value("bare-vae")
    checked(app.run())
    assert rows(app, "slider_bank_bare-vae") == []
    app.sidebar.selectbox(key="model").set_value("vae")
    checked(app.run())
    assert [row["name"] for row in rows(app)] == ["a"]


@pytest.mark.parametrize(
    ("dirs", "warned"),
    [
        ("a!c3-999", "not here"),
        ("a!g1_2_3", "3 numbers; this model has 5"),
        ("mine!f", "load it from its file"),
    ],
)
def test_a_link_to_another_models_direction_says_so(
    open_model: OpenModel, dirs: str, warned: str
) -> None:
    app = open_model("vae", along="own", dirs=f"{dirs}~b!c1-2")
    assert warned in words(app)
    assert [row["name"] for row in rows(app)] == ["b"]


def test_a_bad_link_is_left_out(open_model: OpenModel) -> None:
    app = open_model("vae", along="own", dirs="<script>!c1-2")
    assert "dirs (" in words(app)
    assert "script" not in words(app)
    assert rows(app) == []


def test_a_generator_that_is_asked_for_a_class_has_none_to_choose(open_model: OpenModel) -> None:
    app = open_model("cgan", along="own")
    assert not [one for one in app.button if one.label == "Make it"]
    assert any("asked for its class" in one.value for one in app.markdown)


def upload(app: AppTest, blob: bytes) -> AppTest:
    app.file_uploader(key="directions_file_vae").set_value(
        ("directions.json", blob, "application/json")
    )
    return checked(app.run())


def test_a_file_of_directions_is_loaded(open_model: OpenModel) -> None:
    app = open_model("vae", along="own")
    card = resources.models().cards["vae"]
    vector = np.array([0.5, 0, -0.25, 1, 2], np.float32)
    made = [directions.Direction("thick", vector, "")]
    upload(app, directions.write_file("vae", card.weights_sha256, made).encode())
    [row] = rows(app)
    assert (row["name"], row["vector"], row["note"]) == ("thick", vector.tolist(), "from a file")
    assert app.query_params["dirs"] == "thick!f0.5_0_-0.25_1_2"
    assert not app.warning
    assert rows(open_model(**app.query_params)) == [row]


def test_directions_of_other_weights_are_loaded_with_a_warning(open_model: OpenModel) -> None:
    app = open_model("vae", along="own")
    made = [directions.Direction("thick", np.ones(5, np.float32), "")]
    upload(app, directions.write_file("[other](x)", "0" * 64, made).encode())
    assert "other weights" in words(app)
    assert "[other](x)" not in words(app)  # no link of a stranger's
    assert len(rows(app)) == 1


@pytest.mark.parametrize(
    ("blob", "words_"),
    [
        (b"nothing", "not JSON"),
        (b"{}", "not a file of directions"),
        (
            json.dumps(
                {
                    "model": "vae",
                    "weights_sha256": "",
                    "directions": [{"name": "a", "vector": [1.0]}],
                }
            ).encode(),
            "has 1 numbers; this model has 5",
        ),
        (b" " * (2 << 20), "up to 1 MB"),
    ],
)
def test_a_bad_file_becomes_a_sentence(open_model: OpenModel, blob: bytes, words_: str) -> None:
    app = upload(open_model("vae", along="own"), blob)
    assert words_ in words(app)
    assert rows(app) == []


def test_a_long_direction_is_in_no_link_and_the_page_says_so(
    open_model: OpenModel, models: Path
) -> None:
    app = open_model("wide", along="own")
    made = [directions.Direction("thick", np.ones(200, np.float32), "")]
    sha256 = resources.models().cards["wide"].weights_sha256
    blob = directions.write_file("wide", sha256, made).encode()
    app.file_uploader(key="directions_file_wide").set_value(("d.json", blob, "application/json"))
    checked(app.run())
    assert len(rows(app, "slider_bank_wide")) == 1
    assert app.query_params["dirs"] == "thick!f"
    assert any("Not in this page's link" in one.value for one in app.caption)


# --- Groups on the map ---------------------------------------------------------------------------


def lasso(app: AppTest, marks: object, model: str = "vae") -> AppTest:
    """Draw around marks, as the map's script tells it."""
    d = len(told(app, f"latent_map_{model}")["z"])
    value = {"z": [0.0] * d, "weights": None, "selected": None, "marks": marks}
    return settle(app, f"latent_map_{model}", value)


def test_two_groups_of_marks_become_a_direction(open_model: OpenModel) -> None:
    app = open_model("vae", "map")
    assert app.button(key="group_A").disabled
    lasso(app, list(range(1, 500, 10)))
    assert any("50 marks" in one.value for one in app.markdown)
    checked(app.button(key="group_A").click().run())
    assert app.button(key="group_A").label == "Group A: 50 marks"
    assert app.button(key="make_groups").disabled
    lasso(app, [7, 17, 27])
    checked(app.button(key="group_B").click().run())
    app.text_input(key="group_name").set_value("thicker")
    checked(app.button(key="make_groups").click().run())  # which ends the typing: told at once
    [kept] = app.session_state["dirs"]
    mu = codes()[0].float().numpy()
    difference = mu[[7, 17, 27]].mean(0) - mu[1:500:10].mean(0)
    assert (kept.name, kept.source) == ("thicker", "groups")
    np.testing.assert_allclose(kept.vector, difference, atol=1e-5)
    checked(app.button(key="make_groups").click().run())
    assert "“thicker” already" in words(app)


def test_groups_stay_on_the_map_until_they_are_cleared(open_model: OpenModel) -> None:
    app = open_model("vae", "map")
    assert told(app, "latent_map_vae")["groups"] == {}
    for side, marks in (("A", [3, 5, 8]), ("B", [8, 13])):
        lasso(app, marks)
        checked(app.button(key=f"group_{side}").click().run())
    lasso(app, [1, 2])
    assert told(app, "latent_map_vae")["groups"] == {"A": [3, 5, 8], "B": [8, 13]}
    [clear] = [one for one in app.button if one.label == "Clear both groups"]
    checked(clear.click().run())
    assert told(app, "latent_map_vae")["groups"] == {}
    assert app.button(key="group_A").label == "Take as group A"
    assert not app.button(key="group_A").disabled, "the lasso still holds its marks"
    checked(app.button(key="group_A").click().run())
    assert told(app, "latent_map_vae")["groups"] == {"A": [1, 2]}


def test_a_group_is_what_the_lasso_holds_when_it_is_taken(open_model: OpenModel) -> None:
    """A lasso that is told while its page is still being drawn: the buttons are those of before."""
    app = lasso(open_model("vae", "map"), [1, 2])
    app.session_state["groups"]["lasso"] = np.array([3, 5, 8])
    checked(app.button(key="group_A").click().run())
    assert told(app, "latent_map_vae")["groups"] == {"A": [3, 5, 8]}


def test_a_direction_is_made_of_groups_that_are_cleared_right_after(open_model: OpenModel) -> None:
    """Two clicks that reach the server together are one run, and it may clear first."""
    app = open_model("vae", "map")
    for side, marks in (("A", [3, 5]), ("B", [8])):
        lasso(app, marks)
        checked(app.button(key=f"group_{side}").click().run())
    [clear] = [one for one in app.button if one.label == "Clear both groups"]
    app.button(key="make_groups").click()
    checked(clear.click().run())
    [kept] = app.session_state["dirs"]
    mu = codes()[0].float().numpy()
    np.testing.assert_allclose(kept.vector, mu[8] - mu[[3, 5]].mean(0), atol=1e-5)
    assert told(app, "latent_map_vae")["groups"] == {}


def test_a_groups_direction_is_in_the_sliders_link(open_model: OpenModel) -> None:
    app = open_model("vae", "map")
    for side, marks in (("A", [1]), ("B", [8])):
        lasso(app, marks)
        checked(app.button(key=f"group_{side}").click().run())
    checked(app.button(key="make_groups").click().run())
    checked(app.button(key="try_directions").click().run())
    [row] = rows(app)
    assert (row["name"], row["note"]) == ("A to B", "between two groups of marks")
    again = open_model(**app.query_params)
    np.testing.assert_allclose(rows(again)[0]["vector"], row["vector"], atol=0.0006)


def test_a_generators_samples_make_groups_too(open_model: OpenModel) -> None:
    app = open_model("cgan", "map")
    for side, marks in (("A", [0, 1]), ("B", [2])):
        lasso(app, marks, "cgan")
        checked(app.button(key=f"group_{side}").click().run())
    checked(app.button(key="make_groups").click().run())
    z = atlas.sample_codes(10_000, CGAN.latent_dim).numpy()
    [kept] = app.session_state["dirs"]
    np.testing.assert_allclose(kept.vector, z[2] - z[:2].mean(0), atol=1e-5)


def test_groups_with_the_same_mean_become_a_sentence(open_model: OpenModel) -> None:
    app = lasso(open_model("vae", "map"), [1, 2])
    for side in "AB":
        checked(app.button(key=f"group_{side}").click().run())
    checked(app.button(key="make_groups").click().run())
    assert "same mean" in words(app)


@pytest.mark.parametrize(
    ("marks", "count"),
    [
        ([3, 3, -1, 10_000, 2**70], 0),
        ([3, 3, -1, 10_000], 1),
        (["x"], 0),
        ([None], 0),
        ([[1, 2], [3]], 0),
        ({"a": 1}, 0),
        (None, 0),
        (5, 0),
        (list(range(10_000)) * 2, 10_000),
    ],
)
def test_marks_that_are_none_are_left_out(open_model: OpenModel, marks: object, count: int) -> None:
    app = lasso(open_model("vae", "map"), marks)
    assert len(app.session_state["groups"]["lasso"]) == count
