"""Streamlit components that talk to the live channel; one folder each.

Every component's script starts with ``shared/live.js``, which holds the socket, the latent that
components of one page share, and painting.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.components.v2 import component

from explorer.live.routes import PLOTLY_PATH, SOCKET_PATH, answer_now
from training.onnx_files import AnyCard

_HERE = Path(__file__).parent
_HTML = '<div class="latent"></div><div class="latent-status" role="status"></div>'


def declare(name: str, *, isolate_styles: bool = True) -> Callable[..., Any]:
    """Register the component in folder ``name``; returns a function that mounts it.

    The function takes ``key``, the ``data`` that its script reads, and ``settled``: called with
    what the user has settled on (a released slider, a click), before the script reruns.
    """
    parts = [_HERE / "shared" / "live", _HERE / name / name]
    renderer = component(
        f"latent_{name}",
        html=_HTML,
        css="\n".join(part.with_suffix(".css").read_text() for part in parts),
        js="\n".join(part.with_suffix(".js").read_text() for part in parts),
        isolate_styles=isolate_styles,
    )

    def mount(
        key: str,
        data: Mapping[str, Any],
        settled: Callable[[Any], None] | None = None,
        state: str = "settled",
    ) -> None:
        def changed() -> None:
            value = st.session_state[key].get(state)
            if settled is not None and value is not None:
                settled(value)

        callbacks: dict[str, Any] = {f"on_{state}_change": changed}
        renderer(
            key=key,
            data={**data, "socket": SOCKET_PATH, "plotly": PLOTLY_PATH, "reply": _reply(key)},
            on_ask_change=lambda: None,
            **callbacks,
        )

    return mount


def _reply(key: str) -> dict[str, str] | None:
    """Answer to a frame that came as component state because no socket could be opened.

    Kept, as every run of the page tells it again.
    """
    ask = st.session_state.get(key, {}).get("ask")
    if not isinstance(ask, str):
        return None
    from explorer.resources import decode_service

    kept = st.session_state.get(f"reply_{key}")
    if kept is None or kept["ask"] != ask:
        answer = answer_now(decode_service(), base64.b64decode(ask))
        kept = st.session_state[f"reply_{key}"] = {"ask": ask, "answer": encode(answer)}
    return kept


def encode(data: bytes | NDArray[Any]) -> str:
    """Bytes, or an array's bytes (float32 for floats), as base64 for a component's script."""
    if isinstance(data, np.ndarray):
        floating = np.issubdtype(data.dtype, np.floating)
        data = data.astype("<f4").tobytes() if floating else data.tobytes()
    return base64.b64encode(data).decode("ascii")


def shared(
    name: str,
    card: AnyCard,
    z: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    token: str,
    session: str,
) -> dict[str, Any]:
    """Data that every component needs: the model, and its latent as Python has it.

    A new ``token`` says that Python moved the latent (reset, randomise, a link); with the token
    it already knows, the browser keeps what the user's hand has done since. A new ``session``
    in an open page says that the server was restarted.
    """
    return {
        "model": name,
        "shape": list(card.image_shape),
        "z": z.tolist(),
        "weights": None if weights is None else weights.tolist(),
        "token": token,
        "session": session,
    }
