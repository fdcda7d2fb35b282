"""The models in the cache of the hub: what was downloaded, its size, and its removal.

The cache is that of huggingface_hub, so other programs may have downloaded a model, and may use it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lazarus_models.errors import ConfigError
from lazarus_models.loading.hub import MODELS

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedModel:
    """A repository in the cache."""

    repository: str
    """`owner/name` on the hub."""
    commits: tuple[str, ...]
    """The downloaded commits, the newest first."""
    num_files: int
    """Number of different files."""
    num_bytes: int
    """Size on disk. A file that several commits share counts once."""
    last_used: str
    """Time of the last access in UTC, `2026-11-29T05:08:21Z`."""
    path: Path
    """Its directory."""

    @property
    def short_names(self) -> tuple[str, ...]:
        """The keys of `MODELS` that mean this repository."""
        return tuple(name for name, repository in MODELS.items() if repository == self.repository)


def cached_models() -> list[CachedModel]:
    """The models in the cache, sorted by name; empty if there is no cache."""
    found = [
        CachedModel(
            repository=repo.repo_id,
            commits=tuple(
                each.commit_hash for each in sorted(repo.revisions, key=lambda each: each.last_modified, reverse=True)
            ),
            num_files=repo.nb_files,
            num_bytes=repo.size_on_disk,
            last_used=datetime.fromtimestamp(repo.last_accessed, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            path=repo.repo_path,
        )
        for repo in _repositories()
    ]
    return sorted(found, key=lambda each: each.repository)


def chosen_models(names: Sequence[str]) -> list[CachedModel]:
    """The cached models with these names, in the same order, each once.

    Args:
        names: Repositories `owner/name`, or keys of `MODELS`.

    Raises:
        ConfigError: A model is not in the cache.
    """
    cached = {each.repository: each for each in cached_models()}
    chosen: dict[str, CachedModel] = {}
    for name in names:
        repository = MODELS.get(name, name)
        if repository not in cached:
            known = f"it has {', '.join(cached)}" if cached else "it is empty"
            raise ConfigError(f"{name} is not in the cache of models; {known}", "LM-E231")
        chosen[repository] = cached[repository]
    return list(chosen.values())


def remove_cached(names: Sequence[str]) -> list[CachedModel]:
    """Removes models from the cache.

    Args:
        names: Repositories `owner/name`, or keys of `MODELS`.

    Returns:
        The removed models.

    Raises:
        ConfigError: A model is not in the cache; then none is removed. Or a file cannot be removed.
    """
    from huggingface_hub import scan_cache_dir

    chosen = chosen_models(names)
    found = scan_cache_dir(cache_folder())
    for (
        each
    ) in chosen:  # one by one: copies of a repository share commits, which the deletion finds by their hash alone
        only = frozenset(repo for repo in found.repos if repo.repo_path == each.path)
        replace(found, repos=only).delete_revisions(*each.commits).execute()
    left = [str(each.path) for each in chosen if each.path.exists()]
    if left:
        raise ConfigError(f"{', '.join(left)} cannot be removed; check its permissions", "LM-E231")
    return chosen


def cache_folder() -> Path:
    """The directory of the cache; `HF_HUB_CACHE` or `HF_HOME` changes it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _repositories() -> "list[CachedRepoInfo]":
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir(cache_folder())
    except CacheNotFound:
        return []
    for damaged in found.warnings:
        logger.warning("the cache of models has a damaged entry: %s", str(damaged).partition("\n")[0])
    return [repo for repo in found.repos if repo.repo_type == "model"]
