"""What a result was computed from: fingerprints of model and tokenizer, versions and device."""

import hashlib
from importlib.metadata import version

import numpy as np

from lazarus_introspect.analysis.settings import Frozen
from lazarus_models import LoadedModel
from lazarus_models.backend import mx
from lazarus_models.trees import parameter_count, weights
from lazarus_tokenkit import compute_fingerprint

PACKAGES = ("lazarus-introspect", "lazarus-models", "lazarus-tokenkit", "mlx")


class Provenance(Frozen):
    """Origin of a result."""

    model: str
    """Name of its directory, or of the repository's commit."""
    family: str
    parameters: int
    weights: str
    """Digest of all weights in memory, adapters included, 64 hexadecimal digits."""
    tokenizer: str
    """Fingerprint of the tokenizer, 64 hexadecimal digits."""
    versions: dict[str, str]
    """Versions of packages by name."""
    device: str
    """`cpu` or `gpu`."""


def provenance_of(lm: LoadedModel) -> Provenance:
    """The origin of a model's results. It hashes all weights: 0.4 s for 135 million parameters in float32."""
    return Provenance(
        model=lm.revision or lm.name,
        family=lm.family,
        parameters=parameter_count(lm.model),
        weights=weights_digest(lm),
        tokenizer=compute_fingerprint(lm.tokenizer).fingerprint,
        versions={name: version(name) for name in PACKAGES},
        device="cpu" if mx.default_device().type == mx.cpu else "gpu",
    )


def weights_digest(lm: LoadedModel) -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor in memory, in the order of the names."""
    sha = hashlib.sha256()
    for name, tensor in weights(lm.model).items():
        sha.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        sha.update(np.array(mx.view(tensor, mx.uint8)).data)
    return sha.hexdigest()
