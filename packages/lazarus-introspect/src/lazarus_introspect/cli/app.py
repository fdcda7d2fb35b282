"""The command `lazarus-introspect`; also `lazarus introspect`."""

from typing import Annotated

from lazarus_core.cli_app import App
from lazarus_core.console import version_option
from lazarus_introspect.cli.ablate import ablate
from lazarus_introspect.cli.activation_diff import activation_diff
from lazarus_introspect.cli.analyze import analyze
from lazarus_introspect.cli.attention import attention
from lazarus_introspect.cli.attribute import attribute
from lazarus_introspect.cli.circuit import circuit_app
from lazarus_introspect.cli.compare import compare
from lazarus_introspect.cli.evolve import evolve
from lazarus_introspect.cli.hooks import hooks
from lazarus_introspect.cli.moe.app import moe_app, moe_expert_app
from lazarus_introspect.cli.patch import patch
from lazarus_introspect.cli.probing.arithmetic import arithmetic
from lazarus_introspect.cli.probing.clusters import clusters
from lazarus_introspect.cli.probing.commutativity import commutativity
from lazarus_introspect.cli.probing.directions import directions
from lazarus_introspect.cli.probing.embedding import embedding
from lazarus_introspect.cli.probing.neurons import neurons
from lazarus_introspect.cli.probing.operand_directions import operand_directions
from lazarus_introspect.cli.probing.probe import probe
from lazarus_introspect.cli.probing.uncertainty import uncertainty
from lazarus_introspect.cli.replay import replay
from lazarus_introspect.cli.steer import steer
from lazarus_introspect.cli.weight_diff import weight_diff

app = App(
    name="lazarus-introspect",
    help="Look inside language models: lens, attention, attribution, ablation, patching, steering, probing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

for command in (analyze, compare, hooks, attention, ablate, patch, attribute, steer, evolve, replay):
    app.command()(command)
for command in (
    probe,
    directions,
    clusters,
    neurons,
    embedding,
    operand_directions,
    commutativity,
    arithmetic,
    uncertainty,
):
    app.command()(command)

for command in (weight_diff, activation_diff):
    app.command()(command)
app.add_typer(circuit_app, name="circuit")
app.add_typer(moe_app, name="moe")
app.add_typer(moe_expert_app, name="moe-expert")


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-introspect")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    pass
