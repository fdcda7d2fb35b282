"""Reads tensors of a GGUF file as numpy arrays. Blocks of quantized weights need the package `gguf`, the extra `gguf`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from lazarus_core.bounded import open_file
from lazarus_models.backend import mx
from lazarus_models.errors import UnsupportedModel, WeightsError
from lazarus_models.loading.gguf.header import BLOCKS, GgufTensor, TensorType

PLAIN = (TensorType.F32, TensorType.F16, TensorType.BF16)
"""Types without blocks."""


class GgufWeights:
    """The weights of an open file."""

    def __init__(self, path: Path, stream: IO[bytes], tensors: Mapping[str, GgufTensor]) -> None:
        self._path, self._stream, self._tensors = path, stream, tensors

    def read(self, name: str) -> mx.array:
        """A tensor in the file's precision if that is a float, else in float32, which holds every quantized weight exactly.

        Args:
            name: Name in the file.

        Raises:
            UnsupportedModel: The tensor is quantized and the package `gguf` is not installed.
            WeightsError: The file became shorter.
        """
        tensor = self._tensors[name]
        self._stream.seek(tensor.offset)
        content = self._stream.read(tensor.nbytes)
        if len(content) < tensor.nbytes:
            raise WeightsError(f"{self._path}: truncated while it was read; fetch it again", "LM-E264")
        raw = np.frombuffer(content, np.uint8)
        if tensor.type is TensorType.BF16:
            words: Any = raw.view("<u2")
            return mx.reshape(mx.view(mx.array(words), mx.bfloat16), tensor.shape)
        if tensor.type in PLAIN:
            numbers: Any = raw.view("<f4" if tensor.type is TensorType.F32 else "<f2").reshape(tensor.shape)
            return mx.array(numbers)
        return mx.array(_dequantized(raw, tensor, name))


@contextmanager
def open_weights(path: Path, tensors: Mapping[str, GgufTensor]) -> Generator[GgufWeights]:
    """Opens the weights of a file.

    Args:
        path: The file.
        tensors: The tensors of its header.
    """
    with open_file(path) as stream:
        yield GgufWeights(path, stream, tensors)


def _dequantized(raw: Any, tensor: GgufTensor, name: str) -> Any:
    try:
        from gguf import GGMLQuantizationType, dequantize
    except ModuleNotFoundError as error:
        raise UnsupportedModel(
            f"`{name}` is {tensor.type.name}: quantized weights of GGUF need the package `gguf`; install "
            "`lazarus-models[gguf]`",
            "LM-E268",
        ) from error
    weights, width = BLOCKS[tensor.type]
    rows = raw.reshape(*tensor.shape[:-1], tensor.shape[-1] // weights * width)
    with np.errstate(all="ignore"):  # a damaged scale is NaN or infinite; the model's loader refuses it by name
        return dequantize(rows, GGMLQuantizationType(int(tensor.type)))
