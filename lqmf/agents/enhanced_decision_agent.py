"""The EnhancedDecisionAgent: a line of the chat becomes a decision, in the light of the dialogue so far.

Keeps the dialogue's state and asks `lqmf.understanding` to read. Plans nothing, runs nothing, reaches no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lqmf.records import Decision, Utterance
from lqmf.understanding.dialogue import Dialogue, step, with_artifact, with_decision

REMEMBERED = 4  # lines


class EnhancedDecisionAgent:
    """Reads one dialogue. `state` is where it stands, `lines` the last lines as typed; a new agent starts a new
    dialogue."""

    def __init__(self) -> None:
        self._state = Dialogue()
        self._changes: list[Callable[[Dialogue], Dialogue]] = []  # that the state still lacks
        self.lines: tuple[str, ...] = ()

    @property
    def state(self) -> Dialogue:
        """Return where the dialogue stands."""
        for change in self._changes:
            self._state = change(self._state)
        self._changes.clear()
        return self._state

    @state.setter
    def state(self, state: Dialogue) -> None:
        self._changes.clear()
        self._state = state

    def decide(self, utterance: Utterance) -> Decision:
        """Return the decision for the next line of the dialogue, with everything said so far that still holds."""
        self._note_line(utterance)
        self.state, decision = step(self.state, utterance.text)
        return decision

    def hear(self, utterance: Utterance) -> None:
        """Take the next line into the dialogue; another part has decided it. The line is read when a later line needs
        the dialogue's state: reading takes longer than many a command."""
        self._note_line(utterance)
        self._changes.append(lambda state: step(state, utterance.text)[0])

    def _note_line(self, utterance: Utterance) -> None:
        self.lines = (*self.lines, utterance.text)[-REMEMBERED:]

    def meaning(self, line: str) -> Decision:
        """Return the decision that a line would give here; the dialogue does not hear the line."""
        return step(self.state, line)[1]

    def note_decision(self, decision: Decision) -> None:
        """Note that the last line, which no rule read, means `decision`."""
        self.state = with_decision(self.state, decision)

    def note_artifact(self, name: str) -> None:
        """Note that a job made this artifact, or that the user was shown it: "it" means this artifact now."""
        self._changes.append(lambda state: with_artifact(state, name))

    def note_proposed(self, decision: Decision) -> None:
        """Note that a job proposed this decision: a yes in the next line means it."""
        self.state = replace(self.state, proposed=decision)

    def reset(self) -> None:
        """Forget the dialogue."""
        self.state, self.lines = Dialogue(), ()
