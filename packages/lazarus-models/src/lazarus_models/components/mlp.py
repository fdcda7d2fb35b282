"""Feed-forward layers, applied to each token separately.

B = rows, T = tokens a row, D = model width, E = experts, k = experts a token
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
# MLX leaves its activations and the shapes of arrays untyped:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from collections.abc import Callable
from functools import partial

from jaxtyping import Float, Int

from lazarus_models.backend import mx, nn, on_cpu
from lazarus_models.components.switch_layers import SwitchGLU
from lazarus_models.components.taps import offer
from lazarus_models.config.architecture import Activation, MLPConfig, MoEConfig
from lazarus_models.errors import UnsupportedModel
from lazarus_models.ops.swiglu import swiglu
from lazarus_models.trees import part, put

ACTIVATIONS: dict[Activation, Callable[[mx.array], mx.array]] = {
    "silu": nn.silu,
    "gelu": nn.gelu,
    "gelu_tanh": nn.gelu_approx,
    "relu": nn.relu,
}


class MLP(nn.Module):
    """Two linear layers with an activation between them, or three with a gate."""

    def __init__(self, width: int, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        inside, bias = config.width, config.bias
        if config.gated and config.fused:
            self.input_linear = nn.Linear(width, 2 * inside, bias=bias)
            self.output_linear = nn.Linear(inside, width, bias=bias)
        elif config.gated:
            self.gate_proj = nn.Linear(width, inside, bias=bias)
            self.up_proj = nn.Linear(width, inside, bias=bias)
            self.down_proj = nn.Linear(inside, width, bias=bias)
        else:
            self.c_fc = nn.Linear(width, inside, bias=bias)
            self.c_proj = nn.Linear(inside, width, bias=bias)

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        if not self.config.gated:
            inside = ACTIVATIONS[self.config.activation](offer(self, "pre", self.c_fc(x)))
            return self.c_proj(offer(self, "post", inside))
        if self.config.fused:
            gate, up = mx.split(self.input_linear(x), 2, axis=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        inside = offer(self, "post", self.gated(offer(self, "pre", gate), offer(self, "pre_linear", up)))
        return self.output_linear(inside) if self.config.fused else self.down_proj(inside)

    def gated(self, gate: Float[mx.array, "B T I"], up: Float[mx.array, "B T I"]) -> Float[mx.array, "B T I"]:
        """The activation of `gate`, multiplied by `up`.

        Args:
            gate: Gate projection, float, (B, T, I).
            up: Second projection, float, (B, T, I).
        """
        if self.config.activation == "silu":
            return swiglu(gate, up)
        return ACTIVATIONS[self.config.activation](gate) * up


class MoE(nn.Module):
    """Experts, and a router that selects some of them for each token."""

    def __init__(self, width: int, config: MoEConfig) -> None:
        super().__init__()
        self.config = config
        router, experts = config.names
        put(self, router, nn.Linear(width, config.num_experts, bias=config.bias))
        put(self, experts, SwitchGLU(width, config.width, config.num_experts, bias=config.bias, clamp=config.clamp))
        if config.shared:
            put(self, config.shared.name, MLP(width, config.shared))

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        refuse_half_precision(x.dtype)
        chosen, shares = self.route(x)
        experts = part(self, self.config.names[1])
        if self.config.router == "sigmoid":
            # The input of an expert is the token times its share, so each chosen expert gets its own copy of the token.
            heard = x[..., None, :] * shares[..., None]  # (B, T, k, D)
            out = offer(self, "expert_out", experts(heard, chosen[..., None]).squeeze(-2)).sum(axis=-2)
        else:
            out = (offer(self, "expert_out", experts(x, chosen)) * shares[..., None]).sum(axis=-2)
        shared = self.config.shared
        return out + part(self, shared.name)(x) if shared else out

    def route(self, x: Float[mx.array, "B T D"]) -> tuple[Int[mx.array, "B T k"] | mx.array, Float[mx.array, "B T k"]]:
        """The chosen experts of each token, in no order, and their shares.

        Args:
            x: Tokens, float, (B, T, D).

        Returns:
            Experts in [0, E), (B, T, k), and shares, float, (B, T, k).
        """
        scores: mx.array = part(self, self.config.names[0])(x).astype(mx.float32)  # (B, T, E)
        scores = offer(self, "router_logits", scores)
        k = self.config.num_experts_per_tok
        chosen = mx.stop_gradient(mx.argpartition(-scores, kth=k - 1, axis=-1)[..., :k])
        chosen = offer(self, "experts", chosen)
        if self.config.router == "all":
            shares = mx.take_along_axis(mx.softmax(scores, axis=-1, precise=True), chosen, axis=-1)
            if self.config.renormalise:
                shares = shares / shares.sum(axis=-1, keepdims=True)
        else:
            weigh = mx.sigmoid if self.config.router == "sigmoid" else partial(mx.softmax, axis=-1, precise=True)
            shares = weigh(mx.take_along_axis(scores, chosen, axis=-1))
        return chosen, offer(self, "weights", shares.astype(x.dtype))


def refuse_half_precision(dtype: mx.Dtype) -> None:
    """Refuses experts in half precision on a CPU, because MLX 0.32 multiplies stacks of experts in float32 only there.

    Raises:
        UnsupportedModel: `dtype` is bfloat16 or float16, and the device is a CPU.
    """
    if dtype != mx.float32 and on_cpu():
        word = str(dtype).rpartition(".")[2]
        raise UnsupportedModel(
            f"a layer of experts in {word} on a CPU: MLX supports stacks of experts in float32 only; load the model with "
            "`dtype` float32",
            "LM-E117",
        )


def load_balance_loss(scores: Float[mx.array, "B T E"], k: int) -> Float[mx.array, ""]:
    """E times the sum over experts of (share of tokens) * (mean probability): k when balanced (arXiv 2101.03961).

    Args:
        scores: Logits of a router, float, (B, T, E).
        k: Experts a token, in [1, E].

    >>> load_balance_loss(mx.zeros((1, 4, 2)), k=2).item()
    2.0
    """
    experts = scores.shape[-1]
    probabilities = mx.softmax(scores, axis=-1, precise=True).reshape(-1, experts)
    chosen = mx.argpartition(-probabilities, kth=k - 1, axis=-1)[:, :k]
    taken = (chosen[..., None] == mx.arange(experts)).sum(axis=1).mean(axis=0)  # (E,)
    return experts * (mx.stop_gradient(taken) * probabilities.mean(axis=0)).sum()
