"""Reads a recipe: a TOML file with a table for each stage.

Settings come from the defaults, the file, a profile of the file, and `--set`. The file decides which stages there are; every
other setting can be replaced. All problems are found before a stage runs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, ValidationError, create_model

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.folder import DIGESTS
from lazarus_cli.recipes.graph import Node, check_graph, needed_by, ordered
from lazarus_cli.recipes.registry import is_type, stage_type, stage_types
from lazarus_cli.recipes.stage import NO_SOURCE, STRICT, Reference, Stage, StageSettings, references
from lazarus_core.canonical import JSON
from lazarus_core.plugins import near_name
from lazarus_core.reasons import plain_reason
from lazarus_core.settings import Key, Layers, Read, Source, read_settings

SHIPPED = Path(__file__).parent / "shipped"
PROFILES = "profiles"
_STAGE_NAME = re.compile(r"[a-zA-Z]\w*(-\w+)*", re.ASCII)
MAX_STAGES = 200


class RecipeSettings(BaseModel):
    """Settings of a recipe beside its stages."""

    model_config = STRICT

    description: str = ""
    """What the recipe makes."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """Random seed of every stage that has none of its own."""
    data: dict[str, Path | Annotated[tuple[Path, ...], Field(min_length=1)]] = {}
    """Files and folders from outside, by the names that stages use."""


_RESERVED = (*RecipeSettings.model_fields, PROFILES)


@dataclass(frozen=True)
class StageNode:
    """A stage of a recipe.

    Args:
        name: Its name.
        type: Its type.
        settings: Its settings.
        reads: What it reads; a stage that is left out is replaced by the stage whose model it would have read.
    """

    name: str
    type: Stage[Any]
    settings: StageSettings
    reads: tuple[Reference, ...]


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Args:
        name: Name of its file.
        settings: All settings.
        sources: Source of each setting.
        stages: Its stages in the order in which they run, without those that are left out.
        left_out: Names of stages that are left out, with the name of the data that they need.
    """

    name: str
    settings: Any
    sources: Mapping[Key, Source]
    stages: tuple[StageNode, ...]
    left_out: Mapping[str, str]

    @property
    def seed(self) -> int:
        """Seed of the recipe."""
        return self.settings.seed

    @cached_property
    def data(self) -> dict[str, tuple[Path, ...]]:
        """Files and folders from outside, by name."""
        return data_paths(self.settings.data)

    def stage(self, name: str, what: str) -> StageNode:
        """A stage by its name.

        Args:
            name: The name.
            what: What the name was given for, for messages.

        Raises:
            RecipeError: There is none.
        """
        for each in self.stages:
            if each.name == name:
                return each
        if name in self.left_out:
            raise RecipeError(
                f"{what} {name}: the stage is left out, for `data.{self.left_out[name]}` is not given", "LC-E214"
            )
        names = [each.name for each in self.stages]
        raise RecipeError(
            f"{what} {name}: no such stage{near_name(name, names)}; there are {', '.join(names)}", "LC-E214"
        )

    def upstream(self, name: str) -> set[str]:
        """Names of a stage and of all that it needs."""
        return needed_by(name, {each.name: _stage_names(each.reads, self.stages) for each in self.stages})


