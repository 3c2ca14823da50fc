"""ONNX decoders: what others export is drawn as they would, what would do harm is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from tests import foreign
from tests.conftest import SPECS
from tests.foreign import SHAPE, D, conditional, keras, model, weights, write
from tests.training.conftest import text
from training import checkpoint, onnx_files, onnx_trial
from training.checkpoint import CheckpointError, load, read_card, shipped
from training.cli import app
from training.networks import Network, OverlapAddConv2d, build, parameters_by_network
from training.onnx_files import export, is_foreign, open_any, open_decoder, read_any
from training.recipes import RECIPES
from training.specs import LSTM, ConvUp, Dense, NetworkSpec, Up, VAESpec

VAE, CGAN = "mnist-conv-vae-z2", "mnist-cgan"
DECODERS = {name: spec for name, spec in SPECS.items() if name != "mnist-judge"} | {
    "mnist-lstm-vae-z2": VAESpec(2, LSTM(4), Dense((8,)), (1, 8, 8)),
    "mnist-gan-r2": replace(
        SPECS["mnist-wgan-r2"],
        generator=ConvUp(
            grid=(64, 4, 4), stages=(Up(64, 4), Up(1, 7, stride=1, op="conv")), activation="leaky"
        ),
    ),
    "imagenette-vae-z200": VAESpec(
        3,
        Dense((4,)),
        ConvUp(grid=(8, 2, 2), stages=(Up(8, 4), Up(8, 4), Up(3, 4)), resize=True),
        (3, 10, 10),
    ),
}
"""Every way of growing an image that recipes use, small."""


@pytest.fixture
def trained(tmp_path: Path) -> Callable[[str, NetworkSpec], checkpoint.Checkpoint]:
    """``trained(name, spec)``: a checkpoint of an untrained network, opened."""

    def make(name: str, spec: NetworkSpec) -> checkpoint.Checkpoint:
        torch.manual_seed(0)
        network: Network = build(spec)
        recipe = replace(RECIPES[name], network=spec)
        classes = tuple(map(str, range(getattr(spec, "num_classes", 0))))
        card = checkpoint.Card(
            recipe=recipe, classes=classes, latent_dim=recipe.latent_dim,
            num_classes=recipe.num_classes, image_shape=spec.image_shape,
            parameters=parameters_by_network(network), seed=0, epochs=1, images_seen=1, seconds=1,
            device="a test", data_sha256="", libraries={}, created="",
        )  # fmt: skip
        history = {"train": {"total": [1.0]}, "test": {"total": [1.0]}}
        kept = checkpoint.inference_weights(network)
        checkpoint.save(tmp_path / name, card, kept, history, {}, b"")
        return load(tmp_path / name)

    return make


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        open_decoder(folder)
    assert folder.name in str(raised.value)
    assert "\n" not in raised.value.check
    return raised.value.check


def expected(z: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """What `tests.foreign.keras` draws, in [0, 1] and channels first."""
    channels, height, width = SHAPE
    image = torch.tanh(z @ torch.from_numpy(weights(seed=seed))).view(-1, height, width, channels)
    return (image.permute(0, 3, 1, 2) + 1) / 2


# --- our own models, exported


@pytest.mark.parametrize("name", list(DECODERS))
def test_an_exported_model_decodes_as_the_checkpoint_does(name, trained, tmp_path):
    opened = trained(name, DECODERS[name])
    card = export(opened, tmp_path / "out")
    copied = open_decoder(tmp_path / "out")
    assert copied.card == card
    for n in (0, 1, 3, 17):
        z = torch.randn(n, opened.card.latent_dim)
        y = torch.arange(n) % 2 if opened.card.num_classes else None
        images = copied.decode(z, y)
        assert images.dtype == torch.float32
        assert images.shape == (n, *opened.card.image_shape)
        assert torch.allclose(images, opened.decode(z, y), atol=1e-4)


def test_a_convolution_is_exported_as_one(trained, tmp_path):
    opened = trained("mnist-gan-r2", DECODERS["mnist-gan-r2"])
    assert any(isinstance(layer, OverlapAddConv2d) for layer in opened.network.modules())
    export(opened, tmp_path / "out")
    operators = {node.op_type for node in onnx.load(tmp_path / "out" / "decoder.onnx").graph.node}
    assert "Conv" in operators
    assert "Col2Im" not in operators


@pytest.mark.parametrize("name", [VAE, CGAN])
def test_a_shipped_model_decodes_alike_as_onnx(name, tmp_path):
    if not (shipped() / name).is_dir():
        pytest.skip(f"{name} is not shipped")
    opened = load(shipped() / name)
    card = export(opened, tmp_path / name)
    assert (card.title, card.dataset) == (opened.card.recipe.title, "mnist")
    copied = open_decoder(tmp_path / name)
    for n in (1, 3, 17):
        z = torch.randn(n, card.latent_dim)
        y = torch.arange(n) % 10 if card.num_classes else None
        assert torch.allclose(copied.decode(z, y), opened.decode(z, y), atol=1e-4)


def test_an_export_names_no_file_of_this_computer(trained, tmp_path):
    export(trained(VAE, SPECS[VAE]), tmp_path / "out")
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files.keys() == {"decoder.onnx", "card.json"}  # the weights are inside
    for blob in files.values():
        assert str(Path.cwd()).encode() not in blob
        assert b".py" not in blob
    graph = onnx.load_from_string(files["decoder.onnx"]).graph
    assert [value.name for value in graph.input] == ["z"]
    assert [value.name for value in graph.output] == ["image"]


def test_an_export_that_fails_leaves_what_was_there(trained, tmp_path, monkeypatch):
    write(tmp_path / "out")
    before = (tmp_path / "out" / "decoder.onnx").read_bytes()
    opened = trained(VAE, SPECS[VAE])
    monkeypatch.setattr(onnx_files, "_require_alike", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(opened, tmp_path / "out")
    assert (tmp_path / "out" / "decoder.onnx").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [VAE, "out"]


def test_an_export_that_draws_otherwise_is_not_written(trained, tmp_path):
    opened = trained(VAE, SPECS[VAE])
    other = trained(VAE, SPECS[VAE])
    with torch.no_grad():
        for parameter in other.network.parameters():
            parameter.add_(0.5)
    opened.decode = other.decode
    with pytest.raises(CheckpointError, match="away from the checkpoint's"):
        export(opened, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_judge_and_points_are_not_exported(trained, tmp_path):
    with pytest.raises(ValueError, match="draws nothing that could be exported"):
        export(trained("mnist-judge", SPECS["mnist-judge"]), tmp_path / "out")
    points = trained("ring8-gan", RECIPES["ring8-gan"].network)
    with pytest.raises(CheckpointError, match="no pictures"):
        export(points, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- a stranger's decoder


@pytest.mark.parametrize("n", [0, 1, 3, 17])
def test_a_channels_last_decoder_in_minus_one_to_one_is_drawn(tmp_path, n):
    opened = open_decoder(write(tmp_path / "mine"))
    z = torch.randn(n, D)
    images = opened.decode(z)
    assert images.dtype == torch.float32
    assert torch.allclose(images, expected(z), atol=1e-5)
    assert opened.device == torch.device("cpu")


def test_a_channels_first_decoder_is_drawn(tmp_path):
    shape = {"shape": np.array([-1, *SHAPE])}
    opened = open_decoder(write(tmp_path / "mine", keras(constants=shape, output=["n", *SHAPE])))
    z = torch.randn(2, D)
    flat = torch.tanh(z @ torch.from_numpy(weights()))
    assert torch.allclose(opened.decode(z), (flat.view(2, *SHAPE) + 1) / 2, atol=1e-5)


def test_the_card_says_what_is_known_and_nothing_else(tmp_path):
    folder = write(tmp_path / "mine", notes="By hand.")
    opened = open_any(folder)
    card = opened.card
    assert (card.name, card.family, card.title, card.dataset) == (
        "mine", "decoder", "A decoder of mine", "faces",
    )  # fmt: skip
    assert (card.latent_dim, card.num_classes, card.image_shape) == (D, 0, SHAPE)
    assert (card.scores, card.metrics, card.parameters, card.classes) == (None, {}, {}, ())
    assert card.files["decoder.onnx"].size == (folder / "decoder.onnx").stat().st_size
    assert card.weights_sha256 == card.files["decoder.onnx"].sha256
    assert not card.mixes_classes
    assert (opened.atlas(), opened.timeline(), opened.batch_losses()) == ({}, [], (1, {}))
    assert read_any(folder) == card


def test_a_decoder_has_no_encoder_and_is_no_classifier(tmp_path):
    opened = open_decoder(write(tmp_path / "mine"))
    with pytest.raises(ValueError, match="mine has no encoder"):
        opened.encode(torch.zeros(1, *SHAPE))
    with pytest.raises(ValueError, match="not a classifier"):
        opened.classify(torch.zeros(1, *SHAPE))


def test_a_conditional_decoder_takes_classes_and_one_hot_rows(tmp_path):
    folder = write(tmp_path / "mine", conditional(), classes=["a", "b", "c"], image_range=[0, 1])
    opened = open_decoder(folder)
    z, y = torch.randn(4, D), torch.tensor([0, 2, 1, 2])
    images = opened.decode(z, y)
    assert torch.equal(opened.decode(z, torch.eye(3)[y]), images)
    assert torch.equal(opened.decode(z, y.to(torch.uint8)), images)
    assert not torch.allclose(opened.decode(z, 2 - y), images)
    for bad, words in (
        (None, "say which class"),
        (torch.tensor([0, 1, 2, 3]), "unknown class"),
        (torch.full((4, 3), 1 / 3), "nothing between classes"),
        (torch.full((4, 3), 1.0), "sum to 1"),
        (torch.eye(3), r"must be \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            opened.decode(z, bad)


@pytest.mark.parametrize(
    ("z", "words"),
    [
        (torch.zeros(1, D + 1), r"wants z of shape \(n, 4\)"),
        (torch.zeros(D), r"wants z of shape \(n, 4\)"),
        (torch.full((1, D), torch.nan), "NaN"),
    ],
)
def test_other_latents_are_refused(tmp_path, z, words):
    opened = open_decoder(write(tmp_path / "mine"))
    with pytest.raises(ValueError, match=words):
        opened.decode(z)
    with pytest.raises(ValueError, match="unconditional"):
        opened.decode(torch.zeros(1, D), torch.tensor([0]))


def test_an_output_whose_first_dimension_is_fixed_by_mistake_is_drawn(tmp_path):
    """As torch's older exporter leaves it where only the input is said to be free."""
    channels, height, width = SHAPE
    opened = open_decoder(write(tmp_path / "mine", keras(output=[2, height, width, channels])))
    z = torch.randn(5, D)
    assert torch.allclose(opened.decode(z), expected(z), atol=1e-5)


