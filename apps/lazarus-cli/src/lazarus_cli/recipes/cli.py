"""`lazarus run` and `lazarus lock`."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.console import duration, progress, say, show, show_line, show_table, warn

if TYPE_CHECKING:
    from collections.abc import Generator

    from lazarus_cli.recipes.folder import RecipeFolder
    from lazarus_cli.recipes.recipe import Recipe
    from lazarus_cli.recipes.runner import Progress, StageOutcome
    from lazarus_core.time_box import TimeBox

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe, .toml, or the name of a shipped one, such as quick.")
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Folder of the recipe [default: the recipe's name].", show_default=False),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Set a setting by its name, such as data.text=PATH. It overrides the file."
    ),
]
Profile = Annotated[str | None, typer.Option("--profile", help="Use the settings of a profile of the recipe.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the stages as a JSON object.")]


def run(
    recipe: RecipeName,
    output: Output = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which stages would run and why; run nothing.")
    ] = False,
    until: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="Run only this stage and what it needs.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run only this stage and what follows from it.")
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="STAGE", help="Run this stage again, even if it is unchanged."),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse what differs from the lock, and do not change it.")
    ] = False,
    run_for: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Stop by itself before so much time has passed: 90s, 30m or 2h30m."),
    ] = None,
    stop_at: Annotated[
        str | None,
        typer.Option(
            "--stop-at", metavar="TIME", help="Stop by itself before the next such time: 07:00, or a date with a time."
        ),
    ] = None,
    sets: Sets = None,
    profile: Profile = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print every setting with its source as TOML, and exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe: stages from documents to a model. Unchanged stages are skipped, killed ones resume.

    Example: quick --set data.text=plays.txt --set data.chats=train.jsonl -o quick
    Example: recipe.toml --dry-run
    Example: recipe.toml --until pretrain --set pretrain.max_steps=100
    Example: micro --stop-at 07:00
    """
    from lazarus_cli.recipes.folder import RecipeFolder
    from lazarus_cli.recipes.runner import plan_recipe, run_recipe
    from lazarus_core.errors import reworded
    from lazarus_train.errors import TimeIsUp

    if print_config and (as_json or dry_run):
        raise typer.BadParameter(f"{'--json' if as_json else '--dry-run'} has no effect with --print-config")
    if dry_run and locked:
        raise typer.BadParameter("--locked has no effect with --dry-run; `lazarus lock --check` compares with the lock")
    limits_of_time = {"--for": run_for, "--stop-at": stop_at}
    needless = [option for option, value in limits_of_time.items() if value is not None and (dry_run or print_config)]
    if needless:
        raise typer.BadParameter(f"{needless[0]} has no effect with {'--dry-run' if dry_run else '--print-config'}")
    box = _time_box(run_for, stop_at)
    found = _load(recipe, sets, profile)
    if print_config:
        _print_config(found, recipe)
        return
    folder = RecipeFolder(output or Path(Path(recipe).stem))
    limits: dict[str, Any] = {"until": until, "begin": begin, "force": tuple(force or ())}
    try:
        with reworded(_name_options):
            if dry_run:
                outcomes = plan_recipe(found, folder, **limits)
            else:
                with _showing(found, folder, limits, box) as shown:
                    outcomes = run_recipe(found, folder, locked=locked, progress=shown, **limits)
    except TimeIsUp as ended:
        say(ended.message)
        _show(plan_recipe(found, folder, **limits), folder.path, found, as_json=as_json, is_done=False)
        return
    _show(outcomes, folder.path, found, as_json=as_json, is_done=not dry_run)


def lock(
    recipe: RecipeName,
    folder: Output = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare recipe, data and outputs with the lock; exit 1 if anything differs."),
    ] = False,
    sets: Sets = None,
    profile: Profile = None,
    as_json: AsJson = False,
) -> None:
    """Write the lock of a recipe whose stages are finished, or compare the recipe with its lock.

    Example: recipe.toml --check
    Example: quick -o quick --set data.text=plays.txt --set data.chats=train.jsonl --check
    """
    from lazarus_cli.recipes.folder import RecipeFolder
    from lazarus_cli.recipes.lock import check_lock, make_whole_lock, read_lock, write_lock
    from lazarus_cli.recipes.session import Session

    found = _load(recipe, sets, profile)
    place = RecipeFolder(folder or Path(Path(recipe).stem))
    place.check_is_ours()
    session = Session(found, place)
    if check:
        result = check_lock(session, read_lock(place))
        if as_json:
            show(json.dumps({"lock": str(place.lock), "stages": result.stages, "absent": list(result.absent)}))
            return
        show_line(f"{place.lock}: {result.stages} stages agree")
        if result.absent:
            say(f"not in the folder, so their outputs were not compared: {', '.join(result.absent)}")
        return
    with place.held():
        content = make_whole_lock(session)
        write_lock(place, content)
    show(json.dumps({"lock": str(place.lock), "stages": len(content["stages"])}) if as_json else str(place.lock))


