import json
import re
from pathlib import Path
from typing import Any

import pytest

from lazarus_core.console import run
from lazarus_plan import load_plan, read_lengths


def test_build_prints_a_receipt_and_writes_the_plan(command, lengths_file: Path, tmp_path: Path):
    code, out, _ = command("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--predictable")
    assert code == 0 and "provably minimal" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"plan.jsonl", "metadata.json", "stats.json"}


def test_a_dry_run_writes_nothing(command, lengths_file: Path, tmp_path: Path):
    code, _, err = command("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--dry-run")
    assert code == 0 and "nothing was written" in err and not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_a_million_epochs_are_refused_and_a_large_plan_is_announced(command, lengths_file: Path, tmp_path: Path):
    arguments = ("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--predictable")
    code, out, err = command(*arguments, "-e", 10**9)
    assert (code, out) == (2, "") and err.splitlines()[-1].startswith("error: 1,000,000,000 epochs are about 20,000,0")
    assert "planning: about 36,000 placed" in command(*arguments, "-e", 1800, "--dry-run")[2]
    assert "planning:" not in command(*arguments, "-e", 3, "--dry-run")[2]


def test_a_plan_without_a_seed_draws_one_and_records_it(command, lengths_file: Path, tmp_path: Path):
    arguments = ("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "out", "--json", "--force")
    seeds = [json.loads(command(*arguments)[1])["config"]["seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]


def test_info_and_validate_accept_a_sound_plan(command, folder: Path):
    assert command("info", "-p", folder)[0] == 0
    code, out, err = command("validate", "-p", folder, "--strict")
    assert (code, out) == (0, "") and "valid, 0 warning(s)" in err


def test_validate_says_no_with_exit_1_and_names_the_line(command, folder: Path):
    path = folder / "plan.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    code, out, _ = command("validate", "-p", folder)
    assert code == 1 and out.startswith("error LP-E112: plan.jsonl:1:")
    code, _, err = command("info", "-p", folder)
    assert code == 1 and err.count("\n") == 1 and err.startswith("error: plan.jsonl:1:") and "[LP-E112]" in err


def test_strict_makes_warnings_fail(command, tmp_path: Path):
    (tmp_path / "l.jsonl").write_text('{"id":"a","length":60}\n', "utf-8")
    command("build", "-l", tmp_path / "l.jsonl", "-b", 64, "-o", tmp_path / "plan")
    assert command("validate", "-p", tmp_path / "plan")[0] == 0
    assert command("validate", "-p", tmp_path / "plan", "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "-l", "none.jsonl", "-b", "64", "-o", "out"], "none.jsonl does not exist"),
        (["build", "-l", "bad.jsonl", "-b", "64", "-o", "out"], "bad.jsonl:2:"),
        (["build", "-l", "good.jsonl", "-b", "32", "-o", "out"], "--oversize"),
        (["info", "-p", "none"], "none does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text('{"id":"a","length":1}\n{"id":\n', "utf-8")
    Path("good.jsonl").write_text('{"id":"a","length":60}\n', "utf-8")
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ") and words in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "-l", "x", "-b", "0", "-o", "out"],
        ["build", "-l", "x", "-b", "64", "--row-len", "65", "-o", "out"],
        ["build", "-l", "x", "-b", "64", "-o", "out", "--predictable", "--seed", "1"],
        ["shard", "-p", "x", "--world", "2", "--rank", "2"],
    ],
)
def test_bad_usage_is_exit_2(command, arguments):
    assert command(*arguments)[0] == 2


def test_shard_deals_every_row_of_a_step(command, folder: Path):
    lines = [json.loads(command("shard", "-p", folder, "--world", 2, "--rank", r, "--step", 1)[1]) for r in range(2)]
    samples = [sample for line in lines for row in line["rows"] for sample in row["samples"]]
    step = json.loads((folder / "plan.jsonl").read_bytes().splitlines()[1])
    assert sorted(samples) == sorted(step["samples"])


def test_every_command_that_reads_a_plan_answers(command, folder: Path, tmp_path: Path):
    assert command("stats", "-p", folder)[0] == 0
    assert command("stats", "-p", folder, "--html", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    assert "why: best fit" in command("explain", "-p", folder, "--sample", 3, "--world", 2)[1]
    assert "row 0, rank" in command("explain", "-p", folder, "--step", 1, "--world", 2)[1]
    code, out, _ = command("simulate", "-p", folder, "--world", 6, "--kill-at", 3, "--resume-world", 5)
    assert code == 0 and "exactly the plan's rows, each once" in out
    assert json.loads(command("attest", "-p", folder)[1])["predicateType"].startswith("https://slsa.dev")


@pytest.mark.parametrize(("end", "words"), [(0, "no step on 2"), (1, "step 0 on 2"), (2, "steps 0 to 1 on 2")])
def test_simulate_names_the_steps_of_both_parts(command, folder: Path, end: int, words: str):
    assert command("simulate", "-p", folder, "--world", 2, "--kill-at", end, "--resume-world", 3)[1].startswith(words)
    steps = len(load_plan(folder))
    out = command("simulate", "-p", folder, "--world", 2, "--kill-at", steps - end, "--resume-world", 3)[1]
    last = {0: "no step", 1: f"step {steps - 1}", 2: f"steps {steps - 2} to {steps - 1}"}[end]
    assert f" on 2 ranks, {last} on 3: " in out


def test_one_row_and_one_file_are_singular(command, tmp_path: Path):
    (tmp_path / "l.jsonl").write_text('{"id":"a","length":60}\n', "utf-8")
    assert ", 1 row of 64 tokens" in command("build", "-l", tmp_path / "l.jsonl", "-b", 64, "-o", tmp_path / "plan")[1]
    many = command("build", "-l", tmp_path / "l.jsonl", "-b", 64, "-e", 2, "-o", tmp_path / "two", "--predictable")[1]
    assert "2 in 2 epochs, 1 row of" in many


def test_explain_shows_the_text_of_the_rows(command, folder: Path, tmp_path: Path):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"question":"q{n}?"}}\n\n' for n in range(20)), "utf-8")
    assert "question: q7?" in command("explain", "-p", folder, "--sample", 7, "--data", data)[1]
    data.write_text('{"question":"q0"}\n', "utf-8")
    code, _, err = command("explain", "-p", folder, "--sample", 7, "--data", data)
    assert code == 2 and "the data have no row 7" in err


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.json", "rows.txt", "rows.jsonl.gz", "rows.parquet"])
def test_explain_shows_no_lines_of_a_file_whose_rows_are_not_lines(command, folder: Path, tmp_path: Path, name: str):
    (tmp_path / name).write_text("question,answer\n" + "q,a\n" * 20, "utf-8")
    code, out, err = command("explain", "-p", folder, "--sample", 7, "--data", tmp_path / name)
    assert (code, out, err.count("error:")) == (2, "", 1) and f"{name} is not JSON Lines (.jsonl, .ndjson)" in err


def test_explain_shows_the_text_of_a_first_row_behind_a_byte_order_mark(command, folder: Path, tmp_path: Path):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"question":"q{n}?"}}\n' for n in range(20)), "utf-8-sig")
    assert "-- sample 0\nquestion: q0?\n" in command("explain", "-p", folder, "--sample", 0, "--data", data)[1]


