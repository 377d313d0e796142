"""How a proposal is shown at the end of a job: as a question in the chat, as a command to type in a shell."""

from __future__ import annotations

from rich.console import Group, RenderableType

from lqmf.cli.outcome import Outcome
from lqmf.cli.views.messages import Unfolded, marked_view, notice_view
from lqmf.operations.next_step import command
from lqmf.records import Proposal


def closed(outcome: Outcome, *, talking: bool) -> Outcome:
    """The outcome with its proposal at the end of the view: a question where a yes can follow, else a command."""
    if outcome.proposal is None:
        return outcome
    view = proposal_view(outcome.proposal, talking=talking)
    shown = view if outcome.view is None else Group(outcome.view, view)
    return Outcome(outcome.data, shown, outcome.exit_code, outcome.proposal)


def proposal_view(proposal: Proposal, *, talking: bool) -> RenderableType:
    """What may be made next. It waits for nothing: any other line is a turn of its own."""
    if talking:
        return marked_view("?", "cyan", f"{proposal.text}: try it? (yes or no)")
    return Unfolded(notice_view(f"{proposal.text}: `lqmf {command(proposal.decision)}`"))
