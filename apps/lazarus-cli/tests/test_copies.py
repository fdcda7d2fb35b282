import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commands
import suite
from killer import killer
from lazarus_cli.operations.errors import CopyDiffers, OperationError
from lazarus_cli.operations.file_list import LIST, FileList, Listed, check_names, list_files
from lazarus_cli.operations.unfinished import unfinished_folder

ARCHIVES = ("copy.tar", "copy.tar.gz", "copy.tar.zst")


def tree(folder: Path) -> dict[str, bytes | str]:
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def content(folder: Path) -> dict[str, bytes | str]:
    return {name: each for name, each in tree(folder).items() if name not in (LIST, ".lock")}


@pytest.fixture
def run(world: Path) -> Path:
    """The run of the world, with names that are hard to copy."""
    (world / "run" / ("n" * 120)).mkdir()
    (world / "run" / ("n" * 120) / "ä €.txt").write_text("long and not ASCII", "utf-8")
    (world / "run/empty.txt").touch()
    return world / "run"


@pytest.mark.parametrize("name", [*ARCHIVES, "copy"])
def test_a_backup_restores_every_byte_and_link_and_the_run_verifies(run: Path, lazarus, name: str):
    if name.endswith(".zst"):
        pytest.importorskip("zstandard")
    code, out, err = lazarus("backup", "run", "-o", f"backups/{name}")
    assert (code, out) == (0, f"backups/{name}\n")
    assert "not in the backup: `model`" in err and "`data`" in err
    assert lazarus("restore", f"backups/{name}", "-o", "again/run")[0] == 0
    assert content(Path("again/run")) == content(run)
    assert any(isinstance(each, str) for each in content(run).values()), "the run has links"
    assert sorted(path.name for path in Path("backups").iterdir()) == [name]
    assert sorted(path.name for path in Path("again").iterdir()) == ["run"]


@pytest.mark.slow
def test_a_restored_run_verifies_and_continues(world: Path, lazarus):
    assert lazarus("backup", "run", "-o", "copy.tar.gz")[0] == 0
    shutil.rmtree("run")
    assert lazarus("restore", "copy.tar.gz", "-o", "run")[0] == 0
    assert lazarus("verify", "run")[0] == 0
    assert lazarus("train", "sft", "--config", "run/config.json", "--set", "max_steps=5")[0] == 0


def test_equal_files_give_equal_copies_whatever_their_times(run: Path, lazarus, tmp_path: Path):
    shutil.copytree(run, tmp_path / "other", symlinks=True)
    (tmp_path / "other/empty.txt").touch()
    for name in ("a.tar", "a.tar.gz"):
        lazarus("backup", "run", "-o", name)
        lazarus("backup", tmp_path / "other", "-o", f"other-{name}")
        assert Path(name).read_bytes() == Path(f"other-{name}").read_bytes()
    assert list_files(run) == list_files(tmp_path / "other")


def test_a_tar_of_the_system_opens_an_archive(run: Path, lazarus):
    lazarus("backup", "run", "-o", "copy.tar.gz")
    with tarfile.open("copy.tar.gz") as archive:
        archive.extractall("plain", filter="data")
    assert content(Path("plain")) == content(run)


@pytest.mark.parametrize("name", ["copy.tar", "copy"])
def test_the_same_backup_again_reads_it_and_another_is_refused(run: Path, lazarus, name: str):
    lazarus("backup", "run", "-o", name)
    before = Path(name).stat().st_mtime_ns
    code, _, err = lazarus("backup", "run", "-o", name)
    assert code == 0 and "was there, read again" in err and Path(name).stat().st_mtime_ns == before
    (run / "more.txt").write_text("new")
    code, _, err = lazarus("backup", "run", "-o", name)
    assert code == 2 and "LC-E273" in err and Path(name).stat().st_mtime_ns == before


def test_no_copy_is_made_of_a_run_in_training_or_into_itself_or_of_what_is_no_artifact(run: Path, lazarus):
    import fcntl

    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "LR-E106" in lazarus("backup", "run", "-o", "copy")[2]
    assert "LC-E273" in lazarus("backup", "run", "-o", "run/copy")[2]
    assert "LC-E271" in lazarus("backup", "data.jsonl", "-o", "copy")[2]
    (run / "out").symlink_to("/etc/hostname")
    assert "LC-E272" in lazarus("backup", "run", "-o", "copy")[2]
    assert not Path("copy").exists()


