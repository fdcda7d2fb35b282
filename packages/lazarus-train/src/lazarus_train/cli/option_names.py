"""Settings by the names of their options: what makes no sense is refused in one line that a user can act on."""

import re
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import ValidationError

    from lazarus_train.config import TrainConfig

_SPELLED = {
    "early_stop": "patience",
    "is_length_normalized": "length-normalized",
    "lora": "use-lora",
    "name": "optimizer",
    "recomputes": "gradient-checkpointing",
    "sample_prompts": "sample-prompt",
    "shards_optimizer": "shard-optimizer",
    "stages": "weights",
}
"""Settings whose option has another name."""


def make_config(**settings: object) -> "TrainConfig":
    """Settings that were checked, or one line that names the option at fault."""
    from pydantic import ValidationError

    from lazarus_train.config import TrainConfig

    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise _refusal(error) from error


def option_of(name: str) -> str:
    """How a setting is spelled on the command line."""
    return f"--{_SPELLED.get(name, name).replace('_', '-').replace('.', '-')}"


def _refusal(error: "ValidationError") -> typer.BadParameter:
    """What is wrong with settings, in one line with the names of their options."""
    first = error.errors()[0]
    match first["loc"], first["type"]:
        case ("objective", str(kind), str(name)), "extra_forbidden":
            return typer.BadParameter(f"{option_of(name)} has no effect with --objective {kind}")
        case ("objective", str(kind), str(name)), "missing":
            return typer.BadParameter(f"--objective {kind} needs {option_of(name)}")
        case _:
            pass
    said = re.sub(r"`([\w.]+)`", lambda name: option_of(name[1]), first["msg"].removeprefix("Value error, "))
    return typer.BadParameter(f"{_place(first['loc'])}{said[0].lower()}{said[1:]}")


def checked_planning(planning: dict[str, Any]) -> dict[str, Any]:
    """Members of a plan's configuration that make sense together."""
    from pydantic import ValidationError

    from lazarus_plan import PlanConfig

    try:
        PlanConfig.model_validate(planning)
    except ValidationError as error:
        raise _refusal(error) from error
    return planning


def _place(location: tuple[int | str, ...]) -> str:
    """The option that a setting is given by; none for what two settings say together."""
    match location:
        case ("lora", name, *_):
            return f"{option_of(f'lora-{name}')}: "
        case ("optimizer" | "early_stop", name, *_) | ("objective", _, name, *_):
            return f"{option_of(str(name))}: "
        case (name, *_) if name not in ("lora", "optimizer", "objective"):
            return f"{option_of(str(name))}: "
        case _:
            return ""
