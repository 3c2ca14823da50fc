import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from typer.testing import CliRunner

from training import checkpoint, networks
from training.checkpoint import (
    Card,
    CheckpointError,
    find,
    load,
    read_card,
    verify_files,
    write_folder,
)
from training.cli import app
from training.data import ImageData

Splits = tuple[ImageData, ImageData]

VAE, CGAN, JUDGE = "mnist-conv-vae-z2", "mnist-cgan", "judges/mnist-judge"


@pytest.fixture
def folder(tiny_checkpoints, tmp_path) -> Callable[[str], Path]:
    """A copy of a tiny checkpoint, to tamper with."""
    return lambda name: Path(shutil.copytree(tiny_checkpoints / name, tmp_path / "runs" / name))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        load(folder)
    assert folder.name in str(raised.value)
    return raised.value.check


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_file(folder: Path, name: str, blob: bytes) -> None:
    """Put ``blob`` in place of a file and let the card vouch for it, as an attacker would."""
    (folder / name).write_bytes(blob)
    files = json.loads((folder / "card.json").read_text())["files"]
    files[name] = {"size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    edit_card(folder, files=files)


def edit_tensors(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    tensors = load_file(folder / name)
    change(tensors)
    replace_file(folder, name, save(tensors))


# --- what is written is what is read


@pytest.mark.parametrize("name", [VAE, CGAN])
def test_a_loaded_checkpoint_decodes_as_the_rounded_network_did(
    name, tiny_recipe, train_run, halves: Splits, tmp_path
):
    from training.publish import publish

    run = train_run(tiny_recipe(name))
    publish(run, *halves, tmp_path / name)
    opened = load(tmp_path / name)

    network = networks.build(run.recipe.network).eval()
    assert not isinstance(network, networks.Classifier)
    network.load_state_dict({k: v.half().float() for k, v in run.network.state_dict().items()})
    z = torch.randn(8, opened.card.latent_dim)
    y = torch.arange(8) % 2 if opened.card.num_classes else None
    condition = None if y is None else torch.eye(2)[y]
    with torch.no_grad():
        expected = network.decode(z, condition)
    x_hat = opened.decode(z, y)
    assert x_hat.dtype == torch.float32
    assert x_hat.shape == (8, 1, 8, 8)
    assert torch.equal(x_hat, expected)
    assert torch.equal(load(tmp_path / name).decode(z, y), x_hat)


def test_the_card_says_what_was_trained(tiny_checkpoints, tiny_recipe, halves: Splits):
    card = read_card(tiny_checkpoints / VAE)
    assert card.recipe == tiny_recipe(VAE)
    assert (card.name, card.family, card.latent_dim, card.num_classes) == (VAE, "vae", 2, 0)
    assert card.image_shape == (1, 8, 8)
    assert (card.epochs, card.images_seen, card.seed) == (2, 192, 0)
    assert card.data_sha256 == halves[0].fingerprint
    network = networks.build(card.recipe.network)
    assert card.parameters == networks.parameters_by_network(network)
    folder = tiny_checkpoints / VAE
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {"card.json", *card.files}
    assert set(card.files) == {
        "weights.safetensors", "history.json", "atlas.safetensors", "samples.png",
        "timeline/epoch-0001.safetensors", "timeline/epoch-0002.safetensors",
    }  # fmt: skip
    assert (tiny_checkpoints / VAE / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_weights_are_float16_and_without_the_discriminator(tiny_checkpoints):
    tensors = load_file(tiny_checkpoints / CGAN / "weights.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"generator"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_a_loaded_network_is_in_evaluation_mode_without_gradients(tiny_checkpoints):
    for name in (VAE, CGAN, JUDGE):
        opened = load(tiny_checkpoints / name)
        assert not any(module.training for module in opened.network.modules())
        assert not any(p.requires_grad for p in opened.network.parameters())
        assert opened.device.type == "cpu"
        assert opened.folder == tiny_checkpoints / name


def test_a_card_of_this_version_still_validates(tiny_checkpoints):
    """Cards written so far have these fields, and none may become required later."""
    content = json.loads((tiny_checkpoints / VAE / "card.json").read_text())
    assert content.keys() == {
        "schema_version", "recipe", "classes", "latent_dim", "num_classes", "image_shape",
        "image_range", "parameters", "seed", "epochs", "images_seen", "seconds", "device",
        "data_sha256", "libraries", "created", "metrics", "scores", "judge", "notes", "files",
    }  # fmt: skip
    assert Card.model_validate(content).model_dump(mode="json") == content
    del content["scores"]  # cards written before there were scores
    assert Card.model_validate(content).scores is None


# --- decode, encode, classify


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16]
)
def test_decode_takes_classes_of_any_integer_type(tiny_checkpoints, dtype):
    opened = load(tiny_checkpoints / CGAN)
    z, y = torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    assert torch.equal(opened.decode(z, y.to(dtype)), opened.decode(z, y))


def test_decode_takes_class_weights(tiny_checkpoints):
    opened = load(tiny_checkpoints / CGAN)
    z, y = torch.randn(2, 6), torch.tensor([1, 0])
    assert torch.equal(opened.decode(z, torch.eye(2)[y]), opened.decode(z, y))
    half = opened.decode(z, torch.full((2, 2), 0.5))
    assert not torch.equal(half, opened.decode(z, y))


def test_decode_of_nothing_is_nothing(tiny_checkpoints):
    assert load(tiny_checkpoints / VAE).decode(torch.zeros(0, 2)).shape == (0, 1, 8, 8)
    opened = load(tiny_checkpoints / CGAN)
    assert opened.decode(torch.zeros(0, 6), torch.zeros(0, 2)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "say which class"),
        (torch.tensor([True, False]), "bool"),
        (torch.tensor([[True, False], [False, True]]), "bool"),
        (torch.tensor([1j, 0j]), "complex"),
        (torch.tensor([0, 2]), "unknown class"),
        (torch.tensor([0, -1]), "unknown class"),
        (torch.tensor([0]), "unknown class"),
        (torch.tensor([0.0, 1.0]), "must be"),
        (torch.tensor([[0.5, 0.6], [1.0, 0.0]]), "sum to 1"),
        (torch.tensor([[1.5, -0.5], [1.0, 0.0]]), "sum to 1"),
        (torch.tensor([[torch.nan, 1.0], [1.0, 0.0]]), "sum to 1"),
        (torch.eye(3)[:2], "must be"),
    ],
)
def test_decode_refuses_other_classes(tiny_checkpoints, y, message):
    with pytest.raises(ValueError, match=message):
        load(tiny_checkpoints / CGAN).decode(torch.zeros(2, 6), y)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(2, 3), "shape"),
        (torch.zeros(2), "shape"),
        (torch.tensor([[0.0, torch.nan]]), "NaN"),
        (torch.tensor([[0.0, torch.inf]]), "NaN"),
    ],
)
def test_decode_refuses_other_latents(tiny_checkpoints, z, message):
    with pytest.raises(ValueError, match=message):
        load(tiny_checkpoints / VAE).decode(z)


