import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from lazarus_models.cli import options
from lazarus_models.kernel_cache import VARIABLE, KernelCache, keep_kernels


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "")  # so that what a test sets is taken back
    monkeypatch.delenv(VARIABLE)


def test_kernels_are_kept_in_the_users_cache_by_version_and_architecture(tmp_path):
    found = keep_kernels("sm_90")
    assert found.folder == tmp_path / f"cache/lazarus/kernels/mlx-{version('mlx')}-sm_90"
    assert found.folder.is_dir()
    assert os.environ[VARIABLE] == str(found.folder)  # MLX reads it at its first kernel
    del os.environ[VARIABLE]
    assert keep_kernels("sm_80").folder != found.folder


def test_a_folder_that_the_user_chose_stays(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert keep_kernels("sm_90").folder == tmp_path / "mine"
    assert os.environ[VARIABLE] == str(tmp_path / "mine")


def test_an_empty_variable_keeps_nothing_and_says_so(monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    found = keep_kernels("sm_90")
    assert found == KernelCache(None)
    assert "in every process" in found.in_words and found.count == 0


def test_without_a_cache_folder_mlx_keeps_its_own(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = keep_kernels("sm_90")
    assert found.folder == Path(tempfile.gettempdir()) / "mlx" / version("mlx") / "ptx"
    assert VARIABLE not in os.environ


def test_the_first_run_is_told_until_there_is_a_kernel(tmp_path):
    cache = keep_kernels("sm_90")
    assert cache.folder is not None
    assert cache.first_run == cache.in_words
    assert "first run on this GPU" in cache.first_run and str(cache.folder) in cache.first_run
    (cache.folder / "binary.ptx").touch()
    (cache.folder / "binary.txt").touch()  # the names of its kernels
    long = cache.folder / "long" / "name.ptx"  # MLX makes folders of long names
    long.parent.mkdir()
    long.touch()
    assert (cache.first_run, cache.count) == ("", 2)
    assert cache.in_words.startswith(f"2 compiled GPU modules are kept in {cache.folder}")


def test_commands_that_load_a_model_tell_it(monkeypatch, tmp_path, tiny_directory, capsys):
    kept = KernelCache(tmp_path / "kernels")
    monkeypatch.setattr("lazarus_models.backend.KERNELS", kept)
    options.load_model(str(tiny_directory), None)
    assert kept.first_run in capsys.readouterr().err
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/a.ptx").touch()
    options.load_model(str(tiny_directory), None)
    assert "kernels" not in capsys.readouterr().err
