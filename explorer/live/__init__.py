"""The decode service behind the live channel; knows nothing of Streamlit."""

from __future__ import annotations

import functools
import os

import torch

from explorer import catalog, settings
from explorer.live.service import DecodeService


@functools.cache
def app_service() -> DecodeService:
    """The one service of this process, on the checkpoints folder of the settings."""

    # The browser, often on this computer, and Streamlit need cores too: threads that wait for one
    # another on busy cores take a hundred times as long as one thread does alone.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))

    return DecodeService(
        lambda key: catalog.open_key(settings.checkpoints_dir(), key),
        lambda key: catalog.key_stamp(settings.checkpoints_dir(), key),
    )
