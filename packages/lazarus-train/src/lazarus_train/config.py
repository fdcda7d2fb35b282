"""Settings of a run. `OUT/config.json` contains the resolved settings and the package versions.

The first sentence of a field's docstring is the help of its option; `Default: words.` describes a
missing value.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lazarus_core.canonical import MAX_INTEGER
from lazarus_models.adapters import LoraConfig as LoraConfig
from lazarus_models.loading import locate
from lazarus_train.kernels import KernelSettings, kernel_settings, without_defaults
from lazarus_train.objective_registry import AnyObjective, default_objective

FULL_RATE = 1e-4
"""Peak learning rate of full fine-tuning, between the usual rates for billions (1e-5) and millions (1e-3) of
parameters.
"""
LORA_RATE = 10 * FULL_RATE
"""Peak learning rate of LoRA: about ten times the rate of full training (Schulman et al. 2025, "LoRA Without
Regret").
"""

MUON_RATE = 0.02
"""Peak learning rate of Muon (Jordan 2024). The size of its updates does not depend on the size of the gradient."""
JSON = dict[str, Any]
EvalName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Name of a held-out set. It appears in metrics, reports and folder names."""

_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class OptimizerSettings(BaseModel):
    """Optimizer, learning-rate schedule and weight decay. Warm-up and decay are counted in optimizer steps."""

    model_config = _STRICT

    name: Literal["adamw", "muon", "adafactor", "lion", "sgd"] = "adamw"
    """Optimizer. AdamW (arXiv 1711.05101), Adafactor (1804.04235), Lion (2302.06675), SGD with momentum, or Muon (Jordan
    2024) for the matrices of the blocks and AdamW for the rest."""
    learning_rate: PositiveFloat = FULL_RATE
    """Peak learning rate. Default: 1e-4; 1e-3 for adapters trained from the command line."""
    min_learning_rate: NonNegativeFloat = 0.0
    """Learning rate at the end of the decay."""
    muon_learning_rate: PositiveFloat = MUON_RATE
    """Peak learning rate of the matrices that Muon updates. It follows the same schedule."""
    rate_factors: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Factors of the learning rate by pattern of parameter names: `*embed*=0.1,*norm*=2`. The first match counts."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """Learning rate after the warm-up. It spans the whole plan, whatever `max_steps` is. `wsd` (arXiv 2404.06395) stays at
    the peak and decays at the end."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the learning rate rises to its peak."""
    decay_steps: PositiveInt | None = None
    """Steps of the final decay of `wsd`. The first of them is still at the peak. Default: a tenth of the plan, at least two."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of the mean of gradients (AdamW, Lion, Muon's AdamW)."""
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of the mean of squared gradients (AdamW) or of the momentum (Lion). Default: 0.999, with Lion 0.99."""
    epsilon: PositiveFloat = 1e-8
    """Added to the root of the mean of squared gradients (AdamW)."""
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0)
    """Decay of the sum or mean of gradients (SGD, Muon)."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay of linear maps. Norms, biases, embeddings, routers, convolutions and the state parameters of
    Mamba have none."""
    max_grad_norm: PositiveFloat = 1.0
    """Largest global norm of the gradients; larger ones are scaled down to it."""

    @model_validator(mode="before")
    @classmethod
    def _lion_forgets_sooner(cls, members: Any) -> Any:
        if isinstance(members, dict) and cast("JSON", members).get("name") == "lion":
            return {"beta2": 0.99, **cast("JSON", members)}
        return cast("Any", members)

    @model_validator(mode="after")
    def _floor_below_peak(self) -> "OptimizerSettings":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"`min_learning_rate` {self.min_learning_rate} is above `learning_rate` {self.learning_rate}"
            )
        return self

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> "OptimizerSettings":
        for setting, optimizers in _READ_BY.items():
            if self.name not in optimizers and getattr(self, setting) != type(self).model_fields[setting].default:
                raise ValueError(f"`{setting}` has no effect with `name` {self.name}")
        if self.decay_steps is not None and self.schedule != "wsd":
            raise ValueError(f"`decay_steps` has no effect with `schedule` {self.schedule}")
        return self


_READ_BY = {
    "muon_learning_rate": ("muon",),
    "beta1": ("adamw", "muon", "lion"),
    "beta2": ("adamw", "muon", "lion"),
    "epsilon": ("adamw", "muon"),
    "momentum": ("muon", "sgd"),
}
"""Settings that only some optimizers use."""


class EarlyStopSettings(BaseModel):
    """Criteria of early stopping."""

    model_config = _STRICT

    patience: PositiveInt = 3
    """Measurements of the held-out loss without a better one."""
    min_gap: NonNegativeFloat = 0.0
    """Smallest excess of the held-out loss over the training loss, in the unit of the loss."""


class TrainConfig(BaseModel):
    """Settings of a training run on a batch plan, for any objective."""

    model_config = _STRICT

    objective: AnyObjective = Field(default_factory=default_objective)
    """Objective to minimise."""
    model: Path
    """Model to start from: a directory, `owner/name[@revision]` on the hub, or a short name."""
    data: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    """Rows that the plan was made for (.jsonl): a file for each source of the plan, in their order."""
    batch_plan: Path
    """Plan to follow."""
    expect_plan: str | None = None
    """The plan_id that the plan must have (16 hexadecimal digits or more), or the folder of a plan or lock with that id.
    Default: any plan."""
    output: Path
    """Folder of the run, used as given."""
    prompt_field: str | None = None
    """Field of the question. Default: the standard names."""
    completion_field: str | None = None
    """Field of the answer. Default: the standard names."""
    messages_field: str | None = None
    """Field of the conversation. Default: the standard names."""
    text_field: str | None = None
    """Field of the document. Default: the standard names."""
    label_field: str | None = None
    """Field that is true for desirable answers (kto of single answers). Default: pairs of answers."""
    template: str | None = None
    """Chat template. Default: the one that the plan's lengths were measured with."""
    max_steps: PositiveInt | None = None
    """Stop after this many steps of the plan. Default: all steps."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints. Default: only the last step."""
    keep_checkpoints: PositiveInt | None = None
    """Number of newest checkpoints to keep, in addition to the one with the lowest held-out loss. Default: all."""
    lora: LoraConfig | None = None
    """Train low-rank adapters. Default: all weights."""
    freeze: tuple[str, ...] = ()
    """Parameters that are not trained, by patterns of their names: `*embed*,model.layers.0.*`."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Optimizer, learning rate and schedule."""
    micro_rows: PositiveInt | None = None
    """Rows per micro-batch; gradients accumulate over the step. Default: all rows of a step, or as many as fit."""
    seed: int = Field(default=0, ge=0, le=MAX_INTEGER)
    """Random seed of fresh weights, adapters, dropout and noise; the plan orders the data."""
    eval_data: dict[EvalName, Path] = Field(default_factory=dict)
    """Held-out rows by name: their losses are measured before the first step and after the last. The first decide which
    checkpoint is the best and when to stop early."""
    eval_every: PositiveInt | None = None
    """Steps between further measurements of held-out losses, and sampled answers. Default: first and last step only."""
    sample_prompts: tuple[str, ...] = ()
    """Prompt that the model answers at every measurement of held-out losses; answers are logged."""
    sample_images: PositiveInt | None = None
    """Images of each label that the model draws at every measurement of held-out losses. Default: none."""
    early_stop: EarlyStopSettings | None = None
    """When to stop because of overfitting. Default: never."""
    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Decay of a moving average of the weights (EMA), saved with the trained ones: 0.999. Default: no average."""
    neftune_alpha: PositiveFloat | None = None
    """Strength of noise on the embeddings (NEFTune); 5 is usual. Default: no noise."""
    shards_optimizer: bool = False
    """Each process of the run keeps a part of the optimizer's moments; the weights are the same."""
    mixed_precision: bool = False
    """Compute steps in bfloat16 from weights and moments kept in float32, on a GPU."""
    tf32: bool = False
    """Round the factors of float32 products to TF32 on a GPU: faster, with errors of 1e-4 to 1e-2 in logits."""
    fast_nondeterministic: bool = False
    """Let gradients add in any order on a GPU: faster, but the same run again, or a resumed one, gives other weights."""
    recomputes: bool = False
    """Recompute activations of the blocks for the gradient, which saves memory (gradient checkpointing)."""

    @model_validator(mode="after")
    def _evaluates_something(self) -> "TrainConfig":
        draws = self.sample_prompts or self.sample_images is not None
        if self.eval_every is not None and not self.eval_data and not draws:
            raise ValueError("`eval_every` needs `eval_data`, `sample_prompts` or `sample_images`")
        if self.early_stop is not None and not self.eval_data:
            raise ValueError("`early_stop` needs `eval_data`")
        if self.sample_prompts and not self.objective.allows_generation:
            raise ValueError(
                f"`sample_prompts` needs a model that generates text; `objective` {self.objective.kind} trains none"
            )
        if self.sample_images is not None and self.objective.image_method is None:
            raise ValueError(
                f"`sample_images` needs a model that draws images; `objective` {self.objective.kind} trains none"
            )
        if self.early_stop is not None and self.eval_every is None:
            raise ValueError("`early_stop` needs `eval_every`")
        return self

    @model_validator(mode="after")
    def _is_possible(self) -> "TrainConfig":
        if self.recomputes and self.lora is not None and self.lora.dropout:
            raise ValueError("`recomputes` would drop other inputs the second time than `lora.dropout` did the first")
        self.objective.check_run(self)
        return self

    @property
    def kernels(self) -> KernelSettings:
        """The settings that choose MLX's kernels on a GPU."""
        return kernel_settings(self)

    def threads_of(self, wanted: int) -> int:
        """Number of threads that may share a micro-batch: 1 if dropout uses MLX's generator, else `wanted`."""
        return 1 if self.lora is not None and self.lora.dropout > 0 else wanted

    def located(self) -> "TrainConfig":
        """A copy with the model's directory and the expected plan_id resolved. A model name is downloaded.

        Raises:
            ConfigError: There is no such model.
            PlanError: `expect_plan` is not a plan_id, a plan or a lock.
        """
        from lazarus_plan.checks import resolve_pin

        pin = None if self.expect_plan is None else f"sha256:{resolve_pin(self.expect_plan)}"
        return self.model_copy(update={"expect_plan": pin, "model": locate(self.model).path})

    @property
    def deciding_set(self) -> str | None:
        """Name of the held-out set that decides the best checkpoint and early stopping; None if there is none."""
        return next(iter(self.eval_data), None)

    @property
    def data_files(self) -> tuple[Path, ...]:
        """Data files, one for each source of the plan."""
        return (self.data,) if isinstance(self.data, Path) else self.data

    def resume_key(self) -> dict[str, Any]:
        """Settings that determine the weights after n steps. A resumed run must have the same ones."""
        decisive = {
            "objective",
            "lora",
            "freeze",
            "optimizer",
            "micro_rows",
            "seed",
            "ema",
            "neftune_alpha",
            "mixed_precision",
            "tf32",
            "fast_nondeterministic",
            "recomputes",
        }
        return without_defaults(self.model_dump(mode="json", include=decisive))

    def to_record(self) -> JSON:
        """The settings as a run's record has them: kernel settings at their defaults are left out, as in earlier versions."""
        return without_defaults(self.model_dump(mode="json"))
