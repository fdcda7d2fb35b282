"""Options that several commands share, declared once.

The parameters of a function are the options, and its result is their combined value. A command declares one parameter
for that value and receives all the options instead.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Also replace a file that another command wrote, or another plan; never an input, nor a folder with other files.",
    ),
]
"""The `--force` option of all commands that write. `lazarus_core.outputs` defines what it allows."""


def shared_options(name: str, read: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace one parameter of a command by shared options.

    An option that the command also declares itself keeps the command's declaration and reaches both functions.

    >>> def lengths(shortest: int = 1, longest: int = 9) -> range:
    ...     return range(shortest, longest + 1)
    >>> @shared_options("lengths", lengths)
    ... def count(path: str, lengths: range, shortest: int = 3) -> None:
    ...     print(path, len(lengths), shortest)
    >>> inspect.signature(count)
    <Signature (*, path: str, shortest: int = 3, longest: int = 9)>
    >>> count(path="a", shortest=2, longest=4)
    a 3 2

    Args:
        name: The command's parameter that receives the result of `read`.
        read: Function whose parameters are the shared options.
    """
    shared = {each.name: _by_name(each) for each in inspect.signature(read).parameters.values()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command).parameters
        options: dict[str, inspect.Parameter] = {}
        for each in own.values():
            if each.name == name:
                options |= {option: declared for option, declared in shared.items() if option not in options}
            else:
                options[each.name] = _by_name(each)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            said = read(**{option: value for option, value in given.items() if option in shared})
            command(**{name: said}, **{option: value for option, value in given.items() if option in own})

        run.__signature__ = inspect.Signature(list(options.values()))  # pyright: ignore[reportAttributeAccessIssue] (typer reads it)
        run.__annotations__ = {each.name: each.annotation for each in options.values()}
        del run.__wrapped__  # pyright: ignore[reportAttributeAccessIssue] (typer would read the command's own options)
        return run

    return decorate


def _by_name(parameter: inspect.Parameter) -> inspect.Parameter:
    """Make a parameter keyword-only, so that one without a default may follow one with a default."""
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