# --- cards


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": None}, "invalid at title"),
        ({"titel": "?"}, "invalid at titel"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 5000}, "latent_dim"),
        ({"image_shape": [2, 8, 8]}, "image_shape"),
        ({"image_shape": [3, 8, 2000]}, "image_shape"),
        ({"image_range": [0, 255]}, r"must be \[0, 1\] or \[-1, 1\]"),
        ({"classes": [""]}, "classes"),
        ({"classes": [str(i) for i in range(1001)]}, "classes"),
    ],
)
def test_a_card_with_a_wrong_field_is_refused(tmp_path, changes, words):
    assert re.search(words, refusal(write(tmp_path / "mine", **changes)))


@pytest.mark.parametrize("field", ["title", "dataset", "latent_dim", "image_shape"])
def test_a_card_without_a_field_is_refused(tmp_path, field):
    folder = write(tmp_path / "mine")
    content = foreign.card()
    del content[field]
    (folder / "card.json").write_text(json.dumps(content))
    assert f"card.json is invalid at {field}: Field required" in refusal(folder)


def test_a_short_card_is_enough(tmp_path):
    folder = write(tmp_path / "mine", keras(end="Sigmoid"))
    content = foreign.card()
    del content["image_range"]
    (folder / "card.json").write_text(json.dumps(content))
    assert open_decoder(folder).card.image_range == (0, 1)


