"""Laws of the parts of pages: names cannot change the structure, colours have contrast, ticks cover their axis."""

import re
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from html_pages import NAMES, Read
from lazarus_core.html import (
    Bar,
    Curve,
    Origin,
    bars,
    columns,
    curves,
    facts,
    figures,
    in_words,
    lines,
    more,
    page,
    section,
    series_key,
    table,
    this_command,
)
from lazarus_core.html.theme import DARK, LIGHT, SERIES_DARK, SERIES_LIGHT, STYLE
from lazarus_core.html.ticks import round_ticks, tick_labels, ticks_between

STEPS, VALUES = np.array([1, 2, 5]), np.array([0.5, 0.25, 0.125])


def whole_page(name: str) -> str:
    """A page with a name in every place that takes one."""
    two = [Curve(STEPS, VALUES, 0, name), Curve(STEPS, VALUES, 9, name)]
    body = [
        f"<h1>{in_words([series_key(0, name)])}</h1>",
        figures({name: name}),
        facts({name: name, "other": name}),
        section(name, "", curves(two, name, across=name)),
        section("", "", columns([1, 2], [0, 5, 10], name, name)),
        section("", "", lines([VALUES], name, name, [name])),
        bars([Bar(name, 0.5, name, is_ours=True)]),
        table((name, "b"), [(name, name)], numbers=(1,), long=(0,), label=name),
        more(name, ""),
    ]
    return page(name, "".join(body), "lazarus-core", origin=Origin(name, datetime(2026, 1, 2, tzinfo=UTC)))


@cache
def harmless_shape(length: int) -> list[tuple[str, tuple[str, ...]]]:
    return Read(whole_page("x" * length)).shape()


@given(NAMES)
def test_no_name_changes_the_structure_of_a_page(name: str):
    read = Read(whole_page(name))
    assert read.wrong == []
    assert read.shape() == harmless_shape(min(len(name), 25))
    if name and name.isprintable():
        assert name in read.text("title") and name in read.text("dd") and name in read.text("td")


def test_a_name_with_control_characters_is_shown_escaped():
    assert "\x1b" not in whole_page("a\x1b[2Jb") and "\\u001b[2Jb" in whole_page("a\x1b[2Jb")


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize(("theme", "series"), [(LIGHT, SERIES_LIGHT), (DARK, SERIES_DARK)], ids=["light", "dark"])
def test_text_has_contrast_of_4_5_and_lines_of_3(theme: dict[str, str], series: tuple[str, ...]):
    for surface in ("paper", "raised"):
        for text in ("ink", "soft"):
            assert contrast(theme[text], theme[surface]) >= 4.5, (text, surface)
        for colour in (theme["mark"], theme["rest"], *series):
            assert contrast(colour, theme[surface]) >= 3, (colour, surface)
    assert len(set(series)) == 8


def test_colours_are_named_once_and_text_has_a_tested_one():
    declared = re.findall(r":root \{[^}]*\}", STYLE)
    rules = STYLE
    for each in declared:
        rules = rules.replace(each, "")
    assert len(declared) == 2 and not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", rules)
    texts = set(re.findall(r"(?<![\w-])color: ([^;}]*[^;} ])", rules))
    assert texts <= {"var(--ink)", "var(--soft)", "var(--mark)", "inherit"}
    used = set(re.findall(r"var\(--(\w+)\)", rules))
    assert used <= set(LIGHT) | {f"line{number}" for number in range(8)} and LIGHT.keys() == DARK.keys()