def test_each_family_does_its_own_work_only(tiny_checkpoints):
    vae, cgan, judge = (load(tiny_checkpoints / name) for name in (VAE, CGAN, JUDGE))
    x = torch.rand(3, 1, 8, 8)
    with pytest.raises(ValueError, match="takes no class"):
        vae.decode(torch.zeros(1, 2), torch.zeros(1).long())
    with pytest.raises(ValueError, match="not a classifier"):
        vae.classify(x)
    with pytest.raises(ValueError, match="no encoder"):
        cgan.encode(x)
    with pytest.raises(ValueError, match="it draws none"):
        judge.decode(torch.zeros(1, 2))
    assert judge.classify(x).shape == (3, 2)
    mu, log_var = vae.encode(x)
    assert mu.shape == log_var.shape == (3, 2)
    for bad in (torch.rand(3, 1, 8, 9), torch.rand(1, 8, 8), torch.full((1, 1, 8, 8), torch.nan)):
        with pytest.raises(ValueError, match="images"):
            vae.encode(bad)


# --- tampering


def test_a_folder_that_is_no_checkpoint(tmp_path):
    assert "no card.json" in refusal(tmp_path)
    assert "no card.json" in refusal(tmp_path / "missing")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2]", "null", "3", '"card"', "{}", "\x00", "[" * 100_000, '{"schema_version": 0}',
     '{"schema_version": true}', '{"schema_version": "2"}', '{"schema_version": 2}',
     '{"schema_version": ' + "9" * 10_000 + "}"],
)  # fmt: skip
def test_a_card_that_is_no_card(folder, text):
    path = folder(VAE)
    (path / "card.json").write_text(text)
    assert "card.json" in refusal(path)


