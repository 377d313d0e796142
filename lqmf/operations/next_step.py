"""How a proposal is told to a program: as the command that asks for it, and as `feedback` of a JSON document.

Knows the table of slots; knows nothing of how a step was chosen.
"""

from __future__ import annotations

import shlex
from typing import Any

from lqmf.records import Decision, Feedback
from lqmf.understanding.slot_table import words


def command(decision: Decision) -> str:
    """Return a request as the line that asks for it in a shell, without `lqmf` before it."""
    request = decision.request
    return shlex.join([decision.intent, str(request.model), *words(request)])


def document(feedback: Feedback) -> dict[str, Any]:
    """Return `feedback` of a `--json` document: {"sentences", "proposal": {"command", "slots"} or null}."""
    proposal = feedback.proposal
    told = (
        {"command": f"lqmf {command(proposal.decision)}", "slots": dict(proposal.decision.slots)} if proposal else None
    )
    return {"sentences": list(feedback.sentences), "proposal": told}
