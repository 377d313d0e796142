"""The EnhancedDecisionAgent: a line of the chat becomes a decision, in the light of the dialogue so far.

Keeps the dialogue's state and asks `lqmf.understanding` to read. Plans nothing, runs nothing, reaches no network.
"""

from __future__ import annotations

from dataclasses import replace

from lqmf.records import Decision, Utterance
from lqmf.understanding.dialogue import Dialogue, step, with_artifact, with_decision

REMEMBERED = 4  # lines


class EnhancedDecisionAgent:
    """Reads one dialogue. `state` is where it stands, `lines` the last lines as typed; a new agent starts a new
    dialogue."""

    def __init__(self) -> None:
        self.state = Dialogue()
        self.lines: tuple[str, ...] = ()

    def decide(self, utterance: Utterance) -> Decision:
        """Return the decision for the next line of the dialogue, with everything said so far that still holds."""
        self.lines = (*self.lines, utterance.text)[-REMEMBERED:]
        self.state, decision = step(self.state, utterance.text)
        return decision

    def meaning(self, line: str) -> Decision:
        """Return the decision that a line would give here; the dialogue does not hear the line."""
        return step(self.state, line)[1]

    def note_decision(self, decision: Decision) -> None:
        """Note that the last line, which no rule read, means `decision`."""
        self.state = with_decision(self.state, decision)

    def note_artifact(self, name: str) -> None:
        """Note that a job made this artifact, or that the user was shown it: "it" means this artifact now."""
        self.state = with_artifact(self.state, name)

    def note_proposed(self, decision: Decision) -> None:
        """Note that a job proposed this decision: a yes in the next line means it."""
        self.state = replace(self.state, proposed=decision)

    def reset(self) -> None:
        """Forget the dialogue."""
        self.state, self.lines = Dialogue(), ()
