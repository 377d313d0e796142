"""The forms of a provider's answers. Knows fields; `checking` decides whether an answer may stand.

The ids of the candidates stand in the schema that goes out, so that decoding constrained by it can write no other; an
answer with another id is still read, and then refused by the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from lqmf.records import Candidate

PRIORITIES = ("quality", "speed", "size")
MOST_MODELS = 3
_PRIORITY: dict[str, Any] = {"anyOf": [{"type": "string", "enum": list(PRIORITIES)}, {"type": "null"}]}


class Recommendation(BaseModel):
    """What a provider would choose for a plan. `candidate` is an id from the list, or None with a wish instead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    candidate: str | None = Field(description="id of the best candidate, or null")
    context: int | None = Field(description="tokens of context that the purpose needs, or null")
    priority: Annotated[str | None, WithJsonSchema(_PRIORITY)] = Field(description="what matters most, or null")
    reason: str = Field(description="one or two sentences for the user")
    notes: list[str] = Field(description="up to two short sentences, or none")


class NamedModel(BaseModel):
    """A model of the Hub, and why it suits."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(description="org/name, as on the Hub")
    reason: str = Field(description="one sentence for the user")


class NamedModels(BaseModel):
    """Models for what a user described, the best first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    models: list[NamedModel] = Field(description="one to three models")


def recommendation(offered: Sequence[Candidate]) -> type[Recommendation]:
    """Return a `Recommendation` whose schema lists the ids of the candidates in `offered`."""
    ids = {"anyOf": [{"type": "string", "enum": [one.id for one in offered]}, {"type": "null"}]}
    field: Any = (
        Annotated[str | None, WithJsonSchema(ids)],
        Field(description="id of the best candidate, or null"),
    )
    return create_model("Recommendation", __base__=Recommendation, candidate=field)
