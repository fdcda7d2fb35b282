"""Finds a model: a directory, a short name, or a repository of the Hugging Face hub, which is downloaded once.

A repository is named `owner/name` or `owner/name@revision`. A cached repository is used without the network. Configs,
tokenizers and safetensors are downloaded, never pickles or code.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from lazarus_models.errors import ConfigError, WeightsError

MODELS = {
    "functiongemma-270m": "google/functiongemma-270m-it",
    "gemma3-1b": "google/gemma-3-1b-it",
    "gpt-oss-20b": "mlx-community/gpt-oss-20b-MXFP4-Q8",
    "granite3-2b": "ibm-granite/granite-3.3-2b-instruct",
    "granite4-1b": "ibm-granite/granite-4.0-h-1b",
    "llama3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "mamba-130m": "state-spaces/mamba-130m-hf",
    "mistral-7b": "mistralai/Mistral-7B-Instruct-v0.3",
    "olmoe-1b-7b": "allenai/OLMoE-1B-7B-0125-Instruct",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M-Instruct",
    "starcoder2-3b": "bigcode/starcoder2-3b",
    "tinyllama-1.1b": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
}
"""Repositories of published models by short name."""
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
    name, _, pinned = MODELS.get(str(model), str(model)).partition("@")
    if (isinstance(model, Path) and model.is_absolute()) or name.count("/") != 1 or name.startswith((".", "/")):
        near = get_close_matches(str(model), MODELS)
        raise ConfigError(
            f"{model}: no such directory; give a directory with config.json, owner/name on the hub, or a short name: "
            f"{', '.join(near or MODELS)}",
            "LM-E100",
        )
    return _fetch(name, revision or pinned or None)


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


def _fetch(name: str, revision: str | None) -> Source:
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
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{name}{at}: no such directory, not in the cache, and the download from the hub failed: {first}", "LM-E107"
        ) from error
    return Source(path, path.name)
