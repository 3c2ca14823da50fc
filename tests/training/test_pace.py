"""What is costly is done at most so often, and never takes much of the time."""

import pytest

from training import pace
from training.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def done_at(clock: list[float], one: Pace, takes: float, until: float) -> list[float]:
    times: list[float] = []
    while clock[0] < until:
        if one.due:
            times.append(clock[0])
            with one.measured():
                clock[0] += takes
        clock[0] += 1
    return times


def test_it_is_due_at_first_and_then_after_the_interval(clock: list[float]):
    assert done_at(clock, Pace(10), takes=0, until=1030) == [1000, 1010, 1020]


def test_what_takes_long_waits_longer(clock: list[float]):
    times = done_at(clock, Pace(10), takes=3, until=1200)
    assert times == [1000, 1063, 1126, 1189], "three of sixty-three seconds: a twentieth"


def test_without_an_interval_what_takes_no_time_is_always_due(clock: list[float]):
    assert len(done_at(clock, Pace(), takes=0, until=1010)) == 10
