"""The lab behind its socket: pictures of a run, commands, and processes that never outlive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from explorer.lab_job import (
    COLUMNS,
    MOST_BYTES,
    New,
    Pause,
    Play,
    Player,
    Rewind,
    Step,
    pack,
    read_command,
    unpack,
    write_command,
)
from explorer.live import lab
from explorer.live.lab import LAB_PATH, MOST_LABS, lab_route
from tests.training.children import wait_for
from training import children
from training.plane import FIELD, SHOWN, WARP, Lab, Setting

HOME = {"origin": "http://testserver"}
TINY = Setting(width=4, batch_size=16)
NEW = '{"do": "new", "setting": {"width": 4, "batch_size": 16}}'
STANDIN = """
import sys, struct
picture = lambda words: struct.pack("<I", len(words)) + words
for n, line in enumerate(sys.stdin.buffer):
    if b"rewind" in line:
        sys.exit()
    for i in range(200 if b"play" in line else 1):
        text = b'{"n": %d, "i": %d, "blocks": {}}' % (n, i)
        text += b" " * (-len(text) % 4)
        sys.stdout.buffer.write(picture(struct.pack("<I", len(text)) + text))
        sys.stdout.buffer.flush()
"""
"""Answers as a lab does, at once: one picture for a command, or 200."""


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


Started = list[subprocess.Popen[Any]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The processes that sockets start."""
    found: Started = []
    start = children.start

    def noting(*args: Any, **options: Any) -> subprocess.Popen[Any]:
        found.append(start(*args, **options))
        return found[-1]

    monkeypatch.setattr(lab.children, "start", noting)
    return found


