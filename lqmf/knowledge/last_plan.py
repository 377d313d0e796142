"""What the last plan of a chat says to a question: the choices that the question names, each with its reason.

Knows a plan's record and words. Plans nothing and knows no dialogue.
"""

from __future__ import annotations

from lqmf.knowledge.finding import shared_terms
from lqmf.knowledge.passages import Passage
from lqmf.records import Estimate, QuantizationPlan
from lqmf.units import duration, file_size

WHOLE = frozenset({"plan", "quantize", "preflight", "decision"})  # what a bare "why?" asks about


def of_plan(question: str, plan: QuantizationPlan) -> Passage | None:
    """Return the choices and costs of `plan` that `question` names, as a passage; every choice where it asks for the
    plan as a whole, None where it names none."""
    said = [
        (f"{one.name.replace('_', ' ')} {one.value}", f"{one.name.replace('_', ' ')} {one.value}: {one.reason}")
        for one in plan.choices
        if one.reason
    ]
    costs = _costs(plan.estimate) if plan.estimate else []
    whole = question.strip().lower() in WHOLE
    lines = [line for words, line in (*said, *costs) if whole or shared_terms(question, words)]
    if not lines:
        return None
    model = next((one.value for one in plan.choices if one.name == "model"), plan.id)
    return Passage("last-plan", f"The last plan, for {model}", ("last plan",), "\n".join(lines), ("that plan",))


def _costs(estimate: Estimate) -> list[tuple[str, str]]:
    """Return (words that ask for it, what the plan says) of each cost."""
    took = "not known before this machine has made one" if estimate.seconds is None else duration(estimate.seconds)
    return [
        ("result file size", f"result: {file_size(estimate.size_bytes)}"),
        ("disk", f"on the way: {file_size(estimate.disk_peak_bytes)} of disk"),
        ("download", f"download: {file_size(estimate.download_bytes) if estimate.download_bytes else 'nothing'}"),
        ("minutes hours", f"time: {took}"),
    ]
