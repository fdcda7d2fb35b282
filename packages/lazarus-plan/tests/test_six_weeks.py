"""Six weeks of a small repository with a committed lock: each event by command, by hook, and by the action's steps.

The hook is run by the real pre-commit at a real `git commit`; the action by bash, step by step, as GitHub runs it.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from lazarus_core.console import run
from lazarus_plan import AuditLog, PlanConfig, load_plan, rebase_plan, save_plan
from lazarus_plan.audit import StepDigest, row_digest
from lazarus_plan.cli.app import app
from lazarus_plan.format import encode_step
from lazarus_plan.locks.lock import update_lock, write_lock
from suite import every_nth

PACKAGE = Path(__file__).parents[1]
CONFLICT = "<<<<<<< ours\n{0}=======\n{1}>>>>>>> theirs\n"


def _load_repository() -> Any:
    spec = importlib.util.spec_from_file_location("repository", Path(__file__).with_name("repository.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


repository = _load_repository()
Repository, row = repository.Repository, repository.row


class Week(NamedTuple):
    """An event of the repository's life, and what the check answers."""

    change: Callable[[Any], None]
    code: int
    words: str  # a regular expression


def edit_a_row(repo: Any) -> None:
    rows = repo.read()
    rows[17]["text"] = "EDITED " + rows[17]["text"]
    repo.write(rows)


def edit_a_row_and_renew(repo: Any) -> None:
    edit_a_row(repo)
    repo.measure()
    update_lock(repo.lock, [repo.cache()])


def append_100(repo: Any) -> None:
    repo.write([*repo.read(), *(row(number) for number in range(300, 400))])
    repo.measure()
    update_lock(repo.lock, [repo.cache()])


def change_the_tokenizer(repo: Any) -> None:
    repo.measure("halves")


def change_the_tokenizer_and_renew(repo: Any) -> None:
    repo.measure("halves")
    update_lock(repo.lock, [repo.cache()])


def change_seed_and_row_len(repo: Any) -> None:
    repo.build(PlanConfig(token_budget=1024, row_len=320, seed=7))


def conflict_in_lock(repo: Any) -> None:
    path = repo.lock / "fingerprints.json"
    text = path.read_text("utf-8")
    path.write_text(CONFLICT.format(text, text), "utf-8")


def conflict_in_lengths(repo: Any) -> None:
    lines = repo.lengths.read_text("utf-8").splitlines(keepends=True)
    repo.lengths.write_text("".join([*lines[:5], CONFLICT.format(lines[5], lines[5]), *lines[6:]]), "utf-8")


def conflict_in_data(repo: Any) -> None:
    lines = repo.data.read_text("utf-8").splitlines(keepends=True)
    repo.data.write_text("".join([*lines[:5], CONFLICT.format(lines[5], lines[5]), *lines[6:]]), "utf-8")


def rebase_a_run(repo: Any) -> None:
    """50 rows more for a run that has trained 5 steps."""
    parent = load_plan(repo.plan)
    repo.write([*repo.read(), *(row(number) for number in range(300, 350))])
    repo.measure()
    save_plan(rebase_plan(parent, 5, repo.cache()), repo.plan.with_name("child"))
    write_lock(repo.plan.with_name("child"), repo.lock, parent)


def merge_badly(repo: Any) -> None:
    """Git merges two edits of metadata.json without a conflict: the seed of one side, the digests of the other."""
    path = repo.lock / "metadata.json"
    path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 3'), "utf-8")


def take_a_plan_made_elsewhere(repo: Any) -> None:
    mine = repo.data.read_bytes(), repo.lengths.read_bytes()
    edit_a_row(repo)
    repo.make_all()
    repo.data.write_bytes(mine[0])
    repo.lengths.write_bytes(mine[1])


