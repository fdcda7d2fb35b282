"""Tokenizers of Hugging Face repositories, through huggingface_hub: cached, offline when cached, at a known commit."""

import re
from pathlib import Path
from typing import Any, cast

from lazarus_tokenkit.errors import TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends.companions import COMPANIONS, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.merges import MERGES_FILE, VOCAB_FILE

HUB_ID = re.compile(r"(?:hf:)?(?P<repo>(?:[\w.-]+/)?[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
PREFIX = "hf:"
"""Says that a name without a slash is a repository."""
FILES = [TOKENIZER_FILE, *COMPANIONS, VOCAB_FILE, MERGES_FILE, "*.tiktoken", "config.json", "generation_config.json"]


def is_hub_id(name: str) -> bool:
    """Whether a name can be a repository's: `owner/name`, `hf:name`, each with `@revision` or without.

    >>> is_hub_id("openai-community/gpt2@main"), is_hub_id("gpt2"), is_hub_id("hf:gpt2")
    (True, False, True)
    """
    match = HUB_ID.fullmatch(name)
    return match is not None and (name.startswith(PREFIX) or "/" in match["repo"])


def fetch(name: str) -> tuple[Path, str]:
    """The folder with a repository's tokenizer, and `repository@commit`.

    What lies in the cache is used as it is, without asking the network; a revision that is a branch is then the commit
    that it was when it was fetched.

    Raises:
        TokenizerNotFound: There is no such repository, or no network and nothing in the cache.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    match = HUB_ID.fullmatch(name)
    assert match is not None, "is_hub_id said so"
    repo, revision = match["repo"], match["revision"]
    download = cast("Any", huggingface_hub).snapshot_download  # its types are open
    try:
        try:
            folder = Path(download(repo, revision=revision, allow_patterns=FILES, local_files_only=True))
            is_whole = any((folder / file).is_file() for file in (TOKENIZER_FILE, "tokenizer.model", VOCAB_FILE))
        except (OSError, ValueError):
            is_whole, folder = False, Path()
        if not is_whole:
            folder = Path(download(repo, revision=revision, allow_patterns=FILES))
    except LocalEntryNotFoundError as error:  # after the hub was asked
        raise TokenizerNotFound(
            f"no tokenizer `{name}`: no path of that name, not in the hub's cache, and the hub cannot be reached; fetch it"
            " where there is a network, or give a directory",
            "LT-E103",
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TokenizerNotFound(
            f"no tokenizer `{name}`: no path of that name, and the hub says: {reason[:300]}", "LT-E103"
        ) from error
    return folder, f"{repo}@{folder.name}"
