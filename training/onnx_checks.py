"""What an ONNX file must be before onnxruntime sees a byte of it.

Such a file is a program of a stranger's. Only standard operators without loops, branches or files
are let through, and only where the size of all that they make is known beforehand and small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

DECODER = "decoder.onnx"
"""Name of the file."""
LARGEST = 1 << 26
"""Numbers that one operator may make of one latent: 256 MB as float32."""
MOST_OPERATORS = 20_000
"""Operators of a model, at most."""
DOMAINS = ("", "ai.onnx")
"""Names of the standard operators' domain. Others may read files (com.microsoft's EPContext)."""
RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}

Shape = list[int | None]


def checked(
    blob: bytes, latent_dim: int, num_classes: int, image_shape: tuple[int, int, int]
) -> tuple[bytes, bool]:
    """Check the bytes of an ONNX file; return what onnxruntime may open, and the images' layout.

    That is True where images are channels last, (n, H, W, C), as Keras has them. What is returned
    is the model written anew, without names and notes that onnxruntime could take for orders.
    Raises ValueError naming the first check that failed.
    """
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(blob)
    except Exception as error:  # protobuf's own, of a module that moves with its versions
        raise ValueError(f"{DECODER} is not an ONNX file, or is truncated") from error
    if not model.graph.node:
        raise ValueError(f"{DECODER} is not an ONNX file: it holds no operators")
    _refuse_programs(model)
    _refuse_files(model.graph)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # whatever the C++ behind it raises
        raise ValueError(f"{DECODER} is not valid ONNX: {_first_line(error)}") from error
    _check_inputs(model.graph, latent_dim, num_classes)
    channels_last = _check_shapes(model, image_shape)
    model.DiscardUnknownFields()
    for name in ("producer_name", "producer_version", "domain", "doc_string", "metadata_props"):
        model.ClearField(name)
    return model.SerializeToString(), channels_last


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refuse_programs(model: ModelProto) -> None:
    """Refuse all but a plain sequence of standard operators that always gives the same."""
    from onnx import AttributeProto

    if len(model.functions):
        raise ValueError(
            f"it holds functions of its own ({model.functions[0].name}): export it without, or "
            "put them in place by onnx.inliner.inline_local_functions"
        )
    if len(model.training_info):
        raise ValueError("it holds training steps: export it for inference")
    if len(model.graph.node) > MOST_OPERATORS:
        raise ValueError(f"it holds {len(model.graph.node)} operators, over {MOST_OPERATORS}")
    subgraphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            raise ValueError(
                f"operator {node.op_type} is of {node.domain}: only ONNX's own are run"
            )
        if any(one.type in subgraphs or one.HasField("g") for one in node.attribute):
            raise ValueError(f"it holds a loop or a branch ({node.op_type}), which is not run")
        if node.op_type in RANDOM:
            raise ValueError(f"it draws at random ({node.op_type}): a latent must say everything")
        if node.op_type == "Einsum" and len(node.input) > 2:  # what it makes between can be huge
            raise ValueError("it holds an Einsum of more than two tensors: multiply two at a time")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor in the file."""
    yield from graph.initializer
    for node in graph.node:
        for one in node.attribute:
            yield from ([one.t] if one.HasField("t") else [])
            yield from one.tensors


def _refuse_files(graph: GraphProto) -> None:
    """Refuse tensors that lie in other files, or that would unfold into more than they are."""
    from onnx import TensorProto

    attributes = [one for node in graph.node for one in node.attribute]
    if graph.sparse_initializer or any(
        one.HasField("sparse_tensor") or one.sparse_tensors for one in attributes
    ):
        raise ValueError("it holds sparse weights: export them as plain ones")
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ValueError(
                f"the weights {tensor.name} lie in another file (external data): export the model "
                "with the weights inside the file"
            )


def _check_inputs(graph: GraphProto, latent_dim: int, num_classes: int) -> None:
    """The inputs must be z, and class where there are classes, as the card has them."""
    from onnx import TensorProto

    weights = {tensor.name for tensor in graph.initializer}
    inputs = {one.name: one for one in graph.input if one.name not in weights}
    wanted = ["z", "class"] if num_classes else ["z"]
    if sorted(inputs) != sorted(wanted):
        raise ValueError(
            f"the inputs are {', '.join(sorted(inputs)) or 'none'}, not {' and '.join(wanted)}"
            + ("" if num_classes else " (a class goes with classes on the card)")
        )
    _check_input(inputs["z"], TensorProto.FLOAT, "float32", [latent_dim])
    if num_classes:
        _check_input(inputs["class"], TensorProto.INT64, "int64", [])


