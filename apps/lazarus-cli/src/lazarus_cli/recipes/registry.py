"""Types of stages by name. A module is imported only when its type is used.

A stage type of this package has one line in `BUILT_IN`. One of another package is an entry point of the group
`lazarus.stages`, named by its type:

    [project.entry-points."lazarus.stages"]
    translate = "toy_package:TranslateStage"
"""

from importlib import import_module
from typing import Any

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.stage import Stage
from lazarus_core.plugins import PluginGroup, near_name

GROUP = "lazarus.stages"
BUILT_IN = {
    "corpus": "lazarus_cli.recipes.stages.corpus:CorpusStage",
    "tokenizer": "lazarus_cli.recipes.stages.tokenizer:TokenizerStage",
    "lengths": "lazarus_cli.recipes.stages.lengths:LengthsStage",
    "plan": "lazarus_cli.recipes.stages.plan:PlanStage",
    "model": "lazarus_cli.recipes.stages.model:ModelStage",
    "pretrain": "lazarus_cli.recipes.stages.pretrain:PretrainStage",
    "sft": "lazarus_cli.recipes.stages.sft:SftStage",
    "dpo": "lazarus_cli.recipes.stages.dpo:DpoStage",
    "answer": "lazarus_cli.recipes.stages.answer:AnswerStage",
}


def _is_stage(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Stage)


_PLUGINS = PluginGroup(
    GROUP, "stage type", "a subclass of `lazarus_cli.recipes.Stage`", _is_stage, RecipeError, "LC-E201"
)


def stage_types() -> list[str]:
    """Names of all types: those of this package, then those of others."""
    return [*BUILT_IN, *(name for name in _PLUGINS.names() if name not in BUILT_IN)]


def is_type(name: str) -> bool:
    """Whether a stage type has this name."""
    return name in BUILT_IN or name in _PLUGINS.names()


def stage_type(name: str) -> Stage[Any]:
    """The stage type of a name.

    Raises:
        RecipeError: There is none, or the package that provides it cannot be used.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: Stage[Any] = getattr(import_module(module), attribute)()
        return found
    plugin = _PLUGINS.load(name)
    if plugin is None:
        raise RecipeError(
            f"no stage type {name!r}{near_name(name, stage_types())}; there are {', '.join(stage_types())}", "LC-E201"
        )
    return plugin.value()