@pytest.fixture
def standins(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The same with stand-ins for labs, which start in an instant."""
    found: Started = []

    def start(module: str, words: list[str], **options: Any) -> subprocess.Popen[Any]:
        del options["environment"], options["behind"]
        command = [sys.executable, "-c", STANDIN]
        found.append(subprocess.Popen(command, stdin=subprocess.PIPE, **options))
        return found[-1]

    monkeypatch.setattr(lab.children, "start", start)
    return found


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=[lab_route()])) as made:
        yield made


def connect(client: TestClient) -> WebSocketTestSession:
    return client.websocket_connect(LAB_PATH, headers=HOME)


def receive(socket: WebSocketTestSession) -> tuple[dict[str, Any], dict[str, Any]]:
    return unpack(socket.receive_bytes())


def last_words(socket: WebSocketTestSession) -> str:
    """What the server says before it closes the socket."""
    head: dict[str, Any] = {}
    while not head.get("over"):
        head, _ = receive(socket)
    with pytest.raises(WebSocketDisconnect):
        socket.receive_bytes()
    return head["problem"]


def test_a_picture_comes_back_as_it_was_packed() -> None:
    field = np.arange(6, dtype=np.float32).reshape(2, 3)
    head, blocks = unpack(pack({"step": 3, "problem": "é"}, {"field": field, "none": field[:0]}))
    assert head == {"step": 3, "problem": "é"}
    np.testing.assert_array_equal(blocks["field"], field)
    assert blocks["none"].shape == (0, 3)
    assert len(pack({"a": "bc"}, {"field": field})) % 4 == 0
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"step": float("nan")})


@pytest.mark.parametrize(
    "command", [New(TINY), Play(960), Play(5, 6), Pause(), Step(), Step(7), Rewind(40)]
)
def test_commands_come_back_as_one_line(command: Any) -> None:
    line = write_command(command)
    assert line.count(b"\n") == 1
    assert read_command(line) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "play",
        "[]",
        '{"do": "reboot"}',
        '{"do": "play"}',
        '{"do": "play", "until": 0}',
        '{"do": "play", "until": 1e9}',
        '{"do": "play", "until": 10, "pace": 1000}',
        '{"do": "step", "count": 100000}',
        '{"do": "rewind", "step": -1}',
        '{"do": "new", "setting": {"width": 1000000}}',
        '{"do": "new", "setting": {"learning_rate": NaN}}',
        '{"do": "new", "setting": {"data": "points"}}',
        '{"do": "pause"}' + " " * MOST_BYTES,
    ],
)
def test_other_words_are_no_commands(text: str) -> None:
    with pytest.raises(ValueError):
        read_command(text)


def player() -> tuple[Player, Callable[[], tuple[dict[str, Any], dict[str, Any]]]]:
    """A player, and its newest picture."""
    shown: list[bytes] = []
    return Player(shown.append), lambda: unpack(shown[-1])


def test_a_picture_shows_the_whole_run() -> None:
    one, newest = player()
    one.do(New(TINY))
    one.do(Step(12))
    head, blocks = newest()
    alone = Lab(TINY)
    alone.advance(12)
    assert (head["step"], head["reached"], head["playing"], head["problem"]) == (12, 10, False, "")
    assert head["now"] == vars(alone.now())
    for name, tensor in vars(alone.view()).items():
        np.testing.assert_array_equal(blocks[name], tensor.numpy())
    shapes = {name: block.shape for name, block in blocks.items()}
    assert shapes == {
        "data": (SHOWN, 2),
        "samples": (SHOWN, 2),
        "field": (FIELD, FIELD),
        "warp": (WARP, WARP, 2),
        "moments": (3, len(COLUMNS)),
    }
    assert blocks["moments"][:, 0].tolist() == [0, 5, 10]
    json.dumps(head, allow_nan=False)


def test_a_player_plays_to_the_end_and_no_further() -> None:
    one, newest = player()
    one.do(Pause())  # without a run there is nothing to do
    assert one.patience() is None
    one.do(New(TINY))
    assert one.patience() is None
    one.do(Play(40))
    assert one.patience() == 0
    assert newest()[0]["playing"]
    while one.patience() is not None:
        one.go_on()
    assert newest()[0]["step"] == 40
    assert not newest()[0]["playing"]
    one.do(Play(30))  # over already
    assert one.patience() is None
    one.do(Play(200, 15))
    one.go_on()
    assert newest()[0]["step"] == 41  # one at a time
    patience = one.patience()
    assert patience is not None and patience <= 2 / 15
    one.do(Rewind(33))
    assert newest()[0]["step"] == 30
    assert one.patience() is None


def test_a_run_that_leaves_all_bounds_says_so_and_goes_back() -> None:
    one, newest = player()
    one.do(New(TINY))
    one.do(Step(7))
    assert one._lab is not None
    next(one._lab.gan.discriminator.parameters()).data.fill_(float("nan"))
    one.do(Step(1))
    head, _ = newest()
    assert head["problem"].startswith("After 8 steps the numbers have left all bounds.")
    assert (head["step"], head["playing"]) == (5, False)
    one.do(Step(1))
    assert newest()[0]["problem"] == ""


def test_a_page_of_another_origin_is_refused(client: TestClient, standins: Started) -> None:
    for headers in ({"origin": "http://evil.example"}, {}):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(LAB_PATH, headers=headers),
        ):
            pass
    assert not standins


def test_only_so_many_labs_at_once(client: TestClient, standins: Started) -> None:
    sockets = [connect(client) for _ in range(MOST_LABS)]
    for socket in sockets:
        socket.__enter__()
        socket.send_text(NEW)
        receive(socket)
    with connect(client) as fifth:
        assert last_words(fifth).startswith("This computer trains 4 labs at once, and all are")
    assert len(standins) == MOST_LABS
    sockets.pop().__exit__(None, None, None)
    wait_for(lambda: not alive(standins[-1].pid))
    with connect(client) as again:
        again.send_text(NEW)
        assert receive(again)[0]["n"] == 0
    for socket in sockets:
        socket.__exit__(None, None, None)


def test_whoever_is_slow_gets_the_newest_picture(client: TestClient, standins: Started) -> None:
    with connect(client) as socket:
        socket.send_text('{"do": "play", "until": 9}')
        head: dict[str, Any] = {}
        while head.get("i") != 199:  # however many were left out, never the last
            head, _ = receive(socket)


@pytest.mark.parametrize("text", ["hello", '{"do": "rewind", "step": -3}', "x" * (MOST_BYTES + 1)])
def test_what_is_no_command_ends_the_connection(
    client: TestClient, standins: Started, text: str
) -> None:
    with connect(client) as socket:
        socket.send_text(text)
        assert last_words(socket).startswith("This is no command for a lab: ")
    wait_for(lambda: not alive(standins[0].pid))


def test_bytes_are_no_command(client: TestClient, standins: Started) -> None:
    with connect(client) as socket:
        socket.send_bytes(b"\x00")
        assert last_words(socket).startswith("This is no command for a lab: ")


def test_the_end_of_the_process_is_said(client: TestClient, standins: Started) -> None:
    with connect(client) as socket:
        socket.send_text('{"do": "rewind", "step": 3}')  # the stand-in ends at this
        assert last_words(socket).startswith("The process that trained has ended.")


def test_a_lab_that_nobody_uses_is_put_away(standins: Started) -> None:
    with TestClient(Starlette(routes=[lab_route(idle_seconds=0.2)])) as client:
        with connect(client) as socket:
            assert "so it was put away" in last_words(socket)
        wait_for(lambda: not alive(standins[0].pid))


def test_a_process_that_cannot_be_started_is_said(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise OSError("out of processes")

    monkeypatch.setattr(lab.children, "start", start)
    with connect(client) as socket:
        assert "out of processes" in last_words(socket)


def test_a_lab_trains_and_ends_with_its_connection(client: TestClient, started: Started) -> None:
    with connect(client) as socket:
        socket.send_text(NEW)
        head, blocks = receive(socket)
        assert (head["step"], head["playing"]) == (0, False)
        (child,) = started
        assert os.getpriority(os.PRIO_PROCESS, child.pid) > os.getpriority(os.PRIO_PROCESS, 0)
        socket.send_text('{"do": "play", "until": 30}')
        while head["step"] < 30 or head["playing"]:
            head, blocks = receive(socket)
        alone = Lab(TINY)
        alone.advance(30)
        assert head["now"] == vars(alone.now())  # as in this process, to the last digit
        np.testing.assert_array_equal(blocks["samples"], alone.view().samples.numpy())
        socket.send_text('{"do": "play", "until": 20000}')
        assert receive(socket)[0]["playing"]
    wait_for(lambda: not alive(child.pid))


def test_a_lab_ends_with_a_server_that_is_killed() -> None:
    code = (
        "import subprocess, sys; from training import children;"
        "child = children.start('explorer.lab_job', [], stdout=subprocess.DEVNULL,"
        " stderr=subprocess.DEVNULL); print(child.pid, flush=True); sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert alive(pid)
    with server:
        server.send_signal(signal.SIGKILL)
    wait_for(lambda: not alive(pid))
