"""`ExpertIdentifier`: the labels and tokens that each expert of a block prefers, if it prefers any.

An expert is a specialist of a label only if all of this holds; otherwise it is a generalist, or unresolved if it was used by
fewer tokens than `min_support`:

1. it uses the label's tokens more than chance: labels shuffled over texts, corrected for all experts and labels of the block;
2. it does so more than any expert of a random router (`lazarus_introspect.experts.random_routers`);
3. its rate is at least `min_lift` times its rate in all texts.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

from lazarus_introspect.analysis.settings import Frozen
from lazarus_introspect.analysis.tokens import id_text
from lazarus_introspect.errors import RequestError
from lazarus_introspect.experts.balance import ExpertUtilization, expert_utilization
from lazarus_introspect.experts.labelled_texts import LabelledText, labelled_texts
from lazarus_introspect.experts.random_routers import RouterNull, router_null, router_weights
from lazarus_introspect.experts.routing import RoutedTexts, Routing, moe_layers, route_texts
from lazarus_introspect.experts.specialisation import LabelTest, TokenPreference, label_test, membership, token_test
from lazarus_introspect.site_table import decoder_of
from lazarus_tokenkit import Tokenizer


class IdentifyConfig(Frozen):
    """Settings of `ExpertIdentifier`."""

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False-discovery rate of a block."""
    min_support: PositiveInt = 20
    """Tokens that an expert needs in all texts together."""
    min_token_support: PositiveInt = 5
    """Times that a token must occur to be tested."""
    min_lift: Annotated[float, Field(ge=1)] = 1.25
    """Least rate in a label over the rate in all texts."""
    permutations: Annotated[int, Field(ge=99, le=1_000_000)] = 10_000
    """Shuffles of the labels."""
    token_permutations: Annotated[int, Field(ge=99, le=1_000_000)] = 2_000
    """Shuffles of the tokens within each text."""
    random_routers: Annotated[int, Field(ge=19, le=100_000)] = 199
    """Random routers that the model's is compared with."""
    seed: NonNegativeInt = 0
    """Random seed of shuffles and routers."""


class LabelPreference(Frozen):
    """One expert and one label."""

    label: str
    count: int
    """Tokens of the label that use the expert."""
    rate: float
    """The same as a share of the label's tokens; k/E if all experts were equal."""
    lift: float
    """The rate over the expert's rate in all texts."""
    information: float
    """How much the use of the expert tells about the label, nats; 0 without a preference."""
    p: float
    """Against shuffled labels."""
    q: float
    """p corrected for all experts and labels of the block."""
    router_p: float
    """Of the information, against the largest one of any expert of random routers."""
    is_significant: bool
    """Whether the expert is a specialist of the label."""


class PreferredToken(Frozen):
    """A token that an expert receives more often than tokens of the same text at other places."""

    token: str
    id: int
    count: int
    """Times that the token uses the expert."""
    support: int
    """Times that the token occurs."""
    lift: float
    q: float
    """p against tokens shuffled within each text, corrected for all tests of the block."""


class ExpertIdentity(Frozen):
    """What is known of one expert."""

    expert_idx: int
    layer_idx: int
    tokens: int
    """Tokens that use it."""
    share: float
    """Share of all choices."""
    kind: str
    """`specialist`, `generalist`, or `unresolved` if too few tokens use it."""
    labels: tuple[LabelPreference, ...]
    """All labels, by descending lift."""
    top_tokens: tuple[PreferredToken, ...]
    """Tokens with a significant preference, at most 20."""
    token_router_p: float
    """Chance that some expert of a random router depends as much on the token."""

    @property
    def specialities(self) -> tuple[str, ...]:
        """The labels of which it is a specialist."""
        return tuple(each.label for each in self.labels if each.is_significant)

    def detailed_report(self) -> str:
        """Everything about the expert, as text."""
        what = ", ".join(self.specialities) if self.specialities else self.kind
        lines = [f"Expert {self.expert_idx} of layer {self.layer_idx}: {what}"]
        lines.append(f"  used by {self.tokens:,} tokens, {self.share:.1%} of all choices")
        for each in self.labels:
            said = "significant" if each.is_significant else "not significant"
            lines.append(
                f"  {each.label}: {each.rate:.1%} of its tokens, lift {each.lift:.2f}, q {each.q:.2g}, "
                f"random routers p {each.router_p:.2g}: {said}"
            )
        shown = ", ".join(f"{each.token!r} ({each.count} of {each.support})" for each in self.top_tokens[:10])
        lines.append(f"  preferred tokens: {shown or 'none'}")
        return "\n".join(lines)


