"""THE encode function: sample to ids and loss mask. Lengths, training, evaluation and chat all call it.

Laws, each with a test: the ids before an answer are the ids of its prompt; loss lies on the assistant's tokens and its
end-of-turn token, or on all tokens of a text but the bos; bos never stands twice; what people wrote never becomes a
special token; the ids are those of the rendered text in one piece, as `apply_chat_template` of transformers gives them.
The last law has one exception: a token never reaches from a prompt into its answer, because a model that starts from
the prompt cannot generate it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from lazarus_tokenkit.encoding.cached_render import Piece
from lazarus_tokenkit.encoding.joints import Joints
from lazarus_tokenkit.encoding.loss_spans import Cutter
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.fingerprint import TokenizerFingerprint, compute_fingerprint
from lazarus_tokenkit.samples.kinds import (
    JSON,
    ChatSample,
    CompletionSample,
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

ENCODE_VERSION = 2
"""Raised when the same sample, tokenizer and template give other ids or another mask; caches are then stale.

Version 2: text that continues a text has no dummy prefix; a chat template alone decides on bos; `{% generation %}` marks
decide on the loss."""


@dataclass(frozen=True)
class Encoded:
    """A sample as a model sees it.

    Args:
        ids: Token ids.
        loss_mask: 1 where the token, as a label, carries loss, else 0; as long as `ids`.
        parts: Tokens of each part of a sample of several, or None for a sample of one.
        loss_bytes: UTF-8 bytes of the texts that carry loss, as they were written: special tokens count nothing.
    """

    ids: list[int]
    loss_mask: list[int]
    parts: tuple[int, ...] | None = None
    loss_bytes: int = 0


class Prepared(NamedTuple):
    """Samples whose pieces have no ids yet.

    Args:
        samples: The samples.
        cut: Pieces of each part of each sample.
        texts: What the engine of the tokenizer is to encode, in order.
        continuing: What the engine of `Tokenizer.continuation` is to encode, in order.
    """

    samples: Sequence[Sample]
    cut: list[list[list[Piece]]]
    texts: list[str]
    continuing: list[str]


class _Joined(NamedTuple):
    """A sample's ids; 1 for each that carries loss, else 0; tokens of each part of several."""

    ids: Ids
    mask: bytearray
    parts: tuple[int, ...] | None


class Measure(NamedTuple):
    """A sample in a length cache: tokens, tokens with loss, tokens of each part, and 8 hex of the ids' SHA-256."""

    length: int
    loss_tokens: int
    parts: tuple[int, ...] | None
    h: str


