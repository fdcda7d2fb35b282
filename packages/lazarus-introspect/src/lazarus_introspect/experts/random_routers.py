"""Random routers: what a router without training does with the same inputs.

n = tokens, D = model width, E = experts

A random router has the rows of the model's own router, turned by a random rotation: norms of the rows, angles between them
and biases stay, directions are lost. A router whose rows are random has the same distribution as its own rotations, so a
comparison with them is an exact test. The largest statistic over all experts (and labels) is compared, so that the chance of
any false specialist in a block is at most the rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazarus_introspect.experts.routing import Routing, moe_config
from lazarus_introspect.experts.specialisation import label_information, membership, text_counts, token_information
from lazarus_introspect.metrics import Numbers, numbers
from lazarus_introspect.site_table import decoder_of
from lazarus_models.backend import mx
from lazarus_models.trees import part

_CHUNK = 16
"""Random routers computed at a time: one product for all is 3 times as fast as 16."""


def router_weights(model: Any, layer: int) -> tuple[Numbers, Numbers]:
    """Weight (E, D) and bias (E,) of a router as it computes, quantized or adapted.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        layer: A block with experts.
    """
    decoder, config = decoder_of(model), moe_config(model, layer)
    router = part(part(decoder.layers[layer], config.name), config.names[0])
    bias = router(mx.zeros((1, decoder.config.width)))
    weight = router(mx.eye(decoder.config.width)) - bias
    return numbers(weight).T, numbers(bias[0])


def random_choices(
    inputs: Numbers, weight: Numbers, bias: Numbers, k: int, *, seed: int, count: int
) -> Iterator[Numbers]:
    """The choices of random routers: 1 where a token uses an expert, (n, E), router by router.

    Args:
        inputs: Input of the router, (n, D).
        weight: The model's own router, (E, D).
        bias: Its bias, (E,).
        k: Experts a token.
        seed: Random seed, at least 0.
        count: Routers.
    """
    experts, width = weight.shape
    size = min(experts, width)
    triangle = np.linalg.qr(weight.T).R.astype(np.float32)  # (size, E)
    own = inputs.astype(np.float32)
    for start in range(0, count, _CHUNK):
        drawn = [
            np.random.default_rng([seed, place]).standard_normal((width, size))
            for place in range(start, min(start + _CHUNK, count))
        ]
        frames, upper = np.linalg.qr(np.stack(drawn))  # (c, D, size)
        signs = np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]  # they make the frames uniform over all
        wide = (frames * signs).astype(np.float32).transpose(1, 0, 2).reshape(width, -1)
        every = (own @ wide).reshape(len(own), len(drawn), size)
        for place in range(len(drawn)):
            scores = every[:, place] @ triangle + bias.astype(np.float32)
            chosen = np.zeros(scores.shape)
            np.put_along_axis(chosen, np.argpartition(-scores, k - 1, axis=1)[:, :k], 1.0, axis=1)
            yield chosen


@dataclass(frozen=True)
class RouterNull:
    """Preferences of random routers, and p-values of the model's router."""

    routers: int
    information: Numbers
    """`label_information` of the model's router, (E, C)."""
    label_p: Numbers
    """(E, C): share of random routers whose strongest preference of any expert and label is at least this one."""
    token_p: Numbers
    """(E,): the same of the information about tokens."""
    label_null: float
    """Median of the strongest preference of a random router, nats."""
    token_null: float
    """Median of the largest information about tokens of a random router."""


def router_null(
    routing: Routing,
    inputs: Numbers,
    router: tuple[Numbers, Numbers],
    labels: Sequence[str],
    *,
    seed: int,
    count: int = 199,
) -> RouterNull:
    """Compares the preferences of a router with those of random routers.

    Args:
        routing: The routing of the texts in one block.
        inputs: What the router read, (n, D).
        router: Its weight (E, D) and bias (E,).
        labels: Label of each text.
        seed: Random seed, at least 0.
        count: Random routers; the smallest p-value is 1 / (count + 1).
    """
    _, members = membership(labels)
    observed = label_information(text_counts(routing.chosen, routing.rows), members)
    information = token_information(routing.chosen, routing.tokens)
    strongest, informed = np.zeros(count), np.zeros(count)
    choices = random_choices(inputs, *router, routing.experts_per_token, seed=seed, count=count)
    for place, chosen in enumerate(choices):
        strongest[place] = label_information(text_counts(chosen, routing.rows), members).max()
        informed[place] = token_information(chosen, routing.tokens).max()
    return RouterNull(
        routers=count,
        information=observed,
        label_p=_share_above(strongest, observed),
        token_p=_share_above(informed, information),
        label_null=float(np.median(strongest)),
        token_null=float(np.median(informed)),
    )


def _share_above(nulls: Numbers, observed: Numbers) -> Numbers:
    above = (nulls >= observed[..., None] - 1e-9).sum(axis=-1)
    return (above + 1) / (len(nulls) + 1)
