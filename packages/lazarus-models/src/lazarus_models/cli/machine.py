"""The command `doctor`."""

import json
from dataclasses import asdict

from lazarus_core.console import say, show
from lazarus_models.cli.options import AsJson, show_table


def doctor(as_json: AsJson = False) -> None:
    """Report the device and the BLAS that MLX uses, their speed, and how to make them faster.

    Example: --json
    """
    from lazarus_models.ops.cpu.doctor import diagnose

    found = diagnose()
    if as_json:
        show(json.dumps(asdict(found), ensure_ascii=False))
        return
    blas = " ".join(str(part) for part in (found.blas.library, found.blas.version, found.blas.core) if part)
    threads = f", {found.blas.threads} threads" if found.blas.threads else ""
    builtin = ""
    if found.gflops_builtin:
        builtin = (
            f", {found.gflops / found.gflops_builtin:.0f} times the {found.gflops_builtin:.1f} of the built-in BLAS"
        )
    show_table(
        {
            "mlx": found.mlx,
            "device": f"{found.device} {found.device_name}",
            "blas": f"{blas}{threads}: {found.blas.reason}",
            "float32": f"{found.gflops:.0f} GFLOP/s{builtin}",
        },
        as_json=False,
    )
    if found.advice:
        say(found.advice)
