"""The training page in every state of a run, as a session of the app meets it."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from explorer.pages import run_record, runs
from tests.explorer.conftest import VAE_Z2, Open, checked, make_card, make_network
from training import checkpoint
from training.running import Running, path_of

CURVES = {
    "total": [(100, 540.0), (200, 300.0), (300, 200.5)],
    "reconstruction": [(100, 530.0), (200, 295.0), (300, 195.25)],
    "kl": [(100, 10.0), (200, 5.0), (300, 5.25)],
}

Put = Callable[..., Path]


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """Every fragment of the page, with its seconds from one refresh to the next."""
    found: list[tuple[str, float | None]] = []

    def noted(function: Callable, *, run_every: float | None = None) -> Callable:
        found.append((function.__name__, run_every))
        return st.fragment(function, run_every=run_every)

    # For this page alone: others may be imported, and decorate theirs, only when it is opened.
    monkeypatch.setattr(runs, "st", SimpleNamespace(**vars(st) | {"fragment": noted}))
    return found


@pytest.fixture
def open_page(open_app: Open, out: Path, empty_root: Path, polls: list) -> Open:
    """``open_page(page="training", **link)``: a new session on `out` at that address."""
    return functools.partial(open_app, page="training", checkpoints=out, data=empty_root)


@pytest.fixture
def put(out: Path) -> Put:
    """``put(name, silent=seconds, **changes)``: the record of a run, last written then."""

    def one(name: str = "a-run", *, silent: float = 0, **changes: Any) -> Path:
        now = datetime.now(UTC)
        settings: dict[str, Any] = {
            "name": Path(name).name,
            "title": f"The run *{name}*",
            "epoch": 2,
            "epochs": 30,
            "images_seen": 300,
            "images_total": 4800,
            "images_per_second": 12.5,
            "started": now - timedelta(seconds=silent + 60),
            "updated": now - timedelta(seconds=silent),
            "losses": CURVES,
        }
        path = path_of(out / name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(Running(**settings | changes).model_dump_json())
        return path

    return one


def put_checkpoint(folder: Path, grey: int = 200, images_seen: int = 250) -> None:
    """A checkpoint after one epoch whose samples are grey."""
    samples = np.full((302, 302, 3), grey, np.uint8)
    png = folder.parent / "samples"
    Image.fromarray(samples).save(png, "PNG")
    history = {
        "train": {"total": [600.0], "kl": [9.0]},
        "test": {"total": [580.0], "kl": [8.0]},
    }
    card = make_card(folder.name, VAE_Z2, images_seen=images_seen)
    weights = checkpoint.inference_weights(make_network(VAE_Z2))
    checkpoint.save(folder, card, weights, history, {}, png.read_bytes())
    png.unlink()


def figures(app: AppTest) -> dict[str, dict[str, Any]]:
    """What every figure has been told, by its title."""
    told = [json.loads(one.proto.json) for one in app.main if hasattr(one.proto, "json")]
    return {one["title"]: one for one in told if "figure" in one}


def words(app: AppTest) -> str:
    """All that the page says in notices."""
    return "\n".join(one.value for one in (*app.info, *app.success, *app.warning, *app.error))


def captions(app: AppTest) -> str:
    return "\n".join(one.value for one in app.caption)


def progress(app: AppTest) -> tuple[str, int]:
    """Text and per cent of the progress bar."""
    (bar,) = app.get("progress")
    return bar.proto.text, bar.proto.value


def pictures(app: AppTest) -> list[str]:
    """Captions of all pictures."""
    return [caption for one in app.image for caption in one.captions]


def test_without_any_run_it_says_how_to_start_one(open_page: Open, polls: list) -> None:
    app = open_page()
    assert [title.value for title in app.title] == ["How is a run doing?"]
    assert "`latent-train fit mnist-conv-vae-z2 --watch`" in words(app)
    assert "`latent-explorer --checkpoints runs`" in words(app)
    assert not app.selectbox
    assert polls == [("_wait", 2)]


def test_without_any_checkpoint_this_page_alone_has_something_to_show(
    open_page: Open, put: Put
) -> None:
    put()
    assert [title.value for title in open_page(page="map").title] == ["No models yet"]
    app = open_page()
    assert [title.value for title in app.title] == ["How is a run doing?"]
    assert not app.sidebar.selectbox
    assert progress(app)[0].startswith("Epoch 2 of 30")


def test_a_run_under_way_shows_its_pace_and_curves(open_page: Open, put: Put, polls: list) -> None:
    put()
    app = open_page()
    text, per_cent = progress(app)
    assert text == (
        "Epoch 2 of 30 · 300 images seen · 12 images a second · 6 min left"  # 4500 / 12.5
    )
    assert per_cent == 6
    assert words(app) == ""
    assert [one.value for one in app.subheader] == [r"The run \*a-run\*"]
    assert "follow after the first epoch" in captions(app)
    assert polls == [("_follow", 2)]
    shown = figures(app)
    assert list(shown) == [
        "Total and reconstruction, batch by batch",
        "KL divergence, batch by batch",
    ]
    charts = [json.loads(one["figure"]) for one in shown.values()]
    lines = [trace for chart in charts for trace in chart["data"]]
    drawn = {line["name"]: list(zip(line["x"], line["y"], strict=True)) for line in lines}
    assert drawn == {
        "Total": CURVES["total"],
        "Reconstruction": CURVES["reconstruction"],
        "KL": CURVES["kl"],
    }
    assert len({line["line"]["color"] for line in lines[:2]}) == 2
    assert len({line["line"]["dash"] for line in lines[:2]}) == 2
    assert len({line["marker"]["symbol"] for line in lines[:2]}) == 2
    assert "Total: 540 at 100, 200.5 at 300" in next(iter(shown.values()))["alt"]


def test_a_run_that_has_only_begun(open_page: Open, put: Put) -> None:
    put(epoch=1, images_seen=0, images_per_second=0, losses={})
    app = open_page()
    assert progress(app) == ("Epoch 1 of 30 · 0 images seen", 0)
    assert not figures(app)
    assert words(app) == ""


@pytest.mark.parametrize(
    ("speed", "left"), [(100, "45 s"), (50.5, "89 s"), (40, "2 min"), (0.5, "2.5 h"), (1e9, "0 s")]
)
def test_the_time_left_is_told_in_a_unit_that_fits(
    open_page: Open, put: Put, speed: float, left: str
) -> None:
    put(images_per_second=speed)
    assert progress(open_page())[0].endswith(f" {left} left")


def test_a_run_that_has_fallen_silent(open_page: Open, put: Put, polls: list) -> None:
    put(silent=55)
    assert words(open_page()) == ""
    put(silent=400)
    app = open_page()
    then = datetime.now(UTC) - timedelta(seconds=400)
    assert "No sign of life since" in words(app)
    assert f"{then:%H:%M:}" in words(app)
    assert "UTC, 7 min ago" in words(app)
    assert "`--resume`" in words(app)
    assert {name for name, _ in polls} == {"_follow"}  # it may only be busy


@pytest.mark.parametrize(
    ("state", "says", "kind"),
    [
        ("finished", "Finished", "success"),
        ("interrupted", "`--resume`", "info"),
        ("failed", "error", "error"),
    ],
)
def test_a_run_that_has_ended_is_drawn_once(
    open_page: Open, put: Put, polls: list, state: str, says: str, kind: str
) -> None:
    put(state=state, silent=4000)
    app = open_page()
    assert says in words(app)
    assert [len(getattr(app, one)) for one in ("success", "info", "error", "warning")] == [
        int(one == kind) for one in ("success", "info", "error", "warning")
    ]
    assert "left" not in progress(app)[0]
    assert len(figures(app)) == 2
    assert polls == [("_wait", 2)]  # for one to begin: nothing is drawn


def test_an_ended_run_that_goes_on_is_followed_again(
    open_page: Open, put: Put, polls: list
) -> None:
    put(state="interrupted")
    app = open_page()
    put(state="training")
    polls.clear()
    checked(app.run())
    assert words(app) == ""
    assert polls == [("_follow", 2)]


def test_a_damaged_record_is_said(open_page: Open, put: Put, polls: list) -> None:
    put().write_text('{"name": "*x*"')
    app = open_page()
    assert r"a-run.running.json is no run's record" in words(app)
    assert len(app.error) == 1
    assert polls == [("_wait", 2)]


def test_samples_and_epochs_come_from_the_checkpoint_so_far(
    open_page: Open, put: Put, out: Path
) -> None:
    put()
    put_checkpoint(out / "a-run")
    app = open_page()
    assert pictures(app) == ["Drawn from fixed noise, after 250 images"]
    shown = figures(app)
    assert len(shown) == 4
    chart = json.loads(shown["Total and reconstruction, epoch by epoch"]["figure"])
    assert [(line["name"], line["x"], line["y"]) for line in chart["data"]] == [
        ("Total, train", [1], [600.0]),
        ("Total, test", [1], [580.0]),
    ]
    assert captions(app) == ""


def test_they_are_this_runs_and_not_those_of_an_earlier_one(
    open_page: Open, put: Put, out: Path
) -> None:
    put()
    put_checkpoint(out / "a-run", images_seen=9999)
    long_ago = datetime.now(UTC).timestamp() - 1000
    os.utime(out / "a-run" / "card.json", (long_ago, long_ago))
    app = open_page()
    assert pictures(app) == []
    assert "follow after the first epoch" in captions(app)
    put_checkpoint(checkpoint.partial(out / "a-run"), images_seen=250)
    assert pictures(checked(app.run())) == ["Drawn from fixed noise, after 250 images"]


@pytest.mark.parametrize("moment", ["gone", "torn", "mixed", "no picture"])
def test_a_checkpoint_that_is_being_replaced_is_no_error(
    open_page: Open, put: Put, out: Path, moment: str
) -> None:
    put()
    folder = out / "a-run"
    put_checkpoint(folder)
    kept = Path(shutil.copytree(folder, out / ".kept"))
    match moment:
        case "gone":
            shutil.rmtree(folder)
        case "torn":
            (folder / "history.json").unlink()
        case "mixed":
            shutil.rmtree(folder)
            put_checkpoint(folder, grey=100)
            shutil.copy(kept / "samples.png", folder)
        case "no picture":
            (folder / "samples.png").unlink()
    app = open_page()
    assert not app.error
    assert not app.warning
    assert pictures(app) == []
    assert len(figures(app)) == 2
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)
    assert pictures(checked(app.run())) == ["Drawn from fixed noise, after 250 images"]


def test_a_checkpoint_that_goes_while_it_is_read_is_no_error(
    open_page: Open, put: Put, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    put_checkpoint(out / "a-run")
    read = run_record.read_history

    def going(folder: Path, card: checkpoint.Card) -> checkpoint.History:
        history = read(folder, card)
        (folder / "samples.png").unlink()
        return history

    monkeypatch.setattr(run_record, "read_history", going)
    app = open_page()
    assert not app.error
    assert len(figures(app)) == 2


def test_the_newest_run_is_shown_and_another_can_be_chosen(
    open_page: Open, put: Put, out: Path
) -> None:
    for age, name in enumerate(("new", "judges/mnist-judge", "old")):
        path = put(name)
        os.utime(path, (10_000 - age, 10_000 - age))
    app = open_page()
    assert app.selectbox(key="run").options == ["new", "mnist-judge", "old"]
    assert app.query_params["run"] == "new"
    app.selectbox(key="run").set_value("old")
    checked(app.run())
    assert [one.value for one in app.subheader] == [r"The run \*old\*"]
    assert app.query_params["run"] == "old"
    assert [one.value for one in open_page(run="old").subheader] == [r"The run \*old\*"]


def test_a_link_to_a_run_that_has_not_begun_waits_for_it(
    open_page: Open, put: Put, polls: list
) -> None:
    put("other")
    app = open_page(run="a-run")
    assert "**a-run** has not begun yet" in words(app)
    assert app.selectbox(key="run").options == ["a-run", "other"]
    assert polls == [("_wait", 2)]
    put()
    checked(app.run())
    assert [one.value for one in app.subheader] == [r"The run \*a-run\*"]
    assert words(app) == ""


def test_the_choice_outlives_a_visit_to_another_page(open_page: Open, put: Put, out: Path) -> None:
    put("one")
    put("two")
    app = open_page(run="one")
    app._page_hash = calc_hash("map")
    checked(app.run())
    app._page_hash = calc_hash("training")
    checked(app.run())
    assert app.selectbox(key="run").value == "one"
    assert app.query_params["run"] == "one"


def test_a_link_that_cannot_be_read_is_said(open_page: Open, put: Put) -> None:
    put()
    app = open_page(run="../../etc/passwd")
    assert "run (the name of a run is wanted)" in words(app)
    assert app.selectbox(key="run").value == "a-run"
