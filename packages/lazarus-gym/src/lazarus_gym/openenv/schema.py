"""The action schema of a server, by HTTP."""

import urllib.error
import urllib.request

from lazarus_gym.openenv.address import OpenEnvAddress
from lazarus_gym.openenv.messages import ActionForm, read_object

MAX_SCHEMA_BYTES = 4 << 20
DEFAULT = ActionForm("action")
"""Form where a server has no `/schema`: the one of `lazarus gym serve`."""


def find_action_form(address: OpenEnvAddress, timeout_s: float) -> ActionForm:
    """Asks a server for the schema of its actions.

    Args:
        address: Its address.
        timeout_s: Seconds to wait.

    Raises:
        OpenEnvError: The schema is no JSON object (LG-E174).
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address.http}/schema", timeout=timeout_s) as response:
            content: bytes = response.read(MAX_SCHEMA_BYTES)
    except (OSError, urllib.error.HTTPError):
        return DEFAULT
    schema = read_object(address.http, content).get("action")
    return ActionForm.of_schema(schema) if isinstance(schema, dict) else DEFAULT  # pyright: ignore[reportUnknownArgumentType]: of JSON
