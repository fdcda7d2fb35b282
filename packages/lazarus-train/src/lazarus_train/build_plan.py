"""A run that plans for itself: the plan is built once, saved in the run's folder, and obeyed like any other."""

import secrets
from typing import Any

from lazarus_plan import PlanConfig, build_plan, load_plan, save_plan
from lazarus_tokenkit import Encoder, load_tokenizer
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.preflight import fields
from lazarus_train.run_dir.checkpoint import checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.resume import NONE

_SEED_BITS = 32


def plan_run(config: TrainConfig, planning: dict[str, Any], *, resume: str, writes: bool = True) -> None:
    """Builds the plan of a run at `config.batch_plan`, with the fingerprints of data, template and tokenizer.

    Built again it is the same plan: a seed that was drawn is read from the plan that lies there.

    Args:
        config: Model, data and template; where the plan goes.
        planning: Members of `PlanConfig`; its seed is drawn where they give none.
        resume: `none` lets another plan take the place of the one that lies there.
        writes: Whether this process writes it; the others of a run only wait.

    Raises:
        SetupError: The folder holds another plan, a run in progress, or something that is no run.
    """
    if not writes:
        return
    config = config.located()
    folder = RunFolder(config.output)
    folder.check_is_ours()
    lies_there = load_plan(config.batch_plan) if config.batch_plan.exists() and resume != NONE else None
    drawn = secrets.randbits(_SEED_BITS) if lies_there is None else lies_there.metadata.config.seed
    encoder = Encoder(load_tokenizer(str(config.model)), template=config.template)
    lengths = [read_dataset(path, encoder, fields(config)).lengths for path in config.data_files]
    plan = build_plan(lengths, PlanConfig.model_validate({"seed": drawn, **planning}))
    if lies_there is not None and lies_there.plan_id == plan.plan_id:
        return
    if lies_there is not None:
        raise SetupError(
            f"{config.output} {'follows' if checkpoints(folder.checkpoints) else 'holds'} plan {lies_there.plan_id[:19]}, "
            f"these options and data give {plan.plan_id[:19]}: give what it was planned with, another --output, or --resume "
            "none to start again",
            "LR-E150",
        )
    with folder.held():  # another process may train by the plan that lies there
        save_plan(plan, config.batch_plan)  # another plan lies there only where `resume` lets it be replaced
