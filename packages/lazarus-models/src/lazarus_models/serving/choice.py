"""One text of an answer: its pieces, its log-probabilities, and why it ended."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from lazarus_models.chat.function_calling import outside_calls, parse_calls
from lazarus_models.generation.streaming import decode_stream, until_stop
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.engine import Job
from lazarus_models.serving.logprobs import Reporter, Scored


@dataclass
class Choice:
    """One text of an answer."""

    lm: LoadedModel
    index: int
    job: Job
    is_chat: bool
    has_tools: bool
    is_empty: bool
    """Whether no new token was asked for: the engine's one token is dropped."""
    echo: str | None
    """The prompt's text, before the answer; None without `echo`."""
    id: str
    """Id of the answer, for the ids of calls."""
    _reporter: Reporter = field(init=False)
    _sent: int = field(default=0, init=False)
    """Bytes of the text sent."""
    _has_role: bool = field(default=False, init=False)
    _is_cut: bool = field(default=False, init=False)
    """Whether a stop text ended the text, so that its last tokens are not part of it."""

    def __post_init__(self) -> None:
        if self.echo is None:
            self._reporter = Reporter(self.lm.tokenizer, self.job.ids, self.is_chat)
        else:
            prompt = self.echo.encode("utf-8")
            self._reporter = Reporter(self.lm.tokenizer, [], self.is_chat, echo=prompt, echoed=len(self.job.ids))

    def pieces(self) -> Iterator[str]:
        """The text of the answer, piece by piece."""
        tokens = self.job.tokens()
        first = next(tokens, None)  # the prompt is read and scored
        if self.echo is not None:
            yield self.echo
        if self.is_empty:
            self.job.leave()
            self.job.new.clear()
            return
        stops = self.job.config.stop_ids or ()
        new = (token for token in chain([] if first is None else [first], tokens) if token not in stops)
        pieces = decode_stream(self.lm.tokenizer, self.job.ids, new)
        self._is_cut = yield from until_stop(pieces, self.job.config.stop)
        self.job.leave()

    def events(self) -> Iterator[dict[str, Any]]:
        """The entries of `choices` in a stream, one by one."""
        text: list[str] = []
        pieces = _noted(self.pieces(), text)
        shown = 0
        for piece in outside_calls(pieces) if self.has_tools else pieces:
            yield self._chunk({"content": piece})
            shown += len(piece)
        for _ in pieces:
            pass  # a call, or text that looks like one, is recorded but not sent yet
        whole = "".join(text)
        reason = self.finish(whole)
        if reason == "tool_calls":
            calls = [{"index": place, **call} for place, call in enumerate(self.calls(whole))]
            yield self._chunk({"tool_calls": calls})
        elif shown < len(whole):
            yield self._chunk({"content": whole[shown:]})
        elif self.is_chat and not self._has_role:
            yield self._chunk({"content": ""})
        yield self._chunk({}, reason)

    def whole(self) -> dict[str, Any]:
        """The entry of `choices` in an answer that is not streamed; waits for its end."""
        text = "".join(self.pieces())
        reason = self.finish(text)
        self._sent = len(text.encode("utf-8"))
        choice: dict[str, Any] = {
            "index": self.index,
            "finish_reason": reason,
            "logprobs": self._logprobs(is_last=True),
        }
        if not self.is_chat:
            choice["text"] = text
        elif reason == "tool_calls":
            said = "".join(outside_calls([text]))
            choice["message"] = {"role": "assistant", "content": said or None, "tool_calls": self.calls(text)}
        else:
            choice["message"] = {"role": "assistant", "content": text}
        return choice | self._seed()

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """One entry of a stream.

        Args:
            delta: New content or calls; empty for the last entry.
            reason: Finish reason of the last entry; None before.
        """
        self._sent += len(delta.get("content", "").encode("utf-8"))
        choice: dict[str, Any] = {
            "index": self.index,
            "finish_reason": reason,
            "logprobs": self._logprobs(is_last=reason is not None),
        }
        if self.is_chat:
            role = {"role": "assistant"} if delta and not self._has_role else {}
            self._has_role = True
            choice["delta"] = {**role, **delta}
        else:
            choice["text"] = delta.get("content", "")
        return choice | (self._seed() if reason is not None else {})

    def _seed(self) -> dict[str, int]:
        """The seed of a sampled text, with which it can be repeated."""
        return {} if self.job.config.temperature == 0 else {"seed": self.job.config.seed}

    def _logprobs(self, *, is_last: bool) -> dict[str, Any] | None:
        """The log-probabilities that were not sent yet."""
        job = self.job
        if job.config.logprobs is None:
            return None
        stops = job.config.stop_ids or ()
        known = [
            Scored(token, logprob)
            for token, logprob in zip(job.new, job.logprobs, strict=False)
            if token not in stops
            or self.echo is not None  # evaluation harnesses drop the one new token, whatever it is
        ]
        if self.echo is not None:
            known = [*map(Scored, job.ids, [None, *job.prompt_logprobs]), *known]
        # Calls are not text, so that their tokens come at the end; tokens of a stop text never come.
        is_whole = is_last and (self.has_tools or not self._is_cut)
        return self._reporter.report(known, None if is_whole else self._sent)

    def finish(self, text: str) -> str:
        """The finish reason, in OpenAI's terms.

        Args:
            text: The whole text.
        """
        if self.is_empty:
            return "length"
        if self.has_tools and parse_calls(text):
            return "tool_calls"
        new, config = self.job.new, self.job.config
        is_long = len(new) >= config.max_new_tokens and new[-1] not in (config.stop_ids or ())
        return "length" if is_long and not self._is_cut else "stop"

    def calls(self, text: str) -> list[dict[str, Any]]:
        """The calls in an answer."""
        return [
            {
                "id": f"call-{self.id}-{self.index}-{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for place, call in enumerate(parse_calls(text))
        ]


def _noted(pieces: Iterator[str], into: list[str]) -> Iterator[str]:
    for piece in pieces:
        into.append(piece)
        yield piece
