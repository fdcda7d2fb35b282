"""What `doctor` says of a GPU, from what MLX, NVML and the system report of one. No GPU is needed."""

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import lazarus_models.doctor
from lazarus_models.backend import mx
from lazarus_models.cli.app import app
from lazarus_models.doctor import diagnosis
from lazarus_models.doctor.devices import described, read_device
from lazarus_models.doctor.lines import diagnosis_lines
from lazarus_models.doctor.nvidia import Driver, cuda_advice, read_driver, toolkit_versions
from lazarus_models.doctor.products import measure_elsewhere
from lazarus_models.doctor.repeats import RUNS, check_repeats, model_gradients, repeat_advice

H200 = {  # as MLX 0.32.4 reports it
    "device_name": "NVIDIA H200",
    "uuid": "GPU-00000000-0000-0000-0000-000000000000",
    "architecture": "sm_90",
    "pci_bus_id": "0000:1b:00.0",
    "compute_capability_major": 9,
    "compute_capability_minor": 0,
    "free_memory": 149_000_000_000,
    "total_memory": 150_754_820_096,
}
M3 = {
    "device_name": "Apple M3 Max",
    "architecture": "applegpu_g15s",
    "memory_size": 68_719_476_736,
    "max_recommended_working_set_size": 55_662_788_608,
    "max_buffer_length": 41_747_087_360,
    "resource_limit": 499_000,
}
BOTH = {"embedding": RUNS, "attention, bfloat16": RUNS}
DRIVER = Driver("580.82.07", "13.0", "NVML")
NVML_SOURCE = """
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned int length) { strncpy(version, "580.82.07", length); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12090; return 0; }
"""
PROC_TEXT = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  (dvs-builder@U16)
GCC version:  gcc version 12.3.0
"""


def of_cuda(**changes):
    given = {
        "mlx": "0.32.4",
        "device": described("cuda", "Device(gpu, 0)", H200),
        "builds": {"mlx-cuda-13": "0.32.4"},
        "gflops": 52_000.0,
        "gflops_tf32": 365_000.0,
        "gflops_bfloat16": 666_000.0,
        "repeats": BOTH,
        "driver": DRIVER,
        "toolkit": {"cublas": "13.10.0.20", "cudnn": "9.28.1.4"},
        "kernels": "/cache/lazarus/kernels/mlx-0.32.4-sm_90",
        "advice": "",
    }
    return diagnosis.Diagnosis(**{**given, **changes})


def test_the_table_of_an_nvidia_gpu_has_memory_speeds_versions_and_no_blas():
    assert diagnosis_lines(of_cuda()) == {
        "mlx": "0.32.4 (mlx-cuda-13 0.32.4)",
        "device": "Device(gpu, 0) NVIDIA H200 sm_90",
        "memory": "140.4 GiB, 138.8 GiB free",
        "driver": "580.82.07, runs CUDA 13.0 (NVML)",
        "libraries": "cublas 13.10.0.20, cudnn 9.28.1.4",
        "kernels": "kept in /cache/lazarus/kernels/mlx-0.32.4-sm_90",
        "float32": "52,000 GFLOP/s",
        "tf32": "365,000 GFLOP/s",
        "bfloat16": "666,000 GFLOP/s",
        "gradient: embedding": "equal in 6 of 6 runs",
        "gradient: attention, bfloat16": "equal in 6 of 6 runs",
    }


def test_what_is_missing_is_said():
    rows = diagnosis_lines(of_cuda(driver=Driver(), toolkit={}, kernels="", gflops_tf32=None, repeats={"embedding": 2}))
    assert rows["driver"] == "unknown (no NVML, no /proc/driver/nvidia)"
    assert (rows["libraries"], rows["tf32"]) == ("none found", "not measured")
    assert rows["kernels"] == "not kept between processes"
    assert rows["gradient: embedding"] == "equal in 2 of 6 runs: it does not repeat"


def test_the_table_of_apple_silicon_has_the_wired_limit():
    found = diagnosis.Diagnosis(
        mlx="0.32.4",
        device=described("metal", "Device(gpu, 0)", M3),
        builds={"mlx-metal": "0.32.4"},
        gflops=14_000.0,
        gflops_bfloat16=15_000.0,
        repeats=BOTH,
        advice="",
    )
    rows = diagnosis_lines(found)
    assert rows["memory"] == "64.0 GiB"
    assert rows["wired limit"].startswith("at most 51.8 GiB; `sudo sysctl iogpu.wired_limit_mb=N`")
    assert rows.keys().isdisjoint({"blas", "driver", "tf32", "libraries"})


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="tells of a CPU")
def test_a_cpu_has_a_blas_and_nothing_of_a_gpu(monkeypatch, tmp_path):
    assert read_device().kind == "cpu"
    monkeypatch.setattr(diagnosis, "PROC", tmp_path / "version")
    monkeypatch.setattr(diagnosis, "measure_gflops", lambda *_: 84.0)
    monkeypatch.setattr(diagnosis, "measure_elsewhere", lambda **_: 7.0)
    found = diagnosis.diagnose()
    assert "NVIDIA" not in found.advice
    assert diagnosis_lines(found).keys() == {"mlx", "device", "blas", "float32"}
    (tmp_path / "version").touch()
    assert "`uv pip uninstall mlx-cpu`" in diagnosis.diagnose().advice


@pytest.fixture
def nvml(tmp_path):
    """Builds a library with NVML's functions."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")

    def build(starts):
        source, library = tmp_path / "nvml.c", tmp_path / f"nvml-{starts}.so"
        source.write_text(NVML_SOURCE.replace("INIT", "0" if starts else "999"))
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
        return library

    return build


