"""`lazarus-plan ci` and what it rests on: reviews, rows by id, formats for other programs, locks one can live with."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.console import run
from lazarus_core.errors import LazarusError
from lazarus_core.jsonl import read_objects
from lazarus_core.source_files import find_marker, has_markers
from lazarus_plan import LengthCache, LengthRow, PlanError, load_plan, rebase_plan, save_plan
from lazarus_plan.ci import data as data_module
from lazarus_plan.ci import review_lock
from lazarus_plan.ci.data import DataFiles, read_texts
from lazarus_plan.ci.words import to_markdown, to_text
from lazarus_plan.cli.app import app
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_plan.findings import Finding
from lazarus_plan.lengths.changes import compare_rows
from lazarus_plan.locks.inputs import load_parent
from lazarus_plan.locks.lock import materialise, update_lock, write_lock
from lazarus_plan.report.formats import as_github, as_sarif
from lazarus_plan.verify import verify_plan

PACKAGE = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("repository", Path(__file__).with_name("repository.py"))
assert _SPEC is not None and _SPEC.loader is not None
repository = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(repository)


@pytest.fixture
def repo(tmp_path: Path) -> Any:
    return repository.Repository(tmp_path / "repo", rows=60).make_all()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lazarus-plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(app, "lazarus-plan")
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


# Rows by id


def cache(rows: list[tuple[str, str]]) -> LengthCache:
    """Ids and contents; a content's length is its own."""
    return LengthCache.from_rows(LengthRow(i, len(c), h=f"{hash_of(c):08x}", row=f"{hash_of(c):08x}") for i, c in rows)


def hash_of(content: str) -> int:
    return int.from_bytes(content.encode().ljust(4, b"\0")[:4], "little")


contents = st.lists(st.text("abc", min_size=1, max_size=3), max_size=8)


@given(contents, contents, st.booleans())
def test_every_row_of_both_sides_is_accounted_for(old: list[str], new: list[str], has_own_ids: bool):
    def ids(content: list[str]) -> list[tuple[str, str]]:
        return [
            (f"{each}{content[:at].count(each)}" if has_own_ids else str(at), each) for at, each in enumerate(content)
        ]

    found = compare_rows([cache(ids(old))], [cache(ids(new))])
    assert len(old) - len(found.removed) == len(new) - len(found.added) >= len(found.changed)
    # What is removed or changed leaves the old contents, what is added or changed enters: the rest is the same bag.
    rest_old = sorted(old[at] for at in set(range(len(old))) - {row.old for row in (*found.removed, *found.changed)})
    rest_new = sorted(new[at] for at in set(range(len(new))) - {row.new for row in (*found.added, *found.changed)})
    assert rest_old == rest_new
    assert has_own_ids <= (not found.changed)


def test_ids_that_are_positions_do_not_make_every_later_row_a_changed_one():
    old = [(str(n), f"row {n}") for n in range(20)]
    new = [(str(n), content) for n, (_, content) in enumerate([*old[:5], ("x", "new!"), *old[5:]])]
    rows = [
        LengthCache.from_rows(LengthRow(i, 9, row=f"{abs(hash(c)) % 2**32:08x}") for i, c in each)
        for each in (old, new)
    ]
    found = compare_rows([rows[0]], [rows[1]])
    assert [row.id for row in found.added] == ["5"] and not found.removed and not found.changed
    assert found.num_moved == 15


def test_other_tokens_of_the_same_rows_are_told_apart_from_other_rows(repo: Any):
    before = repo.cache()
    repo.measure("halves")
    found = compare_rows([before], [repo.cache()])
    assert (found.num_encoded, found.changed, found.added, found.removed) == (60, (), (), ())


def test_diff_names_changed_rows_where_both_length_caches_are_given(repo: Any, command, tmp_path: Path):
    old = tmp_path / "old.jsonl"
    old.write_bytes(repo.lengths.read_bytes())
    repo.plan.rename(tmp_path / "before")
    rows = repo.read()
    rows[3]["text"] += "!"
    repo.write([*rows[1:], repository.row(99)])
    repo.make_all()
    code, out, _ = command("diff", tmp_path / "before", repo.plan, "-l", repo.lengths, "-l", old)
    assert code == 1 and "added: 'r99'\nremoved: 'r0'\nchanged: 'r3'" in out
    assert "rows: not compared" in command("diff", tmp_path / "before", repo.plan)[1]
    code, _, err = command("diff", tmp_path / "before", repo.plan, "-l", repo.lengths)
    assert code == 2 and "give the caches of both plans" in err


