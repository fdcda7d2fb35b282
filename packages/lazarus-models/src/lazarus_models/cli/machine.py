"""The command `doctor`."""

import json
from dataclasses import asdict

from lazarus_core.console import say, show
from lazarus_models.cli.options import AsJson, show_table


def doctor(as_json: AsJson = False) -> None:
    """Report the device that MLX uses, its speed and versions, and how to make it faster.

    On a GPU this measures float32, TF32 and bfloat16, and computes gradients six times to see whether they repeat.

    Example: --json
    """
    from lazarus_models.backend import KERNELS
    from lazarus_models.doctor import diagnose, diagnosis_lines

    if KERNELS is not None and KERNELS.first_run:
        say(KERNELS.first_run)
    found = diagnose()
    if as_json:
        show(json.dumps(_as_json(asdict(found)), ensure_ascii=False))
        return
    show_table(diagnosis_lines(found), as_json=False)
    if found.advice:
        say(found.advice)


def _as_json(found: dict[str, object]) -> dict[str, object]:
    """The diagnosis with the device's name and model at the top, as earlier versions had them."""
    device = found["device"]
    assert isinstance(device, dict)
    return {**found, "device": device["name"], "device_name": device["model"], "hardware": device}
