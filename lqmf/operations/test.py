"""test: how good an artifact is, measured against its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations import gating, next_step
from lqmf.operations.result import Cancelled, Result
from lqmf.quality.address import is_address
from lqmf.records import Artifact, Decision, Feedback, Option, Proposal, Question, Receipt, to_json
from lqmf.settings import secret
from lqmf.units import file_size

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

NONE = "none"


@dataclass(frozen=True)
class Tested(Result):
    """An artifact with its receipt; `gate` says whether a failed gate is a failure."""

    artifact: Artifact
    receipt: Receipt
    feedback: Feedback
    gate: bool = False

    @property
    def ok(self) -> bool:
        """Whether the gate passed, where that was asked for."""
        return not self.gate or gating.all_passed([to_json(self.receipt)])

    @property
    def proposal(self) -> Proposal | None:
        """What may be made next."""
        return self.feedback.proposal

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "artifact", "receipt", "feedback"}`."""
        return {
            "status": "done",
            "artifact": to_json(self.artifact),
            "receipt": to_json(self.receipt),
            "feedback": next_step.document(self.feedback),
        }


@dataclass(frozen=True)
class Listing(Result):
    """What can be tested, the newest first."""

    artifacts: tuple[Artifact, ...]


async def run(app: App, request: Decision, ask: Ask) -> Tested | Listing | Cancelled:
    """Test what is named; without a name, show what there is and let one be picked. Raises LqmfError."""
    action, name = request.slots.get("action"), request.slots.get("name")
    if name:
        return await _test(app, request, ask)
    found = Listing(tuple(app.pipeline.artifacts()))
    if not found.artifacts or not ask.interactive or action == "discover":
        return found
    if action:
        ask.show(found)
    picked = await ask(_which(found.artifacts, looking=bool(action)))
    if picked.kind != "value" or picked.value == NONE:
        return Cancelled("Nothing was tested.")
    return await _test(app, Decision("test", {**request.slots, "name": picked.value}), ask)


async def _test(app: App, request: Decision, ask: Ask) -> Tested:
    name = request.slots.get("name")
    if is_address(name):
        key, depth = secret(app.settings, "local_api_key"), str(request.slots.get("test") or "quick")
        artifact, receipt = await app.pipeline.test_address(str(name), request.slots.get("served"), key, depth)
    else:
        artifact, receipt = await app.pipeline.test(request, ask)
    return Tested(artifact, receipt, app.pipeline.feedback(artifact), gate=bool(request.slots.get("gate")))


def _which(artifacts: tuple[Artifact, ...], *, looking: bool) -> Question:
    """Return the question; who only came to look has none as the answer that Enter gives."""
    options = tuple(Option(a.name, f"{a.name}  {file_size(a.size_bytes)}") for a in artifacts)
    if looking:
        return Question("name", "Test one of them? Enter: none.", options, NONE, "A test takes a minute or more.")
    return Question("name", "Which one shall be tested?", options, artifacts[0].name, "It is the newest.")
