"""The live channel as ASGI routes: mounted in the app, or alone under uvicorn.

Each connection reads on and on; what it reads replaces what the same view is still waiting for,
so that a slow client or a slow model loses stale frames, never new ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import plotly
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from explorer.live import protocol
from explorer.live.service import DecodeError, DecodeService

SOCKET_PATH = "/live/decode"
PLOTLY_PATH = "/live/plotly.min.js"
IMAGE_PATH = "/live/image"
MAX_VIEWS = 64
"""Views of one connection that may wait at the same time."""

AnyRequest = protocol.Request | protocol.Drawing


def live_routes(service: DecodeService) -> list[BaseRoute]:
    """The decode socket, and the plotly.js that the installed plotly carries."""

    async def decode(socket: WebSocket) -> None:
        if not same_origin(socket):
            await socket.close(1008, "another origin")  # before accept: an HTTP 403
            return
        await socket.accept()
        await _Connection(socket, service).serve()

    return [
        WebSocketRoute(SOCKET_PATH, decode, name="live-decode"),
        Route(PLOTLY_PATH, _plotly, name="live-plotly"),
    ]


def image_route(original: Callable[[str, int], bytes]) -> BaseRoute:
    """Real images, each at ``IMAGE_PATH/<model>/<number>``.

    ``original`` gives image ``number`` of the model's data set as PNG; raises LookupError.
    """

    def image(request: HttpRequest) -> Response:
        model, number = request.path_params["model"], request.path_params["number"]
        try:
            if not re.fullmatch("[0-9]{1,9}", number):  # Python refuses to read endless ones
                raise LookupError("that is no number of an image")
            found = original(model, int(number))
        except LookupError as error:
            return Response(str(error), 404, media_type="text/plain")
        # No page of another origin may show the user's own pictures.
        headers = {"Cache-Control": "private", "Cross-Origin-Resource-Policy": "same-origin"}
        return Response(found, media_type="image/png", headers=headers)

    return Route(IMAGE_PATH + "/{model}/{number}", image, name="live-image")


def same_origin(socket: WebSocket) -> bool:
    """Whether the page that opens the socket came from this server."""
    origin = urlsplit(socket.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == socket.headers.get("host")


async def _plotly(_: HttpRequest) -> FileResponse:
    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return FileResponse(path, headers={"Cache-Control": "public, max-age=86400"})


class _Connection:
    """One open socket: at most one request in work per view, the newest waiting behind it."""

    def __init__(self, socket: WebSocket, service: DecodeService):
        self._socket = socket
        self._service = service
        self._waiting: dict[int, AnyRequest] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if not await self._accept(message.get("bytes")):
                    return
        except (WebSocketDisconnect, RuntimeError):
            return  # the client went away while an answer was on its way
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _accept(self, frame: bytes | None) -> bool:
        """Take one frame in; False ends the connection."""
        if frame is None:
            await self._socket.close(1003, "binary frames only")
            return False
        if len(frame) > protocol.MAX_MESSAGE_BYTES:
            await self._socket.close(1009, f"over {protocol.MAX_MESSAGE_BYTES} bytes")
            return False
        try:
            request = protocol.unpack_request(frame)
        except protocol.ProtocolError as error:
            await self._send(protocol.pack_error(error.request_id, str(error)))
            return True
        view = request.view
        if view in self._tasks:
            replaced = self._waiting.get(view)
            self._waiting[view] = request
            if replaced is not None:
                await self._send(protocol.pack_replaced(replaced.id))
        elif len(self._tasks) >= MAX_VIEWS:
            await self._send(
                protocol.pack_error(request.id, f"more than {MAX_VIEWS} views at once")
            )
        else:
            self._tasks[view] = asyncio.create_task(self._work(request))
        return True

    async def _work(self, request: AnyRequest) -> None:
        """Answer a request, then whatever newer one its view has been waiting with."""
        view = request.view
        try:
            current: AnyRequest | None = request
            while current is not None:
                await self._send(await answer(self._service, current))
                current = self._waiting.pop(view, None)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the socket closed: nobody is left to read the answer
        finally:
            self._tasks.pop(view, None)

    async def _send(self, frame: bytes) -> None:
        async with self._sending:
            await self._socket.send_bytes(frame)


async def answer(
    service: DecodeService, request: AnyRequest, seconds: float | None = None
) -> bytes:
    """The frame that answers a request, within ``seconds``: pixels, a code or an error."""
    try:
        async with asyncio.timeout(seconds):
            if not service.is_open(request.model):
                # Not on the event loop, nor in the threads that encode: they serve everybody.
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(service.opening, service.model, request.model)
            if isinstance(request, protocol.Drawing):
                code = await asyncio.to_thread(service.encode, request.model, request.ink)
                return protocol.pack_code(request.id, code.seen, code.mu, code.sigma)
            future = service.submit(request.model, request.z, request.weights)
            return protocol.pack_pixels(request.id, await asyncio.wrap_future(future))
    except DecodeError as error:
        return protocol.pack_error(request.id, str(error))
    except Exception as error:  # whatever it is, the view waits for an answer
        return protocol.pack_error(request.id, f"{request.model} could not be run: {error!r}")


def answer_now(service: DecodeService, frame: bytes) -> bytes:
    """The same for callers that do not await: one frame in, one frame out."""
    try:
        request = protocol.unpack_request(frame)
    except protocol.ProtocolError as error:
        return protocol.pack_error(error.request_id, str(error))
    with ThreadPoolExecutor(1) as apart:  # an event loop may be running in the caller's thread
        return apart.submit(asyncio.run, answer(service, request, seconds=30)).result()
