"""Fields of OpenAI's interface, and of servers like it, that have no effect here."""

from collections.abc import Mapping
from typing import Any

NOT_SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "add_special_tokens": (True,),
    "audio": (),
    "function_call": ("none",),
    "functions": ([],),
    "guided_json": (),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "prompt_cache_retention": (),
    "reasoning_effort": ("none",),
    "service_tier": ("auto", "default"),
    "skip_special_tokens": (True,),
    "stop_token_ids": ([],),
    "store": (False,),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""Names, with the values that are accepted because they change nothing. Null is accepted too, every other value refused."""
IGNORED = ("metadata", "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "user")
"""Fields that are checked, accepted and ignored: they identify the caller, or allow what happens anyway."""


def without_idle(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request without unsupported ones whose values change nothing."""
    return {name: value for name, value in said.items() if not (name in NOT_SUPPORTED and _is_idle(name, value))}


def _is_idle(name: str, value: Any) -> bool:
    # 0 == False, and 1 == True: the types are compared, too
    return value is None or any(type(value) is type(one) and value == one for one in NOT_SUPPORTED[name])
