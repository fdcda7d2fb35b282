"""The help pages of every command of every console script."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer

from lazarus_core.commands import Group

SCRIPTS = {
    "lazarus": "lazarus_cli.main:app",
    "lazarus-plan": "lazarus_plan.cli.app:app",
    "lazarus-tokenkit": "lazarus_tokenkit.cli.app:app",
    "lazarus-models": "lazarus_models.cli.app:app",
    "lazarus-train": "lazarus_train.cli.app:app",
    "lazarus-gym": "lazarus_gym.cli.app:app",
    "lazarus-introspect": "lazarus_introspect.cli.app:app",
    "lazarus-corpus": "lazarus_corpus.cli.app:app",
}
"""Console scripts and their applications."""


@dataclass(frozen=True)
class Page:
    """A command or group with its context."""

    command: Any
    context: Any

    @property
    def path(self) -> str:
        """The command as it is called."""
        names: list[str] = []
        context = self.context
        while context is not None:
            names.insert(0, context.info_name)
            context = context.parent
        return " ".join(names)

    @property
    def is_group(self) -> bool:
        """Whether it has commands."""
        return isinstance(self.command, Group)

    @functools.cached_property
    def text(self) -> str:
        """The help page."""
        return self.command.get_help(self.context)


def app_of(script: str) -> Any:
    """The application of a console script."""
    module, _, attribute = SCRIPTS[script].partition(":")
    return getattr(import_module(module), attribute)


def walk(page: Page) -> Iterator[Page]:
    """A page and those of its commands."""
    yield page
    if not page.is_group:
        return
    for name in page.command.list_commands(page.context):
        _, command, _ = page.command.resolve_command(page.context, [name])
        yield from walk(Page(command, command.make_context(name, [], parent=page.context, resilient_parsing=True)))


@functools.cache
def pages(script: str) -> dict[str, Page]:
    """All pages of a console script, by the command as it is called."""
    root = typer.main.get_command(app_of(script))
    found = walk(Page(root, root.make_context(script, [], resilient_parsing=True)))
    return {page.path: page for page in found}


def leaves(script: str) -> dict[str, Page]:
    """Pages of commands, without those of groups."""
    return {path: page for path, page in pages(script).items() if not page.is_group}


def is_listed(page: Page) -> bool:
    """Whether help lists a command, in a group that is listed itself."""
    parent = page.context.parent
    if parent is None:
        return True
    return page.context.info_name in parent.command.listed(parent) and is_listed(Page(parent.command, parent))
