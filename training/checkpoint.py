"""The only reader and writer of checkpoint folders.

A checkpoint is a folder: ``card.json`` says what is in it, with size and SHA-256 of every other
file; ``weights.safetensors`` holds the inference weights in float16; ``history.json`` the loss
parts per epoch; ``atlas.safetensors`` the test set's codes; ``samples.png`` a picture. Where the
recipe asks for them, ``batches.safetensors`` holds the loss parts per batch (of many, one in so
many) and ``timeline/epoch-<n>.safetensors`` the weights after epoch n.

Nothing is ever unpickled. Folders appear whole or not at all, and nothing of a folder reaches a
network before its size, hash, schema, tensor names, shapes and finiteness have been checked.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from training import networks
from training.files import replace_file, write_synced
from training.recipes import Recipe
from training.specs import ClassifierSpec, GANSpec

if TYPE_CHECKING:
    from training.onnx_files import AnyCard

SCHEMA_VERSION = 2
MAX_CARD_BYTES = 1 << 20
MAX_FILE_BYTES = 512 << 20
MOST_BATCHES = 5_000
"""Batches whose losses a checkpoint keeps, at most: more than twice what a screen shows."""

WEIGHT_TYPES = {torch.float16, torch.bfloat16, torch.float32}

History = dict[str, dict[str, list[float]]]
Count = Annotated[int, Field(ge=0)]
FileName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
]


class CheckpointError(Exception):
    """A checkpoint folder failed a check; the message names the folder and the check."""

    def __init__(self, folder: Path | str, check: str):
        super().__init__(f"{Path(folder).name}: {check}")
        self.check = check


class FileEntry(BaseModel):
    """Size and hash of one file of the folder."""

    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Judged(BaseModel):
    """The judge behind scores: a score means nothing without it."""

    name: str
    """Name of the judge's recipe."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of its weights."""
    accuracy: Annotated[float, Field(ge=0, le=1)]
    """Share of the test images that it reads rightly."""


class Scores(BaseModel):
    """What ``latent-train evaluate`` measured (see `training.evaluation`)."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    samples: Count
    """Images drawn."""
    seed: int
    """Seed of their noise."""
    values: dict[str, float]
    """Score by name; `training.scores.SCORES` says what each one is."""
    real: dict[str, float] = {}
    """The same scores of real test images, for those that they can have."""
    class_shares: dict[str, float] = {}
    """Share of the samples that the judge reads as each class."""
    judge: Judged | None = None
    """The judge; None where the data set has none."""
    data_sha256: str
    """Fingerprint of the training images compared with."""
    device: str
    """Where it was measured."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall-clock seconds it took."""
    libraries: dict[str, str] = {}
    """Versions of Python, torch, numpy and torchmetrics."""


