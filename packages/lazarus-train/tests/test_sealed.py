"""A manifest lists every file of its folder, and nothing else lies there."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.format import merkle_root
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed, seal_damage
from lazarus_train.run_dir.sealed_write import seal


@pytest.fixture
def folder(tmp_path):
    def write(beside):
        (beside / "deep").mkdir()
        (beside / "a.txt").write_bytes(b"a")
        (beside / "deep/b.txt").write_bytes(b"b")

    seal(tmp_path / "sealed", write)
    return tmp_path / "sealed"


def test_a_folder_as_it_was_written_is_whole(folder):
    assert seal_damage(folder) is None
    assert list(Sealed.read(folder).digests) == ["a.txt", "deep/b.txt"]


ADDED = {
    "file": lambda folder: (folder / "modelx.safetensors").touch(),
    "index": lambda folder: (folder / "model.safetensors.index.json").touch(),
    "hidden": lambda folder: (folder / ".hidden").touch(),
    "deep file": lambda folder: (folder / "deep/c.txt").touch(),
    "second manifest": lambda folder: (folder / "deep/manifest.json").touch(),
    "empty folder": lambda folder: (folder / "empty").mkdir(),
    "link to a file": lambda folder: (folder / "link").symlink_to("a.txt"),
    "link to a folder": lambda folder: (folder / "link").symlink_to("deep"),
    "broken link": lambda folder: (folder / "link").symlink_to("nothing"),
}


@pytest.mark.parametrize("what", ADDED)
def test_whatever_was_added_is_found(folder, what):
    ADDED[what](folder)
    assert "remove it" in (seal_damage(folder) or "")


@pytest.mark.parametrize("name", ["a.txt", "manifest.json", "deep"])
def test_a_link_in_the_place_of_what_was_written_is_found(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "aside")
    (folder / name).symlink_to(tmp_path / "aside")
    assert "link" in (seal_damage(folder) or "")


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"sha256": {}}',
        '{"sha256": []}',
        '{"sha256": {"a.txt": 1}}',
        '{"sha256": {"a.txt": "00"}}',
        '{"sha256": {"../x": "%s"}}',
        '{"sha256": {"/x": "%s"}}',
        '{"sha256": {"deep//b.txt": "%s"}}',
        '{"sha256": {"./a.txt": "%s"}}',
        '{"sha256": {"manifest.json": "%s"}}',
        '{"sha256": {"a.txt": "%s"}, "more": 1}',
        '{"sha256": {"a.txt": "%s", "a.txt": "%s"}}',
        "[" * 100_000,
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, manifest):
    (folder / "manifest.json").write_text(manifest.replace("%s", "0" * 64))
    assert "manifest.json is damaged" in (seal_damage(folder) or "")


def test_a_file_that_no_manifest_lists_is_no_part_of_the_binding(folder):
    binding = Sealed.read(folder).binding("final")
    assert binding.content == (folder / "manifest.json").read_bytes()
    leaves = [hashlib.sha256(content).digest() + name for name, content in ((b"a.txt", b"a"), (b"deep/b.txt", b"b"))]
    assert binding.rows == merkle_root(leaves)


@given(st.text())
def test_no_name_leads_out_of_the_folder(name):
    content = json.dumps({"sha256": {name: "0" * 64}}).encode()
    from lazarus_train.run_dir.sealed_read import _digests

    try:
        (listed,) = _digests(content)
    except BrokenSeal:
        return
    assert not listed.startswith("/") and ".." not in listed.split("/") and listed
