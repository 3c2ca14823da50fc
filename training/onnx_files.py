"""Decoders as ONNX files: a stranger's opened beside our own models, and our own exported.

Such a folder holds ``decoder.onnx`` and a ``card.json`` of a few lines that a person writes by
hand. Nothing on the card vouches for the file, so that all of it is checked: what it is made of
(`training.onnx_checks`), and what it does, in a process of its own (`training.onnx_trial`).
onnxruntime then decodes on the CPU. The packages of ONNX are imported only where there is such a
folder.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from torch import Tensor, nn

from training import networks, onnx_trial
from training.checkpoint import (
    MAX_FILE_BYTES,
    Card,
    Checkpoint,
    CheckpointError,
    FileEntry,
    History,
    Scores,
    card_content,
    class_weights,
    load,
    read_inside,
    refuse_invalid,
    require_latents,
    verify_files,
    write_folder,
)
from training.onnx_checks import DECODER

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OPSET = 18
"""Version of ONNX's operators that is written: the first that has all that our decoders use."""
TOLERANCE = 1e-3
"""How far images may leave their range, or be apart, as rounding makes them."""

Size = Annotated[int, Field(ge=2, le=1024)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class ForeignCard(BaseModel):
    """What a person says of a decoder brought along; the rest is read off its file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal["onnx"]
    """Tells it from the card of a checkpoint."""
    title: Word
    """The name people read."""
    dataset: Annotated[str, Field(max_length=200)]
    """What it was trained on, in words."""
    latent_dim: Annotated[int, Field(ge=1, le=4096)]
    """Latent dimensions d: the input ``z`` is float32 (n, d)."""
    image_shape: tuple[Literal[1, 3], Size, Size]
    """Channels, height, width; the output may be (n, C, H, W) or (n, H, W, C)."""
    image_range: tuple[float, float] = (0.0, 1.0)
    """Range of the output: [0, 1] or [-1, 1]."""
    classes: Annotated[tuple[Word, ...], Field(max_length=1000)] = ()
    """Class names, where there is an input ``class``, int64 (n,): the number of a name."""
    notes: Annotated[str, Field(max_length=2000)] = ""
    """What a reader must know."""

    _name: str = PrivateAttr("")
    _file: FileEntry | None = PrivateAttr(None)

    @field_validator("image_range")
    @classmethod
    def _known_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value not in ((0, 1), (-1, 1)):
            raise ValueError("image_range must be [0, 1] or [-1, 1]")
        return value

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self._name

    @property
    def family(self) -> str:
        """A decoder, however it was trained."""
        return "decoder"

    @property
    def num_classes(self) -> int:
        """Classes `decode` can be asked for; 0 means unconditional."""
        return len(self.classes)

    @property
    def mixes_classes(self) -> bool:
        """It takes the number of a class, and nothing between two of them."""
        return False

    @property
    def files(self) -> dict[str, FileEntry]:
        """Size and hash of the decoder, as read."""
        return {DECODER: self._file} if self._file else {}

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the decoder, as read."""
        return self._file.sha256 if self._file else ""

    @property
    def timeline(self) -> list[int]:
        """Nothing: there are only these weights."""
        return []

    @property
    def parameters(self) -> dict[str, int]:
        """Nothing says which of its numbers were trained."""
        return {}

    @property
    def metrics(self) -> dict[str, float]:
        """Nothing was measured."""
        return {}

    @property
    def scores(self) -> Scores | None:
        """Nothing was measured."""
        return None


class Foreign:
    """An opened ONNX decoder, with what `training.checkpoint.Checkpoint` offers to the app."""

    def __init__(
        self, folder: Path, card: ForeignCard, session: InferenceSession, *, channels_last: bool
    ):
        self.folder = folder
        self.card = card
        self._session = session
        self._channels_last = channels_last

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Decode latents into images.

        ``z`` is float32 (n, d). ``y`` is needed where the model is conditional: integer classes
        (n,), or their one-hot rows (n, k); it draws nothing between two classes. Returns float32
        (n, C, H, W) in [0, 1]. Raises ValueError for anything else, CheckpointError where
        onnxruntime fails.
        """
        require_latents(self.card, z)
        weights = class_weights(self.card, y, len(z))
        classes = None if weights is None else self._numbers(weights)
        latents = z.to("cpu", torch.float32).contiguous().numpy()
        pieces = [torch.empty(0, *self.card.image_shape)]
        for start in range(0, len(latents), onnx_trial.ROWS):
            rows = slice(start, start + onnx_trial.ROWS)
            pieces.append(self._draw(latents[rows], None if classes is None else classes[rows]))
        return torch.cat(pieces)

    def _numbers(self, weights: Tensor) -> np.ndarray:
        """Class numbers (n,) of one-hot rows (n, k)."""
        if (weights.amax(1) < 1 - TOLERANCE).any():
            raise ValueError(
                f"{self.card.name} takes the number of a class: it draws nothing between classes"
            )
        return weights.argmax(1).cpu().numpy()

    def _draw(self, z: np.ndarray, y: np.ndarray | None) -> Tensor:
        """At most `training.onnx_trial.ROWS` images (n, C, H, W) in [0, 1]."""
        try:
            drawn = torch.from_numpy(onnx_trial.run(self._session, z, y))
        except Exception as error:  # onnxruntime's errors have no common type of their own
            raise CheckpointError(self.folder, f"{DECODER} cannot be run: {error}") from error
        images = drawn.permute(0, 3, 1, 2).contiguous() if self._channels_last else drawn
        if images.shape != (len(z), *self.card.image_shape):
            raise CheckpointError(self.folder, f"{DECODER} gave shape {tuple(images.shape)}")
        if not torch.isfinite(images).all():
            raise ValueError(f"{self.card.name} draws NaN or infinity at this latent")
        low, high = self.card.image_range
        return ((images - low) / (high - low)).clamp(0, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing: raises ValueError."""
        raise ValueError(f"{self.card.name} has no encoder")

    def classify(self, x: Tensor) -> Tensor:
        """Nothing: raises ValueError."""
        raise ValueError(f"{self.card.name} is not a classifier")

    def atlas(self) -> dict[str, Tensor]:
        """Nothing: there are no codes of images."""
        return {}

    def timeline(self) -> list[int]:
        """Nothing: there are only these weights."""
        return []

    def batch_losses(self) -> tuple[int, dict[str, Tensor]]:
        """Nothing: it was trained elsewhere."""
        return 1, {}

    def history(self) -> History:
        """Nothing: it was trained elsewhere."""
        return {"train": {}, "test": {}}


AnyCard = Card | ForeignCard
AnyModel = Checkpoint | Foreign

_verdicts: dict[tuple[object, ...], str] = {}
"""What was wrong with each file, by its hash and what its card says of it; "" for nothing."""


def is_foreign(folder: Path | str) -> bool:
    """Whether the card in ``folder`` says that it is an ONNX decoder's."""
    try:
        content = card_content(Path(folder))
    except CheckpointError:  # `training.checkpoint.read_card` says what is wrong
        return False
    return isinstance(content, dict) and content.get("format") == "onnx"


def read_any(folder: Path | str) -> AnyCard:
    """The card of a checkpoint or an ONNX decoder, once the files beside it are verified.

    Raises CheckpointError naming the first check that failed. No network is opened or run.
    """
    folder = Path(folder)
    return _verified(folder) if is_foreign(folder) else verify_files(folder)


def _verified(folder: Path) -> ForeignCard:
    """Card of an ONNX decoder whose file passed its checks, in this process or just now."""
    card, blob = _read(folder)
    about = (card.weights_sha256, card.latent_dim, card.num_classes, card.image_shape)
    if about not in _verdicts:
        try:
            _tried(folder, card, blob, draw=False)
            _verdicts[about] = ""
        except CheckpointError as error:
            _verdicts[about] = error.check
    if problem := _verdicts[about]:
        raise CheckpointError(folder, problem)
    return card


def open_any(folder: Path | str, device: torch.device | str = "cpu") -> AnyModel:
    """Open a checkpoint on ``device``, or an ONNX decoder on the CPU; raises CheckpointError."""
    return open_decoder(folder) if is_foreign(folder) else load(folder, device)


def open_decoder(folder: Path | str) -> Foreign:
    """Open an ONNX decoder once its card, its file and what it draws are checked.

    Raises CheckpointError naming the first check that failed.
    """
    folder = Path(folder)
    return _open(folder, *_read(folder))


def _open(folder: Path, card: ForeignCard, blob: bytes) -> Foreign:
    """Open a decoder after a trial."""
    trial, model = _tried(folder, card, blob, draw=True)
    try:
        _check_drawn(trial, card)
    except ValueError as error:
        raise CheckpointError(folder, f"{DECODER} {error}") from error
    try:
        session = onnx_trial.session(model, torch.get_num_threads())
    except Exception as error:  # onnxruntime's errors have no common type of their own
        raise CheckpointError(folder, f"{DECODER} cannot be opened: {error}") from error
    return Foreign(folder, card, session, channels_last=trial.channels_last)


def _tried(
    folder: Path, card: ForeignCard, blob: bytes, *, draw: bool
) -> tuple[onnx_trial.Trial, bytes]:
    try:
        return onnx_trial.attempt(
            blob, card.latent_dim, card.num_classes, card.image_shape, draw=draw
        )
    except onnx_trial.TrialError as error:
        raise CheckpointError(folder, str(error)) from error


def _check_drawn(trial: onnx_trial.Trial, card: ForeignCard) -> None:
    """Raise ValueError, in words that follow the file's name, where a trial went wrong."""
    c, h, w = card.image_shape
    for n, shape in zip(onnx_trial.SIZES, trial.shapes, strict=True):
        wanted = [n, h, w, c] if trial.channels_last else [n, c, h, w]
        if shape != wanted:
            raise ValueError(f"makes {tuple(shape)} of {n} latents, not {tuple(wanted)}")
    if not trial.finite:
        raise ValueError("draws NaN or infinity")
    low, high = card.image_range
    margin = TOLERANCE * (high - low)
    if trial.low < low - margin or trial.high > high + margin:
        raise ValueError(
            f"draws pixels from {trial.low:.3g} to {trial.high:.3g}, outside the card's "
            f"image_range [{low:g}, {high:g}]: change the card, or end the model in a sigmoid"
        )
    if trial.apart > 10 * margin:
        raise ValueError(
            "draws another image when others are drawn beside it: export it in evaluation mode"
        )


def _read(folder: Path) -> tuple[ForeignCard, bytes]:
    """Card and file of a folder."""
    try:
        card = ForeignCard.model_validate(card_content(folder))
    except ValidationError as error:
        refuse_invalid(folder, "card.json", error)
    blob = read_inside(folder, DECODER, MAX_FILE_BYTES)
    if len(blob) > MAX_FILE_BYTES:
        raise CheckpointError(folder, f"{DECODER} is larger than {MAX_FILE_BYTES >> 20} MB")
    return _found(folder, card, blob), blob


def _found(folder: Path, card: ForeignCard, blob: bytes) -> ForeignCard:
    """The card with what is read off the folder and its file."""
    card._name = folder.name
    card._file = FileEntry(size=len(blob), sha256=hashlib.sha256(blob).hexdigest())
    return card


def export(checkpoint: Checkpoint, folder: Path | str) -> ForeignCard:
    """Write what ``checkpoint`` decodes with as an ONNX folder, replacing one of the same name.

    The folder appears whole or not at all, and only once the file decodes as the checkpoint does.
    Inputs are ``z`` and, where conditional, ``class``; the output ``image`` is float32
    (n, C, H, W) in [0, 1]. Raises ValueError for a classifier, CheckpointError where the decoder
    cannot be written as ONNX, OSError where the disk refuses.
    """
    folder, card = Path(folder), checkpoint.card
    if card.family == "classifier":
        raise ValueError(f"{card.name} is a classifier: it draws nothing that could be exported")
    foreign = ForeignCard(
        format="onnx",
        title=card.title[:200],
        dataset=card.dataset[:200],
        latent_dim=card.latent_dim,
        image_shape=_colours(folder, card.image_shape),
        classes=card.classes if card.num_classes else (),
        notes=card.notes[:2000],
    )
    blob = _onnx(checkpoint)
    _require_alike(checkpoint, _open(folder, _found(folder, foreign, blob), blob))
    text = foreign.model_dump_json(indent=1).encode() + b"\n"
    write_folder(folder, {DECODER: blob, "card.json": text})
    return foreign


def _colours(folder: Path, image_shape: tuple[int, int, int]) -> tuple[Literal[1, 3], int, int]:
    """The image shape, which must be of pictures: of one or three channels, two pixels or more."""
    channels, height, width = image_shape
    if channels not in (1, 3) or min(height, width) < 2:
        raise CheckpointError(folder, f"it draws {channels}x{height}x{width} points, no pictures")
    return channels, height, width


class _Decoder(nn.Module):
    """z (n, d), and classes (n,) where conditional, to images (n, C, H, W) in [0, 1]."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__()
        network = copy.deepcopy(checkpoint.network).float().cpu()
        assert not isinstance(network, networks.Classifier)
        self.network: networks.VAE | networks.GAN = network
        self.num_classes = checkpoint.card.num_classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        condition = None if y is None else nn.functional.one_hot(y, self.num_classes).float()
        return self.network.decode(z, condition)


def _onnx(checkpoint: Checkpoint) -> bytes:
    """The decoder as an ONNX file, weights inside."""
    card = checkpoint.card
    names = ["z", "class"] if card.num_classes else ["z"]
    inputs = (torch.zeros(2, card.latent_dim), torch.zeros(2, dtype=torch.int64))[: len(names)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, about its own parts
            program = torch.onnx.export(
                _Decoder(checkpoint).eval(),
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=names,
                output_names=["image"],
                dynamic_shapes=tuple({0: "n"} for _ in names),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = f"it cannot be written as ONNX: {str(error).strip().splitlines()[0]}"
        raise CheckpointError(checkpoint.folder, reason) from error
    assert program is not None, "dynamo=True returns a program"
    return _anonymous(program.model_proto)


def _anonymous(model: Any) -> bytes:
    """The file without the exporter's notes, which name files and folders of this computer."""
    graph = model.graph
    model.ClearField("metadata_props")
    for one in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    graph.ClearField("value_info")
    return model.SerializeToString()


def _require_alike(checkpoint: Checkpoint, foreign: Foreign) -> None:
    """Raise CheckpointError where a file decodes otherwise than the checkpoint it was made of."""
    card = checkpoint.card
    z = torch.randn(3, card.latent_dim, generator=torch.Generator().manual_seed(0))
    y = torch.arange(3) % card.num_classes if card.num_classes else None
    apart = (checkpoint.decode(z, y).cpu() - foreign.decode(z, y)).abs().max()
    if apart > TOLERANCE:
        raise CheckpointError(
            foreign.folder, f"the ONNX file draws pixels {apart:.2g} away from the checkpoint's"
        )
