"""The table of the command `doctor`."""

from lazarus_models.doctor.diagnosis import Diagnosis
from lazarus_models.doctor.repeats import RUNS


def diagnosis_lines(found: Diagnosis) -> dict[str, str]:
    """Rows of the table by heading.

    Args:
        found: Result of `diagnose`.
    """
    builds = ", ".join(f"{name} {version}" for name, version in found.builds.items())
    device = found.device
    rows = {
        "mlx": f"{found.mlx} ({builds or 'no build'})",
        "device": " ".join(part for part in (device.name, device.model, device.architecture) if part),
    }
    if device.kind != "cpu":
        rows |= _gpu_rows(found)
    if found.blas is not None:
        blas = " ".join(str(part) for part in (found.blas.library, found.blas.version, found.blas.core) if part)
        threads = f", {found.blas.threads} threads" if found.blas.threads else ""
        rows["blas"] = f"{blas}{threads}: {found.blas.reason}"
    rows["float32"] = _speed(found.gflops)
    if found.gflops and found.gflops_builtin:
        rows["float32"] += (
            f", {found.gflops / found.gflops_builtin:.0f} times the {found.gflops_builtin:.1f} of the built-in BLAS"
        )
    if device.kind == "cuda":
        rows["tf32"] = _speed(found.gflops_tf32)
    if device.kind != "cpu":
        rows["bfloat16"] = _speed(found.gflops_bfloat16)
    for name, equal in found.repeats.items():
        rows[f"gradient: {name}"] = f"equal in {equal} of {RUNS} runs" + (
            "" if equal == RUNS else ": it does not repeat"
        )
    return rows


def _gpu_rows(found: Diagnosis) -> dict[str, str]:
    device, rows = found.device, dict[str, str]()
    if device.memory_bytes is not None:
        free = "" if device.free_bytes is None else f", {_gib(device.free_bytes)} free"
        rows["memory"] = f"{_gib(device.memory_bytes)}{free}"
    if device.wired_bytes is not None:
        rows["wired limit"] = (
            f"at most {_gib(device.wired_bytes)}; `sudo sysctl iogpu.wired_limit_mb=N` changes it until a restart"
        )
    if found.driver is not None:
        driver = found.driver
        cuda = f", runs CUDA {driver.cuda}" if driver.cuda else ""
        rows["driver"] = f"{driver.version or 'unknown'}{cuda} ({driver.source or 'no NVML, no /proc/driver/nvidia'})"
        rows["libraries"] = ", ".join(f"{name} {version}" for name, version in found.toolkit.items()) or "none found"
        rows["kernels"] = f"kept in {found.kernels}" if found.kernels else "not kept between processes"
    return rows


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _speed(gflops: float | None) -> str:
    return "not measured" if gflops is None else f"{gflops:,.0f} GFLOP/s"
