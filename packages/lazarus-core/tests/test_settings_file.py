import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidationError, model_validator

from lazarus_core.errors import InputError
from lazarus_core.settings.file import read_settings
from lazarus_core.settings.layers import Layers, load_settings
from lazarus_core.settings.schema import expected, first_sentence, schema_of
from lazarus_core.settings.show import settings_lines
from lazarus_core.settings.sources import DEFAULT, SettingsError, Source
from lazarus_core.settings.toml_lines import key_lines

STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Square(BaseModel):
    model_config = STRICT
    kind: Literal["square"] = "square"
    side: float = Field(default=1.0, gt=0)


class Circle(BaseModel):
    model_config = STRICT
    kind: Literal["circle"] = "circle"
    radius: float
    """Distance from the middle. In metres."""


class Colour(BaseModel):
    model_config = STRICT
    name: str = "black"
    """Name of the colour. Default: black, as ink is."""
    weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)


class Drawing(BaseModel):
    model_config = STRICT
    output: Path
    shape: Annotated[Square | Circle, Field(discriminator="kind")] = Square()
    colour: Colour | None = None
    copies: PositiveInt | None = None
    marks: tuple[str, ...] = ()
    sources: Path | tuple[Path, ...] = ()
    is_dark: bool = False

    @model_validator(mode="after")
    def _is_sensible(self) -> "Drawing":
        if self.is_dark and self.colour is not None and self.colour.name == "black":
            raise ValueError("`colour.name` black is not seen with `is_dark`")
        return self


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "a.toml") -> Path:
        Path(name).write_text(text, "utf-8")
        return Path(name)

    return write


def refusals(*args, **given) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load_settings(Drawing, *args, **given)
    return [words for words, _ in error.value.problems]


def test_a_later_layer_replaces_an_earlier_one(file):
    path = file('output = "o"\ncopies = 1\nmarks = ["a"]\n[colour]\nname = "red"\n')
    found, sources = load_settings(Drawing, path, ["copies=2", "marks=b,c"], {("copies",): 3, ("is_dark",): None})
    assert (found.copies, found.marks, found.colour, found.is_dark) == (3, ("b", "c"), Colour(name="red"), False)
    assert sources["copies",] == Source("flag")
    assert sources["marks",] == Source("set", "--set marks")
    assert sources["colour", "name"] == Source("file", "a.toml:5")
    assert sources["is_dark",] == DEFAULT
    assert ("colour",) not in sources and ("shape", "side") in sources


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("marks=a,b", ("a", "b")),
        ('marks=["a,b", "c"]', ("a,b", "c")),
        ("marks=", ()),
        ("marks=[]", ()),
    ],
)
def test_a_list_is_set_with_commas_or_as_toml(text, value):
    assert load_settings(Drawing, None, ["output=o", text])[0].marks == value


@pytest.mark.parametrize(
    ("text", "name"),
    [("colour.name=5", "5"), ("colour.name=true", "true"), ('colour.name="null"', "null"), ("colour.name=a=b", "a=b")],
)
def test_a_text_is_set_as_it_is_written(text, name):
    assert load_settings(Drawing, None, ["output=o", text])[0].colour == Colour(name=name)


def test_a_table_is_set_whole_or_taken_away(file):
    path = file('output = "o"\n[colour]\nname = "red"\n')
    assert load_settings(Drawing, path, ["colour=null"])[0].colour is None
    assert load_settings(Drawing, path, ["colour=null", "colour.name=blue"])[0].colour == Colour(name="blue")
    found = load_settings(Drawing, path, ['colour={name = "green", weights = {a = 1}}'])[0].colour
    assert found == Colour(name="green", weights={"a": 1.0})
    assert load_settings(Drawing, file('{"output": "o", "colour": null}', "a.json"))[0].colour is None


def test_a_map_is_replaced_by_a_later_layer_and_changed_by_one_name(file):
    path = file('output = "o"\n[colour.weights]\na = 1\n"b.c" = 2\n')
    assert load_settings(Drawing, path, ["colour.weights.b.c=3"])[0].colour.weights == {"a": 1.0, "b.c": 3.0}
    assert load_settings(Drawing, path, flags={("colour", "weights"): {"x": 1.0}})[0].colour.weights == {"x": 1.0}


def test_a_shape_is_chosen_by_its_kind(file):
    path = file('output = "o"\n[shape]\nkind = "circle"\nradius = 2\n')
    assert load_settings(Drawing, path)[0].shape == Circle(radius=2.0)
    assert refusals(path, ["shape.kind=square"]) == [
        "a.toml:4: `shape.radius` has no effect with `shape.kind` square; remove it"
    ]
    assert (
        refusals(path, ["shape.kind=line"])[0] == '--set shape.kind: `shape.kind` is "line": give one of square, circle'
    )
    assert refusals(file('output = "o"\nshape.kind = "circle"\n')) == ["a.toml: `shape.radius` is missing"]