class ExpertIdentification(Frozen):
    """The experts of one block."""

    layer_idx: int
    utilization: ExpertUtilization
    labels: tuple[str, ...]
    texts: int
    label_information: float
    """Mutual information of expert and label as a share of the entropy of the labels, in [0, 1]."""
    label_null: float
    """Median over random routers of their strongest preference, nats; see `LabelPreference.information`."""
    expert_identities: tuple[ExpertIdentity, ...]
    """By number of the expert."""
    config: IdentifyConfig

    @property
    def specialists(self) -> dict[str, list[int]]:
        """Experts by the label that they are specialists of; a label without specialists is left out."""
        found = {
            label: [each.expert_idx for each in self.expert_identities if label in each.specialities]
            for label in self.labels
        }
        return {label: experts for label, experts in found.items() if experts}

    def of_kind(self, kind: str) -> list[int]:
        """The experts of a kind.

        Args:
            kind: `specialist`, `generalist` or `unresolved`.
        """
        return [each.expert_idx for each in self.expert_identities if each.kind == kind]

    def summary(self) -> str:
        """Specialists by label, generalists, and the nulls, as text."""
        own = self.utilization
        lines = [
            f"Layer {self.layer_idx}: {own.num_experts} experts, {own.experts_per_token} a token; "
            f"{own.tokens:,} tokens of {self.texts} texts"
        ]
        lines += [f"{label.upper()}: Experts {experts}" for label, experts in self.specialists.items()]
        if not self.specialists:
            lines.append("no specialists: no evidence that an expert prefers a label")
        for kind, words in (("generalist", "GENERALISTS"), ("unresolved", "UNRESOLVED")):
            if experts := self.of_kind(kind):
                lines.append(f"{words}: Experts {experts}")
        lines.append(
            f"nulls: labels shuffled over texts {self.config.permutations:,} times, {self.config.random_routers} random "
            f"routers; false-discovery rate {self.config.rate:g}"
        )
        return "\n".join(lines)


