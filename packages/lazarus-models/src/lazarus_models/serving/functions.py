"""Functions and answer formats of a chat request, as pydantic models, and the grammars that they ask for."""

from typing import Annotated, Any, Literal

from pydantic import Field

from lazarus_models.chat.function_calling import Tool
from lazarus_models.serving.messages import Fields

MAX_TOOLS = 128
"""Largest number of functions of a request: OpenAI's limit."""


class Function(Fields):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    """True needs a forced call: only its arguments are constrained to the schema."""


class ToolPart(Fields):
    """An entry of `tools`."""

    function: Function
    type: Literal["function"] = "function"

    def to_tool(self) -> Tool:
        """The function for the declaration in the prompt."""
        return Tool(self.function.name, self.function.description or "", self.function.parameters or {})


class NamedFunction(Fields):
    """The name in `tool_choice`."""

    name: str


class NamedTool(Fields):
    """The function that the answer must call."""

    function: NamedFunction
    type: Literal["function"] = "function"


class JsonSchema(Fields):
    """The schema of `response_format`."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict[str, Any])
    """JSON schema of the answer."""
    strict: bool | None = None
    """Accepted and ignored: the schema is always enforced."""


class TextFormat(Fields):
    """Free text."""

    type: Literal["text"]


class ObjectFormat(Fields):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaFormat(Fields):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


def schema_of(wanted: TextFormat | ObjectFormat | SchemaFormat | None) -> dict[str, Any] | None:
    """The JSON schema that an answer must have; None for free text."""
    match wanted:
        case ObjectFormat():
            return {"type": "object"}
        case SchemaFormat():
            return wanted.json_schema.schema_
        case _:
            return None
