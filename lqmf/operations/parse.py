"""parse: what a sentence, or each of several, is understood as; nothing is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.errors import UsageError
from lqmf.operations.result import Result
from lqmf.records import Decision, Request, Utterance

if TYPE_CHECKING:
    from lqmf.advice.reading import Reading
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Parsed(Result):
    """What a sentence is understood as, and a provider's `reading` beside it where that was asked for."""

    decision: Decision
    reading: Reading | None = None

    @property
    def document(self) -> dict[str, Any]:
        """`{"intent", "slots", "confidence", "reason"}`, "conflicts" where there are some, and "llm", a provider's
        reading."""
        told = as_document(self.decision)
        return told if self.reading is None else {**told, "llm": proposed(self.reading)}


@dataclass(frozen=True)
class Dialogue(Result):
    """What each sentence of a dialogue is understood as, in the light of those before."""

    decisions: tuple[Decision, ...]

    @property
    def document(self) -> list[dict[str, Any]]:
        """One document a sentence."""
        return [as_document(decision) for decision in self.decisions]

    @property
    def streamed(self) -> bool:
        """True: `--json` prints a line for each sentence."""
        return True


async def run(app: App, request: Request, ask: Ask) -> Parsed | Dialogue:
    """Read the sentence in `text`, or the dialogue in `lines`, in a dialogue of its own. Raises UsageError where a
    provider is to read along and none is set; ProviderError."""
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent

    agent, text = EnhancedDecisionAgent(), str(request.text or "")
    if (lines := request.lines) is not None:
        return Dialogue(tuple(agent.decide(Utterance(line)) for line in lines))
    understood = agent.decide(Utterance(text))
    if not request.llm:
        return Parsed(understood)
    if app.reader is None:
        raise UsageError("No provider is in use, so nobody else reads this.", "`lqmf llm switch PROVIDER` chooses one.")
    return Parsed(understood, await app.reader.read(text, (), understood))


def as_document(decision: Decision) -> dict[str, Any]:
    """Return the `--json` document of one sentence."""
    document = {"intent": decision.intent, "slots": dict(decision.slots), "confidence": decision.confidence}
    conflicts = {"conflicts": list(decision.conflicts)} if decision.conflicts else {}
    return {**document, "reason": decision.reason, **conflicts}


def proposed(reading: Reading) -> dict[str, Any]:
    """Return `llm` of the `--json` document: what a provider proposed, and what of it would stand."""
    return {
        "provider": reading.provider,
        "model": reading.model,
        "proposal": reading.proposal,
        "decision": as_document(reading.decision) if reading.decision else None,
        "dropped": list(reading.dropped),
    }
