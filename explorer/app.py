"""The server: Streamlit's app with the live channel beside it.

Run it with ``latent-explorer``, or ``streamlit run explorer/app.py`` from the project's folder.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
import typer
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from explorer.links import PAGE_KEYS
from explorer.live import app_service
from explorer.live.lab import lab_route
from explorer.live.routes import PLOTLY_PATH, image_route, live_routes

OWN_NAMES = ("localhost", "127.0.0.1")
"""What this computer calls itself: no other can be made to have these names."""
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that stand for every one that this computer has."""
_INDEX = Path(st.__file__).parent / "static" / "index.html"
# Opened at /sliders, Streamlit's page first looks for its server below /sliders, fails with two
# errors in the console, waits for seconds and only then tries the root. This tells it the root.
_HEAD = "<script>window.__streamlit = {BACKEND_BASE_URL: window.location.origin}</script>"
# Where it could not be fetched, the element goes, and whoever needs it next asks anew.
_PLOTLY = f'<script async id="latent-plotly" src="{PLOTLY_PATH}" onerror="this.remove()"></script>'


async def first_page(_: Request) -> HTMLResponse:
    """Streamlit's page with plotly.js on its way, which the map would otherwise ask for last."""
    return _index(_PLOTLY)


async def map_at_its_own_path(_: Request) -> HTMLResponse:
    """The same for links that open a page with a map."""
    return _index(_HEAD + _PLOTLY)


async def page_at_its_own_path(_: Request) -> HTMLResponse:
    """Streamlit's page, for links that open another page than the first."""
    return _index(_HEAD)


def _index(head: str) -> HTMLResponse:
    return HTMLResponse(_INDEX.read_text().replace("<head>", f"<head>{head}", 1))


def original(name: str, index: int) -> bytes:
    """See `explorer.resources`, whose caches complain when they are made before the server is."""
    from explorer import resources

    return resources.original(name, index)


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Say where the app is: Streamlit's own welcome is of Streamlit, and is turned off."""
    # A search for garbage among all that the imports have made takes an eighth of a second, in
    # which nobody's picture is painted. Modules stay to the end anyway.
    gc.freeze()
    address = st.get_option("server.address") or "localhost"
    if address in EVERYWHERE:  # which is no name to ask for
        address = next(iter(st.get_option("server.allowedHosts") or ()), "localhost")
    port = st.get_option("server.port")
    typer.echo(f"Latent Explorer is at http://{address}:{port} (Ctrl-C ends it)")
    yield


class KnownHosts(TrustedHostMiddleware):
    """Answers only to this computer's own names and server.allowedHosts; to any without the latter.

    A page elsewhere whose name is made to mean this computer (DNS rebinding) has an origin like its
    host, and gives itself away by that host alone. Streamlit looks at that of its own socket only.
    """

    def __init__(self, app: ASGIApp):
        names = st.get_option("server.allowedHosts")
        super().__init__(app, [*OWN_NAMES, *names] if names else ["*"], www_redirect=False)


app = st.App(
    Path(__file__).parent / "pages" / "router.py",
    lifespan=lifespan,
    middleware=[Middleware(KnownHosts)],
    routes=[
        *live_routes(app_service()),
        image_route(original),
        lab_route(),
        Route("/", first_page),
        Route("/map", map_at_its_own_path),
        Route("/draw", map_at_its_own_path),
        *(Route(f"/{page}", page_at_its_own_path) for page in PAGE_KEYS if page != "models"),
    ],
)