# --- files that are refused


def renamed(graph_input: str) -> onnx.ModelProto:
    made = keras()
    made.graph.input[0].name = graph_input
    made.graph.node[0].input[0] = graph_input
    return made


def of_type(dtype: int, shape: list[Any], cast: bool = True) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["z"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["image"]),
    ]
    constants = {"w": weights(), "shape": np.array([-1, SHAPE[1], SHAPE[2], SHAPE[0]])}
    return model(nodes, constants, inputs={"z": (dtype, shape)})


def with_two_outputs() -> onnx.ModelProto:
    made = keras()
    made.graph.output.add().CopyFrom(
        helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n", 144])
    )
    return made


def edited(change: Callable[[onnx.ModelProto], object], base: onnx.ModelProto | None = None):
    made = keras() if base is None else base
    change(made)
    return made


def external(location: str) -> onnx.ModelProto:
    made = keras()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return made


def external_constant() -> onnx.ModelProto:
    tensor = helper.make_tensor("inside", TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.external_data.add(key="location", value="/etc/passwd")
    extra = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("Add", ["h", "c"], ["image"]),
    ]
    return keras(extra)


def with_huge(nodes: list[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    """A decoder that makes something huge, called big, on the way and adds its sum."""
    extra = [
        *nodes,
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
        helper.make_node("Add", ["h", "most"], ["image"]),
    ]
    return keras(extra, constants={name: np.array(value) for name, value in constants.items()})


HUGE = {
    "ConstantOfShape": with_huge(
        [helper.make_node("ConstantOfShape", ["size"], ["big"])], size=[10**6, 10**6]
    ),
    "Expand": with_huge(
        [helper.make_node("Expand", ["w", "size"], ["big"])], size=[10**4, 10**6, 1, 1]
    ),
    "Tile": with_huge([helper.make_node("Tile", ["w", "times"], ["big"])], times=[10**6, 10**6]),
    "empty": with_huge([helper.make_node("ConstantOfShape", ["size"], ["big"])], size=[0, 10**12]),
}


def unknown_size() -> onnx.ModelProto:
    """As much as a latent says."""
    return with_huge(
        [
            helper.make_node("ReduceSum", ["z"], ["s"], keepdims=0),
            helper.make_node("Cast", ["s"], ["i"], to=TensorProto.INT64),
            helper.make_node("Unsqueeze", ["i", "axis"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["big"]),
        ],
        axis=[0],
    )


def with_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["times", "", "h"], ["image"], body=body)
    return keras([loop], constants={"times": np.array(10**15)})


def with_function() -> onnx.ModelProto:
    made = keras([helper.make_node("Mine", ["h"], ["image"], domain="mine")], domains=["mine"])
    made.functions.append(
        helper.make_function(
            "mine", "Mine", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])],
            [helper.make_opsetid("", 18)],
        )
    )  # fmt: skip
    return made


