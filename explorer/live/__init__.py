"""The decode service behind the live channel; knows nothing of Streamlit."""

from __future__ import annotations

import functools

from explorer import catalog, settings
from explorer.live.service import DecodeService
from training.checkpoint import Checkpoint


@functools.cache
def app_service() -> DecodeService:
    """The one service of this process, on the checkpoints folder of the settings."""

    def open_model(name: str) -> Checkpoint:
        return catalog.scan(settings.checkpoints_dir()).open(name)

    return DecodeService(open_model)
