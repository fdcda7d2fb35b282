"""Modules joined into one file: one docstring, all imports, the code in order, no name twice."""

import pytest

from lazarus_core.source_files import join_sources

FIRST = '"""First."""\n\nimport json\nfrom typing import Any\n\nA: Any = json\n'
LAST = '"""Last."""\n\nfrom typing import Literal as L\n\nimport numpy as np\nfrom mine.first import A\n\n\ndef f() -> L[1]:\n    """F."""\n    return np.a(A)\n'


def test_the_file_has_one_docstring_all_imports_and_the_code_in_order():
    assert join_sources([FIRST, LAST], own=["mine"]) == (
        '"""Last."""\n\nimport json\nfrom typing import Any, Literal as L\n\nimport numpy as np\n\n\n'
        'A: Any = json\n\n\ndef f() -> L[1]:\n    """F."""\n    return np.a(A)\n'
    )


@pytest.mark.parametrize("code", ["A = 1", "def A(): ...", "class A: ...", "B, A = 1, 2", "A: int = 1"])
def test_a_name_that_two_sources_define_is_refused(code: str):
    with pytest.raises(ValueError, match="`A`"):
        join_sources([FIRST, f'"""Last."""\n\nimport re\n\n{code}\n'], own=[])