class Card(BaseModel):
    """What a checkpoint is, where it comes from, and how good it was measured to be."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: int = SCHEMA_VERSION
    """Version of this format."""
    recipe: Recipe
    """The full recipe, as trained."""
    classes: tuple[str, ...]
    """Class names of the data set, in label order."""
    latent_dim: Count
    """Latent dimensions d; 0 for a classifier."""
    num_classes: Count
    """Classes `decode` can be asked for; 0 means unconditional."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    image_range: tuple[float, float] = (0.0, 1.0)
    """Range of decoded pixels."""
    parameters: dict[str, Count]
    """Trainable parameters per network."""
    seed: int
    """Seed of initialisation, data order and noise."""
    epochs: Count
    """Epochs trained; fewer than the recipe's where the run was stopped early."""
    images_seen: Count
    """Training images seen, repeats counted."""
    seconds: Annotated[float, Field(ge=0)]
    """Wall-clock seconds of training, evaluation included."""
    device: str
    """Device and processor trained on."""
    data_sha256: str
    """Fingerprint of the training images and labels."""
    libraries: dict[str, str]
    """Versions of Python, torch and torchvision."""
    created: str
    """Date of the run, ISO 8601."""
    metrics: dict[str, float] = {}
    """Measured while training and at its end, named <split or samples>/<what>."""
    scores: Scores | None = None
    """Measured by ``latent-train evaluate`` on the weights as shipped; None before it was run."""
    judge: str = ""
    """SHA-256 of the judge's weights behind the metrics that use one."""
    notes: str = ""
    """What a reader must know: epochs missing, deviations."""
    files: dict[FileName, FileEntry] = {}
    """Every other file of the folder."""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def family(self) -> str:
        """The recipe's family: vae, gan, cgan, wgan, wgan-gp or classifier."""
        return self.recipe.family

    @property
    def title(self) -> str:
        """The name people read."""
        return self.recipe.title

    @property
    def dataset(self) -> str:
        """Name of the data set it was trained on."""
        return self.recipe.dataset

    @property
    def mixes_classes(self) -> bool:
        """Whether `decode` can be asked for something between two classes."""
        return self.num_classes > 0

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights as shipped."""
        return self.files["weights.safetensors"].sha256

    @property
    def timeline(self) -> list[int]:
        """Epochs whose weights are in the folder: `load` opens them by ``epoch``."""
        epochs = sorted(self.recipe.timeline)
        return [epoch for epoch in epochs if timeline_name(epoch) in self.files]

    @model_validator(mode="after")
    def _agrees_with_recipe(self) -> Card:
        spec = self.recipe.network
        if self.image_shape != spec.image_shape:
            raise ValueError(f"image_shape {self.image_shape} is not the network's")
        if self.latent_dim != self.recipe.latent_dim:
            raise ValueError(f"latent_dim {self.latent_dim} is not the network's")
        if self.num_classes != self.recipe.num_classes:
            raise ValueError(f"num_classes {self.num_classes} is not the network's")
        known = spec.num_classes if isinstance(spec, GANSpec | ClassifierSpec) else 0
        if known and len(self.classes) != known:
            raise ValueError(f"{len(self.classes)} class names for {known} classes")
        return self


class Checkpoint:
    """An opened checkpoint: its card, and its network in evaluation mode."""

    def __init__(self, folder: Path, card: Card, network: networks.Network):
        self.folder = folder
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Decode latents into images.

        ``z`` is float32 (n, d). ``y`` is needed where the model is conditional: integer classes
        (n,), or float32 class weights (n, k) whose rows sum to 1, for points between classes.
        Returns float32 (n, C, H, W) in [0, 1]. Raises ValueError for anything else.
        """
        if isinstance(self.network, networks.Classifier):
            raise ValueError(f"{self.card.name} is a classifier: it reads images, it draws none")
        require_latents(self.card, z)
        weights = class_weights(self.card, y, len(z))
        return self.network.decode(
            z.to(self.device, torch.float32), None if weights is None else weights.to(self.device)
        )

    @torch.inference_mode()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images (n, C, H, W) in [0, 1] into mu and log_var, float32 (n, d); VAEs only."""
        if not isinstance(self.network, networks.VAE):
            raise ValueError(f"{self.card.name} has no encoder")
        mu, log_var = self.network.encode(self._images(x))
        return mu.float(), log_var.float()

    @torch.inference_mode()
    def classify(self, x: Tensor) -> Tensor:
        """Class logits float32 (n, k) of images (n, C, H, W) in [0, 1]; classifiers only."""
        if not isinstance(self.network, networks.Classifier):
            raise ValueError(f"{self.card.name} is not a classifier")
        return self.network(self._images(x)).float()

    def _images(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.card.image_shape:
            raise ValueError(
                f"{self.card.name} wants images of shape (n, {self.card.image_shape}), "
                f"not {tuple(x.shape)}"
            )
        if not torch.isfinite(x).all():
            raise ValueError("the images hold NaN or infinity")
        return x.to(self.device, torch.float32)

    def atlas(self) -> dict[str, Tensor]:
        """Tensors of the atlas (see `training.atlas`), verified; empty where there is none."""
        if "atlas.safetensors" not in self.card.files:
            return {}
        tensors = _safetensors(self.folder, "atlas.safetensors", self.card)
        _check_atlas(self.folder, self.card, tensors)
        return tensors

    def timeline(self) -> list[int]:
        """The card's: epochs whose weights are in the folder."""
        return self.card.timeline

    def batch_losses(self) -> tuple[int, dict[str, Tensor]]:
        """Every how many-th batch was kept, and the loss parts of those, float32 (n,), verified.

        No parts where none were kept.
        """
        if "batches.safetensors" not in self.card.files:
            return 1, {}
        losses = _safetensors(self.folder, "batches.safetensors", self.card)
        every = losses.pop("every", torch.empty(0))
        if every.shape != () or every.is_floating_point() or every < 1:
            raise CheckpointError(self.folder, "batches.safetensors: every is no number")
        for name, values in losses.items():
            if values.ndim != 1 or values.dtype != torch.float32:
                raise CheckpointError(self.folder, f"batches.safetensors: {name} is not a list")
        return int(every), losses

    def history(self) -> History:
        """`read_history` of this checkpoint."""
        return read_history(self.folder, self.card)


