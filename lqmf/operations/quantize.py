"""quantize: the main job, from a model to a measured artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.operations import gating, next_step, running
from lqmf.operations.closing import closing
from lqmf.operations.result import Result
from lqmf.records import Advice, Artifact, Choice, Feedback, Proposal, Request, to_json

if TYPE_CHECKING:
    from lqmf.agents.planner_agent import Planned
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

FIELDS = ("name", "path", "method", "bits", "type", "size_bytes", "source_size_bytes", "compression_ratio", "receipt")


@dataclass(frozen=True)
class Quantized(Result):
    """What was made. `jobs` are in the order of the artifacts; `gate` says whether a failed gate is a failure. Of
    several artifacts nothing is proposed: there is enough to choose from. `chats` are the lines that chat with each."""

    artifacts: tuple[Artifact, ...]
    jobs: tuple[str, ...]
    feedback: Feedback
    gate: bool = False
    chats: tuple[tuple[str, ...], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every artifact that was tested could be measured, and passed its gate, where that was asked for."""
        receipts = [artifact.receipt for artifact in self.artifacts]
        return gating.all_measured(receipts) and (not self.gate or gating.all_passed(receipts))

    @property
    def proposal(self) -> Proposal | None:
        """What may be made next."""
        return self.feedback.proposal

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "artifacts", "job", "jobs", "artifact", "receipt", "feedback"}`; job, artifact and
        receipt are the first's."""
        artifacts = [_document(artifact) for artifact in self.artifacts]
        return {
            "status": "done",
            "artifacts": artifacts,
            "job": self.jobs[0],
            "jobs": list(self.jobs),
            "artifact": artifacts[0],
            "receipt": artifacts[0]["receipt"],
            "feedback": next_step.document(self.feedback),
        }


async def run(app: App, request: Request, ask: Ask) -> Quantized:
    """Plan, show the plan, carry it out. Raises LqmfError."""
    made = await app.pipeline.quantize(request, ask, Announcing(ask))
    feedback = [closing(app, one.artifact, one.slots) for one in made]
    artifacts, jobs = tuple(one.artifact for one in made), tuple(one.job for one in made)
    return quantized(artifacts, jobs, joined(feedback), gate=bool(request.gate))


def quantized(
    artifacts: tuple[Artifact, ...], jobs: tuple[str, ...], feedback: Feedback, *, gate: bool = False
) -> Quantized:
    """Return what was made, with the lines that chat with it."""
    chats = tuple(running.at_once(Path(one.path), one.name) for one in artifacts)
    return Quantized(artifacts, jobs, feedback, gate, chats)


class Announcing:
    """Shows plans, and what was advised of them, each when it is new."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._choices: list[tuple[Choice, ...]] = []
        self._advice: Advice | None = None

    def __call__(self, planned: Sequence[Planned]) -> None:
        """Show what of `planned`, plans for one model, was not shown before."""
        advice = planned[0].request.advice
        if advice is not None and advice != self._advice:
            self._ask.show(advice)
        choices = [one.plan.choices for one in planned]
        if choices != self._choices:
            self._ask.show([one.plan for one in planned])
        self._choices, self._advice = choices, advice


def joined(feedback: Sequence[Feedback]) -> Feedback:
    """Return what is said at the end of one job or of several."""
    if len(feedback) == 1:
        return feedback[0]
    return Feedback(tuple(sentence for each in feedback for sentence in each.sentences))


def _document(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact as the design's JSON has it."""
    record = to_json(artifact)
    return {name: record[name] for name in FIELDS}
