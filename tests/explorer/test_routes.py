"""The live channel as a browser meets it: a WebSocket that answers, refuses and never stalls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from explorer import catalog
from explorer.live import protocol, service
from explorer.live.protocol import Answer, Kind
from explorer.live.routes import (
    MAX_VIEWS,
    PLOTLY_PATH,
    SOCKET_PATH,
    answer,
    answer_now,
    live_routes,
)
from explorer.live.service import DecodeService
from tests.explorer.conftest import floats
from tests.explorer.fakes import FakeCheckpoint, Fakes, numbered
from training.checkpoint import Checkpoint, CheckpointError, load

HOME = {"origin": "http://testserver"}


@pytest.fixture
def client(fakes: Fakes) -> Iterator[TestClient]:
    """A browser on a server with two fake models."""
    with TestClient(Starlette(routes=live_routes(fakes.service))) as made:
        yield made
        fakes.let()


@pytest.fixture
def real(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser on a server with the tiny real models."""
    monkeypatch.setattr(service, "has_bf16", lambda device: False)
    decoding = DecodeService(catalog.scan(zoo).open)
    with TestClient(Starlette(routes=live_routes(decoding))) as made:
        yield made
    decoding.close()


def frame(id: int, model: str = "one", rows: int = 1, start: int = 0, **changes: Any) -> bytes:
    settings = {"view": 1, "z": numbered(rows, start), "weights": None} | changes
    return protocol.pack_request(protocol.Request(id=id, model=model, **settings))