def of_domain(domain: str, op: str) -> onnx.ModelProto:
    return keras([helper.make_node(op, ["h"], ["image"], domain=domain)], domains=[domain])


def mixing_rows() -> onnx.ModelProto:
    """Batch normalisation as in training: over the images that happen to be drawn together."""
    extra = [
        helper.make_node("ReduceMean", ["h", "axis"], ["mean"]),
        helper.make_node("Sub", ["h", "mean"], ["c"]),
        helper.make_node("Tanh", ["c"], ["image"]),
    ]
    return keras(extra, constants={"axis": np.array([0])})


def not_a_number() -> onnx.ModelProto:
    return keras([helper.make_node("Log", ["h"], ["image"])])


def fixed_batch() -> onnx.ModelProto:
    """One image however many latents, whatever is declared."""
    return keras(
        [
            helper.make_node("ReduceMean", ["h", "axis"], ["mean"]),
            helper.make_node("Identity", ["mean"], ["image"]),
        ],
        constants={"axis": np.array([0])},
    )


REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "input name": (renamed("noise"), "the inputs are noise, not z"),
    "class without classes": (conditional(), "the inputs are class, z, not z"),
    "input type": (of_type(TensorProto.DOUBLE, ["n", D]), "input z is not float32"),
    "input width": (of_type(TensorProto.FLOAT, ["n", 5]), "input z has shape (n, 5), not (n, 4)"),
    "input rank": (of_type(TensorProto.FLOAT, ["n", D, 1]), "not (n, 4)"),
    "input free width": (of_type(TensorProto.FLOAT, ["n", "d"]), "not (n, 4)"),
    "fixed batch": (of_type(TensorProto.FLOAT, [1, D]), "takes 1 at a time"),
    "two outputs": (with_two_outputs(), "2 outputs"),
    "output declared huge": (keras(output=["n", 10**6, 10**6, 3]), "the output has shape"),
    "output of another size": (
        keras(constants={"shape": np.array([-1, 6, 8, 3])}, output=["n", 6, 8, 3]),
        "not (n, 3, 8, 6) or (n, 8, 6, 3) as the card says",
    ),
    "output of free and other size": (
        keras(constants={"shape": np.array([-1, 6, 8, 3])}, output=["n", "h", "w", "c"]),
        "the output has shape (n, 6, 8, 3)",
    ),
    "external data": (external("weights.bin"), "external data"),
    "external data outside": (external("../../../../etc/passwd"), "external data"),
    "external data in an operator": (external_constant(), "external data"),
    "random": (
        keras([
            helper.make_node("RandomNormalLike", ["h"], ["r"]),
            helper.make_node("Tanh", ["r"], ["image"]),
        ]),
        "draws at random (RandomNormalLike)",
    ),
    "loop": (with_loop(), "holds a loop or a branch (Loop)"),
    "function": (with_function(), "holds functions of its own (Mine)"),
    "custom domain": (of_domain("evil", "Read"), "operator Read is of evil"),
    "files read by operators": (of_domain("com.microsoft", "EPContext"), "is of com.microsoft"),
    "no such operator": (keras([helper.make_node("Nope", ["h"], ["image"])]), "not valid ONNX"),
    "size unknown": (unknown_size(), "is not known before it is run"),
    "rows mixed": (mixing_rows(), "export it in evaluation mode"),
    "NaN": (not_a_number(), "draws NaN or infinity"),
    "one image for all": (fixed_batch(), "makes (1, 8, 6, 3) of 3 latents"),
    "out of range": (keras(end="Relu"), "outside the card's image_range [-1, 1]"),
    "no operators": (edited(lambda m: m.graph.ClearField("node")), "holds no operators"),
} | {
    f"huge {name}": (made, "of one latent, over") for name, made in HUGE.items()
}  # fmt: skip


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_file_that_does_harm_or_is_not_as_the_card_says_is_refused(tmp_path, what):
    made, words = REFUSED[what]
    assert words in refusal(write(tmp_path / "mine", made))


