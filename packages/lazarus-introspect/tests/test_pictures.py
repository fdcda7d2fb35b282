"""Pictures: a page, a terminal and a PNG show the numbers that they are given, within their bounds."""

import base64
import json
import re
import struct
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from html_pages import ATTACKS, NAMES, Read
from lazarus_introspect.errors import IntrospectError
from lazarus_introspect.pictures import bars, heatmap, lines, map_grid, page, png, terminal
from lazarus_introspect.pictures.reduction import block_means, evenly, reduced_grid, reduced_heatmap

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
matrices = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=finite)


def names(count, what="n"):
    return [f"{what}{place}" for place in range(count)]


def stored(text):
    """The numbers of the maps of a page."""
    return [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', text)]


def texts_of(data, kind="texts"):
    return [[data[kind]["distinct"][place] for place in row] for row in data[kind]["cells"]]


@given(matrices, st.booleans())
def test_a_page_has_the_numbers_of_a_heatmap(values, is_diverging):
    part = heatmap("t", values, rows=names(len(values)), columns=names(values.shape[1]), is_diverging=is_diverging)
    (data,) = stored(page("p", [part]))
    assert np.allclose(np.array(data["values"]), values, rtol=1e-4)
    low, high = part.span
    assert low <= values.min() and high >= values.max() and low < high
    assert (low == -high) if is_diverging else (low <= 0)


def test_a_missing_number_is_drawn_by_nothing():
    part = heatmap("t", [[np.nan, 1.0]], rows=["a"], columns=["b", "c"])
    assert stored(page("p", [part]))[0]["values"] == [[None, 1.0]]
    assert "1.00" in terminal(part) and "nan" not in terminal(part)


@settings(max_examples=25)
@given(NAMES.filter(bool))
@example(ATTACKS[0])
def test_texts_do_not_change_a_page(name):
    def made(text):
        words = {"rows": [text], "columns": [text], "texts": [[text]], "details": [[text]]}
        parts = [
            heatmap(text, [[0.5]], **words, unit=text, upwards=text, across=text, note=text),
            map_grid(text, {text: [[[0.5]]]}, rows=[text], columns=[text], unit=text, note=text),
            bars(text, {text: -1.0}, note=text),
            lines(text, {text: [1.0, 2.0], text + "b": [2.0, 1.0]}, note=text),
        ]
        return page(text, parts, about={text: text})

    attacked, plain = Read(made(name)), Read(made("x" * len(name)))
    assert attacked.wrong == [] and attacked.shape() == plain.shape()
    data = stored(made(name))
    assert texts_of(data[0]) == [[name]] and texts_of(data[0], "details") == [[name]]
    assert data[1]["groups"].keys() == {name}


@given(st.integers(0, 2**32 - 1))
def test_a_page_has_the_numbers_of_a_grid_within_a_step(seed):
    maps = np.random.default_rng(seed).random((3, 4, 5))
    (data,) = stored(page("p", [map_grid("t", {"g": maps}, rows=names(4), columns=names(5))]))
    for place, each in enumerate(data["groups"]["g"]["maps"]):
        levels = np.frombuffer(base64.b64decode(each), np.uint8).reshape(4, 5) / 255
        shown = data["low"] + levels * (data["high"] - data["low"])
        assert np.abs(shown - maps[place]).max() <= 0.5 / 255 * (data["high"] - data["low"]) + 1e-5


@given(st.integers(1, 500), st.integers(1, 60))
def test_chosen_places_are_even_and_keep_both_ends(count, most):
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most) and chosen == sorted(set(chosen))
    assert chosen[0] == 0 and (chosen[-1] == count - 1 or most == 1)
    gaps = np.diff(chosen)
    assert not gaps.size or gaps.max() - gaps.min() <= 1


@given(matrices, st.integers(1, 40))
def test_a_reduced_heatmap_has_cells_of_the_whole_one_and_says_so(values, most):
    rows, columns = names(len(values), "r"), names(values.shape[1], "c")
    part = heatmap("t", values, rows=rows, columns=columns, texts=values.astype(str).tolist(), across="token")
    small = reduced_heatmap(part, most)
    assert small.values.size <= most
    assert (small.values.size < values.size) == ("Drawn: " in small.note)
    for row, name in enumerate(small.rows):
        for column, other in enumerate(small.columns):
            assert small.values[row, column] == values[rows.index(name), columns.index(other)]
            assert small.texts[row][column] == str(values[rows.index(name), columns.index(other)])


@given(matrices, st.integers(1, 9))
def test_means_of_blocks_are_those_of_their_cells(values, size):
    found = block_means(values, size)
    for row, column in np.ndindex(found.shape):
        block = values[row * size : (row + 1) * size, column * size : (column + 1) * size]
        assert found[row, column] == pytest.approx(block.mean(), rel=1e-9, abs=1e-9 * np.abs(values).max())


def test_a_reduced_grid_fits_and_says_so():
    maps = np.random.default_rng(0).random((6, 50, 50))
    part = map_grid("t", {"a": maps[:3], "b": maps[3:]}, rows=names(50), columns=names(50))
    small = reduced_grid(part, 2000)
    assert sum(each.size for each in small.groups.values()) <= 2000
    assert "the mean of 3 x 3 neighbouring cells, of 15,000 cells in all" in small.note
    assert len(small.rows) == small.groups["a"].shape[1] == 17
    assert reduced_grid(part, 15_000) is part


