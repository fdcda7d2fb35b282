"""The walk back from a trained model to the rows: each link of the chain is checked with what the next one says.

final -> checkpoint -> first model, audit log -> plan -> data, template, tokenizer, lengths
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from lazarus_plan import CorruptPlan, StalePlan, check_audit
from lazarus_train.checkpoint import ADAPTERS, WEIGHTS, checkpoints, read_state
from lazarus_train.config import TrainConfig
from lazarus_train.errors import CorruptCheckpoint, ForeignCheckpoint, SetupError
from lazarus_train.folder import RunFolder
from lazarus_train.gate import Enforced, enforce
from lazarus_train.seal import file_digest, model_digest, seal_damage

JSON = dict[str, Any]


class Link(NamedTuple):
    """A link of the chain that holds.

    Args:
        name: What was checked.
        proof: What was found, in words.
        holds: False where nothing could be checked, for the plan does not know it.
    """

    name: str
    proof: str
    holds: bool = True


@dataclass(frozen=True)
class Elsewhere:
    """Where what a run was made from lies now; None, and no data, is where it lay then."""

    model: Path | None = None
    data: tuple[Path, ...] = ()
    batch_plan: Path | None = None


_NOT_MOVED = Elsewhere()


def verify_run(path: Path, elsewhere: Elsewhere = _NOT_MOVED) -> Iterator[Link]:
    """Walks from a run, its `final` or one of its checkpoints back to the rows of the data.

    Args:
        path: The folder of one of them.
        elsewhere: Model, data and plan, where they moved since.

    Yields:
        Each link that holds, from the weights to the data, and each that the plan knows nothing of.

    Raises:
        SetupError: Not part of a run.
        CorruptCheckpoint: Weights or state are not what the checkpoint's manifest says.
        ForeignCheckpoint: The model is not the one that the run began with.
        CorruptPlan: The plan contradicts itself, or the run did not follow it.
        StalePlan: Data, template, tokenizer or lengths are not the planned ones; the first broken link is named.
    """
    folder, checkpoint = _find(path)
    record = _read_record(folder.config)
    state = read_state(checkpoint)
    done = state.next_step
    yield Link("checkpoint", f"{checkpoint.name}: every file has the SHA-256 of its manifest")
    if folder.final.is_dir() and checkpoint == checkpoints(folder.checkpoints)[-1]:
        _check_final(folder.final, checkpoint)
        yield Link("final", "weights, config and tokenizer are as they were written, from the last checkpoint")
    config = _config(record, folder, elsewhere)
    yield _check_first_model(config.model, state.base)
    enforced = enforce(config)
    plan = enforced.plan
    if not plan.plan_id == record["plan_id"] == state.plan["plan_id"]:
        raise StalePlan(f"the run followed plan {state.plan['plan_id']}, its plan is now {plan.plan_id}", "LP-E172")
    _check_audit(folder.audit, enforced, done, state.audit_head)
    yield Link("audit log", f"{done} steps, chained to the checkpoint; every digest recomputed from the data")
    yield Link("plan", f"{plan.plan_id}, {len(plan)} steps")
    for name in ("lengths", "tokenizer", "template", "data"):
        why = enforced.checked.unchecked.get(name)
        digests = ", ".join(map(str, plan.fingerprints[name]["sources"]))
        yield Link(name, f"NOT checked: {why}" if why else digests, why is None)


def _find(path: Path) -> tuple[RunFolder, Path]:
    """The run that a path belongs to, and the checkpoint to begin with."""
    for run in (path, path.parent, path.parent.parent) if path.exists() else ():
        folder = RunFolder(run)
        found = checkpoints(folder.checkpoints)
        if not found or not folder.config.is_file():
            continue
        by_place = {each.resolve(): each for each in found}  # `latest` and `best` are links
        if path.resolve() in by_place:
            return folder, by_place[path.resolve()]
        if path.resolve() in {each.resolve() for each in (run, folder.final, folder.checkpoints)}:
            return folder, found[-1]
    raise SetupError(f"{path} is not a run, its `final` or one of its checkpoints", "LR-E107")


def _read_record(path: Path) -> JSON:
    try:
        record: JSON = json.loads(path.read_bytes())
        TrainConfig.model_validate(record["config"])
        return {"config": record["config"], "plan_id": str(record["plan_id"]), "folder": str(record["folder"])}
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise SetupError(f"{path} is not the record of a run: {str(error).splitlines()[0]}", "LR-E107") from error


def _config(record: JSON, folder: RunFolder, elsewhere: Elsewhere) -> TrainConfig:
    """What was asked for, with paths that hold from any folder; what the run made for itself lies in the run, where it is now."""
    config = TrainConfig.model_validate(record["config"])
    began_in = Path(record["folder"])

    def now(path: Path) -> Path:
        own, path = began_in / config.output, began_in / path
        return folder.path / path.relative_to(own) if path.is_relative_to(own) else path

    model = elsewhere.model or now(config.model)
    data = elsewhere.data or tuple(now(path) for path in config.data_files)
    batch_plan = elsewhere.batch_plan or now(config.batch_plan)
    for option, path in (("model", model), *(("data", path) for path in data), ("batch-plan", batch_plan)):
        if not path.exists():
            raise SetupError(f"{path} is gone: give its place now as --{option}", "LR-E113")
    return config.model_copy(update={"model": model, "data": data, "batch_plan": batch_plan})


def _check_final(final: Path, checkpoint: Path) -> None:
    """Every file is as it was written, and the weights, or what they were merged from, are the checkpoint's."""
    problem = seal_damage(final)
    if problem:
        raise CorruptCheckpoint(f"{final}: {problem}; the same training command writes it again", "LR-E204")
    pairs = ((final / "adapters" / ADAPTERS, checkpoint / ADAPTERS), (final / WEIGHTS, checkpoint / WEIGHTS))
    for mine, theirs in pairs:
        if theirs.is_file():
            if not mine.is_file() or file_digest(mine) != file_digest(theirs):
                raise CorruptCheckpoint(f"{mine} is not what {checkpoint.name} holds: it was changed", "LR-E204")
            return


def _check_first_model(model: Path, base: str) -> Link:
    """Weights and config that the run began with; a directory of the tokenizer alone proves nothing of them."""
    if not any(model.glob("*.safetensors")):
        return Link("first model", f"NOT checked: {model} holds no weights", holds=False)
    found = model_digest(model)
    if found != base:
        raise ForeignCheckpoint(
            f"{model}: the run began with the model {base[:19]}, its weights and config are now {found[:19]}; restore it, "
            "or give its place now as --model",
            "LR-E211",
        )
    return Link("first model", base)


def _check_audit(log: Path, enforced: Enforced, done: int, head: str) -> None:
    found = check_audit(log, enforced.plan, lambda segment: enforced.dataset.sample(segment.sample, segment.span)[0])
    for finding in found.findings:
        raise CorruptPlan(f"{log}: {finding.message}", finding.code)
    entries = [json.loads(line) for line in log.read_bytes().splitlines()[1:]]
    reached = next((entry["head"] for entry in entries if entry["step"] == done - 1), None)
    if reached != head:
        raise CorruptPlan(f"{log} does not come to the checkpoint's head after {done} steps", "LP-E174")
