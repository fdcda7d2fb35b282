"""The reference model of an objective: cached in the run's folder, computed once, or a second model."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_models import load
from lazarus_models.backend import mx, nn
from lazarus_models.trees import evaluate
from lazarus_plan import BatchPlan
from lazarus_tokenkit import Tokenizer
from lazarus_train.callbacks.base import Watcher
from lazarus_train.config import TrainConfig
from lazarus_train.data.dataset import Dataset
from lazarus_train.devices import device_policy, uses_tf32, weight_bytes
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.loss import tokens_at_once
from lazarus_train.engine.precision import cast_weights
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.objectives.base import Bindings, Group, Objective, Reference
from lazarus_train.objectives.reference import (
    CachedReference,
    ModelReference,
    ReferenceSetup,
    WithoutAdapters,
    compute_reference,
    read_reference,
)
from lazarus_train.objectives.sequence_head import SequenceHead
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.layout import RunFolder


@dataclass(frozen=True)
class Binder:
    """Binds an objective to training or held-out data, with its reference.

    Args:
        objective: The objective, not bound.
        config: Settings of the run.
        tokenizer: The tokenizer that encoded the data.
        head: Result of the objective's `sequence_head`.
        base: Initial model of the run, used as the reference.
        folder: The run's folder.
        processes: The processes of the run.
        watcher: Callbacks.
        micro_batch_rows: Rows per forward pass; None computes a whole step at once.
    """

    objective: Objective[Any]
    config: TrainConfig
    tokenizer: Tokenizer
    head: SequenceHead | None
    base: Base
    folder: RunFolder
    processes: ProcessGroup
    watcher: Watcher
    micro_batch_rows: int | None

    @property
    def mismatched(self) -> bool:
        """Whether the loss needs reference values of mismatched prompts and answers."""
        need = self.objective.reference_need
        return need is not None and need.mismatched

    def bind(
        self,
        name: str,
        dataset: Dataset,
        plan: BatchPlan,
        groups: Sequence[Group],
        *,
        mixed: bool = False,
        steps: int | None = None,
    ) -> tuple[Objective[Any], dict[str, str]]:
        """The bound objective, and the digest of its cached reference by name, if it has one.

        Args:
            name: Name of the data, and of its folder in the run's reference folder.
            dataset: The data.
            plan: Plan of its rows.
            groups: Groups whose mismatched examples are computed.
            mixed: Whether the reference computes in bfloat16, like the model in training.
            steps: Steps of the plan that the run trains on; None for all.
        """
        reference, digests = self._reference(name, dataset, plan, groups, mixed=mixed, steps=steps)
        return self.objective.bind(Bindings(dataset, self.tokenizer, self.head, reference)), digests

    def _reference(
        self, name: str, dataset: Dataset, plan: BatchPlan, groups: Sequence[Group], *, mixed: bool, steps: int | None
    ) -> tuple[Reference | None, dict[str, str]]:
        need = self.objective.reference_need
        if need is None:
            return None, {}
        match need.source:
            case "cached":
                found, digest = self._table(
                    name, dataset, plan, groups if need.mismatched else (), mixed=mixed, steps=steps
                )
                return found, {name: digest}
            case "copy":
                return ModelReference(self._frozen_model(mixed=mixed)), {}
            case "adapters-off":
                return WithoutAdapters(), {}

    def _table(
        self, name: str, dataset: Dataset, plan: BatchPlan, groups: Sequence[Group], *, mixed: bool, steps: int | None
    ) -> tuple[CachedReference, str]:
        """The cached log-probabilities. The first process computes missing ones."""
        made_from = {"model": self.base.digest, "plan": plan.plan_id, "lengths": dataset.lengths.digest}
        made_from |= {"precision": "mixed"} if mixed else {}
        made_from |= {"products": "tf32"} if uses_tf32() else {}
        made_from |= {"mismatched": f"1|{len(groups)}"} if groups else {}
        threads = self.config.threads_of(device_policy(weight_bytes(self.config.model)).threads)
        tokens = tokens_at_once(self.micro_batch_rows, plan.step(0), threads)
        setup = ReferenceSetup(self.micro_batch_rows, tokens, threads, steps, self.watcher.on_reference)
        folder = self.folder.reference / name
        if self.processes.is_first:
            load_model = functools.partial(self._frozen_model, mixed=mixed)
            compute_reference(folder, load_model, plan, dataset, groups, made_from, setup)
        self.processes.check_same(reference=name)  # wait until it is written
        return read_reference(folder, dataset, groups)

    def _frozen_model(self, *, mixed: bool) -> nn.Module:
        """The initial model of the run, computed like the model in training: equal weights give equal bits.

        Raises:
            ForeignCheckpoint: The directory contains another model now.
        """
        return frozen_model(self.config.model, self.tokenizer, self.base, mixed=mixed)


def frozen_model(directory: Path, tokenizer: Tokenizer, base: Base, *, mixed: bool) -> nn.Module:
    """A model for reference log-probabilities.

    Args:
        directory: Directory of the model.
        tokenizer: The tokenizer that encoded the data.
        base: Digests of the expected model.
        mixed: Whether it computes in bfloat16.

    Raises:
        ForeignCheckpoint: The directory contains another model.
    """
    lm = load(directory, hashed=True)
    Base.of(lm, tokenizer).check(base, directory)
    model = lm.model
    wrap_layers(model, Wrapping(low_memory=device_policy().is_lean and not mixed))
    model.eval()
    if mixed:
        cast_weights(model, mx.bfloat16)
        evaluate(model.parameters())  # before another thread reads it
    return model