def test_the_driver_is_read_from_nvml_or_from_proc(nvml, tmp_path):
    proc = tmp_path / "version"
    assert read_driver(nvml(starts=True), proc) == Driver("580.82.07", "12.9", "NVML")
    assert read_driver(nvml(starts=False), proc) == Driver()
    proc.write_text(PROC_TEXT)
    assert read_driver(nvml(starts=False), proc) == Driver("570.133.20", "", str(proc))
    assert read_driver("libm.so.6", proc).version == "570.133.20"  # a library without NVML's functions
    assert read_driver("libnothing.so", tmp_path / "nothing") == Driver()


@given(st.binary(max_size=300))
def test_any_version_file_is_read_without_a_failure(tmp_path_factory, content):
    proc = tmp_path_factory.mktemp("proc") / "version"
    proc.write_bytes(content)
    assert read_driver("libnothing.so", proc).source == str(proc)


@pytest.mark.parametrize(
    ("driver", "builds", "architecture", "words"),
    [
        (DRIVER, {"mlx-cuda-13": "1"}, "sm_90", None),
        (Driver("580", "13.0", "NVML"), {"mlx-cuda-13": "1"}, "sm_75", None),
        (Driver("550.54.14", "12.4", "NVML"), {"mlx-cuda-12": "1"}, "sm_120", None),
        (Driver("", "", "/proc"), {"mlx-cuda-13": "1"}, "", None),
        (
            Driver("570.133.20", "12.8", "NVML"),
            {"mlx-cuda-13": "1"},
            "sm_90",
            "driver 580 or newer; this is 570.133.20",
        ),
        (
            Driver("550.54.9", "12.4", "NVML"),
            {"mlx-cuda-12": "1"},
            "sm_90",
            "driver 550.54.14 or newer; this is 550.54.9",
        ),
        (DRIVER, {"mlx-cuda-13": "1"}, "sm_70", "sm_75 or newer; this one is sm_70"),
        (DRIVER, {"mlx-cpu": "1", "mlx-cuda-13": "1"}, "sm_90", "mlx-cpu and mlx-cuda-13 are installed"),
        (Driver(), {"mlx-cuda-13": "1"}, "sm_90", "driver capability `utility`"),
    ],
)
def test_advice_names_what_to_install(driver, builds, architecture, words):
    found = cuda_advice(driver, builds, architecture)
    assert (words in found) if words else found == ""


def test_libraries_of_cuda_have_short_names():
    found = toolkit_versions()
    assert list(found) == sorted(found)
    assert not any(name.startswith("nvidia") or name.endswith(("-cu12", "-cu13")) for name in found)


def test_a_product_that_cannot_be_measured_is_none():
    assert measure_elsewhere(LAZARUS_BLAS="/nowhere/libblas.so") is None


def test_runs_that_equal_the_first_are_counted():
    numbers = iter([1.0, 2.0, 1.0, 1.0])
    found = check_repeats({"same": lambda: [mx.ones(3)], "other": lambda: [mx.full((2,), next(numbers))]}, runs=4)
    assert found == {"same": 4, "other": 3}
    assert repeat_advice(BOTH) == ""
    assert "(embedding): two equal training runs" in repeat_advice({**BOTH, "embedding": RUNS - 1})


def test_gradients_of_a_model_repeat_on_this_device():
    found = check_repeats(model_gradients((1, 2, 64, 32)))
    assert found == dict.fromkeys(("embedding", "attention, float32", "attention, bfloat16"), RUNS)


def test_the_command_prints_a_table_or_json(monkeypatch):
    monkeypatch.setattr(lazarus_models.doctor, "diagnose", lambda: of_cuda(advice="update the driver"))
    done = CliRunner().invoke(app, ["doctor"])
    assert "tf32" in done.stdout and "365,000 GFLOP/s" in done.stdout
    assert not re.search(r"(?m)^blas", done.stdout)
    assert done.stderr.strip() == "update the driver"
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert (found["device"], found["device_name"], found["blas"]) == ("Device(gpu, 0)", "NVIDIA H200", None)
    assert (found["hardware"]["kind"], found["driver"]["cuda"]) == ("cuda", "13.0")
    assert found["repeats"] == BOTH
