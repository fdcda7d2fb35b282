"""`lazarus gym audit`: every fault is found by its name, and our own tasks have none."""

import asyncio
import itertools
import json
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_gym import generate_tasks, write_samples
from lazarus_gym.__main__ import main
from lazarus_gym.audit import (
    CANARIES,
    CHECKS,
    AuditConfig,
    AuditReport,
    AuditTarget,
    as_json,
    as_sarif,
    as_text,
    audit_subjects,
    checks,
    find_target,
)
from lazarus_gym.audit.canaries import is_same, wrong_answers
from lazarus_gym.environments import GAMES
from lazarus_gym.errors import AuditError, OpenEnvError, SamplesError
from lazarus_gym.exports import ExportConfig, export_tasks
from lazarus_gym.openenv import OpenEnvConfig
from lazarus_gym.servers import OpenEnvServerConfig, serve_openenv
from lazarus_gym.task_folder import write_task_folder
from lazarus_gym.tasks.families import FAMILIES, generate_set
from suite import thinned

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def report() -> AuditReport:
    target = AuditTarget("toys:*", "audit_toys", path=(HERE,), wall_s=0.4)
    return audit_subjects(target, AuditConfig(items=3, draws=4))


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in CHECKS if check != "canary_file"])
def test_each_fault_is_found_by_its_name(report: AuditReport, check: str):
    also = {"hang": ["ends"], "hash_seed": ["process"]}.get(check, [])
    assert report.of_check(check) == [check, *also]


@pytest.mark.slow
def test_a_task_without_fault_has_no_finding(report: AuditReport):
    assert not [each for each in report.findings if each.subject == "clean"]


@pytest.mark.slow
def test_no_fault_has_other_findings(report: AuditReport):
    for each in report.findings:
        expected = {"ends": {"hang"}, "process": {"process", "hash_seed"}}.get(each.subject, {each.subject})
        assert each.check in expected, each
        assert "\n" not in each.message


@pytest.mark.slow
def test_nothing_reached_the_system(report: AuditReport):
    assert not Path("/tmp/lazarus-audit-toy").exists()
    assert not report.of_check("canary_file")


@pytest.mark.slow
def test_the_formats_hold_every_finding(report: AuditReport):
    text = as_text(report).splitlines()
    assert len(text) == 1 + len({each.check for each in report.findings}) + len(report.findings) + 1
    found = json.loads(as_json(report))
    assert not found["ok"]
    assert len(found["findings"]) == len(report.findings)
    assert found["checks"]["executes"] == ["executes"]
    (run,) = json.loads(as_sarif(report))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) == len(report.findings)
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])
    prints = [each["partialFingerprints"]["lazarusAudit/v1"] for each in run["results"]]
    assert len(set(prints)) == len(prints)


def test_there_are_fifteen_canaries_of_different_names():
    assert len({each.name for each in CANARIES}) == 15


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_the_right_answer_is_no_canary(question: str, right: str):
    assert not any(is_same(text, right) for text in wrong_answers(question, right, "/none", {"right": right}).values())


def test_the_path_of_the_canary_file_makes_no_answer_right():
    assert len(wrong_answers("?", "7", "/tmp/x", {})) == 15
    found = wrong_answers("?", "7", "/tmp/x7", {})  # a verifier reads a 7 in answers that name the path
    assert len(found) == 13 and not any(is_same(text, "7") for text in found.values())


def test_the_folder_of_an_audit_has_no_digits(monkeypatch: pytest.MonkeyPatch):
    """So that every audit tries the same answers."""
    monkeypatch.setattr(checks.tempfile, "tempdir", "/tmp")
    for _ in range(50):
        with checks._folder_without_digits() as folder:
            assert folder.is_dir() and not any(map(str.isdigit, str(folder)))
        assert not folder.exists()