def _check_input(value: ValueInfoProto, dtype: int, dtype_name: str, rest: Shape) -> None:
    """An input must be of ``dtype``, its first dimension free and the others ``rest``."""
    if value.type.tensor_type.elem_type != dtype:
        raise ValueError(f"input {value.name} is not {dtype_name}")
    shape = _shape(value.type)
    wanted = ", ".join(["n", *map(str, rest)])
    if shape is None or shape[1:] != rest or not shape:
        shown = "unknown" if shape is None else _written(shape)
        raise ValueError(f"input {value.name} has shape {shown}, not ({wanted})")
    if shape[0] is not None:
        raise ValueError(
            f"input {value.name} takes {shape[0]} at a time: export it with a free first dimension"
        )


def _shape(of: TypeProto) -> Shape | None:
    """Shape that a value declares, None for a free dimension; None where it declares none."""
    if not of.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else None for d in of.tensor_type.shape.dim]


def _written(shape: Any) -> str:
    return "(" + ", ".join("n" if size is None else str(size) for size in shape) + ")"


def _check_shapes(model: ModelProto, image_shape: tuple[int, int, int]) -> bool:
    """The output, and the sizes of all that is made on the way to it, for one latent."""
    from onnx import TensorProto

    if len(model.graph.output) != 1:
        raise ValueError(f"it has {len(model.graph.output)} outputs: one is wanted, the images")
    output = model.graph.output[0]
    if output.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ValueError(f"output {output.name} is not float32")
    channels, height, width = image_shape
    layouts = ([channels, height, width], [height, width, channels])
    declared = _shape(output.type)
    if declared is not None and not any(_agrees(declared, layout) for layout in layouts):
        _refuse_output(declared, image_shape)
    made = _made(model)
    for number, node in enumerate(model.graph.node, start=1):
        _check_sizes(node, number, made)
    shape = made.get(output.name) or []
    if shape[1:] not in layouts:
        _refuse_output(shape, image_shape)
    return shape[1:] != layouts[0]


def _agrees(declared: Shape, layout: list[int]) -> bool:
    """Whether a declared shape can be that of images of ``layout``; free dimensions can be.

    Exporters that fix the first dimension by mistake are let through: it is tried what it is.
    """
    if len(declared) != 4:
        return False
    return all(size in (None, wanted) for size, wanted in zip(declared[1:], layout, strict=True))


def _refuse_output(shape: Shape, image_shape: tuple[int, int, int]) -> NoReturn:
    channels, height, width = image_shape
    raise ValueError(
        f"the output has shape {_written([None, *shape[1:]] if shape else shape)}, not "
        f"(n, {channels}, {height}, {width}) or (n, {height}, {width}, {channels}) as the card says"
    )


def _made(model: ModelProto) -> dict[str, Shape]:
    """Shape of every value that is made of one latent, inferred without running anything.

    What the file itself declares of them is not believed.
    """
    import onnx

    one = onnx.ModelProto()
    one.CopyFrom(model)
    one.graph.ClearField("value_info")
    weights = {tensor.name for tensor in one.graph.initializer}
    for value in one.graph.input:
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    one.graph.output[0].type.tensor_type.ClearField("shape")
    try:
        one = onnx.shape_inference.infer_shapes(
            one, check_type=True, strict_mode=True, data_prop=True
        )
    except MemoryError:  # it works out what small operators make, which can be endless
        raise
    except Exception as error:  # whatever the C++ behind it raises
        raise ValueError(
            f"the shapes in {DECODER} contradict one another: {_first_line(error)}"
        ) from error
    values = [*one.graph.value_info, *one.graph.input, *one.graph.output]
    return {value.name: shape for value in values if (shape := _shape(value.type)) is not None}


def _check_sizes(node: NodeProto, number: int, made: dict[str, Shape]) -> None:
    """What an operator makes must be of a known and small size."""
    for name in node.output:
        if not name:  # an output that is left out
            continue
        shape = made.get(name)
        if shape is None or None in shape:
            raise ValueError(
                f"how much operator {number} ({node.op_type}) makes is not known before it is run: "
                "export with fixed sizes, all but the first of z (in torch by dynamo=True)"
            )
        sizes = [size or 0 for size in shape]
        if math.prod(sizes) > LARGEST or max(sizes, default=0) > LARGEST:
            raise ValueError(
                f"operator {number} ({node.op_type}) makes {_written(shape)} numbers of one "
                f"latent, over {LARGEST}"
            )
