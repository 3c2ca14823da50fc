"""Settings, the command and the configuration it starts with."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from explorer import cli, settings
from training.children import UNTIL_EOF

CONFIG = tomllib.loads((settings.PROJECT / ".streamlit" / "config.toml").read_text())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs ``latent-explorer`` in this process; gives exit code and all that it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["latent-explorer", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), re.sub(r"\x1b\[[0-9;]*m", "", printed.out + printed.err)

    return run


def test_help_names_every_option(command) -> None:
    code, printed = command("--help")
    assert code == 0
    for option in ("--checkpoints", "--data", "--images", "--port", "--browser", "--no-browser"):
        assert option in printed
    assert "Open the latent explorer" in printed


@pytest.mark.parametrize("option", ["--checkpoints", "--data", "--images"])
def test_a_folder_that_is_not_there_is_named(command, option: str, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    code, printed = command(option, str(missing))
    assert code == 2
    assert "there is no folder" in printed
    assert missing.name in printed


@pytest.mark.parametrize("variable", ["LATENT_CHECKPOINTS", "LATENT_DATA", "LATENT_IMAGES"])
def test_a_variable_is_read_as_its_option_is(
    command, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to where the command was typed, and looked at."""
    from explorer import app

    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setattr(app.app, "run", lambda config: None)
    (tmp_path / "own").mkdir()
    monkeypatch.setenv(variable, os.path.relpath(tmp_path / "own"))
    assert command()[0] == 0
    assert os.environ[variable] == str(tmp_path / "own")
    monkeypatch.setenv(variable, "nowhere")
    code, printed = command()
    assert code == 2
    assert "there is no folder nowhere" in printed


def test_a_checkpoints_own_folder_is_told_from_a_folder_of_them(command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "card.json").write_text("{}")
    code, printed = command("--checkpoints", str(tmp_path / "mine"))
    assert code == 2
    assert "is one checkpoint" in printed
    assert str(tmp_path.parent.name) in printed


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_refused(command, port: str) -> None:
    code, printed = command("--port", port)
    assert code == 2
    assert "--port" in printed


