"""A digest of a base model's weights, by which an adapter knows the model that it was trained on.

It covers every weight under its name and shape and does not depend on their precision: bfloat16 weights and the same
weights in float32 have one digest. It finds a wrong base; it is no proof against forgery.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import cast

from lazarus_models.adapters.lora import adapter_weights
from lazarus_models.backend import mx, nn
from lazarus_models.trees import weights

_SCORE = "score."
"""The head of a `SequenceModel`, which is trained beside the adapters."""
_CHUNK = 1 << 22
"""Weights mixed at a time: 50 MB beside the model."""


def base_digest(model: nn.Module) -> str:
    """The digest of a model without its adapters, 64 hex digits."""
    adapters = adapter_weights(model)
    base = {
        name.replace(".linear.", "."): tensor
        for name, tensor in weights(model).items()
        if name not in adapters and not name.startswith(_SCORE)
    }
    sha = hashlib.sha256()
    for name, tensor in sorted(base.items()):
        sums = [sum(column) % (1 << 64) for column in zip(*_sums(tensor), strict=True)]
        sha.update((json.dumps([name, list(tensor.shape), sums]) + "\n").encode())
    return sha.hexdigest()


def _sums(tensor: mx.array) -> Iterator[tuple[int, int]]:
    """Two sums of each chunk of a tensor, of its bits mixed with their places (the finalizer of MurmurHash3)."""
    is_real = mx.issubdtype(tensor.dtype, mx.floating)
    flat = tensor.flatten() if is_real else tensor.flatten().view(mx.uint8)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        words = chunk.astype(mx.float32).view(mx.uint32) if is_real else chunk.astype(mx.uint32)
        places = mx.arange(start, start + chunk.size, dtype=mx.uint32)
        mixed = words ^ (places * mx.array(0x9E3779B1, mx.uint32))
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            mixed = (mixed ^ (mixed >> shift)) * mx.array(factor, mx.uint32)
        mixed = mixed ^ (mixed >> 16)
        low, high = mixed.sum(), (mixed >> 16).sum()  # they wrap at 2^32 on every device
        yield cast("int", low.item()), cast("int", high.item())
