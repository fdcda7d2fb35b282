"""Checks where the data files of a run come from, beyond their rows.

A length cache records the manifest of the corpus that a data file is a shard of, or of the images that it was made from.
The package that wrote the manifest checks the rest of the way. It is found by the entry point group `lazarus.origins`:

    [project.entry-points."lazarus.origins"]
    corpus = "lazarus_corpus.output.origin:check_origin"

The object is a function of the data files and of the present paths of their sources. It yields the name of a link,
whether it is valid (None if it was not compared), and what was found.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from lazarus_core.plugins import PluginGroup
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit.images import manifest_path
from lazarus_train.errors import SetupError
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.run_dir.links import How, Link
from lazarus_train.verify.evidence import RunEvidence

GROUP = "lazarus.origins"
_PLUGINS = PluginGroup(GROUP, "origin", "a function of files and sources", callable, SetupError, "LR-E172")


def walk_origins(run: RunEvidence) -> list[Link]:
    """Links from the data files to their sources, as the packages that made the files check them.

    Args:
        run: The run, with the present paths of data and sources.

    Raises:
        StalePlan: A link is broken; the message names it.
    """
    links: list[Link] = []
    for name in sorted({entry.name for entry in entry_points(group=GROUP)}):
        plugin = _PLUGINS.load(name)
        assert plugin is not None, "listed"
        for link, is_valid, found in plugin.value(run.config.data_files, run.sources):
            if is_valid is False:
                raise StalePlan(f"{link}: {found}: it is not as its manifest says", "LR-E216")
            links.append(Link(link, found, How.NOT_PROVEN if is_valid is None else How.RECOMPUTED))
    return links


def origin_links(run: RunEvidence, inputs: RunInputs, walked: Sequence[Link]) -> Iterator[Link]:
    """The links of `walk_origins`, once the manifests are those that the plan records; none for data files without one.

    Args:
        run: The run, with the present paths of data and sources.
        inputs: Its plan, which records the manifests.
        walked: Result of `walk_origins`.

    Raises:
        StalePlan: A manifest was changed since the lengths were built.
        SetupError: Sources are given, and the plan records no manifest.
    """
    recorded = _recorded(inputs)
    if not recorded:
        if run.sources:
            raise SetupError(
                "`sources` are given, but the plan's lengths are not of shards of a corpus or of images", "LR-E217"
            )
        return
    folders = {path.parent.parent for path in run.config.data_files if path.parent.name == "shards"}
    manifests = {folder / "manifest.json" for folder in folders} | set(map(manifest_path, run.config.data_files))
    for path in sorted(manifests):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() not in recorded:
            raise StalePlan(
                f"manifest: {path} changed since the lengths were built: restore it, or build lengths and plan again",
                "LR-E216",
            )
    yield from walked
    if not walked:
        reason = "the data files are not beside their manifest, or lazarus-corpus is not installed"
        yield Link("corpus", f"{reason}; its manifest has SHA-256 {', '.join(sorted(recorded))}", How.NOT_CHECKED)


def _recorded(inputs: RunInputs) -> set[str]:
    """SHA-256 of the manifests in the plan."""
    parts: list[dict[str, Any]] = inputs.plan.fingerprints["data"]["parts"]
    return {file["sha256"] for part in parts for file in part.get("files", []) if file.get("role") == "manifest"}