def data_paths(data: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    """Paths of each name of `data`."""
    return {name: (each,) if isinstance(each, Path) else tuple(each) for name, each in data.items()}


def shipped_recipes() -> list[str]:
    """Names of the recipes of this package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def recipe_path(recipe: Path | str) -> Path:
    """The file of a recipe, given by its path or the name of a shipped one.

    Raises:
        RecipeError: There is no such file.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    if str(recipe) in shipped_recipes():
        return SHIPPED / f"{recipe}.toml"
    names = shipped_recipes()
    raise RecipeError(
        f"{recipe}: no such file, and no recipe of this name{near_name(str(recipe), names)}; there are {', '.join(names)}",
        "LC-E200",
    )


def load_recipe(recipe: Path | str, sets: Sequence[str] = (), profile: str | None = None) -> Recipe:
    """Reads a recipe and checks all of it, without reading data.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        sets: `NAME=VALUE`, such as `pretrain.optimizer.learning_rate=1e-3`, in their order.
        profile: Name of a profile of the file.

    Raises:
        SettingsError: A setting is unknown or has an unfit value; one line for each problem.
        RecipeError: The stages do not fit together.
        InputError: The file cannot be read.
    """
    path = recipe_path(recipe)
    tree = read_settings(path).tree
    types = _stage_types(tree, path)
    profiles = _profiles(tree, path)
    if profile is not None and profile not in profiles:
        known = (
            f"; there are {', '.join(profiles)}"
            if profiles
            else f"; add a table, such as [{PROFILES}.{profile}.pretrain]"
        )
        raise RecipeError(f"{path}: no profile {profile!r}{near_name(profile, profiles)}{known}", "LC-E208")
    fields: dict[str, Any] = {name: (each.settings_type(), ...) for name, each in types.items()}
    model = create_model("Recipe", __base__=RecipeSettings, __cls_kwargs__=NO_SOURCE, **fields)
    for each in profiles:  # a profile that is not used is checked as well
        _layers(model, path, each, ()).check()
    layers = _layers(model, path, profile, sets)
    layers.check()
    _add_seeds(layers, types)
    settings, sources = _settings(layers, path)
    for name, each in types.items():
        try:
            each.check(getattr(settings, name))
        except ValidationError as error:
            raise _contradiction(path, name, plain_reason(str(error.errors()[0]["msg"]))) from error
        except ValueError as error:
            raise _contradiction(path, name, str(error)) from error
    return _linked(path, types, settings, sources)


def _layers(model: type[BaseModel], path: Path, profile: str | None, sets: Sequence[str]) -> Layers[Any]:
    layers: Layers[Any] = Layers(model)
    layers.add_file(path, _without_profiles)
    if profile is not None:
        layers.add_file(path, lambda read: _profile(read, profile), "profile")
    layers.add_sets(sets)
    given: JSON = layers.get(("data",)) or {}
    for name, value in given.items():
        if "" in (value if isinstance(value, list) else [value]):  # a path would be the current folder
            raise RecipeError(f"{path}: `data.{name}` is empty: give the path of a file or folder", "LC-E205")
    return layers


def _settings(layers: Layers[Any], path: Path) -> tuple[Any, dict[Key, Source]]:
    try:
        return layers.settings()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        raise RecipeError(f"{path}: `{place}`: {plain_reason(str(first['msg']))}", "LC-E209") from error


def _contradiction(path: Path, name: str, words: str) -> RecipeError:
    return RecipeError(f"{path}: [{name}] {words}", "LC-E209")


def _stage_types(tree: JSON, path: Path) -> dict[str, Stage[Any]]:
    """Type of each stage, by its name, in the order of the file."""
    found: dict[str, Stage[Any]] = {}
    for name, table in tree.items():
        if name in _RESERVED or not isinstance(table, dict):
            continue
        if _STAGE_NAME.fullmatch(name) is None:
            raise RecipeError(f"{path}: {name!r} is no name of a stage: give letters, digits, `_` and `-`", "LC-E202")
        if hasattr(RecipeSettings, name) or name == DIGESTS:
            raise RecipeError(f"{path}: {name!r} is reserved and no name of a stage: rename it", "LC-E202")
        named = cast("JSON", table).get("type", name)
        if not isinstance(named, str):
            raise RecipeError(f"{path}: `{name}.type` must be a text", "LC-E202")
        if "type" not in table and not is_type(name):
            near = near_name(name, stage_types())
            raise RecipeError(
                f"{path}: [{name}] has no `type`, and no type of stage has that name{near}; there are "
                f"{', '.join(stage_types())}",
                "LC-E202",
            )
        if not is_type(named):
            near = near_name(named, stage_types())
            raise RecipeError(
                f"{path}: [{name}] no stage type {named!r}{near}; there are {', '.join(stage_types())}", "LC-E201"
            )
        found[name] = stage_type(named)
        cast("JSON", table)["type"] = named
    if not found:
        raise RecipeError(f"{path} has no stages: give a table for each, such as [corpus]", "LC-E202")
    if len(found) > MAX_STAGES:
        raise RecipeError(f"{path} has {len(found)} stages, more than {MAX_STAGES}", "LC-E202")
    return found


def _profiles(tree: JSON, path: Path) -> list[str]:
    profiles = tree.get(PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in cast("JSON", profiles).values()):
        raise RecipeError(
            f"{path}: `{PROFILES}` must have a table for each profile, such as [profiles.test.pretrain]", "LC-E208"
        )
    return list(cast("JSON", profiles))


def _without_profiles(read: Read) -> Read:
    return read._replace(tree={name: each for name, each in read.tree.items() if name != PROFILES})


def _profile(read: Read, name: str) -> Read:
    lines = {key[2:]: line for key, line in read.lines.items() if key[:2] == (PROFILES, name) and len(key) > 2}
    return read._replace(tree=read.tree[PROFILES][name], lines=lines)


def _add_seeds(layers: Layers[Any], types: Mapping[str, Stage[Any]]) -> None:
    """The seed of the recipe is the default of the stages' own."""
    seed = layers.get(("seed",))
    for name in types:
        if seed is not None and (name, "seed") in layers.schema.settings:
            layers.add_default((name, "seed"), seed)


def _linked(path: Path, types: Mapping[str, Stage[Any]], settings: Any, sources: Mapping[Key, Source]) -> Recipe:
    """The stages in their order, with what each one reads."""
    data: Mapping[str, Any] = settings.data
    all_settings: dict[str, StageSettings] = {name: getattr(settings, name) for name in types}
    nodes = {
        name: Node(name, types[name].kind, types[name].parts, tuple(references(each)), each.only_with)
        for name, each in all_settings.items()
    }
    left_out = check_graph(nodes, data, str(path))
    order = ordered(nodes, left_out, data, str(path))
    stages = tuple(StageNode(each.name, types[each.name], all_settings[each.name], each.reads) for each in order)
    return Recipe(path.name, settings, sources, stages, left_out)


def _stage_names(reads: Sequence[Reference], stages: Sequence[StageNode]) -> set[str]:
    names = {each.name for each in stages}
    return {name for each in reads if (name := each.name.partition(".")[0]) in names}
