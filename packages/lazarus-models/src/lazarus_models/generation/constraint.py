"""Constrained decoding: a grammar decides which tokens may follow. Needs the extra `grammar` (llguidance).

llguidance computes a mask over the vocabulary from the bytes of each token. The matcher of a text advances token by token, so a
constrained text waits for its token before the next mask. Other texts of the batch are computed as before.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.loading.loaded_model import LoadedModel

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

WRITING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""Spaces as `json.dumps` writes them. Free white space lets a weak model write spaces for ever."""


class Constraint:
    """The state of a grammar in one text."""

    def __init__(self, matcher: "LLMatcher", vocab_size: int, end: int) -> None:
        self._matcher, self._vocab_size, self._end = matcher, vocab_size, end

    def allowed(self) -> mx.array:
        """Which tokens may follow, bool, (V,); only the end of the text once the grammar is complete."""
        if self._matcher.is_stopped():
            return mx.arange(self._vocab_size) == self._end
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed: Any = np.unpackbits(bits, bitorder="little")[: self._vocab_size].astype(np.bool_)
        return mx.array(allowed)

    def take(self, token: int) -> None:
        """Advances the grammar by a token of the text."""
        if not self._matcher.is_stopped():  # otherwise it is the end of the text
            self._matcher.consume_token(token)

    @property
    def error(self) -> GenerationError | None:
        """Why the text cannot go on; None if it can."""
        if not self._matcher.is_error():
            return None
        words = " ".join(self._matcher.get_error().split())[:300]
        return GenerationError(f"the grammar of the answer cannot go on: {words}; use a simpler schema", "LM-E262")


class Grammars:
    """Makes constraints for a model. The table of its vocabulary is built once, at the first constraint."""

    def __init__(self, lm: LoadedModel) -> None:
        self._lm = lm
        self._table: LLTokenizer | None = None

    def json(self, schema: Mapping[str, Any]) -> Constraint:
        """A constraint to JSON of a schema.

        Raises:
            GenerationError: llguidance is not installed, or the schema cannot be enforced.
        """
        matchers = _llguidance()
        return self._constraint(matchers.grammar_from_json_schema(dict(schema), overrides=WRITING))

    def call(self, functions: Sequence[tuple[str, Mapping[str, Any]]]) -> Constraint:
        """A constraint to one call: `<tool_call>{"name": ..., "arguments": ...}</tool_call>`.

        Args:
            functions: Name of each function, and the JSON schema of its arguments.

        Raises:
            GenerationError: llguidance is not installed, or a schema cannot be enforced.
        """
        rules = [f"call_{place}: %json {json.dumps(_call_schema(*one))}" for place, one in enumerate(functions)]
        choice = " | ".join(f"call_{place}" for place in range(len(functions)))
        start = f'start: "<tool_call>" ({choice}) "</tool_call>"'
        return self._constraint(_llguidance().grammar_from_lark("\n".join([start, *rules])))

    def _constraint(self, grammar: str) -> Constraint:
        matchers, table = _llguidance(), self._tokens()
        if error := matchers.validate_grammar(grammar, table):
            words = " ".join(error.split())[:300]
            raise GenerationError(f"the schema cannot be enforced: {words}; simplify it", "LM-E261")
        return Constraint(matchers(table, grammar, log_level=0), self._lm.config.vocab_size, table.eos_token)

    def _tokens(self) -> "LLTokenizer":
        if self._table is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            size = self._lm.config.vocab_size
            self._table = LLTokenizer(TokenizerWrapper(_Tokens(self._lm)), n_vocab=size)
        return self._table


class _Tokens:
    """The vocabulary, as llguidance reads it."""

    def __init__(self, lm: LoadedModel) -> None:
        tokenizer, stops = lm.tokenizer, lm.stop_ids
        if tokenizer.eos_id is None and not stops:
            raise GenerationError("the model has no token that ends a text, so a grammar cannot end", "LM-E261")
        self._continuing = tokenizer.continuation or tokenizer  # the answer continues the prompt
        self.eos_token_id = stops[0] if tokenizer.eos_id is None else tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        size = lm.config.vocab_size
        self.tokens = [tokenizer.token_bytes.get(token, b"") for token in range(size)]
        special = {*tokenizer.special_tokens.values(), *stops}
        self._ids = {content: token for token, content in enumerate(self.tokens) if content and token not in special}
        self._longest_bytes = max(map(len, self._ids), default=0)
        self.special_token_ids = sorted(special & set(range(size)))

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens of forced bytes, as the tokenizer writes them if it keeps every byte."""
        content = text.encode("utf-8") if isinstance(text, str) else text
        ids = self._continuing.encode(content.decode("utf-8"), parse_special=False)
        if b"".join(self.tokens[token] for token in ids) == content:
            return ids
        return list(self._longest(content))  # some tokenizers drop a space at an end

    def _longest(self, content: bytes) -> Iterator[int]:
        """The longest token at each place."""
        place = 0
        while place < len(content):
            ends = range(min(len(content), place + self._longest_bytes), place, -1)
            end = next((end for end in ends if content[place:end] in self._ids), None)
            if end is None:
                return
            yield self._ids[content[place:end]]
            place = end


def _call_schema(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    # Local references of the arguments keep their meaning only at the root, so definitions move there.
    inner = dict(arguments) or {"type": "object"}
    roots = {key: inner.pop(key) for key in ("$defs", "definitions") if key in inner}
    properties = {"name": {"const": name}, "arguments": inner}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name", "arguments"],
        "additionalProperties": False,
        "x-guidance": WRITING,
        **roots,
    }


def _llguidance() -> "type[LLMatcher]":
    try:
        from llguidance import LLMatcher
    except ModuleNotFoundError as error:
        if error.name != "llguidance":
            raise
        raise GenerationError(
            "constrained answers need llguidance; install the extra: uv pip install 'lazarus-models[grammar]'",
            "LM-E260",
        ) from error
    return LLMatcher
