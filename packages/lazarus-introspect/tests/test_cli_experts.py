"""The commands about experts: tables, JSON, and one line for bad input."""

import json

import pytest

from lazarus_core.console import run
from lazarus_introspect.cli.app import app

MOE_COMMANDS = {
    "route": (["-p", "def fib(n):", "--raw"], ["router entropy", "probability of each expert"]),
    "utilisation": ([], ["load balance", "(random)", "MaxVio", "layer 1"]),
    "co-activation": (["--top", "2"], ["rate of a random router 0.143"]),
    "specialists": (
        ["--details", "--permutations", "99", "--routers", "19"],
        ["no specialists: no evidence", "19 random routers", "Expert 7 of layer 1: generalist", "not significant"],
    ),
    "ablate": (["-p", "def", "--raw", "--experts", "0,5", "--mode", "reroute"], ["another token than the prediction"]),
    "pipeline": (["--num-prompts", "4"], ["0 -> 1", "(shuffled)"]),
    "vocab-contrib": (["--top-k", "3"], ["consistency", "raised tokens"]),
    "compression": (["--threshold", "0.01"], ["after merging", "(other tokens)"]),
}


@pytest.mark.parametrize("command", MOE_COMMANDS)
def test_commands_of_experts_print_a_table_and_json(command, ask_of, tmp_path):
    words, expected = MOE_COMMANDS[command]
    layers = ["--layers", "0-1" if command == "pipeline" else "1"]
    code, shown, said = ask_of("mixtral", "moe", command, *words, *layers)
    assert (code, said) == (0, "")
    assert [each for each in expected if each not in shown] == []
    page = tmp_path / "a.html"
    code, shown, said = ask_of("mixtral", "moe", command, *words, *layers, "--json", "--html", str(page))
    found = json.loads(shown)
    assert found["command"]["name"] == f"moe {command}" and said == f"wrote {page}\n"
    assert "mixtral" in page.read_text("utf-8")
    assert (code, found["analysis"], len(found["provenance"]["weights"])) == (0, f"moe {command}", 64)
    assert found["ids"] if "-p" in words else all(each["ids"] for each in found["texts"])


@pytest.fixture
def ask_of(data, capsys):
    """Runs a command on a family: (exit code, stdout, stderr)."""

    def asked(family, *words):
        model = str(data / "models/families" / family)
        names = 2 if words[0].startswith("moe") else 1
        with pytest.raises(SystemExit) as ended:
            run(lambda **options: app([*words[:names], "-m", model, *words[names:]], **options), "lazarus-introspect")
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return asked


def test_texts_of_a_file_and_ablated_experts_in_a_text(ask_of, tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"text": f"{label} {n}", "label": label} for label in ("sum", "word") for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    more = ["--layers", "1", "--permutations", "99", "--routers", "19"]
    code, shown, _ = ask_of("gpt_oss", "moe", "specialists", "-d", str(path), "--json", *more)
    assert code == 0 and json.loads(shown)["layers"][0]["labels"] == ["sum", "word"]
    texts = {}
    for mode in ("drop", "renormalise", "reroute"):
        words = ["-p", "a", "--raw", "--layers", "0-3", "--multi", "--expert", "0-5", "--expert-mode", mode, "--json"]
        code, shown, _ = ask_of("gpt_oss", "ablate", *words, "--max-tokens", "3")
        found = json.loads(shown)
        assert code == 0 and found["request"]["config"]["experts"] == [0, 1, 2, 3, 4, 5]
        texts[mode] = found["ablations"][0]["kl"]
    assert len(set(texts.values())) == 3


@pytest.mark.parametrize(
    "family, words, expected",
    [
        ("llama", ["moe", "route", "-p", "a"], "block 0 has no experts [LI-E101]"),
        ("llama", ["ablate", "-p", "a", "--expert", "0"], "block 0 has no experts [LI-E101]"),
        ("mixtral", ["moe", "ablate", "-p", "a", "--experts", "9"], "block 0 has 8 experts, numbered from 0 [LI-E132]"),
        ("mixtral", ["moe", "route", "-p", "a", "--layers", "7"], "4 blocks, numbered from 0 [LI-E101]"),
        ("mixtral", ["moe", "pipeline", "--layers", "1"], "needs two blocks with experts"),
        ("mixtral", ["moe", "compression", "--threshold", "0"], "--threshold 0.0: give a number above 0"),
        ("mixtral", ["moe", "specialists", "--rate", "1"], "--rate 1.0: give a number between 0 and 1"),
        ("mixtral", ["moe", "specialists", "-d", "nix"], "nix"),
        (
            "mixtral",
            ["ablate", "-p", "a", "--expert", "1", "--component", "mlp"],
            "--expert and --component exclude each other",
        ),
        (
            "mixtral",
            ["ablate", "-p", "a", "--expert", "0-6", "--expert-mode", "reroute"],
            "--expert-mode 'reroute': block 0 has 8 experts, of which a token uses 2; ablate at most 6 [LI-E164]",
        ),
        ("mixtral", ["ablate", "-p", "a", "--expert-mode", "reroute"], "--expert-mode has no effect without --expert"),
        ("mixtral", ["ablate", "-p", "a", "--expert", "0", "--method", "noise"], "experts are ablated by"),
    ],
)
def test_bad_input_about_experts_is_one_line(family, words, expected, ask_of):
    code, shown, said = ask_of(family, *words)
    assert (code, shown, said.count("\n")) == (2, "", 1)
    assert expected in said and "Traceback" not in said
