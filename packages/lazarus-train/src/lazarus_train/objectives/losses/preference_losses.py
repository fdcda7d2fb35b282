"""Preference losses: from log-probabilities of a chosen and a rejected answer to one loss per pair.

P = pairs

Losses and metrics are sums over pairs. The caller divides by the pairs of the whole optimizer step. Statistics of a
step (KTO's reference point, token counts) are arguments. They are never computed from the given pairs, which may be
one micro-batch of many. With a reference, h = (log pi - log pi_ref) of the chosen answer minus that of the rejected.
"""

# ruff: noqa: F722 (the axes in jaxtyping's strings are no Python)
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Bool, Float

from lazarus_models.backend import mx

Metrics = dict[str, mx.array]
"""Sums of metrics by name."""
POINT, POINT_CHOSEN, POINT_REJECTED = "point", "point_chosen", "point_rejected"
"""Names of the reference points of `kto` and `kto_pair` among the statistics of a step."""
DESIRABLE_SCALE, UNDESIRABLE_SCALE = "desirable_scale", "undesirable_scale"
"""Names of the ratios of all answers to answers of one label in a step."""
LIKELIHOOD_SCALE = "likelihood_scale"
"""Name of the ratio of pairs to tokens of a step. It turns a sum over tokens, later divided by pairs, into a mean."""
NOTHING: Mapping[str, mx.array] = MappingProxyType({})


class Answers(NamedTuple):
    """One number for each answer of P pairs: log-probabilities summed over tokens, or token counts."""

    chosen: Float[mx.array, " P"]
    rejected: Float[mx.array, " P"]

    def __sub__(self, other: "Answers") -> "Answers":
        return Answers(self.chosen - other.chosen, self.rejected - other.rejected)

    def __truediv__(self, other: "Answers") -> "Answers":
        return Answers(self.chosen / other.chosen, self.rejected / other.rejected)

    @property
    def gap(self) -> Float[mx.array, " P"]:
        """Chosen minus rejected."""
        return self.chosen - self.rejected


def reward_metrics(ratios: Answers, beta: float) -> Metrics:
    """Sums of implicit rewards over pairs, without gradient.

    Args:
        ratios: Log-ratios to the reference.
        beta: Scale of the reward.
    """
    chosen, rejected = (mx.stop_gradient(beta * side) for side in ratios)
    return {
        "reward_chosen": chosen.sum(),
        "reward_rejected": rejected.sum(),
        "reward_margin": (chosen - rejected).sum(),
        "reward_accuracy": wins(chosen, rejected).sum(),
    }


def wins(first: Float[mx.array, " P"], second: Float[mx.array, " P"]) -> Float[mx.array, " P"]:
    """1 if the first is larger, one half at a tie, else 0.

    The comparison is exact: any difference counts.

    >>> wins(mx.array([1.0, 2.0, 2.00001]), mx.array([2.0, 2.0, 2.0])).tolist()
    [0.0, 0.5, 1.0]

    Args:
        first: Numbers, (P,).
        second: Numbers, (P,).
    """
    # A win satisfies both comparisons, a tie only the second.
    return 0.5 * ((first > second).astype(mx.float32) + (first >= second).astype(mx.float32))


def dpo_losses(gap: Float[mx.array, " P"], beta: float, label_smoothing: float = 0.0) -> Float[mx.array, " P"]:
    """-(1 - e) log s(beta h) - e log s(-beta h) (Rafailov et al. 2023, eq. 7; e: Mitchell 2023, cDPO).

    >>> round(dpo_losses(mx.array([0.0]), 0.1).item(), 4)
    0.6931

    Args:
        gap: h, (P,).
        beta: Strength of the penalty for deviating from the reference, above 0.
        label_smoothing: e, in [0, 0.5).
    """
    return -(1 - label_smoothing) * log_sigmoid(beta * gap) - label_smoothing * log_sigmoid(-beta * gap)


def log_sigmoid(x: Float[mx.array, " P"]) -> Float[mx.array, " P"]:
    """log(1 / (1 + exp(-x))), finite far from zero."""
    # -log(1 + exp(-x)); logaddexp factors out the larger term, so exp(-x) cannot overflow.
    return -mx.logaddexp(mx.array(0.0), -x)


def ipo_losses(gap: Float[mx.array, " P"], beta: float) -> Float[mx.array, " P"]:
    """(h - 1 / (2 beta))^2 (Azar et al. 2023, eq. 17), h of means over the answers' tokens unless settings ask for
    sums.

    The paper writes sums, but its results use means, according to its authors (TRL). TRL defaults to means too.

    Args:
        gap: h, (P,).
        beta: Strength of the penalty for deviating from the reference, above 0.
    """
    return mx.square(gap - 1 / (2 * beta))


