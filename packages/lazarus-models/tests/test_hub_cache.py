"""The cache of downloaded models: list and removal."""

import json
import shutil

import huggingface_hub.constants
import pytest
from typer.testing import CliRunner

from lazarus_core.errors import LazarusError
from lazarus_models.cli.app import app
from lazarus_models.errors import ConfigError
from lazarus_models.loading import cached_models, load, remove_cached

COMMIT, OLDER = "0123456789abcdef0123456789abcdef01234567", "f" * 40


@pytest.fixture
def cache(tiny_directory, tmp_path, monkeypatch):
    """A cache with two models, one of them in two commits that share their files, and a data set."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("models--HuggingFaceTB--SmolLM2-360M-Instruct", "models--someone--tiny", "datasets--someone--text"):
        blobs = cache / name / "blobs"
        blobs.mkdir(parents=True)
        commits = [COMMIT, OLDER] if "tiny" in name else [COMMIT]
        for file in tiny_directory.iterdir():
            shutil.copy(file, blobs / file.name)
        for commit in commits:
            snapshot = cache / name / "snapshots" / commit
            snapshot.mkdir(parents=True)
            for file in tiny_directory.iterdir():
                (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
        (cache / name / "refs").mkdir()
        (cache / name / "refs/main").write_text(COMMIT, encoding="utf-8")
    return cache


def invoke(*arguments):
    return CliRunner().invoke(app, ["cache", *map(str, arguments)])


def test_models_are_listed_with_their_size(cache, tiny_directory):
    size = sum(file.stat().st_size for file in tiny_directory.iterdir())
    first, second = cached_models()
    assert (first.repository, second.repository) == ("HuggingFaceTB/SmolLM2-360M-Instruct", "someone/tiny")
    assert first.short_names == ("smollm2-360m",)
    assert second.num_bytes == size  # two commits, one copy of the files
    assert {*second.commits} == {COMMIT, OLDER}
    shown = json.loads(invoke("list", "--json").stdout)
    assert [row["num_bytes"] for row in shown] == [size, size]
    table = invoke("list")
    assert len(table.stdout.splitlines()) == 2
    assert "(smollm2-360m)" in table.stdout
    assert f"in {cache}" in table.stderr


def test_nothing_is_removed_without_a_yes(cache):
    done = invoke("remove", "smollm2-360m")
    assert isinstance(done.exception, LazarusError)
    assert (done.exception.code, done.exception.exit_code) == ("LM-E232", 2)
    assert "HuggingFaceTB/SmolLM2-360M-Instruct: " in done.exception.message
    assert len(cached_models()) == 2


def test_what_is_removed_is_gone_and_the_rest_stays(cache):
    load("someone/tiny")
    done = invoke("remove", "someone/tiny", "--yes")
    assert done.exit_code == 0, done.output
    assert not (cache / "models--someone--tiny").exists()
    with pytest.raises(ConfigError, match="not in the cache"):
        load("someone/tiny")
    assert [each.repository for each in cached_models()] == ["HuggingFaceTB/SmolLM2-360M-Instruct"]
    assert (cache / "datasets--someone--text/blobs").is_dir()


@pytest.mark.parametrize("name", ["someone/absent", "someone/text", "../../etc", "tinyllama"])
def test_if_one_is_absent_none_is_removed(cache, name):
    with pytest.raises(ConfigError, match="is not in the cache of models; it has HuggingFaceTB/SmolLM2") as failure:
        remove_cached(["someone/tiny", name])
    assert failure.value.code == "LM-E231"
    assert len(cached_models()) == 2


def test_a_copy_of_a_repository_stays(cache):
    for number in range(8):  # all with the same commit
        shutil.copytree(cache / "models--someone--tiny", cache / f"models--someone--copy{number}", symlinks=True)
    left = {each.repository for each in cached_models()} - {"someone/copy3", "someone/copy6"}
    remove_cached(["someone/copy3", "someone/copy6"])
    assert {each.repository for each in cached_models()} == left
    assert sum(len(each.commits) for each in cached_models()) == 2 * 7 + 1


def test_no_cache_is_an_empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    assert cached_models() == []
    assert invoke("list").stdout == ""
    with pytest.raises(ConfigError, match="it is empty"):
        remove_cached(["someone/tiny"])
