"""The lab in a real browser: a GAN of the plane that trains, stands, goes back, and is gone."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect
from websockets.sync.server import ServerConnection, serve

from explorer.lab_job import New, Play, Player, pack, read_command
from explorer.lessons.plane import LESSON, SETTINGS, UNTIL
from explorer.live.lab import LAB_PATH
from tests.browser.conftest import Server, canvas_of, colours, wait_painted, wait_run
from tests.training.children import wait_for
from training.watch import free_port

PLACES = {step.name: i + 1 for i, step in enumerate(LESSON.steps)}
SLOW_START_MS = 120_000
"""A process that imports torch on a busy machine."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app without models: lessons of the plane need none."""
    empty = str(tmp_path_factory.mktemp("empty"))
    one = Server(free_port(), ["--checkpoints", empty, "--data", empty])
    one.start()
    yield one
    one.stop()


def open_step(page: Page, app: Server, name: str) -> Locator:
    """The lab of a step, after a prediction; returns its canvas."""
    page.goto(f"{app.url}/lessons?lesson=plane&step={PLACES[name]}")
    step = next(one for one in LESSON.steps if one.name == name)
    if step.options:
        page.get_by_text(step.options[0], exact=True).click()
    return canvas_of(page, "lab-plane")


def at(page: Page) -> int:
    return int(page.get_by_test_id("lab-at").inner_text().replace(",", ""))


def labs(app: Server) -> list[str]:
    """Command lines of the server's processes that train."""
    assert app.process is not None
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_text()
        except OSError:
            continue
        if parent == app.process.pid and "explorer.lab_job" in words:
            found.append(words)
    return found


class FakeLab:
    """A lab in this process instead of one behind the server."""

    def __init__(self, socket: WebSocketRoute):
        self.commands: list[Any] = []
        self._player = Player(socket.send)
        socket.on_message(self._obey)

    def _obey(self, text: str | bytes) -> None:
        command = read_command(text)
        self.commands.append(command)
        self._player.do(command)
        while isinstance(command, Play) and not command.pace and self._player.patience() == 0:
            self._player.go_on()


@pytest.fixture
def fake(page: Page) -> Callable[[], FakeLab]:
    """The newest fake lab that the page has opened."""
    opened: list[FakeLab] = []
    page.route_web_socket(f"**{LAB_PATH}", lambda socket: opened.append(FakeLab(socket)))
    return lambda: opened[-1]


def test_a_run_is_played_paused_stepped_and_wound_back(page: Page, app: Server) -> None:
    canvas = open_step(page, app, "ring")
    play = page.get_by_test_id("lab-play")
    expect(page.get_by_test_id("lab-modes")).to_have_text("0 of 8", timeout=SLOW_START_MS)
    assert len(labs(app)) == 1
    wait_painted(canvas, 1)
    beginning = colours(canvas)
    play.click()
    wait_for(lambda: at(page) > 30)
    play.click()
    expect(play).to_have_text("Play")
    expect(page.get_by_text(f"At {UNTIL} steps the answer stands here")).to_be_visible()
    before = at(page)
    page.get_by_test_id("lab-step").click()
    expect(page.get_by_test_id("lab-at")).to_have_text(str(before + 1))
    painted = wait_painted(canvas)
    page.get_by_test_id("lab-rewind").press("Home")
    expect(page.get_by_test_id("lab-at")).to_have_text("0")
    wait_painted(canvas, painted)
    wait_for(lambda: (colours(canvas) == beginning).all())
    page.get_by_test_id("lab-play").click()
    wait_for(lambda: at(page) > 5)
    page.get_by_role("link", name="Training").click()
    expect(canvas).to_have_count(0)
    wait_for(lambda: not labs(app))


def test_a_line_left_while_it_opens_ends_in_peace(page: Page, app: Server) -> None:
    """A browser writes of a socket that is closed before its handshake into the console."""
    asked, answer, ended = threading.Event(), threading.Event(), threading.Event()

    def hesitate(*_: object) -> None:
        asked.set()
        answer.wait(60)

    def until_closed(connection: ServerConnection) -> None:
        for _ in connection:
            raise AssertionError("nothing is asked of a lab that nobody waits for")
        ended.set()

    with serve(until_closed, "127.0.0.1", 0, process_request=hesitate) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        slow = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        page.add_init_script(
            f"WebSocket = new Proxy(WebSocket, {{construct: (Real, [url]) => new Real("
            f"String(url).endsWith({LAB_PATH!r}) ? {slow!r} : url)}})"
        )
        canvas = open_step(page, app, "ring")
        wait_for(asked.is_set)
        page.get_by_role("link", name="Training").click()
        expect(canvas).to_have_count(0)
        wait_run(page)
        answer.set()
        wait_for(lambda: page.wait_for_timeout(20) or ended.is_set())


def test_a_closed_tab_ends_its_lab(page: Page, app: Server) -> None:
    open_step(page, app, "ring")
    wait_for(lambda: labs(app))
    page.close()
    wait_for(lambda: not labs(app))


def test_a_whole_run_gives_its_answer(page: Page, app: Server, fake: Callable[[], FakeLab]) -> None:
    open_step(page, app, "ring")
    page.get_by_test_id("lab-play").click()
    found = page.get_by_text(f"After {UNTIL} steps the samples reach")
    found.wait_for(timeout=SLOW_START_MS)
    modes = page.get_by_test_id("lab-modes").inner_text()
    assert modes in found.inner_text()
    assert fake().commands == [New(SETTINGS["ring"]), Play(UNTIL)]
    expect(page.get_by_test_id("lab-play")).to_have_text("Play")


