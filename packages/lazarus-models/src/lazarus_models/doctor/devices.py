"""The device that MLX computes on, as MLX describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from lazarus_models.backend import mx, on_cpu

Kind = Literal["cpu", "cuda", "metal"]


@dataclass(frozen=True)
class Device:
    """A device.

    Args:
        kind: Backend of MLX.
        name: Such as `Device(gpu, 0)`.
        model: Name by its maker, such as `NVIDIA H200`.
        architecture: Such as `sm_90`; empty if MLX does not name one.
        memory_bytes: Memory of a GPU; None on a CPU.
        free_bytes: Memory that no process uses; None if MLX does not say.
        wired_bytes: Largest limit of wired memory on Apple Silicon; None elsewhere.
    """

    kind: Kind
    name: str
    model: str
    architecture: str = ""
    memory_bytes: int | None = None
    free_bytes: int | None = None
    wired_bytes: int | None = None


def read_device() -> Device:
    """The default device of this process."""
    kind: Kind = "cpu" if on_cpu() else "cuda" if mx.cuda.is_available() else "metal"
    return described(kind, str(mx.default_device()), mx.device_info())


def described(kind: Kind, name: str, properties: Mapping[str, object]) -> Device:
    """A device from the properties that MLX reports of it.

    Args:
        kind: Backend of MLX.
        name: Such as `Device(gpu, 0)`.
        properties: Result of `mx.device_info`. CUDA has `total_memory` and `free_memory`, Metal has `memory_size` and
            `max_recommended_working_set_size`.
    """
    is_gpu = kind != "cpu"
    return Device(
        kind=kind,
        name=name,
        model=str(properties.get("device_name", "unknown")),
        architecture=str(properties.get("architecture", "")),
        memory_bytes=_bytes(properties, "total_memory", "memory_size") if is_gpu else None,
        free_bytes=_bytes(properties, "free_memory") if is_gpu else None,
        wired_bytes=_bytes(properties, "max_recommended_working_set_size") if is_gpu else None,
    )


def _bytes(properties: Mapping[str, object], *names: str) -> int | None:
    found = next((properties[name] for name in names if name in properties), None)
    return None if found is None else int(cast("int", found))
