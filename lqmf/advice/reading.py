"""A sentence that the rules could not read, read with a provider's help: an intent and slots of our own, then checked.

Knows the prompt and how long the chat waits; `lqmf.understanding.proposals` decides which parts of an answer may stand.
A failure is told once, in short; then the rules' reading stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from lqmf.declared import methods, providers
from lqmf.errors import ProviderError
from lqmf.events import Emit, Notice
from lqmf.providers import prompts
from lqmf.providers.masking import Masks
from lqmf.understanding.proposals import MEANINGS, checked, is_open

if TYPE_CHECKING:
    from lqmf.providers.calls import Calls
    from lqmf.records import Decision

GRACE_S = 0.5  # beyond the wait, for what does not end by itself
_INTENT: dict[str, Any] = {"type": "string", "enum": [*MEANINGS, "unknown"]}


class Proposal(BaseModel):
    """What a sentence may mean. Every slot is null where the sentence does not say it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    intent: Annotated[str, WithJsonSchema(_INTENT)] = Field(description="what the user wants")
    model: str | None = Field(description="the model, as typed")
    name: str | None = Field(description="an artifact made before, as typed")
    method: str | None = Field(description=methods.names())
    type: str | None = Field(description="a type, like Q4_K_M or nf4")
    bits: int | None = Field(description="bits a weight")
    memory_gb: float | None = Field(description="memory in GB")
    context: int | None = Field(description="tokens of context")
    topic: str | None = Field(description="of a question: what it is about, in the user's words")
    provider: str | None = Field(description=providers.names())


@dataclass(frozen=True)
class Reading:
    """A provider's proposal, and the decision that the checks left of it (None: they left nothing). `dropped` says
    why."""

    provider: str
    model: str
    proposal: dict[str, Any]
    decision: Decision | None
    dropped: tuple[str, ...] = field(default=())


class Reader:
    """Reads lines with a provider's help. `wait_s` is how many seconds a turn waits; `redact` masks secrets."""

    def __init__(self, calls: Calls, *, wait_s: float, redact: Callable[[str], str], emit: Emit) -> None:
        self._calls = calls
        self._wait_s = wait_s
        self._redact = redact
        self._emit = emit
        self._told: set[str] = set()

    async def helped(self, text: str, lines: Sequence[str], read: Decision) -> Reading | None:
        """Return a provider's reading of a line that the rules left open; None where they did not, or where no provider
        answered."""
        if not is_open(text, read):
            return None
        try:
            return await self.read(text, lines, read)
        except ProviderError as error:
            self._tell(error.message)
            return None

    async def read(self, text: str, lines: Sequence[str], read: Decision) -> Reading:
        """Return a provider's reading of `text`, typed after `lines`, checked against `read`, the reading of the rules.
        Raises ProviderError."""
        masks = Masks(self._redact)
        messages = prompts.messages(
            "understand",
            intents="\n".join(f"- {name}: {meaning}" for name, meaning in MEANINGS.items()),
            before=prompts.fenced("the user", [masks.text(line) for line in lines]),
            sentence=prompts.fenced("the user", masks.text(text)),
        )
        try:
            async with asyncio.timeout(self._wait_s + GRACE_S):
                done = await self._calls.complete("understand", messages, Proposal, deadline_s=self._wait_s)
        except TimeoutError:
            raise ProviderError(f"{self._calls.name} gave no answer within {self._wait_s:g} s.") from None
        proposed = {name: value for name, value in done.value.model_dump().items() if value is not None}
        decision, dropped = checked(text, read, proposed, done.provider)
        return Reading(done.provider, done.model, proposed, decision, dropped)

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._emit(Notice(text=self._redact(f"No help to understand this: {reason}"), level="warning"))