class ExpertIdentifier:
    """Finds what the experts of a model prefer, on labelled texts."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer | None = None,
        *,
        texts: Mapping[str, Sequence[str]] | None = None,
        config: IdentifyConfig | None = None,
    ) -> None:
        """Reads the texts.

        Args:
            model: What `lazarus_models.load` returns, or its `model`.
            tokenizer: Its tokenizer; None for the one that was loaded with it.
            texts: Texts by label, as many of each label as possible; None for the built-in texts.
            config: Settings; None for the defaults.

        Raises:
            SiteError: The model has no experts.
            RequestError: Fewer than two labels, or fewer than five texts of a label.
        """
        self._model = decoder_of(model)
        own = getattr(model, "tokenizer", None) if tokenizer is None else tokenizer
        if own is None:
            raise RequestError("`tokenizer` is missing; give it, or give what `lazarus_models.load` returns", "LI-E163")
        self._tokenizer: Tokenizer = own
        self.layers = moe_layers(model)
        self.config = config or IdentifyConfig()
        self.texts: list[LabelledText] = labelled_texts(self._model, own, texts)
        sizes = {label: sum(each.label == label for each in self.texts) for label in self.labels}
        small = [label for label, size in sizes.items() if size < 5]
        if len(sizes) < 2 or small:
            which = f"label {small[0]!r} has {sizes[small[0]]}" if small else f"there is {len(sizes)} label"
            raise RequestError(f"{which}; give at least two labels with five texts each", "LI-E163")
        self._routed: dict[int, RoutedTexts] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the texts, sorted."""
        return tuple(sorted({each.label for each in self.texts}))

    def identify(self, layer_idx: int) -> ExpertIdentification:
        """Tests the experts of one block.

        Args:
            layer_idx: A block with experts.

        Raises:
            SiteError: The block has no experts.
        """
        (layer,) = moe_layers(self._model, [layer_idx])
        if layer not in self._routed:
            self._routed = {
                layer: route_texts(self._model, [each.ids for each in self.texts], [layer], has_inputs=True)
            }
        routed, config = self._routed[layer], self.config
        routing, named = routed.layers[layer], [each.label for each in self.texts]
        labels = label_test(
            routing, named, min_support=config.min_support, seed=config.seed, permutations=config.permutations
        )
        null = router_null(
            routing,
            routed.inputs[layer],
            router_weights(self._model, layer),
            named,
            seed=config.seed,
            count=config.random_routers,
        )
        tokens = token_test(
            routing,
            min_support=config.min_token_support,
            seed=config.seed,
            permutations=config.token_permutations,
        )
        utilization = expert_utilization(routing)
        return ExpertIdentification(
            layer_idx=layer,
            utilization=utilization,
            labels=self.labels,
            texts=len(self.texts),
            label_information=labels.information,
            label_null=null.label_null,
            expert_identities=tuple(
                self._identity(expert, routing, utilization, labels, null, tokens[expert])
                for expert in range(routing.num_experts)
            ),
            config=config,
        )

    def _identity(
        self,
        expert: int,
        routing: Routing,
        utilization: ExpertUtilization,
        test: LabelTest,
        null: RouterNull,
        tokens: list[TokenPreference],
    ) -> ExpertIdentity:
        names, _ = membership([each.label for each in self.texts])
        rate = self.config.rate
        preferences = [
            LabelPreference(
                label=label,
                count=int(test.counts[expert, place]),
                rate=float(test.rates[expert, place]),
                lift=float(test.lift[expert, place]),
                information=float(null.information[expert, place]),
                p=float(test.p[expert, place]),
                q=float(test.q[expert, place]),
                router_p=float(null.label_p[expert, place]),
                is_significant=bool(
                    test.q[expert, place] <= rate
                    and null.label_p[expert, place] <= rate
                    and test.lift[expert, place] >= self.config.min_lift
                ),
            )
            for place, label in enumerate(names)
        ]
        used = utilization.counts[expert]
        is_specialist = any(each.is_significant for each in preferences)
        return ExpertIdentity(
            expert_idx=expert,
            layer_idx=routing.layer,
            tokens=used,
            share=utilization.shares[expert],
            kind="unresolved" if used < self.config.min_support else "specialist" if is_specialist else "generalist",
            labels=tuple(sorted(preferences, key=lambda each: (-each.lift, each.label))),
            top_tokens=tuple(
                PreferredToken(
                    token=id_text(self._tokenizer, each.token),
                    id=each.token,
                    count=each.count,
                    support=each.support,
                    lift=each.lift,
                    q=each.q,
                )
                for each in tokens
                if each.q <= rate
            )[:20],
            token_router_p=float(null.token_p[expert]),
        )


def identify_experts(
    model: Any,
    tokenizer: Tokenizer | None = None,
    *,
    layer_idx: int,
    texts: Mapping[str, Sequence[str]] | None = None,
    config: IdentifyConfig | None = None,
) -> ExpertIdentification:
    """The labels and tokens that each expert of a block prefers, with nulls.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        tokenizer: Its tokenizer; None for the one that was loaded with it.
        layer_idx: A block with experts.
        texts: Texts by label; None for the built-in texts.
        config: Settings; None for the defaults.
    """
    return ExpertIdentifier(model, tokenizer, texts=texts, config=config).identify(layer_idx)
