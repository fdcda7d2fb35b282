"""Writes conversation_ids.json: what `apply_chat_template` of transformers makes of conversations.

    PYTHON packages/lazarus-tokenkit/tests/golden/make_conversation_ids.py DATA > conversation_ids.json

PYTHON has transformers 5.24 and trl 1.16; DATA is the folder of real inputs (`LAZARUS_TEST_DATA`). Templates are the
built-in ones of lazarus-tokenkit and those that trl ships. Ids are stored as their number and the first 8 hex digits of
SHA-256 over them as u32 little-endian; the prompt is the conversation without its last turn, with
`add_generation_prompt`. trl's templates are not stored, only their special tokens.
"""

import hashlib
import importlib.util
import json
import re
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

import trl
from transformers import PreTrainedTokenizerFast

PACKAGE = Path(__file__).parents[2]
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "split": False}
TOKENIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama2": ("llama2", {}),
    "llama2, Metaspace first": (
        "llama2",
        {"normalizer": None, "pre_tokenizer": METASPACE | {"prepend_scheme": "first"}},
    ),
    "llama2, Metaspace always": (
        "llama2",
        {"normalizer": None, "pre_tokenizer": METASPACE | {"prepend_scheme": "always"}},
    ),
    "tok512": ("tok512", {}),
    "gpt2": ("gpt2", {}),
    "gpt2, prefix space": (
        "gpt2",
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}},
    ),
}
MARKS = re.compile(
    "<[|\uff5c][\\w\u2581/ -]+[|\uff5c]>|<[|]turn>|<turn[|]>|<(?:start|end)_of_turn>|</?think>|</?tool_call>|<pad>"
)
BARE = {"plain", "llama2", "zephyr", "vicuna", "alpaca", "instruct", "chat"}


def turns(*contents: str, system: str | None = None) -> list[dict[str, Any]]:
    """A conversation that begins with the user."""
    roles = ("user", "assistant") * len(contents)
    start = [] if system is None else [{"role": "system", "content": system}]
    return start + [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


CONVERSATIONS = {
    "one": turns("How many clips?", "72 clips."),
    "two": turns("How many clips?", "Natalia sold 72.", "And in May?", "She sold 36 in May."),
    "system": turns("Why?", "Because.", "Why not?", "  It is so.", system="Be brief.\n"),
    "spaces": turns("  Two  spaces ", " one", "\tTab", "   three  "),
    "newlines": turns("Lines\n\nof text\n", "\nZo\u00eb paid \u00a35.\n", "\n", "\n yes"),
    "empty": turns("Say nothing.", "", "Again.", ""),
}


def digest(ids: list[int]) -> str:
    """Number of ids, and 8 hex digits of their SHA-256."""
    return f"{len(ids)}:{hashlib.sha256(struct.pack(f'<{len(ids)}I', *ids)).hexdigest()[:8]}"


def save(data: Path, folder: Path, name: str, specials: list[str], rstrip: bool) -> PreTrainedTokenizerFast:
    """A tokenizer with more special tokens, opened by transformers."""
    base, edits = TOKENIZERS[name]
    file = json.loads((data / "tokenizers" / base / "tokenizer.json").read_text()) | edits
    number = max(file["model"]["vocab"].values()) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False, "special": True}
    file["added_tokens"] += [{"id": number + k, "content": text} | flags for k, text in enumerate(specials)]
    (folder / "tokenizer.json").write_text(json.dumps(file))
    roles = ("<|endoftext|>",) * 2 if base == "gpt2" else ("<s>", "</s>")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": roles[0], "eos_token": roles[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def ids(tokenizer: Any, source: str, conversation: list[dict[str, Any]], prompt: bool) -> str | None:
    """Digest of what the reference gives; None where the template refuses the conversation."""
    try:
        given = tokenizer.apply_chat_template(
            conversation, chat_template=source, add_generation_prompt=prompt, tokenize=True, return_dict=True
        )
    except Exception:  # noqa: BLE001 - whatever a template raises is its refusal
        return None
    return digest(list(given["input_ids"]))


def main() -> None:
    """Writes all cases to standard output."""
    data = Path(sys.argv[1])
    where = PACKAGE / "src/lazarus_tokenkit/chat_formats.py"
    spec = importlib.util.spec_from_file_location("formats", where)
    formats = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formats)
    names = ("plain", "llama2", "llama3", "phi", "gemma", "zephyr", "qwen3", "vicuna", "alpaca", "instruct", "chat")
    built_in = {name: getattr(formats, name.upper()) for name in [*names, "chatml", "chatml_tools"]}
    shipped = {
        file.stem: file.read_text() for file in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    }
    cases = []
    for origin, sources in (("lazarus", built_in), ("trl", shipped)):
        for template, source in sources.items():
            roles = {"<|user|>"} if template == "phi" else set()  # written as `'<|' + message.role + '|>'`
            specials = sorted(
                set(MARKS.findall(source)) - {"<|endoftext|>"} | roles, key=lambda text: (len(text), text)
            )
            for name in TOKENIZERS:
                for rstrip in (False, True) if specials and origin == "lazarus" else (False,):
                    marked = specials if origin == "trl" or template not in BARE or rstrip else []
                    with tempfile.TemporaryDirectory() as folder:
                        tokenizer = save(data, Path(folder), name, marked, rstrip)
                    found = {
                        key: [ids(tokenizer, source, turns, False), ids(tokenizer, source, turns[:-1], True)]
                        for key, turns in CONVERSATIONS.items()
                    }
                    found = {key: pair for key, pair in found.items() if pair != [None, None]}
                    if not found:
                        continue
                    case = {
                        "origin": origin,
                        "template": template.replace("_", "-") if origin == "lazarus" else template,
                    }
                    cases.append(case | {"tokenizer": name, "specials": marked, "rstrip": rstrip, "ids": found})
    out = {"tokenizers": TOKENIZERS, "conversations": CONVERSATIONS, "cases": cases}
    print(json.dumps(out, ensure_ascii=True, indent=None, separators=(",", ":")).replace('{"origin"', '\n{"origin"'))


if __name__ == "__main__":
    main()
