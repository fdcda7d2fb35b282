import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from lazarus_models import packaged_blas
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
    check = "from lazarus_plan import LazarusError\ntry:\n import lazarus_models.blas\nexcept LazarusError as e: print(e.code)"
    assert python(check, LAZARUS_BLAS=path)[1].strip() == code


def test_too_late_is_said(openblas):
    _, out, _ = python("import mlx.core; " + REPORT, LAZARUS_BLAS="")
    assert "too late" in json.loads(out)["reason"]


def test_a_slow_blas_is_warned_of_once_and_off_is_not():
    code = "import ctypes.util; ctypes.util.find_library = lambda name: None; "
    code += "import lazarus_models.packaged_blas as p; p.find_spec = lambda name: None; import lazarus_models.backend, lazarus_models.masks"
    _, _, err = python(code, LAZARUS_BLAS="")
    assert err.count("install OpenBLAS") == 1
    assert python("import lazarus_models.backend", LAZARUS_BLAS="off")[2] == ""


@pytest.mark.slow
def test_openblas_is_what_mlx_multiplies_with(openblas):
    code = "from lazarus_models.doctor import measure_gflops as m; print(m())"
    fast, slow = (float(python(code, LAZARUS_BLAS=wanted)[1]) for wanted in ("", "off"))
    assert fast > 2 * slow  # 120 against 8 GFLOP/s on a quiet core


def test_the_calls_of_mlx_are_found_in_its_table():
    import lazarus_models.backend  # noqa: F401 (loads MLX's library)

    slots = packaged_blas._slots()
    assert sorted(slots) == ["cblas_cgemm", "cblas_dgemm", "cblas_sgemm"]
    assert all(slot.value for slot in slots.values())
    assert packaged_blas._multiplies_rightly()


PACKAGED = (
    "import json, dataclasses; from lazarus_models.backend import BLAS; print(json.dumps(dataclasses.asdict(BLAS)))"
)


@pytest.mark.skipif(find_spec(packaged_blas.PACKAGE) is not None, reason="the extra `blas` is installed")
def test_an_extra_that_is_not_installed_is_named():
    _, out, err = python(PACKAGED, LAZARUS_BLAS="packaged")
    assert json.loads(out)["library"] == "builtin"
    assert "no `lazarus-models[blas]` is installed" in err


@pytest.mark.skipif(find_spec(packaged_blas.PACKAGE) is None, reason="the extra `blas` is not installed")
def test_the_extra_is_used_unless_it_multiplies_wrongly():
    assert json.loads(python(PACKAGED, LAZARUS_BLAS="packaged")[1])["library"] == packaged_blas.PACKAGE
    wrong = "import lazarus_models.packaged_blas as p; p._multiplies_rightly = lambda: False; "
    check = "from lazarus_models.doctor import measure_gflops as m; m(); "
    found = json.loads(python(wrong + PACKAGED.replace("; print", "; " + check + "print"), LAZARUS_BLAS="packaged")[1])
    assert (found["library"], "multiplies wrongly" in found["reason"]) == ("builtin", True)
