"""What a run is asked for. `OUT/config.json` holds it resolved, with the versions it ran on."""

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
from lazarus_models.loading.hub import locate
from lazarus_plan.checks.pin import resolve_pin
from lazarus_train.engine.early_stop import EarlyStopSettings
from lazarus_train.objectives.settings import CausalSettings, ObjectiveSettings, PreferenceSettings

FULL_RATE = 1e-4
"""Peak learning rate of full fine-tuning: between what models of billions (1e-5) and of millions (1e-3) of parameters
take."""
LORA_RATE = 10 * FULL_RATE
"""LoRA wants about ten times the rate of full training (Schulman et al. 2025, "LoRA Without Regret")."""

MUON_RATE = 0.02
"""Muon's own (Jordan 2024): its updates have a size of their own, whatever the gradient's."""
JSON = dict[str, Any]
EvalName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""Of held-out rows: stands in metrics, pages and names of folders."""

_STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class LoraSettings(BaseModel):
    """Low-rank adapters instead of all weights."""

    model_config = _STRICT

    kind: Literal["lora", "dora"] = "lora"
    """`dora` (arXiv 2402.09353) learns the length of each row of a weight as well."""
    rank: PositiveInt = 8
    """Width of the bottleneck."""
    alpha: PositiveFloat = Field(default_factory=lambda settings: 2.0 * settings["rank"])
    """Strength: the update is scaled by alpha / rank. Twice the rank unless given."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of inputs to the adapters that training drops."""
    targets: tuple[str, ...] | None = None
    """Last names or patterns of the layers to adapt, such as `q_proj`; None for every linear layer of the blocks."""


class OptimizerSettings(BaseModel):
    """How weights move: an optimizer, and a rate with warm-up and decay, counted in optimizer steps."""

    model_config = _STRICT

    name: Literal["adamw", "muon", "adafactor", "lion", "sgd"] = "adamw"
    """AdamW (arXiv 1711.05101), Adafactor (1804.04235), Lion (2302.06675), SGD with momentum, or Muon (Jordan 2024) for the
    matrices of the blocks and AdamW for the rest."""
    learning_rate: PositiveFloat = FULL_RATE
    """Peak rate."""
    min_learning_rate: NonNegativeFloat = 0.0
    """Rate that the decay ends at."""
    muon_learning_rate: PositiveFloat = MUON_RATE
    """Peak rate of the matrices that Muon moves; rises and falls with the other."""
    rate_factors: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """What the rate is multiplied with, by pattern of parameter names such as `*embed*`; the first that matches counts."""
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """What follows the warm-up. It spans the whole plan, whatever `max_steps` is. `wsd` (arXiv 2404.06395) stays at the
    peak and decays at the end."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the rate rises to its peak."""
    decay_steps: PositiveInt | None = None
    """Steps of the decay that ends `wsd`, of which the first is still at the peak; None takes a tenth of the plan, and two at
    least."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of the mean of gradients (AdamW, Lion)."""
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of the mean of squared gradients (AdamW); of the momentum (Lion, which takes 0.99 where nothing is said)."""
    epsilon: PositiveFloat = 1e-8
    """Added to the root of the mean of squared gradients (AdamW)."""
    momentum: float = Field(default=0.95, ge=0.0, lt=1.0)
    """Decay of the sum or mean of gradients (SGD, Muon)."""
    weight_decay: NonNegativeFloat = 0.01
    """Pull of linear maps towards zero, apart from the gradient whatever the optimizer; spares norms, biases, embeddings,
    routers, convolutions and the state parameters of Mamba."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients of a larger global norm are scaled down to it."""

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
"""Settings that only some optimizers read."""