def test_wrong_classes_are_refused(tmp_path):
    folder = write(tmp_path / "mine", keras(), classes=["a", "b"])
    assert "the inputs are z, not z and class" in refusal(folder)
    made = conditional()
    made.graph.input[1].type.tensor_type.elem_type = TensorProto.INT32
    folder = write(tmp_path / "mine", made, classes=["a", "b", "c"])
    assert "input class is not int64" in refusal(folder)


def test_external_data_is_never_opened(tmp_path):
    """Not even where the file is there and all else is in order."""
    folder = write(tmp_path / "mine", external("weights.bin"))
    (folder / "weights.bin").write_bytes(weights().tobytes())
    assert "with the weights inside the file" in refusal(folder)


@pytest.mark.parametrize("blob", [b"", b"\x00" * 100, b"PK\x03\x04 a zip", b"\x80\x04K\x01."])
def test_what_is_not_onnx_is_refused(tmp_path, blob):
    assert "decoder.onnx is not an ONNX file" in refusal(write(tmp_path / "mine", blob))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    blob = keras().SerializeToString()
    folder = write(tmp_path / "mine", blob[: int(len(blob) * share)])
    assert "not an ONNX file, or is truncated" in refusal(folder)


def test_a_model_that_looks_like_onnxruntimes_own_format_is_read_as_onnx(tmp_path):
    """With "ORTM" at byte 4 the bytes would else be taken for a format that nothing checked."""
    made = keras()
    made.producer_name = "ORTM" * 4
    assert made.SerializeToString()[4:8] == b"ORTM"
    z = torch.randn(2, D)
    opened = open_decoder(write(tmp_path / "mine", made))
    assert torch.allclose(opened.decode(z), expected(z), atol=1e-5)


