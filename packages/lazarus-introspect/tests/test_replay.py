"""Results that are computed again: equal bit for bit, equal within a tolerance, or where they differ."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.console import run
from lazarus_introspect.analysis import replayed
from lazarus_introspect.cli.app import app

GIRL, BOY = (f"Once upon a time, there was a little {who} named" for who in ("girl", "boy"))
COMMANDS = {
    "analyze": ["-p", GIRL, "--track", " Lily, Tim", "--every-position", "--layers", "0,2-3"],
    "compare": ["-p", GIRL, "--layer-strategy", "evenly_spaced"],
    "hooks": ["-p", GIRL, "--layers", "0,4", "--capture-attention"],
    "attention": ["-p", GIRL, "--layers", "1-2", "--heads", "0"],
    "ablate": ["-p", GIRL, "-c", "-Lily", "--layers", "0,2", "--max-tokens", "4", "--multi"],
    "patch": ["--source", GIRL, "--target", BOY, "--layers", "0,4"],
    "attribute": ["-p", GIRL, "--top", "4"],
    "steer": [
        "-p",
        GIRL,
        "--positive",
        BOY,
        "--positive",
        "--x",
        "--negative",
        GIRL,
        "--layer",
        "2",
        "--alpha",
        "-3",
        "--max-tokens",
        "3",
    ],
}

numbers = st.floats(-1e3, 1e3, allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)
results = st.dictionaries(st.text("abc", min_size=1), values, min_size=1, max_size=4)


def places(value):
    """Every number in a result: (container, key)."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        if isinstance(each, float):
            yield value, key
        yield from places(each)


@given(results)
def test_a_result_equals_itself(found):
    same = replayed(found, copy.deepcopy(found))
    assert same.is_equal and same.is_bit_equal and same.largest == 0 and not same.differences


@given(results, st.data(), st.sampled_from([1e-6, 0.9e-4, 1.2e-4, 1.5e-4, 1e-2]))
def test_a_changed_number_is_within_the_tolerance_or_the_first_difference(found, data, share):
    again = copy.deepcopy(found)
    numbers = list(places(again))
    if not numbers:
        return
    container, key = data.draw(st.sampled_from(numbers))
    before = container[key]
    container[key] = after = before + share * max(1.0, abs(before))
    compared = replayed(found, again, tolerance=1e-4)
    distance = abs(after - before) / max(1.0, abs(before), abs(after))
    assert not compared.is_bit_equal and compared.largest == pytest.approx(distance)
    assert compared.is_equal == (distance <= 1e-4) == (compared.num_different == 0)
    if not compared.is_equal:
        (first,) = compared.differences
        assert (first.stored, first.again) == (before, after) and str(key) in first.place


