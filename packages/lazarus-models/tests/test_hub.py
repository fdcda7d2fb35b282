import shutil

import huggingface_hub.constants
import pytest

from lazarus_models import load
from lazarus_models.errors import ConfigError
from lazarus_models.loading import MODELS, locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tiny_directory, tmp_path, monkeypatch):
    """A repository in the hub's cache, and no network."""
    cache = tmp_path / "hub"
    repository = cache / "models--someone--tiny"
    shutil.copytree(tiny_directory, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.mark.parametrize("name", ["someone/tiny", f"someone/tiny@{COMMIT}", "someone/tiny@main"])
def test_what_is_in_the_cache_needs_no_network(cached, tiny, name):
    lm = load(name)
    assert lm.revision == COMMIT
    assert lm.config.hidden_size == tiny.config.hidden_size


def test_a_directory_comes_before_the_hub(cached, tiny_directory):
    assert locate(tiny_directory) == locate(str(tiny_directory)) == (tiny_directory, None)


def test_what_is_nowhere_is_one_line(cached):
    with pytest.raises(ConfigError, match="someone/else@main: no such directory, not in the cache") as failure:
        load("someone/else", revision="main")
    assert "\n" not in failure.value.message
    with pytest.raises(
        ConfigError, match=r"zzz does not exist: give a directory .* \d+ short names, such as smollm2-360m, "
    ):
        load("zzz")


def test_a_short_name_misspelt_is_told_the_near_ones(cached):
    with pytest.raises(ConfigError, match=r"short names, such as smollm2-360m, smollm2-135m, smollm2-1.7b$"):
        load("smollm-360m")


def test_short_names_are_repositories():
    assert all(name.count("/") == 1 for name in MODELS.values())
