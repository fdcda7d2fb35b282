import io
import re
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.console import progress, progress_bar
from lazarus_core.console.time_left import MIN_UPDATES, TimeLeft

UPDATES = st.lists(st.tuples(st.integers(1, 1000), st.floats(1e-3, 1e3)), min_size=MIN_UPDATES, max_size=30)
WARM_UP = st.floats(0, 1e5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def followed(updates, *, start=0.0):
    pace, now = TimeLeft(), start
    for units, seconds in updates:
        now += seconds
        pace.update(units, now)
    return pace


@given(UPDATES, st.integers(0, 10**6))
def test_no_estimate_before_the_third_update(updates, left):
    for count in range(MIN_UPDATES):
        assert followed(updates[:count]).seconds(left) is None
    assert followed(updates).seconds(left) is not None


@given(WARM_UP, st.floats(1e-3, 1e3), st.integers(2, 30), st.integers(0, 10**6))
def test_a_constant_pace_is_found_whatever_the_warm_up_took(warm_up, seconds, count, left):
    pace = followed([(1, warm_up), *[(1, seconds)] * count])
    assert pace.seconds(left) == pytest.approx(seconds * left, rel=1e-4, abs=1e-4)


@given(UPDATES, st.integers(1, 10**6))
def test_an_estimate_is_between_the_fastest_and_the_slowest_pace(updates, left):
    paces = [seconds / units for units, seconds in updates[1:]]
    found = followed(updates).seconds(left)
    assert min(paces) * left * (1 - 1e-6) - 1e-3 <= found <= max(paces) * left * (1 + 1e-6) + 1e-3


@given(st.integers(0, 20), st.floats(1, 1e4), st.integers(1, 10**6))
def test_one_slow_update_does_not_change_the_estimate(where, slow, left):
    """A second shape compiles once: 60 s in a run of steps of 0.1 s."""
    updates = [(1, 0.1)] * 25
    updates[where + 1] = (1, slow)
    assert followed(updates).seconds(left) == pytest.approx(0.1 * left, rel=1e-4)


@given(UPDATES, st.lists(st.integers(0, 29)))
def test_notes_without_units_do_not_count(updates, places):
    mixed = list(updates)
    for place in places:
        mixed.insert(place % len(mixed), (0, 0.0))
    assert followed(mixed).seconds(10) == pytest.approx(followed(updates).seconds(10), rel=1e-6)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_first_step_of_a_minute_leaves_no_trace_in_a_bar(monkeypatch, clock):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("training", total=621, unit="steps") as advance:
        for seconds in (60.0, 0.1, 0.1, 0.1):
            clock[0] += seconds
            advance(1, note="loss 1.0")
    found = re.findall(r"\] (\d+)/621  steps([^\r]*?)  loss", screen.getvalue())
    assert dict(found) == {"1": "", "2": "", "3": "  62 s left", "4": "  62 s left"}


def test_lines_estimate_by_the_same_rule(monkeypatch, capsys, clock):
    monkeypatch.setattr(progress_bar, "LINE_EVERY_S", 0.0)
    with progress("training", total=1000, unit="steps", done=900) as advance:
        for seconds in (60.0, 2.0, 1.0, 1.0):
            clock[0] += seconds
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "training: 901/1000 steps",
        "training: 902/1000 steps",
        "training: 903/1000 steps, 97 s left",
        "training: 904/1000 steps, 96 s left",
    ]


def test_a_bar_counts_the_units_of_an_earlier_run_as_done_not_as_its_pace(monkeypatch, clock):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("training", total=1000, unit="steps", done=900) as advance:
        for _ in range(4):
            clock[0] += 0.5
            advance(1, note="loss 1.0")
    assert "904/1000  steps  48 s left  loss 1.0" in screen.getvalue()
