"""Finding checkpoints: one bad folder never hides the good ones, and none speaks in HTML."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import catalog, links
from tests.explorer.conftest import CGAN, VAE_Z2, VAE_Z5, conv_vae, make_card, make_checkpoint
from training import checkpoint, networks
from training.checkpoint import CheckpointError, Judged, Scores
from training.recipes import ELBO
from training.specs import ClassifierSpec

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> ![](https://evil.example/x.png)'


@pytest.fixture
def mixed(zoo: Path, tmp_path: Path) -> Path:
    """Good and bad checkpoints side by side, with other things between them."""
    root = tmp_path / "mixed"
    shutil.copytree(zoo, root)
    for name in ("truncated", "altered", "no-weights", "no-json", "newer"):
        shutil.copytree(zoo / "tiny-vae-z2", root / name)
    weights = root / "truncated" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    weights = root / "altered" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    (root / "no-weights" / "weights.safetensors").unlink()
    (root / "no-json" / "card.json").write_text("{")
    card = json.loads((root / "newer" / "card.json").read_text())
    (root / "newer" / "card.json").write_text(json.dumps(card | {"schema_version": 99}))
    shutil.copytree(zoo / "tiny-vae-z2", root / "judges" / "inside")
    (root / "empty").mkdir()
    (root / "README.md").write_text("# not a checkpoint")
    return root


def test_good_models_are_found_beside_bad_ones(mixed: Path) -> None:
    found = catalog.scan(mixed)
    assert list(found.cards) == ["tiny-vae-z2", "tiny-cgan", "tiny-vae-z5"]
    assert found.root == mixed
    for name in found.cards:
        assert found.open(name).card == found.cards[name]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("mine/model.pt", "model.pt can run code when it is opened, so it is not"),
        ("mine/last.CKPT", "last.CKPT can run code when it is opened, so it is not"),
        ("model.pth", "model.pth can run code when it is opened, so it is not"),
        ("mine/generator.onnx", "generator.onnx has to be called decoder.onnx"),
        ("mine/decoder.onnx", "decoder.onnx has no card.json beside it"),
        ("mine/weights.safetensors", "card.json is missing"),
    ],
)
def test_models_without_a_card_are_named_with_what_to_do(
    tmp_path: Path, file: str, words: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"...")
    found = catalog.scan(tmp_path)
    name = Path(file).parts[0]
    assert list(found.problems) == [name]
    assert words in found.problems[name]
    told = f"{found.problems[name]} {catalog.remedy(tmp_path / name, found.problems[name])}"
    assert ("Your own decoder" in told) != ("Copy the folder again" in told)


@pytest.mark.parametrize(
    "file", ["notes/about.txt", "judges/x/model.pt", ".hidden/model.pt", "one.partial/model.pt"]
)
def test_what_is_no_model_is_not_named(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"...")
    assert catalog.scan(tmp_path).problems == {}


def test_every_bad_folder_is_named_with_the_check_that_failed(mixed: Path) -> None:
    problems = catalog.scan(mixed).problems
    words = {
        "truncated": "truncated",
        "altered": "altered",
        "no-weights": "missing",
        "no-json": "not JSON",
        "newer": "update",
    }
    assert problems.keys() == words.keys()
    for name, word in words.items():
        assert word in problems[name]


def test_results_are_found_beside_the_models_and_are_none(zoo: Path, tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    root.mkdir()
    for name in ("tiny-vae-z2", "tiny-vae-z5", "tiny-cgan"):
        folder = shutil.copytree(
            zoo / name, root / ("" if name == "tiny-cgan" else "results") / name
        )
        if name != "tiny-cgan":
            (folder / "weights.safetensors").unlink()
    (root / "results" / "tiny-vae-z5" / "history.json").unlink()
    found = catalog.scan(root)
    assert list(found.cards) == list(found.trained) == ["tiny-cgan"]
    assert list(found.results) == ["results/tiny-vae-z2"]
    assert list(found.measured) == ["tiny-cgan", "results/tiny-vae-z2"]
    assert list(found.problems) == ["results/tiny-vae-z5"]
    assert "history.json is missing" in found.problems["results/tiny-vae-z5"]
    with pytest.raises(CheckpointError, match="no such model"):
        found.open("results/tiny-vae-z2")


def test_a_bad_model_cannot_be_opened(mixed: Path) -> None:
    found = catalog.scan(mixed)
    with pytest.raises(CheckpointError, match="truncated"):
        found.open("truncated")


@pytest.mark.parametrize("name", ["", ".", "..", "empty", "judges", "judges/inside", "../zoo"])
def test_only_what_is_in_the_catalog_can_be_opened(mixed: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        catalog.scan(mixed).open(name)


@pytest.mark.parametrize("model", ["old-vae-z2", "old-cgan", "best-gan"])
def test_a_model_is_opened_as_it_was_after_an_epoch(replays: Path, model: str) -> None:
    found = catalog.scan(replays)
    card = found.cards[model]
    z = torch.randn(3, card.latent_dim)
    y = torch.tensor([7, 0, 9]) if card.num_classes else None
    drawn = [found.open(model).decode(z, y)]
    for epoch in card.timeline:
        wanted = checkpoint.load(replays / model, epoch=epoch).decode(z, y)
        for opened in (
            found.open(model, epoch=epoch),
            catalog.open_key(replays, f"{model}@{epoch}"),
        ):
            assert torch.equal(opened.decode(z, y), wanted)
        assert not any(torch.equal(wanted, other) for other in drawn)
        drawn.append(wanted)
    assert torch.equal(catalog.open_key(replays, model).decode(z, y), drawn[0])


@pytest.mark.parametrize("key", ["old-gan@3", "old-gan@99999", "tiny-cgan@1"])
def test_an_epoch_that_was_not_kept_cannot_be_opened(replays: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match="keeps no weights of epoch"):
        catalog.open_key(replays, key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "@",
        "@1",
        "old-gan@",
        "old-gan@0",
        "old-gan@-1",
        "old-gan@01",
        "old-gan@+1",
        "old-gan@ 1",
        "old-gan@1 ",
        "old-gan@1\n",
        "old-gan@1.0",
        "old-gan@1e0",
        "old-gan@\u0661",
        "old-gan@1@1",
        "old-gan@" + "9" * 5000,
        "../replays/old-gan@1",
        "./old-gan@1",
        "old-gan/@1",
        "old-gan@../1",
        "old-gan@1/../../x",
    ],
)
def test_what_is_no_key_of_an_epoch_is_no_model(replays: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        catalog.open_key(replays, key)


def test_a_folder_that_is_called_like_an_epoch_of_another_is_left_out(
    replays: Path, tmp_path: Path
) -> None:
    shutil.copytree(replays / "old-gan", tmp_path / "old")
    shutil.copytree(replays / "tiny-vae-z2", tmp_path / "old@1")
    found = catalog.scan(tmp_path)
    assert (list(found.cards), list(found.problems)) == (["old"], ["old@1"])
    assert catalog.open_key(tmp_path, "old@1").card.family != "vae"


@pytest.mark.parametrize("name", ["größe vae", "a#b", "two words", "-", "Z2_b.c", "é", "a" * 101])
def test_a_folder_is_a_model_where_a_link_can_name_it(zoo: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(zoo / "tiny-vae-z2", tmp_path / name)
    found = catalog.scan(tmp_path)
    assert list(found.cards or found.problems) == [name]
    try:
        links.KEYS["model"].read(name)
    except ValueError:
        assert "rename the folder" in found.problems[name]
        assert not catalog.remedy(tmp_path / name, found.problems[name])  # it says so itself
        with pytest.raises(CheckpointError, match="rename the folder"):
            found.open(name)
    else:
        assert not found.problems


def test_epochs_whose_weights_are_those_shipped_are_no_earlier_ones(replays: Path) -> None:
    cards = catalog.scan(replays).cards
    found = {name: catalog.earlier(card) for name, card in cards.items()}
    assert {name: epochs for name, epochs in found.items() if epochs} == {
        "old-vae-z2": [1, 2],
        "old-vae-z5": [1, 3],
        "old-cgan": [1, 2],
        "old-gan": [1, 2],
        "best-gan": [2, 4],
    }
    assert cards["one-gan"].timeline == [4]
    for name, epochs in found.items():
        assert bool(catalog.abilities(cards[name])["replay"]) == (not epochs)


def test_a_model_that_went_bad_after_the_scan_cannot_be_opened(mixed: Path) -> None:
    found = catalog.scan(mixed)
    (mixed / "tiny-cgan" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated"):
        found.open("tiny-cgan")


def test_an_empty_and_a_missing_folder_hold_nothing(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        found = catalog.scan(root)
        assert (found.cards, found.problems) == ({}, {})


def test_maps_come_first_then_what_takes_orders_then_names(tmp_path: Path, zoo: Path) -> None:
    for name, source in (("d", "vae-z2"), ("c", "vae-z2"), ("b", "cgan"), ("a", "vae-z5")):
        shutil.copytree(zoo / f"tiny-{source}", tmp_path / name)
    assert list(catalog.scan(tmp_path).cards) == ["c", "d", "b", "a"]


def test_a_judge_outside_its_folder_is_no_model_to_explore(tmp_path: Path) -> None:
    spec = ClassifierSpec(channels=(4,))
    weights = checkpoint.inference_weights(networks.build(spec))
    history = {"train": {"total": [1.0]}, "test": {"total": [1.0]}}
    checkpoint.save(tmp_path / "judge", make_card("judge", spec), weights, history, {}, b"")
    make_checkpoint(tmp_path / "vae", VAE_Z2)
    found = catalog.scan(tmp_path)
    assert list(found.cards) == ["vae"]
    assert not found.problems


def test_numbers_in_names_are_compared_as_numbers() -> None:
    names = ["vae-beta-4", "vae-beta-10", "VAE-beta-0.1", "vae-z2", "gan", "7"]
    assert sorted(names, key=catalog.natural) == [
        "7", "gan", "VAE-beta-0.1", "vae-beta-4", "vae-beta-10", "vae-z2",
    ]  # fmt: skip


def test_what_each_page_can_do_with_a_model() -> None:
    vae, gan, cgan = (make_card("m", spec) for spec in (VAE_Z5, replace(CGAN, num_classes=0), CGAN))
    colour = make_card("m", conv_vae(2, (4,), 4, (3, 16, 16)))
    can = {
        "vae": (vae, True, {"map", "sliders", "morph", "draw"}),
        "vae, neither images nor atlas": (vae, False, {"sliders", "morph", "draw"}),
        "colour": (colour, True, {"map", "sliders", "morph"}),
        "cgan": (cgan, False, {"sliders", "morph", "digits"}),
        "gan": (gan, False, {"sliders", "morph"}),
        "gan, laid out": (gan, True, {"map", "sliders", "morph"}),
    }
    for what, (card, laid_out, pages) in can.items():
        found = catalog.abilities(card, laid_out)
        assert {page for page, why_not in found.items() if not why_not} == pages, what
        assert all(why_not.endswith(".") for why_not in found.values() if why_not)


def test_what_to_do_about_a_bad_folder(tmp_path: Path) -> None:
    cut = "weights.safetensors is truncated"
    assert "latent-train fit mnist-cgan`" in catalog.remedy(tmp_path / "mnist-cgan", cut)
    mine = tmp_path / "mine"
    assert catalog.remedy(mine, cut).startswith("Copy the folder again")
    assert "latent-train" not in catalog.remedy(mine, cut)
    assert not catalog.remedy(mine, "schema version 99 is newer: update latent-explorer")


def test_a_decoder_of_ones_own_with_a_bad_card_is_to_be_mended(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "decoder.onnx").write_bytes(b"...")
    (mine / "card.json").write_text('{"format": "onnx"')
    [told] = catalog.told(catalog.scan(tmp_path))
    assert told.startswith("**mine**: card.json is not JSON")
    assert "mend it as the README tells under “Your own decoder”" in told


def test_a_card_is_told_in_words() -> None:
    card = make_card(
        "m",
        VAE_Z2,
        title="Tiny VAE",
        metrics={
            "test/total": 199.0,  # with a beta that is not 1
            "test/reconstruction": 150.0,
            "test/kl": 10.25,
            "something/else": 1.0,
        },
        notes="Stopped early.",
        seconds=90.0,
    )
    words = catalog.describe(card)
    for part in (
        "**Tiny VAE** draws 28 x 28 grey images from **2 numbers**",
        "Trained on MNIST: 1 epoch, in which it saw 60,000 images, ",
        "decoder",
        f"{card.parameters['decoder']:,} parameters",
        "From report R3",
        "**160.2 nats**",
        "Stopped early",
    ):
        assert part in words
    assert "something" not in words
    assert "asked for" not in words
    assert "in 2 min on" in words
    assert "in 18 s on" in catalog.describe(card.model_copy(update={"seconds": 17.6}))


def test_a_conditional_models_card_says_what_it_can_be_asked(zoo: Path) -> None:
    card = (
        catalog.scan(zoo)
        .cards["tiny-cgan"]
        .model_copy(update={"metrics": {"test/class_agreement": 0.9876}})
    )
    words = catalog.describe(card)
    assert "one of 10 classes" in words
    assert "98.8%" in words
    assert "sharp" not in words
    scores = Scores(
        samples=100,
        seed=0,
        values={"class_agreement": 0.9123, "inception_score": 8.766, "sharpness": 0.555},
        real={"inception_score": 9.871},
        judge=Judged(name="a judge", sha256="0" * 64, accuracy=0.9961),
        data_sha256="",
        device="",
        seconds=0,
    )
    words = catalog.describe(card.model_copy(update={"scores": scores}))
    for part in ("91.2%", "8.77", "9.87", "99.61%", "0.56"):
        assert part in words
    assert "98.8%" not in words  # the full measure counts


def test_a_hostile_card_is_told_as_text() -> None:
    def show(words: str) -> None:
        import streamlit as st

        st.markdown(words)

    changes: dict[str, Any] = {"notes": HOSTILE, "device": HOSTILE}
    recipe = {"report": HOSTILE, "row": HOSTILE, "dataset": HOSTILE}
    card = make_card("m", VAE_Z2, title=HOSTILE, recipe_changes=recipe, **changes)
    words = catalog.describe(card)
    assert not re.search(r"(?<!\\)[\[\]<>]", words)
    app = AppTest.from_function(show, args=(words,)).run()
    assert app.markdown[0].allow_html is False


@pytest.mark.parametrize("text", ["Conditional GAN", "z=2, on 1.5 GB", "naïve β-VAE (2nd), 3-4"])
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert catalog.plain(text) == text


def test_what_markdown_would_take_for_an_order_is_escaped() -> None:
    assert catalog.plain("![a](b) <i> *c* _d_ `e` $f$ :g:") == (
        r"\!\[a\](b) \<i\> \*c\* \_d\_ \`e\` \$f\$ \:g\:"
    )
    assert catalog.plain("a\n\n# b") == r"a \# b"


def test_an_address_becomes_code_as_it_is_and_nothing_ends_the_code() -> None:
    address = "https://evil.example:80/~a_b?c=*d*"
    assert catalog.plain(f"see_{address}") == f"`see_{address}`"
    assert catalog.plain("`WWW.a.b`[c](d@e.f)") == r"\``WWW.a.b`\`\[c\]`(d@e.f)`"


def test_a_checkpoint_is_loaded_onto_the_device_asked_for(zoo: Path) -> None:
    opened = catalog.scan(zoo).open("tiny-vae-z2", "cpu")
    assert opened.device == torch.device("cpu")


def test_squared_errors_are_not_told_as_nats() -> None:
    metrics = {"test/total": 30.0, "test/reconstruction": 20.0, "test/kl": 10.0}
    card = make_card("m", VAE_Z2, metrics=metrics)
    recipe = replace(card.recipe, objective=ELBO("squared-error"))
    words = catalog.describe(card.model_copy(update={"recipe": recipe}))
    assert "ELBO" not in words
    assert "squared error **20.0**" in words
