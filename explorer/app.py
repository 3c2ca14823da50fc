"""The server: Streamlit's app with the live channel beside it.

Run it with ``latent-explorer``, or ``streamlit run explorer/app.py`` from the project's folder.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from explorer.links import PAGE_KEYS
from explorer.live import app_service
from explorer.live.routes import PLOTLY_PATH, live_routes

_INDEX = Path(st.__file__).parent / "static" / "index.html"
# Opened at /sliders, Streamlit's page first looks for its server below /sliders, fails with two
# errors in the console, waits for seconds and only then tries the root. This tells it the root.
_HEAD = "<script>window.__streamlit = {BACKEND_BASE_URL: window.location.origin}</script>"


_MAP_HEAD = f'<script async id="latent-plotly" src="{PLOTLY_PATH}"></script>'


async def first_page(_: Request) -> HTMLResponse:
    """Streamlit's page with plotly.js on its way, which the map would otherwise ask for last."""
    return HTMLResponse(_INDEX.read_text().replace("<head>", f"<head>{_MAP_HEAD}", 1))


async def page_at_its_own_path(_: Request) -> HTMLResponse:
    """Streamlit's page, for links that open another page than the first."""
    return HTMLResponse(_INDEX.read_text().replace("<head>", f"<head>{_HEAD}", 1))


app = st.App(
    Path(__file__).parent / "pages" / "router.py",
    routes=[
        *live_routes(app_service()),
        Route("/", first_page),
        *(Route(f"/{page}", page_at_its_own_path) for page in PAGE_KEYS),
    ],
)
