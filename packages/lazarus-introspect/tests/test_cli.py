"""The commands: options, JSON, tables, and one line for bad input."""

import base64
import json
import re
from importlib.metadata import version

import numpy as np
import pytest
from typer.testing import CliRunner

from lazarus_core.console import run
from lazarus_introspect.cli.app import app
from lazarus_models import LoraConfig, apply_lora, load
from lazarus_models.adapters import save_adapter

GIRL, BOY = (f"Once upon a time, there was a little {who} named" for who in ("girl", "boy"))


@pytest.fixture
def ask(data, capsys):
    """Runs a command in this process: (exit code, stdout, stderr)."""
    model = str(data / "models/stories260k")

    def asked(command, *words):
        where = ["-m", model] if command != "compare" else ["-m1", model, "-m2", model]
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app([command, *where, *words], **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return asked


def test_the_command_knows_its_version():
    assert CliRunner().invoke(app, ["--version"]).output == f"lazarus-introspect {version('lazarus-introspect')}\n"
    assert CliRunner().invoke(app, ["anything"]).exit_code == 2


COMMANDS = {
    "analyze": (["-p", GIRL, "--track", " Lily, Tim"], ["rank of ' Lily'", "rank 1 from", "prediction  ' Lily'"]),
    "compare": (["-p", GIRL, "--layer-strategy", "evenly_spaced"], ["100% of 3 layers", "same"]),
    "hooks": (["-p", GIRL, "--layers", "0,4", "--capture-attention"], ["blocks.4.attn.pattern", "BHTM", "no experts"]),
    "attention": (["-p", GIRL, "--layers", "1-2", "--heads", "0"], ["previous", "the last token attends to"]),
    "ablate": (["-p", GIRL, "-c", "Lily", "--layers", "0,2", "--max-tokens", "4"], ["not met", "meets the criterion"]),
    "patch": (["--source", GIRL, "--target", BOY, "--layers", "0,4"], ["' Lily' - ' Timmy'", "blocks.4.resid_pre"]),
    "attribute": (["-p", GIRL, "--top", "4"], ["sum of shares", "layer 4 MLP", "###"]),
    "steer": (
        ["-p", GIRL, "--positive", BOY, "--negative", GIRL, "--layer", "2", "--max-tokens", "4"],
        ["norm of the vector", "original  ", "steered   "],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_print_a_table_and_json(command, ask):
    words, expected = COMMANDS[command]
    code, shown, said = ask(command, *words, "--raw")
    assert (code, said) == (0, "")
    assert [each for each in expected if each not in shown] == []
    assert "Traceback" not in shown
    code, shown, said = ask(command, *words, "--raw", "--json")
    found = json.loads(shown)
    assert (code, found["analysis"]) == (0, command)
    assert len(found["provenance"]["weights"]) == 64 and found["ids"]


def stored(path):
    """The numbers of the maps of a page."""
    text = path.read_text("utf-8")
    return [json.loads(each) for each in re.findall(r'<script type="application/json">(.*?)</script>', text)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_a_page_and_json_says_how(command, ask, tmp_path):
    words, _ = COMMANDS[command]
    page = tmp_path / "a.html"
    code, shown, said = ask(command, *words, "--raw", "--json", "--html", str(page))
    found = json.loads(shown)
    assert (code, said) == (0, f"wrote {page}\n") and found["command"]["name"] == command
    settings = found["command"]["settings"]
    assert settings["--raw"] is True and not {"--html", "--json", "--png", "--force", "--quiet"} & settings.keys()
    assert "stories260k" in page.read_text("utf-8")


def test_the_numbers_of_a_lens_page_are_those_of_the_result(ask, tmp_path):
    page = tmp_path / "a.html"
    _, shown, _ = ask("analyze", "-p", GIRL, "--raw", "--json", "--track", " Lily", "--html", str(page))
    found = json.loads(shown)
    grid, tops, distances = found["grid"], *stored(page)
    assert tops["rows"] == ["5", "4", "3", "2", "1", "0"] and len(tops["columns"]) == len(found["ids"])
    probabilities = np.array(grid["probabilities"])
    assert probabilities.shape == (6, len(found["ids"]), 5)
    assert np.allclose(tops["values"][::-1], probabilities[:, :, 0], rtol=1e-4)
    assert np.allclose(distances["values"][::-1], grid["kl_to_final"], rtol=1e-4, atol=1e-12)
    assert max(grid["kl_to_final"][-1]) == 0
    for layer, each in enumerate(found["layer_predictions"]):
        place = tops["texts"]["cells"][5 - layer][found["position"]]
        assert tops["texts"]["distinct"][place] == each["top_tokens"][0]["token"]
        assert [token["id"] for token in each["top_tokens"]] == grid["ids"][layer][-1]
        values = [token["probability"] for token in each["top_tokens"]]
        assert np.allclose(values, probabilities[layer, -1], atol=1e-5)
    assert f"{found['token_evolutions'][0]['probabilities'][3]:.6g}" in page.read_text("utf-8")


def test_the_numbers_of_patch_and_attention_pages_are_those_of_the_results(ask, tmp_path):
    page = tmp_path / "a.html"
    _, shown, _ = ask("patch", "--source", GIRL, "--target", BOY, "--raw", "--json", "--html", str(page))
    (data,) = stored(page)
    assert np.allclose(data["values"], json.loads(shown)["normalised"], rtol=1e-4) and data["diverging"]
    assert data["high"] >= np.abs(data["values"]).max() - 1e-4 and data["low"] == -data["high"]
    _, shown, _ = ask("attention", "-p", GIRL, "--raw", "--json", "--html", str(page))
    data, heads = stored(page)[0], json.loads(shown)["heads"]
    size = len(data["rows"])
    for each in heads:
        text = data["groups"][f"layer {each['layer']}"]["maps"][each["head"]]
        drawn = np.frombuffer(base64.b64decode(text), np.uint8).reshape(size, size) / 255 * data["high"]
        assert np.abs(drawn - each["pattern"]).max() < 0.003


def test_a_terminal_shows_the_map_of_every_position(ask):
    code, shown, _ = ask("analyze", "-p", GIRL, "--raw", "--every-position", "--track", " Lily")
    assert code == 0 and "What each layer would predict" in shown and "\x1b" not in shown
    assert re.search(r"Probability of tracked tokens .*\n +layer 0 to 5 .*\n Lily", shown)
    _, shown, _ = ask("patch", "--source", GIRL, "--target", BOY, "--raw")
    assert "0: as the target, 1: as the source." in shown and "+1.00" in shown


def test_without_raw_the_prompt_is_a_message(ask):
    raw, message = (json.loads(ask("analyze", "-p", "Tom", "--json", *more)[1]) for more in (["--raw"], []))
    assert (raw["request"]["raw"], message["request"]["raw"]) == (True, False)


def test_a_text_of_several_tokens_is_followed_by_its_first(ask):
    code, shown, said = ask("analyze", "-p", GIRL, "--raw", "--track", "world,there", "--json")
    assert code == 0 and "'world' has" in said and "following the first" in said
    assert [each["tracked"]["text"] for each in json.loads(shown)["token_evolutions"]] == ["world", "there"]


def test_attention_detects_heads(ask):
    _, shown, _ = ask("attention", "-p", GIRL, "--raw", "--detect", "--json")
    found = json.loads(shown)
    assert found["tested"] == 40 and {each["kind"] for each in found["detected"]} >= {"previous"}
    assert all(each["q"] < 0.05 for each in found["detected"])
    _, shown, _ = ask("attention", "-p", GIRL, "--raw", "--full", "--json", "--layers", "0")
    assert len(json.loads(shown)["heads"][0]["pattern"]) == 14
    _, shown, _ = ask("attention", "-p", GIRL, "--raw", "--full", "--layers", "0")
    assert "Attention of each head" in shown and "head 7" in shown and "█" in shown


def test_ablation_by_component_and_method(ask):
    texts = set()
    for more in (
        [],
        ["--multi"],
        ["--component", "mlp"],
        ["--method", "mean", "--reference", BOY],
        ["--method", "noise"],
        ["--method", "resample", "--reference", BOY, "--reference", "Tom and Lily were friends."],
    ):
        _, shown, _ = ask("ablate", "-p", GIRL, "--raw", "--layers", "3-4", "--max-tokens", "6", "--json", *more)
        found = json.loads(shown)
        assert len(found["ablations"]) == (1 if more == ["--multi"] else 2)
        texts.add(found["ablations"][0]["text"])
    assert len(texts) > 2


@pytest.mark.parametrize(
    "command, words, expected",
    [
        ("attention", ["-p", GIRL, "--heads", "50"], "head 50 does not exist; heads are 0 to 7 [LI-E140]"),
        ("analyze", ["-p", GIRL, "--layers", "9"], "layer 9 does not exist; layers are 0 to 5 [LI-E140]"),
        ("analyze", ["-p", GIRL, "--layers", "4-2"], "--layers '4-2': '4-2' is no number or range"),
        ("analyze", ["-p", GIRL, "--layer-strategy", "custom"], "require each other: give both or neither [LI-E146]"),
        (
            "analyze",
            ["-p", GIRL, "--layer-strategy", "all", "--layers", "1"],
            "require each other: give both or neither [LI-E146]",
        ),
        ("analyze", ["-p", GIRL, "--position", "77"], "--position 77 is outside the prompt"),
        ("analyze", ["-p", GIRL, "--threshold", "2"], "--threshold 2.0 is no probability above 0"),
        ("ablate", ["-p", GIRL, "--noise-scale", "1"], "--noise-scale has no effect without --method noise"),
        ("ablate", ["-p", GIRL, "--expert-mode", "drop"], "--expert-mode has no effect without --expert"),
        ("steer", ["-p", GIRL, "--mode", "remove", "--alpha", "4"], "--alpha has no effect with --mode remove"),
        ("ablate", ["-p", GIRL, "--noise-scale", "0"], "--noise-scale 0.0: must be above 0"),
        ("hooks", ["-p", GIRL, "--sites", "blocks.0.moe.experts"], "block 0 has no experts [LI-E101]"),
        ("hooks", ["-p", GIRL, "--sites", "blocks.0.resid"], "is no site; close names: "),
        ("ablate", ["-p", GIRL, "--method", "mean"], "--reference and the methods `mean` and `resample` require"),
        ("ablate", ["-p", GIRL, "-c", ""], "'--criterion': the value is empty"),
        ("patch", ["--source", GIRL, "--target", "Once"], "give prompts with equal numbers of tokens [LI-E121]"),
        ("patch", ["--source", GIRL, "--target", BOY, "--positive", "gi"], "'gi' has 2 tokens"),
        ("steer", ["-p", "a", "--positive", "b", "--negative", "c", "--layer", "7"], "5 blocks, numbered from 0"),
    ],
)
def test_bad_input_is_one_line(command, words, expected, ask):
    code, shown, said = ask(command, *words, "--raw")
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert expected in said
    assert "Traceback" not in said


def test_an_adapter_of_another_base_names_no_option_that_is_not_there(ask, data, tmp_path):
    other = load(data / "models/stories260k")
    other.model.model.norm.weight = other.model.model.norm.weight * 2
    apply_lora(other.model, LoraConfig(rank=2), seed=0)
    save_adapter(other.model, LoraConfig(rank=2), tmp_path)
    code, _, said = ask("attention", "-p", GIRL, "--raw", "--adapter", str(tmp_path))
    assert code == 2 and said.endswith("; load it on its own base [LM-E139]\n")


def test_a_model_that_is_named_from_inside_has_the_name_of_its_directory(ask, data, monkeypatch):
    monkeypatch.chdir(data / "models/stories260k")
    _, shown, _ = ask("attention", "-p", GIRL, "--raw", "--json", "-m", ".")
    assert json.loads(shown)["provenance"]["model"] == "stories260k"
