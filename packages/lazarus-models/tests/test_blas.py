import json
import os
import shutil
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
    code += "import lazarus_models.packaged_blas as p; p.find_spec = lambda name: None; import lazarus_models.backend, lazarus_models.components.masks"
    _, _, err = python(code, LAZARUS_BLAS="")
    assert err.count("install OpenBLAS") == 1
    assert python("import lazarus_models.backend", LAZARUS_BLAS="off")[2] == ""


@pytest.mark.slow
def test_openblas_is_what_mlx_multiplies_with(openblas):
    code = "from lazarus_models.ops.cpu.doctor import measure_gflops as m; print(m())"
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


LIBRARY = r"""
#define GEMM(name, number)                                                                                   \
    void scipy_cblas_##name(int order, int ta, int tb, int m, int n, int k, number alpha, const number *a,   \
                            int lda, const number *b, int ldb, number beta, number *c, int ldc) {            \
        for (int i = 0; i < m; i++)                                                                          \
            for (int j = 0; j < n; j++) {                                                                    \
                number sum = 0;                                                                              \
                for (int l = WRONG; l < k; l++)                                                              \
                    sum += (ta == 111 ? a[i * lda + l] : a[l * lda + i]) * (tb == 111 ? b[l * ldb + j] : b[j * ldb + l]); \
                c[i * ldc + j] = alpha * sum + (beta ? beta * c[i * ldc + j] : 0);                           \
            }                                                                                                \
    }
GEMM(sgemm, float)
GEMM(dgemm, double)
void scipy_cblas_cgemm(void) {}
const char *scipy_openblas_get_config(void) { return "OpenBLAS 9.8.7 planted"; }
const char *scipy_openblas_get_corename(void) { return "Plain"; }
int scipy_openblas_get_num_threads(void) { return 1; }
"""


@pytest.fixture
def planted(request, tmp_path):
    """The extra's package with a plain library of ours in it: a right one, or one that skips a product."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler for a library in the extra's place")
    folder = tmp_path / packaged_blas.PACKAGE / "lib"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "gemm.c").write_text(LIBRARY, encoding="utf-8")
    command = [compiler, "-shared", "-fPIC", f"-DWRONG={request.param}", "gemm.c", "-o", "libscipy_openblas.so"]
    subprocess.run(command, cwd=folder, check=True)
    return {"PYTHONPATH": str(tmp_path), "LAZARUS_BLAS": "packaged"}


PRODUCT = "from lazarus_models.backend import BLAS, mx; a = mx.arange(12.0).reshape(3, 4); print(BLAS.library, (a @ a.T).tolist())"
PRODUCTS = "[[14.0, 38.0, 62.0], [38.0, 126.0, 214.0], [62.0, 214.0, 366.0]]"


@pytest.mark.parametrize("planted", [0], indirect=True)
def test_the_extra_multiplies_in_place_of_the_wheels_own(planted):
    assert python(PRODUCT, **planted)[1].strip() == f"{packaged_blas.PACKAGE} {PRODUCTS}"
    found = json.loads(python(PACKAGED, **planted)[1])
    assert (found["version"], found["core"], found["reason"]) == ("9.8.7", "Plain", "the extra `blas`")


@pytest.mark.slow
@pytest.mark.parametrize("planted", [1], indirect=True)
def test_an_extra_that_multiplies_wrongly_is_taken_out_and_doctor_says_so(planted):
    _, out, err = python(PRODUCT, **planted)
    assert out.strip() == f"builtin {PRODUCTS}"
    assert "multiplies wrongly" in err
    doctor = "from lazarus_models.__main__ import main; import sys; sys.argv = ['lazarus-models', 'doctor']; main()"
    _, out, err = python(doctor, **planted)
    assert "builtin: scipy_openblas32 is installed, but MLX multiplies wrongly with it" in out
    assert "times faster with OpenBLAS" in err


@pytest.mark.skipif(find_spec(packaged_blas.PACKAGE) is None, reason="the extra `blas` is not installed")
def test_the_published_extra_passes_its_self_test():
    assert json.loads(python(PACKAGED, LAZARUS_BLAS="packaged")[1])["library"] == packaged_blas.PACKAGE
