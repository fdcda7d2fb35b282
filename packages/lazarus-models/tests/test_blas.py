import json
import os
import subprocess
import sys

import pytest

from lazarus_models.blas import ensure_fast_blas

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MLX uses Accelerate here")


def python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


REPORT = "import json, dataclasses; from lazarus_models.blas import ensure_fast_blas as e; print(json.dumps(dataclasses.asdict(e())))"


@pytest.fixture
def openblas():
    found = ensure_fast_blas()
    if found.library != "openblas":
        pytest.skip(f"no OpenBLAS: {found.reason}")
    return found


def test_off_means_off():
    _, out, err = python(REPORT, LAZARUS_BLAS="off")
    assert json.loads(out)["library"] == "builtin"
    assert err == ""


def test_a_named_library_is_used(openblas):
    _, out, _ = python(REPORT, LAZARUS_BLAS=openblas.path)
    found = json.loads(out)
    assert (found["library"], found["reason"], found["core"]) == ("openblas", "LAZARUS_BLAS", openblas.core)


@pytest.mark.parametrize(("path", "code"), [("/nowhere/libblas.so", "LM-E150"), ("libm.so.6", "LM-E151")])
def test_what_is_no_blas_is_refused(path, code):
    check = "from lazarus_core.errors import LazarusError\ntry:\n import lazarus_models.blas\nexcept LazarusError as e: print(e.code)"
    assert python(check, LAZARUS_BLAS=path)[1].strip() == code


def test_too_late_is_said(openblas):
    _, out, _ = python("import mlx.core; " + REPORT, LAZARUS_BLAS="")
    assert "too late" in json.loads(out)["reason"]


NO_OPENBLAS = "import ctypes.util; ctypes.util.find_library = lambda name: None\n"


@pytest.mark.parametrize(("wanted", "warnings"), [("", 1), ("off", 0)])
def test_a_slow_blas_is_warned_of_once_where_models_are_made_and_off_is_not(stories, wanted, warnings):
    code = f"import lazarus_models\nfor _ in range(2): lazarus_models.load({str(stories.path)!r})"
    _, _, err = python(NO_OPENBLAS + code, LAZARUS_BLAS=wanted)
    assert err.count("install OpenBLAS") == err.count("\n") == warnings


def test_a_refused_command_is_one_line_without_a_fast_blas():
    code = "from lazarus_models.__main__ import main; import sys; sys.argv[1:] = ['infer', '-m', 'absent']; main()"
    done, _, err = python(NO_OPENBLAS + code, LAZARUS_BLAS="")
    assert (done, err.count("\n"), err[:6]) == (2, 1, "error:")


@pytest.mark.slow
def test_openblas_is_what_mlx_multiplies_with(openblas):
    code = "from lazarus_models.doctor.products import measure_gflops as m; print(m())"
    fast, slow = (float(python(code, LAZARUS_BLAS=wanted)[1]) for wanted in ("", "off"))
    assert fast > 2 * slow  # 120 against 8 GFLOP/s on a quiet core
