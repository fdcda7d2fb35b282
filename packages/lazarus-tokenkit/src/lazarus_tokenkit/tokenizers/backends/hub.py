"""Fetches tokenizers of Hugging Face repositories with huggingface_hub. A cached tokenizer needs no network."""

import re
from pathlib import Path
from typing import Any, cast

from lazarus_tokenkit.errors import TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends.companions import COMPANIONS, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.merges import MERGES_FILE, VOCAB_FILE

HUB_ID = re.compile(r"(?:hf:)?(?P<repo>(?:[\w.-]+/)?[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
PREFIX = "hf:"
"""Marks a name without a slash as a repository."""
FILES = [TOKENIZER_FILE, *COMPANIONS, VOCAB_FILE, MERGES_FILE, "*.tiktoken", "config.json", "generation_config.json"]


def is_hub_id(name: str) -> bool:
    """Whether a name can be a repository: `owner/name` or `hf:name`, with or without `@revision`.

    >>> is_hub_id("openai-community/gpt2@main"), is_hub_id("gpt2"), is_hub_id("hf:gpt2")
    (True, False, True)
    """
    match = HUB_ID.fullmatch(name)
    return match is not None and (name.startswith(PREFIX) or "/" in match["repo"])


def fetch(name: str) -> tuple[Path, str]:
    """Returns the folder with a repository's tokenizer, and `repository@commit`.

    A cached repository is used without asking the hub. A branch then means the commit at the time of the download.

    Raises:
        TokenizerNotFound: The repository does not exist, or it is not cached and the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    match = HUB_ID.fullmatch(name)
    assert match is not None, "`is_hub_id` accepted the name"
    repo, revision = match["repo"], match["revision"]
    download = cast("Any", huggingface_hub).snapshot_download  # partially typed
    try:
        try:
            folder = Path(download(repo, revision=revision, allow_patterns=FILES, local_files_only=True))
            is_whole = any((folder / file).is_file() for file in (TOKENIZER_FILE, "tokenizer.model", VOCAB_FILE))
        except (OSError, ValueError):
            is_whole, folder = False, Path()
        if not is_whole:
            folder = Path(download(repo, revision=revision, allow_patterns=FILES))
    except LocalEntryNotFoundError as error:  # raised after the request to the hub failed
        raise TokenizerNotFound(
            f"no tokenizer `{name}`: no path has that name, the hub's cache has no such repository, and the hub cannot be"
            " reached; download it on a machine with a network, or give a directory",
            "LT-E103",
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TokenizerNotFound(
            f"no tokenizer `{name}`: no path has that name, and the hub answers: {reason[:300]}", "LT-E103"
        ) from error
    return folder, f"{repo}@{folder.name}"
