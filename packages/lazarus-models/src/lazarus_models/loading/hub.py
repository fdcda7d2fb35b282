"""Finds a model: a directory, a short name, or a repository of the Hugging Face hub, which is downloaded once.

A repository is named `owner/name` or `owner/name@revision`. A cached repository is used without the network. Configs,
tokenizers and safetensors are downloaded, never pickles or code.
"""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from lazarus_core.reasons import absent_or
from lazarus_models.errors import ConfigError, WeightsError
from lazarus_models.loading.published import PUBLISHED

MODELS = {name: model.repository for name, model in sorted(PUBLISHED.items())}
"""Repositories of published models by short name."""
_EXCEPTION = re.compile(r"^(Got: )?(\w+Error: )?(\[Errno -?\d+\] )?")
"""What is before the reason in an error of the hub's client."""
_WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model")


class Source(NamedTuple):
    """The place of a model."""

    path: Path
    revision: str | None = None
    """The commit of its repository, 40 hexadecimal digits; None for a local directory."""

    @property
    def model_path(self) -> Path:
        """The same as `path`."""
        return self.path


def locate(model: Path | str, revision: str | None = None) -> Source:
    """Finds the directory of a model; a repository is downloaded if it is not cached.

    Args:
        model: A directory, a key of `MODELS`, or `owner/name[@revision]`.
        revision: Branch, tag or commit of the repository; None for the main branch.

    Raises:
        ConfigError: There is no such directory or repository, or the hub cannot be reached.
    """
    path = Path(model)
    if path.is_dir():
        return Source(path)
    published = PUBLISHED.get(str(model))
    name, _, pinned = (published.repository if published else str(model)).partition("@")
    if (isinstance(model, Path) and model.is_absolute()) or name.count("/") != 1 or name.startswith((".", "/")):
        near = get_close_matches(str(model), MODELS) or ("smollm2-360m", "gemma-3-1b", "llama-3.2-1b")
        raise ConfigError(
            f"{absent_or(path, 'is a file, not the directory of a model')}: give a directory with config.json, owner/name on the hub, or one of "
            f"{len(MODELS)} short names, such as {', '.join(near)}",
            "LM-E100",
        )
    said = f"{model} is {name} (family {published.family})" if published else None
    return _fetch(name, revision or pinned or None, said)


def own_file(folder: Path, name: str) -> Path:
    """The path of a weights file in a model's folder.

    A link may point to a file in the same folder. In the cache of the hub it may point to the blobs of its repository:
    `models--owner--name/snapshots/<commit>/file` links to `models--owner--name/blobs/<digest>`. Any other link is refused,
    because a model from a third party could include any file of the machine.

    Args:
        folder: The folder of the model.
        name: File name from the index, or of the only weights file.

    Raises:
        WeightsError: The name is not a plain name of a safetensors file, or a link points out of the folder.
    """
    if not name.endswith(".safetensors") or name != Path(name).name or "\0" in name or "\\" in name:
        raise WeightsError(f"{folder}: {name!r} is not the plain name of a safetensors file of this folder", "LM-E129")
    file = folder / name
    home = folder.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    try:
        target = file.resolve()
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{file}: broken link: {error}", "LM-E129") from error
    if target.parent not in (home, blobs):
        raise WeightsError(
            f"{file} is a link out of the model's folder, to {target}; copy the file into the folder", "LM-E129"
        )
    return file


def _fetch(name: str, revision: str | None, said: str | None) -> Source:
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType] (a parameter of it is a bare dict)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, revision=revision, local_files_only=True))
        if (path / "config.json").exists():
            return Source(path, path.name)
    except (LocalEntryNotFoundError, ValueError):
        pass  # not in the cache: download it
    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        at = f"@{revision}" if revision else ""
        first = _EXCEPTION.sub("", str(error).strip().partition("\n")[0])
        raise ConfigError(
            f"{said or name + at}: no such directory, not in the cache, and the download from the hub failed: {first}; "
            "give a directory, or correct the name or the connection",
            "LM-E107",
        ) from error
    return Source(path, path.name)
