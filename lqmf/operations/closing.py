"""What is said when a job or a test is done, and what may be made next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lqmf.artifacts import shelf
from lqmf.records import Artifact, Feedback, Proposal, QuantizationPlan, from_json
from lqmf.understanding.proposals import next_request, request_of

if TYPE_CHECKING:
    from lqmf.app import App


def closing(app: App, artifact: Artifact, said: Mapping[str, Any] | None = None) -> Feedback:
    """Return what came of an artifact's job or test, and what may be made next: a yes to it is the request `said`
    (None: that of its plan), changed. Nothing for a file of unknown origin."""
    manifest = shelf.manifest_of(artifact)
    if manifest is None:
        return Feedback()
    plan = from_json(QuantizationPlan, manifest.plan)
    told = app.feedback.closing(artifact, plan, app.history(), app.shelf.artifacts())
    sentences = (*([f"{plan.misfit}."] if plan.misfit else []), *told.sentences)
    if told.step is None:
        return Feedback(sentences)
    known = app.planning.parameters(plan.method)
    decision = next_request(request_of(plan, known) if said is None else said, told.step.slots, known)
    return Feedback(sentences, Proposal(told.step.text, decision))
