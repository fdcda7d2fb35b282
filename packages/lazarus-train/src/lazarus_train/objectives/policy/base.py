"""What GRPO and PPO share: settings, the data that they accept, and held-out rewards.

The rows of a step are prompts. The run generates answers, computes rewards and advantages (`engine.policy`), and passes
them to the loss in `Batch.random_inputs`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from lazarus_train.objective_registry import ObjectiveSettings, RunFields
from lazarus_train.objectives.base import Bindings, Metrics, Objective, ReferenceNeed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lazarus_models import LoadedModel
    from lazarus_models.backend import mx
    from lazarus_plan import BatchPlan
    from lazarus_tokenkit import Encoder
    from lazarus_train.data.batches import Batch
    from lazarus_train.data.dataset import Dataset
    from lazarus_train.rollouts.advantages import Advantage, Scored
    from lazarus_train.rollouts.collect import Collector

OLD, REFERENCE, ADVANTAGE, WEIGHT, SHARE = "old", "reference", "advantage", "weight", "share"
"""Names of the arrays (L,) that the loss reads: log-probabilities when drawn and of the reference; advantages; the weight of a
token in the loss, and in the metrics."""
OLD_VALUE, RETURN = "old_value", "return"
"""Names of further arrays (L,) of PPO."""


class PolicySettings(ObjectiveSettings, frozen=True):
    """Reinforcement learning on answers that the model in training generates."""

    allows_generation: ClassVar[bool] = True
    group_size: int
    """Answers to each prompt."""

    reward: str | None = None
    """Reward of an answer: `exact` compares with the row's own answer; the name of an installed reward; a `.toml` file of
    rewards; or a Python function, `MODULE:FUNCTION`. Default: the environment's."""
    environment: str | None = None
    """Environment that answers the model: an installed name, such as gym:sudoku, or the address of an OpenEnv server, such as
    ws://127.0.0.1:8000. Each row has a `seed` and may have a `task`. The reward is the environment's. Default: one answer to each
    prompt."""
    turns: PositiveInt = 16
    """Most answers of the model in an environment."""
    unfinished: Literal["skip", "score"] = "skip"
    """Episodes that have not ended after `turns` answers, at the environment's own limit, or because an answer was cut: `skip`
    trains nothing on them; `score` trains on the rewards so far, so that a model cannot avoid a loss by never ending."""
    prompts_per_step: PositiveInt | None = None
    """Prompts of a step that are answered; `choose` says which. Default: all."""
    choose: Literal["plan", "signal"] = "plan"
    """Prompts of a step that are answered first: in the order of the plan, or those whose groups most likely have different
    rewards, by earlier answers to them and to rows with the same `signal_field`."""
    signal_field: str | None = None
    """Field whose value rows of one difficulty share, for `choose` signal. Default: each row is estimated by itself."""
    replace_flat: bool = False
    """Replace groups of equal rewards by further prompts of the step while there are any (dynamic sampling of DAPO, arXiv
    2503.14476)."""
    max_new_tokens: PositiveInt = 256
    """Most tokens of an answer. Longer answers are cut and never trained on."""
    overlong_buffer: NonNegativeInt = 0
    """Tokens before `max_new_tokens` over which a growing penalty up to 1 is subtracted from the reward (DAPO). Default: none."""
    temperature: PositiveFloat = 1.0
    """Divisor of the logits, when answers are drawn and in the loss."""
    batch_texts: PositiveInt = 64
    """Answers that are generated at the same time."""
    beta: NonNegativeFloat = 0.0
    """Weight of the KL divergence from the reference."""
    reference: Literal["copy", "adapters-off"] = "copy"
    """The reference: a second, frozen model, or the model without its adapters. Loaded only with `beta` above 0."""
    passes: PositiveInt = 1
    """Times that the answers of a step are trained on."""
    updates_per_pass: PositiveInt = 1
    """Updates of the weights in each pass; the answers are divided among them."""
    is_control: bool = False
    """Give random rewards instead, with the distribution of the true ones, to see what training does without signal. The true
    rewards are logged."""

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> PolicySettings:
        if (self.reward is None) == (self.environment is None):
            raise ValueError("give `reward`, or an `environment` that gives rewards; not both")
        if self.unfinished != "skip" and self.environment is None:
            raise ValueError("`unfinished` has no effect without `environment`")
        if self.overlong_buffer > self.max_new_tokens:
            raise ValueError("`overlong_buffer` is above `max_new_tokens`")
        if self.reference != "copy" and not self.beta:
            raise ValueError("`reference` has no effect with `beta` 0")
        if self.turns != 16 and self.environment is None:
            raise ValueError("`turns` has no effect without `environment`")
        if self.overlong_buffer and self.environment is not None:
            raise ValueError("`overlong_buffer` has no effect with `environment`, which gives the rewards")
        if self.signal_field is not None and self.choose != "signal":
            raise ValueError("`signal_field` has no effect without `choose` signal")
        if self.choose == "signal" and self.prompts_per_step is None:
            raise ValueError("`choose` signal needs `prompts_per_step`, below the prompts of a step")
        if self.replace_flat and self.prompts_per_step is None:
            raise ValueError("`replace_flat` needs `prompts_per_step`, below the prompts of a step")
        return self

    def check_run(self, run: RunFields) -> None:
        """Refuses settings that make the probabilities in the loss differ from those of the drawn answers.

        Raises:
            ValueError: Dropout of adapters or noise is set, or `adapters-off` without adapters.
        """
        super().check_run(run)
        if run.lora is not None and run.lora.dropout > 0:
            raise ValueError("`lora.dropout` changes probabilities between two passes: leave it at 0")
        if run.neftune_alpha is not None:
            raise ValueError("`neftune_alpha` changes probabilities between two passes: leave it out")
        if self.reference == "adapters-off" and run.lora is None:
            raise ValueError("`reference` adapters-off needs `lora`")