def drawn(id: int, model: str, side: int = 112, ink: int = 255) -> bytes:
    """A frame that asks for the code of a stroke."""
    drawing = np.zeros((side, side), np.uint8)
    drawing[side // 8 : side // 2, side // 4 : side // 3] = ink
    return protocol.pack_request(protocol.Drawing(id, 1, model, drawing))


def receive(socket: WebSocketTestSession) -> Answer:
    return protocol.unpack_answer(socket.receive_bytes())


def ask(socket: WebSocketTestSession, sent: bytes) -> Answer:
    socket.send_bytes(sent)
    return receive(socket)


def greys(answer: Answer) -> list[int]:
    assert answer.kind == Kind.PIXELS, answer.message
    return answer.pixels[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("name", "d", "k"), [("tiny-vae-z2", 2, 0), ("tiny-vae-z5", 5, 0), ("tiny-cgan", 6, 10)]
)
def test_pixels_come_back_as_the_model_decodes(
    real: TestClient, zoo: Path, name: str, d: int, k: int
) -> None:
    import torch

    rng = np.random.default_rng(1)
    z = rng.normal(size=(3, d)).astype(np.float32)
    weights = np.eye(k, dtype=np.float32)[[7, 0, 9]] if k else None
    with real.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        answer = ask(socket, frame(5, name, z=z, weights=weights))
    assert (answer.id, answer.kind) == (5, Kind.PIXELS)
    y = None if weights is None else torch.from_numpy(weights)
    wanted = load(zoo / name).decode(torch.from_numpy(z), y).numpy() * 255
    assert answer.pixels.shape == (3, 28, 28, 1)
    assert np.abs(answer.pixels - wanted.transpose(0, 2, 3, 1)).max() <= 0.51


@pytest.mark.parametrize("name", ["tiny-vae-z2", "tiny-vae-z5"])
def test_a_code_comes_back_as_the_model_encodes(real: TestClient, zoo: Path, name: str) -> None:
    import torch

    with real.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        answer = ask(socket, drawn(5, name))
    assert (answer.id, answer.kind) == (5, Kind.CODE)
    assert answer.pixels.shape == (1, 28, 28, 1)
    x = torch.from_numpy(answer.pixels.copy()).permute(0, 3, 1, 2).float() / 255
    mu, log_var = load(zoo / name).encode(x)
    np.testing.assert_allclose(answer.mu, mu[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answer.sigma, torch.exp(log_var[0] / 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (drawn(9, "tiny-cgan"), "has no encoder"),
        (drawn(9, "nobody"), "no such model"),
        (drawn(9, "tiny-vae-z2", side=300), "16 to 256 pixels"),
        (drawn(9, "tiny-vae-z2")[:-1], "bytes, not"),
        (drawn(9, "tiny-vae-z2", ink=0), "blank"),
    ],
    ids=["generator", "nobody", "large", "short", "blank"],
)
def test_a_bad_drawing_is_answered_and_the_connection_lives_on(
    real: TestClient, sent: bytes, words: str
) -> None:
    with real.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        answer = ask(socket, sent)
        assert (answer.id, answer.kind) == (9, Kind.ERROR)
        assert words in answer.message
        assert ask(socket, drawn(10, "tiny-vae-z2")).kind == Kind.CODE


def test_newer_drawings_of_a_view_replace_the_waiting_one(
    real: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, encode = threading.Event(), DecodeService.encode

    def held(*args: Any) -> service.Code:
        assert hold.wait(60)
        return encode(*args)

    monkeypatch.setattr(DecodeService, "encode", held)
    with real.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        for id in range(1, 5):
            socket.send_bytes(drawn(id, "tiny-vae-z2"))
        assert [(one.id, one.kind) for one in (receive(socket), receive(socket))] == [
            (2, Kind.REPLACED),
            (3, Kind.REPLACED),
        ]
        hold.set()
        assert [receive(socket).id, receive(socket).id] == [1, 4]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://testserver:81", "https://testserver.evil.example", "null", ""],
)
def test_a_page_of_another_origin_is_refused(client: TestClient, origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect(SOCKET_PATH, headers={"origin": origin}),
    ):
        pass
    assert caught.value.code == 1008


def test_a_client_that_names_no_origin_is_refused(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(SOCKET_PATH):
        pass
    assert caught.value.code == 1008


def test_text_ends_the_connection(client: TestClient) -> None:
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        socket.send_text('{"z": [0, 0]}')
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_bytes()
    assert caught.value.code == 1003


def test_an_oversized_frame_ends_the_connection(client: TestClient) -> None:
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        socket.send_bytes(bytes(protocol.MAX_MESSAGE_BYTES + 1))
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_bytes()
    assert caught.value.code == 1009


@pytest.mark.parametrize(
    ("sent", "id", "words"),
    [
        (b"", 0, "begins with 16 bytes"),
        (bytes(16), 0, "reload the page"),
        (frame(9)[:-1], 9, "bytes, not"),
        (frame(9, z=floats([[np.nan, 0]])), 9, "finite"),
        (frame(9, z=np.zeros((1, 3), np.float32)), 9, "wants z of shape (n, 2)"),
        (frame(9, z=np.zeros((1, 0), np.float32)), 9, "wants z of shape (n, 2)"),
        (frame(9, weights=np.eye(1, 10, dtype=np.float32)), 9, "takes no class"),
        (frame(9, model="nobody"), 9, "nobody"),
        (frame(9, model=""), 9, "could not be"),
    ],
    ids=["empty", "version", "short", "nan", "d", "no d", "class", "model", "no model"],
)
def test_a_bad_frame_is_answered_and_the_connection_lives_on(
    client: TestClient, sent: bytes, id: int, words: str
) -> None:
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        answer = ask(socket, sent)
        assert (answer.id, answer.kind) == (id, Kind.ERROR)
        assert words in answer.message
        assert greys(ask(socket, frame(10, start=42))) == [42]


@pytest.mark.parametrize("failure", [RuntimeError("boom"), KeyError("boom"), OSError("boom")])
def test_a_model_that_fails_is_answered_and_the_connection_lives_on(
    client: TestClient, fakes: Fakes, failure: Exception
) -> None:
    fakes.models["one"].failure = failure
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        answer = ask(socket, frame(3))
        assert (answer.id, answer.kind) == (3, Kind.ERROR)
        assert "boom" in answer.message
        assert greys(ask(socket, frame(4, "two", start=8))) == [8]


def test_newer_requests_of_a_view_replace_the_waiting_one(client: TestClient, fakes: Fakes) -> None:
    fakes.hold()
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        for id in range(1, 6):
            socket.send_bytes(frame(id, start=10 * id))
        replaced = [receive(socket) for _ in range(3)]
        assert [(one.id, one.kind) for one in replaced] == [(i, Kind.REPLACED) for i in (2, 3, 4)]
        fakes.let()
        answers = [receive(socket) for _ in range(2)]
        assert [(one.id, greys(one)) for one in answers] == [(1, [10]), (5, [50])]
        assert greys(ask(socket, frame(6, start=60))) == [60]


def test_another_view_replaces_nothing(client: TestClient, fakes: Fakes) -> None:
    fakes.hold()
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        for view in range(5):
            socket.send_bytes(frame(view, start=view, view=view))
        fakes.let()
        answers = [receive(socket) for _ in range(5)]
    assert sorted((one.id, *greys(one)) for one in answers) == [(i, i) for i in range(5)]


def test_two_connections_with_the_same_view_are_apart(client: TestClient, fakes: Fakes) -> None:
    fakes.hold()
    with (
        client.websocket_connect(SOCKET_PATH, headers=HOME) as one,
        client.websocket_connect(SOCKET_PATH, headers=HOME) as two,
    ):
        one.send_bytes(frame(1, start=1))
        two.send_bytes(frame(1, start=2))
        fakes.let()
        assert greys(receive(one)) == [1]
        assert greys(receive(two)) == [2]


def test_too_many_views_at_once_are_refused(client: TestClient, fakes: Fakes) -> None:
    fakes.hold()
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        for view in range(MAX_VIEWS + 1):
            socket.send_bytes(frame(view, view=view))
        refused = receive(socket)
        assert (refused.id, refused.kind) == (MAX_VIEWS, Kind.ERROR)
        assert f"more than {MAX_VIEWS} views" in refused.message
        fakes.let()
        assert {receive(socket).id for _ in range(MAX_VIEWS)} == set(range(MAX_VIEWS))


def test_a_client_that_goes_away_takes_its_requests_along(client: TestClient, fakes: Fakes) -> None:
    first = fakes.hold()
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        for view in range(5):
            socket.send_bytes(frame(view, "two", rows=40, view=view))
    with client.websocket_connect(SOCKET_PATH, headers=HOME) as socket:
        socket.send_bytes(frame(1, start=9))
        fakes.let()
        assert greys(receive(socket)) == [9]
    assert first.done()


def test_a_client_that_never_reads_stalls_nobody(client: TestClient) -> None:
    with (
        client.websocket_connect(SOCKET_PATH, headers=HOME) as deaf,
        client.websocket_connect(SOCKET_PATH, headers=HOME) as other,
    ):
        for view in range(8):
            deaf.send_bytes(frame(view, rows=512, view=view))
        for id in range(20):
            assert greys(ask(other, frame(id, start=id))) == [id]


def test_a_model_that_opens_slowly_stalls_nobody() -> None:
    release = threading.Event()

    def open_model(name: str) -> Checkpoint:
        if name == "slow":
            assert release.wait(60)
        return FakeCheckpoint(name, [])

    decoding = DecodeService(open_model)
    decoding.model("fast")
    with (
        TestClient(Starlette(routes=live_routes(decoding))) as client,
        client.websocket_connect(SOCKET_PATH, headers=HOME) as patient,
        client.websocket_connect(SOCKET_PATH, headers=HOME) as other,
    ):
        patient.send_bytes(frame(1, "slow", start=1))
        for id in range(5):
            assert greys(ask(other, frame(id, "fast", start=id))) == [id]
        assert greys(ask(patient, frame(2, "fast", start=77, view=2))) == [77]
        release.set()
        assert greys(receive(patient)) == [1]
    decoding.close()


def test_models_that_open_slowly_keep_no_drawing_and_no_refusal_waiting(zoo: Path) -> None:
    release = threading.Event()

    def open_model(name: str) -> Checkpoint:
        if name != "tiny-vae-z5":
            assert release.wait(60)
            raise CheckpointError(name, "it is damaged")
        return load(zoo / name)

    def stamp(name: str) -> int:
        if name == "nobody":
            raise CheckpointError(name, "there is no such model")
        return 0

    decoding = DecodeService(open_model, stamp)
    decoding.model("tiny-vae-z5")

    async def ask_for(sent: bytes, seconds: float = 60) -> Answer:
        request = protocol.unpack_request(sent)
        return protocol.unpack_answer(await answer(decoding, request, seconds))

    async def ask_all() -> tuple[Answer, Answer, list[Answer]]:
        slow = [asyncio.create_task(ask_for(frame(i, f"slow-{i}"))) for i in range(64)]
        await asyncio.sleep(0.1)  # all of them ask
        try:
            quick = await ask_for(drawn(100, "tiny-vae-z5"), 20), await ask_for(frame(1, "nobody"))
        finally:
            release.set()
        return *quick, await asyncio.gather(*slow)

    code, refusal, slow = asyncio.run(ask_all())
    assert code.kind == Kind.CODE, code.message
    assert refusal.message == "unknown model: nobody: there is no such model"
    assert {one.message.partition(": ")[2].partition(": ")[2] for one in slow} == {"it is damaged"}
    decoding.close()


def test_the_fallback_answers_one_frame_with_one_frame(fakes: Fakes) -> None:
    answer = protocol.unpack_answer(answer_now(fakes.service, frame(6, rows=3, start=5)))
    assert (answer.id, greys(answer)) == (6, [5, 6, 7])


def test_the_fallback_answers_where_an_event_loop_runs_already(fakes: Fakes) -> None:
    async def ask_there() -> bytes:
        return answer_now(fakes.service, frame(4))

    # A thread of its own: playwright leaves its loop running in pytest's main thread.
    with ThreadPoolExecutor(1) as apart:
        answer = apart.submit(lambda: asyncio.run(ask_there())).result()
    assert protocol.unpack_answer(answer).id == 4


def test_the_fallback_encodes_drawings_too(zoo: Path) -> None:
    decoding = DecodeService(catalog.scan(zoo).open)
    answer = protocol.unpack_answer(answer_now(decoding, drawn(6, "tiny-vae-z5")))
    assert (answer.id, answer.kind, answer.mu.shape) == (6, Kind.CODE, (5,))
    answer = protocol.unpack_answer(answer_now(decoding, drawn(7, "tiny-cgan")))
    assert (answer.id, answer.kind) == (7, Kind.ERROR)
    decoding.close()


@pytest.mark.parametrize("sent", [b"", frame(6, model="nobody"), frame(6, weights=numbered(1))])
def test_the_fallback_answers_a_bad_frame_with_an_error(fakes: Fakes, sent: bytes) -> None:
    answer = protocol.unpack_answer(answer_now(fakes.service, sent))
    assert answer.kind == Kind.ERROR
    assert answer.message
    assert answer.id == (6 if sent else 0)


def test_plotly_is_served_from_the_installed_package(client: TestClient) -> None:
    import plotly.offline

    response = client.get(PLOTLY_PATH)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] in (
        "text/javascript",
        "application/javascript",
    )
    assert response.text == plotly.offline.get_plotlyjs()


@pytest.mark.parametrize(
    ("path", "knows_root", "brings_plotly"),
    [("/", False, True), ("/map", True, True), ("/draw", True, True), ("/sliders", True, False)],
)
def test_every_page_is_streamlits_page(path: str, knows_root: bool, brings_plotly: bool) -> None:
    from starlette.routing import Route

    from explorer import app

    pages = {"/": app.first_page, **dict.fromkeys(("/map", "/draw"), app.map_at_its_own_path)}
    route = Route(path, pages.get(path, app.page_at_its_own_path))
    with TestClient(Starlette(routes=[route])) as client:
        response = client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    head = response.text.split("</head>")[0]
    assert ("window.__streamlit" in head) == knows_root
    assert (PLOTLY_PATH in head) == brings_plotly