@pytest.mark.parametrize(
    "stored, again, place",
    [
        ({"a": [1, 2]}, {"a": [1, 3]}, "a[1]"),
        ({"a": [1, 2]}, {"a": [1]}, "a[1]"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "a.b"),
        ({"a": []}, {"a": [0.5]}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": None}, {"a": 0.0}, "a"),
    ],
    ids=range(6),
)
def test_other_values_differ_whatever_the_tolerance(stored, again, place):
    compared = replayed(stored, again, tolerance=1e9)
    assert not compared.is_equal and compared.differences[0].place == place


def test_fingerprints_count_and_versions_do_not():
    origin = {"model": "a", "weights": "00", "tokenizer": "11", "versions": {"mlx": "1"}, "device": "cpu"}
    new = origin | {"model": "b", "versions": {"mlx": "2"}}
    compared = replayed({"provenance": origin, "x": 0.5}, {"provenance": new, "x": 0.5})
    assert compared.is_equal and compared.is_bit_equal and compared.values == 1
    assert [each.place for each in compared.versions] == ["provenance.versions.mlx"]
    compared = replayed({"second": origin, "x": 0.5}, {"second": origin | {"weights": "22"}, "x": 0.5})
    assert not compared.is_equal and compared.num_different == 0
    assert [each.place for each in compared.fingerprints] == ["second.weights"]


@pytest.fixture
def call(capsys):
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def called(*words):
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app([*words], **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return called


@pytest.fixture
def stored(data, call, tmp_path):
    """Writes the result of a command: (path, JSON)."""

    def write(command, *words):
        model = str(data / "models/stories260k")
        where = ["-m", model] if command != "compare" else ["-m1", model, "-m2", model]
        _, shown, _ = call(command, *where, *words, "--json")
        path = tmp_path / "result.json"
        path.write_text(shown, "utf-8")
        return path, json.loads(shown)

    return write


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_replays_bit_for_bit(command, call, stored):
    path, found = stored(command, *COMMANDS[command], "--raw")
    code, shown, said = call("replay", str(path), "--json")
    compared = json.loads(shown)
    assert (code, said) == (0, "") and compared["is_bit_equal"] and compared["values"] > 20
    assert compared["command"] == command == found["command"]["name"]
    settings = found["command"]["settings"]
    assert settings["--raw"] is True and "--json" not in settings


def test_random_numbers_replay_with_their_seed(call, stored):
    words = ["-p", GIRL, "--raw", "--layers", "3", "--max-tokens", "4", "--method", "noise", "--seed"]
    path, found = stored("ablate", *words, "7")
    assert found["command"]["settings"]["--seed"] == 7
    assert call("replay", str(path))[0] == 0
    found["command"]["settings"]["--seed"] = 8
    path.write_text(json.dumps(found), "utf-8")
    code, shown, _ = call("replay", str(path))
    assert code == 1 and "differs: " in shown and "request.config.seed: 7, now 8" in shown


def test_another_model_differs_and_a_changed_number_is_named(call, stored, data):
    path, found = stored("analyze", "-p", GIRL, "--raw")
    found["layer_predictions"][2]["entropy"] += 0.25
    path.write_text(json.dumps(found), "utf-8")
    code, shown, _ = call("replay", str(path))
    old, new = found["layer_predictions"][2]["entropy"], found["layer_predictions"][2]["entropy"] - 0.25
    assert code == 1 and "the same weights and tokenizer" in shown
    assert f"layer_predictions[2].entropy: {old}, now {new:.12}"[:50] in shown
    assert call("replay", str(path), "--tolerance", "0.3")[0] == 0
    other = str(data / "models/families/llama")
    code, shown, _ = call("replay", str(path), "-m", other)
    assert code == 1 and "provenance.weights: " in shown and "another one" in shown


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"command": None}, "was computed from Python"),
        ({"command": {"name": "analyze"}}, "`command` needs a `name` and `settings`"),
        ({"command": {"name": "replay", "settings": {}}}, "there is no command 'replay'"),
        ({"command": {"name": "nix mux", "settings": {}}}, "there is no command 'nix mux'"),
        ({"command": {"name": "analyze", "settings": {"--html": "page.html"}}}, "has no setting '--html'"),
        ({"command": {"name": "analyze", "settings": {"--prompt": {}}}}, "`command` needs"),
        ({"analysis": ...}, "is no result of `lazarus-introspect`"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_result_is_one_line(change, reason, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    origin = {"weights": "00", "tokenizer": "11", "versions": {}}
    found = {"analysis": "analyze", "provenance": origin, "command": {"name": "analyze", "settings": {}}} | change
    path = tmp_path / "r.json"
    path.write_text(json.dumps({name: each for name, each in found.items() if each is not ...}), "utf-8")
    code, shown, said = call("replay", str(path))
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert reason in said and "LI-E105" in said
    assert [each.name for each in tmp_path.iterdir()] == ["r.json"]


def test_settings_that_do_not_fit_are_one_line(call, stored):
    path, _ = stored("compare", "-p", BOY, "--raw")
    for words, reason in (
        ([str(path), "-m", "x"], "`compare` has no option --model"),
        ([str(path), "--tolerance", "-1"], "give a number of at least 0"),
        ([str(path.with_name("nix.json"))], "nix.json"),
    ):
        code, shown, said = call("replay", *words)
        assert (code, shown, said.count("\n")) == (2, "", 1) and reason in said