class PolicyObjective(Objective[Any]):
    """Base of the objectives whose answers the run generates.

    Args:
        settings: The objective's settings.
    """

    unit = "prompt"
    is_on_policy = True
    held_out_mode = "padded"
    bindings: Bindings | None = None
    """From `bind`."""
    seed: int = 0
    """Seed of the run; from the run."""
    folder: str = ""
    """Folder in which the reward is looked for; empty for the working directory."""

    def check(self) -> None:
        """Checks that the reward or the environment is there.

        Raises:
            SetupError: It is not.
        """
        from lazarus_train.rollouts.environments import close, environment_maker
        from lazarus_train.rollouts.rewards import load_reward

        if self.settings.environment is not None:
            close(environment_maker(self.settings.environment)())
        if self.settings.reward is not None:
            load_reward(self.settings.reward)

    def check_start(self, most_units: int) -> None:
        """Refuses a choice of prompts where every step answers all of its prompts.

        Args:
            most_units: Prompts of the step that has the most.

        Raises:
            SetupError: `choose` signal or `replace_flat` has no effect.
        """
        from lazarus_train.errors import SetupError

        settings: PolicySettings = self.settings
        name = "`choose` signal" if settings.choose == "signal" else "`replace_flat`" if settings.replace_flat else None
        if name is not None and settings.prompts_per_step is not None and settings.prompts_per_step >= most_units:
            raise SetupError(
                f"{name} has no effect: a step of the plan has at most {most_units} prompt{'s' if most_units > 1 else ''}, and "
                f"`prompts_per_step` is {settings.prompts_per_step}, so all are answered; give fewer, or plan more prompts a step by a "
                "larger `token_budget`",
                "LR-E183",
            )

    def reward_digests(self) -> dict[str, str]:
        """Digests of the files of the reward, by name; none for installed rewards and environments.

        Raises:
            SetupError: The reward is not there.
        """
        from lazarus_train.rollouts.reward_files import reward_digests

        return {} if self.settings.reward is None else reward_digests(self.settings.reward, self.folder)

    def changed_reward(self, recorded: Mapping[str, str] | None) -> Path | str | None:
        """A file of the reward that is not as the run recorded it; None if there is none, or nothing was recorded.

        Args:
            recorded: Digests in the record of the run.

        Raises:
            SetupError: The reward is not there.
        """
        from lazarus_train.rollouts.reward_files import changed_reward

        return None if self.settings.reward is None else changed_reward(recorded, self.settings.reward, self.folder)

    def loss_normalizer(self, plan: BatchPlan, dataset: Dataset, *, may_be_empty: bool = False) -> NDArray[np.int64]:
        """Prompts of each step.

        Args:
            plan: The steps.
            dataset: Samples of the plan.
            may_be_empty: Whether the rows are held out, whose signal does not matter.

        Raises:
            SetupError: The plan truncates or splits a sample, a sample has no prompt, or its row does not fit the settings.
        """
        import numpy as np

        from lazarus_train.objectives.loss_normalizer import check_whole
        from lazarus_train.rollouts.prompts import check_answers, check_episodes, check_field, check_prompts
        from lazarus_train.rollouts.rewards import EXACT

        check_whole(plan, dataset)
        samples: list[int] = np.unique(plan.sample).tolist()
        check_prompts(dataset, samples)
        if self.settings.environment is not None:
            check_episodes(dataset, samples)
        if self.settings.reward == EXACT:
            check_answers(dataset, samples)
        if self.settings.signal_field is not None and not may_be_empty:
            check_field(dataset, samples, self.settings.signal_field)
        return np.diff(plan.step_splits).astype(np.int64)

    @property
    def reference_need(self) -> ReferenceNeed | None:
        """None with `beta` 0."""
        return ReferenceNeed(self.settings.reference) if self.settings.beta else None

    def bind(self, bindings: Bindings) -> PolicyObjective:
        """The objective with the prompts and the reference.

        Args:
            bindings: Data, tokenizer and reference.
        """
        bound = type(self)(self.settings)
        bound.bindings = bindings
        return bound

    def collector(self, encoder: Encoder, lm: LoadedModel, *, is_greedy: bool = False) -> Collector:
        """Draws and scores answers to the bound prompts.

        Args:
            encoder: Encoder of the data.
            lm: The model in training; gives stop tokens and context.
            is_greedy: Whether to take the most likely tokens, as held-out answers are.

        Raises:
            SetupError: The reward or the environment is not there.
        """
        from lazarus_train.rollouts.collect import Collector, Drawing
        from lazarus_train.rollouts.environments import environment_maker
        from lazarus_train.rollouts.prompts import Prompts
        from lazarus_train.rollouts.rewards import load_reward

        settings, bindings = self.settings, self.bindings
        assert bindings is not None, "bound before it draws"
        drawing = Drawing(
            seed=self.seed,
            limit=settings.max_new_tokens,
            context=lm.config.max_position_embeddings,
            temperature=0.0 if is_greedy else settings.temperature,
            stop_ids=lm.stop_ids,
            batch_texts=settings.batch_texts,
            overlong_buffer=0 if is_greedy else settings.overlong_buffer,
            turns=settings.turns,
            scores_unfinished=settings.unfinished == "score",
        )
        reward = None if settings.reward is None else load_reward(settings.reward, self.folder)
        maker = None if settings.environment is None else environment_maker(settings.environment)
        return Collector(Prompts(bindings.dataset, bindings.tokenizer), encoder, reward, drawing, maker)

    @abstractmethod
    def token_weights(self, lengths: Sequence[int]) -> tuple[list[float], int]:
        """The weight of each token of an answer in the loss, and the divisor of the sum over all answers of an update.

        Args:
            lengths: Drawn tokens of each answer of the update.
        """

    @abstractmethod
    def advantages(self, answers: Sequence[Scored]) -> list[Advantage]:
        """Advantages of the answers of a step, computed over all of them together.

        Args:
            answers: All answers that are trained on, on all processes.
        """

    def adapted_beta(self, beta: float, reference_kl: float, answers: int) -> float | None:
        """The weight of the divergence in the next step; None if it is constant, as by default.

        Args:
            beta: Present weight.
            reference_kl: Divergence from the reference in this step, in nats an answer.
            answers: Number of answers.
        """
        return None


class HeldOutRewards(Objective[Any]):
    """The rewards of greedy answers to held-out prompts; the loss is the negative reward.

    Args:
        settings: Settings of the objective in training.
        collector: Draws and scores the answers.
    """

    settings_type = PolicySettings
    unit = "prompt"
    metrics = ("reward", "ended_share")
    held_out_mode = "padded"

    def __init__(self, settings: PolicySettings, collector: Collector) -> None:
        super().__init__(settings)
        self._collector = collector

    def loss(self, model: Any, batch: Batch) -> tuple[mx.array, Metrics]:
        """Negative reward and metrics, summed over the prompts of a batch.

        Args:
            model: The model, in evaluation mode.
            batch: Rows of held-out prompts.
        """
        from lazarus_models.backend import mx
        from lazarus_train.cpu.thread_parallel import Replicas
        from lazarus_train.rollouts.collect import Asked

        asked = [Asked(part.sample, 0) for part in batch.parts]
        found = self._collector.collect(Replicas(model, 1), asked, 0).rollouts
        reward = mx.array(sum(each.true_reward or 0.0 for each in found))
        ended = mx.array(float(sum(each.is_whole for each in found)))
        return -reward, {"reward": reward, "ended_share": ended}
