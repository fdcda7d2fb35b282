"""Time boxes: durations, times of day, and clocks that stop or are set."""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.time_box import LONGEST_S, Clock, TimeBox, next_occurrence, read_duration, read_stop_time

NOW = datetime(2026, 3, 14, 22, 30).timestamp()


@dataclass
class Hands:
    """Two clocks that a test sets."""

    wall: float = NOW
    monotonic: float = 5.0
    clock: Clock = field(init=False)

    def __post_init__(self):
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def work(self, seconds):
        self.wall += seconds
        self.monotonic += seconds


@given(st.integers(0, 9), st.integers(0, 30), st.integers(0, 90), st.integers(1, 90))
def test_a_duration_is_the_sum_of_its_parts(days, hours, minutes, seconds):
    assert read_duration(f"{days}d{hours}h{minutes}m{seconds}s") == timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds
    ) / timedelta(seconds=1)


@pytest.mark.parametrize(
    "text", ["", " ", "30", "30 m", "1.5h", "m30", "30m2h", "-5m", "0s", "367d", "9" * 400 + "s", "\u0663m"]
)
def test_other_durations_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"give (one such as 90s|a duration from 1s to 366d)") as caught:
        read_duration(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "24:00",
        "07:60",
        "07:00:60",
        "2026-03-15",
        "20260315",
        "tomorrow",
        "07:00 pm",
        "25:00",
        "\u0660\u0667:\u0660\u0660",
    ],
)
def test_other_times_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match="give one such as 07:00 or 2026-01-31T07:00"):
        read_stop_time(text)


@given(st.integers(0, 23), st.integers(0, 59), st.floats(0, 2e9))
def test_a_time_of_day_is_its_next_occurrence(hour, minute, now):
    found = next_occurrence(f"{hour:02}:{minute:02}", now)
    assert now < found <= now + 25 * 3600, "with the hour that a change of clocks adds"


def test_the_time_of_day_is_tonight_or_tomorrow():
    assert next_occurrence("23:00", NOW) == NOW + 1800
    assert next_occurrence("7:00", NOW) == NOW + 8.5 * 3600
    assert next_occurrence("22:30", NOW) == NOW + 86400, "the present minute has begun"


def test_the_next_morning_is_an_hour_nearer_when_summer_time_begins(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        evening = datetime(2026, 3, 28, 22, 0).timestamp()
        assert next_occurrence("07:00", evening) == evening + 8 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_with_a_zone_is_that_moment():
    moment = datetime.fromtimestamp(NOW + 60, timezone(timedelta(hours=9)))
    assert next_occurrence(moment.isoformat(), NOW) == NOW + 60


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-03-14T22:30", "in the past"),
        ("2028-01-01T00:00", "more than a year ahead"),
        ("0001-01-01T00:00", "past|range"),
    ],
)
def test_a_date_far_away_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        next_occurrence(text, NOW)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e4, 1e4)), max_size=8))
def test_a_box_never_counts_less_than_either_clock(turns):
    hands = Hands()
    box = TimeBox.start("2h30m", None, hands.clock)
    worked = 0.0
    for seconds, jump in turns:
        hands.work(seconds)
        hands.wall += jump
        worked += seconds
        assert box.elapsed_s >= worked - 1e-3
        assert box.elapsed_s >= hands.wall - NOW - 1e-3
        assert box.left_s == pytest.approx(9000 - box.elapsed_s)


def test_a_computer_that_slept_over_the_limit_has_no_time_left():
    hands = Hands()
    box = TimeBox.start("30m", None, hands.clock)
    hands.work(60)
    assert box.left_s == pytest.approx(1740)
    hands.wall += 8 * 3600
    assert box.left_s < 0


def test_of_two_limits_the_earlier_counts():
    hands = Hands()
    assert TimeBox.start("1h", "23:00", hands.clock).limit_s == 1800
    box = TimeBox.start("10m", "23:00", hands.clock)
    assert box.limit_s == 600
    assert box.end.timestamp() == NOW + 600
    with pytest.raises(ValueError, match="needs a duration or an end"):
        TimeBox.start(None, None)


def test_the_clocks_are_those_of_the_machine_by_default():
    box = TimeBox.start(f"{LONGEST_S}s", None)
    assert abs(box.wall_start - time.time()) < 5
    assert 0 <= box.elapsed_s < 5