def test_a_card_that_is_not_text(folder):
    path = folder(VAE)
    (path / "card.json").write_bytes(b"\xff\xfe\x80")
    assert "not JSON" in refusal(path)


def test_a_card_that_is_too_large(folder):
    path = folder(VAE)
    with (path / "card.json").open("ab") as file:
        file.write(b" " * (1 << 20))
    assert "larger than" in refusal(path)


def test_a_card_of_another_version(folder):
    path = folder(VAE)
    edit_card(path, schema_version=3)
    assert "update latent-explorer" in refusal(path)
    edit_card(path, schema_version=1)
    assert "schema version 1 is older than 2" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"metrics": {"test/total": float("nan")}}, "NaN is not a number"),
        ({"seconds": float("inf")}, "Infinity is not a number"),
        ({"surprise": 1}, "surprise"),
        ({"latent_dim": 3}, "latent_dim"),
        ({"num_classes": 10}, "num_classes"),
        ({"image_shape": [1, 28, 28]}, "image_shape"),
        ({"epochs": -1}, "epochs"),
        ({"classes": "ab"}, "classes"),
        ({"files": {"weights.safetensors": {"size": 1 << 40, "sha256": "0" * 64}}}, "size"),
        ({"files": {"weights.safetensors": {"size": -1, "sha256": "0" * 64}}}, "size"),
        ({"files": {"weights.safetensors": {"size": 1, "sha256": "xyz"}}}, "sha256"),
        ({"files": {"../outside": {"size": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"timeline/../../x": {"size": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {".hidden": {"size": 1, "sha256": "0" * 64}}}, "files"),
        ({"files": {"a\\b": {"size": 1, "sha256": "0" * 64}}}, "files"),
    ],
)
def test_a_card_with_an_invalid_field(folder, changes, where):
    path = folder(VAE)
    edit_card(path, **changes)
    check = refusal(path)
    assert "card.json" in check
    assert where in check


STAGE = {"channels": 8, "kernel": 3, "stride": 2}


@pytest.mark.parametrize(
    ("part", "changes", "where"),
    [
        ("", {"latent_dim": 10**9}, "latent_dim"),
        ("encoder", {"dense": [10**6, 10**6]}, "dense"),
        ("encoder", {"dense": [8] * 100}, "dense"),
        ("encoder", {"stages": [STAGE] * 100}, "stages"),
        ("encoder", {"stages": [STAGE | {"channels": 10**6}]}, "channels"),
        ("encoder", {"stages": [STAGE | {"kernel": 1000}]}, "kernel"),
        ("encoder", {"kind": "os.system"}, "kind"),
        ("decoder", {"stages": []}, "stages"),
        ("decoder", {"grid": [10**9, 2, 2]}, "grid"),
        ("", {"image_shape": [1, 9, 8]}, "the convolutions end in (1, 8, 8), not in (1, 9, 8)"),
        ("", {"kind": "gan"}, "card.json"),
        ("", {"kind": "os.system"}, "kind"),
    ],
)
def test_a_card_that_asks_for_an_impossible_network(folder, part, changes, where):
    path = folder(VAE)
    recipe = json.loads((path / "card.json").read_text())["recipe"]
    network = recipe["network"]
    if part:
        network[part] |= changes
    else:
        network |= changes
    edit_card(path, recipe=recipe)
    assert where in refusal(path)


def test_a_card_whose_objective_is_not_its_networks(folder):
    path = folder(VAE)
    recipe = json.loads((path / "card.json").read_text())["recipe"]
    edit_card(path, recipe=recipe | {"objective": {"kind": "adversarial"}})
    assert "objective adversarial cannot train a network of kind vae" in refusal(path)


def test_a_card_with_too_few_class_names(folder):
    for name in (CGAN, JUDGE):
        path = folder(name)
        edit_card(path, classes=["left"])
        assert "1 class names for 2 classes" in refusal(path)


def test_a_card_without_weights(folder):
    path = folder(VAE)
    files = json.loads((path / "card.json").read_text())["files"]
    del files["weights.safetensors"]
    edit_card(path, files=files)
    assert refusal(path) == "the card lists no weights.safetensors"
    with pytest.raises(CheckpointError, match="lists no weights"):
        verify_files(path)


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda path: path.write_bytes(b""), "truncated: 0 of"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "longer"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x55"), "altered"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "not a file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a file"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "link that leads out"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "cannot be read"),
    ],
)
@pytest.mark.parametrize(
    "name", ["weights.safetensors", "history.json", "atlas.safetensors", "samples.png"]
)
def test_a_damaged_file_is_named_with_the_check(folder, name, damage, check):
    path = folder(VAE)
    damage(path / name)
    message = refusal(path)
    assert name in message
    assert check in message