def test_a_proof_goes_from_prove_to_check_proof(command, folder: Path, plan, tmp_path: Path):
    assert command("prove", "-p", folder, "--step", 2, "-o", tmp_path / "proof.json")[0] == 0
    assert command("check-proof", tmp_path / "proof.json", "--expect", plan.plan_id)[0] == 0
    assert command("check-proof", tmp_path / "proof.json", "--expect", "0" * 64)[0] == 1
    (tmp_path / "proof.json").write_text("[]", "utf-8")
    assert command("check-proof", tmp_path / "proof.json")[0] == 2


@pytest.mark.parametrize("command_line", ["prove --step 1 -o", "attest -o", "stats --html"])
@pytest.mark.parametrize("name", ["plan.jsonl", "metadata.json", "plan.rows"])
def test_a_result_is_not_written_over_a_plan(command, folder: Path, command_line: str, name: str):
    name_of_command, *options = command_line.split()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, _, err = command(name_of_command, "-p", folder, *options, folder / name)
    assert code == 2 and "belongs to a plan" in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_verify_and_lock_and_materialise_and_diff(command, folder: Path, lengths_file: Path, plan, tmp_path: Path):
    assert command("verify", "-p", folder, "-l", lengths_file, "--rebuild", "--expect", plan.plan_id)[0] == 0
    assert command("verify", "-p", folder, "--sample", 2)[0] == 0
    assert command("lock", "-p", folder, "-o", tmp_path / "lock")[0] == 0
    assert command("materialise", "-k", tmp_path / "lock", "-l", lengths_file, "-o", tmp_path / "again")[0] == 0
    assert command("diff", folder, tmp_path / "again")[:2] == (0, "the plans are the same\n")
    lengths_file.write_bytes(lengths_file.read_bytes().replace(b'"length":5,', b'"length":6,'))
    code, _, err = command("verify", "-p", folder, "-l", lengths_file)
    assert code == 1 and "sample 3 (id 's3') has 6 tokens, the plan has 5" in err
    assert command("materialise", "-k", tmp_path / "lock", "-l", lengths_file, "-o", tmp_path / "other")[0] == 1
    command("rebase", "-p", folder, "--step", 2, "-l", lengths_file, "-o", tmp_path / "child")
    code, out, _ = command("diff", folder, tmp_path / "child")
    assert code == 1 and "first link that changed: lengths" in out and "first difference at step" in out


