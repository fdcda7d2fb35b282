"""Makes trl.json: what TRL's own loss code gives for some log-probabilities.

    python make_trl.py > trl.json        (torch 2.13, trl 1.16, transformers 5.23, in an environment of their own)

Nothing of TRL is copied: its methods are called with a model that answers with the given log-probabilities.
"""

import json
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl
from trl import DPOTrainer, KTOTrainer, RewardTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

POLICY = {"chosen": [-3.1, -12.5, -0.4, -40.0], "rejected": [-4.0, -11.0, -9.3, -38.5]}
REFERENCE = {"chosen": [-3.5, -12.5, -2.0, -35.0], "rejected": [-3.9, -12.0, -8.0, -39.5]}
TOKENS = {"chosen": [2, 7, 1, 30], "rejected": [3, 5, 6, 25]}
BETA = 0.3
KL = 0.25
ACCELERATOR = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)


def rows(sums):
    """Token log-probabilities of all answers, padded, that add up to the given sums."""
    table = torch.zeros(8, 31)
    for row, (total, tokens) in enumerate(zip(sums, TOKENS["chosen"] + TOKENS["rejected"], strict=True)):
        table[row, :tokens] = total / tokens
    return table


def outputs(sums):
    table = rows(sums)
    zeros = torch.zeros_like(table)
    return SimpleNamespace(log_probs=table, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), logits=table)


class Model(torch.nn.Module):
    def __init__(self, sums):
        super().__init__()
        self.sums = sums

    def forward(self, **_):
        return outputs(self.sums)


def trainer(**settings):
    metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    common = {
        "accelerator": ACCELERATOR,
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "beta": BETA,
        "_metrics": metrics,
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "label_smoothing": 0.0,
    }
    return SimpleNamespace(**(common | settings))


def dpo(loss, label_smoothing=0.0):
    self = trainer(
        loss_types=[loss],
        loss_weights=[1.0],
        f_divergence_type="reverse_kl",
        ld_alpha=None,
        use_weighting=False,
        label_smoothing=label_smoothing,
        model=SimpleNamespace(training=True),
    )
    mask = torch.zeros(8, 32, dtype=torch.long)
    for row, tokens in enumerate(TOKENS["chosen"] + TOKENS["rejected"]):
        mask[row, 1 : 1 + tokens] = 1
    inputs = {
        "input_ids": torch.zeros(8, 32, dtype=torch.long),
        "attention_mask": torch.ones(8, 32, dtype=torch.long),
        "completion_mask": mask,
        "ref_chosen_logps": torch.tensor(REFERENCE["chosen"]),
        "ref_rejected_logps": torch.tensor(REFERENCE["rejected"]),
    }
    value = DPOTrainer._compute_loss(self, Model(POLICY["chosen"] + POLICY["rejected"]), inputs, False)
    logged = self._metrics["train"]
    return {"loss": value.item()} | {
        ours: logged[theirs][0]
        for ours, theirs in {
            "reward_chosen": "rewards/chosen",
            "reward_rejected": "rewards/rejected",
            "reward_margin": "rewards/margins",
            "reward_accuracy": "rewards/accuracies",
        }.items()
    }


def kto(desirable=1.0, undesirable=1.0):
    self = trainer(
        loss_type="kto",
        calculate_KL=True,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
        model=SimpleNamespace(training=True),
        _compute_kl_logps=lambda *_: torch.full((8,), KL),
    )
    batch = {
        "label": torch.tensor([1] * 4 + [0] * 4),
        "input_ids": torch.zeros(8, 32, dtype=torch.long),
        "attention_mask": torch.ones(8, 32, dtype=torch.long),
        "completion_mask": torch.ones(8, 32, dtype=torch.long),
        "ref_logps": torch.tensor(REFERENCE["chosen"] + REFERENCE["rejected"]),
        "ref_KL_logps": torch.zeros(8),
    }
    loss = KTOTrainer._compute_loss(self, Model(POLICY["chosen"] + POLICY["rejected"]), batch, False)
    return {"loss": loss.item(), "kl": KL}


def reward(center):
    self = trainer(args=SimpleNamespace(center_rewards_coefficient=center), model=SimpleNamespace(training=True))
    scores = torch.tensor(POLICY["chosen"] + POLICY["rejected"])[:, None]
    inputs = {"attention_mask": torch.ones(8, 1)}
    return {"loss": RewardTrainer.compute_loss(self, lambda **_: SimpleNamespace(logits=scores), inputs).item()}


def means():
    return [
        torch.tensor([total / tokens for total, tokens in zip(POLICY[side], TOKENS[side], strict=True)])
        for side in ("chosen", "rejected")
    ]


def main():
    odds = ORPOTrainer.odds_ratio_loss(trainer(), *means())[0]
    simpo = CPOTrainer.cpo_loss(trainer(loss_type="simpo", simpo_gamma=0.5, alpha=0.0), *means())[0]
    smoothed = CPOTrainer.cpo_loss(
        trainer(loss_type="simpo", simpo_gamma=0.5, alpha=0.0, label_smoothing=0.1), *means()
    )[0]
    golden = {
        "trl": trl.__version__,
        "torch": torch.__version__,
        "beta": BETA,
        "policy": POLICY,
        "reference": REFERENCE,
        "tokens": TOKENS,
        "dpo": dpo("sigmoid"),
        "dpo_length_normalized": dpo("sigmoid_norm"),
        "ipo_length_normalized": dpo("ipo"),
        "hinge": dpo("hinge"),
        "kto": kto(),
        "kto_weighted": kto(1.3, 0.7),
        "simpo": {"loss": simpo.mean().item(), "margin": 0.5},
        "simpo_smoothed": {"loss": smoothed.mean().item(), "margin": 0.5, "label_smoothing": 0.1},
        "orpo_odds": {"loss": -odds.mean().item()},
        "reward": reward(None),
        "reward_centered": reward(0.01) | {"center": 0.01},
    }
    print(json.dumps(golden, indent=2))


if __name__ == "__main__":
    main()
