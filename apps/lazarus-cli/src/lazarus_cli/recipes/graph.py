"""The stages of a recipe as a graph: what each reads, which are left out, and in which order they run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from lazarus_cli.recipes.errors import RecipeError
from lazarus_cli.recipes.stage import Reference
from lazarus_core.plugins import near_name


@dataclass(frozen=True)
class Node:
    """A stage.

    Args:
        name: Its name.
        kind: Kind of what it makes.
        parts: Kinds of its further parts, by name.
        reads: What it reads.
        only_with: Name in `data` without which it is left out.
    """

    name: str
    kind: str
    parts: Mapping[str, str]
    reads: tuple[Reference, ...]
    only_with: str | None


def check_graph(nodes: Mapping[str, Node], data: Mapping[str, object], place: str) -> dict[str, str]:
    """Checks every name that a stage reads.

    Args:
        nodes: All stages, by name.
        data: What is given from outside, by name.
        place: File of the recipe, for messages.

    Returns:
        Names of the stages that are left out, each with the name of the data that it needs.

    Raises:
        RecipeError: A name is unknown, of another kind, given twice, or given and not used.
    """
    for name in nodes:
        if name in data:
            raise RecipeError(f"{place}: {name!r} is a stage and a name in `data`: rename one of them", "LC-E203")
    left_out = _left_out(nodes, data)
    wanted = {node.only_with for node in nodes.values() if node.only_with is not None}
    used: set[str] = {name for name in wanted if name in data}
    for node in nodes.values():
        for read in node.reads:
            if node.name not in left_out or read.name in data:
                used.add(_check_read(node, read, nodes, data, place))
            elif _is_outside(read, nodes):
                wanted.add(read.name)
    for name in data:
        if name not in used:
            known = sorted(
                wanted | {read.name for node in nodes.values() for read in node.reads if read.name not in nodes}
            )
            raise RecipeError(
                f"{place}: `data.{name}` is not used by any stage{near_name(name, known)}: remove it, or name it in a stage",
                "LC-E206",
            )
    return left_out


def ordered(
    nodes: Mapping[str, Node], left_out: Mapping[str, str], data: Mapping[str, object], place: str
) -> list[Node]:
    """The stages that run, each after those that it reads; stages that could run at once are sorted by name.

    Args:
        nodes: All stages, by name.
        left_out: Stages that are left out. Who reads one reads instead what it would have started from.
        data: What is given from outside, by name.
        place: File of the recipe, for messages.

    Raises:
        RecipeError: Stages read each other in a circle.
    """
    needs = {name: _needs(node, nodes) for name, node in nodes.items()}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise RecipeError(
            f"{place}: stages read each other in a circle: {circle}: remove one of the names", "LC-E204"
        ) from error
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return [
        replace(
            nodes[name],
            reads=tuple(
                read if read.name in data else _around(read, nodes, left_out, name, place) for read in nodes[name].reads
            ),
        )
        for name in order
        if name not in left_out
    ]


def needed_by(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    """A stage and all that it needs.

    Args:
        name: The stage.
        needs: What each stage reads.
    """
    found: set[str] = set()
    todo = [name]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += needs[each]
    return found


def _left_out(nodes: Mapping[str, Node], data: Mapping[str, object]) -> dict[str, str]:
    return {
        name: node.only_with
        for name, node in nodes.items()
        if node.only_with is not None and node.only_with not in data
    }


def _check_read(node: Node, read: Reference, nodes: Mapping[str, Node], data: Mapping[str, object], place: str) -> str:
    """Refuses a name that is not there or is of another kind; returns the name without its part."""
    what = f"{place}: `{node.name}.{read.label}` is {read.name!r}"
    if read.name in data:
        return read.name
    name, dot, part = read.name.partition(".")
    found = nodes.get(name)
    if found is None:
        names = [*nodes, *data]
        raise RecipeError(
            f"{what}: no stage has this name, and `data` has none{near_name(read.name, names)}; give one, or give the file "
            f"as `data.{read.name}`",
            "LC-E203",
        )
    if dot and part not in found.parts:
        known = f"its parts are {', '.join(found.parts)}" if found.parts else "it has no parts"
        raise RecipeError(f"{what}: the stage {name!r} has no part {part!r}; {known}", "LC-E203")
    kind = found.parts[part] if dot else found.kind
    if kind != read.kind:
        raise RecipeError(f"{what}: this stage makes {kind}, and `{read.label}` needs {read.kind}", "LC-E203")
    return name


def _is_outside(read: Reference, nodes: Mapping[str, Node]) -> bool:
    return read.name.partition(".")[0] not in nodes


def _needs(node: Node, nodes: Mapping[str, Node]) -> set[str]:
    return {name for read in node.reads if (name := read.name.partition(".")[0]) in nodes}


def _around(
    read: Reference, nodes: Mapping[str, Node], left_out: Mapping[str, str], name: str, place: str
) -> Reference:
    """What is read in place of a stage that is left out: the artifact of the same kind that it reads itself; of a part, none."""
    seen: set[str] = set()
    while (stage := read.name.partition(".")[0]) in left_out and stage not in seen:
        seen.add(stage)
        instead = [each for each in nodes[stage].reads if each.kind == read.kind and read.name == stage]
        if not instead:
            raise RecipeError(
                f"{place}: `{name}.{read.label}` is {read.name!r}, which is left out without `data.{left_out[stage]}`: "
                f"give it, or set `{name}.only_with` as well",
                "LC-E207",
            )
        read = read._replace(name=instead[0].name)
    return read
