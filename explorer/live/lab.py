"""The labs' socket: behind each connection a process trains for it, and ends with it.

The browser sends commands as JSON text; pictures of the run come back (`explorer.lab_job` has
both), the newest whenever the connection takes one. Last words, where there are any, are a picture
of words alone with ``over``.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from contextlib import suppress
from typing import IO

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from explorer import lab_job
from explorer.live.routes import same_origin
from training import children

LAB_PATH = "/live/lab"
MOST_LABS = 4
"""Processes at once."""
IDLE_SECONDS = 300.0
"""After so long without a command a process is put away: it holds memory."""


def lab_route(most: int = MOST_LABS, idle_seconds: float = IDLE_SECONDS) -> WebSocketRoute:
    """The socket at `LAB_PATH`, for ``most`` connections at once."""
    labs: set[_Connection] = set()

    async def lab(socket: WebSocket) -> None:
        if not same_origin(socket):
            await socket.close(1008, "another origin")  # before accept: an HTTP 403
            return
        await socket.accept()
        if len(labs) >= most:
            await _part(
                socket,
                f"This computer trains {most} labs at once, and all are taken. Press Play when "
                "somebody has left theirs.",
            )
            return
        one = _Connection(socket, idle_seconds)
        labs.add(one)
        try:
            await one.serve()
        finally:
            labs.discard(one)

    return WebSocketRoute(LAB_PATH, lab, name="live-lab")


async def _part(socket: WebSocket, words: str) -> None:
    """Say why this is the end, and end it."""
    with suppress(WebSocketDisconnect, RuntimeError):  # it may have gone already
        await socket.send_bytes(lab_job.pack({"problem": words, "over": True}))
        await socket.close(1000)


class _Connection:
    """One open socket and its process; of the pictures that wait, only the newest is kept."""

    def __init__(self, socket: WebSocket, idle_seconds: float):
        self._socket = socket
        self._idle_seconds = idle_seconds
        self._newest: bytes | None = None
        self._ended = False
        self._news = asyncio.Event()

    async def serve(self) -> None:
        """Pass commands one way and pictures the other until either side ends."""
        try:
            child = children.start(
                "explorer.lab_job",
                [],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                environment={"OMP_NUM_THREADS": "1"},
                behind=True,
            )
        except OSError as error:
            await _part(self._socket, f"No process could be started to train in: {error}.")
            return
        assert child.stdin is not None
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(child, loop), daemon=True).start()
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._obey(child.stdin))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            child.kill()  # it has nothing to bring to an end
            for task in tasks:
                task.cancel()
        if words := next(iter(done)).result():
            await _part(self._socket, words)

    def _read(self, child: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: take every picture at once, so that the process never waits."""
        with child, suppress(RuntimeError):  # the loop may be closed
            assert child.stdout is not None
            while picture := lab_job.read_picture(child.stdout):
                loop.call_soon_threadsafe(self._take, picture)
            loop.call_soon_threadsafe(self._take, None)

    def _take(self, picture: bytes | None) -> None:
        self._newest, self._ended = picture, picture is None
        self._news.set()

    async def _send(self) -> str:
        """Send pictures until there are no more; returns the last words."""
        try:
            while not self._ended:
                await self._news.wait()
                self._news.clear()
                picture, self._newest = self._newest, None
                if picture:
                    await self._socket.send_bytes(picture)
        except (WebSocketDisconnect, RuntimeError):
            return ""
        return "The process that trained has ended. Press Play to begin anew."

    async def _obey(self, pipe: IO[bytes]) -> str:
        """Pass commands on until the client goes or must go; returns the last words."""
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await self._socket.receive()
            except TimeoutError:
                return (
                    f"Nothing was asked of this lab for {self._idle_seconds / 60:.0f} minutes, so "
                    "it was put away. Press Play to begin anew."
                )
            if message["type"] == "websocket.disconnect":
                return ""
            try:
                command = lab_job.read_command(message.get("text") or "")
                # In a thread, as a full pipe would hold up everybody.
                await asyncio.to_thread(_write, pipe, lab_job.write_command(command))
            except OSError:
                await self._news.wait()  # the process has ended: `_send` says so
            except ValueError as error:
                return f"This is no command for a lab: {error}"


def _write(pipe: IO[bytes], line: bytes) -> None:
    pipe.write(line)
    pipe.flush()