def test_links_out_of_the_folder_are_refused_even_to_the_same_bytes(folder, tmp_path):
    path = folder(VAE)
    for name in ("weights.safetensors", "card.json"):
        (path / name).rename(tmp_path / name)
        (path / name).symlink_to(tmp_path / name)
        assert "link that leads out" in refusal(path)
        (path / name).unlink()
        (tmp_path / name).rename(path / name)
    load(path)


def test_a_checkpoints_folder_may_itself_be_a_link(folder, tmp_path):
    path = folder(VAE)
    (tmp_path / "linked").symlink_to(path)
    assert load(tmp_path / "linked").card.name == VAE


FIRST = "decoder.convs.0.weight"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda t: t.pop(FIRST), f"tensor {FIRST} is missing"),
        (lambda t: t.update(spy=torch.zeros(1)), "tensor spy does not belong"),
        (lambda t: t.update({FIRST: t[FIRST][:1]}), f"tensor {FIRST} has shape"),
        (lambda t: t.update({FIRST: t[FIRST].flatten()}), f"tensor {FIRST} has shape"),
        (lambda t: t.update({FIRST: t[FIRST].int()}), f"tensor {FIRST} has type torch.int32"),
        (lambda t: t.update({FIRST: t[FIRST].double()}), f"tensor {FIRST} has type torch.float64"),
        (lambda t: t.update({FIRST: t[FIRST] > 0}), f"tensor {FIRST} has type torch.bool"),
        (lambda t: t[FIRST].view(-1)[0].fill_(torch.nan), f"tensor {FIRST} holds NaN"),
        (lambda t: t[FIRST].view(-1)[0].fill_(-torch.inf), f"tensor {FIRST} holds NaN"),
    ],
)
def test_tensors_that_are_not_the_networks(folder, change, check):
    path = folder(VAE)
    edit_tensors(path, "weights.safetensors", change)
    assert check in refusal(path)


def test_counters_must_be_integers(folder):
    path = folder(JUDGE)
    name = "stages.stage0.1.num_batches_tracked"
    edit_tensors(path, "weights.safetensors", lambda t: t.update({name: t[name].float()}))
    assert f"tensor {name} has type torch.float32" in refusal(path)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x80\x04}.",  # a pickle
        b"\xff" * 64,
        (1 << 60).to_bytes(8, "little") + b"{}",
        (70).to_bytes(8, "little")
        + b'{"a":{"dtype":"F16","shape":[1099511627776],"data_offsets":[0,2]}}'.ljust(70)
        + b"\0\0",
    ],
)
def test_weights_that_are_no_safetensors(folder, blob):
    path = folder(VAE)
    replace_file(path, "weights.safetensors", blob)
    assert "not a safetensors file" in refusal(path)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda t: t.pop("labels"), "labels is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra does not belong"),
        (lambda t: t.update(mu=t["mu"][:, :1].contiguous()), "mu has shape"),
        (lambda t: t.update(mu=t["mu"][1:]), "mu has shape"),
        (lambda t: t.update(labels=torch.tensor(3, dtype=torch.uint8)), "has shape"),
        (lambda t: t.update(labels=t["labels"].float()), "not integers"),
        (lambda t: t["labels"].fill_(2), "labels are not from 0 to 1"),
        (lambda t: t.update(pca_components=t["pca_components"][:1]), "pca_components has shape"),
        (lambda t: t.update(pca_mean=torch.zeros(3)), "pca_mean has shape"),
        (lambda t: t.update(umap=torch.zeros(32, 3)), "umap has shape"),
        (lambda t: t.update(mu=t["mu"].int()), "not a float type"),
        (lambda t: t["mu"].fill_(torch.nan), "mu holds NaN"),
    ],
)
def test_an_atlas_that_does_not_fit_the_card(folder, change, check):
    path = folder(VAE)
    edit_tensors(path, "atlas.safetensors", change)
    opened = load(path)
    with pytest.raises(CheckpointError, match=r"atlas\.safetensors") as raised:
        opened.atlas()
    assert check in raised.value.check


