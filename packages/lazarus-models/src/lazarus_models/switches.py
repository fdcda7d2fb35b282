"""Environment variables with which MLX chooses kernels, set before MLX reads them.

MLX reads each of these variables once in a process, at its first use: the first float32 product, and the first attention
in half precision on CUDA. A later change has no effect. `lazarus_models.backend` calls `prepare_switches` before it imports
MLX. A variable that the user has set stays as it is.

| variable | default here | effect |
|---|---|---|
| `MLX_ENABLE_TF32` | `0` | float32 products in full precision. TF32 rounds their factors to 11 bits: logits of small models are \
then wrong by 1e-4 to 4e-2 (11 families, H200). No effect on a CPU |
| `MLX_CUDA_USE_CUDNN_SDPA` | not set | `0` computes attention without cuDNN, whose gradient in half precision differs from \
call to call. Training sets it; without cuDNN long prompts take more memory, so inference does not |
"""

import os
from collections.abc import MutableMapping
from typing import Literal

Origin = Literal["lazarus", "user", "mlx"]
"""What set a value: this package (`lazarus`), the environment of the user (`user`), or the default of MLX (`mlx`)."""

TF32 = "MLX_ENABLE_TF32"
CUDNN_ATTENTION = "MLX_CUDA_USE_CUDNN_SDPA"
SWITCHES = (TF32, CUDNN_ATTENTION)
_DEFAULTS: dict[str, str] = {TF32: "0"}
_OURS = "LAZARUS_MLX_SWITCHES"
"""Names the variables that this package has set, so that a child process does not take them for the user's."""


def prepare_switches(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets the variables that have a default here and no value yet."""
    for switch, value in _DEFAULTS.items():
        set_switch(switch, value, environment)


def set_switch(switch: str, value: str, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Sets a variable unless the user has set it. MLX must not have read it.

    Args:
        switch: Name of the variable.
        value: Its value.
        environment: Environment of the process.

    Returns:
        Whether the variable has this value now.
    """
    if origin(switch, environment) != "user":
        ours = [*_ours(environment), switch]
        environment[_OURS] = ",".join(dict.fromkeys(ours))
        environment[switch] = value
    return environment[switch] == value


def origin(switch: str, environment: MutableMapping[str, str] = os.environ) -> Origin:
    """Who chose the value of a variable.

    Args:
        switch: Name of the variable.
        environment: Environment of the process.
    """
    if switch not in environment:
        return "mlx"
    return "lazarus" if switch in _ours(environment) else "user"


def switch_values() -> dict[str, str | None]:
    """The value of each variable in the environment of this process; None if it is not set."""
    return {switch: os.environ.get(switch) for switch in SWITCHES}


def describe_switches(environment: MutableMapping[str, str] = os.environ) -> dict[str, dict[str, str | None]]:
    """Value and origin of each variable, as a run's manifest records them."""
    return {switch: {"value": environment.get(switch), "set_by": origin(switch, environment)} for switch in SWITCHES}


def _ours(environment: MutableMapping[str, str]) -> list[str]:
    return [name for name in environment.get(_OURS, "").split(",") if name]
