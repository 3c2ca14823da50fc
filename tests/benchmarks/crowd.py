"""Many users dragging at once, without browsers: ``python -m tests.benchmarks.crowd --help``.

A process of its own, so that it shares no interpreter with the measuring browser. It says "ready"
when every socket has had an answer, drags until its standard input closes, and then prints what it
measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import typer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

from explorer.live import protocol
from explorer.live.routes import SOCKET_PATH
from tests.benchmarks.latencies import STEP_S, Latencies
from training.checkpoint import Card, read_card

ANSWER_SECONDS = 30
MAX_SECONDS = 600


@dataclass
class User:
    """One user who drags: a request as soon as the last is answered, at most 60 a second."""

    card: Card
    """Of the model."""
    rng: np.random.Generator
    """Where the hand goes."""
    latencies: list[float] = field(default_factory=list)
    """From sending to the answer in hand, ms."""
    errors: list[str] = field(default_factory=list)
    """Answers other than pixels, and why the socket closed."""

    async def drag(self, socket: ClientConnection, over: Callable[[], bool]) -> None:
        """Ask until it is ``over``."""
        try:
            while not over():
                sent = time.perf_counter()
                await self.ask(socket)
                self.latencies.append(1000 * (time.perf_counter() - sent))
                await asyncio.sleep(max(0.0, sent + STEP_S - time.perf_counter()))
        except (WebSocketException, OSError, TimeoutError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    async def ask(self, socket: ClientConnection) -> None:
        """One request, one answer."""
        request = self._request()
        await socket.send(protocol.pack_request(request))
        frame = await asyncio.wait_for(socket.recv(decode=False), ANSWER_SECONDS)
        answer = protocol.unpack_answer(frame)
        if answer.id != request.id or answer.kind != protocol.Kind.PIXELS:
            self.errors.append(answer.message or f"{answer.kind.name} for request {answer.id}")

    def _request(self) -> protocol.Request:
        card = self.card
        z = self.rng.standard_normal((1, card.latent_dim), np.float32)
        weights = None
        if card.num_classes:
            chosen = self.rng.integers(card.num_classes, size=1)
            weights = np.eye(card.num_classes, dtype=np.float32)[chosen]
        return protocol.Request(len(self.latencies) + 1, 1, card.name, z, weights)


async def run(server: str, users: list[User]) -> tuple[Latencies, list[str]]:
    """Connect everybody, drag until standard input closes; what they saw, and every error."""
    url = server.replace("http", "ws", 1) + SOCKET_PATH
    sockets = await asyncio.gather(*(connect(url, origin=Origin(server)) for _ in users))
    try:
        pairs = list(zip(users, sockets, strict=True))
        await asyncio.gather(*(user.ask(socket) for user, socket in pairs))
        print("ready", flush=True)
        closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, closed.set)
        start = time.perf_counter()

        def over() -> bool:
            return closed.is_set() or time.perf_counter() - start > MAX_SECONDS

        await asyncio.gather(*(user.drag(socket, over) for user, socket in pairs))
        seconds = time.perf_counter() - start
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))
    every = [latency for user in users for latency in user.latencies]
    return Latencies.of(every, 0, len(every) / seconds), [e for user in users for e in user.errors]


def main(server: str, model: Path, users: int = 20) -> None:
    """Drag as USERS users of MODEL, a checkpoint folder, on the app at SERVER."""
    card = read_card(model)
    crowd = [User(card, np.random.default_rng(seed)) for seed in range(users)]
    latencies, errors = asyncio.run(run(server, crowd))
    print(json.dumps({"latencies": asdict(latencies), "errors": errors}))


if __name__ == "__main__":
    typer.run(main)
