"""The decode service behind the live channel; knows nothing of Streamlit."""

from __future__ import annotations

import functools
import os

import torch

from explorer import catalog, settings
from explorer.catalog import Stamp
from explorer.live.service import DecodeService
from training.onnx_files import AnyModel


@functools.cache
def app_service() -> DecodeService:
    """The one service of this process, on the checkpoints folder of the settings."""

    # The browser, often on this computer, and Streamlit need cores too: threads that wait for one
    # another on busy cores take a hundred times as long as one thread does alone.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))

    def open_model(key: str) -> AnyModel:
        return catalog.scan(settings.checkpoints_dir()).open_key(key)

    def stamp(key: str) -> Stamp:
        """Of an epoch, the whole model's."""
        folder = settings.checkpoints_dir() / key.partition("@")[0]
        return catalog.stamp(*catalog.model_files(folder))

    return DecodeService(open_model, stamp)
