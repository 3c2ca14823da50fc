"""The training page while a real run trains beside it, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.browser.conftest import PROJECT, TIMEOUT_MS, Server
from training.checkpoint import read_card
from training.running import SUFFIX, Running, read
from training.watch import free_port

RUN = "mnist-conv-vae-z2"
EPOCH = re.compile(r"Epoch ([\d,]+) of 1,000,000")

Fit = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def fit(tree: Path, out: Path, tmp_path: Path) -> Iterator[Fit]:
    """``fit(*options)``: a run of a million short epochs in a process of its own."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "training.cli", "fit", RUN, "--epochs", "1000000"]
        given = ["--data", str(tree), "--out", str(out), "--device", "cpu", *options]
        with (tmp_path / "log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [*command, *given],
                    cwd=PROJECT,
                    env=environment | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def app(out: Path, tmp_path: Path) -> Iterator[Server]:
    """The app on the folder that the run trains into, which is empty yet."""
    one = Server(free_port(), ["--checkpoints", str(out)])
    one.start()
    yield one
    one.stop()


def bar(page: Page) -> Locator:
    return page.get_by_text(EPOCH)


def epoch(page: Page) -> int:
    found = EPOCH.search(bar(page).inner_text())
    assert found
    return int(found[1].replace(",", ""))


def wait_for_epoch(page: Page, more_than: int) -> int:
    page.wait_for_function(
        """least => {
            const found = /Epoch ([\\d,]+) of 1,000,000/.exec(document.body.innerText);
            return found && Number(found[1].replaceAll(",", "")) > least;
        }""",
        arg=more_than,
        timeout=4 * TIMEOUT_MS,
    )
    return epoch(page)


def count_bars(page: Page) -> None:
    """Keep the most progress bars and the most first curves that the page ever has at once."""
    page.evaluate(
        """() => {
            window.most = {bars: 0, curves: 0};
            const count = (found, name) => { most[name] = Math.max(most[name], found.length); };
            new MutationObserver(() => {
                count(document.querySelectorAll("[data-testid=stProgress]"), "bars");
                const curves = [...document.querySelectorAll("[data-testid=figure]")];
                const labels = curves.map(one => one.ariaLabel?.split(":")[0] ?? "");
                count(labels.filter(one => one && one === labels[0]), "curves");
            }).observe(document.body, {subtree: true, childList: true, attributes: true});
        }"""
    )


def last_point(page: Page) -> int:
    """Images seen at the end of the first curve, as the figure tells it in words."""
    curve = page.get_by_test_id("figure").and_(page.get_by_label("batch by batch")).first
    words = curve.get_attribute("aria-label") or ""
    return max(int(seen) for seen in re.findall(r" at (\d+)", words))


def wait_for_point(page: Page, seen: int) -> None:
    """Wait until the first curve ends there."""
    words = re.compile(rf"batch by batch.* at {seen}\b")
    expect(page.get_by_test_id("figure").first).to_have_attribute("aria-label", words)
    assert last_point(page) == seen


def test_a_run_appears_and_moves_on_by_itself(page: Page, app: Server, fit: Fit, out: Path) -> None:
    page.goto(f"{app.url}/training")
    page.get_by_text("No run has trained into").wait_for()
    page.evaluate("window.neverReloaded = true")

    process = fit()
    first = wait_for_epoch(page, 0)
    page.locator("[data-testid=figure][data-ready]").first.wait_for()
    before = last_point(page)
    second = wait_for_epoch(page, first)
    assert wait_for_epoch(page, second) > second > first
    page.wait_for_function(
        """least => [...document.querySelectorAll("[data-testid=figure]")].some(figure =>
            [...figure.ariaLabel.matchAll(/ at (\\d+)/g)].some(seen => Number(seen[1]) > least))""",
        arg=before,
    )
    expect(page.get_by_alt_text(re.compile("^samples: Drawn from fixed noise"))).to_be_visible()
    expect(page.get_by_text("epoch by epoch").first).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.url.endswith(f"?run={RUN}")

    count_bars(page)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    page.get_by_text("Stopped before its end").wait_for()
    ended = read(out / f"{RUN}.running.json")
    assert f"{ended.epoch:,}" == EPOCH.findall(bar(page).inner_text())[0]
    wait_for_point(page, max(seen for points in ended.losses.values() for seen, _ in points))

    resumed = fit("--resume")
    assert wait_for_epoch(page, ended.epoch) > ended.epoch
    expect(page.get_by_text("Stopped before its end")).to_have_count(0)
    assert page.evaluate("window.neverReloaded")
    assert page.evaluate("window.most") == {"bars": 1, "curves": 1}, "it is redrawn in its place"
    resumed.send_signal(signal.SIGINT)
    resumed.wait(60)


def test_a_page_on_an_ended_run_is_left_alone(page: Page, app: Server, fit: Fit, out: Path) -> None:
    page.goto(f"{app.url}/training")
    process = fit("--overwrite")
    wait_for_epoch(page, 0)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    page.get_by_text("Stopped before its end").wait_for()
    page.get_by_alt_text(re.compile("^samples")).wait_for()
    page.evaluate(
        """() => {
            window.changed = performance.now();
            const seen = new MutationObserver(all => {
                if (all.some(one => one.type === "characterData"
                    || one.target.closest?.("[data-testid=figure], img"))) {
                    window.changed = performance.now();
                }
            });
            const main = document.querySelector("[data-testid=stMain]");
            seen.observe(main, {subtree: true, childList: true, characterData: true});
        }"""
    )
    # Once the last figures are drawn: still for two times and more what redraws a run under way.
    page.wait_for_function("performance.now() - window.changed > 5000")


def test_curves_that_come_before_plotly_are_not_drawn_into_each_other(
    page: Page, app: Server, out: Path
) -> None:
    """The margins of a plot into which many are drawn at a time come to no rest."""
    page.add_init_script(
        """let plotly;
        window.most = 0;
        Object.defineProperty(window, "Plotly", {get: () => plotly, set: (given) => {
            const drawing = new Map();
            plotly = {...given, react: async (place, ...rest) => {
                drawing.set(place, (drawing.get(place) ?? 0) + 1);
                most = Math.max(most, drawing.get(place));
                await given.react(place, ...rest);
                drawing.set(place, drawing.get(place) - 1);
                return place;
            }};
        }});"""
    )
    held: list[Route] = []
    page.route("**/plotly.min.js", lambda route: held.append(route))
    now = datetime.now(UTC)
    run = Running(
        name=RUN, title="", epochs=1_000_000, images_total=10**9, started=now, updated=now
    )
    for run.epoch in range(1, 5):
        run.images_seen = 100 * run.epoch
        run.add({"total": 10.0 / run.epoch})
        (out / f"{RUN}{SUFFIX}").write_text(run.model_dump_json())
        if run.epoch == 1:  # until plotly is here the page counts as loading
            page.goto(f"{app.url}/training", wait_until="commit")
        wait_for_epoch(page, run.epoch - 1)
    assert len(held) == 1
    held[0].continue_()
    page.locator("[data-testid=figure][data-ready]").wait_for()
    wait_for_point(page, run.images_seen)
    assert page.evaluate("document.querySelector('[data-testid=figure]').data[0].x.length") == 4
    assert page.evaluate("most") == 1


def test_fit_watch_opens_the_app_on_its_run_and_closes_it(
    context: BrowserContext, fit: Fit, out: Path, tmp_path: Path
) -> None:
    process = fit("--watch")
    log = tmp_path / "log"
    page = context.new_page()
    for _ in range(600):
        if found := re.search(r"http://\S+", log.read_text()):
            break
        assert process.poll() is None, log.read_text()
        page.wait_for_timeout(100)
    else:
        pytest.fail(log.read_text())
    page.goto(found[0])
    first = wait_for_epoch(page, 0)
    assert wait_for_epoch(page, first) > first
    page.close()

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, log.read_text()
    assert read_card(out / RUN).epochs >= first - 1
    assert "Traceback" not in log.read_text()
    with pytest.raises(Exception, match="ERR_CONNECTION_REFUSED"):
        context.new_page().goto(found[0])
