"""`lazarus report`: the page of a recipe."""

import json
from pathlib import Path
from typing import Annotated

import typer

from lazarus_core.commands import Force
from lazarus_core.console import say, show


def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a recipe, finished or not.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output page.")] = Path("recipe.html"),
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the stages instead, as JSON.")] = False,
) -> None:
    """Write a recipe as one page: stages with their times, curves, epochs, scores, answers, and the lock.

    Example: quick -o quick.html
    """
    from lazarus_cli.recipes.folder import RecipeFolder
    from lazarus_cli.recipes.page import recipe_page, stages_of
    from lazarus_core.atomic import whole_file
    from lazarus_core.html import PAGE, this_command
    from lazarus_core.outputs import check_output

    if as_json:
        stages = [
            {
                "name": each.name,
                "is_finished": each.record is not None,
                "type": None if each.record is None else each.record.type,
                "seconds": None if each.record is None else each.record.seconds,
                "summary": None if each.record is None else each.record.summary,
            }
            for each in stages_of(RecipeFolder(folder))
        ]
        show(json.dumps({"folder": str(folder), "stages": stages}, indent=2, ensure_ascii=False))
        return
    check_output(output, PAGE, inputs=[folder], force=force)
    content = recipe_page(folder, this_command())
    with whole_file(output) as page:
        page.write(content.encode())
    say(f"wrote {output}; open it in a browser")