def test_audit_says_how_far_a_run_came(command, folder: Path, plan, tmp_path: Path):
    from lazarus_plan import AuditLog
    from lazarus_plan.audit import StepDigest
    from lazarus_plan.format import encode_step

    log = AuditLog.start(tmp_path / "audit.jsonl", plan.plan_id)
    for index in range(3):
        log.append(index, StepDigest.of(encode_step(plan, index), [b""]))
    code, _, err = command("audit", "-p", folder, "--log", log.path)
    assert code == 0 and f"followed the plan, steps 0 to 2 of {len(plan)}" in err
    assert command("audit", "-p", folder, "--log", log.path, "--complete")[0] == 1


@pytest.mark.parametrize("output_format", ["text", "json", "github", "sarif"])
def test_findings_come_in_the_format_asked_for(command, folder: Path, output_format: str):
    lines = (folder / "plan.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "plan.jsonl").write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    code, out, _ = command("validate", "-p", folder, "--format", output_format)
    assert code == 1
    if output_format == "json":
        assert json.loads(out)["findings"][0]["code"] == "LP-E112"
    elif output_format == "sarif":
        place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert place["region"] == {"startLine": 1} and place["artifactLocation"]["uri"].endswith("plan.jsonl")
    else:
        start = (
            "error LP-E112: " if output_format == "text" else f"::error file={folder}/plan.jsonl,line=1,title=LP-E112::"
        )
        assert out.startswith(start)


@pytest.mark.parametrize(
    "options",
    [
        ("--bucket-edges", "16,32,64"),
        ("--mode", "padded", "--window", "8"),
        ("--align", "8"),
        ("-l", "SECOND", "--weights", "3,1"),
        ("-l", "SECOND", "--stage", "0", "--stage", "0=1,1=2", "--repeats", "1,2"),
    ],
    ids=" ".join,
)
def test_every_way_of_batching_builds_a_sound_plan(
    command, lengths_file: Path, tmp_path: Path, options: tuple[str, ...]
):
    second = tmp_path / "second.jsonl"
    second.write_text("".join(f'{{"id":"x{n}","length":{n + 1}}}\n' for n in range(30)), "utf-8")
    given = [str(second) if each == "SECOND" else each for each in options]
    row_len = [] if "--bucket-edges" in options else ["--row-len", "64"]
    code, *_ = command(
        "build", "-l", lengths_file, *given, *row_len, "-b", 128, "-o", tmp_path / "plan", "--predictable"
    )
    assert code == 0
    assert command("validate", "-p", tmp_path / "plan")[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--stage", "0=a"),
        ("--stage", "0=3=4"),
        ("--stage", "0,,"),
        ("--weights", "1", "--stage", "0"),
        ("--weights", "1,1", "--mode", "padded"),
        ("--window", "0"),
        ("--bucket-edges", "64,32"),
        ("--row-len", "60", "--align", "8"),
        ("--until", "first", "--stage", "0"),
    ],
    ids=" ".join,
)
def test_settings_that_make_no_sense_are_refused(command, lengths_file: Path, tmp_path: Path, options: tuple[str, ...]):
    code, _, err = command("build", "-l", lengths_file, "-b", 128, "-o", tmp_path / "plan", *options)
    assert code == 2 and "Traceback" not in err and not (tmp_path / "plan").exists()