def test_without_a_judge_an_atlas_is_there_for_a_vae_only(tiny_checkpoints):
    assert load(tiny_checkpoints / VAE).atlas()["mu"].shape == (32, 2)
    assert load(tiny_checkpoints / CGAN).atlas() == {}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({}, ""),
        ({"mu": torch.zeros(4, 6)}, "mu does not belong"),
        ({"effect": torch.zeros(5)}, "effect has shape"),
        ({"umap": torch.zeros(4, 3)}, "umap has shape"),
        ({"pca": torch.full((4, 2), torch.inf)}, "pca holds NaN or infinity"),
    ],
)
def test_the_atlas_of_a_generator_is_of_samples(tiny_checkpoints, tmp_path, change, check):
    opened = load(tiny_checkpoints / CGAN)
    atlas = {
        "labels": torch.tensor([0, 1, 1, 0], dtype=torch.uint8),
        "pca": torch.zeros(4, 2),
        "umap": torch.zeros(4, 2),
        "pca_share": torch.zeros(2),
        "effect": torch.zeros(6),
    } | change
    weights = checkpoint.inference_weights(opened.network)
    checkpoint.save(tmp_path / CGAN, opened.card, weights, opened.history(), atlas, b"")
    if not check:
        assert load(tmp_path / CGAN).atlas().keys() == atlas.keys()
        return
    with pytest.raises(CheckpointError, match=check):
        load(tmp_path / CGAN).atlas()


def test_the_history_comes_back_as_written(tiny_recipe, train_run, tiny_checkpoints):
    run = train_run(tiny_recipe(VAE))  # a second run of the same seed: equal but for rounding
    history = load(tiny_checkpoints / VAE).history()
    assert history.keys() == run.history.keys() == {"train", "test"}
    for split, parts in history.items():
        assert parts.keys() == run.history[split].keys()
        for name, values in parts.items():
            assert values == pytest.approx(run.history[split][name], rel=1e-4)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"train": {}}', '{"train": [], "test": []}', "[" * 5000,
     '{"train": {"total": [1, NaN]}, "test": {}}', '{"train": {"total": [1, 2, 3]}, "test": {}}',
     '{"train": {"total": [1, "x"]}, "test": {}}', '{"train": {}, "test": {}, "other": {}}'],
)  # fmt: skip
def test_a_history_that_is_none(folder, text):
    path = folder(VAE)
    replace_file(path, "history.json", text.encode())
    opened = load(path)
    with pytest.raises(CheckpointError, match=r"history\.json"):
        opened.history()


def test_a_device_that_is_not_there(tiny_checkpoints):
    with pytest.raises(CheckpointError, match="cannot be used"):
        load(tiny_checkpoints / VAE, "cuda:99")


# --- weights of earlier epochs, and losses per batch

REPLAYED = "mnist-gan-r4-z2"  # with batch normalisation: statistics and counters are kept too


@pytest.fixture(scope="module")
def replayable(tiny_recipe, train_run, halves: Splits, tmp_path_factory) -> Path:
    """A checkpoint with a timeline and losses per batch."""
    from training.publish import publish

    path = tmp_path_factory.mktemp("replayable") / REPLAYED
    run = train_run(tiny_recipe(REPLAYED, epochs=3, timeline=(1, 3, 100), batch_history=True))
    publish(run, *halves, path)
    return path


def test_the_weights_of_earlier_epochs_come_back(replayable, tiny_recipe, train_run):
    opened = load(replayable)
    assert opened.timeline() == [1, 3]  # epoch 100 was never reached
    early, late = load(replayable, epoch=1), load(replayable, epoch=3)
    z = torch.randn(4, 2)
    assert torch.equal(late.decode(z), opened.decode(z))
    assert not torch.equal(early.decode(z), opened.decode(z))
    once = train_run(tiny_recipe(REPLAYED, epochs=1))
    for name, tensor in early.network.state_dict().items():
        expected = once.network.state_dict()[name]
        torch.testing.assert_close(tensor, expected, atol=1e-3, rtol=1e-3)
    assert set(opened.card.files) >= {f"timeline/epoch-000{epoch}.safetensors" for epoch in (1, 3)}