WEEKS = {
    "a row edited, lengths stale": Week(edit_a_row, 1, r"LP-E140.*changed row 'r17'; the lengths are stale"),
    "a row edited": Week(edit_a_row_and_renew, 0, r"0 added, 0 removed, 1 changed(.|\n)*changed: 'r17'"),
    "100 rows appended": Week(
        append_100, 0, r"rows: 100 added, 0 removed, 0 changed(.|\n)*tokens: [\d,]+ -> [\d,]+ \(\+"
    ),
    "tokenizer changed, lock stale": Week(change_the_tokenizer, 1, r"LP-E150.*`tokenizer` was"),
    "tokenizer changed": Week(
        change_the_tokenizer_and_renew, 0, r"link that changed: tokenizer(.|\n)*300 with other tokens"
    ),
    "seed and row length changed": Week(change_seed_and_row_len, 0, r"`row_len`: 256 -> 320(.|\n)*`seed`: 0 -> 7"),
    "conflict in the lock": Week(conflict_in_lock, 2, r"merge conflict.*git checkout --ours.*lock --update.*LP-E013"),
    "conflict in the lengths": Week(conflict_in_lengths, 2, r"lengths.jsonl:6.*merge conflict.*lengths build.*LP-E013"),
    "conflict in the data": Week(conflict_in_data, 2, r"rows.jsonl:6.*merge conflict.*lengths build.*LP-E013"),
    "a running experiment rebased": Week(rebase_a_run, 0, r"built again from .*to the byte(.|\n)*50 added"),
    "a bad merge": Week(
        merge_badly, 1, r"LP-E151.*`config` does not match the configuration: edited; renew the lock with"
    ),
    "a plan made elsewhere": Week(take_a_plan_made_elsewhere, 1, r"LP-E150.*the rebuilt plan is"),
}
every_week = pytest.mark.parametrize("name", WEEKS)


@pytest.fixture
def repo(tmp_path: Path) -> Any:
    """One commit: rows, lengths, lock."""
    made = Repository(tmp_path / "repo").make_all()
    made.commit()
    return made


