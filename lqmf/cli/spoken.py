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
NEEDS_A_NAME = frozenset(["plan", "test", "compare", "help"])  # a question read so that names nothing is a general one
GENERAL = frozenset(["quantize", "test", "compare", "benchmark", "show"])  # so too, where a note answers one near to it
AGREEING = frozenset(
    ["y", "yes", "yeah", "yep", "ok", "okay", "sure", "ja", "oui", "si", "no", "n", "nope", "nein", "non"]
)
GREETINGS = frozenset(
    [
        "hello",
        "hello there",
        "hi",
        "hi there",
        "hey",
        "good morning",
        "good evening",
        "hallo",
        "hola",
        "bonjour",
        "ciao",
    ]
)
SUGGESTIONS = "Say what to do, for example `quantize demo to 4-bit`, `test it` or `stats`; `help` lists everything."


def to_nothing_asked(text: str, *, typed_before: bool) -> Outcome | None:
    """The notice for a yes or a no that answers nothing, or that was typed before the question; None for any other
    line."""
    if text.strip().strip(".!").lower() not in AGREEING:
        return None
    told = "Nothing was asked, so there is nothing to answer."
    if typed_before:
        told = "That was typed before the question was asked. Try it? (yes or no)"
    return Outcome({"status": "notice", "text": told}, told)


def of_the_notes(decision: Decision, text: str) -> Decision | None:
    """The decision for a line that no rule reads, or a question read as a command of which it names nothing, where the
    notes surely hold the answer; None for any other."""
    from lqmf.knowledge.finding import is_known, is_near
    from lqmf.understanding.mood import is_question
    from lqmf.understanding.wording import read

    unread = decision.intent == "unknown" and decision.confidence == 0
    asks = is_question(read(text).plain)
    general = asks and decision.intent in GENERAL and not {"model", "name", "names"} & decision.slots.keys()
    if (unread or general) and is_near(text):
        return Decision("explain", {"topic": text}, 0.4, "LQMF's notes answer such a question")
    if not unread and (decision.intent not in NEEDS_A_NAME or decision.slots):
        return None
    if not (unread or asks) or not is_known(text, 1 if unread and asks else 2):
        return None
    return Decision("explain", {"topic": text}, 0.4, "no rule reads this; LQMF's notes do")


def declines(decision: Decision) -> bool:
    """Whether a line only says no, and speaks of no work that runs."""
    from lqmf.understanding.dialogue import ends_a_job
    from lqmf.understanding.mood import DENIED

    return decision.reason == DENIED or (decision.intent == "cancel" and not ends_a_job(decision))


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


def about_doing(decision: Decision) -> Outcome | None:
    """What is told of a command that a line only asked about; None for any other decision."""
    from lqmf.cli import registry
    from lqmf.understanding.mood import asked_about

    intent = asked_about(decision) if decision.intent == "explain" else None
    module = registry.for_intent(intent) if intent else None
    if module is None:
        return None
    command = module.COMMAND
    text = f"Nothing was done. `{command.name}`: {command.summary}. To do it: `{command.examples[0]}`."
    from lqmf.cli.views.messages import notice_view

    return Outcome({"status": "notice", "text": text, "command": command.name}, notice_view(text))


def without_command(decision: Decision, text: str) -> Outcome:
    """The outcome of an intent that no command has, said as `text`. Raises NotBuilt for those of a later version."""
    if decision.intent in NOT_BUILT:
        raise NotBuilt(f"This version cannot {NOT_BUILT[decision.intent]} yet.", INSTEAD)
    if text.strip(" .!,").lower() in GREETINGS:
        return Outcome({"status": "notice", "text": SUGGESTIONS}, f"Hello. {SUGGESTIONS}")
    from lqmf.cli.views.messages import error_view

    message = "I did not understand that."
    remedy = f"{_did_you_mean(text)}{SUGGESTIONS}"
    data = {"error": {"code": "unknown", "message": message, "remedy": remedy}}
    return Outcome(data, error_view(message, remedy), exit_code=1)


def _did_you_mean(text: str) -> str:
    """The command whose name is nearest to the first word of a short line."""
    from lqmf.cli import registry
    from lqmf.workspace import nearest

    found = text.lower().lstrip("/-").split()
    guess = nearest(found[0], list(registry.builtin_names())) if 0 < len(found) <= 3 else None
    return f"Did you mean `{guess}`? " if guess else ""
