"""`lazarus-plan`, also mounted as `lazarus data batchplan`: build, inspect, check, prove and shard batch plans."""

from typing import Annotated

from lazarus_core.cli_app import App
from lazarus_core.console import version_option
from lazarus_plan.__main__ import main as main
from lazarus_plan.cli import checking, planning, reviewing, showing
from lazarus_plan.cli.option_names import with_options

app = App(
    name="lazarus-plan",
    help="The lockfile for training runs: build, inspect, check and shard batch plans.",
    no_args_is_help=True,
)
app.add_deferred(planning.build)
for command in (
    showing.info,
    checking.validate,
    checking.verify,
    showing.diff,
    showing.explain,
    showing.stats,
    showing.shard,
    planning.lock,
    planning.materialise,
    reviewing.ci,
    planning.rebase,
    planning.export,
    checking.audit,
    checking.simulate,
    checking.prove,
    checking.check_proof,
    checking.attest,
):
    app.command(command.__name__.replace("_", "-"))(with_options(command))


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-plan")] = False) -> None:
    """The lockfile for training runs: build, inspect, check and shard batch plans."""
