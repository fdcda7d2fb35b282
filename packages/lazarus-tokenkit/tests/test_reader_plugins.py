"""Readers of outside packages: a toy package, as installers lay it out, reads files of its own suffix."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lazarus_plan import read_lengths
from lazarus_tokenkit import Encoder, build_lengths, load_tokenizer, read_samples
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.placed_row import MAX_ROW_BYTES
from toy_packages import lay_out

CODE = """
from lazarus_tokenkit.errors import SampleError

def read(path):
    for line in path.read_text().splitlines():
        question, _, answer = line.partition("|")
        yield {"prompt": question, "completion": answer}

def fail(path):
    yield {"prompt": "1", "completion": "2"}
    raise RuntimeError("bad\\nblock")

def refuse(path):
    raise SampleError(f"{path}:7: my own words", "LT-E305")
    yield

def give_list(path):
    yield ["1", "2"]

def give_numbers(path):
    yield {1: "2"}

def give_nothing(path):
    return None

def give_much(path):
    yield {"prompt": "x" * LIMIT, "completion": "yy"}

def with_nulls(path):
    yield {"prompt": "1", "completion": "2", "extra": None, "id": "mine"}

constant = 3
""".replace("LIMIT", str(MAX_ROW_BYTES))
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package: `install("toy", toy="toy:read")` lays out its module and its metadata."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(package: str, code: str = CODE, **readers: str) -> None:
        points = {suffix.replace("_", "."): value for suffix, value in readers.items()}
        lay_out(site, code, package=package, module=package, group="lazarus.readers", points=points, version="1.5")
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "d.toy"
    path.write_text("1+1=|2\n2+2=|4\n")
    return path


def test_an_outside_package_reads_files_of_its_suffix(install: Install, data: Path, tmp_path: Path):
    install("toy", toy="toy:read")
    assert [(sample.id, sample.prompt, sample.completion) for sample in read_samples(data)] == [  # pyright: ignore[reportAttributeAccessIssue]
        ("0", "1+1=", "2"),
        ("1", "2+2=", "4"),
    ]
    header = build_lengths(data, Encoder(load_tokenizer("byte"), "plain"), tmp_path / "l.jsonl")
    assert header.parts["data"]["files"][0]["name"] == "d.toy" and len(read_lengths(tmp_path / "l.jsonl")) == 2


def test_its_module_is_loaded_when_a_file_needs_it(install: Install, data: Path, tmp_path: Path):
    install("toy", toy="toy:read")
    (tmp_path / "d.jsonl").write_text('{"text":"a"}\n')
    assert len(list(read_samples(tmp_path / "d.jsonl"))) == 1 and "toy" not in sys.modules
    list(read_samples(data))
    assert "toy" in sys.modules


def test_a_suffix_of_lazarus_stays_its_own(install: Install, tmp_path: Path):
    install("toy", "raise SystemExit", jsonl="toy:read", txt="toy:read")
    (tmp_path / "d.jsonl").write_text('{"text":"a"}\n')
    assert len(list(read_samples(tmp_path / "d.jsonl"))) == 1


def test_the_longest_suffix_reads(install: Install, tmp_path: Path):
    install("toy", toy="toy:fail", rows_toy="toy:read")
    (tmp_path / "d.rows.toy").write_text("1+1=|2\n")
    assert len(list(read_samples(tmp_path / "d.rows.toy"))) == 1


def test_fields_are_read_as_of_any_row(install: Install, data: Path):
    install("toy", toy="toy:with_nulls")
    assert [sample.id for sample in read_samples(data)] == ["mine"]


@pytest.mark.parametrize(
    ("reader", "words", "code"),
    [
        ("toy:fail", r"d\.toy:2: the reader of package toy 1\.5 failed: RuntimeError: bad block", "LT-E323"),
        ("toy:give_list", r"d\.toy:1: the reader of package toy 1\.5 gave a list, not an object", "LT-E323"),
        ("toy:give_numbers", r"d\.toy:1: the reader of package toy 1\.5 gave a field name 1, not a text", "LT-E323"),
        ("toy:give_nothing", r"d\.toy: the reader of package toy 1\.5 failed: TypeError", "LT-E323"),
        ("toy:give_much", r"d\.toy:1: the row has more than 12,582,912 characters", "LT-E316"),
        ("toy:refuse", r"d\.toy:7: my own words", "LT-E305"),
        ("toy:absent", r"the reader `toy:absent` of package toy 1\.5 cannot be loaded: .*absent", "LT-E322"),
        (
            "nowhere:read",
            r"the reader `nowhere:read` of package toy 1\.5 cannot be loaded: ModuleNotFoundError: No module named",
            "LT-E322",
        ),
        ("toy:constant", r"`toy:constant` of package toy 1\.5 is not a function", "LT-E322"),
    ],
)
def test_what_a_reader_does_wrong_is_said_with_its_package(
    install: Install, data: Path, reader: str, words: str, code: str
):
    install("toy", toy=reader)
    with pytest.raises(SampleError, match=words) as caught:
        list(read_samples(data))
    assert (caught.value.code, caught.value.exit_code) == (code, 2)


def test_two_packages_for_a_suffix_are_refused(install: Install, data: Path):
    install("toy", toy="toy:read")
    install("other", toy="other:read")
    words = r"d\.toy: package other 1\.5 and package toy 1\.5 both read `\.toy`; uninstall one of them"
    with pytest.raises(SampleError, match=words) as caught:
        list(read_samples(data))
    assert caught.value.code == "LT-E324"


def test_a_suffix_that_nobody_reads_names_those_that_are(install: Install, data: Path):
    with pytest.raises(SampleError, match=r"\.md, \.rst(, \.idx)?: give JSON Lines files"):
        list(read_samples(data))
    install("toy", toy="toy:read")
    other = data.rename(data.with_suffix(".other"))
    with pytest.raises(SampleError, match=r"\.rst(, \.idx)?, \.toy: give JSON Lines files"):
        list(read_samples(other))
