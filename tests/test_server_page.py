"""The page of the server lists every field of a request, once, and nothing else."""

import json
import re
from pathlib import Path

from lazarus_models.serving import requests, unsupported

PAGE = (Path(__file__).parents[1] / "apps/lazarus-cli/docs/server.md").read_text()


def rows(title):
    part = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ?(.*?) ?\|$", part, re.MULTILINE))


def test_every_field_is_in_its_table():
    common = set(requests.AnyRequest.model_fields)
    assert set(rows("Fields of both interfaces")) == common
    assert set(rows("Fields of `/v1/chat/completions`")) == set(requests.ChatRequest.model_fields) - common
    assert set(rows("Fields of `/v1/completions`")) == set(requests.CompletionRequest.model_fields) - common


def test_fields_that_are_refused_have_their_values():
    values = {
        name: ", ".join(f"`{json.dumps(one)}`" for one in said) for name, said in unsupported.NOT_SUPPORTED.items()
    }
    assert rows("Fields that are refused") == values


def test_ignored_fields_are_said_to_be():
    both = rows("Fields of both interfaces") | rows("Fields of `/v1/chat/completions`")
    ignored = {name for name, meaning in both.items() if meaning.startswith("Accepted and ignored")}
    assert ignored == set(unsupported.IGNORED)
