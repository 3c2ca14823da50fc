"""Decoders built operator by operator, as other programs export them, and as an attacker would."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

D = 4
SHAPE = (3, 8, 6)
"""Channels, height, width: all different, so that no layout is taken for another."""

Change = Callable[[ModelProto], object]


def weights(rows: int = D, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, int(np.prod(SHAPE)))).astype(np.float32)


def model(
    nodes: Sequence[NodeProto],
    constants: dict[str, NDArray[Any]],
    *,
    inputs: dict[str, tuple[int, list[Any]]] | None = None,
    output: list[Any] | None = None,
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model of these operators, from z (n, 4) to ``image`` of shape ``output``."""
    given = inputs or {"z": (TensorProto.FLOAT, ["n", D])}
    channels, height, width = SHAPE
    graph = helper.make_graph(
        list(nodes),
        "decoder",
        [helper.make_tensor_value_info(name, *kind) for name, kind in given.items()],
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, output or ["n", height, width, channels]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def keras(extra: Sequence[NodeProto] = (), end: str = "Tanh", **changes: Any) -> ModelProto:
    """What Keras exports: channels last, in [-1, 1]; ``extra`` operators lead from h to image."""
    channels, height, width = SHAPE
    constants = {"w": weights(), "shape": np.array([-1, height, width, channels])}
    constants |= changes.pop("constants", {})
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["m"]),
        helper.make_node(end, ["m"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["h" if extra else "image"]),
    ]
    return model([*nodes, *extra], constants, **changes)


def gradients(side: int) -> ModelProto:
    """z to a colour in [-1, 1] that fades towards two edges of a large image."""
    fading = np.linspace(1, 0, side, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["z", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["colour"]),
        helper.make_node("Mul", ["colour", "down"], ["column"]),
        helper.make_node("Mul", ["column", "across"], ["image"]),
    ]
    constants = {
        "w": weights()[:, :3],
        "shape": np.array([-1, 1, 1, 3]),
        "down": fading.reshape(1, side, 1, 1),
        "across": fading.reshape(1, 1, side, 1),
    }
    return model(nodes, constants, output=["n", side, side, 3])


def conditional(classes: int = 3) -> ModelProto:
    """z and a class to an image, as Keras has them."""
    one_hot = helper.make_node("OneHot", ["class", "depth", "values"], ["y"])
    _, height, width = SHAPE
    nodes = [
        one_hot,
        helper.make_node("Concat", ["z", "y"], ["zy"], axis=1),
        helper.make_node("MatMul", ["zy", "w"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["image"]),
    ]
    constants = {
        "depth": np.array(classes),
        "values": np.array([0, 1], np.float32),
        "w": weights(D + classes),
        "shape": np.array([-1, height, width, SHAPE[0]]),
    }
    inputs = {"z": (TensorProto.FLOAT, ["n", D]), "class": (TensorProto.INT64, ["n"])}
    return model(nodes, constants, inputs=inputs)


def card(**changes: Any) -> dict[str, Any]:
    """A card as a person writes it by hand."""
    return {
        "format": "onnx",
        "title": "A decoder of mine",
        "dataset": "faces",
        "latent_dim": D,
        "image_shape": list(SHAPE),
        "image_range": [-1, 1],
    } | changes


def write(folder: Path, decoder: ModelProto | bytes | None = None, **changes: Any) -> Path:
    """A folder with a decoder and its card; ``changes`` go to the card."""
    folder.mkdir(parents=True, exist_ok=True)
    decoder = keras() if decoder is None else decoder
    blob = decoder if isinstance(decoder, bytes) else decoder.SerializeToString()
    (folder / "decoder.onnx").write_bytes(blob)
    (folder / "card.json").write_text(json.dumps(card(**changes)))
    return folder
