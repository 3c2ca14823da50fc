"""Keys of the keyboard that press buttons of the page, wherever nothing else wants them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamlit.components.v2 import component

_mount = component("latent_keys", js=Path(__file__).with_name("keys.js").read_text())


def keys(pressed: Mapping[str, str], place: str) -> None:
    """Have keys, as JavaScript calls them, press the buttons of these Streamlit keys.

    With a new ``place`` the page goes up to its heading, which gets the focus: so a screen
    reader reads it, and Tab goes on from there.
    """
    data = {"pressed": dict(pressed), "place": place}
    _mount(key="keys", data=data, width="content", height="content")