def test_an_epoch_that_was_not_kept_is_refused(replayable, tiny_checkpoints):
    with pytest.raises(CheckpointError, match=r"lists no timeline/epoch-0002\.safetensors"):
        load(replayable, epoch=2)
    assert load(tiny_checkpoints / CGAN).timeline() == []


def test_earlier_weights_are_verified_as_the_last_ones_are(replayable, tmp_path):
    path = Path(shutil.copytree(replayable, tmp_path / REPLAYED))
    name = "timeline/epoch-0001.safetensors"
    edit_tensors(path, name, lambda t: t.update(spy=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="tensor spy does not belong"):
        load(path, epoch=1)
    (path / name).write_bytes(b"")
    assert f"{name} is truncated" in refusal(path)


@pytest.mark.parametrize("name", ["timeline/epoch-0001.safetensors", "batches.safetensors"])
def test_verify_looks_into_every_file(replayable, tmp_path, name):
    path = Path(shutil.copytree(replayable, tmp_path / REPLAYED))
    runner = CliRunner()
    assert runner.invoke(app, ["verify", str(path)]).exit_code == 0
    edit_tensors(path, name, lambda t: t.update(spy=torch.zeros(1, 1)))
    result = runner.invoke(app, ["verify", str(path)])
    assert result.exit_code == 1
    assert "spy" in result.output


def test_the_losses_of_every_batch_come_back(replayable, tiny_checkpoints):
    opened = load(replayable)
    (every, losses), history = opened.batch_losses(), opened.history()["train"]
    assert every == 1
    parts = {"discriminator", "generator", "jsd", "d_real", "d_fake"}
    assert losses.keys() == history.keys() == parts
    for name, values in losses.items():
        assert values.shape == (18,)  # 3 epochs of 6 batches
        means = values.view(3, 6).mean(1).tolist()
        assert means == pytest.approx(history[name], rel=1e-5)
    assert load(tiny_checkpoints / VAE).batch_losses() == (1, {})


@pytest.mark.parametrize(("most", "every"), [(18, 1), (17, 2), (9, 2), (7, 3), (1, 18)])
def test_of_many_batches_one_in_so_many_is_kept(
    replayable, tmp_path, most, every, monkeypatch: pytest.MonkeyPatch
):
    opened = load(replayable)
    whole = opened.batch_losses()[1]
    monkeypatch.setattr(checkpoint, "MOST_BATCHES", most)
    checkpoint.save(
        tmp_path / REPLAYED,
        opened.card,
        checkpoint.inference_weights(opened.network),
        opened.history(),
        {},
        b"",
        batch_losses=whole,
    )
    kept = load(tmp_path / REPLAYED).batch_losses()
    assert kept[0] == every
    for name, values in kept[1].items():
        assert len(values) <= most
        assert values.tolist() == whole[name].tolist()[::every]


@pytest.mark.parametrize("every", [0, 1.5, [1, 2]])
def test_a_share_of_batches_that_is_none_is_refused(replayable, tmp_path, every):
    path = Path(shutil.copytree(replayable, tmp_path / REPLAYED))
    edit_tensors(path, "batches.safetensors", lambda t: t.update(every=torch.tensor(every)))
    with pytest.raises(CheckpointError, match="every is no number"):
        load(path).batch_losses()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(generator=t["generator"].view(3, 6)),
        lambda t: t.update(generator=t["generator"].half()),
    ],
)
def test_losses_that_are_no_list_are_refused(replayable, tmp_path, change):
    path = Path(shutil.copytree(replayable, tmp_path / REPLAYED))
    edit_tensors(path, "batches.safetensors", change)
    with pytest.raises(CheckpointError, match="generator is not a list"):
        load(path).batch_losses()


# --- writing: whole or not at all


def save_again(folder: Path, **changes: object) -> Card:
    opened = load(folder)
    card = opened.card.model_copy(update=changes)
    return checkpoint.save(
        folder,
        card,
        checkpoint.inference_weights(opened.network),
        opened.history(),
        opened.atlas(),
        (folder / "samples.png").read_bytes(),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_saving_replaces_the_folder_and_leaves_nothing_else(folder):
    path = folder(VAE)
    (path / "stale.txt").write_text("old")
    save_again(path, notes="second")
    assert load(path).card.notes == "second"
    assert not (path / "stale.txt").exists()
    assert names(path.parent) == [VAE]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "first rename", "second rename"])
