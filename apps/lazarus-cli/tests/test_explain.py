"""Every error code is documented: in one table, on one page, and by one command."""

import json
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from lazarus_core.codes import SHAPE, all_codes, codes_page, find_code
from lazarus_core.errors import LazarusError

ROOT = Path(__file__).parents[3]
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"


@pytest.fixture
def run_lazarus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        from lazarus_core import console

        monkeypatch.setattr(sys, "argv", ["lazarus", *arguments])
        with pytest.raises(SystemExit) as end:
            console.run("lazarus_cli.main:app", "lazarus")
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def sources() -> str:
    """The source of every package, without its table of codes."""
    files = [
        path
        for folder in ("packages", "apps")
        for path in (ROOT / folder).glob("*/src/**/*")
        if path.suffix in {".py", ".txt"}
    ]
    return "".join(path.read_text("utf-8") for path in files if path.name != "codes.py" or "lazarus_core" in path.parts)


def test_every_code_of_the_source_is_explained_and_no_other():
    used = set(SHAPE.findall(sources()))
    assert used - all_codes().keys() == set()
    assert all_codes().keys() - used == set()


def test_an_entry_is_three_sentences():
    for name, code in all_codes().items():
        assert SHAPE.fullmatch(name)
        assert code.way_out.endswith(".") and not code.meaning.endswith(".") and not code.cause.endswith("."), name
        assert all(
            part[0].isupper() or part[0] in "`" or part.startswith(("config.json", "plan.jsonl")) for part in code
        ), name
        assert "|" not in "".join(code), name


def test_the_page_is_the_table():
    assert PAGE.read_text("utf-8") == codes_page(), f"renew it: uv run lazarus explain --all > {PAGE.relative_to(ROOT)}"


def test_each_package_announces_its_own_codes():
    for point in entry_points(group="lazarus.codes"):
        assert point.value == f"lazarus_{point.name}.codes:CODES"


def test_the_command_prints_an_entry(run_lazarus):
    code, out, _ = run_lazarus("explain", "lp-e107", "LR-E230")
    assert code == 0
    assert re.search(r"LP-E107: .+\n  cause:   .+\.\n  way out: .+\.\n\nLR-E230", out)
    code, out, _ = run_lazarus("explain", "LP-E107", "--json")
    assert json.loads(out)["LP-E107"] == find_code("LP-E107")._asdict()
    code, out, _ = run_lazarus("explain", "--all")
    assert out == codes_page()


def test_an_unknown_code_is_refused(run_lazarus):
    code, _, err = run_lazarus("explain", "LP-E999")
    assert (code, err.count("\n")) == (2, 1) and "[LC-E101]" in err
    assert run_lazarus("explain")[0] == 2
    assert run_lazarus("explain", "LP-E107", "--all")[0] == 2


def test_one_code_has_one_table(monkeypatch: pytest.MonkeyPatch):
    points = [*entry_points(group="lazarus.codes")] * 2
    monkeypatch.setattr("lazarus_core.codes.entry_points", lambda group: points)
    with pytest.raises(LazarusError, match="is defined twice"):
        all_codes()
