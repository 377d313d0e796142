"""test: how good an artifact is, measured against its source."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.agents.planner_agent import accepted
from lqmf.operations import gating, next_step
from lqmf.operations.closing import closing
from lqmf.operations.result import Cancelled, Result
from lqmf.quality.address import is_address
from lqmf.quality.measures import unmeasured
from lqmf.records import Artifact, Feedback, Option, Proposal, Question, Receipt, Request, to_json
from lqmf.settings import secret
from lqmf.store.artifacts import known_as
from lqmf.units import file_size

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

NONE = "none"
SMALL_BYTES = 1_000_000_000  # of an artifact that is tested quickly without a question


@dataclass(frozen=True)
class Tested(Result):
    """An artifact with its receipt; `gate` says whether a failed gate is a failure."""

    artifact: Artifact
    receipt: Receipt
    feedback: Feedback
    gate: bool = False

    @property
    def ok(self) -> bool:
        """Whether it could be measured, and passed its gate, where that was asked for."""
        receipts = [to_json(self.receipt)]
        return gating.all_measured(receipts) and (not self.gate or gating.all_passed(receipts))

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


async def run(app: App, request: Request, ask: Ask) -> Tested | Listing | Cancelled:
    """Test what is named; without a name, show what there is and let one be picked. Raises LqmfError."""
    action, name = request.action, request.name
    if name:
        return await _test(app, request, ask)
    found = Listing(tuple(app.shelf.artifacts()))
    if not found.artifacts or not ask.interactive or action == "discover":
        return found
    if action:
        ask.show(found)
    picked = await ask(_which(found.artifacts, looking=bool(action)))
    if picked.kind != "value" or picked.value == NONE:
        return Cancelled("Nothing was tested.")
    return await _test(app, dataclasses.replace(request, name=picked.value), ask)


async def _test(app: App, request: Request, ask: Ask) -> Tested:
    """Measure an artifact against its source, or against the base that was named. Raises MeasurementError for a base
    that it was not made from."""
    if is_address(request.name):
        return await _test_address(app, request)
    artifact = app.shelf.find(request.name)
    given = await app.sources.named(str(request.base), ask) if request.base else None
    depth = request.test or await _depth(artifact, ask)
    with app.pipeline.job("test", known_as(artifact), artifact.name) as (context, result):
        receipt = await app.pipeline.measure_against_base(context, artifact, depth, given)
        result["fault"] = unmeasured(to_json(receipt))
    artifact = app.shelf.find(artifact.path)  # with its receipt
    return Tested(artifact, receipt, closing(app, artifact), gate=bool(request.gate))


async def _test_address(app: App, request: Request) -> Tested:
    """Measure a model behind an OpenAI-compatible address; kept under benchmarks/ and in the store. Raises LqmfError
    where it cannot be asked."""
    key = secret(app.settings, "local_api_key")
    address, depth = str(request.name), str(request.test or "quick")
    with app.pipeline.job("test", address) as (context, result):
        artifact, receipt = await app.feedback.test_address(address, request.served, key, depth=depth, context=context)
        result["artifact"] = artifact.name
        path = app.pipeline.keep(context.job, artifact, app.feedback.benchmark_document(artifact, receipt))
        app.memory.remember_receipt(known_as(artifact), receipt, str(path))
    return Tested(artifact, receipt, closing(app, artifact), gate=bool(request.gate))


async def _depth(artifact: Artifact, ask: Ask) -> str:
    if artifact.size_bytes < SMALL_BYTES:
        return "quick"
    question = Question(
        id="test",
        text="Quick (two minutes at most) or comprehensive (every window of the evaluation text)?",
        options=(Option("quick", "quick"), Option("comprehensive", "comprehensive")),
        default="quick",
        reason="The figures are the same; the error bars shrink with the number of tokens.",
    )
    return str(accepted(await ask(question)))


def _which(artifacts: tuple[Artifact, ...], *, looking: bool) -> Question:
    """Return the question; who only came to look has none as the answer that Enter gives."""
    options = tuple(Option(a.name, f"{a.name}  {file_size(a.size_bytes)}") for a in artifacts)
    if looking:
        return Question("name", "Test one of them? Enter: none.", options, NONE, "A test takes a minute or more.")
    return Question("name", "Which one shall be tested?", options, artifacts[0].name, "It is the newest.")