def require_latents(card: AnyCard, z: Tensor) -> None:
    """Raise ValueError where ``z`` is not a finite (n, d) of the model's d."""
    if z.ndim != 2 or z.shape[1] != card.latent_dim:
        raise ValueError(
            f"{card.name} wants z of shape (n, {card.latent_dim}), not {tuple(z.shape)}"
        )
    if not torch.isfinite(z).all():
        raise ValueError("z holds NaN or infinity")


def class_weights(card: AnyCard, y: Tensor | None, n: int) -> Tensor | None:
    """Class weights float32 (n, k) for classes (n,) or class weights (n, k).

    None where the model is unconditional. Raises ValueError for what the model does not take.
    """
    classes = card.num_classes
    if not classes:
        if y is not None:
            raise ValueError(f"{card.name} is unconditional: it takes no class")
        return None
    if y is None:
        raise ValueError(f"{card.name} is conditional: say which class")
    if y.dtype == torch.bool or y.is_complex():
        raise ValueError(f"classes must be integers or float weights, not {y.dtype}")
    if y.ndim == 1 and not y.is_floating_point():
        return _one_hot(y.long(), n, classes)
    weights = y.to(torch.float32)
    if weights.shape != (n, classes):
        raise ValueError(f"class weights must be ({n}, {classes}), not {tuple(y.shape)}")
    if not ((weights >= 0).all() and ((weights.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError("class weights must not be negative and must sum to 1")
    return weights


def _one_hot(y: Tensor, n: int, classes: int) -> Tensor:
    if len(y) != n or (y < 0).any() or (y >= classes).any():
        raise ValueError(f"unknown class: {n} integers from 0 to {classes - 1} are wanted")
    return nn.functional.one_hot(y, classes).to(torch.float32)


def _check_atlas(folder: Path, card: Card, tensors: dict[str, Tensor]) -> None:
    """Names, shapes, types and finiteness of an atlas, as `training.atlas` describes them."""

    def refuse(check: str) -> NoReturn:
        raise CheckpointError(folder, f"atlas.safetensors: {check}")

    n, d = tensors.get("labels", torch.empty(0)).numel(), card.latent_dim
    k = tensors.get("pca_variance", torch.empty(0)).numel()
    of_codes = {
        "mu": (n, d),
        "labels": (n,),
        "kl": (d,),
        "pca_mean": (d,),
        "pca_components": (k, d),
        "pca_variance": (k,),
    }
    of_samples = {"labels": (n,), "pca": (n, 2), "pca_share": (2,), "effect": (d,)}
    shapes = of_codes if card.family == "vae" else of_samples
    if missing := sorted(shapes.keys() - tensors.keys()):
        refuse(f"tensor {missing[0]} is missing")
    if foreign := sorted(tensors.keys() - shapes.keys() - {"umap"}):
        refuse(f"tensor {foreign[0]} does not belong to an atlas")
    for name, tensor in tensors.items():
        shape = shapes.get(name, (n, 2))  # umap
        if tensor.shape != shape:
            refuse(f"tensor {name} has shape {tuple(tensor.shape)}, not {shape}")
        if name == "labels":
            if tensor.dtype not in (torch.uint8, torch.int16):
                refuse(f"labels are {tensor.dtype}, not integers")
            if n and not 0 <= int(tensor.min()) <= int(tensor.max()) < len(card.classes):
                refuse(f"labels are not from 0 to {len(card.classes) - 1}")
        elif tensor.dtype not in WEIGHT_TYPES:
            refuse(f"tensor {name} is {tensor.dtype}, not a float type")
        elif not torch.isfinite(tensor).all():
            refuse(f"tensor {name} holds NaN or infinity")


def inference_weights(network: nn.Module) -> dict[str, Tensor]:
    """The tensors a checkpoint ships: everything but a discriminator, float16, on the CPU."""
    return {
        name: tensor.detach()
        .to("cpu", torch.float16 if tensor.is_floating_point() else tensor.dtype, copy=True)
        .contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("discriminator.")
    }


def require_finite(folder: Path, weights: dict[str, Tensor]) -> None:
    """Raise CheckpointError where weights hold NaN or infinity."""
    if any(not torch.isfinite(t).all() for t in weights.values()):
        raise CheckpointError(folder, "the weights hold NaN or infinity; nothing was written")


def save(
    folder: Path,
    card: Card,
    weights: dict[str, Tensor],
    history: History,
    atlas: dict[str, Tensor],
    samples_png: bytes,
    *,
    batch_losses: dict[str, Tensor] | None = None,
    timeline: dict[int, dict[str, Tensor]] | None = None,
) -> Card:
    """Write a checkpoint folder atomically, replacing one of the same name; return its card.

    Everything goes into a temporary folder beside it, is flushed to disk and then renamed, so a
    full disk or Ctrl-C leaves the old folder as it was, and a kill one that `recover` finds.
    Raises CheckpointError where the weights are not finite, OSError where the disk refuses.
    """
    timeline = timeline or {}
    for shipped in (weights, *timeline.values()):
        require_finite(folder, shipped)
    files = {
        "weights.safetensors": save_tensors(weights),
        "history.json": json.dumps(history, indent=1, allow_nan=False).encode(),
        "samples.png": samples_png,
    }
    if atlas:
        files["atlas.safetensors"] = save_tensors({k: v.contiguous() for k, v in atlas.items()})
    if batch_losses:
        files["batches.safetensors"] = save_tensors(thinned(batch_losses))
    files |= {timeline_name(epoch): save_tensors(old) for epoch, old in timeline.items()}
    entries = {
        name: FileEntry(size=len(blob), sha256=hashlib.sha256(blob).hexdigest())
        for name, blob in sorted(files.items())
    }
    card = card.model_copy(update={"files": entries})
    files["card.json"] = card.model_dump_json(indent=1).encode() + b"\n"
    write_folder(folder, files)
    return card


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files as ``folder``, replacing it: all of them, or it stays as it was.

    A kill between leaves what `recover` finds. Raises OSError where the disk refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp gives 0700; a checkpoint is as readable as its folder
        for inner in {(temporary / name).parent for name in files} - {temporary}:
            inner.mkdir()
        for name, blob in files.items():
            write_synced(temporary / name, blob)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def add_scores(folder: Path, scores: Scores, weights_sha256: str) -> Card:
    """Write the ``scores`` of weights into the card of their checkpoint, atomically; return it.

    Raises CheckpointError where there is no card, or one of other weights, as training may have
    published meanwhile; OSError where the disk refuses. Then the card is as it was.
    """
    card = read_card(folder)
    if card.weights_sha256 != weights_sha256:
        raise CheckpointError(
            folder,
            "it has other weights now than those that were scored: score it again when its "
            "training has ended",
        )
    card = card.model_copy(update={"scores": scores})
    replace_file(folder / "card.json", card.model_dump_json(indent=1).encode() + b"\n")
    return card


def thinned(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses per batch, of so many that `MOST_BATCHES` are left; ``every`` says of how many one."""
    every = max(math.ceil(max(map(len, losses.values())) / MOST_BATCHES), 1)
    kept = {name: values[::every].contiguous() for name, values in losses.items()}
    return kept | {"every": torch.tensor(every)}


def timeline_name(epoch: int) -> str:
    """Name, inside the folder, of the weights after ``epoch``."""
    return f"timeline/epoch-{epoch:04}.safetensors"


def replace_folder(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; a folder already there is moved aside first, then deleted."""
    old = _aside(target)
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:  # Ctrl-C too
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Finish or undo what a kill in the middle of `save` left of ``folder``.

    Between the two renames the old checkpoint lies in a hidden folder and ``folder`` is missing:
    then it is put back. Other hidden leftovers of ``folder``, and of the state beside it, are
    deleted.
    """
    old = _aside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    for leftover in (old, *folder.parent.glob(f".{folder.name}.new-*")):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.parent.glob(f".{folder.name}.state.new-*"):
        leftover.unlink(missing_ok=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def folder_of(recipe: Recipe, out: Path) -> Path:
    """Where in ``out`` the recipe's checkpoint is: judges apart from what they judge."""
    return out / ("judges" if recipe.family == "classifier" else "") / recipe.name


def partial(folder: Path) -> Path:
    """Where a run keeps its checkpoint while ``folder`` holds one that has seen more images."""
    return folder.with_name(f"{folder.name}.partial")


def read_card(folder: Path | str) -> Card:
    """Read and validate ``folder/card.json``; no other file is opened."""
    folder = Path(folder)
    content = card_content(folder)
    if isinstance(content, dict) and content.get("format") == "onnx":
        raise CheckpointError(
            folder, "it is an ONNX decoder, which the app shows and `latent-train verify` checks"
        )
    version = content.get("schema_version") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise CheckpointError(folder, "card.json has no schema_version: not made by latent-train")
    if version < SCHEMA_VERSION:
        raise CheckpointError(
            folder,
            f"schema version {version} is older than {SCHEMA_VERSION}, the one this version reads: "
            "train it again",
        )
    if version > SCHEMA_VERSION:
        raise CheckpointError(
            folder,
            f"schema version {version} is newer than {SCHEMA_VERSION}, the newest this version "
            "reads: update latent-explorer",
        )
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        refuse_invalid(folder, "card.json", error)


def card_content(folder: Path) -> Any:
    """The JSON in ``folder/card.json``, unvalidated; raises CheckpointError."""
    if not (folder / "card.json").exists():
        raise CheckpointError(folder, "there is no card.json: not a checkpoint folder")
    blob = read_inside(folder, "card.json", MAX_CARD_BYTES)
    if len(blob) > MAX_CARD_BYTES:
        raise CheckpointError(folder, f"card.json is larger than {MAX_CARD_BYTES} bytes")
    try:
        return json.loads(blob, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(folder, f"card.json is not JSON: {error}") from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def refuse_invalid(folder: Path, name: str, error: ValidationError) -> NoReturn:
    """Raise CheckpointError for the first thing that is wrong in a JSON file."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "its top level"
    raise CheckpointError(folder, f"{name} is invalid at {where}: {first['msg']}") from error


def read_history(folder: Path, card: Card) -> History:
    """Loss parts per epoch: {"train": {part: [...]}, "test": {part: [...]}}, verified."""
    blob = _verified(folder, "history.json", card)
    try:
        history = TypeAdapter(dict[str, dict[str, list[FiniteFloat]]]).validate_json(blob)
    except ValidationError as error:
        refuse_invalid(folder, "history.json", error)
    if history.keys() != {"train", "test"}:
        raise CheckpointError(folder, "history.json must hold train and test")
    for split, parts in history.items():
        for name, values in parts.items():
            if len(values) != card.epochs:
                raise CheckpointError(
                    folder,
                    f"history.json has {len(values)} values for {split} {name}, "
                    f"not one for each of {card.epochs} epochs",
                )
    return history


def read_samples(folder: Path, card: Card) -> bytes:
    """The picture ``samples.png``, verified."""
    return _verified(folder, "samples.png", card)


def verify_files(folder: Path | str) -> Card:
    """Check the card and size and hash of every file it lists; return the card."""
    folder = Path(folder)
    card = read_card(folder)
    for name in sorted(card.files.keys() | {"weights.safetensors"}):
        _verified(folder, name, card)
    return card


def load(
    folder: Path | str, device: torch.device | str = "cpu", *, epoch: int | None = None
) -> Checkpoint:
    """Open a checkpoint folder, with its final weights or those of an ``epoch`` of its timeline.

    Checks card, sizes, hashes, tensor names, shapes and finiteness, in this order, before the
    network sees a number. Raises CheckpointError naming the first check that failed.
    """
    folder = Path(folder)
    card = verify_files(folder)
    with torch.device("meta"):  # shapes are compared before any memory is taken
        network = networks.build(card.recipe.network)
    if isinstance(network, networks.GAN):
        del network.discriminator  # inference needs the generator alone
    expected = network.state_dict()
    name = "weights.safetensors" if epoch is None else timeline_name(epoch)
    tensors = _safetensors(folder, name, card)
    _check_weights(folder, tensors, expected)
    network.load_state_dict(
        {name: t.to(expected[name].dtype) for name, t in tensors.items()}, assign=True
    )
    try:
        network = network.to(device).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(folder, f"device {device} cannot be used: {error}") from error
    return Checkpoint(folder, card, network)


def _check_weights(folder: Path, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Names, shapes, types and finiteness of ``tensors`` against an unfilled network's."""
    if missing := sorted(expected.keys() - tensors.keys()):
        raise CheckpointError(folder, f"tensor {missing[0]} is missing")
    if foreign := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(folder, f"tensor {foreign[0]} does not belong to this network")
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise CheckpointError(
                folder,
                f"tensor {name} has shape {tuple(tensor.shape)}, not {tuple(wanted.shape)}",
            )
        allowed = WEIGHT_TYPES if wanted.is_floating_point() else {wanted.dtype}
        if tensor.dtype not in allowed:
            raise CheckpointError(folder, f"tensor {name} has type {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(folder, f"tensor {name} holds NaN or infinity")


def shipped() -> Path:
    """The folder of checkpoints that comes with the project."""
    return Path(__file__).resolve().parent.parent / "checkpoints"


def find(root: Path | str) -> list[Path]:
    """Checkpoint folders directly inside ``root`` and its ``judges`` folder, sorted by name.

    Hidden folders (leftovers of a kill) and those of runs under way (.partial) are left out.
    """
    root = Path(root)
    cards = (*root.glob("*/card.json"), *root.glob("judges/*/card.json"))
    return sorted(
        card.parent
        for card in cards
        if not card.parent.name.startswith(".") and card.parent.suffix != ".partial"
    )


def read_inside(folder: Path, name: str, limit: int) -> bytes:
    """At most ``limit`` + 1 bytes of a plain file that lies inside the folder, links followed.

    A link that leads elsewhere, a pipe or a device could hand over or block on anything.
    """
    path = folder / name
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            raise CheckpointError(folder, f"{name} is a link that leads out of the folder")
        if not path.is_file():
            raise CheckpointError(folder, f"{name} is not a file")
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise CheckpointError(folder, f"{name} is missing") from None
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before 3.13
        raise CheckpointError(folder, f"{name} cannot be read: {error}") from error


def _verified(folder: Path, name: str, card: Card) -> bytes:
    """Bytes of one listed file, once its size and hash agree with the card."""
    entry = card.files.get(name)
    if entry is None:
        raise CheckpointError(folder, f"the card lists no {name}")
    blob = read_inside(folder, name, entry.size)
    if len(blob) < entry.size:
        raise CheckpointError(folder, f"{name} is truncated: {len(blob)} of {entry.size} bytes")
    if len(blob) > entry.size:
        raise CheckpointError(folder, f"{name} is longer than the card's {entry.size} bytes")
    if hashlib.sha256(blob).hexdigest() != entry.sha256:
        raise CheckpointError(folder, f"{name} was altered: its SHA-256 is not the card's")
    return blob


def _safetensors(folder: Path, name: str, card: Card) -> dict[str, Tensor]:
    try:
        return load_tensors(_verified(folder, name, card))
    # A type this torch does not know is a KeyError or AttributeError.
    except (SafetensorError, LookupError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointError(folder, f"{name} is not a safetensors file: {error}") from error


def installed_versions(names: Iterable[str] = ("torch", "torchvision", "numpy")) -> dict[str, str]:
    """Installed versions of ``names``, and Python's."""
    import platform
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in names}
