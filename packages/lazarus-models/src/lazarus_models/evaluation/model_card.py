"""What a report says of a model and of the software."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lazarus_models.adapters.base_digest import base_digest
from lazarus_models.backend import BLAS, mx
from lazarus_models.evaluation.data import digests_of
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import parameter_count
from lazarus_tokenkit import compute_fingerprint

__all__ = ["adapter_digests", "model_card", "versions"]


def model_card(lm: LoadedModel, adapters: Mapping[str, str]) -> dict[str, Any]:
    """Name, size and identity of a model.

    Args:
        lm: The model.
        adapters: Digests of the files of its adapter, by name; empty without one.

    Returns:
        By name; `files` are the digests of its files, or `weights` is one of the values in memory, of a model without files
        or one that was loaded without `hashed`.
    """
    return {
        "name": lm.name,
        "revision": lm.revision,
        "family": lm.family,
        "parameters": parameter_count(lm.model),
        "quantization": None if lm.config.quantization is None else lm.config.quantization.bits,
        "weights": None if lm.digests else base_digest(lm.model),
        "files": dict(sorted(lm.digests.items())),
        "adapter": dict(sorted(adapters.items())),
        "tokenizer": compute_fingerprint(lm.tokenizer).fingerprint,
    }


def adapter_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of an adapter's folder, by name."""
    return digests_of({file.name: file for file in sorted(folder.iterdir()) if file.is_file()})


def versions() -> dict[str, str]:
    """Versions of the software that a score depends on."""
    return {
        "lazarus-models": version("lazarus-models"),
        "mlx": version("mlx"),
        "python": platform.python_version(),
        "blas": BLAS.library or "none",
        "device": mx.default_device().type.name,
    }
