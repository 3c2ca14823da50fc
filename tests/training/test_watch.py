import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.children import wait_for
from training import watch
from training.running import read

VAE = "mnist-conv-vae-z2"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen]:
    """Every process that is started."""
    found: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def start(*args, **kwargs) -> subprocess.Popen:
        found.append(popen(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(watch.subprocess, "Popen", start)
    return found


SERVER = """#!{python}
import http.server, signal, sys, threading
{first}
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


@pytest.fixture
def instead(tmp_path: Path, monkeypatch) -> Callable[[str], None]:
    """``instead(code)``: a quick server in the app's place, which does this first."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def put(first: str = "") -> None:
        script = tmp_path / "server"
        script.write_text(SERVER.format(python=sys.executable, first=first))
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return put


def answers(url: str) -> bool:
    port = int(url.split(":")[2].split("/")[0])
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def address(output: str) -> str:
    (found,) = [word for word in output.split() if word.startswith("http://127.0.0.1:")]
    return found


def test_the_app_runs_as_long_as_the_block(instead, started, tmp_path, capsys):
    instead()
    with watch.shown_in_app(tmp_path, "a-run"):
        url = address(capsys.readouterr().out)
        assert url.endswith("/training?run=a-run")
        assert answers(url)
    assert not answers(url)
    (child,) = started
    assert child.returncode == -signal.SIGTERM
    options = [str(word) for word in child.args]
    assert options[1:5] == ["-m", "explorer.cli", "--checkpoints", str(tmp_path)]
    assert options[-2:] == ["--no-browser", "--until-eof"]


@pytest.mark.parametrize("there", [True, False])
def test_the_app_shows_the_images_that_the_run_learns_from(instead, started, tmp_path, there):
    instead()
    data = tmp_path if there else tmp_path / "nowhere"
    with watch.shown_in_app(tmp_path, "a-run", data, data):
        pass
    options = [str(word) for word in started[0].args]
    for option in ("--data", "--images"):
        assert (option in options) == there
        assert not there or options[options.index(option) + 1] == str(tmp_path)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_ends_the_app_too(instead, started, tmp_path, error):
    instead()
    with pytest.raises(error), watch.shown_in_app(tmp_path, "a-run"):
        raise error
    assert started[0].returncode == -signal.SIGTERM


def test_an_app_that_does_not_end_is_killed(instead, started, tmp_path, monkeypatch):
    instead("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    monkeypatch.setattr(watch, "END_SECONDS", 0.1)
    with watch.shown_in_app(tmp_path, "a-run"):
        pass
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("first", "reason"),
    [("sys.exit('no [b]module[/b] today')", "no [b]module[/b] today"), ("sys.exit(3)", "ended")],
)
def test_an_app_that_cannot_start_is_said_and_the_training_goes_on(
    command, path, instead, started, first, reason
):
    instead(first)
    result = command("--watch")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert text.count("the app cannot be started") == 1
    assert reason in text
    assert read(path).state == "finished"
    assert started[0].returncode is not None


def test_an_app_that_never_answers_is_given_up(instead, started, tmp_path, monkeypatch, capsys):
    instead("threading.Event().wait()")
    monkeypatch.setattr(watch, "START_SECONDS", 0.3)
    with watch.shown_in_app(tmp_path, "a-run"):
        pass
    assert "no answer in 0.3 seconds" in " ".join(capsys.readouterr().out.split())
    assert started[0].returncode == -signal.SIGTERM


def test_a_program_that_cannot_be_run_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with watch.shown_in_app(tmp_path, "a-run"):
        pass
    assert "the app cannot be started" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("display", ["", ":0"])
def test_a_browser_is_opened_where_there_is_a_display(
    instead, tmp_path, monkeypatch, capsys, display
):
    opened: list[str] = []
    instead()
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(watch.sys, "platform", "linux")
    monkeypatch.setattr(watch.webbrowser, "open", opened.append)
    with watch.shown_in_app(tmp_path, "a-run"):
        pass
    assert opened == ([address(capsys.readouterr().out)] if display else [])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_fit_leaves_no_app_behind_however_it_ends(tree, tmp_path, how):
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "training.cli", "fit", VAE, "--epochs", "1000000", "--watch"]
    environment = {k: v for k, v in os.environ.items() if "DISPLAY" not in k}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--data", str(tree), "--out", str(out), "--device", "cpu"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment | {"COLUMNS": "200"},
        )
    try:
        wait_for(lambda: "Watch it at http" in log.read_text() or process.poll() is not None, 120)
        url = address(log.read_text())
        wait_for(lambda: (out / VAE / "card.json").exists())
        assert answers(url)
        process.send_signal(how)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not answers(url))
    ended = {signal.SIGINT: "interrupted"}.get(how, "training")
    assert read(out / f"{VAE}.running.json").state == ended
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in log.read_text()