def test_every_problem_is_a_line(file):
    path = file(
        'outptu = "o"\ncopies = 0\nis_dark = 1\nmarks = [1]\nsources = 3\n[colour]\nweights = {a = "x"}\n[colur]\n'
    )
    assert refusals(path, ["nothing", "colour.nam=x"]) == [
        "a.toml:1: no setting `outptu`; did you mean `output`?",
        "a.toml:8: no setting `colur`; did you mean `colour`?",
        "--set nothing: give NAME=VALUE, as --set optimizer.learning_rate=1e-4",
        "--set colour.nam: no setting `colour.nam`; did you mean `colour.name`?",
        "a.toml:3: `is_dark` is 1: give true or false",
        "a.toml:4: `marks` is [1]: give a list of texts",
        "a.toml:5: `sources` is 3: give a path or a list of paths",
        'a.toml:7: `colour.weights` is {"a": "x"}: give a table of numbers of at least 0',
    ]
    assert refusals(file('output = "o"\ncopies = 0\n')) == ["a.toml:2: `copies` is 0: give a whole number above 0"]


def test_a_contradiction_is_at_the_place_of_what_it_names(file):
    path = file('output = "o"\nis_dark = true\n\n[colour]\nname = "black"\n')
    assert refusals(path) == ["a.toml:5: `colour.name` black is not seen with `is_dark`"]
    with pytest.raises(ValidationError):  # said by flags alone: the caller knows their names
        load_settings(Drawing, None, flags={("output",): "o", ("colour", "name"): "black", ("is_dark",): True})
    path = file('output = "o"\ncolour.name = "black"\n')
    assert refusals(path, flags={("is_dark",): True}) == ["a.toml:2: `colour.name` black is not seen with `is_dark`"]


def test_what_is_missing_is_named_with_the_file(file):
    assert refusals(file("copies = 1\n")) == ["a.toml: `output` is missing"]
    with pytest.raises(ValidationError):
        load_settings(Drawing)


def test_relative_paths_of_a_file_begin_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.toml").write_text('output = "o"\nsources = ["x", "/y"]\nmarks = ["m"]\n')
    found = load_settings(Drawing, Path("in/a.toml"))[0]
    assert (found.output, found.sources, found.marks) == (Path("in/o"), (Path("in/x"), Path("/y")), ("m",))
    assert load_settings(Drawing, Path("in/a.toml"), ["output=o"])[0].output == Path("o")


