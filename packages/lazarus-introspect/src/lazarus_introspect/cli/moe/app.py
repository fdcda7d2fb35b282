"""The groups `moe` and `moe-expert`; the second has the names of the public project that this one continues."""

from lazarus_core.cli_app import App
from lazarus_introspect.cli.moe.ablate import ablate
from lazarus_introspect.cli.moe.co_activation import co_activation
from lazarus_introspect.cli.moe.compression import compression
from lazarus_introspect.cli.moe.pipeline import pipeline
from lazarus_introspect.cli.moe.route import route
from lazarus_introspect.cli.moe.specialists import specialists
from lazarus_introspect.cli.moe.utilisation import utilisation
from lazarus_introspect.cli.moe.vocab_contrib import vocab_contrib

moe_app = App(
    name="moe",
    help="Experts: routing, balance, specialists, ablation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (route, utilisation, co_activation, specialists, ablate, pipeline, vocab_contrib, compression):
    moe_app.command()(command)

moe_expert_app = App(
    name="moe-expert",
    help="Older names of `moe` commands: analyze is utilisation, heatmap is route.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for name, command in (
    ("analyze", utilisation),
    ("heatmap", route),
    ("pipeline", pipeline),
    ("vocab-contrib", vocab_contrib),
    ("compression", compression),
):
    moe_expert_app.command(name)(command)