def test_shapes_that_the_file_claims_are_not_believed(tmp_path):
    made = unknown_size()
    made.graph.value_info.add().CopyFrom(
        helper.make_tensor_value_info("big", TensorProto.FLOAT, [1])
    )
    assert "is not known before it is run" in refusal(write(tmp_path / "mine", made))


def test_sparse_weights_are_refused(tmp_path):
    made = keras()
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    at = numpy_helper.from_array(np.array([0]), "at")
    sparse = helper.make_sparse_tensor(values, at, [10**12])
    made.graph.sparse_initializer.append(sparse)
    assert "sparse weights" in refusal(write(tmp_path / "mine", made))


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "mine")
    monkeypatch.setattr(onnx_files, "MAX_FILE_BYTES", 1000)
    assert "decoder.onnx is larger than" in refusal(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder, elsewhere = write(tmp_path / "mine"), write(tmp_path / "elsewhere")
    (folder / "decoder.onnx").unlink()
    (folder / "decoder.onnx").symlink_to(elsewhere / "decoder.onnx")
    assert "decoder.onnx is a link that leads out of the folder" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    folder = write(tmp_path / "mine")
    (folder / "decoder.onnx").unlink()
    os.mkfifo(folder / "decoder.onnx")
    assert "decoder.onnx is not a file" in refusal(folder)


def test_a_missing_file_is_named(tmp_path):
    folder = write(tmp_path / "mine")
    (folder / "decoder.onnx").unlink()
    assert refusal(folder) == "decoder.onnx is missing"


# --- the trial


def test_a_decoder_that_takes_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_trial, "SECONDS", 0.01)
    assert "decoder.onnx takes over 0.01 seconds" in refusal(write(tmp_path / "mine"))


