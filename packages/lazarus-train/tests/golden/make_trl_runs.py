"""Makes trl_runs.json: preference training of `tiny.py` by TRL's own losses and torch's AdamW, in one batch a step.

    python make_trl_runs.py > trl_runs.json        (torch 2.13, trl 1.16, transformers 5.24, in an environment of their own)

Of each loss: the training loss of every step, the held-out loss before and after in one batch, and the final weights' sums.
TRL has no label smoothing of DPO and no `kto_pair` (1.16): those two are written down here.
"""

import json
from collections import defaultdict
from types import SimpleNamespace

import tiny
import torch
import torch.nn.functional as F
import transformers
import trl
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

torch.set_num_threads(1)
ACCELERATOR = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
RUNS = {
    "dpo": {"beta": 0.1},
    "cdpo": {"beta": 0.1, "label_smoothing": 0.1},
    "dpo_length_normalized": {"beta": 2.0},
    "ipo": {"beta": 0.1},
    "hinge": {"beta": 0.1},
    "simpo": {"beta": 2.0, "margin": 1.0},
    "orpo": {"beta": 0.1},
    "kto": {"beta": 0.1},
    "kto_weighted": {"beta": 0.3, "desirable_weight": 1.3, "undesirable_weight": 0.7},
    "kto_pair": {"beta": 0.1},
    "kto_labelled": {"beta": 0.1, "desirable_weight": 2.0},
}


class Model(torch.nn.Module):
    """A model that answers as TRL's patched ones do: log-probabilities of labels."""

    def __init__(self):
        super().__init__()
        config = transformers.LlamaConfig(
            vocab_size=tiny.VOCAB,
            hidden_size=tiny.WIDTH,
            intermediate_size=tiny.INSIDE,
            num_hidden_layers=tiny.LAYERS,
            num_attention_heads=tiny.HEADS,
            num_key_value_heads=1,
            head_dim=tiny.HEAD_DIM,
            rms_norm_eps=1e-5,
            rope_theta=10000.0,
            tie_word_embeddings=True,
        )
        self.llama = transformers.LlamaForCausalLM(config).float()
        state = {name: torch.tensor(each) for name, each in tiny.weights().items()}
        missing, unexpected = self.llama.load_state_dict(state, strict=False)
        assert not unexpected
        assert set(missing) <= {"lm_head.weight"}
        self.eval()

    def forward(self, input_ids, attention_mask, labels, **_):
        logits = self.llama(input_ids, attention_mask=attention_mask, use_cache=False).logits
        log_p = torch.log_softmax(logits[:, :-1].float(), -1)
        targets = labels[:, 1:]
        found = log_p.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * (targets != -100)
        zeros = torch.zeros_like(found)
        return SimpleNamespace(log_probs=found, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), logits=logits)


def padded(examples):
    longest = max(len(ids) for ids, _ in examples)
    batch = {
        name: torch.zeros(len(examples), longest, dtype=torch.long)
        for name in ("input_ids", "attention_mask", "completion_mask")
    }
    for row, (ids, mask) in enumerate(examples):
        batch["input_ids"][row, : len(ids)] = torch.tensor(ids)
        batch["attention_mask"][row, : len(ids)] = 1
        batch["completion_mask"][row, : len(ids)] = torch.tensor(mask)
    return batch


def sums(model, batch):
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    return model(batch["input_ids"], batch["attention_mask"], labels).log_probs.sum(-1)


def trainer(model, reference, **settings):
    common = {
        "accelerator": ACCELERATOR,
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "model": model,
        "ref_model": reference,
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None),
        "label_smoothing": 0.0,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**(common | settings))


def dpo(kind, model, reference, pairs, beta):
    model.is_gradient_checkpointing = reference.is_gradient_checkpointing = False
    settings = {
        "loss_types": [kind],
        "loss_weights": [1.0],
        "f_divergence_type": "reverse_kl",
        "ld_alpha": None,
        "use_weighting": False,
    }
    batch = padded([each[0] for each in pairs] + [each[1] for each in pairs])
    return DPOTrainer._compute_loss(trainer(model, reference, beta=beta, **settings), model, batch, False)


def kto(model, reference, pairs, **settings):
    """All answers as single ones, chosen first; TRL's is a mean over answers, half of one over pairs."""
    examples = [each[0] for each in pairs] + [each[1] for each in pairs]
    return 2 * kto_labelled(model, reference, examples, [True] * len(pairs) + [False] * len(pairs), **settings)


def kto_labelled(model, reference, examples, labels, beta, desirable_weight=1.0, undesirable_weight=1.0):
    """KTOTrainer's loss; each prompt gets the answer before its own for the KL, as its data preparation rotates a batch."""
    model.is_gradient_checkpointing = reference.is_gradient_checkpointing = False
    rotated = []
    for (ids, mask), (other_ids, other_mask) in zip(examples, [examples[-1], *examples[:-1]], strict=True):
        end, start = mask.index(1), other_mask.index(1)
        rotated.append((ids[:end] + other_ids[start:], [0] * end + [1] * (len(other_ids) - start)))
    batch = padded(examples) | {f"KL_{name}": each for name, each in padded(rotated).items()}
    batch["label"] = torch.tensor(labels)
    weights = {"desirable_weight": desirable_weight, "undesirable_weight": undesirable_weight}
    self = trainer(model, reference, beta=beta, loss_type="kto", calculate_KL=True, **weights)
    self._compute_kl_logps = lambda asked, inputs: KTOTrainer._compute_kl_logps(self, asked, inputs)
    return KTOTrainer._compute_loss(self, model, batch, False)


