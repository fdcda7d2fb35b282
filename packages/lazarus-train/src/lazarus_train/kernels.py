"""Settings of MLX's kernels on a GPU, and what a run with them promises. `devices` applies them; this module needs no MLX."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

_CUDNN_ATTENTION = "MLX_CUDA_USE_CUDNN_SDPA"
NOT_PROMISED = (
    "gradients add in any order, so the same run again, or a run that was stopped and resumed, has other weights"
)
"""What is true of a run whose kernels do not repeat."""


@dataclass(frozen=True)
class KernelSettings:
    """Settings of a run that choose MLX's kernels on a GPU; they have no effect on a CPU.

    Args:
        tf32: Round the factors of float32 products to TF32.
        fast_nondeterministic: Use MLX's gradients and attention, whose last bits differ from call to call.
    """

    tf32: bool = False
    fast_nondeterministic: bool = False


class KernelFields(Protocol):
    """The fields of a run's settings that choose kernels."""

    @property
    def tf32(self) -> bool:
        """Whether float32 products are rounded to TF32."""
        ...

    @property
    def fast_nondeterministic(self) -> bool:
        """Whether gradients may add in any order."""
        ...


def kernel_settings(settings: KernelFields) -> KernelSettings:
    """The settings of a run that choose kernels."""
    return KernelSettings(tf32=settings.tf32, fast_nondeterministic=settings.fast_nondeterministic)


EXACT = KernelSettings()
"""Exact float32 products, and gradients that repeat."""


def without_defaults(members: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run without its kernel settings at their defaults, so that records keep the form of earlier versions."""
    defaults = asdict(EXACT)
    return {name: each for name, each in members.items() if name not in defaults or each != defaults[name]}


def has_equal_bits(recorded: Mapping[str, Any]) -> bool:
    """Whether the same run on the same device gives the same bits, as its record says.

    Args:
        recorded: The member `policy` of a run's manifest. On a CPU, and in records of earlier versions, gradients have one
            order.
    """
    if "fixed_order" not in recorded:
        return True
    attention = recorded.get("switches", {}).get(_CUDNN_ATTENTION, {})
    is_cuda = recorded.get("gpu", {}).get("backend") == "cuda"
    return recorded["fixed_order"] and (attention.get("value") == "0" or not is_cuda)


def kernel_promise(recorded: Mapping[str, Any]) -> str | None:
    """What a run on a GPU promises by its kernels: equal bits or not, exact products or not.

    Args:
        recorded: The member `policy` of a run's manifest.

    Returns:
        A line; None for a run on a CPU, or of a version that recorded no kernels.
    """
    if "fixed_order" not in recorded:
        return None
    order = "gradients in a fixed order: the same run on this device and driver gives the same bits"
    products = "float32 products rounded to TF32" if recorded.get("tf32") else "exact float32 products"
    return f"{order if has_equal_bits(recorded) else NOT_PROMISED}; {products}"