def hinge_losses(gap: Float[mx.array, " P"], beta: float) -> Float[mx.array, " P"]:
    """max(0, 1 - beta h) (SLiC, Zhao et al. 2023).

    Args:
        gap: h, (P,).
        beta: Strength of the penalty for deviating from the reference, above 0.
    """
    return mx.maximum(1 - beta * gap, 0.0)


def simpo_losses(
    gap: Float[mx.array, " P"], beta: float, margin: float, label_smoothing: float = 0.0
) -> Float[mx.array, " P"]:
    """-log s(beta g - gamma), g the gap of mean log-probabilities (Meng et al. 2024, eq. 6).

    Args:
        gap: g, (P,).
        beta: Scale of the gap, above 0.
        margin: gamma, the target margin.
        label_smoothing: Assumed share of swapped pairs, in [0, 0.5).
    """
    # beta g - gamma = beta (g - gamma / beta): the same formula with a shifted gap.
    return dpo_losses(gap - margin / beta, beta, label_smoothing)


def odds_ratio_losses(means: Answers, weight: float) -> Float[mx.array, " P"]:
    """-weight * log s(log-odds ratio) (Hong et al. 2024, eq. 4 and 7): ORPO without its likelihood.

    Args:
        means: Mean log-probabilities of the answers' tokens.
        weight: Weight of the term.
    """
    return -weight * log_sigmoid(log_odds(means.chosen) - log_odds(means.rejected))


def log_odds(log_probability: Float[mx.array, " P"]) -> Float[mx.array, " P"]:
    """log(p / (1 - p)) from log p. Values above -1e-6 are clamped, because a probability of 1 has infinite odds."""
    # log(1 - p) = log(-expm1(log p)); expm1 keeps the digits that 1 - exp(..) loses for p near 1.
    below = mx.minimum(log_probability, -1e-6)
    return below - mx.log(-mx.expm1(below))


def kto_losses(
    ratios: Answers, point: Float[mx.array, ""], beta: float, desirable: float = 1.0, undesirable: float = 1.0
) -> Float[mx.array, " P"]:
    """KTO on pairs: each answer is an example, one desirable and one undesirable (Ethayarajh et al. 2024, eq. 8).

    w_d (1 - s(beta (r - z))) for the chosen plus w_u (1 - s(beta (z - r))) for the rejected.

    Args:
        ratios: r, log-ratios to the reference.
        point: z, the reference point: the KL estimated on mismatched prompts and answers, at least zero.
        beta: Strength of the penalty for deviating from the reference.
        desirable: w_d, weight of chosen answers.
        undesirable: w_u, weight of rejected answers.
    """
    chosen = desirable * (1 - mx.sigmoid(beta * (ratios.chosen - point)))
    return chosen + undesirable * (1 - mx.sigmoid(beta * (point - ratios.rejected)))


def labelled_losses(
    ratios: Float[mx.array, " P"],
    is_desirable: Bool[mx.array, " P"],
    point: Float[mx.array, ""],
    beta: float,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> Float[mx.array, " P"]:
    """`kto_losses` of single answers: w_d (1 - s(beta (r - z))) if desirable, w_u (1 - s(beta (z - r))) otherwise.

    Args:
        ratios: r of P answers.
        is_desirable: Labels of the answers.
        point: z.
        beta: Strength of the penalty for deviating from the reference.
        desirable: w_d.
        undesirable: w_u.
    """
    # The label determines the sign of the argument, so one sigmoid covers both cases.
    lead = mx.where(is_desirable, ratios - point, point - ratios)
    return mx.where(is_desirable, desirable, undesirable) * (1 - mx.sigmoid(beta * lead))


def kto_pair_losses(ratios: Answers, means: Answers, beta: float) -> Float[mx.array, " P"]:
    """1 - s(beta (r_c - z_r)) + 1 - s(beta (z_c - r_r)): each answer against the mean of the other side.

    This is TRL's former `kto_pair`; `kto` is the published loss.

    Args:
        ratios: r_c and r_r, log-ratios to the reference.
        means: z_c and z_r, means of the ratios over the step, at least zero, without gradient.
        beta: Strength of the penalty for deviating from the reference.
    """
    chosen = 1 - mx.sigmoid(beta * (ratios.chosen - means.rejected))
    return chosen + 1 - mx.sigmoid(beta * (means.chosen - ratios.rejected))


def as_pairs(values: mx.array) -> Answers:
    """Numbers of parts, which alternate between chosen and rejected, as pairs."""
    return Answers(values[0::2], values[1::2])
