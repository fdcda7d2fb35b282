"""A digest of a base model's weights, which identifies the base of an adapter.

It covers name, shape and values of every weight, and does not depend on the precision: bfloat16 weights and equal float32
weights have the same digest. It detects a wrong base; it is not cryptographic protection against forgery.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import cast

from lazarus_models.adapters.lora import adapter_weights
from lazarus_models.backend import mx, nn
from lazarus_models.trees import weights

_SCORE = "score."
"""The head of a `SequenceModel`, which is trained together with the adapters."""
_CHUNK = 1 << 22
"""Weights hashed at a time: 50 MB of memory."""


def base_digest(model: nn.Module) -> str:
    """The digest of a model without its adapters, 64 hexadecimal digits."""
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
    """Two sums of each chunk of a tensor, over its bits mixed with their places (the finalizer of MurmurHash3)."""
    is_real = mx.issubdtype(tensor.dtype, mx.floating)
    flat = tensor.flatten() if is_real else tensor.flatten().view(mx.uint8)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        words = chunk.astype(mx.float32).view(mx.uint32) if is_real else chunk.astype(mx.uint32)
        # The place is mixed in first (multiplied by 2^32 / golden ratio), so that permuted weights differ.
        places = mx.arange(start, start + chunk.size, dtype=mx.uint32)
        mixed = words ^ (places * mx.array(0x9E3779B1, mx.uint32))
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            mixed = (mixed ^ (mixed >> shift)) * mx.array(factor, mx.uint32)
        mixed = mixed ^ (mixed >> 16)
        low, high = mixed.sum(), (mixed >> 16).sum()  # uint32 sums wrap at 2^32 on every device
        yield cast("int", low.item()), cast("int", high.item())
