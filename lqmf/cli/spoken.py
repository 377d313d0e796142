"""What is said to a sentence that no command carries out: a part not built yet, or nothing understood.

Knows the design's intents and which of them this version lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.cli.outcome import Outcome
from lqmf.errors import NotBuilt
from lqmf.events import Notice
from lqmf.records import Decision

if TYPE_CHECKING:
    from lqmf.understanding.answers import Ask

# intent -> what this version cannot do yet. A row goes when its command file comes.
NOT_BUILT = {
    "chat": "chat with a model",
    "experiment": "run experiments",
    "finetune": "finetune models",
    "adapters": "manage adapters",
    "serve": "serve models over an API",
    "sweep": "run sweeps",
}
INSTEAD = "It can quantize, plan, test, compare, list, show and verify: `help` lists it all."
AGREEING = frozenset(
    ["y", "yes", "yeah", "yep", "ok", "okay", "sure", "ja", "oui", "si", "no", "n", "nope", "nein", "non"]
)
SUGGESTIONS = "Say what to do, for example `quantize demo to 4-bit`, `test it` or `stats`; `help` lists everything."


def to_nothing_asked(text: str) -> Outcome | None:
    """The notice for a yes or a no that answers nothing; None for any other line."""
    word = text.strip().strip(".!").lower()
    if word not in AGREEING:
        return None
    return Outcome(
        {"status": "notice", "text": "Nothing was asked."}, "Nothing was asked, so there is nothing to answer."
    )


def declines(decision: Decision) -> bool:
    """Whether a line said no to what the last job proposed."""
    from lqmf.understanding.proposals import DECLINED

    return decision == DECLINED


async def agreed(decision: Decision, ask: Ask) -> bool:
    """Whether a reading that a provider proposed may be carried out: what changes nothing is told, all else is asked.
    Raises NeedsInput where nobody can be asked."""
    from lqmf.understanding.proposals import confirmation

    question = confirmation(decision)
    if question is None:
        ask.show(Notice(text=f"Taken for `{decision.intent}`: {decision.reason}, for no rule reads it."))
        return True
    reply = await ask(question)
    return reply.kind == "value" and reply.value is True


def without_command(decision: Decision) -> Outcome:
    """The outcome of an intent that no command has. Raises NotBuilt for those of a later version."""
    if decision.intent in NOT_BUILT:
        raise NotBuilt(f"This version cannot {NOT_BUILT[decision.intent]} yet.", INSTEAD)
    from lqmf.cli.views.messages import error_view

    message = "I did not understand that."
    data = {"error": {"code": "unknown", "message": message, "remedy": SUGGESTIONS}}
    return Outcome(data, error_view(message, SUGGESTIONS), exit_code=1)
