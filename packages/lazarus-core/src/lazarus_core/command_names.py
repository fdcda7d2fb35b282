"""Commands in messages and help, as the user can call them.

Sources write every command below `lazarus`: `lazarus data batchplan lock`. A process that was started as `lazarus-plan`, and may
have no `lazarus`, prints `lazarus-plan lock`. Other packages' commands are replaced too if their package is installed.
"""

import re
from functools import cache
from importlib.util import find_spec

MOUNTS = {
    "lazarus data batchplan": "lazarus-plan",
    "lazarus data images": "lazarus-tokenkit images",
    "lazarus data lengths": "lazarus-tokenkit lengths",
    "lazarus data samples": "lazarus-tokenkit samples",
    "lazarus tokenizer": "lazarus-tokenkit",
    "lazarus model": "lazarus-models",
    "lazarus bench infer": "lazarus-models bench",
    "lazarus chat": "lazarus-models chat",
    "lazarus doctor": "lazarus-models doctor",
    "lazarus eval": "lazarus-models eval",
    "lazarus infer": "lazarus-models infer",
    "lazarus serve": "lazarus-models serve",
    "lazarus train": "lazarus-train",
    "lazarus plan-budget": "lazarus-train plan-budget",
    "lazarus sweep": "lazarus-train sweep",
    "lazarus verify": "lazarus-train verify",
    "lazarus generate": "lazarus-gym generate",
    "lazarus gym": "lazarus-gym",
    "lazarus introspect": "lazarus-introspect",
    "lazarus data corpus": "lazarus-corpus",
}
"""Commands of `lazarus`, and the same ones of the packages' own console scripts."""
_MOUNTED = rf"(?<![\w/-])(?:{'|'.join(MOUNTS)})(?![\w/-])"

_script = "lazarus"


def set_script(name: str) -> None:
    """Sets the console script that this process runs, for `as_called`."""
    global _script
    _script = name


def as_called(text: str, script: str | None = None) -> str:
    """A text with its commands as they can be called from a console script.

    >>> as_called("renew it: lazarus data batchplan lock --update", "lazarus-plan")
    'renew it: lazarus-plan lock --update'
    >>> as_called("renew it: lazarus data batchplan lock --update", "lazarus")
    'renew it: lazarus data batchplan lock --update'

    Args:
        text: A message or help.
        script: Name of the console script, or how its module is run; None takes the one of this process.
    """
    name = (_script if script is None else script).rpartition(" ")[2].replace("_", "-")
    if not name.startswith("lazarus-") or name == "lazarus-cli" or "lazarus " not in text:
        return text
    return re.sub(_MOUNTED, lambda found: _own(found[0]), text)


def _own(command: str) -> str:
    own = MOUNTS[command]
    return own if _is_installed(own.partition(" ")[0].replace("-", "_")) else command


@cache
def _is_installed(package: str) -> bool:
    return find_spec(package) is not None