@pytest.mark.parametrize("folder", [".", "conf"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('output = ""', '`output` is "": give a path'),
        ('output = "o"\nsources = ["a", ""]', '""]: give a path or a list of paths'),
    ],
)
def test_an_empty_text_is_no_path_but_a_problem(tmp_path, monkeypatch, folder, text, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "run.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"run\.toml:\d+: ") as error:
        load_settings(Drawing, Path(folder, "run.toml"))
    assert line in str(error.value)


@pytest.mark.parametrize("text", ["output=", 'output=""', "sources=", 'sources=["a", ""]'])
def test_an_empty_path_of_set_is_refused(text):
    with pytest.raises(SettingsError, match=r"--set (output|sources): .* is .*\"\".*: give a path"):
        load_settings(Drawing, sets=["output=o", text])


def test_a_setting_that_is_a_path_or_a_name_is_a_path_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/there").mkdir(parents=True)
    for text, wanted in (("there", "in/there"), ("a/b", "a/b"), ("./a", "in/a"), ("../a", "in/../a"), ("/a", "/a")):
        (tmp_path / "in/a.json").write_text(json.dumps({"output": text}))
        assert load_settings(Drawing, Path("in/a.json"), names=[("output",)])[0].output == Path(wanted)


def test_a_byte_order_mark_is_skipped(file):
    for name, text in (("a.toml", 'output = "o"'), ("a.json", '{"output": "o"}')):
        Path(name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_settings(Path(name)).tree == {"output": "o"}


def test_other_endings_are_json(file):
    with pytest.raises(InputError, match="not JSON"):
        read_settings(file('output = "o"', "a.conf"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    marks=st.lists(TEXTS, max_size=3),
    weights=st.dictionaries(TEXTS, st.floats(0, 1e300), max_size=3),
    name=TEXTS,
    radius=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    copies=st.none() | st.integers(1, 1 << 60),
)
def test_what_is_printed_is_read_back(tmp_path_factory, marks, weights, name, radius, copies):
    drawing = Drawing(
        output=Path("/o"),
        marks=tuple(marks),
        colour=Colour(name=name, weights=weights),
        shape=Square() if radius is None else Circle(radius=radius),
        copies=copies,
    )
    path = tmp_path_factory.mktemp("printed") / "a.toml"
    path.write_text("\n".join(settings_lines(drawing, {})), "utf-8")
    assert load_settings(Drawing, path)[0] == drawing


def test_a_derived_setting_is_printed_as_a_comment():
    found, sources = load_settings(Drawing, None, ["output=o"])
    assert '# output = "o"' in [line.split("  ")[0] for line in settings_lines(found, sources, [("output",)])]


def test_a_default_of_the_command_gives_way_to_every_source(file):
    layers = Layers(Drawing)
    layers.add_file(file('output = "o"\ncopies = 1\n'))
    layers.add_default(("copies",), 5)
    layers.add_default(("is_dark",), True)
    found, sources = layers.settings()
    assert (found.copies, found.is_dark, sources["is_dark",]) == (1, True, DEFAULT)


def test_words_for_what_a_setting_takes():
    schema = schema_of(Drawing).settings
    assert expected(schema["shape", "kind"]) == "one of square, circle"
    assert expected(schema["shape", "side"]) == "a number above 0"
    assert (schema["shape", "radius"].help, schema["colour", "name"].default) == (
        "Distance from the middle.",
        "black, as ink is",
    )
    assert first_sentence("A rate of 1.5 (arXiv 2309.1). Then more") == "A rate of 1.5 (arXiv 2309.1)."


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a = 1\nb.c = 2\n", {("a",): 1, ("b", "c"): 2}),
        (
            '[t]\n"x.y" = """\nz = 1\n"""\n# k = 1\nu = \'[\'\nv = [\n  1, # ]\n  2]\n[t.w]\nq=1',
            {
                ("t",): 1,
                ("t", "x.y"): 2,
                ("t", "u"): 6,
                ("t", "v"): 7,
                ("t", "w"): 10,
                ("t", "w", "q"): 11,
            },
        ),
        ("v = [\n[1],\n[2]]\nw = 1", {("v",): 1, ("w",): 4}),
        ("a = '''\nb = 1'''\nc = {d = 1}\n", {("a",): 1, ("c",): 3}),
        ('a = "\\\\" \nb = "\\"x"\nc = 1', {("a",): 1, ("b",): 2, ("c",): 3}),
    ],
)
def test_keys_have_lines(text, lines):
    assert dict(key_lines(text)) == lines


@given(st.lists(st.text(alphabet="abn#[]{}\"'=\\ \t", max_size=8), min_size=1, max_size=6))
def test_the_line_of_a_key_does_not_depend_on_the_texts_before_it(texts: list[str]):
    """Letters such as `n`, quotes, brackets and comment signs inside a string are no syntax."""
    lines = [f"k{number} = {json.dumps(text)}" for number, text in enumerate(texts)]
    assert dict(key_lines("\n".join(lines))) == {(f"k{number}",): number + 1 for number in range(len(texts))}


class Step(BaseModel):
    model_config = STRICT
    name: str
    count: PositiveInt = 1


class Walk(BaseModel):
    model_config = STRICT
    steps: tuple[Step, ...] = ()
    shapes: tuple[Annotated[Square | Circle, Field(discriminator="kind")], ...] = Field(default=(), min_length=1)
    seed: int = 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('steps = [{ name = "a", cont = 2 }]', "walk.toml:1: `steps.0.cont` is unknown; did you mean `count`?"),
        (
            'steps = [{ name = "a" }, { name = "b", xyz = 2 }]',
            "`steps.1.xyz` is unknown; the settings there are name, count",
        ),
        ('steps = [{ name = "a", count = 0 }]', "`steps.0.count` must be above 0"),
        (
            'shapes = [{ kind = "circle", radius = 1, radus = 2 }]',
            "`shapes.0.radus` is unknown; did you mean `radius`?",
        ),
        ('shapes = [{ kind = "circl", radius = 1 }]', "`shapes.0.kind` is 'circl': give one of square, circle"),
        ("shapes = [{ radius = 1 }]", "`shapes.0.kind` is missing"),
        ("shapes = []", "`shapes` is []: give a list of values, 1 or more of them"),
    ],
)
def test_a_problem_in_a_list_of_tables_names_its_place(tmp_path, text, words):
    (tmp_path / "walk.toml").write_text(text + "\n", "utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings(Walk, tmp_path / "walk.toml")
    assert len(refused.value.problems) == 1 and words in refused.value.message


def test_a_profile_replaces_the_file_and_is_replaced_by_set(tmp_path):
    path = tmp_path / "walk.toml"
    path.write_text('seed = 1\nsteps = [{ name = "a" }]\n[fast]\nseed = 2\n', "utf-8")

    def read(*sets: str) -> tuple[int, str]:
        layers = Layers(Walk)
        layers.add_file(path, lambda each: each._replace(tree={"seed": 1, "steps": each.tree["steps"]}))
        layers.add_file(path, lambda each: each._replace(tree=each.tree["fast"], lines={("seed",): 4}), "profile")
        layers.add_sets(sets)
        found, sources = layers.settings()
        return found.seed, str(sources["seed",])

    assert read() == (2, f"profile {path}:4")
    assert read("seed=3") == (3, "set")
    assert Source("file").rank < Source("profile").rank < Source("set").rank