def test_the_keyboard_is_enough(page: Page, app: Server, fake: Callable[[], FakeLab]) -> None:
    canvas = open_step(page, app, "open")
    hint = page.get_by_test_id("lab-hint")
    expect(hint).to_contain_text("3 of 32")
    canvas.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(hint).to_contain_text("4 of 32")
    commands = fake().commands
    wait_for(lambda: page.wait_for_timeout(20) or len(commands) == 2)
    assert commands[-1].setting.points == (*SETTINGS["open"].points, (-0.1, 0.05))
    page.keyboard.press("Backspace")
    expect(hint).to_contain_text("3 of 32")
    for _ in range(3):
        page.keyboard.press("Backspace")
    expect(hint).to_contain_text("0 of 32")
    expect(page.get_by_test_id("lab-play")).to_be_disabled()
    told = len(fake().commands)
    page.keyboard.press(" ")  # as Play, it can do nothing
    page.wait_for_timeout(200)
    assert fake().commands is commands and len(commands) == told
    page.keyboard.press("Enter")
    expect(hint).to_contain_text("1 of 32")
    page.keyboard.press("Tab")  # to the first box under the canvas
    for name in ("field", "data", "samples", "warp"):
        box = page.get_by_test_id(f"lab-layer-{name}")
        expect(box).to_be_focused()
        shown = box.is_checked()
        page.keyboard.press(" ")
        expect(box).to_be_checked(checked=not shown)
        page.keyboard.press("Tab")
    for name in ("lab-play", "lab-step", "lab-slow", "lab-seed", "lab-rewind"):
        expect(page.get_by_test_id(name)).to_be_focused()
        if name == "lab-step":
            page.keyboard.press("Enter")
            expect(page.get_by_test_id("lab-at")).to_have_text("1")
        page.keyboard.press("Tab")
    canvas.focus()
    page.get_by_test_id("lab-slow").press(" ")
    canvas.focus()
    page.keyboard.press(" ")
    expect(page.get_by_test_id("lab-play")).to_have_text("Pause")
    page.keyboard.press(" ")
    expect(page.get_by_test_id("lab-play")).to_have_text("Play")
    expect(page.get_by_test_id("lab-words")).to_contain_text("Standing at step 1: ")


def test_a_click_sets_a_mode_where_it_is(
    page: Page, app: Server, fake: Callable[[], FakeLab]
) -> None:
    canvas = open_step(page, app, "open")
    wait_painted(canvas, 1)
    wait_run(page)  # the canvas has its size once all of the page is drawn
    box = canvas.bounding_box()
    assert box is not None
    inner = 0.94 * box["width"]  # the square of ±1.25, inside a margin
    x, y = 0.4, -0.8
    canvas.click(
        position={
            "x": box["width"] / 2 + x / 2.5 * inner,
            "y": box["height"] / 2 - y / 2.5 * inner,
        }
    )
    expect(page.get_by_test_id("lab-hint")).to_contain_text("4 of 32")
    commands = fake().commands
    wait_for(lambda: page.wait_for_timeout(20) or len(commands) == 2)
    assert commands[-1].setting.points[-1] == pytest.approx((x, y), abs=0.01)


def test_points_outlive_another_choice_of_data_and_a_reload(
    page: Page, app: Server, fake: Callable[[], FakeLab]
) -> None:
    canvas = open_step(page, app, "open")
    canvas.focus()
    page.keyboard.press("Enter")
    points = (*SETTINGS["open"].points, (0.0, 0.0))
    page.get_by_test_id("lab-play").click()
    page.wait_for_url(re.compile("points="))
    commands = fake().commands
    assert [one.setting.points for one in commands if isinstance(one, New)][-1] == points
    assert isinstance(commands[-1], Play), "the page's answer began no other run"
    for title, wanted in (("Ring of 8", ()), ("Your own points", points)):
        wait_run(page)
        page.get_by_role("combobox", name="Data").click()
        page.get_by_role("option", name=title).click()
        data = "points" if wanted else "ring8"
        new = New(replace(SETTINGS["open"], data=data, points=wanted))
        wait_for(lambda new=new: page.wait_for_timeout(20) or fake().commands[-1] == new, 25)
    page.reload()
    expect(page.get_by_test_id("lab-hint")).to_contain_text("4 of 32")


def test_slow_motion_and_seeds(page: Page, app: Server, fake: Callable[[], FakeLab]) -> None:
    open_step(page, app, "wander")
    expect(page.get_by_test_id("lab-modes")).to_be_visible()
    page.get_by_test_id("lab-slow").click()
    expect(page.get_by_test_id("lab-slow")).to_have_attribute("aria-pressed", "true")
    page.get_by_test_id("lab-play").click()
    expect(page.get_by_test_id("lab-play")).to_have_text("Pause")
    page.get_by_test_id("lab-seed").click()
    expect(page.get_by_test_id("lab-play")).to_have_text("Play")
    commands = fake().commands
    wait_for(lambda: page.wait_for_timeout(20) or len(commands) == 3)
    new, play, again = commands
    assert play == Play(UNTIL, 6)
    assert asdict(again.setting) == asdict(new.setting) | {"seed": 1}


def refuse(socket: WebSocketRoute) -> None:
    socket.send(pack({"problem": "All labs are taken.", "over": True}))
    socket.close()


@pytest.mark.parametrize(
    ("handle", "words"),
    [(refuse, "All labs are taken."), (WebSocketRoute.close, "There is no way to the lab")],
)
def test_why_there_is_no_lab_is_said(
    page: Page, app: Server, handle: Callable[[WebSocketRoute], None], words: str
) -> None:
    page.route_web_socket(f"**{LAB_PATH}", handle)
    canvas = open_step(page, app, "ring")
    expect(page.get_by_text(words)).to_be_visible()
    assert colours(canvas).std() > 0  # the data's circles are there all the same
    expect(page.get_by_test_id("lab-play")).to_be_enabled()
