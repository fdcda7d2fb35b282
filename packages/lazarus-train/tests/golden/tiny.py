"""A model of 13,000 weights and two dozen preference pairs, the same for the product's tests and for TRL: NumPy alone."""

import numpy as np

WIDTH, INSIDE, LAYERS, HEADS, HEAD_DIM, VOCAB = 16, 32, 2, 2, 16, 260
BOS, EOS = 257, 259
ROWS = [
    {"prompt": f"{a} plus {b}?", "chosen": f"{a + b}.", "rejected": f"I say {a * b + 7} it is"[: 8 + 3 * b]}
    for a in range(6)
    for b in range(4)
]
TRAINED, HELD_OUT = ROWS[:16], ROWS[16:]
PLAN = {"token_budget": 3 * 80, "row_len": 80, "epochs": 2, "seed": 0}
STEPS = [
    [11, 7, 5, 9, 12, 8],
    [14, 15, 13, 1, 4, 0],
    [10, 2, 3, 6],
    [15, 14, 3, 1, 2, 4],
    [7, 13, 6, 0, 9, 8],
    [11, 5, 10, 12],
]
"""Samples of each step of that plan, in the order of rows and tokens: the test compares them with the plan's."""
LABELLED_STEPS = [
    [10, 2, 1, 5, 13, 4, 0, 15],
    [11, 7, 14, 8, 3, 6, 9, 12],
    [11, 10, 0, 3, 13, 4, 8, 14],
    [7, 5, 15, 6, 2, 1, 9, 12],
]
"""The same of `labelled` rows."""
LEARNING_RATE, BETA1, BETA2, EPSILON, MAX_NORM = 1e-2, 0.9, 0.999, 1e-3, 1.0
"""A large epsilon: with a small one AdamW makes steps of full size of gradients that are rounding errors alone."""


def labelled(rows: list[dict[str, str]]) -> list[dict[str, object]]:
    """Single answers, a third of them desirable."""
    return [
        {"prompt": row["prompt"], "completion": row["rejected" if number % 3 else "chosen"], "label": number % 3 == 0}
        for number, row in enumerate(rows)
    ]


def weights() -> dict[str, np.ndarray]:
    """By the names of Hugging Face's Llama, embeddings tied."""
    random = np.random.default_rng(0)
    shapes = {"model.embed_tokens": (VOCAB, WIDTH)}
    for layer in range(LAYERS):
        block = {
            "self_attn.q_proj": (HEADS * HEAD_DIM, WIDTH),
            "self_attn.k_proj": (HEAD_DIM, WIDTH),
            "self_attn.v_proj": (HEAD_DIM, WIDTH),
            "self_attn.o_proj": (WIDTH, HEADS * HEAD_DIM),
            "mlp.gate_proj": (INSIDE, WIDTH),
            "mlp.up_proj": (INSIDE, WIDTH),
            "mlp.down_proj": (WIDTH, INSIDE),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    drawn = {f"{name}.weight": random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [
        f"model.layers.{layer}.{side}_layernorm.weight"
        for layer in range(LAYERS)
        for side in ("input", "post_attention")
    ]
    return drawn | {name: np.ones(WIDTH, dtype=np.float32) for name in [*norms, "model.norm.weight"]}


def encode(prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Ids and loss mask: what the byte tokenizer and the template `plain` make of a question and its answer."""
    before, after = [BOS, *f"{prompt}\n".encode()], [*answer.encode(), EOS]
    return before + after, [0] * len(before) + [1] * len(after)


def pair(row: dict[str, str]) -> tuple[tuple[list[int], list[int]], tuple[list[int], list[int]]]:
    """`encode` of the chosen and of the rejected answer."""
    return encode(row["prompt"], row["chosen"]), encode(row["prompt"], row["rejected"])