def _name_options(words: str) -> str:
    """Replaces parameters in backquotes by the options of `lazarus run`."""
    options = {"until": "--until", "begin": "--from", "force": "--force", "run_for": "--for", "stop_at": "--stop-at"}
    for name, option in options.items():
        words = words.replace(f"`{name}`", option)
    return words


def _load(recipe: str, sets: list[str] | None, profile: str | None) -> "Recipe":
    """The recipe; of several problems with its settings, all lines but the last are printed."""
    from lazarus_cli.recipes.recipe import load_recipe
    from lazarus_core.settings import SettingsError

    try:
        return load_recipe(recipe, sets or (), profile)
    except SettingsError as error:
        for words, code in error.problems[:-1]:
            warn(f"error: {words} [{code}]")
        raise


def _print_config(recipe: "Recipe", name: str) -> None:
    from lazarus_core.settings import settings_lines

    show_line(f"# lazarus run {name}; paths are relative to {Path.cwd()}")
    for line in settings_lines(recipe.settings, recipe.sources):
        show_line(line)


def _time_box(run_for: str | None, stop_at: str | None) -> "TimeBox | None":
    from lazarus_core.time_box import TimeBox, read_duration

    if run_for is None and stop_at is None:
        return None
    option = "--for"
    try:
        if run_for is not None:
            read_duration(run_for)
        option = "--stop-at"
        return TimeBox.start(run_for, stop_at)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error


@contextlib.contextmanager
def _showing(
    recipe: "Recipe", folder: "RecipeFolder", limits: dict[str, Any], box: "TimeBox | None"
) -> "Generator[Progress]":
    """Callbacks that show the stages, their progress and the time left on stderr.

    Args:
        recipe: The recipe.
        folder: Its folder.
        limits: Limits of the stages that run.
        box: Limit on the time.
    """
    from lazarus_cli.recipes.runner import Progress, wanted_stages
    from lazarus_cli.recipes.stage import Context
    from lazarus_cli.recipes.time_left import Forecast

    forecast = Forecast(recipe, folder, wanted_stages(recipe, **limits))
    if box is not None:
        say(f"time box: ends before {box.end:%Y-%m-%d %H:%M:%S}, in {duration(max(0.0, box.left_s))}")

    with contextlib.ExitStack() as stack:

        def begin(name: str, number: int, total: int, why: str) -> None:
            forecast.begin(name)
            left = forecast.left()
            say(f"[{number}/{total}] {name}: {why}" + (f"; {left.in_words()}" if left.seconds else ""))

        def context(name: str) -> Context:
            bar = _bar(name, stack)

            def report(done: int, total: int | None, unit: str, note: str) -> None:
                forecast.advance(done, total)
                bar(done, total, unit, ", ".join(each for each in (note, forecast.left().in_words()) if each))

            return Context(report=report, warn=warn, time_box=box)

        def end(outcome: "StageOutcome") -> None:
            stack.close()
            forecast.end(outcome.name)
            if outcome.done == "run":
                say(f"      {outcome.summary} ({duration(outcome.seconds)})")

        yield Progress(on_begin=begin, on_end=end, context=context)


def _bar(name: str, stack: contextlib.ExitStack) -> Any:
    """A function that shows the progress of one stage; its bar begins with its first call."""
    advance: Any = None
    shown = 0

    def report(done: int, total: int | None, unit: str, note: str) -> None:
        nonlocal advance, shown
        if advance is None:
            advance = stack.enter_context(progress(f"      {name}", total=total, unit=unit))
        advance(done - shown, note, total)
        shown = done

    return report


def _show(outcomes: "list[StageOutcome]", folder: Path, recipe: "Recipe", *, as_json: bool, is_done: bool) -> None:
    if as_json:
        stages = [asdict(each) for each in outcomes]
        show(
            json.dumps({"folder": str(folder), "stages": stages, "left_out": dict(recipe.left_out)}, ensure_ascii=False)
        )
        return
    width = max(len(name) for name in ("stage", *(each.name for each in outcomes), *recipe.left_out))
    head = f"{'stage':<{width}}  {'':<9}  {'time':>10}  {'result' if is_done else 'why'}"
    lines = [head]
    for each in outcomes:
        spent = duration(each.seconds) if each.summary else ""
        lines.append(f"{each.name:<{width}}  {each.done:<9}  {spent:>10}  {each.summary or each.why}".rstrip())
    for name, data in recipe.left_out.items():
        lines.append(f"{name:<{width}}  {'left out':<9}  {'':>10}  `data.{data}` is not given")
    show_table("\n".join(lines), [head])