def gym(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Runs the command in this process and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lazarus-gym", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.mark.slow
def test_the_command_passes_our_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    sarif = tmp_path / "findings.sarif"
    names = "lazarus:mastermind,comparison,calculator_call"
    assert gym(monkeypatch, "audit", names, "--items", "2", "--draws", "4", "--json", "--sarif", str(sarif)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["tasks"] == ["mastermind", "comparison", "calculator_call"]
    assert json.loads(sarif.read_text())["runs"][0]["results"] == []


@pytest.mark.thorough
def test_none_of_ours_has_a_finding():
    report = audit_subjects(find_target("lazarus:*"), AuditConfig(items=9, draws=24))
    assert report.findings == ()
    assert len(report.subjects) >= 20


def test_the_command_ends_with_1_on_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    tasks = tmp_path / "tasks.jsonl"
    write_samples(generate_tasks(4, kinds=["addition"]), tasks)
    assert gym(monkeypatch, "audit", str(tasks), "--draws", "2", "--items", "2") == 0
    tasks.write_text(tasks.read_text().replace('"answer":', '"answer":1'))
    capsys.readouterr()
    assert gym(monkeypatch, "audit", str(tasks), "--draws", "2", "--items", "2") == 1
    assert "does not pay its own answer" in capsys.readouterr().out


@contextmanager
def foreign_server() -> Iterator[str]:
    """An OpenEnv server with faults: questions change, every answer is paid, and `True` is an error."""
    from websockets.sync.server import serve

    numbers = itertools.count()

    def answer(connection: Any) -> None:
        for content in connection:
            message = json.loads(content)
            data: dict[str, Any] = {"observation": {"text": f"question {next(numbers)}"}, "reward": None, "done": False}
            if message["type"] == "step":
                if message["data"]["message"] == "True":
                    connection.send(json.dumps({"type": "error", "data": {"code": "EXECUTION_ERROR", "message": "no"}}))
                    continue
                data |= {"reward": 1.0, "done": True}
            connection.send(json.dumps({"type": "observation", "data": data}))

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def test_the_faults_of_a_server_are_found():
    with foreign_server() as address:
        config = OpenEnvConfig(address=address, action_field="message", timeout_s=5)
        report = audit_subjects(AuditTarget(address, "", address=config), AuditConfig(items=1, draws=4))
    assert {each.check for each in report.findings} == {"wrong", "empty", "crash", "order", "process", "no_oracle"}
    assert set(report.protections.values()) == {"none"}


def test_our_server_has_no_finding():
    pytest.importorskip("uvicorn")
    loop, stopped, ports = asyncio.new_event_loop(), asyncio.Event(), queue.Queue[int]()

    async def run() -> None:
        async with serve_openenv(OpenEnvServerConfig(port=0)) as port:
            ports.put(port)
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        address = f"ws://127.0.0.1:{ports.get(timeout=20)}"
        for name in ("lights_out", "maths"):
            report = audit_subjects(find_target(address, environment=name), AuditConfig(items=2, draws=4))
            assert report.findings == ()  # also: our solution was found and paid
            assert report.subjects == (name,)
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


EXPORTED = """
ROWS = [{"answer": 1000 + n} for n in range(3)]
class Episode:
    def __init__(self, row):
        self.row = row
    def first_text(self):
        return f"Which number? {id(self) if CHANGES else self.row['answer'] - 1000}"
def make_episode(row):
    return Episode(row)
def solution(row):
    return (str(row["answer"]),)
def score(row, replies):
    return float(replies[-1].strip() == str(row["answer"]))
"""


def test_an_exported_file_is_audited(tmp_path: Path):
    for name, changes in (("good_tasks", "False"), ("bad_tasks", "True")):
        (tmp_path / f"{name}.py").write_text(f"CHANGES = {changes}\n{EXPORTED}")
    assert audit_subjects(find_target(str(tmp_path / "good_tasks.py")), AuditConfig(draws=4)).findings == ()
    report = audit_subjects(find_target(str(tmp_path / "bad_tasks.py")), AuditConfig(draws=4))
    assert report.of_check("order") or report.of_check("process")


@pytest.mark.parametrize("name", thinned([*GAMES, "maths", *FAMILIES], ["lights_out", "math", "tools"]))
def test_what_we_export_has_no_finding(tmp_path: Path, name: str):
    path = tmp_path / "tasks.py"
    path.write_text(export_tasks(name, "trl", ExportConfig(count=8)))
    assert audit_subjects(find_target(str(path)), AuditConfig(draws=4)).findings == ()


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("sudokku", "LG-E135", r"cannot be audited \(did you mean 'sudoku'\?\)"),
        ("none:*", "LG-E135", "cannot be audited"),
        ("reasoning-gym:*", "LG-E136", "reasoning-gym is not installed here"),
    ],
)
def test_an_unknown_target_is_one_line(target: str, code: str, words: str):
    with pytest.raises(AuditError, match=words) as found:
        find_target(target)
    assert found.value.code == code
    assert "\n" not in found.value.message


@pytest.mark.parametrize(
    ("target", "arguments", "words"),
    [
        ("lazarus:*", {"python": Path("python")}, "`python` is of reasoning-gym"),
        ("lazarus:*", {"environment": "sudoku"}, "`environment` is of an OpenEnv server"),
        ("ws://localhost:1", {"python": Path("python")}, "`python` is of reasoning-gym"),
    ],
)
def test_an_argument_without_effect_is_refused(target: str, arguments: dict[str, Any], words: str):
    with pytest.raises(AuditError, match=words) as found:
        find_target(target, **arguments)
    assert found.value.code == "LG-E137"


def test_files_that_hold_no_tasks_are_refused(tmp_path: Path):
    (tmp_path / "tasks.jsonl").write_text("{}\n")
    (tmp_path / "tasks.py").write_text("ROWS = []\n")
    with pytest.raises(SamplesError, match=r"tasks.jsonl:1: not a task"):
        find_target(str(tmp_path / "tasks.jsonl"))
    with pytest.raises(SamplesError, match=r"train.jsonl does not exist"):
        find_target(str(tmp_path))
    with pytest.raises(AuditError, match="has no task") as found:
        audit_subjects(find_target(str(tmp_path / "tasks.py")))
    assert found.value.code == "LG-E135"


def test_no_server_is_one_line():
    config = OpenEnvConfig(address="ws://127.0.0.1:1", retries=0)
    with pytest.raises(OpenEnvError, match="cannot connect"):
        audit_subjects(AuditTarget("ws://127.0.0.1:1", "", address=config))


def test_an_unknown_task_is_one_line():
    with pytest.raises(AuditError, match=r"there is no task 'sudokku' \(did you mean 'sudoku'\?\)") as found:
        audit_subjects(find_target("lazarus:sudokku"))
    assert found.value.code == "LG-E135"


@pytest.mark.parametrize("shared", [1, 30])
def test_a_question_of_evaluation_anywhere_in_training_is_found(tmp_path: Path, shared: int):
    """Those behind the tasks whose answers are judged, too."""
    folder = tmp_path / "tasks"
    write_task_folder(generate_set(200, 30), folder, {})
    target, config = find_target(str(folder)), AuditConfig(items=1, draws=2, hash_seeds=())
    assert audit_subjects(target, config).findings == ()
    training = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    evaluation = (folder / "eval.jsonl").read_text().splitlines(keepends=True)
    (folder / "eval.jsonl").write_text("".join([*evaluation[shared:], *training[-shared:]]))
    (finding,) = audit_subjects(target, config).findings
    assert (finding.check, finding.message) == (
        "overlap",
        f"{shared} of 30 questions of evaluation are questions of training",
    )
