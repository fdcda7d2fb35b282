import subprocess
import sys
from importlib.metadata import version

import pytest

from lazarus_models.mlx_builds import BUILDS, MIN_DRIVERS, installed_builds, why_not_started

NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"
OLD_DRIVER = "cudaMallocManaged(&data, size) failed: CUDA driver version is insufficient for CUDA runtime version"


def test_the_installed_build_is_that_of_the_environment():
    found = installed_builds()
    assert len(found) == 1, "two builds overwrite each other"
    assert found.keys() <= set(BUILDS)
    assert set(found.values()) == {version("mlx")}


@pytest.mark.parametrize("build", MIN_DRIVERS)
@pytest.mark.parametrize(
    ("reason", "words"), [(NO_DRIVER, "this machine has none"), (OLD_DRIVER, "finds no NVIDIA GPU")]
)
def test_a_missing_or_old_driver_is_named_with_the_oldest_that_works(build, reason, words):
    error = why_not_started(ImportError(reason), {build: "0.32.4"})
    assert error.code == "LM-E571"
    assert build in error.message and MIN_DRIVERS[build] in error.message
    assert words in error.message and reason in error.message
    assert "mlx[cpu]" in error.message


@pytest.mark.parametrize(
    ("builds", "words"),
    [
        ({}, "no library for this machine"),
        ({"mlx-cpu": "1", "mlx-cuda-13": "1"}, "mlx-cpu and mlx-cuda-13 are installed"),
        ({"mlx-cpu": "1"}, "uv pip install --reinstall mlx"),
        ({"mlx-cuda-13": "1"}, "uv pip install --reinstall mlx"),
    ],
)
def test_what_else_is_wrong_with_the_builds_is_said(builds, words):
    error = why_not_started(ImportError("libmlx.so: not found\nat all"), builds)
    assert (error.code, error.exit_code) == ("LM-E570", 2)
    assert words in error.message and "libmlx.so: not found at all" in error.message


def test_a_command_without_mlx_ends_with_one_line():
    code = "import sys; sys.modules['mlx.core'] = None; sys.argv = ['lazarus-models', 'doctor']; "
    code += "from lazarus_models.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: MLX does not start (") and done.stderr.count("\n") == 1
    assert done.stderr.rstrip().endswith("[LM-E570]")