def test_the_command_hands_its_folders_and_port_to_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from explorer import app

    given: dict[str, object] = {}

    class Server:
        def run(self, config: dict[str, object]) -> None:
            given.update(config)

    (tmp_path / "models").mkdir()
    monkeypatch.setattr(app, "app", Server())
    monkeypatch.setenv("LATENT_CHECKPOINTS", "")
    monkeypatch.setenv("LATENT_DATA", "")
    monkeypatch.chdir(tmp_path)
    arguments = ["--checkpoints", "models", "--data", ".", "--port", "8765", "--no-browser"]
    monkeypatch.setattr(sys, "argv", ["latent-explorer", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert given == {"server.port": 8765, "server.headless": True}
    assert settings.checkpoints_dir() == tmp_path / "models"
    assert settings.data_dir() == tmp_path
    assert Path.cwd() == settings.PROJECT


def test_it_says_where_it_is_and_nothing_of_streamlit(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "explorer.cli", "--port", str(port), UNTIL_EOF]
    # A home in which an agent has left its traces, which Streamlit would offer its skills.
    (tmp_path / ".claude").mkdir()
    home = {**os.environ, "HOME": str(tmp_path), "BROWSER": "true"}
    with subprocess.Popen(
        command, cwd=settings.PROJECT, env=home, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        first = server.stdout.readline()
        answering = False
        while not answering and server.poll() is None:
            with socket.socket() as asking:
                answering = asking.connect_ex(("127.0.0.1", port)) == 0
        time.sleep(1)  # in which Streamlit used to print its own
        server.stdin.close()
        rest = server.stdout.read()
    assert first == f"Latent Explorer is at http://127.0.0.1:{port} (Ctrl-C ends it)\n"
    assert not rest.strip()


def test_the_installed_command_runs() -> None:
    executable = Path(sys.executable).with_name("latent-explorer")
    done = subprocess.run([executable, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "latent explorer" in done.stdout


def test_folders_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_CHECKPOINTS", "/some/models")
    monkeypatch.setenv("LATENT_DATA", "/some/data")
    assert settings.checkpoints_dir() == Path("/some/models")
    assert settings.data_dir() == Path("/some/data")
    monkeypatch.setenv("LATENT_IMAGES", "/some/photos")
    assert settings.images_dir() == Path("/some/photos")


@pytest.mark.parametrize("value", [None, ""])
def test_without_settings_the_shipped_folders_are_used(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    for variable in ("LATENT_CHECKPOINTS", "LATENT_DATA", "LATENT_IMAGES"):
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
    assert settings.checkpoints_dir() == settings.PROJECT / "checkpoints"
    assert settings.data_dir().name == "data"
    assert settings.images_dir() is None


def test_the_server_listens_on_this_computer_only() -> None:
    assert CONFIG["server"]["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:8501", 200), ("localhost", 200), ("evil.example:8501", 400)]
)
def test_a_name_that_was_made_to_mean_this_computer_gets_nothing(host: str, status: int) -> None:
    """Neither page, socket nor image: DNS rebinding makes an origin like its host."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.testclient import TestClient, WebSocketDenialResponse
    from starlette.websockets import WebSocket

    from explorer import app

    async def socket(one: WebSocket) -> None:
        await one.accept()
        await one.close()

    routes = [Route("/", lambda _: Response()), WebSocketRoute("/live", socket)]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(app.KnownHosts)]))
    assert client.get("/", headers={"host": host}).status_code == status
    if status == 200:
        with client.websocket_connect("/live", headers={"host": host}):
            pass
    else:
        with (
            pytest.raises(WebSocketDenialResponse),
            client.websocket_connect("/live", headers={"host": host}),
        ):
            pass
    assert set(CONFIG["server"]["allowedHosts"]) == {"localhost", "127.0.0.1"}


@pytest.mark.parametrize(
    ("names", "answered"),
    [
        (["lab.school.example"], {"lab.school.example", "localhost", "127.0.0.1"}),
        ([], {"lab.school.example", "localhost", "127.0.0.1", "evil.example"}),
    ],
)
def test_a_server_with_a_name_of_its_own_answers_whoever_sits_at_it_too(
    names: list[str], answered: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from explorer import app

    monkeypatch.setattr(app.st, "get_option", {"server.allowedHosts": names}.get)
    routes = [Route("/", lambda _: Response())]
    client = TestClient(Starlette(routes=routes, middleware=[Middleware(app.KnownHosts)]))
    hosts = ("lab.school.example", "localhost", "127.0.0.1", "evil.example")
    got = {host for host in hosts if client.get("/", headers={"host": host}).status_code == 200}
    assert got == answered


@pytest.mark.parametrize(
    ("address", "names", "said"),
    [
        ("127.0.0.1", ["localhost"], "http://127.0.0.1:8501"),
        ("0.0.0.0", ["lab.school.example"], "http://lab.school.example:8501"),
        ("0.0.0.0", [], "http://localhost:8501"),
        ("192.0.2.7", ["lab.school.example"], "http://192.0.2.7:8501"),
    ],
)
def test_the_address_it_says_is_one_that_it_answers(
    address: str,
    names: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from explorer import app

    options = {"server.address": address, "server.allowedHosts": names, "server.port": 8501}
    monkeypatch.setattr(app.st, "get_option", options.get)

    async def serve() -> None:
        async with app.lifespan(app.app):
            pass

    with ThreadPoolExecutor(1) as apart:  # an event loop may be running in this thread
        try:
            apart.submit(asyncio.run, serve()).result()
        finally:
            gc.unfreeze()
    assert f"Latent Explorer is at {said} (Ctrl-C" in capsys.readouterr().out


def test_nothing_is_reported_to_anybody() -> None:
    assert CONFIG["browser"]["gatherUsageStats"] is False


def test_no_search_for_garbage_stops_the_pictures() -> None:
    """Neither one that Streamlit begins, nor a long one of Python's among what was imported."""
    from explorer import app

    async def serve() -> int:
        async with app.lifespan(app.app):
            return gc.get_freeze_count()

    assert CONFIG["runner"]["postScriptGC"] is False
    with ThreadPoolExecutor(1) as apart:  # an event loop may be running in this thread
        try:
            assert apart.submit(asyncio.run, serve()).result() > 100_000
        finally:
            gc.unfreeze()


def test_uploads_are_bounded() -> None:
    assert CONFIG["server"]["maxUploadSize"] <= 3


def test_there_are_ten_colours_that_stay_apart() -> None:
    colours = CONFIG["theme"]["chartCategoricalColors"]
    assert all(re.fullmatch("#[0-9A-Fa-f]{6}", colour) for colour in colours)
    assert len(colours) == 10
    channels = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in colours]
    for i, one in enumerate(channels):
        for other in channels[:i]:
            assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 40