@pytest.mark.parametrize("name", ["copy.tar", "copy.tar.gz", "copy"])
def test_one_changed_byte_anywhere_is_found_and_nothing_is_put_in_place(run: Path, lazarus, name: str):
    shutil.rmtree(run / "checkpoints")
    lazarus("backup", "run", "-o", name)
    files = [Path(name)] if Path(name).is_file() else [Path(name) / each for each in tree(Path(name))]
    sizes = [(file, file.stat().st_size) for file in files if file.stat().st_size]
    places = [
        (file, at) for file, size in sizes for at in {0, size // 2, size - 1} if name != "copy.tar" or at != size - 1
    ]
    places += [(file, size * part // 97) for file, size in sizes[:1] for part in range(1, 90, 8)]
    for file, at in places:
        before = file.read_bytes()
        file.write_bytes(before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :])
        code, out, err = lazarus("restore", name, "-o", "again")
        if code == 0:  # padding of the archive, the time in a header of gzip: no content
            assert content(Path("again")) == content(run)
            shutil.rmtree("again")
        else:
            assert code in (1, 2) and out == "" and len(err.splitlines()) == 1, (file, at, err)
        assert not Path("again").exists()
        file.write_bytes(before)
    assert lazarus("restore", name, "-o", "again")[0] == 0


def test_an_archive_that_ends_early_is_refused_at_every_place(run: Path, lazarus):
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "final")
    lazarus("backup", "run", "-o", "copy.tar.gz")
    whole = Path("copy.tar.gz").read_bytes()
    for size in range(0, len(whole) - 40, max(1, len(whole) // 25)):
        Path("cut.tar.gz").write_bytes(whole[:size])
        code, _, err = lazarus("restore", "cut.tar.gz", "-o", "again")
        assert code == 2 and not Path("again").exists(), err


def archive(members: list[tuple[tarfile.TarInfo, bytes]], listed: dict | None = None) -> bytes:
    files = {
        info.name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for info, data in members
        if info.isreg()
    }
    links = {info.name: info.linkname for info, _ in members if info.issym()}
    said = listed or {"lazarus_files": 1, "kind": "run", "files": files, "links": links}
    content = json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"
    first = tarfile.TarInfo(LIST)
    first.size = len(content)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in [(first, content), *members]:
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def member(
    name: str, data: bytes = b"evil", *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = (len(data) if kind == tarfile.REGTYPE else 0), kind, link
    return info, data if kind == tarfile.REGTYPE else b""


EVIL = {
    "parent": [member("../evil.txt")],
    "inner parent": [member("a/../../evil.txt")],
    "absolute": [member("/tmp/evil.txt")],
    "backslash": [member("a\\evil.txt")],
    "dot": [member("./evil.txt")],
    "link to the root": [member("out", kind=tarfile.SYMTYPE, link="/")],
    "link to the parent": [member("out", kind=tarfile.SYMTYPE, link="..")],
    "link through a link": [member("a/out", kind=tarfile.SYMTYPE, link="b/../../..")],
    "file below a link": [member("out/evil.txt"), member("out", kind=tarfile.SYMTYPE, link="other")],
    "file below a file": [member("out"), member("out/evil.txt")],
    "hard link": [member("out", kind=tarfile.LNKTYPE, link="/etc/passwd")],
    "device": [member("out", kind=tarfile.CHRTYPE)],
    "pipe": [member("out", kind=tarfile.FIFOTYPE)],
    "list again": [member(LIST)],
    "twice": [member("a.txt", b"1"), member("a.txt", b"2")],
    "not UTF-8": [member("a\udcff")],
    "long name": [member("n" * 1100)],
}


@pytest.mark.parametrize("name", EVIL)
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path: Path, monkeypatch, lazarus, name: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    said = None
    if name in ("hard link", "device", "pipe"):
        said = {"lazarus_files": 1, "kind": "run", "files": {"out": {"bytes": 0, "sha256": "0" * 64}}, "links": {}}
    (tmp_path / "evil.tar").write_bytes(archive(EVIL[name], said) if name != "not UTF-8" else archive([]))
    if name == "not UTF-8":
        with pytest.raises(OperationError):
            check_names(["a\udcff"], {})
        return
    code, _, err = lazarus("restore", "evil.tar", "-o", "inner/run")
    assert code in (1, 2) and len(err.splitlines()) == 1, err
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.name.startswith(".")) == ["evil.tar", "inner"]


def test_a_member_that_is_not_listed_or_larger_than_listed_is_refused(tmp_path: Path, monkeypatch, lazarus):
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(b"good").hexdigest()
    said = {"lazarus_files": 1, "kind": "run", "files": {"a": {"bytes": 4, "sha256": digest}}, "links": {}}
    for members in ([member("b", b"good")], [member("a", b"good"), member("b")], [member("a", b"good!")], []):
        Path("evil.tar").write_bytes(archive(members, said))
        code, _, err = lazarus("restore", "evil.tar", "-o", "again")
        assert code == 2 and "LC-E275" in err and not Path("again").exists()
    Path("evil.tar").write_bytes(archive([member("a", b"good")], said))
    assert lazarus("restore", "evil.tar", "-o", "again")[0] == 0


def test_headers_that_claim_gigabytes_take_no_memory(tmp_path: Path, monkeypatch, lazarus):
    import tracemalloc

    monkeypatch.chdir(tmp_path)
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE):
        info = tarfile.TarInfo("././@PaxHeader" if kind != tarfile.REGTYPE else LIST)
        info.type, info.size = kind, 8 << 30
        Path("bomb.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(32 << 20)))
        tracemalloc.start()
        code, _, err = lazarus("restore", "bomb.tar.gz", "-o", "again")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert code == 2 and "LC-E275" in err and peak < 16 << 20


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "c d"]), min_size=1, max_size=6))
def test_a_link_is_accepted_exactly_if_it_stays_inside(parts: list[str]):
    target = "/".join(parts)
    depth, stays = 1, bool(target) and not target.startswith("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        stays &= depth >= 0
    try:
        check_names([], {"x/link": target})
    except OperationError:
        assert not stays
    else:
        assert stays


@given(st.dictionaries(st.text("abcé/", min_size=1, max_size=5), st.integers(0, 2**40), max_size=4))
def test_a_list_of_files_is_read_as_it_was_written(names: dict[str, int]):
    listed = FileList(
        "run", {name: Listed(size, hashlib.sha256(name.encode()).hexdigest()) for name, size in names.items()}
    )
    try:
        check_names(names, {})
    except OperationError:
        with pytest.raises(OperationError):
            FileList.parse(listed.to_bytes(), "x")
    else:
        assert FileList.parse(listed.to_bytes(), "x") == listed


def test_the_digest_pins_a_copy(run: Path, lazarus):
    digest = json.loads(lazarus("backup", "run", "-o", "copy.tar", "--json")[1])["digest"]
    assert digest == list_files(run).digest
    assert "LC-E276" in lazarus("restore", "copy.tar", "-o", "again", "--expect", "0" * 16)[2]
    assert not Path("again").exists()
    assert lazarus("restore", "copy.tar", "-o", "again", "--expect", digest[:16])[0] == 0
    assert lazarus("restore", "copy.tar", "-o", "again2", "--expect", "nix")[0] == 2


@pytest.mark.parametrize("to", ["there/copy", "file://{}/there/copy"])
def test_push_replaces_its_own_copy_and_pull_gives_it_back(run: Path, world: Path, lazarus, to: str):
    to = to.format(str(world).replace("w", "%77"))
    assert lazarus("push", "run", to)[0] == 0
    (run / "empty.txt").unlink()
    (run / "config.json").write_bytes((run / "config.json").read_bytes())
    assert lazarus("push", "run", to)[0] == 0
    assert content(Path("there/copy")) == content(run)
    assert lazarus("pull", to, "-o", "again")[0] == 0
    assert content(Path("again")) == content(run)
    assert [path.name for path in Path("there").iterdir()] == ["copy"]


def test_push_replaces_nothing_else_and_pull_refuses_a_changed_copy(run: Path, lazarus):
    Path("mine").mkdir()
    (Path("mine") / "thesis.txt").write_text("years of work")
    assert "LC-E273" in lazarus("push", "run", "mine")[2]
    lazarus("push", "run", "there")
    (Path("there") / "metrics.jsonl").write_bytes(b"{}\n")
    code, _, err = lazarus("pull", "there", "-o", "again")
    assert code == 1 and "metrics.jsonl" in err and not Path("again").exists()
    for place in ("s3://a/b", "hf://a", "file://host/x", "https://ann:secret@host/x"):
        code, _, err = lazarus("pull", place, "-o", "again")
        assert code == 2 and "LC-E278" in err and "secret" not in err
    code, _, err = lazarus("push", "run", "hf:ann/tiny")  # a data set would be named so
    assert code == 2 and "give hf://OWNER/NAME for the hub" in err and not Path("hf:ann").exists()
    assert lazarus("push", "run", "./hf:ann")[0] == 0 and Path("hf:ann").is_dir()


@pytest.mark.parametrize("what", ["plan", "model"])
def test_every_kind_of_artifact_is_copied(world: Path, lazarus, what: str):
    assert lazarus("push", what, "there")[0] == 0
    assert lazarus("pull", "there", "-o", "again")[0] == 0
    assert content(Path("again")) == content(world / what)


LINES = {
    "backup folder": ("backup", "run", "-o", "{}/copy"),
    "backup archive": ("backup", "run", "-o", "{}/copy.tar.gz"),
    "restore": ("restore", "copy.tar", "-o", "{}/copy"),
    "push": ("push", "run", "{}/copy"),
    "push again": ("push", "run", "{}/copy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", suite.thinned(sorted(LINES), keep=["backup archive", "push again"]))
def test_killed_at_any_moment_a_copy_is_whole_or_absent_and_the_same_command_completes_it(
    run: Path, world: Path, lazarus, name: str
):
    for each in sorted((run / "checkpoints").iterdir())[:-2]:
        shutil.rmtree(each) if not each.is_symlink() else each.unlink()
    assert lazarus("backup", "run", "-o", "copy.tar")[0] == 0
    before = {LIST: b"old"}

    def run_until(moment: int, there: Path) -> subprocess.CompletedProcess[str]:
        nonlocal before
        there.mkdir()
        if name == "push again":
            shutil.copytree("plan", "small")
            lazarus("push", "small", there / "copy")
            shutil.rmtree("small")
            before = tree(there / "copy")
        words = [word.format(there) for word in LINES[name]]
        return commands.run([sys.executable, "-c", killer("lazarus"), str(there), moment, *words], cwd=world)

    moments = [29]
    if suite.is_thorough():
        whole = int(run_until(0, world / "there").stdout.split()[-1])
        moments = [*(each for each in (2, 5, 11, 29, 61, 97, 131) if each < whole - 5), *range(whole - 5, whole + 1)]
    for moment in moments:
        there = world / f"there{moment}"
        words = [word.format(there) for word in LINES[name]]
        done = run_until(moment, there)
        killed = done.returncode == -signal.SIGKILL
        target = next((path for path in there.iterdir() if not path.name.startswith(".")), None)
        if killed and name == "push again":
            kept = target or next(there.glob(".copy.*.old"))
            assert tree(kept) == before or content(kept) == content(run)
        elif killed and target is not None and target.is_dir():
            assert content(target) == content(run), "it has its name only when it is complete"
        code, _, err = lazarus(*words)
        assert code == 0, err
        assert len([*there.iterdir()]) == 1, "nothing is left over"
        [target] = there.iterdir()
        if target.is_dir():
            assert content(target) == content(run)
        else:
            assert target.read_bytes() and lazarus("restore", target, "-o", f"again{moment}")[0] == 0
            assert content(Path(f"again{moment}")) == content(run)


def test_a_command_that_was_killed_when_all_was_in_place_is_given_again(run: Path, lazarus):
    for words in (("backup", "run", "-o", "copy.tar"), ("backup", "run", "-o", "folder")):
        assert lazarus(*words)[0] == 0
    for source in ("copy.tar", "folder"):
        assert lazarus("restore", source, "-o", f"again-{source}")[0] == 0
        before = {path: path.stat().st_mtime_ns for path in Path(f"again-{source}").rglob("*")}
        code, _, err = lazarus("restore", source, "-o", f"again-{source}")
        assert code == 0 and "was there, compared" in err
        assert {path: path.stat().st_mtime_ns for path in Path(f"again-{source}").rglob("*")} == before
        for name, change in (("more", b""), ("metrics.jsonl", b"{"), ("empty.txt", b"x")):
            shutil.copytree(f"again-{source}", "other", symlinks=True)
            file = Path("other") / name
            old = file.read_bytes() if file.exists() else b""
            file.write_bytes(change + old[1:][::-1])  # the size stays where there were bytes
            changed = file.read_bytes()
            code, _, err = lazarus("restore", source, "-o", "other")
            assert code == 2 and "LC-E273" in err and file.read_bytes() == changed
            shutil.rmtree("other")
    assert lazarus("restore", "copy.tar", "-o", "folder")[0] == 2, "a copy with its list is no restored run"


def test_a_continued_backup_writes_only_what_is_missing(run: Path, world: Path, lazarus):
    assert lazarus("backup", "run", "-o", "whole.tar")[0] == 0
    there = world / "there"
    there.mkdir()
    words = ("backup", "run", "-o", f"{there}/copy.tar")
    done = commands.run([sys.executable, "-c", killer("lazarus"), str(there), 29, *words], cwd=world)
    assert done.returncode == -signal.SIGKILL
    part = there / ".copy.tar.lazarus-part"
    half = json.loads((there / ".copy.tar.lazarus-part.json").read_bytes())
    assert 0 < half["bytes"] <= part.stat().st_size
    with part.open("r+b") as archive:  # damage that only a continued backup keeps
        archive.seek(half["bytes"] - 700)
        archive.write(b"damage")
    code, _, err = lazarus(*words)
    assert code in (1, 2) and "copy.tar" in err and [*there.iterdir()] == []
    assert lazarus(*words)[0] == 0
    assert (there / "copy.tar").read_bytes() == (world / "whole.tar").read_bytes()


def test_a_copy_is_read_again_before_it_gets_its_name(run: Path, world: Path):
    listed = list_files(run)
    with pytest.raises(CopyDiffers, match="metrics"), unfinished_folder(world / "copy", listed) as part:
        copy_tree(run, part)
        (part / "metrics.jsonl").write_bytes(b"{}")
    assert not (world / "copy").exists()
    with unfinished_folder(world / "copy", listed) as part:
        copy_tree(run, part)
    assert content(world / "copy") == content(run)


def copy_tree(run: Path, part: Path) -> None:
    shutil.copytree(run, part, symlinks=True, dirs_exist_ok=True)
    (part / ".lock").unlink()


def test_a_disk_without_room_is_refused_before_anything_is_written(run: Path, lazarus, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=17 << 20))
    for name in ("copy", "copy.tar"):
        code, _, err = lazarus("backup", "run", "-o", name)
        assert code == 2 and "LC-E274" in err and not Path(name).exists()


@pytest.mark.parametrize(
    "words", [("backup", "plan"), ("backup", "plan", ".tar"), ("restore", "copy"), ("push", "plan")]
)
def test_a_full_disk_names_the_copy(world: Path, lazarus, monkeypatch, words):
    """Writing fails when bytes are flushed; the error of the system names no file."""
    assert lazarus("backup", "plan", "-o", "copy")[0] == 0

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    verb, source, *ending = words
    output = "".join(["again", *ending])
    code, _, err = lazarus(verb, source, *(() if verb == "push" else ("-o",)), output)
    assert code == 2 and f"{output}: no space left" in err and len(err.splitlines()) == 1, err
    assert not Path(output).exists()


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_of_other_bytes_is_one_line(world: Path, lazarus, name):
    if name.endswith(".zst"):
        pytest.importorskip("zstandard")
    assert lazarus("backup", "plan", "-o", name)[0] == 0
    whole = Path(name).read_bytes()
    head = len(whole) // 2
    Path(name).write_bytes(whole[:head] + bytes(reversed(whole[head:])))
    code, _, err = lazarus("restore", name, "-o", "again")
    assert len(err.splitlines()) == 1 and (code, err[-10:-2]) in {(1, "[LC-E276"), (2, "[LC-E275")}, err
    assert not Path("again").exists()
