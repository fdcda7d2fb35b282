"""Makes trl_policy.json: what TRL's own GRPO loss gives for some log-probabilities, and its gradients.

    python make_trl_policy.py > trl_policy.json        (torch 2.13, trl 1.16, transformers 5.24, in an environment of their own)

Nothing of TRL is copied: its method `_compute_loss` is called with log-probabilities that a seeded generator drew.
"""

import json
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import GRPOTrainer

LENGTHS = [3, 5, 1, 4, 2, 5]
GROUPS = [[1.0, 0.0, 0.5], [0.0, 0.0, 2.0]]
LIMIT = 7


def drawn(generator, spread):
    return (torch.randn(len(LENGTHS), max(LENGTHS), generator=generator) * spread - 1.5).double()


def advantages(scale):
    """As in TRL's `_generate_and_score_completions`, for rewards without NaN."""
    rewards = torch.tensor([each for group in GROUPS for each in group], dtype=torch.float64)
    grouped = rewards.view(len(GROUPS), -1)
    mean = grouped.mean(dim=1).repeat_interleave(grouped.shape[1])
    if scale == "group":
        deviation = grouped.std(dim=1).repeat_interleave(grouped.shape[1])
    elif scale == "batch":
        deviation = rewards.std().expand_as(rewards)
    found = rewards - mean
    return found if scale == "none" else found / (deviation + 1e-4)


def case(loss, *, level="token", scale="group", low=0.2, high=0.2, beta=0.0):
    generator = torch.Generator().manual_seed(7)
    now, old, reference = (drawn(generator, 0.6) for _ in range(3))
    now.requires_grad_()
    mask = torch.tensor([[place < length for place in range(max(LENGTHS))] for length in LENGTHS]).double()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (now, torch.zeros_like(now), None),
        accelerator=SimpleNamespace(
            gather=lambda x: x, num_processes=1, gather_for_metrics=lambda x: x, reduce=lambda x, **_: x
        ),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_low=low,
        epsilon_high=high,
        importance_sampling_level=level,
        loss_type=loss,
        max_completion_length=LIMIT,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
    )
    inputs = {
        "prompt_ids": torch.zeros(len(LENGTHS), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(LENGTHS), 1),
        "completion_ids": torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long),
        "completion_mask": mask,
        "advantages": advantages(scale),
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }
    value = GRPOTrainer._compute_loss(trainer, trainer.model, inputs)
    value.backward()

    def flat(table):
        return [table[row, place].item() for row, length in enumerate(LENGTHS) for place in range(length)]

    return {
        "loss_type": loss,
        "level": level,
        "scale": scale,
        "clip": [low, high],
        "beta": beta,
        "now": flat(now.detach()),
        "old": flat(old),
        "reference": flat(reference),
        "loss": value.item(),
        "gradient": flat(now.grad),
    }


CASES = {
    "grpo": case("grpo"),
    "grpo with a reference": case("grpo", beta=0.07),
    "grpo over the batch": case("grpo", scale="batch"),
    "dr_grpo": case("dr_grpo", scale="none"),
    "dr_grpo with a reference": case("dr_grpo", scale="none", beta=0.04),
    "dapo": case("dapo", high=0.28),
    "dapo with a reference": case("dapo", high=0.28, beta=0.1),
    "gspo": case("grpo", level="sequence", low=0.3, high=0.4),
    "gspo, clipped": case("grpo", level="sequence", low=3e-4, high=4e-4),
    "gspo with a reference": case("grpo", level="sequence", low=0.3, high=0.4, beta=0.05),
}
VERSIONS = {"torch": torch.__version__, "trl": trl.__version__}
print(
    json.dumps({"versions": VERSIONS, "lengths": LENGTHS, "groups": GROUPS, "limit": LIMIT, "cases": CASES}, indent=1)
)