class TrainConfig(BaseModel):
    """Training by a plan, whatever is minimised."""

    model_config = _STRICT

    objective: ObjectiveSettings = CausalSettings()
    """What is minimised."""
    model: Path
    """The model to start from: a directory in Hugging Face's layout, `owner/name[@revision]` on the hub, or a short
    name."""
    data: Path | Annotated[tuple[Path, ...], Field(min_length=1)]
    """The rows the plan was made for: a file for each of its sources, in their order."""
    batch_plan: Path
    """The plan to obey."""
    expect_plan: str | None = None
    """The plan_id that the plan must have, at least its first 16 hexadecimal digits, or the folder of a plan or lock that has
    it; None trains by whatever plan lies there."""
    output: Path
    """Folder of the run, used as given."""
    prompt_field: str | None = None
    """Field of the question; None reads the standard names."""
    completion_field: str | None = None
    """Field of the answer."""
    messages_field: str | None = None
    """Field of the conversation."""
    text_field: str | None = None
    """Field of the document."""
    label_field: str | None = None
    """Field that says whether an answer is desirable (kto of single answers); None reads pairs."""
    template: str | None = None
    """Chat template; None takes the one that the plan's lengths were measured with."""
    max_steps: PositiveInt | None = None
    """Stop after this many steps of the plan; None follows it to its end."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints; None saves only the last step."""
    keep_checkpoints: PositiveInt | None = None
    """How many of the newest checkpoints stay, beside the one of the lowest held-out loss; None keeps all."""
    lora: LoraSettings | None = None
    """Adapters to train; None trains all weights."""
    freeze: tuple[str, ...] = ()
    """Patterns of parameter names, such as `*embed*`, that stay as they are."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """How weights move."""
    micro_rows: PositiveInt | None = None
    """Rows computed at once; gradients of the rest of the step accumulate. None computes a step at once."""
    seed: int = Field(default=0, ge=0, le=MAX_INTEGER)
    """Of adapters and dropout; the order of the data is the plan's."""
    eval_data: dict[EvalName, Path] = Field(default_factory=dict)
    """Held-out rows by name: their losses are measured before the first step and after the last. The first ones decide which
    checkpoint is the best and when to stop early."""
    eval_every: PositiveInt | None = None
    """Steps between further measurements of the held-out losses, and answers."""
    sample_prompts: tuple[str, ...] = ()
    """What the model is asked before the first step, every `eval_every` and after the last; answers are logged."""
    early_stop: EarlyStopSettings | None = None
    """When to stop for learning by heart; None follows the plan."""
    ema: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Decay of a moving average of the weights, saved beside the trained ones; None keeps none."""
    neftune_alpha: PositiveFloat | None = None
    """Strength of noise on the embeddings (NEFTune); 5 is usual, None adds none."""
    shards_optimizer: bool = False
    """Whether each process of a run keeps a part of the optimizer's moments; the weights are the same."""
    mixed_precision: bool = False
    """Whether steps compute in bfloat16, from weights and moments that are kept in float32."""
    recomputes: bool = False
    """Whether blocks compute their activations again for the gradient, to save memory (gradient checkpointing)."""

    @model_validator(mode="after")
    def _evaluates_something(self) -> "TrainConfig":
        if self.eval_every is not None and not self.eval_data and not self.sample_prompts:
            raise ValueError("`eval_every` needs `eval_data` or `sample_prompts`")
        if self.early_stop is not None and not self.eval_data:
            raise ValueError("`early_stop` needs `eval_data`")
        if self.sample_prompts and self.objective.kind not in ("causal", "preference"):
            raise ValueError(
                f"`sample_prompts` asks a model that answers; `objective` {self.objective.kind} makes none"
            )
        if self.early_stop is not None and self.eval_every is None:
            raise ValueError("`early_stop` needs `eval_every`")
        return self

    @model_validator(mode="after")
    def _is_possible(self) -> "TrainConfig":
        if self.recomputes and self.lora is not None and self.lora.dropout:
            raise ValueError("`recomputes` would drop other inputs the second time than `lora.dropout` did the first")
        is_kto = isinstance(self.objective, PreferenceSettings) and self.objective.loss == "kto"
        if self.label_field is not None and not is_kto:
            raise ValueError("`label_field` has no effect but with `loss` kto")
        wants_adapters = isinstance(self.objective, PreferenceSettings) and self.objective.reference == "adapters-off"
        if wants_adapters and self.lora is None:
            raise ValueError("`reference` adapters-off needs `lora`")
        return self

    def threads_of(self, wanted: int) -> int:
        """Threads that a micro-batch may be shared by: one where dropout draws from MLX's own generator."""
        return 1 if self.lora is not None and self.lora.dropout > 0 else wanted

    def located(self) -> "TrainConfig":
        """The same with the directory of its model, fetched where it is a name, and with the plan_id that is expected.

        Raises:
            ConfigError: There is no such model.
            PlanError: `expect_plan` is no plan_id, plan or lock.
        """
        pin = None if self.expect_plan is None else f"sha256:{resolve_pin(self.expect_plan)}"
        return self.model_copy(update={"expect_plan": pin, "model": locate(self.model).path})

    @property
    def deciding_set(self) -> str | None:
        """Name of the held-out rows that decide, where there are any."""
        return next(iter(self.eval_data), None)

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The data as files, one for each source of the plan."""
        return (self.data,) if isinstance(self.data, Path) else self.data

    def trajectory(self) -> dict[str, Any]:
        """The settings that decide the weights after n steps: a resumed run must have the same."""
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
            "recomputes",
        }
        return self.model_dump(mode="json", include=decisive)