def test_a_crash_ends_the_trial_alone(tmp_path, monkeypatch):
    run = subprocess.run
    crash = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr(onnx_trial.subprocess, "run", lambda _, **rest: run(crash, **rest))
    assert "decoder.onnx ended the process that tried it" in refusal(write(tmp_path / "mine"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")
def test_memory_is_bounded(tmp_path, monkeypatch):
    """To infer the shapes of this one counts to 10^12, which nobody's memory holds."""
    made = with_huge(
        [
            helper.make_node("Range", ["a", "b", "c"], ["r"]),
            helper.make_node("Cast", ["r"], ["big"], to=TensorProto.FLOAT),
        ],
        a=0,
        b=10**12,
        c=1,
    )
    monkeypatch.setattr(onnx_trial, "MEMORY_BYTES", 1 << 30)
    folder = write(tmp_path / "mine", made)
    assert refusal(folder) == "decoder.onnx takes over 1 GB to check and try"
    with pytest.raises(CheckpointError, match="takes over 1 GB"):
        read_any(folder)


# --- beside checkpoints


def test_a_checkpoint_and_a_decoder_are_told_apart(tiny_checkpoints, tmp_path):
    folder = write(tmp_path / "mine")
    assert is_foreign(folder)
    assert not is_foreign(tiny_checkpoints / VAE)
    assert not is_foreign(tmp_path)
    assert open_any(tiny_checkpoints / VAE).card == read_any(tiny_checkpoints / VAE)
    with pytest.raises(CheckpointError, match="mine: it is an ONNX decoder"):
        read_card(folder)
    with pytest.raises(CheckpointError, match="it is an ONNX decoder"):
        load(folder)


def test_onnx_is_not_imported_without_such_a_folder(tiny_checkpoints):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from explorer import catalog\n"
        f"found = catalog.scan(Path({str(tiny_checkpoints)!r}))\n"
        f"found.open({VAE!r})\n"
        "assert not [name for name in sys.modules if name.split('.')[0].startswith('onnx')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- the command line


def run(*words: object):
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def runs(tiny_checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with runs in it and nothing shipped."""
    shutil.copytree(tiny_checkpoints, tmp_path / "work" / "runs")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(tmp_path / "nothing"))
    return tmp_path / "work" / "runs"


def test_export_finds_a_model_by_name_and_writes_beside(runs):
    result = run("export", CGAN)
    assert result.exit_code == 0, result.output
    assert f"{CGAN}-onnx decodes as {CGAN} does" in text(result)
    opened, copied = load(runs / CGAN), open_decoder(Path(f"{CGAN}-onnx"))
    assert copied.card.classes == opened.card.classes
    z, y = torch.randn(3, 6), torch.tensor([0, 1, 0])
    assert torch.allclose(copied.decode(z, y), opened.decode(z, y), atol=1e-4)


def test_export_takes_a_folder_and_another_place(runs, monkeypatch):
    monkeypatch.chdir(runs / VAE)
    result = run("export", ".", "--onnx", "--out", runs / "copy")
    assert result.exit_code == 0, result.output
    assert is_foreign(runs / "copy")
    monkeypatch.setenv("LATENT_CHECKPOINTS", str(runs))  # what is shipped
    monkeypatch.chdir(runs.parent)
    assert run("export", VAE).exit_code == 0
    assert is_foreign(Path(f"{VAE}-onnx"))


def test_export_replaces_a_decoder_only_when_told_to_and_nothing_else_ever(runs):
    write(Path("old"))
    result = run("export", VAE, "--onnx", "--out", "old")
    assert result.exit_code == 1
    assert "old is already there: pass --overwrite" in text(result)
    assert read_any("old").title == "A decoder of mine"
    assert run("export", VAE, "--onnx", "--out", "old", "--overwrite").exit_code == 0
    assert read_any("old").title == read_card(runs / VAE).title
    before = sorted(runs.rglob("*"))
    for place in (runs, runs / CGAN, runs / VAE):
        result = run("export", VAE, "--onnx", "--out", place, "--overwrite")
        assert result.exit_code == 1
        assert "left alone" in text(result)
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize(
    ("model_name", "words"),
    [
        ("nobody", "there is no checkpoint nobody"),
        ("judges/mnist-judge", "draws nothing that could be exported"),
        ("broken", "truncated"),
        ("mine", "it is an ONNX decoder"),
    ],
)
def test_export_says_in_a_sentence_what_cannot_be(runs, model_name, words):
    shutil.copytree(runs / VAE, runs / "broken")
    (runs / "broken" / "weights.safetensors").write_bytes(b"")
    write(runs / "mine")
    result = run("export", model_name, "--onnx", "--out", "out")
    assert result.exit_code == 1
    assert words in text(result)
    assert "Traceback" not in result.output
    assert not Path("out").exists()


def test_verify_checks_decoders_too(runs):
    write(runs / "good")
    write(runs / "bad", b"nothing")
    result = run("verify", runs)
    assert result.exit_code == 1
    assert f"ok {runs / 'good'}: 1 files" in text(result)
    assert f"failed {runs / 'bad'}: decoder.onnx is not an ONNX file" in text(result)
    assert run("verify", runs / "good").exit_code == 0


def test_evaluate_and_report_leave_decoders_out(runs):
    write(runs / "mine")
    result = run("evaluate", runs / "mine")
    assert result.exit_code == 1
    assert "failed mine: it is an ONNX decoder" in text(result)
    assert run("report", runs).exit_code == 0
    assert "mine" not in (runs / "README.md").read_text()
