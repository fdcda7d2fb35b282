"""`lazarus explain`: prints the meaning of an error code, offline."""

import json
from typing import Annotated

import typer

from lazarus_core.console import show


def explain(
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE", help="Codes to explain, such as LP-E107.", show_default=False),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Print every code as a Markdown page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain error codes: meaning, usual cause and way out.

    Every error line ends with its code in brackets.

    Example: LP-E107
    """
    from lazarus_core.codes import all_codes, codes_page, find_code

    if bool(codes) == all_:
        raise typer.BadParameter("give at least one code, or --all")
    found = all_codes() if all_ else {code.strip().upper(): find_code(code) for code in codes or ()}
    if as_json:
        show(json.dumps({name: code._asdict() for name, code in found.items()}, indent=2))
    elif all_:
        show(codes_page().rstrip("\n"))
    else:
        show(
            "\n\n".join(
                f"{name}: {code.meaning}.\n  cause:   {code.cause}.\n  way out: {code.way_out}"
                for name, code in found.items()
            )
        )
