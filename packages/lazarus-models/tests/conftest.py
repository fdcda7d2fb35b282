"""Array shapes are checked at run time here: jaxtyping's axes by beartype, from the first import of the package."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a two-thread matrix product collapses on a busy machine
os.environ.setdefault("MLX_DISABLE_COMPILE", "1")  # compiling a kernel takes longer than these tests
install_import_hook(
    ["lazarus_models.masks", "lazarus_models.sample", "lazarus_models.decoder", "lazarus_models.components"],
    "beartype.beartype",
)


@pytest.fixture(scope="session")
def data() -> Path:
    """Real inputs, described in the data folder's README."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    return folder


@pytest.fixture(scope="session")
def byte_tokenizer():
    from lazarus_tokenkit import load_tokenizer

    return load_tokenizer("byte")


@pytest.fixture
def tiny(byte_tokenizer):
    """A fresh two-layer model over bytes."""
    from lazarus_models import new

    return new("tiny-test", byte_tokenizer, seed=0)


@pytest.fixture
def tiny_directory(tiny, tmp_path):
    """The same, saved."""
    from lazarus_models import save

    save(tiny, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def stories(data):
    """A trained model of 260,032 parameters that tells children's stories."""
    from lazarus_models import load

    return load(data / "models/stories260k")