def test_a_failure_while_saving_keeps_the_old_folder(folder, monkeypatch, error, call):
    path = folder(VAE)
    before = read_card(path)
    rename, renames = Path.rename, iter(range(10))

    def fail(*_):
        raise error

    def fail_once(self, target):
        if next(renames) == (0 if call == "first rename" else 1):
            raise error
        return rename(self, target)

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(type(error)):
        save_again(path, notes="second")
    monkeypatch.undo()
    assert load(path).card == before
    assert names(path.parent) == [VAE]


def test_a_failure_while_saving_the_first_time_leaves_nothing(folder, monkeypatch, tmp_path):
    path = folder(VAE)
    opened = load(path)

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(os, "fsync", fail)
    weights = checkpoint.inference_weights(opened.network)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "new" / VAE, opened.card, weights, opened.history(), {}, b"")
    assert names(tmp_path / "new") == []


def test_weights_that_are_not_finite_are_never_written(folder):
    path = folder(VAE)
    opened = load(path)
    weights = checkpoint.inference_weights(opened.network)
    weights[FIRST].view(-1)[0] = torch.inf
    with pytest.raises(CheckpointError, match="nothing was written"):
        checkpoint.save(path, opened.card, weights, opened.history(), {}, b"")
    assert load(path).card == opened.card


def test_a_kill_between_the_two_renames_is_recovered(folder, monkeypatch):
    """Kill -9 runs no handler: what it leaves is made here by stopping before the second rename."""
    path = folder(VAE)
    before = read_card(path)
    rename = Path.rename

    class Killed(BaseException):
        pass

    def rename_once(self, target):
        monkeypatch.setattr(Path, "rename", killed)
        return rename(self, target)

    def killed(self, target):
        raise Killed

    monkeypatch.setattr(Path, "rename", rename_once)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(Killed):
        save_again(path, notes="second")
    monkeypatch.undo()
    left = names(path.parent)
    assert len(left) == 2
    assert all(name.startswith(".") for name in left)
    assert find(path.parent) == []  # neither half is taken for a checkpoint

    checkpoint.recover(path)
    assert names(path.parent) == [VAE]
    assert load(path).card == before


def test_saving_clears_the_leftovers_of_an_earlier_kill(folder):
    path = folder(VAE)
    for leftover in (f".{VAE}.old", f".{VAE}.new-abcd"):
        shutil.copytree(path, path.parent / leftover)
    other = Path(shutil.copytree(path, path.parent / ".mnist-conv-vae-z20.new-abcd"))
    save_again(path, notes="second")
    assert names(path.parent) == [other.name, VAE]
    assert load(path).card.notes == "second"


def test_find_lists_checkpoints_and_judges_but_no_leftovers(folder):
    root = folder(VAE).parent
    folder(CGAN)
    folder(JUDGE)
    for name in (f".{VAE}-abcd", f".{VAE}.old", f"{VAE}.partial", f"judges/.{VAE}.old"):
        shutil.copytree(root / VAE, root / name)
    (root / "empty").mkdir()
    (root / "file").write_text("")
    assert [path.relative_to(root).as_posix() for path in find(root)] == [JUDGE, CGAN, VAE]
    assert find(root / "missing") == []


def test_every_shipped_checkpoint_verifies():
    root = checkpoint.shipped()
    opened = {path.relative_to(root).as_posix(): load(path) for path in find(root)}
    assert opened.keys() >= {"mnist-conv-vae-z2", "mnist-cgan", "judges/mnist-judge"}
    for shipped in opened.values():
        shipped.atlas()
        shipped.history()


@pytest.mark.parametrize("last", ["c", "timeline/c"])
def test_a_folder_cleared_away_while_it_is_written_is_not_put_in_place_by_halves(
    tmp_path, monkeypatch, last
):
    """As another process does that takes it for a leftover."""
    folder = tmp_path / "a"
    write_folder(folder, {"a": b"old"})
    sync, calls = os.fsync, iter(range(9))

    def cleared(file: int) -> None:
        sync(file)
        if next(calls) == 1:
            checkpoint.recover(folder)

    monkeypatch.setattr(os, "fsync", cleared)
    with pytest.raises(FileNotFoundError):
        write_folder(folder, {"a": b"1", "b": b"2", last: b"3"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (folder / "a").read_bytes() == b"old"
