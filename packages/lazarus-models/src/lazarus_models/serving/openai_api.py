"""OpenAI's interface: converts requests to prompts and settings, and texts to answers."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, NamedTuple

from lazarus_models.chat.function_calling import with_tools
from lazarus_models.chat.history import with_system
from lazarus_models.generation.autoregressive import bounded, prompt_ids
from lazarus_models.generation.constraint import Constraint, Grammars
from lazarus_models.generation.sampling import GenerationConfig
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.serving.choice import Choice
from lazarus_models.serving.engine import Engine
from lazarus_models.serving.errors import Refused
from lazarus_models.serving.reading import read_request
from lazarus_models.serving.requests import AnyRequest, ChatRequest, CompletionRequest
from lazarus_tokenkit import Encoder


class Prompt(NamedTuple):
    """An encoded prompt."""

    ids: list[int]
    config: GenerationConfig
    text: str
    """The text that `echo` repeats."""


@dataclass(frozen=True)
class Request:
    """A request with encoded prompts and settings; formats its answer."""

    said: AnyRequest
    lm: LoadedModel
    model: str
    """Name of the model in answers."""
    prompts: list[Prompt]
    constraints: list[Constraint | None]
    """One a text: prompts times `n`."""
    id: str

    @classmethod
    def read(
        cls,
        content: bytes,
        lm: LoadedModel,
        model: str,
        *,
        max_new_tokens: int,
        is_chat: bool,
        grammars: Grammars,
        system: str | None = None,
    ) -> "Request":
        """Parses a request.

        Args:
            content: The body.
            lm: The model.
            model: Name of the model.
            max_new_tokens: Largest number of new tokens.
            is_chat: Whether it is a chat request, or a completion request.
            grammars: Makes the constraints of answers.
            system: System message of a conversation without one; None for none.

        Raises:
            Refused: The body is not JSON, or a field is unknown, has the wrong type or is out of range.
            LazarusError: A prompt cannot be encoded or is too long, a setting has tokens outside the vocabulary, or a
                schema cannot be enforced.
        """
        said = read_request(content, ChatRequest if is_chat else CompletionRequest)
        _check_model(said.model, model)
        config = _seeded(said.settings(max_new_tokens))
        is_empty = said.wanted_tokens == 0
        prompts = [
            Prompt(ids, bounded(lm, ids, config, is_read_only=is_empty), text)
            for ids, text in _prompts(said, lm, system)
        ]
        number = len(prompts) * (said.n or 1)
        return cls(
            said=said,
            lm=lm,
            model=model,
            prompts=prompts,
            constraints=[_constraint(said, grammars) for _ in range(number)],
            id=f"{'chatcmpl' if is_chat else 'cmpl'}-{time.time_ns():x}",
        )

    @property
    def is_chat(self) -> bool:
        """Whether it is a chat request, or a completion request."""
        return isinstance(self.said, ChatRequest)

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is sent in pieces."""
        return self.said.stream is True

    def submit(self, engine: Engine) -> list[Choice]:
        """Starts the texts of the answer: prompts in their order, each `n` times.

        The first text of a prompt has the request's seed, the next one the seed after it, and so on.
        """
        number = self.said.n or 1
        has_echo = isinstance(self.said, CompletionRequest) and self.said.echo is True
        choices: list[Choice] = []
        for prompt in self.prompts:
            for place in range(number):
                index = len(choices)
                seed = (prompt.config.seed + place) % 2**32
                job = engine.submit(
                    prompt.ids,
                    prompt.config.model_copy(update={"seed": seed}),
                    constraint=self.constraints[index],
                    is_scored=has_echo and prompt.config.logprobs is not None,
                )
                choice = Choice(
                    lm=self.lm,
                    index=index,
                    job=job,
                    is_chat=self.is_chat,
                    has_tools=bool(self.said.functions),
                    is_empty=self.said.wanted_tokens == 0,
                    echo=prompt.text if has_echo else None,
                    id=self.id,
                )
                choices.append(choice)
        return choices

    def events(self, choices: Sequence[Choice]) -> Iterator[dict[str, Any]]:
        """The objects of a streamed answer; texts take turns."""
        options = self.said.stream_options
        wants_usage = options is not None and options.include_usage is True
        more = {"usage": None} if wants_usage else {}
        streams = [choice.events() for choice in choices]
        while streams:
            for stream in list(streams):
                event = next(stream, None)
                if event is None:
                    streams.remove(stream)
                else:
                    yield {**self._head("chunk"), "choices": [event], **more}
        if wants_usage:
            yield {**self._head("chunk"), "choices": [], "usage": self._usage(choices)}

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """The object of an answer that is not streamed."""
        entries = [choice.whole() for choice in choices]
        return {**self._head(""), "choices": entries, "usage": self._usage(choices)}

    def _head(self, kind: str) -> dict[str, Any]:
        """The common fields of every answer."""
        form = "chat.completion" if self.is_chat else "text_completion"
        form = f"{form}.chunk" if kind == "chunk" and self.is_chat else form
        return {"id": self.id, "object": form, "created": int(time.time()), "model": self.model}

    def _usage(self, choices: Sequence[Choice]) -> dict[str, int]:
        """The token counts of an answer."""
        read, written = sum(len(prompt.ids) for prompt in self.prompts), sum(len(one.job.new) for one in choices)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def no_model(asked: str, model: str, *, status: HTTPStatus) -> Refused:
    """The refusal of a model that is not served; it names the served one.

    Args:
        asked: The name in the request.
        model: The name of the served model.
        status: Status of the answer.
    """
    near = "did you mean" if get_close_matches(asked[:100], [model]) else "this server has"
    mark = "?" if near == "did you mean" else ""
    message = f"no model {asked[:100]!r}; {near} {model!r}{mark}"
    return Refused(status, message, param="model", code="model_not_found")


