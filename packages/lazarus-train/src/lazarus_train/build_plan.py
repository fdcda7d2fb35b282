"""Builds a plan for a run and saves it in the run's folder."""

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_plan import PlanConfig, build_plan, load_plan, save_plan
from lazarus_plan.format import describe_plan_changes
from lazarus_plan.packing import ROW_LEN_MULTIPLE
from lazarus_tokenkit import Encoder
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import field_names, read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.preflight.inputs import tokenizer_of
from lazarus_train.run_dir.checkpoint import checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.resume import AUTO, NONE

_SEED_BITS = 32
SUGGESTED_TOKENS = 8192
"""Largest suggested budget, unless one row is longer: the budget that `data batching suggest` measures with."""
SUGGESTED_STEPS = 50
"""Steps of an epoch that a suggested budget leaves at least, unless a step then has less than one row."""


def suggest_budget(length: NDArray[Any], row_len: int | None = None) -> int:
    """Tokens a step for given samples: whole rows, at most `SUGGESTED_TOKENS`, and `SUGGESTED_STEPS` steps or more.

    >>> import numpy as np
    >>> suggest_budget(np.full(10_000, 500)), suggest_budget(np.full(100, 500)), suggest_budget(np.full(9, 9000))
    (8192, 512, 9024)

    Args:
        length: Tokens of each sample, (N,).
        row_len: Tokens a row; None for the longest sample's, rounded up to a multiple of 64.
    """
    row_len = row_len or max(1, -(-int(length.max(initial=0)) // ROW_LEN_MULTIPLE)) * ROW_LEN_MULTIPLE
    wanted = min(SUGGESTED_TOKENS, int(length.sum()) // SUGGESTED_STEPS)
    return max(1, wanted // row_len) * row_len


def plan_run(config: TrainConfig, planning: dict[str, Any], *, resume: str = AUTO, writes: bool = True) -> int | None:
    """Builds the plan of a run at `config.batch_plan`, with the fingerprints of data, template and tokenizer.

    The same call builds the same plan: a random seed is read from an existing plan.

    Args:
        config: Model, data, template, and the folder of the plan.
        planning: Members of `PlanConfig`; without `seed` a random one is used, without `token_budget` a suggested one.
        resume: `none` replaces another plan in that folder; otherwise another plan is an error.
        writes: Whether this process writes the plan; the other processes of a run do nothing.

    Returns:
        Tokens a step of the plan, or None if this process does not write it.

    Raises:
        SetupError: The folder has another plan, a run in progress, or files that are not part of a run.
    """
    if not writes:
        return None
    config = config.located()
    folder = RunFolder(config.output)
    folder.check_is_ours()
    lies_there = load_plan(config.batch_plan) if config.batch_plan.exists() and resume != NONE else None
    drawn = secrets.randbits(_SEED_BITS) if lies_there is None else lies_there.metadata.config.seed
    encoder = Encoder(tokenizer_of(config.model), template=config.template)
    lengths = [read_dataset(path, encoder, field_names(config)).lengths for path in config.data_files]
    chosen = planning.get("token_budget") or suggest_budget(
        np.concatenate([each.length for each in lengths]), planning.get("row_len")
    )
    plan = build_plan(lengths, PlanConfig.model_validate({"seed": drawn, **planning, "token_budget": chosen}))
    if lies_there is not None and lies_there.plan_id == plan.plan_id:
        return chosen
    if lies_there is not None:
        raise SetupError(
            f"{config.output} {'follows' if checkpoints(folder.checkpoints) else 'has'} plan {lies_there.plan_id[:19]}, "
            f"these settings and data give {plan.plan_id[:19]}: {describe_plan_changes(lies_there, plan)}; give the settings of that "
            "plan, another `output`, or `resume=none` to start again",
            "LR-E150",
        )
    with folder.held():  # another process may train by the plan that lies there
        save_plan(plan, config.batch_plan)  # another plan lies there only where `resume` lets it be replaced
    return chosen