@dataclass(frozen=True)
class Encoder:
    """Everything that decides a sample's ids.

    >>> from lazarus_tokenkit import CompletionSample, load_tokenizer
    >>> encoded = Encoder(load_tokenizer("byte"), template="plain").encode(CompletionSample("0", "1+1=", "2"))
    >>> encoded.ids
    [257, 49, 43, 49, 61, 10, 50, 259]
    >>> encoded.loss_mask
    [0, 0, 0, 0, 0, 0, 1, 1]

    Args:
        tokenizer: Turns text into ids.
        template: `chatml`, `plain`, `own`, a path to a Jinja file, or None: the tokenizer's own, else `plain`.
        pinned_date: What a template that asks for today's date is told, ISO 8601.
    """

    tokenizer: Tokenizer
    template: str | None = None
    pinned_date: str = "2026-01-01"

    def encode(self, sample: Sample) -> Encoded:
        """Ids and loss mask of one sample.

        Raises:
            TemplateError: The template refuses the conversation or hides where its loss lies.
        """
        return self.encode_batch([sample])[0]

    def encode_batch(self, samples: Sequence[Sample]) -> list[Encoded]:
        """`encode` of every sample, on all cores."""
        return self._encoded(self.prepare(samples))

    def _encoded(self, prepared: Prepared) -> list[Encoded]:
        continuing = self._continuation.encode_batch(prepared.continuing) if prepared.continuing else []
        joined = self._join(prepared, self.tokenizer.encode_batch(prepared.texts), continuing)
        return [
            Encoded(each.ids.tolist(), list(each.mask), each.parts, sum(map(self._loss_bytes, chain(*parts))))
            for each, parts in zip(joined, prepared.cut, strict=True)
        ]

    def prepare(self, samples: Sequence[Sample]) -> Prepared:
        """The first half of encoding: everything but the engine's part."""
        return self._prepared(samples, [self._cut(sample) for sample in samples])

    def _prepared(self, samples: Sequence[Sample], cut: list[list[list[Piece]]]) -> Prepared:
        joints = self._joints
        if joints is None:
            texts = [text for parts in cut for pieces in parts for text, _, shield, _ in pieces if not shield]
            return Prepared(samples, cut, texts, [])
        cut = [[joints.arrange(pieces) for pieces in parts] for parts in cut]
        open_pieces = [piece for parts in cut for pieces in parts for piece in pieces if not piece.shield]
        texts, continuing = ([piece.text for piece in open_pieces if piece.continues is lane] for lane in (False, True))
        return Prepared(samples, cut, texts, continuing)

    def measure(self, prepared: Prepared, ids: Sequence[Ids], continuing: Sequence[Ids] = ()) -> list[Measure]:
        """The second half, where only lengths and digests are kept.

        Args:
            prepared: What `prepare` gave.
            ids: Of `prepared.texts`.
            continuing: Of `prepared.continuing`.
        """
        return [
            Measure(len(ids), mask.count(1), parts, ids_prefix(ids))
            for ids, mask, parts in self._join(prepared, ids, continuing)
        ]

    def prompt(self, messages: Sequence[Message], tools: Sequence[JSON] = ()) -> list[int]:
        """Ids that generation starts from: the conversation and the opening of the assistant's turn.

        Args:
            messages: The conversation so far.
            tools: JSON schemas of the functions that the assistant may call.
        """
        pieces = self._cutter.conversation(messages, tools, add_generation_prompt=True, has_loss=False)
        sample = PromptSample("prompt", tuple(messages), tuple(tools))
        return self._encoded(self._prepared([sample], [[pieces]]))[0].ids

    @property
    def parameters(self) -> dict[str, Any]:
        """What changes ids besides data, template and tokenizer: part of a length cache's header."""
        return {"encode_version": ENCODE_VERSION, "template": self.chat_template.name, "pinned_date": self.pinned_date}

    @property
    def template_digest(self) -> str:
        """SHA-256 over source, renderer and flags of the template, 64 hex."""
        return self.chat_template.digest

    @property
    def template_parts(self) -> dict[str, str]:
        """Digests of the template by component."""
        return self.chat_template.parts

    @cached_property
    def fingerprint(self) -> TokenizerFingerprint:
        """The tokenizer's."""
        return compute_fingerprint(self.tokenizer)

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The template in force."""
        return choose_template(self.tokenizer, self.template, self.pinned_date)

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self.tokenizer, self.chat_template)

    @cached_property
    def _joints(self) -> Joints | None:
        return Joints.of(self.tokenizer)

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
        """The pieces of each part of a sample."""
        cutter = self._cutter  # a template that cannot be used at all is no sample's fault
        try:
            match sample:
                case CompletionSample():
                    return [cutter.exchange(sample.prompt, sample.completion)]
                case TextSample():
                    return [[cutter.text(sample.text)]]
                case ChatSample():
                    return [cutter.conversation(sample.messages, sample.tools)]
                case PreferenceSample():
                    answers = sample.chosen, sample.rejected
                    return [cutter.answer(sample.prompt, answer, sample.tools) for answer in answers]
                case LabelledSample():
                    return [cutter.answer(sample.prompt, sample.completion, sample.tools)]
                case PromptSample():
                    return [
                        cutter.conversation(sample.messages, sample.tools, add_generation_prompt=True, has_loss=False)
                    ]
        except TemplateError as error:
            raise TemplateError(f"sample {sample.id!r}: {error.message}", error.code) from error

    def _join(
        self, prepared: Prepared, ids: Iterable[Sequence[int]], continuing: Iterable[Sequence[int]]
    ) -> Iterator[_Joined]:
        """Pieces one after the other, each part with its own bos."""
        open_ids, continuing_ids = iter(ids), iter(continuing)
        for sample, parts in zip(prepared.samples, prepared.cut, strict=True):
            whole, mask = id_array(()), bytearray()
            sizes: list[int] = []
            for pieces in parts:
                before = len(whole)
                if begin := self._start(sample, pieces):
                    whole.extend(begin)
                    mask += bytes(len(begin))
                for text, has_loss, shield, continues in pieces:
                    if shield:
                        piece_ids = self._shielded_ids(text, shield, continues)
                    else:
                        piece_ids = next(continuing_ids if continues else open_ids)
                    whole.extend(piece_ids)
                    mask += (b"\1" if has_loss else b"\0") * len(piece_ids)
                sizes.append(len(whole) - before)
            if isinstance(sample, TextSample) and self.tokenizer.eos_id is not None:
                whole.append(self.tokenizer.eos_id)
                mask.append(1)
            yield _Joined(whole, mask, tuple(sizes) if len(sizes) > 1 else None)

    def _start(self, sample: Sample, pieces: Sequence[Piece]) -> list[int]:
        """The bos that is added: the one place that decides on it.

        A chat template writes bos or its format has none, so nothing is added, as `apply_chat_template` adds nothing. A
        document, and a conversation as `plain` text, begin as the tokenizer begins a text.
        """
        if self._added_bos is None or not (isinstance(sample, TextSample) or self.chat_template.is_text):
            return []
        is_written = self._bos_text is not None and bool(pieces) and pieces[0].text.startswith(self._bos_text)
        return [] if is_written else [self._added_bos]

    def _loss_bytes(self, piece: Piece) -> int:
        """UTF-8 bytes of a piece that carries loss, without shields and the template's special tokens; else 0."""
        if not piece.has_loss:
            return 0
        special = sum(
            len(piece.text[span.start : span.end].encode()) for span in self.tokenizer.special_spans(piece.text)
        )
        text = piece.text.replace(piece.shield, "") if piece.shield else piece.text
        return len(text.encode()) - special

    def _shielded_ids(self, text: str, shield: str, continues: bool) -> list[int]:
        """The template's special tokens as tokens; everything between them, special or not, spelled out."""
        ids: list[int] = []
        done = 0
        for span in self.tokenizer.special_spans(text):
            ids += self._literal_ids(text[done : span.start], shield, continues)
            ids.append(span.id)
            done = span.end
            token = text[span.start : span.end].strip()
            continues = self._joints is not None and not self._joints.restarts_behind(token)
        return ids + self._literal_ids(text[done:], shield, continues)

    def _literal_ids(self, text: str, shield: str, continues: bool) -> list[int]:
        tokenizer = self._continuation if continues else self.tokenizer
        return tokenizer.encode(text.replace(shield, ""), parse_special=False) if text else []
