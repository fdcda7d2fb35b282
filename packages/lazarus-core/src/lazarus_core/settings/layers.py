"""Settings from a file, from `--set` and from flags, checked once, each with its source.

A later layer replaces an earlier one, setting by setting: default, file, profile, `--set NAME=VALUE`, flag. A map or list is replaced
whole; `--set` can also change one name of a map (`eval_data.own=rows.jsonl`).

A file is TOML or a JSON object. Its paths are relative to its folder; paths in `--set` and flags are relative to the working
directory. What is wrong in a file is one line for each problem: file, line, key, value, and what to give instead.

>>> class Optimizer(BaseModel):
...     rate: float = 0.1
>>> class Run(BaseModel):
...     steps: int = 1
...     optimizer: Optimizer = Optimizer()
>>> run, sources = load_settings(Run, sets=["optimizer.rate=0.5"], flags={("steps",): 3})
>>> run.optimizer.rate, run.steps
(0.5, 3)
>>> {dotted(key): source.kind for key, source in sources.items()}
{'steps': 'flag', 'optimizer.rate': 'set'}
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError

from lazarus_core.canonical import JSON
from lazarus_core.reasons import plain_reason
from lazarus_core.settings.file import Unwrap, read_settings
from lazarus_core.settings.file_paths import from_folder
from lazarus_core.settings.listed_tables import first_causes, problem_in_table
from lazarus_core.settings.schema import Key, Schema, Setting, dotted, expected, fits, leaves, schema_of
from lazarus_core.settings.set_values import map_value, parsed
from lazarus_core.settings.sources import (
    CONTRADICTION,
    DEFAULT,
    MALFORMED_SET,
    UNFIT,
    UNKNOWN,
    SettingsError,
    Source,
    short,
    unfit,
)

Model = TypeVar("Model", bound=BaseModel)


_SHOWN_NAMES = 20
"""A table with more settings than these is not listed in a message."""


class Layers(Generic[Model]):
    """Settings of a model, layer by layer. Add the file first, then `--set`, then flags.

    Args:
        model: The model; unknown names are refused whatever its configuration says.
        names: Keys of settings that are a path or a name. In a file they are taken for a path only where one exists in the
            file's folder, or where they begin with `./` or `../`.
    """

    def __init__(self, model: type[Model], names: Iterable[Key] = ()) -> None:
        self.schema: Schema = schema_of(model)
        self._model = model
        self._names = frozenset(names)
        self._values: dict[Key, Any] = {}
        self._sources: dict[Key, Source] = {}
        self._problems: list[tuple[str, str]] = []

    def add_file(self, path: Path, unwrap: Unwrap | None = None, kind: Literal["file", "profile"] = "file") -> None:
        """Adds the settings of a file.

        Args:
            path: TOML if its name ends with `.toml`, else a JSON object.
            unwrap: Takes the settings out of a file that holds more.
            kind: Kind of the source: `profile` for a part of the file that replaces settings of the rest.

        Raises:
            InputError: It cannot be read, or it is no TOML or JSON.
            OSError: The system refuses.
        """
        read = read_settings(path)
        read = read if unwrap is None else unwrap(read)

        def source(key: Key) -> Source:
            known = (read.lines.get(key[:length]) for length in range(len(key), 0, -1))
            line = next((each for each in known if each is not None), None)
            return Source(kind, f"{path}:{line}" if line else str(path))

        self._add_table(read.tree, (), source, read.folder)

    def add_sets(self, texts: Iterable[str]) -> None:
        """Adds settings given as `NAME=VALUE`.

        The setting's type decides how VALUE is read. Lists and tables are TOML (`["a", "b"]`); a list of texts may also be
        `a,b`. `null` takes a value away.

        Args:
            texts: In the order they were given; the last one of a name counts.
        """
        for text in texts:
            self._add_set(text)

    def add_flags(self, values: Mapping[Key, Any], flags: Mapping[Key, str] | None = None) -> None:
        """Adds settings given as options.

        Args:
            values: By key; None for an option that was not given. A table's key with an empty mapping says that it is there.
            flags: The option of each key, for messages.
        """
        for key, value in values.items():
            if value is not None:
                setting = self.schema.settings[key]
                self._put(setting, value, Source("flag", (flags or {}).get(key, "")))

    def add_default(self, key: Key, value: Any) -> None:
        """Adds a default that differs from the model's.

        Args:
            key: Key of a setting.
            value: Default of this command. A value from any other source replaces it.
        """
        if not self._exists(key):
            self._put(self.schema.settings[key], value, DEFAULT)

    def drop(self, key: Key) -> None:
        """Takes a setting or a table back out, as if it had not been given."""
        for each in [each for each in self._values if each[: len(key)] == key]:
            del self._values[each], self._sources[each]

    def source(self, key: Key) -> Source | None:
        """The source of highest rank of a setting, or of what a table holds; None where nothing was given."""
        if self._values.get(key, ...) is None:
            return None
        found = [source for each, source in self._sources.items() if each[: len(key)] == key]
        return max(found, key=lambda each: each.rank, default=None)

    def get(self, key: Key) -> Any:
        """The value of a setting that was given, else None."""
        return self._values.get(key)

    def given(self, table: Key) -> list[Key]:
        """Keys of a table's settings that were given, in their order."""
        return [each for each in self._values if each[:-1] == table and len(each) == len(table) + 1]

    def refuse(self, key: Key, words: str, code: str) -> None:
        """Records a problem of a setting. `check` raises all recorded problems together.

        Args:
            key: Key of the setting. Its source is named before the problem.
            words: The problem and the way out, in one line.
            code: Stable code of the error.
        """
        source = self._sources.get(key, DEFAULT)
        self._problems.append((f"{source.place}: {words}" if source.place else words, code))

    def check(self) -> None:
        """Refuses unknown names and wrong types in files and `--set`, before the model checks ranges.

        Raises:
            SettingsError: One line for each problem.
        """
        self._check_types()
        if self._problems:
            raise SettingsError(list(dict.fromkeys(self._problems)))

    def settings(self) -> tuple[Model, dict[Key, Source]]:
        """The settings, checked, and the source of each.

        Raises:
            SettingsError: What files and `--set` give is unknown, of another type or range, or contradicts itself.
            ValidationError: Flags or defaults do; pydantic's own words.
        """
        self.check()
        try:
            found = self._model.model_validate(self._tree())
        except ValidationError as error:
            problems = [each for detail in first_causes(error) if (each := self._problem(detail)) is not None]
            if problems:
                raise SettingsError(list(dict.fromkeys(problems))) from error
            raise
        return found, {key: self._sources.get(key, DEFAULT) for key, _ in leaves(found)}

    def _add_set(self, text: str) -> None:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            words = f"--set {short(text)}: give NAME=VALUE, as --set optimizer.learning_rate=1e-4"
            self._problems.append((words, MALFORMED_SET))
            return
        key = self._split(name)
        source = Source("set", f"--set {name}")
        setting = self.schema.find(key)
        if setting is None:
            self._refuse_unknown(key, source)
        elif len(key) > len(setting.key):
            entries: JSON = dict(self._values.get(setting.key) or {})
            entries[".".join(key[len(setting.key) :])] = parsed(value, map_value(setting))
            self._put(setting, entries, source)
        elif setting.is_table and value.strip() != "null":
            self._add_table({key[-1]: parsed(value, dict)}, key[:-1], lambda _: source, None)
        elif value.strip() == "null" and not setting.allows_null:
            self.drop(key)
        else:
            self._put(setting, parsed(value, setting.annotation), source)

    def _exists(self, key: Key) -> bool:
        return any(each[: len(key)] == key for each in self._values)

    def _split(self, name: str) -> Key:
        """A dotted name as a key; what follows a map's name is one name, whatever dots it has."""
        parts = tuple(name.split("."))
        for length in range(1, len(parts)):
            setting = self.schema.settings.get(parts[:length])
            if setting is not None and setting.is_map:
                return (*parts[:length], ".".join(parts[length:]))
        return parts

    def _add_table(self, tree: JSON, at: Key, source: Callable[[Key], Source], folder: Path | None) -> None:
        for name, value in tree.items():
            key = (*at, name)
            setting = self.schema.settings.get(key)
            if setting is None:
                self._refuse_unknown(key, source(key))
            elif not setting.is_table:
                placed = value if folder is None else from_folder(setting, value, folder, is_name=key in self._names)
                self._put(setting, placed, source(key))
            elif isinstance(value, dict):
                self._put(setting, {}, source(key))
                self._add_table(cast("JSON", value), key, source, folder)
            elif value is None and setting.allows_null:
                self._put(setting, None, source(key))
            else:
                self._problems.append((unfit(source(key), setting, value, "a table"), UNFIT))

    def _put(self, setting: Setting, value: Any, source: Source) -> None:
        key = setting.key
        for length in range(1, len(key)):
            if self._values.get(key[:length], ...) is None:
                del self._values[key[:length]]
        if setting.is_table and value is not None:
            if self._values.get(key) is None:
                self._values[key], self._sources[key] = {}, source
            return
        if setting.is_table:
            self.drop(key)
        self._values[key], self._sources[key] = value, source

    def _refuse_unknown(self, key: Key, source: Source) -> None:
        near = self.schema.near(key)
        table = key[:-1]
        if near is not None:
            way = f"did you mean `{dotted(near)}`?"
        elif table and table not in self.schema.settings:
            way = f"there is no table `{dotted(table)}`"
        else:
            names = [each[-1] for each in self.schema.settings if each[:-1] == table]
            way = f"the settings there are {', '.join(names)}"
            if len(names) > _SHOWN_NAMES:
                way = "`--print-config` lists all settings"
        self._problems.append((f"{source.place}: no setting `{dotted(key)}`; {way}", UNKNOWN))

    def _check_types(self) -> None:
        for key, value in self._values.items():
            source, setting = self._sources[key], self.schema.settings[key]
            if not source.is_named or setting.is_table:
                continue
            if not fits(value, setting.annotation):
                self._problems.append((unfit(source, setting, value, expected(setting)), UNFIT))
            elif (words := self._without_effect(key)) is not None:
                self._problems.append((f"{source.place}: {words}", CONTRADICTION))

    def _without_effect(self, key: Key) -> str | None:
        """Why a setting has no effect: the discriminator of its table chose a model without it."""
        table = self.schema.settings.get(key[:-1])
        if table is None or table.tag is None or key[-1] == table.tag:
            return None
        tag_key = (*table.key, table.tag)
        tag = self._values.get(tag_key)
        chosen = table.model_of(tag)
        if chosen is None or key[-1] in chosen.model_fields:
            return None
        return f"`{dotted(key)}` has no effect with `{dotted(tag_key)}` {tag}; remove it"

    def _tree(self) -> JSON:
        tree: JSON = {}
        for key in sorted(self._values, key=len):
            inner = tree
            for name in key[:-1]:
                inner = inner.setdefault(name, {})
            inner[key[-1]] = (
                dict(self._values[key])
                if self.schema.settings[key].is_table and self._values[key] is not None
                else self._values[key]
            )
        return tree

    def _problem(self, detail: JSON) -> tuple[str, str] | None:
        """One of pydantic's errors as a line, where files or `--set` have a part in it."""
        if detail["type"] == "missing":
            return self._missing(detail["loc"])
        key = self._key_of(detail["loc"])
        setting = self.schema.settings.get(key)
        named = self._concerned(key, str(detail["msg"]))
        source = next((self._sources[each] for each in named if self._sources[each].is_named), None)
        if source is None:
            return None
        if detail["type"] == "value_error":
            said = plain_reason(str(detail["msg"]))
            at = f"[{dotted(key)}] " if setting is not None and setting.is_table else ""
            return f"{source.place}: {at}{said}", CONTRADICTION
        if setting is None:
            return f"{source.place}: {plain_reason(str(detail['msg']))}", UNFIT
        if (said := problem_in_table(setting, detail)) is not None:
            return f"{source.place}: {said}", UNFIT
        if not setting.is_map or str(detail["type"]).startswith(("greater_than", "less_than", "finite")):
            return unfit(source, setting, self._values.get(key), expected(setting)), UNFIT
        said, shown = (
            plain_reason(str(detail["msg"])),
            short(json.dumps(detail["input"], ensure_ascii=False, default=str)),
        )
        return f"{source.place}: `{dotted(key)}`: {said[:1].lower()}{said[1:]}, not {shown}", UNFIT

    def _key_of(self, location: Sequence[int | str]) -> Key:
        """The key of one of pydantic's locations, which also name the model of a union, or the place in a list."""
        key: Key = ()
        for part in map(str, location):
            if (*key, part) in self.schema.settings:
                key = (*key, part)
        return key

    def _missing(self, location: Sequence[int | str]) -> tuple[str, str] | None:
        table = self._key_of(location[:-1])
        named = [source for key, source in self._sources.items() if key[: len(table)] == table and source.is_named]
        if not named:
            return None
        is_place = named[0].kind in ("file", "profile")
        place = re.sub(r":\d+$", "", named[0].place) if is_place else named[0].place
        return f"{place}: `{dotted((*table, str(location[-1])))}` is missing", CONTRADICTION

    def _concerned(self, key: Key, message: str) -> list[Key]:
        """Keys that were given and that an error is about: its own, those that it names, else those of its table."""
        names = [tuple(name.split(".")) for name in re.findall(r"`([\w.]+)`", message)]
        named = [
            each for name in names for each in self._sources if each[: len(key)] == key and each[-len(name) :] == name
        ]
        if named:
            return named
        return [each for each in self._sources if each[: len(key)] == key]


def load_settings(
    model: type[Model],
    file: Path | None = None,
    sets: Iterable[str] = (),
    flags: Mapping[Key, Any] | None = None,
    *,
    names: Iterable[Key] = (),
    unwrap: Unwrap | None = None,
) -> tuple[Model, dict[Key, Source]]:
    """Settings from a file, `--set` and flags, and the source of each.

    Args:
        model: The model of the settings.
        file: TOML or JSON; None for no file.
        sets: `NAME=VALUE`, in their order.
        flags: Values by key; None for an option that was not given.
        names: Keys of settings that are a path or a name.
        unwrap: Takes the settings out of a file that holds more.

    Raises:
        SettingsError: What the file or `sets` give cannot be used; one line for each problem.
        ValidationError: Flags cannot be used, or settings without a default are missing.
        InputError: The file cannot be read.
    """
    layers = Layers(model, names)
    if file is not None:
        layers.add_file(file, unwrap)
    layers.add_sets(sets)
    layers.add_flags(flags or {})
    return layers.settings()
