"""What a tile tells of a model, and which models are shown in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from explorer import tiles
from tests.explorer.conftest import CGAN, VAE_Z2, VAE_Z5, make_card
from training.checkpoint import Card, FileEntry, Judged, Scores

GAN = replace(CGAN, num_classes=0, latent_dim=64)


def scores(**values: float) -> Scores:
    return Scores(
        samples=100,
        seed=0,
        values=values,
        real={"inception_score": 9.85},
        judge=Judged(name="a judge", sha256="0" * 64, accuracy=0.99),
        data_sha256="",
        device="",
        seconds=0,
    )


def sized(size: int) -> dict[str, FileEntry]:
    files = {"weights.safetensors": size, "atlas.safetensors": 5_000_000}
    return {name: FileEntry(size=n, sha256="0" * 64) for name, n in files.items()}


def card(spec: Any, title: str, report: str, dataset: str = "mnist", **changes: Any) -> Card:
    recipe = {"report": report, "dataset": dataset, "row": f"{title} as reported"}
    return make_card("m", spec, title=title, recipe_changes=recipe, **changes)


@pytest.fixture
def cards() -> dict[str, Card]:
    """Three models of which no two are alike."""
    return {
        "b": card(VAE_Z5, "VAE, z=10", "R1", files=sized(300), scores=scores(inception_score=5.0)),
        "c": card(VAE_Z2, "VAE, z=2", "", "my_photos", files=sized(200)),
        "a": card(CGAN, "A GAN", "R3", files=sized(100), scores=scores(inception_score=9.0)),
    }


def chosen(cards: dict[str, Card], search: str = "", order: str = "first", **wanted: Any) -> str:
    return "".join(tiles.chosen(cards, wanted, search, order))


def test_every_family_and_report_is_in_words() -> None:
    assert tiles.facets(card(GAN, "x", "R2")) == {"family": "gan", "data": "mnist", "reports": "R2"}
    assert tiles.facets(card(VAE_Z2, "x", ""))["reports"] == tiles.OWN
    assert tiles.facets(card(VAE_Z2, "x", "<b>"))["reports"] == tiles.OWN
    assert tiles.facets(card(VAE_Z2, "x", "", dataset="Photos"))["reports"] == tiles.YOURS
    assert tiles.FACETS["family"].word("wgan") == "Wasserstein GAN"
    assert tiles.FACETS["data"].word("my_photos") == "my_photos"


def test_only_what_some_model_has_can_be_chosen(cards: dict[str, Card]) -> None:
    assert tiles.options(cards, "family") == ["vae", "cgan"]
    assert tiles.options(cards, "data") == ["mnist", "my_photos"]
    assert tiles.options(cards, "reports") == ["R1", "R3", "yours"]


def test_filters_join_values_of_a_facet_and_meet_between_facets(cards: dict[str, Card]) -> None:
    assert chosen(cards) == "bca"
    assert chosen(cards, family=["vae"]) == "bc"
    assert chosen(cards, family=["vae", "cgan"], reports=["R3", "yours"]) == "ca"
    assert chosen(cards, family=["vae"], reports=["R3"]) == ""
    assert chosen(cards, data=["my_photos"], family=[]) == "c"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("vae", "bc"),
        ("Z=10 vae", "b"),
        ("conditional", "a"),
        ("MNIST", "ba"),
        ("r3", "a"),
        ("your pictures", "c"),
        ("as reported", "bca"),
        ("nothing", ""),
        ("[", ""),
    ],
)
def test_every_word_of_a_search_must_be_told(
    cards: dict[str, Card], search: str, found: str
) -> None:
    assert chosen(cards, search) == found


@pytest.mark.parametrize(
    ("order", "names"),
    [("first", "bca"), ("name", "acb"), ("score", "abc"), ("size", "acb"), ("latents", "cba")],
)
def test_orders(cards: dict[str, Card], order: str, names: str) -> None:
    assert chosen(cards, order=order) == names


def test_every_order_of_a_link_is_known() -> None:
    from explorer.links import KEYS

    assert [KEYS["sort"].read(order) for order in tiles.ORDERS] == list(tiles.ORDERS)


@pytest.mark.parametrize("facet", tiles.FACETS)
def test_every_value_can_stand_in_a_link(facet: str) -> None:
    from explorer.links import KEYS

    values = list(tiles.FACETS[facet].words)
    assert KEYS[facet].read(KEYS[facet].write(values)) == values


def test_a_tile_tells_size_and_training() -> None:
    made = card(GAN, "x", "R4", files=sized(2_924_114), epochs=35)
    made = made.model_copy(update={"recipe": replace(made.recipe, epochs=100)})
    assert tiles.build(made) == "64 latent numbers · 2.9 MB · stopped at 35 of 100 epochs"
    whole = make_card("m", VAE_Z2, files=sized(3_666), recipe_changes={"epochs": 1})
    assert tiles.build(whole) == "2 latent numbers · 4 kB · 1 epoch"


def test_a_size_is_that_of_the_weights_or_else_of_all_files() -> None:
    files = {"decoder.onnx": FileEntry(size=70, sha256="0" * 64)}
    assert tiles.weights_bytes(make_card("m", VAE_Z2, files=sized(9))) == 9
    assert tiles.weights_bytes(make_card("m", VAE_Z2, files=files)) == 70


def test_a_tile_tells_what_was_measured() -> None:
    assert tiles.measured(make_card("m", VAE_Z2)) == []
    nats = {"test/reconstruction": 140.0, "test/kl": 6.54}
    vae = make_card(
        "m", VAE_Z2, metrics=nats, scores=scores(inception_score=4.876, sharpness=0.139)
    )
    assert tiles.measured(vae) == [
        "Inception Score **4.88** (real 9.85)",
        "Negative ELBO **146.5** nats",
        "Sharpness **0.14** (real 1.00)",
    ]
    asked = make_card("m", CGAN, metrics={"test/class_agreement": 0.5})
    assert tiles.measured(asked) == ["Class asked for **50.0%**"]
    scored = make_card("m", CGAN, scores=scores(class_agreement=0.987))
    assert tiles.measured(scored) == ["Class asked for **98.7%**"]


def test_badges_are_words_and_bring_no_markup() -> None:
    assert tiles.badges(card(VAE_Z2, "x", "R3")) == (
        ":blue-badge[VAE] :grey-badge[MNIST] :grey-badge[R3]"
    )
    hostile = card(VAE_Z2, "x", "", dataset="a] ![](https://evil.example/x.png)")
    assert tiles.badges(hostile) == (
        ":blue-badge[VAE] :grey-badge[a httpsevil.examplex.png] :grey-badge[of your pictures]"
    )


@pytest.mark.parametrize("dataset", ["", "~", "_a~b", "ü" * 50, "a" * 200, "My photos (2024)"])
def test_a_data_set_of_any_name_can_stand_in_a_link(dataset: str) -> None:
    from explorer.links import KEYS

    value = tiles.facets(card(VAE_Z2, "x", "", dataset=dataset))["data"]
    assert KEYS["data"].read(KEYS["data"].write([value])) == [value]
