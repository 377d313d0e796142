"""`lqmf parse`: what a sentence was understood as; nothing is done."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lqmf.cli import options
from lqmf.cli.command import Ask, Command
from lqmf.cli.render import Lines
from lqmf.errors import UsageError
from lqmf.records import Decision, Outcome, Utterance

if TYPE_CHECKING:
    from lqmf.app import App

COMMAND = Command(
    "parse",
    "what a sentence is understood as; nothing is done",
    examples=(
        'lqmf parse "quantize mistral 7b to 4 bits for cpu"',
        'lqmf parse "how big would gpt2 be in 5 bits?" --json',
        "lqmf parse --json - < dialogue.txt",
        'lqmf parse --llm "something small for my old laptop"',
    ),
    order=30,
    remembered=False,
    heard=False,
)


def cli(
    sentence: Annotated[
        list[str],
        typer.Argument(metavar="SENTENCE", help="The sentence; - reads a dialogue from stdin, a sentence a line."),
    ],
    llm: Annotated[
        bool, typer.Option("--llm", help="Also ask the provider in use, and show what of its reading would stand.")
    ] = False,
) -> Decision:
    """Say what a sentence is understood as: intent, slots, confidence, and the rule that read it so."""
    return options.typed("parse", text=" ".join(sentence), llm=llm or None)


async def act(app: App, decision: Decision, ask: Ask) -> Outcome:
    """The decision as JSON and as a small table; a dialogue as a line of JSON for each sentence."""
    from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
    from lqmf.cli.views.decisions import decision_view

    text, agent = decision.slots["text"], EnhancedDecisionAgent()
    if text == "-":
        lines = [as_document(agent.decide(Utterance(line))) for line in sys.stdin.read().splitlines()]
        return Outcome(Lines(lines), "\n".join(json.dumps(line) for line in lines))
    understood = agent.decide(Utterance(text))
    if decision.slots.get("llm"):
        return await _with_help(app, text, understood)
    return Outcome(as_document(understood), decision_view(understood))


def as_document(decision: Decision) -> dict[str, Any]:
    """The `--json` document of one sentence."""
    document = {"intent": decision.intent, "slots": dict(decision.slots), "confidence": decision.confidence}
    conflicts = {"conflicts": list(decision.conflicts)} if decision.conflicts else {}
    return {**document, "reason": decision.reason, **conflicts}


async def _with_help(app: App, text: str, understood: Decision) -> Outcome:
    """Both readings, whether or not the rules left anything open. Raises UsageError, ProviderError."""
    from lqmf.cli.views.decisions import both_view

    if app.reader is None:
        raise UsageError("No provider is in use, so nobody else reads this.", "`lqmf llm switch PROVIDER` chooses one.")
    reading = await app.reader.read(text, (), understood)
    document = {
        "provider": reading.provider,
        "model": reading.model,
        "proposal": reading.proposal,
        "decision": as_document(reading.decision) if reading.decision else None,
        "dropped": list(reading.dropped),
    }
    return Outcome({**as_document(understood), "llm": document}, both_view(understood, document))
