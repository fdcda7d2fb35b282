"""What may be replaced: what is absent, empty or of the kind; anything else by force; inputs and links to others never."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.errors import OutputTaken
from lazarus_core.outputs import OutputKind, begins_with, check_folder, check_names, whole_output

KIND = OutputKind("a test result", begins_with("RESULT "), "LP-E010")


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def write(path: Path, content: bytes = b"new", **options: object) -> None:
    with whole_output(path, KIND, **options) as stream:  # pyright: ignore[reportArgumentType] # options by name
        stream.write(content)


@pytest.mark.parametrize("before", [None, b"", b"RESULT of yesterday"])
def test_what_is_absent_empty_or_of_the_kind_is_replaced(tmp_path: Path, before: bytes | None):
    path = tmp_path / "out"
    if before is not None:
        path.write_bytes(before)
    write(path)
    assert path.read_bytes() == b"new" and names_in(tmp_path) == ["out"]


@given(st.binary(min_size=1).filter(lambda content: not content.startswith(b"RESULT ")))
def test_any_other_content_survives_without_force(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("any") / "out"
    path.write_bytes(content)
    with pytest.raises(OutputTaken, match="is not a test result"):
        write(path)
    assert path.read_bytes() == content
    write(path, force=True)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("force", [False, True])
def test_a_link_to_another_kind_is_never_followed(tmp_path: Path, force: bool):
    data, link = tmp_path / "data", tmp_path / "link"
    data.write_bytes(b"rows")
    link.symlink_to(data)
    with pytest.raises(OutputTaken, match="is a link to"):
        write(link, force=force)
    assert data.read_bytes() == b"rows" and link.is_symlink()


def test_a_link_to_the_kind_stays_a_link(tmp_path: Path):
    (tmp_path / "out").write_bytes(b"RESULT of yesterday")
    (tmp_path / "link").symlink_to("out")
    write(tmp_path / "link")
    assert (tmp_path / "out").read_bytes() == b"new" and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["data", "./x/../data", "link", "hard"])
def test_an_input_is_not_replaced_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    Path("data").write_bytes(b"RESULT that is read")
    Path("link").symlink_to("data")
    Path("hard").hardlink_to("data")
    with pytest.raises(OutputTaken, match="is an input"):
        write(Path(name), inputs=[Path("data")], force=True)
    assert Path("data").read_bytes() == b"RESULT that is read"


def test_a_file_in_a_folder_that_is_read_is_not_replaced(tmp_path: Path):
    (tmp_path / "rows").write_bytes(b"rows")
    with pytest.raises(OutputTaken, match="is an input"):
        write(tmp_path / "rows", inputs=[tmp_path], force=True)
    write(tmp_path / "page", inputs=[tmp_path])  # a new file may lie there
    assert (tmp_path / "rows").read_bytes() == b"rows"


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(OutputTaken, match="is a directory"):
        write(tmp_path, force=True)


def test_devices_pipes_and_open_streams_are_written_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    write(Path(os.devnull))
    write(Path("/dev/stdout"), b"result\n")
    (tmp_path / "out").symlink_to("/dev/stdout")
    write(tmp_path / "out", b"by a link\n")
    assert capfd.readouterr().out == "result\nby a link\n" and Path(os.devnull).is_char_device()


def test_stdout_that_leads_to_a_file_is_appended_to(tmp_path: Path):
    log = tmp_path / "log"
    log.write_bytes(b"earlier\n")
    with log.open("ab") as stream:
        write(Path(f"/dev/fd/{stream.fileno()}"), b"later\n")
    assert log.read_bytes() == b"earlier\nlater\n"


def test_a_folder_is_made_only_where_nothing_is(tmp_path: Path):
    check_folder(tmp_path / "new", "a model")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", "a model")
    for taken in ("file", "link"):
        (tmp_path / "file").write_bytes(b"") if taken == "file" else (tmp_path / taken).symlink_to("nowhere")
        with pytest.raises(OutputTaken, match="exists"):
            check_folder(tmp_path / taken, "a model")


def test_other_files_in_a_folder_are_named(tmp_path: Path):
    for name in ("a", "plan.jsonl"):
        (tmp_path / name).touch()
    check_names(tmp_path, ["a", "plan.jsonl"], "a plan")
    with pytest.raises(OutputTaken, match="holds a beside a plan") as caught:
        check_names(tmp_path, ["plan.jsonl"], "a plan")
    assert caught.value.code == "LP-E010"


@pytest.mark.parametrize("kind", ["page", "proof", "statement", "loader"])
def test_results_of_plans_know_their_own_and_no_other(folder: Path, tmp_path: Path, kind: str):
    import json

    from lazarus_core.html.document import PAGE
    from lazarus_plan.checks.artifact import load_plan
    from lazarus_plan.checks.proof import PROOF, prove
    from lazarus_plan.exports import LOADER, export
    from lazarus_plan.report.attestation import STATEMENT, attest
    from lazarus_plan.report.page import report

    kinds = {"page": PAGE, "proof": PROOF, "statement": STATEMENT, "loader": LOADER}
    texts = {
        "page": report(load_plan(folder)),
        "proof": json.dumps(prove(folder, 0), indent=2),
        "statement": json.dumps(attest(folder), indent=2),
        "loader": export("torch").rstrip(),
    }
    path = tmp_path / "out"
    path.write_text(texts[kind] + "\n", "utf-8")
    assert [name for name, each in kinds.items() if each.is_own(path)] == [kind]


def test_an_export_that_was_edited_is_not_replaced(tmp_path: Path):
    from lazarus_plan.exports import LOADER, export

    (tmp_path / "out").write_text(export("torch") + "# mine\n", "utf-8")
    assert not LOADER.is_own(tmp_path / "out")