# Reviews


def test_a_review_compares_the_base_and_the_head_of_two_folders(repo: Any, tmp_path: Path):
    before = tmp_path / "before"
    before.mkdir()
    for path in (repo.data, repo.lengths, *repo.lock.iterdir()):
        (before / path.name).write_bytes(path.read_bytes())
    rows = repo.read()
    repo.write([*rows[:7], rows[7] | {"text": "other words"}, *rows[8:]])
    repo.make_all()
    found = review_lock(repo.lock, base=before)
    assert found.is_ok(True) and found.changes is not None and found.changes.documents is not None
    (text,) = found.changes.texts
    assert (text.row.id, text.kind) == ("r7", "changed") and "other words" in str(text.new) and text.old != text.new
    assert found.changes.documents["equal_steps"][0] < found.changes.documents["equal_steps"][1]


def test_a_base_without_length_caches_is_compared_by_its_documents(repo: Any, tmp_path: Path):
    for path in repo.lock.iterdir():
        (tmp_path / "before").mkdir(exist_ok=True)
        (tmp_path / "before" / path.name).write_bytes(path.read_bytes())
    repo.write([*repo.read(), repository.row(60)])
    repo.make_all()
    text = to_text(review_lock(repo.lock, base=tmp_path / "before"))
    assert "has no length caches: documents compared" in text and "first link that changed: data" in text


def test_several_sources_are_compared_each_with_its_own_data(tmp_path: Path):
    from lazarus_plan import build_plan

    repos = [repository.Repository(tmp_path / name, rows=20) for name in ("a", "b")]
    for each in repos:
        each.measure()
    save_plan(build_plan([each.cache() for each in repos], repository.CONFIG), tmp_path / "plan")
    write_lock(tmp_path / "plan", tmp_path / "lock")
    given_files = {"lengths": [each.lengths for each in repos], "data": [each.data for each in repos]}
    assert review_lock(tmp_path / "lock", **given_files).is_ok(True)
    repos[1].write([*repos[1].read()[1:]])
    found = review_lock(tmp_path / "lock", **given_files)
    assert [(each.code, each.file) for each in found.findings] == [("LP-E140", str(repos[1].data))]
    with pytest.raises(PlanError, match="1 data files are given"):
        review_lock(tmp_path / "lock", lengths=given_files["lengths"], data=[repos[0].data])


def test_text_of_rows_ends_no_code_block_and_no_workflow_line(repo: Any):
    repo.commit()
    rows = repo.read()
    rows[0]["text"] = "```\n::error::x\n\x1b[31m ~~~ @someone <!-- `` -->" + rows[0]["text"]
    repo.write(rows)
    repo.make_all()
    found = review_lock(repo.lock, base="HEAD")
    assert "\x1b" not in to_text(found)
    assert not [line for line in to_text(found).splitlines() if line.startswith("::")]
    markdown = to_markdown(found)
    assert "\n````diff\n" in markdown and markdown.endswith("\n````")


