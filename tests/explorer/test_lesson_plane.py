"""The lesson about mode collapse in the plane: what it finds in a run, and its pages."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from explorer.lessons import MOST_STEPS, plane
from explorer.lessons.plane import LESSON, SETTINGS, UNTIL, Seen, finding, read_seen
from explorer.pages import lesson_plane, lessons
from tests.explorer.conftest import Open, settle, told
from training.mixtures import MIXTURES, Mixture, modes_covered
from training.plane import FIELD, Lab, Moment, Setting

STEPS = {step.name: step for step in LESSON.steps}
BASE = Moment(0, 0, 0.0, 0.7, 1.4, 0.7, 0.7, 0.0, 0.5, 0.0, 0.0, 0.1)


@cache
def sent(name: str, **now: Any) -> dict[str, Any]:
    """What a page sends of a run of a step, as JSON brings it."""
    lab = Lab(replace(SETTINGS[name], width=4))
    lab.advance(5)
    values = {
        "setting": asdict(SETTINGS[name]),
        "now": asdict(replace(lab.now(), step=UNTIL) if not now else replace(BASE, **now)),
        "moments": [asdict(moment) for moment in lab.moments],
        "samples": lab.view().samples.tolist(),
        "field": [i % 256 for i in range(FIELD**2)],
    }
    return json.loads(json.dumps(values))


def seen(name: str, moments: list[Moment] | None = None, **now: Any) -> Seen:
    found = read_seen(sent(name, **{"step": UNTIL} | now))
    assert found is not None
    return replace(found, moments=tuple(moments)) if moments else found


def right(name: str, **now: Any) -> int | None:
    found = finding(STEPS[name], seen(name, **now))
    assert found is not None
    return found.right


def test_the_lesson_is_of_five_to_eight_steps_and_ends_open() -> None:
    assert 5 <= len(STEPS) <= MOST_STEPS
    assert len(STEPS) == len(LESSON.steps)
    assert set(SETTINGS) == set(STEPS)
    *guided, last = LESSON.steps
    assert not last.options
    for step in guided:
        assert 2 <= len(step.options) <= 4
        assert "$$" in step.why or step.name == "grid"
    for setting in SETTINGS.values():
        assert TypeAdapter(Setting).validate_python(asdict(setting)) == setting


@pytest.mark.parametrize("name", ["ring", "non-saturating", "momentum", "penalty"])
@pytest.mark.parametrize(("modes", "place"), [(8, 0), (7, 1), (5, 1), (4, 2), (0, 2)])
def test_the_run_says_which_count_was_right(name: str, modes: int, place: int) -> None:
    assert right(name, modes=modes, good=0.25) == place
    words = finding(STEPS[name], seen(name, modes=modes, good=0.25))
    assert words is not None
    assert f"**{modes} of 8** modes, and **25 %**" in words.words


@pytest.mark.parametrize("name", ["clip", "grid"])
@pytest.mark.parametrize(("good", "place"), [(0.51, 0), (0.5, 1), (0.1, 1), (0.09, 2)])
def test_the_run_says_which_share_was_right(name: str, good: float, place: int) -> None:
    assert right(name, good=good) == place


def walk(radius: float, spread: float) -> list[Moment]:
    """A run whose samples go round in a square, half-way through it."""
    corners = [(1, 1), (-1, 1), (-1, -1), (1, -1), (1, 1)]
    first = [replace(BASE, step=i, x=9.0 * i, spread=9.0) for i in range(5)]
    return first + [
        replace(BASE, step=5 + i, x=radius * x, y=radius * y, spread=spread)
        for i, (x, y) in enumerate(corners)
    ]


@pytest.mark.parametrize(
    ("radius", "spread", "place", "way"),
    [(0.1, 0.2, 0, "0.8"), (0.5, 0.2, 1, "4.0"), (0.5, 0.9, 2, "4.0")],
)
def test_the_run_says_how_its_samples_moved(
    radius: float, spread: float, place: int, way: str
) -> None:
    found = finding(STEPS["wander"], seen("wander", walk(radius, spread)))
    assert found is not None
    assert found.right == place
    assert f"**{way}** radii" in found.words
    assert f"**{spread:.2f}** around" in found.words


def test_the_first_step_says_what_the_discriminator_gave() -> None:
    moments = [replace(BASE, judged=judged) for judged in (0.5, 0.02, 0.01)]
    found = finding(STEPS["ring"], seen("ring", moments))
    assert found is not None
    assert "D = 0.020 in the median moment" in found.words


def test_there_is_no_finding_before_the_end_and_none_of_ones_own() -> None:
    assert finding(STEPS["ring"], seen("ring", step=UNTIL - 1)) is None
    assert finding(STEPS["open"], seen("open")) is None


@pytest.mark.parametrize("name", list(MIXTURES))
def test_chance_is_what_random_points_score(name: str) -> None:
    mixture = MIXTURES[name]
    modes, good = plane.by_chance(mixture)
    points = (2 * torch.rand(400, 2500, 2, generator=torch.Generator().manual_seed(0)) - 1).mul(
        mixture.limit
    )
    found = [modes_covered(some, mixture) for some in points]
    assert modes == pytest.approx(np.mean([one[0] for one in found]), rel=0.03)
    assert good == pytest.approx(np.mean([one[1] for one in found]), rel=0.03)


def test_nothing_but_what_a_page_sends_is_taken() -> None:
    whole = sent("ring")
    assert read_seen(whole) is not None
    for change in (
        {"moments": []},
        {"moments": whole["moments"] * 100},
        {"samples": whole["samples"] * 10},
        {"samples": [[0.0]]},
        {"field": [0]},
        {"field": [256] * FIELD**2},
        {"setting": {"width": 10**9}},
        {"html": "<script>"},
    ):
        assert read_seen({**whole, **change}) is None
    assert read_seen("nonsense") is None


def test_the_picture_is_of_the_field_and_the_samples() -> None:
    one = Mixture(((0.5, 0.5),), std=0.02, limit=1.25)
    setting = Setting(data="points", points=one.centres)
    row = [0] * (FIELD // 2) + [255] * (FIELD // 2)
    values = sent("ring") | {"setting": asdict(setting), "field": row * FIELD}
    found = read_seen(values | {"samples": [[-0.5, -0.5]]})
    assert found is not None
    image = plane.picture(found, ["#0000ff", "#ff0000"])
    side = plane.SIDE
    assert image.shape == (side, side, 3)
    left, right = image[20, 20], image[20, -20]
    assert left.tolist() == [76, 76, 255]  # 70 % of the way from white
    assert right.tolist() == [255, 76, 76]
    at = round(side * 0.3)
    assert image[side - at, at].max() < 40  # the sample, below on the left
    centre = round(side * 0.7)
    assert image[side - centre, centre].tolist() == [255, 76, 76]  # a circle is open


def test_the_table_goes_from_the_first_moment_to_the_last() -> None:
    moments = [replace(BASE, step=20 * i, modes=i % 9, good=i / 100) for i in range(48)]
    rows = plane.table(seen("ring", moments))
    assert len(rows) == plane.ROWS
    assert (rows[0]["step"], rows[-1]["step"]) == (0, 940)
    assert rows[-1]["good"] == "47.0 %"
    assert len(plane.table(seen("ring", moments[:2]))) == 2


def open_step(open_app: Open, folder: Path, name: str, **more: str) -> Any:
    at = list(STEPS).index(name)
    link = {"lesson": "plane", "step": str(at + 1), "said": f"plane.{'-' * at}x", **more}
    return open_app("lessons", checkpoints=folder, data=folder, **link)


@pytest.mark.parametrize("name", list(STEPS))
def test_each_step_trains_its_setting_and_says_what_it_found(
    open_app: Open, empty_root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    app = open_step(open_app, empty_root, name)
    step = STEPS[name]
    data = told(app, f"lab {name}")
    assert TypeAdapter(Setting).validate_python(data["setting"]) == SETTINGS[name]
    assert data["points"] == (name == "open")
    assert len(data["centres"]) == len(SETTINGS[name].mixture.centres)
    shown: list[Any] = []
    show = lesson_plane.show

    def noting(step: Any) -> Any:
        shown.append(show(step))
        return shown[-1]

    monkeypatch.setitem(lessons.SHOWN, "plane", (LESSON, noting))
    settle(app, f"lab {name}", sent(name))
    exhibit = shown[-1]
    assert (exhibit.finding is not None) == bool(step.options)
    assert exhibit.table[0]["step"] == 0
    (picture,) = exhibit.pictures.values()
    assert picture.shape == (plane.SIDE, plane.SIDE, 3)


def test_the_last_step_is_open(open_app: Open, empty_root: Path) -> None:
    app = open_step(open_app, empty_root, "open")
    app.selectbox(key="plane objective").select("wgan-gp").run()
    app.selectbox(key="plane data").select("ring8").run()
    setting = TypeAdapter(Setting).validate_python(told(app, "lab open")["setting"])
    assert (setting.objective, setting.data, setting.critic_steps) == ("wgan-gp", "ring8", 5)
    assert not told(app, "lab open")["points"]


def test_ones_own_points_stay_in_the_link(open_app: Open, empty_root: Path) -> None:
    app = open_step(open_app, empty_root, "open", points="0.5_-0.25~0_1")
    points = ((0.5, -0.25), (0.0, 1.0))
    assert TypeAdapter(Setting).validate_python(told(app, "lab open")["setting"]).points == points
    seen = sent("open")
    seen["setting"]["points"] = [*points, (-1.0, 0.125)]
    app = settle(app, "lab open", seen)
    assert app.query_params["points"] == "0.5_-0.25~0_1~-1_0.125"
    app.selectbox(key="plane data").select("ring8").run()
    assert not TypeAdapter(Setting).validate_python(told(app, "lab open")["setting"]).points
