"""The native way to move a latent: ``st.slider`` and ``st.image``, one rerun per step.

Run by `tests.benchmarks.live` with ``streamlit run``, as the opponent of the live channel.
"""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from explorer import settings
from training.checkpoint import Checkpoint, load


@st.cache_resource
def model() -> Checkpoint:
    """The same VAE that the explorer shows."""
    return load(settings.checkpoints_dir() / "mnist-conv-vae-z2")


z1 = st.slider("z1", -3.0, 3.0, 0.0, 0.01)
image = model().decode(torch.tensor([[z1, 0.0]]))[0, 0]
st.image((image.numpy() * 255).round().astype(np.uint8), width=280)
