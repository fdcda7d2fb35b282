"""Options that several commands share, declared once, and what they say together.

A function's parameters are the options and its result is what they mean. A command has one parameter for that result,
and gets the options in its place.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any


def shared_options(name: str, read: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command shared options in the place of one parameter.

    >>> def lengths(shortest: int = 1, longest: int = 9) -> range:
    ...     return range(shortest, longest + 1)
    >>> @shared_options("lengths", lengths)
    ... def count(path: str, lengths: range, exact: bool = False) -> None:
    ...     print(path, len(lengths), exact)
    >>> list(inspect.signature(count).parameters)
    ['path', 'shortest', 'longest', 'exact']
    >>> count(path="a", shortest=2, longest=4, exact=True)
    a 3 True

    Args:
        name: The parameter that takes the result of `read`.
        read: From the options, its parameters, to what they say.
    """
    shared = {each.name: _by_name(each) for each in inspect.signature(read).parameters.values()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(command).parameters.values():
            parameters += shared.values() if each.name == name else [_by_name(each)]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            said = read(**{option: given.pop(option) for option in shared if option in given})
            command(**{name: said}, **given)

        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue] (typer reads it)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        del run.__wrapped__  # pyright: ignore[reportAttributeAccessIssue] (typer would read the command's own options)
        return run

    return decorate


def _by_name(parameter: inspect.Parameter) -> inspect.Parameter:
    """So that an option without a default may stand behind one with."""
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