def orpo(model, pairs, beta):
    """ORPOTrainer's loss; its likelihood counts prompts and chosen answers, a mean over the tokens of the batch."""

    def inputs(side):
        batch = padded([each[side] for each in pairs])
        return (
            batch["input_ids"],
            batch["attention_mask"],
            batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100),
        )

    names = ("input_ids", "attention_mask", "labels")
    batch = {f"chosen_{name}": each for name, each in zip(names, inputs(0), strict=True)}
    batch |= {f"rejected_{name}": each for name, each in zip(names, inputs(1), strict=True)}
    batch["prompt_input_ids"] = batch["chosen_input_ids"]
    self = trainer(model, None, beta=beta, is_encoder_decoder=False, padding_value=0)
    self.concatenated_inputs = ORPOTrainer.concatenated_inputs
    self.get_batch_logps = ORPOTrainer.get_batch_logps
    self.odds_ratio_loss = lambda *sides: ORPOTrainer.odds_ratio_loss(self, *sides)
    self.concatenated_forward = lambda asked, given: ORPOTrainer.concatenated_forward(self, asked, given)
    return ORPOTrainer.get_batch_loss_metrics(
        self, lambda ids, attention_mask, **_: model(ids, attention_mask, ids), batch
    )[0]


def loss_of(name, model, reference, rows, settings):
    beta = settings["beta"]
    if name == "kto_labelled":
        examples = [tiny.encode(row["prompt"], row["completion"]) for row in rows]
        return kto_labelled(model, reference, examples, [row["label"] for row in rows], **settings)
    pairs = [tiny.pair(row) for row in rows]
    kinds = {"dpo": "sigmoid", "dpo_length_normalized": "sigmoid_norm", "ipo": "ipo", "hinge": "hinge"}
    if name in kinds:
        return dpo(kinds[name], model, reference, pairs, beta)
    if name.startswith("kto") and name != "kto_pair":
        return kto(model, reference, pairs, **settings)
    if name == "orpo":
        return orpo(model, pairs, beta)
    batch = padded([each[0] for each in pairs] + [each[1] for each in pairs])
    chosen, rejected = sums(model, batch).chunk(2)
    if name == "simpo":
        tokens = batch["completion_mask"].sum(-1)
        self = trainer(model, None, beta=beta, alpha=0.0, loss_type="simpo", simpo_gamma=settings["margin"])
        return CPOTrainer.cpo_loss(self, chosen / tokens[: len(pairs)], rejected / tokens[len(pairs) :])[0].mean()
    with torch.no_grad():
        of_chosen, of_rejected = sums(reference, batch).chunk(2)
    chosen, rejected = chosen - of_chosen, rejected - of_rejected
    if name == "cdpo":
        share, gap = settings["label_smoothing"], beta * (chosen - rejected)
        return (-(1 - share) * F.logsigmoid(gap) - share * F.logsigmoid(-gap)).mean()
    assert name == "kto_pair"
    means = [side.mean().clamp(min=0).detach() for side in (chosen, rejected)]
    return (1 - torch.sigmoid(beta * (chosen - means[1])) + 1 - torch.sigmoid(beta * (means[0] - rejected))).mean()


def run(name, settings):
    model, reference = Model(), Model()
    betas = tiny.BETA1, tiny.BETA2
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=tiny.LEARNING_RATE, betas=betas, eps=tiny.EPSILON, weight_decay=0
    )
    is_labelled = name == "kto_labelled"
    trained, held_out = ((tiny.labelled(rows) if is_labelled else rows) for rows in (tiny.TRAINED, tiny.HELD_OUT))
    with torch.no_grad():
        before = loss_of(name, model, reference, held_out, settings).item()
    losses, norms = [], []
    for step in tiny.LABELLED_STEPS if is_labelled else tiny.STEPS:
        optimizer.zero_grad()
        loss = loss_of(name, model, reference, [trained[sample] for sample in step], settings)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), tiny.MAX_NORM).item())
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        after = loss_of(name, model, reference, held_out, settings).item()
    final = {name: each.double() for name, each in model.llama.state_dict().items() if name != "lm_head.weight"}
    moved = {name: (each - torch.tensor(tiny.weights()[name])).abs().sum().item() for name, each in final.items()}
    return {
        "settings": settings,
        "losses": losses,
        "norms": norms,
        "held_out": [before, after],
        "moved": moved,
        "embedding": final["model.embed_tokens.weight"][48:51].tolist(),
    }


def main():
    golden = {"trl": trl.__version__, "torch": torch.__version__} | {
        name: run(name, each) for name, each in RUNS.items()
    }
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