@pytest.mark.slow
def test_a_page_of_200_tokens_and_30_layers_is_below_3_megabytes():
    rng = np.random.default_rng(0)
    tokens, layers, heads = 200, 31, 9
    words = [f" w{number}" for number in range(2000)]
    texts = rng.choice(words, (layers, tokens)).tolist()
    details = [["\n".join(f"{word!r} 0.1234" for word in rng.choice(words, 5)) for _ in range(tokens)] for _ in texts]
    labels = rng.choice(words, tokens).tolist()
    lens = heatmap(
        "lens", rng.random((layers, tokens)), rows=names(layers), columns=labels, texts=texts, details=details
    )
    patterns = {f"layer {layer}": rng.random((heads, tokens, tokens)) for layer in range(30)}
    assert len(page("p", [lens, map_grid("heads", patterns, rows=labels, columns=labels)]).encode()) < 3_000_000


def test_bars_and_lines_show_their_numbers():
    text = page("p", [bars("b", {"up": 2.0, "down": -1.0}), lines("l", {"a": [0.5, 0.25], "b": [1, 2]})])
    assert "+2" in text and "-1" in text and 'data-points="0,0.5;1,0.25"' in text
    many = bars("b", {str(number): float(number) for number in range(100)}, most=10)
    assert list(many.values) == [str(number) for number in range(90, 100)] and "10 largest of 100" in many.note
    shown = terminal(bars("b", {"up": 2.0, "down": -1.0}))
    assert re.search(r"up +\+2.0000 #{32}", shown) and re.search(r"down +-1.0000 -{16}$", shown)
    assert "▁█" in terminal(lines("l", {"b": [1, 2]}))


@pytest.mark.parametrize("width", [40, 80, 1000])
@pytest.mark.parametrize("has_color", [True, False])
def test_a_terminal_shows_a_map_within_its_width(width, has_color):
    values = np.random.default_rng(0).normal(size=(4, 60))
    part = heatmap("t", values, rows=names(4), columns=names(60), is_diverging=True, across="token")
    shown = terminal(part, width=width, has_color=has_color)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert (shown != plain) == has_color
    assert max(map(len, plain.split("\n")[:6])) <= width
    assert (f"{values[3, 59]:+.2f}" in plain) == (width == 1000 or not has_color)
    assert ("Drawn: " in plain) == (width < 1000 and (not has_color or width == 40))
    grid = map_grid("t", {"layer 0": np.ones((2, 30, 30))}, rows=names(30), columns=names(30))
    assert "head 1" in terminal(grid, width=width, has_color=has_color)


def test_names_reach_no_terminal_with_control_characters():
    part = heatmap("a\x1b[2J", [[1.0]], rows=["\x1b]0;x\x07"], columns=["[red]b"], texts=[["\x1b[1m"]])
    shown = terminal(part)
    assert "\x1b" not in shown and "\x07" not in shown and "[red]b" in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: heatmap("t", [[1.0]], rows=["a", "b"], columns=["c"]),
        lambda: heatmap("t", [[1.0]], rows=["a"], columns=["c"], texts=[["x", "y"]]),
        lambda: map_grid("t", {"g": [[[1.0]]]}, rows=["a"], columns=["b", "c"]),
        lambda: map_grid("t", {"g": [[[1.0]]]}, rows=["a"], columns=["b"], names={"g": []}),
        lambda: lines("t", {"a": [1.0], "b": [1.0, 2.0]}),
        lambda: lines("t", {"a": [float("inf")]}),
    ],
    ids=range(6),
)
def test_numbers_and_names_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match="`"):
        make()


@pytest.mark.slow
@pytest.mark.thorough
def test_a_png_has_every_picture():
    pytest.importorskip("matplotlib")
    parts = [
        heatmap("$a$", [[0.1, -0.4]], rows=["x_^{"], columns=["$", "b"], is_diverging=True),
        map_grid("g", {"layer 0": np.ones((2, 3, 3))}, rows=names(3), columns=names(3)),
        bars("b", {"a": -1.0, "$b": 2.0}),
        lines("l", {"a": [1.0, 2.0], "b": [2.0, 1.0]}),
    ]
    made = png("t $", parts)
    width, height = struct.unpack(">II", made[16:24])
    assert made[:8] == b"\x89PNG\r\n\x1a\n" and b"Software\0Lazarus" in made[:400]
    assert width == 1320 and height > 1300


def test_without_matplotlib_a_png_is_one_line(monkeypatch):
    from lazarus_introspect.pictures import figure

    assert figure.find_spec is find_spec
    monkeypatch.setattr(figure, "find_spec", lambda name: None)
    with pytest.raises(IntrospectError, match=r"install lazarus-introspect\[png\]") as caught:
        png("t", [bars("b", {"a": 1.0})])
    assert caught.value.code == "LI-E104"


def test_pictures_load_neither_rich_nor_matplotlib():
    import subprocess

    code = "import sys, lazarus_introspect.pictures as p; p.heatmap, p.page; print({'rich', 'matplotlib', 'mlx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
