"""The pages of `docs/migrate`: everything of the other projects has a row, and what a row names exists and runs."""

import json
from pathlib import Path

import pytest

import migration_pages
from migration_pages import Row

PAGES = {path.stem: path for path in sorted(migration_pages.FOLDER.glob("*.md"))}
THINGS: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("migration_things.json").read_text("utf-8")
)
"""Commands, options, targets and keys of each project, by the section of its page that has them.

Of chuk-lazarus 0.4.1 (the parsers of its command line, `seed_commands.txt`), barbidoux/Lumi-Lab (scripts, Makefile, config/),
NielsdaWheelz/niels-gpt-2 (parsers, configs/, resolved settings) and triloy8/transformerlm (Justfile, config/resources/).
"""
ROWS = {name: migration_pages.rows_of(page.read_text("utf-8")) for name, page in PAGES.items()}
pages = pytest.mark.parametrize("name", PAGES)


def test_every_project_has_its_page_and_every_section_its_table():
    assert PAGES.keys() == THINGS.keys()
    for name, sections in THINGS.items():
        assert sections.keys() <= {row.section for row in ROWS[name]}, name


@pages
def test_everything_has_a_row(name: str):
    assert migration_pages.uncovered(ROWS[name], THINGS[name]) == []


@pages
def test_a_row_that_is_removed_is_missed(name: str):
    needed: set[int] = set()
    for section, names in THINGS[name].items():
        rows = [row for row in ROWS[name] if row.section == section]
        for thing in names:
            matching = [row.line for row in rows if any(migration_pages.matches(each, thing) for each in row.there)]
            needed |= set(matching) if len(matching) == 1 else set()
    free = [row.line for row in ROWS[name] if row.section in THINGS[name] and row.line not in needed]
    assert free == [], "these lines have nothing that no other line has"


@pages
def test_a_thing_that_no_row_has_is_found(name: str):
    for section, names in THINGS[name].items():
        more = {section: [*names, "no such thing"]}
        assert migration_pages.uncovered(ROWS[name], more) == [f"{section}: no such thing"]


@pages
def test_names_of_the_project_exist_there(name: str):
    for row in ROWS[name]:
        for pattern in row.there if row.section in THINGS[name] else ():
            assert any(migration_pages.matches(pattern, each) for each in THINGS[name][row.section]), (
                f"line {row.line}: {pattern}"
            )


@pytest.mark.slow
@pages
def test_commands_options_settings_and_codes_exist(name: str):
    for row in ROWS[name]:
        assert row.here or row.remark, f"line {row.line}: say what does it, or why nothing has to"
        assert row.reason is None or row.reason in migration_pages.NOT_RUN, f"line {row.line}: {row.reason}"
        for each in row.here:
            migration_pages.check_name(row, each)


@pytest.mark.parametrize(
    "here",
    [
        "lazarus nix",
        "lazarus train sft --nix",
        "lazarus run -o",
        "corpus.nix",
        "pretrain.optimizer.nix",
        "sft.objective.nix",
        "nix.seed",
        "config.json: nix",
        "LX-E999",
    ],
)
def test_a_name_that_does_not_exist_is_refused(here: str):
    with pytest.raises(AssertionError):
        migration_pages.check_name(Row("Steps", ("x",), (here,), "", 1), here)


def test_rows_are_read_as_written():
    text = "## Steps\n\n| there | here | remark |\n|---|---|---|\n| `a` | `lazarus x --y \\|z\\|`<br>`LP-E145` | not run: takes hours; b |\n"
    (row,) = migration_pages.rows_of(text)
    assert row == Row("Steps", ("a",), ("lazarus x --y |z|", "LP-E145"), "not run: takes hours; b", 5)
    assert (row.lines, row.codes, row.reason) == (["lazarus x --y |z|"], ["LP-E145"], "takes hours")


def test_lines_of_chuk_lazarus_are_those_that_run():
    lines = Path(__file__).with_name("seed_commands.txt").read_text("utf-8").splitlines()
    assert THINGS["chuk-lazarus"]["Lines of its README"] == list(dict.fromkeys(lines))
    unchanged = [row.there[0] for row in ROWS["chuk-lazarus"] if row.remark == "Unchanged"]
    assert unchanged == [line for line in dict.fromkeys(lines) if line.startswith("lazarus ")]
    for line in unchanged:
        migration_pages.check_line(line)


@pytest.mark.slow
@pytest.mark.thorough
@pages
def test_the_commands_of_a_page_run_from_top_to_bottom(name: str, tmp_path: Path):
    pytest.importorskip("sentencepiece")
    assert migration_pages.run_page(PAGES[name], tmp_path) == []
