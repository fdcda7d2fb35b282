"""Encodes samples to ids and loss masks. Length caches, training, evaluation and chat all use this encoder.

It guarantees, each with a test:

- The ids before an answer equal the ids of its prompt.
- The assistant's tokens and end-of-turn tokens carry loss. In a document all tokens except bos carry loss.
- bos occurs at most once at the start.
- Special-token text in the data never becomes a special token.
- The ids equal those of the whole rendered text, as `apply_chat_template` of transformers gives them. The exception: no
  token spans the end of a prompt and the start of its answer, because generation from the prompt cannot produce it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

from lazarus_tokenkit.encoding.cached_render import Piece
from lazarus_tokenkit.encoding.continuation import ContinuationRules
from lazarus_tokenkit.encoding.loss_spans import SpanFinder
from lazarus_tokenkit.errors import SampleError, TemplateError
from lazarus_tokenkit.fingerprint import TokenizerFingerprint, compute_fingerprint
from lazarus_tokenkit.samples.kinds import (
    JSON,
    ChatSample,
    CompletionSample,
    IdsSample,
    LabelledSample,
    Message,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
)
from lazarus_tokenkit.templates.registry import choose_template
from lazarus_tokenkit.templates.render import ChatTemplate
from lazarus_tokenkit.tokenizers.ids import Ids, id_array, ids_prefix
from lazarus_tokenkit.tokenizers.protocol import Tokenizer, special_text

NO_VARIABLES: Mapping[str, Any] = MappingProxyType({})
ENCODE_VERSION = 2
"""Increased when the same sample, tokenizer and template give different ids or masks. Length caches are then stale.