def test_no_rule_is_wider_than_a_narrow_screen():
    for name, size, unit in re.findall(r"(?<!max-)\b((?:min-)?width): ([\d.]+)(px|rem|ch|em)", STYLE):
        pixels = float(size) * {"px": 1, "rem": 16, "ch": 9, "em": 16}[unit]
        assert pixels <= 256, f"{name}: {size}{unit}"
    for size in re.findall(r"minmax\(([\d.]+rem)", STYLE):
        pytest.fail(f"minmax({size}: write minmax(min(100%, {size}), ...)")


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9))
def test_ticks_cover_the_axis_in_equal_steps(low: float, size: float):
    high = low + size
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-12):
        return
    ticks = round_ticks(low, high)
    slack = 1e-6 * (ticks[1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack and 2 <= len(ticks) <= 9
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_ticks_of_steps_are_whole_and_within(first: int, more_steps: int):
    ticks = ticks_between(first, first + more_steps)
    assert all(first <= each <= first + more_steps and each == int(each) for each in ticks)
    labels = tick_labels(ticks)
    assert len(set(labels)) == len(labels)
    assert sum(len(each) + 1 for each in labels) * 7 <= 300, "they fit side by side at 400 pixels"


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([0, 2500, 5000], ["0", "2,500", "5,000"]),
        ([0, 20_000, 40_000], ["0", "20k", "40k"]),
        ([0, 5e-4], ["0", "5e-4"]),
        ([-2, 0, 2], ["-2", "0", "2"]),
        ([0], ["0"]),
    ],
)
def test_labels_of_ticks(ticks: list[float], labels: list[str]):
    assert tick_labels(ticks) == labels


@example([5e-324])
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_every_point_of_a_curve_lies_in_its_plot(values: list[float]):
    chart = curves([Curve(np.arange(len(values)), np.array(values), 0)], "nats")
    path = re.search(r' d="M([^"]+)"', chart)
    assert path is not None
    for x, y in (place.split(",") for place in path[1].split("L")):
        assert -0.1 <= float(x) <= 1000.1 and -0.1 <= float(y) <= 1000.1
    assert ('class="dots' in chart) == (len(values) <= 30)


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e9, 1e-12])
def test_equal_values_are_a_line_in_the_middle(value: float):
    chart = curves([Curve(STEPS, np.array([value, value * (1 + 1e-12), value]), 0)], "nats")
    path = re.search(r' d="M([^"]+)"', chart)
    assert path is not None
    heights = {float(place.split(",")[1]) for place in path[1].split("L")}
    assert all(height == pytest.approx(500 if value else 1000, abs=120) for height in heights)


def test_a_long_curve_keeps_its_ends_and_its_extremes():
    values = np.random.default_rng(0).normal(size=10_000)
    chart = curves([Curve(np.arange(10_000), values, 0)], "nats")
    data = re.search(r'data-points="([^"]+)"', chart)
    assert data is not None
    points = {int(step): float(value) for step, value in (each.split(",") for each in data[1].split(";"))}
    assert len(points) <= 402 and {0, 9999, int(values.argmin()), int(values.argmax())} <= points.keys()


def test_the_bars_of_a_histogram_are_its_counts():
    chart = columns([4, 0, 2], [0, 10, 20, 30], "tokens")
    heights = [float(each) for each in re.findall(r'height="([\d.]+)"', chart)]
    assert len(heights) == 2 and heights[0] == pytest.approx(2 * heights[1])
    assert 'data-points="0,10,4;10,20,0;20,30,2"' in chart
    assert "6 samples from 0 to 29 tokens" in chart


def test_a_bar_of_nothing_has_no_length_and_a_small_one_is_seen():
    found = bars(
        [Bar("a", 0.0, "0", is_ours=True), Bar("b", 1e-9, "1", is_ours=True), Bar("c", 3.0, "9", is_ours=False)]
    )
    assert re.findall('style="width:([^"]*)"', found) == ["0", "max(2px, 0.0%)", "max(2px, 100.0%)"]


def test_the_footer_names_the_command_as_it_was_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for program in ("/somewhere/bin/lazarus", "/somewhere/lazarus_cli/__main__.py"):
        monkeypatch.setattr("sys.argv", [program, "data", "a b.jsonl"])
        assert this_command() == Origin("lazarus data 'a b.jsonl'", datetime.fromtimestamp(1_700_000_000, UTC))
    monkeypatch.setattr("sys.argv", ["lazarus", "x" * 5000])
    assert len(this_command().command) < 1100
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert abs((this_command().time - datetime.now(UTC)).total_seconds()) < 60
    assert page("a", "", "lazarus-core") == page("a", "", "lazarus-core"), "without an origin no clock"