def test_text_of_a_first_row_has_no_byte_order_mark(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', "utf-8-sig")
    assert read_texts(DataFiles((tmp_path / "a.jsonl",)), [0, 1]) == {0: '{"text": "one"}', 1: '{"text": "two"}'}


def test_text_is_shown_only_of_data_that_the_lengths_were_built_from(repo: Any):
    rows = repo.read()
    repo.write([rows[0] | {"text": "not measured"}, *rows[1:]])
    repo.commit()  # a base whose data are not those of its lengths
    repo.write([rows[0] | {"text": "measured"}, *rows[1:]])
    repo.make_all()
    found = review_lock(repo.lock, base="HEAD")
    assert found.is_ok() and found.changes is not None
    (text,) = found.changes.texts
    assert text.row.id == "r0" and text.old is None and "measured" in str(text.new)


@pytest.mark.parametrize("damage", ["missing lock", "unknown commit", "no lengths", "wrong number of lengths"])
def test_bad_input_of_a_review_is_one_line_and_exit_2(repo: Any, command, damage: str):
    repo.commit()
    arguments = {
        "missing lock": ["-k", repo.root / "nothing"],
        "unknown commit": ["-k", repo.lock, "--base", "nothing"],
        "no lengths": ["-k", repo.lock],
        "wrong number of lengths": ["-k", repo.lock, "-l", repo.lengths, "-l", repo.lengths],
    }[damage]
    if damage == "no lengths":
        repo.lengths.unlink()
    code, out, err = command("ci", *arguments)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1


def test_reports_come_by_suffix_and_replace_only_reports(repo: Any, command, tmp_path: Path):
    reports = [tmp_path / f"report{suffix}" for suffix in (".txt", ".md", ".json", ".sarif")]
    for _ in range(2):
        assert command("ci", "-k", repo.lock, *(part for each in reports for part in ("--report", each)))[0] == 0
    assert json.loads(reports[2].read_bytes())["ok"] and json.loads(reports[3].read_bytes())["version"] == "2.1.0"
    notes = tmp_path / "notes.md"
    notes.write_text("mine", "utf-8")
    code, _, err = command("ci", "-k", repo.lock, "--report", notes)
    assert code == 2 and "LP-E010" in err and notes.read_text("utf-8") == "mine"
    assert command("ci", "-k", repo.lock, "--report", notes, "--force")[0] == 0
    assert command("ci", "-k", repo.lock, "--report", tmp_path / "x.html")[0] == 2


def test_a_revision_that_looks_like_an_option_is_no_option(repo: Any, command):
    repo.commit()
    code, _, err = command("ci", "-k", repo.lock, "--base=--output=x")
    assert code == 2 and "git finds no commit '--output=x'" in err and not (repo.root / "x").exists()


def test_lengths_that_cannot_be_planned_are_a_no_and_not_bad_input(repo: Any):
    repo.write([*repo.read(), {"id": "long", "text": "x" * 500}])
    repo.measure()
    found = review_lock(repo.lock)
    assert [each.code for each in found.findings] == ["LP-E131"] and not found.is_ok()


def test_data_that_git_gave_other_line_ends_is_told_so(repo: Any):
    repo.data.write_bytes(repo.data.read_bytes().replace(b"\n", b"\r\n"))
    (finding,) = review_lock(repo.lock).findings
    assert finding.code == "LP-E140" and "core.autocrlf" in finding.message and '"*.jsonl -text"' in finding.message


def test_a_pointer_of_git_lfs_is_data_that_was_not_compared(repo: Any):
    repo.data.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (finding,) = review_lock(repo.lock).findings
    assert finding.code == "LP-W206" and "Git LFS pointer" in finding.message


# For other programs


def test_sarif_has_rules_with_texts_fingerprints_and_relative_paths(
    repo: Any, command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(repo.root)
    repo.write(repo.read()[1:])
    code, out, _ = command("ci", "--format", "sarif")
    (log,) = json.loads(out)["runs"]
    (result,) = log["results"]
    rule = log["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert code == 1 and rule["id"] == result["ruleId"] == "LP-E140"
    assert rule["shortDescription"]["text"] and rule["help"]["text"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "rows.jsonl"
    assert re.fullmatch("[0-9a-f]{64}", result["partialFingerprints"]["lazarusFinding/v1"])


def test_a_fingerprint_outlives_other_words_and_tells_findings_apart():
    def prints(*messages: str) -> list[str]:
        log = json.loads(as_sarif(Path("lock"), [Finding("LP-E140", each, file="a.jsonl") for each in messages]))
        return [each["partialFingerprints"]["lazarusFinding/v1"] for each in log["runs"][0]["results"]]

    assert prints("row 1", "row 2") == prints("row 8", "row 9") and len(set(prints("a", "b"))) == 2


def test_paths_with_colons_and_commas_stay_in_their_property():
    assert as_github(Path("x"), [Finding("LP-E140", "100%\nmore", file="a:b,c")]) == (
        "::error file=a%3Ab%2Cc,title=LP-E140::100%25\\u000amore"
    )


@pytest.mark.parametrize("output_format", ["json", "github", "sarif"])
def test_verify_materialise_diff_and_audit_answer_in_every_format(
    repo: Any, command, tmp_path: Path, output_format: str
):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_bytes(repo.lengths.read_bytes().replace(b'"length":6,', b'"length":7,'))
    log = tmp_path / "audit.jsonl"
    log.write_bytes(b'{"lazarus_audit":1,"plan_id":"sha256:' + b"0" * 64 + b'"}\n')
    for said in (
        ("verify", "-p", repo.plan, "-l", wrong),
        ("materialise", "-k", repo.lock, "-l", wrong, "--check"),
        ("audit", "-p", repo.plan, "--log", log),
    ):
        code, out, _ = command(*said, "--format", output_format)
        assert code == 1 and re.search(r"LP-E1[3457]\d", out), out
    assert command("verify", "-p", repo.plan, "-l", repo.lengths, "--format", output_format)[0] == 0
    assert command("diff", repo.plan, repo.lock, "--format", output_format)[0] == 0


@pytest.mark.parametrize("output_format", ["text", "markdown", "json", "github", "sarif"])
def test_findings_name_commands_as_they_can_be_called(repo: Any, command, output_format: str):
    repo.lengths.write_bytes(repo.lengths.read_bytes().replace(b'"length":6,', b'"length":7,'))
    code, out, _ = command("ci", "-k", repo.lock, "--format", output_format)
    assert code == 1 and "lazarus-plan lock --update" in out and "lazarus data batchplan" not in out


def test_the_action_and_the_hooks_call_commands_that_exist(command):
    hooks = yaml.safe_load((PACKAGE / ".pre-commit-hooks.yaml").read_text("utf-8"))
    action = yaml.safe_load((PACKAGE / "action.yml").read_text("utf-8"))
    assert [hook["entry"].split()[1] for hook in hooks] == ["validate", "ci"]
    names = (
        "a.jsonl",
        "a.jsonl.gz",
        "a.ndjson",
        "a.json",
        "a.csv",
        "a.tsv",
        "a.parquet",
        "a.txt",
        "a.md",
        "a.idx",
        "a.bin",
    )
    assert all(re.search(hooks[1]["files"], name) for name in names), "data in any format that is read"
    used = set(re.findall(r"--[a-z]+(?= \"\$(?:LOCK|BASE|PARENT|path|report))", action["runs"]["steps"][1]["run"]))
    known = command("ci", "--help")[1]
    assert used == {"--lock", "--base", "--parent", "--lengths", "--data", "--report"} and all(
        name in known for name in used
    )


# Locks one can live with


@pytest.mark.parametrize(
    "words",
    ["stats -p", "explain --step 0 -p", "shard --world 2 --rank 0 -p", "prove --step 0 -p", "attest -p"],
)
def test_a_command_that_needs_steps_names_the_way_from_a_lock_to_its_plan(repo: Any, command, words: str):
    code, _, err = command(*words.split(), repo.lock)
    assert (code, err) == (
        1,
        f"error: {repo.lock} is a lock, which has no steps: make its plan with `lazarus-plan materialise` [LP-E151]\n",
    )


def test_validate_info_and_verify_read_a_lock(repo: Any, command):
    assert command("validate", "-p", repo.lock, "--strict")[0] == 0
    assert "lock of" in command("info", "-p", repo.lock)[1]
    assert json.loads(command("info", "-p", repo.lock, "--json")[1])["plan_id"] == load_plan(repo.plan).plan_id
    code, out, _ = command("verify", "-p", repo.lock, "-l", repo.lengths, "-d", repo.data, "--rebuild")
    assert code == 0 and "rebuild: the plan of the lock, to the byte" in out and "SHA-256 of 1 file recomputed" in out


@pytest.mark.parametrize("name", ["metadata.json", "fingerprints.json", "stats.json"])
def test_a_lock_edited_anywhere_is_refused(repo: Any, command, name: str):
    path = repo.lock / name
    text = path.read_text("utf-8")
    digit = list(re.finditer(r"\d(?=,\n)", text))[-1].start()
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :], "utf-8")
    assert command("validate", "-p", repo.lock)[0] == command("info", "-p", repo.lock)[0] == 1
    with pytest.raises(CorruptPlan):
        list(verify_plan(repo.lock, caches=[repo.cache()]))


def test_a_plan_that_lost_its_lines_is_no_lock(repo: Any, command):
    (repo.plan / "plan.jsonl").unlink()
    assert (repo.plan / "plan.idx").exists()
    code, _, err = command("validate", "-p", repo.plan)
    assert code == 1 and "plan.jsonl is missing" in err


def test_verify_of_a_lock_finds_other_lengths_and_another_pin(repo: Any):
    with pytest.raises(StalePlan, match="pinned"):
        list(verify_plan(repo.lock, expect="0" * 64))
    repo.write(repo.read()[:-1])
    repo.measure()
    with pytest.raises(StalePlan, match="the lock was made from"):
        list(verify_plan(repo.lock, caches=[repo.cache()]))


def test_update_renews_a_lock_and_leaves_a_sound_one_alone(repo: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # another build time is no reason to write
    before = {path.name: path.read_bytes() for path in repo.lock.iterdir()}
    assert update_lock(repo.lock, [repo.cache()])[1] == ["the plans are the same"]
    assert {path.name: path.read_bytes() for path in repo.lock.iterdir()} == before
    repo.write([*repo.read(), repository.row(60)])
    repo.measure()
    plan, changes = update_lock(repo.lock, [repo.cache()])
    assert "first link that changed: data" in changes[0]
    assert materialise(repo.lock, [repo.cache()]).plan_id == plan.plan_id


def test_update_mends_a_lock_that_a_merge_left_contradicting_itself(repo: Any):
    path = repo.lock / "metadata.json"
    path.write_text(path.read_text("utf-8").replace('"token_budget": 1024', '"token_budget": 512'), "utf-8")
    with pytest.raises(CorruptPlan):
        materialise(repo.lock, [repo.cache()])
    plan, changes = update_lock(repo.lock, [repo.cache()])
    assert "contradicted itself" in changes[0] and plan.metadata.config.token_budget == 512
    assert review_lock(repo.lock).is_ok()


def test_update_refuses_a_whole_plan(repo: Any):
    with pytest.raises(PlanError, match="whole plan"):
        update_lock(repo.plan, [repo.cache()])


def test_materialise_check_writes_nothing(repo: Any, command):
    before = sorted(repo.root.rglob("*"))
    code, out, err = command("materialise", "-k", repo.lock, "-l", repo.lengths, "--check")
    assert code == 0 and out.startswith("sha256:") and "data not compared" in err
    assert sorted(repo.root.rglob("*")) == before
    assert command("materialise", "-k", repo.lock, "-l", repo.lengths)[0] == 2


@pytest.fixture
def child(repo: Any) -> Path:
    """A rebased plan: 10 rows more after two steps."""
    parent = load_plan(repo.plan)
    repo.write([*repo.read(), *(repository.row(number) for number in range(60, 70))])
    repo.measure()
    save_plan(rebase_plan(parent, 2, repo.cache()), repo.plan.with_name("child"))
    return repo.plan.with_name("child")


def test_the_lock_of_a_rebased_plan_is_built_with_its_parent(repo: Any, child: Path, tmp_path: Path):
    with pytest.raises(PlanError, match="only with its parent") as caught:
        write_lock(child, tmp_path / "lock")
    assert caught.value.code == "LP-E134"
    parent = load_plan(repo.plan)
    write_lock(child, tmp_path / "lock", parent)
    with pytest.raises(PlanError, match="give the parent's plan or lock"):
        materialise(tmp_path / "lock", [repo.cache()])
    again = materialise(tmp_path / "lock", [repo.cache()], tmp_path / "again", parent)
    assert again.plan_id == load_plan(child).plan_id == load_plan(tmp_path / "again").plan_id
    assert review_lock(tmp_path / "lock", lengths=[repo.lengths], parent=repo.plan).is_ok()


def test_a_lock_is_not_renewed_under_another_parent(repo: Any, child: Path, tmp_path: Path):
    parent = load_plan(repo.plan)
    write_lock(child, tmp_path / "lock", parent)
    before = (tmp_path / "lock" / "metadata.json").read_bytes()
    other = rebase_plan(parent, 3, repo.cache())
    with pytest.raises(StalePlan, match="the parent that was given"):
        update_lock(tmp_path / "lock", [repo.cache()], other)
    assert (tmp_path / "lock" / "metadata.json").read_bytes() == before
    assert update_lock(tmp_path / "lock", [repo.cache()], parent)[1] == ["the plans are the same"]


def test_a_rebased_plan_that_is_committed_whole_needs_no_parent(repo: Any, child: Path):
    assert review_lock(child, lengths=[repo.lengths], data=[repo.data]).is_ok(True)
    repo.write(repo.read()[:-1])
    repo.measure()
    found = review_lock(child, lengths=[repo.lengths], data=[repo.data])
    assert not found.is_ok() and "cannot be built from these lengths" in found.findings[0].message


def test_lengths_beside_the_folder_of_a_base_that_are_not_its_own_name_no_rows(repo: Any):
    before = repo.root / "before.lock"
    before.mkdir()
    for path in repo.lock.iterdir():
        (before / path.name).write_bytes(path.read_bytes())
    repo.write(repo.read()[1:])
    repo.make_all()
    found = review_lock(repo.lock, base=before)
    assert found.changes is not None and found.changes.rows is None
    assert "the lock of" in found.changes.note and found.changes.documents is not None


def test_the_parent_may_be_a_lock_with_its_lengths(repo: Any, child: Path, tmp_path: Path):
    lengths = tmp_path / "parent.jsonl"
    new = repo.lengths.read_bytes()
    repo.write(repo.read()[:60])
    repo.measure()
    lengths.write_bytes(repo.lengths.read_bytes())
    repo.lengths.write_bytes(new)
    parent = load_parent(repo.lock, [lengths])
    assert parent.plan_id == load_plan(repo.plan).plan_id
    with pytest.raises(StalePlan):
        load_parent(repo.lock)  # finds the child's lengths beside it
    with pytest.raises(StalePlan, match="the parent that was given"):
        write_lock(child, tmp_path / "lock", load_plan(child))


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD\n", "||||||| base\r\n", ">>>>>>> theirs\n", ">>>>>>>\n"])
def test_markers_of_a_conflict_are_found_at_the_beginning_of_a_line(marker: str, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b'{"id":"a"}\n' + marker.encode())
    assert has_markers(path.read_bytes()) and find_marker(path) == 2
    assert not has_markers(b"a " + marker.encode()) and not has_markers(b"=======\n") and not has_markers(b"<<<<<<<<\n")


def test_a_conflict_in_any_json_lines_is_called_that(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text":"a"}\n<<<<<<< HEAD\n{"text":"b"}\n=======\n{"text":"c"}\n>>>>>>> theirs\n')
    with pytest.raises(LazarusError, match=r"rows\.jsonl:2.*a merge conflict: keep the lines that you want"):
        list(read_objects(path))


@pytest.mark.parametrize("ends", [b"\r", b"\n", b""])
def test_line_ends_are_told_apart_from_other_changes_wherever_blocks_end(
    repo: Any, monkeypatch: pytest.MonkeyPatch, ends: bytes
):
    content = repo.data.read_bytes() + ends
    repo.data.write_bytes(content)
    for size in (1, 2, 7, len(content)):
        monkeypatch.setattr("lazarus_plan.ci.data.BLOCK_BYTES", size)
        crlf = repo.data.with_name("crlf")
        crlf.write_bytes(content.replace(b"\n", b"\r\n"))
        assert data_module.sha256_of_lf(crlf) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["metadata.json", "fingerprints.json", "stats.json"])
def test_crlf_in_a_lock_is_told_with_the_line_for_gitattributes(repo: Any, command, monkeypatch, name: str):
    monkeypatch.chdir(repo.root)  # a message cuts long paths, as those of temporary folders
    path = repo.lock / name
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    code, _, err = command("info", "-p", repo.lock.relative_to(repo.root))
    assert code == 1 and "core.autocrlf" in err and '-text" to .gitattributes' in err


def test_lock_says_what_to_put_into_gitattributes(repo: Any, command, tmp_path: Path):
    code, _, err = command("lock", "-p", repo.plan, "-o", tmp_path / "new.lock")
    assert code == 0 and "`new.lock/** -text` in .gitattributes" in err
