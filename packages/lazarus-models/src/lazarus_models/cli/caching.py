"""The commands `cache list` and `cache remove`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.cli_app import App
from lazarus_core.console import say, show, show_line
from lazarus_models.cli.options import AsJson

if TYPE_CHECKING:
    from lazarus_models.loading.hub_cache import CachedModel

cache_app = App(help="List or remove downloaded models.", no_args_is_help=True)


@cache_app.command("list")
def list_cached(as_json: AsJson = False) -> None:
    """List the models in the cache of the hub: size, last use, commits.

    Example: --json
    """
    from lazarus_models.loading.hub_cache import cache_folder, cached_models

    models = cached_models()
    if as_json:
        show(json.dumps([_row(each) for each in models], ensure_ascii=False))
    else:
        width = max((len(each.repository) for each in models), default=0)
        for each in models:
            commits = ", ".join(commit[:8] for commit in each.commits)
            names = f"  ({', '.join(each.short_names)})" if each.short_names else ""
            line = (
                f"{each.repository:<{width}}  {_size(each.num_bytes):>9}  used {each.last_used[:10]}  {commits}{names}"
            )
            show_line(line)
    say(f"{len(models)} models, {_size(sum(each.num_bytes for each in models))}, in {cache_folder()}")


@cache_app.command("remove")
def remove(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Short names or owner/name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm the removal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove downloaded models. Without --yes, only say what would be removed.

    Example: smollm2-360m --yes
    """
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.hub_cache import chosen_models, remove_cached

    chosen = chosen_models(models)
    what = f"{', '.join(each.repository for each in chosen)}: {_size(sum(each.num_bytes for each in chosen))}"
    if not yes:
        raise ConfigError(f"{what} would be removed; confirm with --yes", "LM-E232")
    removed = remove_cached(models)
    if as_json:
        show(json.dumps([_row(each) for each in removed], ensure_ascii=False))
    say(f"removed {what}")


def _row(model: "CachedModel") -> dict[str, object]:
    return {**asdict(model), "path": str(model.path), "short_names": model.short_names}


def _size(num_bytes: int) -> str:
    """A size in decimal units, as the hub shows it.

    >>> [_size(size) for size in (0, 999, 1_000_000, 2_200_000_000)]
    ['0 B', '999 B', '1.0 MB', '2.2 GB']
    """
    size, units = float(num_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{num_bytes} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
