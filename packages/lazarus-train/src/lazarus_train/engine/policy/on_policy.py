"""One step of reinforcement learning: draw answers to the step's prompts, score them, and update the weights with them.

The way of a prompt: `order_by_signal` -> `Collector` (draw, score) -> every process gets all roll-outs -> advantages -> `UpdateMaker`
(rows, old log-probabilities at the shapes of training) -> `compute_gradients` -> `Optimizer.update`.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_models import LoadedModel
from lazarus_plan.plan import Step
from lazarus_train.config import TrainConfig
from lazarus_train.cpu.thread_parallel import Replicas
from lazarus_train.distributed import ProcessGroup
from lazarus_train.engine.gradients import GradientFn
from lazarus_train.engine.loss import step_seed
from lazarus_train.engine.policy.updates import Update, UpdateMaker, reference_divergence, with_inputs
from lazarus_train.engine.precision import in_bfloat16
from lazarus_train.engine.step import Gradients, compute_gradients
from lazarus_train.objectives.policy.base import PolicyObjective, PolicySettings
from lazarus_train.preflight.inputs import RunInputs
from lazarus_train.rollouts.advantages import Advantage, Scored
from lazarus_train.rollouts.collect import Asked, Collector, Lines
from lazarus_train.rollouts.groups import divide, figures, groups_of, is_useful, trained_of
from lazarus_train.rollouts.record import Rollout, digest_of
from lazarus_train.rollouts.signal import SignalHistory, order_by_signal

JSON = dict[str, Any]
BETA = "beta"
"""Metric: the weight of the divergence from the reference after the step, if it is adapted."""


class Learned(NamedTuple):
    """Result of a step.

    Args:
        loss: Mean loss of the first update; 0 if no answer has a gradient.
        norm: Gradient norm of the first update before clipping.
        metrics: Means by name.
        rollouts: All roll-outs of the step, in order.
        digest: SHA-256 over their lines, 64 hex.
        speeds: Tokens drawn and trained, a second.
    """

    loss: float
    norm: float
    metrics: dict[str, float]
    rollouts: list[Rollout]
    digest: str
    speeds: dict[str, float]


@dataclass
class OnPolicy:
    """Draws answers and learns from them.

    Args:
        objective: The objective, bound to the prompts.
        collector: Draws and scores answers.
        maker: Makes updates from roll-outs.
        gradients: Gradients of the objective's loss.
        seed: Seed of the run.
        max_norm: Upper bound of the gradient norm.
        history: Signal of earlier groups.
        beta: Weight of the divergence from the reference.
        shares: Shares of the prompts that are drawn one after the other, to repeat a run of so many processes.
    """

    objective: PolicyObjective
    collector: Collector
    maker: UpdateMaker
    gradients: GradientFn | None
    seed: int
    max_norm: float
    history: SignalHistory
    beta: float
    shares: int = 1

    @property
    def settings(self) -> PolicySettings:
        """Settings of the objective."""
        return cast("PolicySettings", self.objective.settings)

    @property
    def _processes(self) -> ProcessGroup:
        return self.maker.processes

    @property
    def _replicas(self) -> Replicas:
        return self.maker.replicas

    def resume(self, lines: Sequence[JSON], beta: float | None) -> None:
        """Restores the state after earlier steps.

        Args:
            lines: Lines of `rollouts.jsonl`.
            beta: Metric `beta` of the last step; None if it is not adapted.
        """
        self.beta = self.beta if beta is None else beta
        for group in groups_of([Rollout.of(line) for line in lines]):
            self._remember(group)

    def step(self, step: Step, apply: Callable[[Gradients], object]) -> Learned:
        """Draws, scores and learns.

        Args:
            step: Prompts of the step.
            apply: Updates the weights by gradients.
        """
        began = time.perf_counter()
        rollouts, lines = self._draw(step)
        drawn = time.perf_counter()
        settings = self.settings
        trained = trained_of(rollouts, alone=settings.needs_value, only_useful=settings.replace_flat)
        divided = divide(
            trained,
            settings.updates_per_pass,
            step_seed(self.seed, step.index, "updates"),
            splits_groups=settings.needs_value,
        )
        updates = [self._update(members, lines) for members in divided]
        metrics = figures(rollouts, is_control=self.settings.is_control) | self._survey_figures(updates)
        per_update = self._advantages(updates)
        found: list[Gradients] = []
        for _ in range(self.settings.passes):
            for update, advantages in zip(updates, per_update, strict=True):
                for gradients in self._gradients(update, advantages):
                    apply(gradients)
                    found.append(gradients)
        for group in groups_of(rollouts):
            self._remember(group)
        self._adapt(metrics, len(trained))
        seconds = time.perf_counter() - drawn
        trained_tokens = sum(each.length for each in trained) * self.settings.passes
        return Learned(
            loss=found[0].loss if found else 0.0,
            norm=found[0].norm if found else 0.0,
            metrics=metrics | self._loss_figures(found),
            rollouts=rollouts,
            digest=digest_of(rollouts),
            speeds={
                "drawn_tokens_per_s": sum(each.length for each in rollouts) / (drawn - began),
                "trained_tokens_per_s": trained_tokens / seconds,
            },
        )

    def draw_again(self, step: Step) -> list[Rollout]:
        """The roll-outs of a step as the run drew them, given the weights and roll-outs before it.

        Args:
            step: Prompts of the step.
        """
        return self._draw(step)[0]

    def _draw(self, step: Step) -> tuple[list[Rollout], dict[tuple[int, int], Lines]]:
        """Answers to the prompts of a step, and the distributions of those that this process drew."""
        settings = self.settings
        pool = self._pool(step)
        wanted = min(len(pool), settings.prompts_per_step or len(pool))
        found: list[Rollout] = []
        lines: dict[tuple[int, int], Lines] = {}
        usable, start = 0, 0
        while usable < wanted and start < len(pool):
            wave = pool[start : start + wanted - usable]
            start += len(wave)
            drawn = self._wave(wave, step.index, lines)
            found += drawn
            usable += sum(not settings.replace_flat or is_useful(group) for group in groups_of(drawn))
        return self._controlled(found, step.index), lines

    def _pool(self, step: Step) -> list[int]:
        """Prompts of a step, in the order in which they are answered."""
        samples = list(dict.fromkeys(segment.sample for row in step.rows for segment in row.segments))
        if self.settings.choose == "plan":
            return samples
        keys = {sample: self._key(sample) for sample in samples}
        return order_by_signal(samples, keys, self.history, seed=self.seed, step=step.index)

    def _key(self, sample: int) -> str:
        field = self.settings.signal_field
        return f"sample {sample}" if field is None else str(self.collector.prompts.row(sample).get(field))

    def _wave(self, samples: Sequence[int], step: int, lines: dict[tuple[int, int], Lines]) -> list[Rollout]:
        """Answers to some prompts, drawn by all processes together; every process gets all."""
        size, mine = self._processes.size * self.shares, list[Rollout]()
        for share in range(self._processes.rank, size, self._processes.size):
            asked = [Asked(sample, copy) for sample in samples[share::size] for copy in range(self.settings.group_size)]
            collected = self.collector.collect(self._replicas, asked, step)
            mine += collected.rollouts
            for rollout, each in zip(collected.rollouts, collected.lines, strict=True):
                lines[rollout.sample, rollout.copy] = each
        sent = json.dumps([each.to_json() for each in mine]).encode()
        everything = [Rollout.of(line) for part in self._processes.gather(sent) for line in json.loads(part)]
        order = {sample: place for place, sample in enumerate(samples)}
        return sorted(everything, key=lambda each: (order[each.sample], each.copy))

    def _controlled(self, rollouts: list[Rollout], step: int) -> list[Rollout]:
        """In a control run, the rewards of the step are dealt at random to its answers."""
        if not self.settings.is_control:
            return rollouts
        places = [place for place, each in enumerate(rollouts) if each.is_whole]
        rewards = [rollouts[place].reward for place in places]
        random.Random(step_seed(self.seed, step, "control")).shuffle(rewards)
        found = list(rollouts)
        for place, reward in zip(places, rewards, strict=True):
            found[place] = replace(found[place], reward=reward)
        return found

    def _remember(self, group: Sequence[Rollout]) -> None:
        self.history.record(
            group[0].step - 1,
            self._key(group[0].sample),
            has_signal=is_useful(group),
            tokens=sum(each.length for each in group),
        )

    def _update(self, members: list[Rollout], lines: Mapping[tuple[int, int], Lines]) -> Update:
        weights = self.objective.token_weights([each.length for each in members])
        moves = {group[0].sample: self._moves(group) for group in groups_of(members)}
        moving = [index for index, each in enumerate(members) if moves[each.sample]]
        return self.maker.make(members, moving, lines, weights)

    def _moves(self, group: Sequence[Rollout]) -> bool:
        """Whether a group changes the weights: its rewards differ, or it is held near the reference, or it trains the value."""
        return self.settings.needs_value or self.beta > 0 or is_useful(group)

    def _survey_figures(self, updates: Sequence[Update]) -> dict[str, float]:
        """Entropy, and the distance between the generating and the training pass, over all processes."""
        found = [each for update in updates for each in update.batches]
        entropy, divergence, reference, labels, compared = self._processes.sum_numbers(
            sum(each.entropy for each in found),
            sum(each.divergence for each in found),
            reference_divergence(updates),
            float(sum(len(each.old) for each in found)),
            float(sum(each.compared for each in found)),
        )
        gaps = [
            float(part)
            for part in self._processes.gather(repr(max((each.gap for each in found), default=0.0)).encode())
        ]
        answers = max(1, sum(len(update.rollouts) for update in updates))
        return {
            "entropy": entropy / max(1.0, labels),
            "engine_gap": max(gaps),
            "engine_kl": divergence / max(1.0, compared),
            **({"reference_kl": reference / answers} if self.beta else {}),
        }

    def _advantages(self, updates: Sequence[Update]) -> list[list[Advantage]]:
        """Advantages of the roll-outs of each update."""
        columns = self._token_columns(updates) if self.settings.needs_value else {}
        answers = [
            Scored(each.sample, each.reward or 0.0, each.length, *columns.get((number, member), ()))
            for number, update in enumerate(updates)
            for member, each in enumerate(update.rollouts)
        ]
        found = iter(self.objective.advantages(answers))
        return [[next(found) for _ in update.rollouts] for update in updates]

    def _token_columns(self, updates: Sequence[Update]) -> dict[tuple[int, int], list[NDArray[Any]]]:
        """Penalties for leaving the reference, and values, of the tokens of each roll-out, by update and place; of all processes."""
        mine: list[tuple[int, int, list[float], list[float]]] = []
        for number, update in enumerate(updates):
            for each in update.batches:
                assert each.value is not None, "the model has a value head"
                penalties = each.penalties(self.beta)
                mine += [
                    (number, member, penalties[labels].tolist(), each.value[labels].tolist())
                    for member, labels in each.spans()
                ]
        parts = [json.loads(part) for part in self._processes.gather(json.dumps(mine).encode())]
        return {
            (number, member): [np.array(column) for column in columns]
            for part in parts
            for number, member, *columns in part
        }

    def _gradients(self, update: Update, advantages: Sequence[Advantage]) -> list[Gradients]:
        """Gradients of one update; none if no roll-out has a gradient."""
        assert self.gradients is not None, "made to learn"
        if not update.labels:
            return []
        batches = ([with_inputs(each, update, advantages) for each in shares] for shares in update.micro)
        return [
            compute_gradients(
                self._replicas, self.gradients, batches, update.units, self.max_norm, processes=self._processes
            )
        ]

    def _loss_figures(self, found: Sequence[Gradients]) -> dict[str, float]:
        """`ratio_error` of the first update, which is 0, and the means of the other metrics over all updates."""
        means = {
            name: sum(each.metrics[name] for each in found) / len(found) if found else 0.0
            for name in self.objective.metrics
        }
        return means | {"ratio_error": found[0].metrics["ratio_error"] if found else 0.0}

    def _adapt(self, metrics: dict[str, float], answers: int) -> None:
        """Adapts `beta`, if the objective does."""
        found = self.objective.adapted_beta(self.beta, metrics.get("reference_kl", 0.0), answers)
        if found is None:
            return
        self.beta = found
        metrics[BETA] = self.beta


def policy_of(
    config: TrainConfig,
    inputs: RunInputs,
    lm: LoadedModel,
    objective: PolicyObjective,
    replicas: Replicas,
    processes: ProcessGroup,
    gradients: GradientFn | None,
    *,
    shares: int = 1,
) -> OnPolicy:
    """Draws answers of a model and learns from them.

    Args:
        config: Settings of the run.
        inputs: The prompts and their encoder.
        lm: The model in training.
        objective: The objective, bound to the prompts.
        replicas: The model and its copies.
        processes: The processes of the run.
        gradients: Gradients of the objective's loss; None only to draw.
        shares: Processes of the run whose answers are drawn again by one process.
    """
    settings = cast("PolicySettings", objective.settings)
    objective.seed = config.seed
    collector = objective.collector(inputs.encoder, lm)
    if config.mixed_precision:  # answers are drawn by the arithmetic of the loss
        collector = replace(collector, draw=in_bfloat16(collector.draw))
    reference = None if objective.bindings is None else cast("Any", objective.bindings.reference)
    return OnPolicy(
        objective=objective,
        collector=collector,
        maker=UpdateMaker(
            replicas=replicas,
            processes=processes,
            prompt_ids=collector.prompts.ids,
            of_labels=None if reference is None else reference.of_labels,
            temperature=settings.temperature,
            micro_rows=config.micro_rows,
            is_packed=lm.model.config.supports_packing,
            mixed_precision=config.mixed_precision,
        ),
        gradients=gradients,
        seed=config.seed,
        max_norm=config.optimizer.max_grad_norm,
        history=SignalHistory(),
        beta=settings.beta,
        shares=shares,
    )
