"""UMAP beside the app: it ends with its points, with a reason, or when it is told to."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import resources
from explorer.pages import umap_panel
from explorer.umap_job import MOST_JOBS, Job
from tests.explorer.conftest import Open, checked, told, words
from tests.training.children import wait_for

RNG = np.random.default_rng(0)


def test_codes_are_laid_out_with_neighbours_together() -> None:
    codes = RNG.normal(size=(60, 5)).astype(np.float32) * 0.1
    codes[30:] += 5
    job = Job(codes, 200, 0.1)  # no more than there are
    process = job.process
    wait_for(lambda: process.poll() is not None)
    points = job.result()
    assert points is not None
    assert job.progress() == 1
    assert points.shape == (60, 2)
    assert points.dtype == np.float32
    a, b = points[:30], points[30:]
    spread = max(np.linalg.norm(part - part.mean(0), axis=1).max() for part in (a, b))
    assert np.linalg.norm(a.mean(0) - b.mean(0)) > spread
    folder = job.folder
    del job
    assert not folder.exists()


def test_what_cannot_be_laid_out_is_said() -> None:
    job = Job(np.full((30, 3), np.nan, np.float32), 5, 0.1)

    def ended() -> str:
        try:
            assert job.result() is None
        except RuntimeError as error:
            return str(error)
        return ""

    said = wait_for(ended)
    assert said.startswith("UMAP could not lay out these codes: ")
    assert "NaN" in said
    assert "\n" not in said


def test_a_cancelled_job_ends() -> None:
    job = Job(RNG.normal(size=(2000, 20)).astype(np.float32), 15, 0.1)
    assert job.result() is None
    assert job.progress() == 0
    job.cancel()
    assert job.process.poll() is not None


def test_only_so_many_are_laid_out_at_once(open_app: Open, zoo: Path, mnist_root: Path) -> None:
    open_page = functools.partial(open_app, checkpoints=zoo, data=mnist_root)
    app = open_page("map", model="tiny-vae-z5", plane="umap")
    codes = RNG.normal(size=(20_000, 20)).astype(np.float32)
    jobs = [Job(codes, 15, 0.1) for _ in range(MOST_JOBS)]
    try:
        press(app, "Compute")
        assert "2 layouts are being computed" in words(app)
        assert "Cancel" not in [one.label for one in app.button]
        jobs[0].cancel()
        press(app, "Compute")
        with pytest.raises(RuntimeError, match="try again in a minute"):
            Job(codes, 15, 0.1)
        press(app, "Cancel")
    finally:
        for job in jobs:
            job.cancel()


class Fake:
    """A job that is as far as a test says."""

    asked: list[Any]
    points: Any = None
    done = 0.25
    cancelled = False

    def __init__(self, codes: Any, neighbours: int, min_dist: float):
        self.asked = [len(codes), neighbours, min_dist]
        Fake.last = self

    last: Fake

    def progress(self) -> float:
        return self.done

    def result(self) -> Any:
        if isinstance(self.points, Exception):
            raise self.points
        return self.points

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def app(open_app: Open, zoo: Path, mnist_root: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The map of a VAE of five latents, of which no UMAP has been made, and one under way."""
    monkeypatch.setattr(umap_panel, "Job", Fake)
    open_page = functools.partial(open_app, checkpoints=zoo, data=mnist_root)
    app = open_page("map", model="tiny-vae-z5", plane="umap")
    assert "no UMAP has been made" in words(app)
    app.number_input(key="umap_neighbours").set_value(30)
    app.slider(key="umap_min_dist").set_value(0.5)
    return press(app, "Compute")


def press(app: AppTest, label: str) -> AppTest:
    [button] = [one for one in app.button if one.label == label]
    return checked(button.click().run())


def test_a_layout_asked_for_is_shown_when_it_is_there(app: AppTest) -> None:
    assert Fake.last.asked == [10_000, 30, 0.5]
    assert "no UMAP has been made" in words(app)
    Fake.last.points = RNG.normal(size=(10_000, 2)).astype(np.float32)
    checked(app.run())
    shown = told(app, "latent_map_tiny-vae-z5")
    assert shown["how"] == "mean"
    assert resources.umap_points("tiny-vae-z5") is None
    app.sidebar.selectbox(key="model").set_value("tiny-vae-z2")
    checked(app.run())
    assert told(app, "latent_map_tiny-vae-z2")["how"] == "plane"
    app.sidebar.selectbox(key="model").set_value("tiny-vae-z5")
    checked(app.run())
    assert told(app, "latent_map_tiny-vae-z5")["points"] == shown["points"]


def test_a_layout_that_failed_says_why_once(app: AppTest) -> None:
    Fake.last.points = RuntimeError("UMAP could not lay out these codes: for a reason")
    checked(app.run())
    assert "for a reason" in words(app)
    checked(app.run())
    assert "for a reason" not in words(app)


def test_a_layout_can_be_given_up(app: AppTest) -> None:
    press(app, "Cancel")
    assert Fake.last.cancelled
    assert [one.label for one in app.button].count("Compute") == 1


def test_a_process_that_cannot_begin_is_said(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    press(app, "Cancel")

    def refuse(*_: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(umap_panel, "Job", refuse)
    press(app, "Compute")
    assert "UMAP cannot be started: [Errno 11] Resource temporarily unavailable" in words(app)