@pytest.fixture
def command(repo: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`code, words = command("ci", "--base", "HEAD")`, run in the repository."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.chdir(repo.root)
        monkeypatch.setattr("sys.argv", ["lazarus-plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(app, "lazarus-plan")
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out + err

    return call


# By command


@every_week
def test_a_week_by_command(repo: Any, command, name: str):
    WEEKS[name].change(repo)
    code, words = command("ci", "--base", "HEAD")
    assert code == WEEKS[name].code and re.search(WEEKS[name].words, words), words


def test_the_first_lock_by_command(tmp_path: Path, repo: Any, command):
    code, words = command("ci", "--base", "HEAD")
    assert code == 0 and "the plans are the same" in words and "data: rows.jsonl is what" in words
    repo.git("rm", "-rq", "--cached", "batch_plan.lock")
    repo.git("commit", "-qm", "without")
    code, words = command("ci", "--base", "HEAD")
    assert code == 0 and "HEAD has no lock batch_plan.lock: all of it is new" in words


def test_data_that_is_not_there_is_never_silent(repo: Any, command):
    repo.data.unlink()
    code, words = command("ci")
    assert code == 0 and "LP-W206: data not compared: rows.jsonl was not found" in words and "1 not compared" in words
    assert command("ci", "--strict")[0] == 1


def test_a_rebased_plan_needs_its_parent_once_the_base_is_another(repo: Any, command):
    rebase_a_run(repo)
    repo.commit()
    code, words = command("ci", "--base", "HEAD")
    assert code == 2 and "give the parent's plan or lock" in words
    code, words = command("ci", "--base", "HEAD", "--parent", repo.plan)
    assert code == 0 and "to the byte" in words
    child = repo.plan.with_name("child")
    code, words = command("lock", "-p", child, "-o", repo.root / "other.lock")
    assert code == 2 and "LP-E134" in words and not (repo.root / "other.lock").exists()
    assert command("materialise", "-k", repo.lock, "-l", repo.lengths, "--check", "--parent", repo.plan)[0] == 0


def test_the_two_commands_mend_a_conflict(repo: Any, command):
    repo.git("checkout", "-qb", "theirs")
    append_100(repo)
    repo.commit()
    repo.git("checkout", "-q", "main")
    edit_a_row_and_renew(repo)
    repo.commit()
    assert repo.git("merge", "theirs", check=False).returncode == 1
    code, words = command("ci", "--base", "HEAD")
    assert code == 2 and "git checkout --ours -- batch_plan.lock" in words
    repo.git("checkout", "--ours", "--", "batch_plan.lock")
    repo.git("checkout", "--theirs", "--", "rows.jsonl", check=False)
    repo.git("checkout", "--theirs", "--", "lengths.jsonl")
    edit_a_row(repo)
    repo.measure()
    code, words = command("lock", "--update", "-o", "batch_plan.lock", "-l", "lengths.jsonl")
    assert code == 0 and "first link that changed: data" in words
    assert command("ci", "--base", "HEAD")[0] == 0


def test_a_whole_plan_damaged_by_a_merge_is_named_by_its_line(repo: Any, command):
    path = repo.plan / "plan.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    code, words = command("ci", "-k", repo.plan, "-l", "lengths.jsonl", "-d", "rows.jsonl")
    assert code == 1 and "LP-E112: plan.jsonl:1" in words
    path.write_bytes(b"".join([lines[0], CONFLICT.format("", "").encode(), *lines[1:]]))
    code, words = command("validate", "-p", repo.plan)
    assert code == 2 and "git checkout --ours" in words and "--rebuild" in words


@pytest.fixture
def log(repo: Any, tmp_path: Path) -> Path:
    """The audit log of a run that followed the plan."""
    plan = load_plan(repo.plan)
    path = tmp_path / "audit.jsonl"
    written = AuditLog.start(path, plan.plan_id)
    for step in range(len(plan)):
        rows = [
            row_digest([np.full(each.end - each.start, each.sample) for each in row.segments])
            for row in plan.step(step).rows
        ]
        written.append(step, StepDigest.of(encode_step(plan, step), rows))
    return path


def test_the_audit_log_of_a_run_by_command(repo: Any, command, log: Path):
    code, words = command("audit", "-p", repo.plan, "--log", log, "--complete")
    assert code == 0 and "followed the plan, steps 0 to" in words
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(whole[:-20])
    code, words = command("audit", "-p", repo.plan, "--log", log)
    assert code == 1 and f"line {len(lines)}: no line feed at its end: the log was cut off" in words
    log.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    code, words = command("audit", "-p", repo.plan, "--log", log, "--format", "github")
    assert code == 1 and "title=LP-E170::" in words
    log.write_bytes(b"".join(lines[:-1]))
    code, words = command("audit", "-p", repo.plan, "--log", log, "--complete", "--format", "sarif")
    assert code == 1 and "the log ends at step" in words


# By hook


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the hooks at its root, as pre-commit wants them."""
    root = tmp_path_factory.mktemp("mirror")
    (root / ".pre-commit-hooks.yaml").write_bytes((PACKAGE / ".pre-commit-hooks.yaml").read_bytes())
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "hooks"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=root, env={**os.environ, **repository.IDENTITY}, check=True)
    return root


@pytest.fixture
def hooked(repo: Any, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The repository with `pre-commit install` done."""
    if importlib.util.find_spec("pre_commit") is None:
        pytest.skip("pre-commit is not installed")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(mirror.parent / "pre-commit"))
    config = {"repos": [{"repo": str(mirror), "rev": "v1", "hooks": [{"id": "batchplan-lock"}]}]}
    (repo.root / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    repo.commit()
    subprocess.run([sys.executable, "-m", "pre_commit", "install"], cwd=repo.root, capture_output=True, check=True)
    return repo


@pytest.mark.slow
@pytest.mark.parametrize("name", every_nth(WEEKS, 5))
def test_a_week_by_hook(hooked: Any, name: str):
    week = WEEKS[name]
    week.change(hooked)
    hooked.git("add", "-A")
    done = hooked.git("commit", "-m", "week", check=False)
    words = done.stdout + done.stderr
    assert done.returncode == (1 if week.code else 0) and re.search(week.words, words), words
    assert week.code == 0 or f"- exit code: {week.code}" in words
    left = hooked.git("status", "--porcelain").stdout
    assert all(line[:3] in ("A  ", "M  ") for line in left.splitlines()), "the hook left nothing in the work tree"


@pytest.mark.slow
def test_a_commit_after_a_passed_hook_passes_too(hooked: Any):
    for text in ("one", "two"):
        hooked.write([*hooked.read(), {"id": text, "text": text}])
        hooked.measure()
        update_lock(hooked.lock, [hooked.cache()])
        hooked.git("add", "-A")
        done = hooked.git("commit", "-m", text, check=False)
        assert done.returncode == 0 and "1 added" in done.stdout + done.stderr
    assert hooked.git("status", "--porcelain").stdout == ""


# By the action's steps


class Run(NamedTuple):
    """One run of the action."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]


FAKE_GH = '''#!{python}
"""A GitHub with one list of comments in a file; `read-only` in the file's folder makes it refuse to write."""
import json, os, sys
from pathlib import Path
store = Path({store!r})
comments = json.loads(store.read_text()) if store.exists() else []
arguments = sys.argv[1:]
method = arguments[arguments.index("--method") + 1] if "--method" in arguments else "GET"
if method == "GET":
    assert arguments[arguments.index("--jq") + 1] == ".[] | select(.body | startswith(env.MARKER)) | .id"
    print("\\n".join(str(each["id"]) for each in comments if each["body"].startswith(os.environ["MARKER"])))
    sys.exit()
if (store.parent / "read-only").exists():
    sys.exit("HTTP 403: Resource not accessible by integration")
body = Path(arguments[arguments.index("--field") + 1].removeprefix("body=@")).read_text()
if method == "PATCH":
    address = next(each for each in arguments if each.startswith("repos/"))
    next(each for each in comments if str(each["id"]) == address.rsplit("/", 1)[1])["body"] = body
else:
    comments.append({{"id": len(comments) + 1, "body": body}})
store.write_text(json.dumps(comments))
'''


class Action:
    """Runs the steps of `action.yml` as a GitHub runner does."""

    def __init__(self, scratch: Path, comments: Path) -> None:
        self.document = yaml.safe_load((PACKAGE / "action.yml").read_text("utf-8"))
        self.scratch = scratch
        tools = scratch / "tools"
        tools.mkdir(parents=True)
        (tools / "gh").write_text(FAKE_GH.format(python=sys.executable, store=str(comments)), "utf-8")
        (tools / "gh").chmod(0o755)
        installed = scratch / "lazarus-plan" / "bin"
        installed.mkdir(parents=True)
        (installed / "lazarus-plan").symlink_to(Path(sys.executable).with_name("lazarus-plan"))

    def run(self, folder: Path, context: dict[str, str], **inputs: str) -> Run:
        """The steps after `install`, whose tool is there already."""
        known = {name: about.get("default", "") for name, about in self.document["inputs"].items()} | inputs
        values = {f"inputs.{name}": value for name, value in known.items()} | context
        code, log, outputs = 0, "", {}
        summary, output = self.scratch / "summary", self.scratch / "output"
        for step in self.document["runs"]["steps"][1:]:
            if not _holds(step.get("if", "success()"), values, code):
                continue
            environment = {name: _filled(str(text), values) for name, text in step["env"].items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=folder,
                env={
                    **os.environ,
                    **environment,
                    "PATH": f"{self.scratch / 'tools'}{os.pathsep}{os.environ['PATH']}",
                    "RUNNER_TEMP": str(self.scratch),
                    "GITHUB_OUTPUT": str(output),
                    "GITHUB_STEP_SUMMARY": str(summary),
                },
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            code, log = code or done.returncode, log + done.stdout + done.stderr
            outputs = dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())
            values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in outputs.items()}
        return Run(code, log, summary.read_text("utf-8"), outputs)


def _filled(text: str, values: dict[str, str]) -> str:
    """A text with its expressions replaced: names, and the first of several that is not empty."""
    names = re.compile(r"\$\{\{ (.+?) \}\}")
    return names.sub(lambda found: next((values[n] for n in found[1].split(" || ") if values.get(n)), ""), text)


def _holds(condition: str, values: dict[str, str], code: int) -> bool:
    """A condition of names, texts, `==`, `&&`, `always()` and `success()`."""

    def term(text: str) -> bool:
        if text in ("always()", "success()"):
            return text == "always()" or code == 0
        left, right = (each.strip("'") if "'" in each else values.get(each, "") for each in text.split(" == "))
        return left == right

    return all(map(term, condition.split(" && ")))


@pytest.fixture
def comments(tmp_path: Path) -> Path:
    return tmp_path / "github" / "comments.json"


@pytest.fixture
def action(tmp_path: Path, comments: Path) -> Callable[..., Run]:
    """`run = action(repo, fork=False, lock="..")`: the action on a pull request against the last commit."""
    comments.parent.mkdir()
    count = iter(range(99))

    def call(repo: Any, *, fork: bool = False, base: str = "", **inputs: str) -> Run:
        context = {
            "github.event_name": "pull_request",
            "github.repository": "me/project",
            "github.event.pull_request.number": "7",
            "github.event.pull_request.head.repo.full_name": "you/project" if fork else "me/project",
            "github.event.pull_request.base.sha": base or repo.git("rev-parse", "HEAD").stdout.strip(),
            "github.token": "token",
        }
        return Action(tmp_path / f"runner{next(count)}", comments).run(repo.root, context, **inputs)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("name", every_nth(WEEKS, 4))
@pytest.mark.thorough
def test_a_week_by_the_action(repo: Any, action: Callable[..., Run], comments: Path, name: str):
    week = WEEKS[name]
    week.change(repo)
    done = action(repo)
    assert done.code == week.code, done.log
    body = json.loads(comments.read_text("utf-8"))[0]["body"]
    assert re.search(week.words.replace("`", ""), (done.log + done.summary).replace("`", "").replace("**", ""))
    assert body == "<!-- lazarus-plan: batch_plan.lock -->\n" + done.summary
    assert ("::error file=" in done.log) == (week.code > 0)


@pytest.mark.slow
def test_the_action_has_one_comment_of_its_own(repo: Any, action: Callable[..., Run], comments: Path):
    comments.write_text(json.dumps([{"id": 1, "body": "another workflow's"}]), "utf-8")
    action(repo)
    edit_a_row_and_renew(repo)
    done = action(repo)
    bodies = [each["body"] for each in json.loads(comments.read_text("utf-8"))]
    assert len(bodies) == 2 and bodies[0] == "another workflow's" and "changed: 'r17'" in bodies[1]
    assert set(done.outputs) == {"plan-id", "report", "sarif"}
    assert done.outputs["plan-id"] == json.loads((repo.lock / "fingerprints.json").read_bytes())["plan_id"]


@pytest.mark.slow
def test_a_check_that_fails_is_not_commented_with_the_report_of_an_earlier_one(repo: Any, tmp_path: Path):
    comments = tmp_path / "github" / "comments.json"
    comments.parent.mkdir()
    context = {
        "github.event_name": "pull_request",
        "github.repository": "me/project",
        "github.event.pull_request.number": "7",
        "github.event.pull_request.head.repo.full_name": "me/project",
    }
    runner = Action(tmp_path / "runner", comments)
    assert runner.run(repo.root, context).code == 0
    done = runner.run(repo.root, context, lock="other.lock")
    assert done.code == 2
    of_its_own = json.loads(comments.read_text("utf-8"))[1]["body"]
    assert of_its_own.startswith("<!-- lazarus-plan: other.lock -->") and "[LP-E007]" in of_its_own
    assert "what its inputs give" not in of_its_own


@pytest.mark.slow
@pytest.mark.parametrize("is_refused", [False, True])
def test_a_fork_gets_a_summary_and_is_green(repo: Any, action: Callable[..., Run], comments: Path, is_refused: bool):
    (comments.parent / "read-only").touch()
    edit_a_row_and_renew(repo)
    done = action(repo, fork=not is_refused)
    assert done.code == 0 and "changed: 'r17'" in done.summary and not comments.exists()
    assert ("::notice title=batch plan::no comment" in done.log) == is_refused


@pytest.mark.slow
@pytest.mark.thorough
def test_the_action_fetches_the_base_of_a_shallow_checkout(repo: Any, action: Callable[..., Run], tmp_path: Path):
    base = repo.git("rev-parse", "HEAD").stdout.strip()
    append_100(repo)
    repo.commit()
    shallow = Repository(tmp_path / "shallow")
    for command in (["remote", "add", "origin", f"file://{repo.root}"], ["fetch", "-q", "--depth=1", "origin", "main"]):
        shallow.git(*command)
    shallow.git("reset", "-q", "--hard", "FETCH_HEAD")
    assert shallow.git("cat-file", "-e", base, check=False).returncode
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    assert "rows: 100 added" in action(shallow, base=base).summary
    lost = action(shallow, base="1" * 40)
    assert lost.code == 0 and "cannot be fetched: what changed is not shown" in lost.log
    assert action(shallow, base="0" * 40).code == 0


@pytest.mark.slow
@pytest.mark.thorough
def test_the_action_installs_into_an_environment_of_its_own(tmp_path: Path):
    step = yaml.safe_load((PACKAGE / "action.yml").read_text("utf-8"))["runs"]["steps"][0]
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={**os.environ, "RUNNER_TEMP": str(tmp_path), "PACKAGE": "pip"},  # there already: no network
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lazarus-plan" / "bin" / "python").exists()
