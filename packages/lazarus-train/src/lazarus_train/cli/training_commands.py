"""The training commands: names, help, and the options that each has."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lazarus_core.settings import Option


@dataclass(frozen=True)
class Command:
    """A training command.

    Args:
        name: Name on the command line.
        words: Help text.
        kinds: Objectives that it trains; the first is the default.
        objective: Objective settings that have an option.
        fields: Row fields that have an option.
    """

    name: str
    words: str
    kinds: tuple[str, ...]
    objective: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def from_nothing(self) -> bool:
        """Whether a run may start from random weights."""
        return self.name == "pretrain"

    @property
    def is_of_one_objective(self) -> bool:
        """Whether its settings are those of one objective alone."""
        return self.name in ("grpo", "ppo", "objective")

    def options(self) -> list["Option"]:
        """Options for settings, in the order of the help."""
        from lazarus_core.settings import Option
        from lazarus_train.cli import option_names as names

        options = [
            *names.shared_options(),
            *(names.model_options() if self.from_nothing else ()),
            *names.field_options(self.fields),
            *names.objective_options(self.kinds if self.name != "classify" else (), self.objective),
            *(names.control_options() if self in (GRPO, PPO) else ()),
        ]
        if self.name == "classify":
            numbers = "Answers are numbers (regression)"
            options.append(
                Option(
                    ("objective", "kind"),
                    ("--numbers",),
                    is_flag=True,
                    help=numbers,
                    default="",
                    read=lambda _: "regression",
                )
            )
        return [replace(option, heading=names.heading_of(option.key)) for option in options]


PRETRAIN = Command(
    "pretrain",
    "Pretrain on documents, from a model or random weights, on next or masked tokens.\n\n"
    "Example: --preset nano -t byte --data text.jsonl --build-plan -b 8192 -o run\n"
    "Example: --model smollm2-135m --data web.jsonl --batch-plan plan -o run",
    ("causal", "diffusion", "mntp"),
    ("mask_id", "causal_share", "truncated_share", "mask_share", "draws", "label_dropout"),
    ("text_field",),
)


SFT = Command(
    "sft",
    "Fine-tune a model on prompts and answers.\n\n"
    "Example: --model smollm2-360m --data train.jsonl --batch-plan plan --use-lora -o run\n"
    "Example: --model smollm2-360m --data train.jsonl --build-plan -e 3 --eval-data test.jsonl -o run",
    ("causal", "diffusion"),
    ("mask_id", "draws"),
    ("prompt_field", "completion_field", "messages_field", "text_field"),
)


DPO = Command(
    "dpo",
    "Train a model on preference pairs (DPO and variants) or on labelled answers (KTO).\n\n"
    "Example: --model run/final --data pairs.jsonl --batch-plan plan --loss dpo --beta 0.1 -o dpo_run",
    ("preference",),
    (
        *("loss", "beta", "label_smoothing", "is_length_normalized", "likelihood", "desirable_weight"),
        *("undesirable_weight", "margin", "reference"),
    ),
    ("label_field",),
)


_DRAWN = (
    *(
        "reward",
        "environment",
        "turns",
        "unfinished",
        "group_size",
        "prompts_per_step",
        "choose",
        "signal_field",
        "replace_flat",
    ),
    *("max_new_tokens", "overlong_buffer", "temperature", "batch_texts", "beta", "reference", "clip_low", "clip_high"),
    *("passes", "updates_per_pass"),
)
GRPO = Command(
    "grpo",
    "Train a model on rewards of its own answers, relative to other answers (GRPO, Dr. GRPO, DAPO, GSPO).\n\n"
    "Example: --model run/final --data prompts.jsonl --batch-plan plan --reward exact -o grpo_run\n"
    "Example: --model run/final --data prompts.jsonl --build-plan --reward rewards.toml --group-size 16 --control -o grpo_run",
    ("grpo",),
    ("loss", "scale", *_DRAWN),
    ("prompt_field", "completion_field", "messages_field"),
)
PPO = Command(
    "ppo",
    "Train a model on rewards of its own answers, with a value head (PPO).\n\n"
    "Example: --model run/final --data prompts.jsonl --batch-plan plan --reward exact -o ppo_run",
    ("ppo",),
    (*_DRAWN, *("discount", "gae_decay", "is_whitened", "value_weight", "value_clip", "kl_target", "kl_horizon")),
    ("prompt_field", "completion_field", "messages_field"),
)
REWARD = Command(
    "reward",
    "Train a reward model on preference pairs.\n\n"
    "Example: --model smollm2-360m --data pairs.jsonl --batch-plan plan -o reward_run",
    ("reward",),
    ("center",),
)


CLASSIFY = Command(
    "classify",
    "Train a classifier or a regression model.\n\n"
    "Example: --model smollm2-135m --data labels.jsonl --batch-plan plan --classes positive,negative -o run",
    ("classification", "regression"),
    ("classes",),
    ("prompt_field", "completion_field"),
)


OBJECTIVE = Command(
    "objective",
    "Train a model with any installed objective, including those of other packages.\n\n"
    "Example: causal --model smollm2-135m --data text.jsonl --batch-plan plan -o run",
    (),
    (),
    ("prompt_field", "completion_field", "messages_field", "text_field"),
)


COMMANDS = (PRETRAIN, SFT, DPO, GRPO, PPO, REWARD, CLASSIFY, OBJECTIVE)