Version 2: text that continues a text has no dummy prefix; the chat template alone decides on bos; `{% generation %}`
blocks decide on the loss."""


@dataclass(frozen=True)
class Encoded:
    """An encoded sample.

    Args:
        ids: Token ids.
        loss_mask: 1 for each token that carries loss as a label, else 0; as long as `ids`.
        parts: Number of tokens of each part of a sample with several parts, else None.
        loss_bytes: UTF-8 bytes of the texts that carry loss, without special tokens.
    """

    ids: list[int]
    loss_mask: list[int]
    parts: tuple[int, ...] | None = None
    loss_bytes: int = 0


class Prepared(NamedTuple):
    """Samples, split into pieces that are not encoded yet.

    Args:
        samples: The samples in their order.
        cut: Pieces of each part of each sample.
        texts: Texts for the engine of the tokenizer, in order.
        continuing: Texts for the engine of `Tokenizer.continuation`, in order.
    """

    samples: Sequence[Sample]
    cut: list[list[list[Piece]]]
    texts: list[str]
    continuing: list[str]


class Joined(NamedTuple):
    """An encoded sample in compact arrays.

    Args:
        ids: Token ids, u32.
        mask: 1 for each token that carries loss as a label, else 0; as long as `ids`.
        parts: Number of tokens of each part of a sample with several parts, else None.
    """

    ids: Ids
    mask: bytearray
    parts: tuple[int, ...] | None


class Measure(NamedTuple):
    """The members of a sample's row in a length cache.

    Args:
        length: Number of tokens.
        loss_tokens: Number of tokens that carry loss.
        parts: Number of tokens of each part of a sample with several parts, else None.
        h: First 8 hexadecimal digits of SHA-256 over the ids as u32 little-endian.
    """

    length: int
    loss_tokens: int
    parts: tuple[int, ...] | None
    h: str


@dataclass(frozen=True)
class Encoder:
    """Encodes samples with one tokenizer and one chat template.

    >>> from lazarus_tokenkit import CompletionSample, load_tokenizer
    >>> encoded = Encoder(load_tokenizer("byte"), template="plain").encode(CompletionSample("0", "1+1=", "2"))
    >>> encoded.ids
    [257, 49, 43, 49, 61, 10, 50, 259]
    >>> encoded.loss_mask
    [0, 0, 0, 0, 0, 0, 1, 1]

    Args:
        tokenizer: Encodes the rendered text.
        template: Name of a template such as `chatml` or `plain`, `own`, a path to a Jinja file, or None. None takes the
            tokenizer's own template if it has one, else `plain`.
        pinned_date: Date that the template receives as today, ISO 8601.
    """

    tokenizer: Tokenizer
    template: str | None = None
    pinned_date: str = "2026-01-01"

    def encode(self, sample: Sample) -> Encoded:
        """Encodes one sample.

        Raises:
            TemplateError: The template refuses the conversation, or does not determine which tokens carry loss.
        """
        return self.encode_batch([sample])[0]

    def encode_batch(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Encodes samples on all cores. See `encode`."""
        return self._encoded(self.prepare(samples))

    def _encoded(self, prepared: Prepared) -> list[Encoded]:
        continuing = self._continuation.encode_batch(prepared.continuing) if prepared.continuing else []
        joined = self.join(prepared, self.tokenizer.encode_batch(prepared.texts), continuing)
        return [
            Encoded(each.ids.tolist(), list(each.mask), each.parts, self._bytes_with_loss(sample, each, parts))
            for sample, each, parts in zip(prepared.samples, joined, prepared.cut, strict=True)
        ]

    def prepare(self, samples: Sequence[Sample]) -> Prepared:
        """Splits samples into pieces: the first half of encoding, before the engine runs."""
        return self._prepared(samples, [self._cut(sample) for sample in samples])

    def _prepared(self, samples: Sequence[Sample], cut: list[list[list[Piece]]]) -> Prepared:
        rules = self._continuation_rules
        if rules is None:
            texts = [text for parts in cut for pieces in parts for text, _, escape_mark, _ in pieces if not escape_mark]
            return Prepared(samples, cut, texts, [])
        # Escaped pieces are encoded one by one later. The others go to the engine of their kind, in order.
        cut = [[rules.arrange(pieces) for pieces in parts] for parts in cut]
        open_pieces = [piece for parts in cut for pieces in parts for piece in pieces if not piece.escape_mark]
        texts, continuing = ([piece.text for piece in open_pieces if piece.continues is lane] for lane in (False, True))
        return Prepared(samples, cut, texts, continuing)

    def measure(self, prepared: Prepared, ids: Sequence[Ids], continuing: Sequence[Ids] = ()) -> list[Measure]:
        """Computes lengths and id digests: the second half of encoding, for length caches.

        Args:
            prepared: The result of `prepare`.
            ids: Token ids of each of `prepared.texts`.
            continuing: Token ids of each of `prepared.continuing`.
        """
        return [
            Measure(len(ids), mask.count(1), parts, ids_prefix(ids))
            for ids, mask, parts in self.join(prepared, ids, continuing)
        ]

    def prompt(
        self,
        messages: Sequence[Message],
        tools: Sequence[JSON] = (),
        variables: Mapping[str, Any] = NO_VARIABLES,
    ) -> list[int]:
        """Encodes a prompt for generation: the conversation and the header of the assistant's turn.

        Args:
            messages: The conversation so far.
            tools: JSON schemas of the functions that the assistant may call.
            variables: Further names for the template; see `ChatTemplate`.

        Raises:
            TemplateError: The template refuses the conversation.
        """
        finder = self._span_finder
        if variables:
            finder = SpanFinder(self.tokenizer, replace(self.chat_template, variables=variables))
        pieces = finder.conversation(messages, tools, add_generation_prompt=True, has_loss=False)
        sample = PromptSample("prompt", tuple(messages), tuple(tools))
        return self._encoded(self._prepared([sample], [[pieces]]))[0].ids

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters that affect ids, in addition to data, template and tokenizer. A length cache stores them."""
        return {"encode_version": ENCODE_VERSION, "template": self.chat_template.name, "pinned_date": self.pinned_date}

    @property
    def template_digest(self) -> str:
        """SHA-256 over source, renderer and flags of the template, 64 hexadecimal digits."""
        return self.chat_template.digest

    @property
    def template_parts(self) -> dict[str, str]:
        """SHA-256 digests of the template by component."""
        return self.chat_template.parts

    @cached_property
    def fingerprint(self) -> TokenizerFingerprint:
        """The tokenizer's fingerprint."""
        return compute_fingerprint(self.tokenizer)

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The chat template that `template` selects."""
        return choose_template(self.tokenizer, self.template, self.pinned_date)

    @cached_property
    def _span_finder(self) -> SpanFinder:
        return SpanFinder(self.tokenizer, self.chat_template)

    @cached_property
    def _continuation_rules(self) -> ContinuationRules | None:
        return ContinuationRules.of(self.tokenizer)

    @cached_property
    def _continuation(self) -> Tokenizer:
        return self.tokenizer.continuation or self.tokenizer

    @cached_property
    def _added_bos(self) -> int | None:
        return self.tokenizer.bos_id if self.tokenizer.adds_bos else None

    @cached_property
    def _bos_text(self) -> str | None:
        return special_text(self.tokenizer, self._added_bos)

    def _cut(self, sample: Sample) -> list[list[Piece]]:
        """Returns the pieces of each part of a sample."""
        finder = self._span_finder  # outside `try`: the error of an invalid template must not name a sample
        try:
            match sample:
                case CompletionSample():
                    return [finder.exchange(sample.prompt, sample.completion)]
                case TextSample():
                    return [[finder.text(sample.text)]]
                case IdsSample():
                    return self._known_ids(sample)
                case ChatSample():
                    return [finder.conversation(sample.messages, sample.tools)]
                case PreferenceSample():
                    answers = sample.chosen, sample.rejected
                    return [finder.answer(sample.prompt, answer, sample.tools) for answer in answers]
                case LabelledSample():
                    return [finder.answer(sample.prompt, sample.completion, sample.tools)]
                case PromptSample():
                    return [
                        finder.conversation(sample.messages, sample.tools, add_generation_prompt=True, has_loss=False)
                    ]
        except TemplateError as error:
            raise TemplateError(f"sample {sample.id!r}: {error.message}", error.code) from error

    def join(
        self, prepared: Prepared, ids: Iterable[Sequence[int]], continuing: Iterable[Sequence[int]] = ()
    ) -> Iterator[Joined]:
        """Joins the ids of the pieces: the second half of encoding. Each part gets its own bos.

        Args:
            prepared: The result of `prepare`.
            ids: Token ids of each of `prepared.texts`.
            continuing: Token ids of each of `prepared.continuing`.
        """
        # The pieces are visited in the order in which `prepare` listed their texts, so each takes the next ids.
        open_ids, continuing_ids = iter(ids), iter(continuing)
        for sample, parts in zip(prepared.samples, prepared.cut, strict=True):
            if isinstance(sample, IdsSample):
                yield self._given(sample)
                continue
            whole, mask = id_array(()), bytearray()
            sizes: list[int] = []
            for pieces in parts:
                before = len(whole)
                if begin := self._start(sample, pieces):
                    whole.extend(begin)
                    mask += bytes(len(begin))
                for text, has_loss, escape_mark, continues in pieces:
                    if escape_mark:
                        piece_ids = self._escaped_ids(text, escape_mark, continues)
                    else:
                        piece_ids = next(continuing_ids if continues else open_ids)
                    whole.extend(piece_ids)
                    mask += (b"\1" if has_loss else b"\0") * len(piece_ids)
                sizes.append(len(whole) - before)
            if isinstance(sample, TextSample) and self.tokenizer.eos_id is not None:
                whole.append(self.tokenizer.eos_id)
                mask.append(1)
            yield Joined(whole, mask, tuple(sizes) if len(sizes) > 1 else None)

    def _start(self, sample: Sample, pieces: Sequence[Piece]) -> list[int]:
        """Returns the bos to add. No other code decides on it.

        A chat template writes bos itself if its format has one, so nothing is added, as in `apply_chat_template`. A
        document or a `plain` conversation gets the bos that the tokenizer adds to any text.
        """
        if self._added_bos is None or not (isinstance(sample, TextSample) or self.chat_template.is_text):
            return []
        is_written = self._bos_text is not None and bool(pieces) and pieces[0].text.startswith(self._bos_text)
        return [] if is_written else [self._added_bos]

    def _bytes_with_loss(self, sample: Sample, joined: Joined, parts: list[list[Piece]]) -> int:
        if not isinstance(sample, IdsSample):
            return sum(map(self._loss_bytes, chain(*parts)))
        with_loss = [token for token, has_loss in zip(joined.ids, joined.mask, strict=True) if has_loss]
        return len(self.tokenizer.decode(with_loss, skip_special=True).encode())

    def _known_ids(self, sample: IdsSample) -> list[list[Piece]]:
        """No pieces: the sample is encoded. Refuses ids of another tokenizer."""
        size = self.tokenizer.vocab_size
        if max(sample.ids) >= size:
            place = next(place for place, token in enumerate(sample.ids) if token >= size)
            raise SampleError(
                f"sample {sample.id!r}: id {sample.ids[place]} at place {place} is not in the vocabulary, which has {size:,} ids:"
                " give the tokenizer that made them",
                "LT-E328",
            )
        return [[]]

    def _given(self, sample: IdsSample) -> Joined:
        """Ids and mask of a sample that is encoded; without a mask, all tokens carry loss but bos at the start."""
        mask = bytearray(b"\1" * len(sample.ids) if sample.loss_mask is None else sample.loss_mask)
        if sample.loss_mask is None and sample.ids[0] == self.tokenizer.bos_id:
            mask[0] = 0
        return Joined(sample.ids, mask, None)

    def _loss_bytes(self, piece: Piece) -> int:
        """Counts the UTF-8 bytes of a piece with loss, without escape marks and special tokens; 0 without loss."""
        if not piece.has_loss:
            return 0
        special = sum(
            len(piece.text[span.start : span.end].encode()) for span in self.tokenizer.special_spans(piece.text)
        )
        text = piece.text.replace(piece.escape_mark, "") if piece.escape_mark else piece.text
        return len(text.encode()) - special

    def _escaped_ids(self, text: str, escape_mark: str, continues: bool) -> list[int]:
        """Encodes an escaped text: special tokens of the template as tokens, all text between them literally."""
        # The escape mark breaks up special-token text of the data, so every span found here is the template's.
        ids: list[int] = []
        done = 0
        for span in self.tokenizer.special_spans(text):
            ids += self._literal_ids(text[done : span.start], escape_mark, continues)
            ids.append(span.id)
            done = span.end
            token = text[span.start : span.end].strip()
            continues = self._continuation_rules is not None and not self._continuation_rules.restarts_after(token)
        return ids + self._literal_ids(text[done:], escape_mark, continues)

    def _literal_ids(self, text: str, escape_mark: str, continues: bool) -> list[int]:
        tokenizer = self._continuation if continues else self.tokenizer
        return tokenizer.encode(text.replace(escape_mark, ""), parse_special=False) if text else []