def _check_model(asked: str | None, model: str) -> None:
    if asked is not None and asked != model:
        raise no_model(asked, model, status=HTTPStatus.BAD_REQUEST)


def _seeded(config: GenerationConfig) -> GenerationConfig:
    """The settings with a seed: without one, every request draws its own."""
    if "seed" in config.model_fields_set or config.temperature == 0:
        return config
    return config.model_copy(update={"seed": secrets.randbelow(2**32)})


def _prompts(said: AnyRequest, lm: LoadedModel, system: str | None) -> Iterator[tuple[list[int], str]]:
    """Token ids and text of each prompt."""
    if isinstance(said, ChatRequest):
        yield _chat_prompt(said, lm, system), ""
        return
    assert isinstance(said, CompletionRequest), "the two interfaces"
    for prompt in said.prompt:
        if isinstance(prompt, str):
            yield prompt_ids(lm, prompt, raw=True), prompt
        else:
            yield prompt, _decoded(lm, prompt)


def _decoded(lm: LoadedModel, ids: list[int]) -> str:
    known = range(lm.tokenizer.vocab_size)  # `bounded` refuses other ids
    return lm.tokenizer.decode(ids, skip_special=True) if all(token in known for token in ids) else ""


def _chat_prompt(said: ChatRequest, lm: LoadedModel, system: str | None) -> list[int]:
    messages = with_system([message.to_message() for message in said.messages], system)
    if tools := said.functions:
        messages = with_tools(messages, tools)
    if not said.chat_template_kwargs:
        return prompt_ids(lm, messages)
    encoder = Encoder(lm.tokenizer)
    names = encoder.chat_template.variable_names
    unknown = next((name for name in said.chat_template_kwargs if name not in names), None)
    if unknown is not None:
        shown = f"it reads {', '.join(sorted(names))[:200]}" if names else "it reads none"
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            f"`chat_template_kwargs`: the model's chat template does not read {unknown[:64]!r}; {shown}",
            param="chat_template_kwargs",
            code="unknown_parameter",
        )
    return encoder.prompt(messages, variables=said.chat_template_kwargs)


def _constraint(said: AnyRequest, grammars: Grammars) -> Constraint | None:
    if not isinstance(said, ChatRequest):
        return None
    if forced := said.forced:
        return grammars.call([(tool.name, tool.parameters) for tool in forced])
    return None if said.schema_ is None else grammars.json(said.schema_)
