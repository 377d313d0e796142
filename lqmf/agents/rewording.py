"""A model card's sentences in the words of an LLM provider. Knows the prompt; `prose` decides which words may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from lqmf.artifacts.card import prose
from lqmf.artifacts.card.prose import Prose
from lqmf.providers import prompts

if TYPE_CHECKING:
    from lqmf.providers.calls import Calls


class Wording(BaseModel):
    """The two paragraphs, worded anew."""

    summary: str = Field(description="the summary, as one paragraph of plain text")
    limits: str = Field(description="the limits, as one paragraph of plain text")


async def reworded(calls: Calls, own: Prose) -> Prose:
    """Return `own` in other words. Raises ProviderError; ValueError where the words say what the records do not."""
    asked = prompts.messages("card", prose=prompts.fenced("records", {"summary": own.summary, "limits": own.limits}))
    told = (await calls.complete("card", asked, Wording)).value
    return prose.taken(own, Prose(told.summary, told.limits))