@pytest.fixture
def batching(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: object) -> str:
        from lazarus_plan.cli.batching import app as batching_app

        monkeypatch.setattr("sys.argv", ["batching", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(batching_app, "batching")
        assert not caught.value.code
        return capsys.readouterr().out

    return call


def test_batching_names_the_way_with_the_fewest_padded_tokens(batching, command, lengths_file: Path, tmp_path: Path):
    found = json.loads(batching("analyze", "-l", lengths_file, "-b", 256, "--json"))
    assert found == sorted(found, key=lambda each: (each["padding"], each["row_len"]))
    suggested = json.loads(batching("suggest", "-l", lengths_file, "-b", 256, "--json"))
    assert suggested["padding"] == found[0]["padding"] and suggested["why"]
    arguments = suggested["command"].split()[4:-1]
    built = json.loads(command("build", *arguments, tmp_path / "plan", "--predictable", "--json")[1])
    tokens, room = built["stats"]["efficiency"]
    assert room - tokens == suggested["padding"]
    assert "20 samples, 3 to 64 tokens" in batching("histogram", "-l", lengths_file, "--bins", 5)


def test_info_lists_the_rows_of_the_first_steps(command, lengths_file: Path, tmp_path: Path):
    command("build", "-l", lengths_file, "-b", 128, "-e", 2, "--predictable", "-o", tmp_path / "plan")
    plan = load_plan(tmp_path / "plan")
    found = json.loads(command("info", "-p", tmp_path / "plan", "--show-batches", 2, "--json")[1])["batches"]
    assert [[tuple(row["samples"]) for row in each["rows"]] for each in found] == [
        [tuple(segment.sample for segment in row.segments) for row in plan.step(index).rows] for index in range(2)
    ]
    shown = command("info", "-p", tmp_path / "plan", "--show-batches", 2)[1]
    assert shown.startswith(command("info", "-p", tmp_path / "plan")[1])
    assert re.findall(r"(?m)^step (\d+)", shown) == ["0", "1"] and "rank" not in shown
    whole = json.loads(command("info", "-p", tmp_path / "plan", "--show-batches", 10**6, "--json")[1])
    assert len(whole["batches"]) == len(plan)


def test_a_lock_has_no_rows_to_list(command, lengths_file: Path, tmp_path: Path):
    command("build", "-l", lengths_file, "-b", 128, "--predictable", "-o", tmp_path / "plan")
    command("lock", "-p", tmp_path / "plan", "-o", tmp_path / "lock")
    code, _, said = command("info", "-p", tmp_path / "lock", "--show-batches", 1)
    assert (code, "which has no rows" in said) == (2, True)


def test_batching_measures_the_edges_that_are_asked_for(batching, lengths_file: Path):
    length = read_lengths(lengths_file).length
    for name in ("-l", "--lengths", "--cache"):
        found = json.loads(batching("analyze", name, lengths_file, "-b", 256, "--bucket-edges", "16,40", "--json"))
        asked = next(each for each in found if each["bucket_edges"] == [16, 40, 64])
        assert asked["padding"] == sum(min(edge for edge in (16, 40, 64) if edge >= each) - each for each in length)
    assert found == sorted(found, key=lambda each: (each["padding"], each["row_len"]))


@pytest.mark.parametrize("edges", ["40,16", "16,16", "0,16", "16,300", "a"])
def test_edges_that_are_none_are_refused(edges: str, lengths_file: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    from lazarus_plan.cli.batching import app as batching_app

    words = ["batching", "analyze", "-l", str(lengths_file), "-b", "256", "--bucket-edges", edges]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        run(batching_app, "batching")
    assert caught.value.code == 2
    assert "--bucket-edges" in capsys.readouterr().err


def test_json_of_lock_materialise_ci_and_rebase(command, folder: Path, lengths_file: Path, plan, tmp_path: Path):
    lock, child = tmp_path / "a.lock", tmp_path / "child"

    def object_of(*words: object, expected: int = 0) -> dict[str, Any]:
        code, out, _ = command(*words, "--json")
        assert code == expected
        return json.loads(out)

    assert object_of("lock", "-p", folder, "-o", lock) == {"lock": str(lock), "plan_id": plan.plan_id, "changes": []}
    renewed = object_of("lock", "--update", "-o", lock, "-l", lengths_file)
    assert (renewed["plan_id"], len(renewed["changes"])) == (plan.plan_id, 1)
    made = object_of("materialise", "-k", lock, "-l", lengths_file, "--check")
    assert (made["ok"], made["plan_id"], made["findings"]) == (True, plan.plan_id, [])
    review = object_of("ci", "-k", lock, "-l", lengths_file)
    assert (review["ok"], review["plan_id"], review["changes"]) == (True, plan.plan_id, None)
    assert object_of("validate", "-p", lock)["ok"] is True
    assert object_of("verify", "-p", lock, "--expect", plan.plan_id)["ok"] is True
    rebased = object_of("rebase", "-p", folder, "--step", 1, "-l", lengths_file, "-o", child, "--seed", 9)
    assert (rebased["plan_id"], rebased["parent"]["plan_id"]) == (load_plan(child).plan_id, plan.plan_id)

    lengths_file.write_text(re.sub(r'"length": ?\d+', '"length":1', lengths_file.read_text("utf-8"), count=1), "utf-8")
    broken = object_of("ci", "-k", lock, "-l", lengths_file, expected=1)
    assert (broken["ok"], broken["findings"][0]["code"][:4]) == (False, "LP-E")
    assert object_of("materialise", "-k", lock, "-l", lengths_file, "--check", expected=1)["ok"] is False


@pytest.mark.parametrize("words", [("ci",), ("materialise", "-k", "x", "-l", "y", "--check")])
def test_json_and_another_format_contradict_each_other(command, words):
    code, out, err = command(*words, "--json", "--format", "sarif")
    assert (code, out) == (2, "") and "--json and --format sarif contradict each other" in err


def test_quiet_prints_the_result_alone(command, folder: Path, lengths_file: Path, tmp_path: Path):
    arguments = ("build", "-l", lengths_file, "-b", 128, "--predictable")
    assert command(*arguments, "-o", tmp_path / "a", "-q")[2] == ""
    assert "wrote" in command(*arguments, "-o", tmp_path / "b")[2]
    code, out, err = command("check-proof", tmp_path / "none.json", "-q")
    assert (code, out) == (2, "") and err.startswith("error: ")
    (tmp_path / "plan.jsonl").write_text("")
    code, out, err = command("audit", "-p", folder, "--log", folder / "plan.jsonl", "--quiet")
    assert code != 0 and err
