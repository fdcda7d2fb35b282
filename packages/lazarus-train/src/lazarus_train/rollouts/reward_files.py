"""The files that a reward is read from. Their digests are part of a run's record: the reward decides the weights as the data do."""

import inspect
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from lazarus_train.rollouts.rewards import load_reward
from lazarus_train.run_dir.sealed_read import file_digest


def reward_files(name: str, folder: str = "") -> dict[str, Path]:
    """The files of a reward by a name that does not depend on the folder; none for a reward of this or an installed package.

    A file of rewards may name further ones: those that its reward has as `files`, if it has them. Of a function it is
    the module that is named, and the one that defines the function.

    Args:
        name: The setting `reward`.
        folder: Folder in which it is looked for, as in `load_reward`.

    Raises:
        SetupError: There is no such reward.
    """
    reward: Any = load_reward(name, folder)
    if name.lower().endswith(".toml"):
        path = Path(folder, name)
        others = [Path(each) for each in getattr(reward, "files", ())]
        return {name: path, **{_beside(each, path): each for each in others if each.is_file()}}
    return _modules(name) if ":" in name else {}


def reward_digests(name: str, folder: str = "") -> dict[str, str]:
    """SHA-256 of each file of a reward, 64 hex.

    Args:
        name: The setting `reward`.
        folder: Folder in which it is looked for.

    Raises:
        SetupError: There is no such reward.
    """
    return {label: file_digest(path) for label, path in reward_files(name, folder).items()}


def changed_reward(recorded: Mapping[str, str] | None, name: str, folder: str = "") -> Path | str | None:
    """A file of the reward that is not as the run recorded it; None if there is none, or the run is of an earlier version.

    Args:
        recorded: The digests in the record of the run; None compares nothing.
        name: The setting `reward`.
        folder: Folder in which it is looked for.

    Raises:
        SetupError: There is no such reward.
    """
    if recorded is None:
        return None
    files = reward_files(name, folder)
    labels = [label for label in files if file_digest(files[label]) != recorded.get(label)]
    labels += [label for label in recorded if label not in files]
    return files.get(labels[0], labels[0]) if labels else None


def _beside(path: Path, file: Path) -> str:
    """The name of a file in the folder of another one, or its last part."""
    folder, path = file.resolve().parent, path.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _modules(name: str) -> dict[str, Path]:
    """Files of the module that is named and of the one that defines the function. Python's own modules count as installed."""
    module, _, attribute = name.partition(":")
    named: Any = import_module(module)  # `load_reward` has imported it
    found = named
    for part in attribute.split("."):
        found = getattr(found, part)
    has_module = inspect.isroutine(found) or inspect.isclass(found)
    defining = inspect.getmodule(cast("object", found if has_module else type(found)))
    paths = {each.__name__: each.__file__ for each in (named, defining) if each is not None}
    return {
        each: Path(path)
        for each, path in paths.items()
        if path is not None and each.partition(".")[0] not in sys.stdlib_module_names and Path(path).is_file()
    }
