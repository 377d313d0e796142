"""What a job proposes is one line to type in a shell, and a yes in the chat; no line is waited for. The whole way is a
transcript: examples/first-steps.txt."""

from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console

from lqmf.agents.enhanced_decision_agent import EnhancedDecisionAgent
from lqmf.cli import tree
from lqmf.cli.next_step import closed
from lqmf.cli.outcome import Outcome
from lqmf.operations import next_step
from lqmf.records import Decision, Feedback, ModelRef, Proposal, QuantizationPlan, Run, Utterance
from lqmf.understanding.proposals import DECLINED, next_request, request_of

SAID = {
    "model": "org/name@main", "method": "gguf", "type": "Q4_K_M", "bits": 4, "device": "gpu", "memory_gb": 8,
    "ram_gb": 31.5, "context": 16384, "kv_type": "q8_0/q4_0", "parallel": 2, "target_size_gb": 4.2,
    "priority": "quality", "imatrix": False, "calibration": "/a b/text.txt", "keep": ["output=Q8_0"],
    "discard_source": True, "gate": True,
    "adapter": "/a/lora", "cpu_fallback": True, "keep_16bit": False, "test": "comprehensive",
    "parameters": {"group_size": "64"}, "purpose": "finetune",
}  # fmt: skip
PROPOSAL = Proposal("Q5_K_M would halve the loss for 0.7 GB more", next_request(SAID, {"type": "Q5_K_M", "bits": None}))


def test_a_proposal_as_a_command_means_what_a_yes_means() -> None:
    words = shlex.split(next_step.command(PROPOSAL.decision))
    assert tree.read(words).decision.slots == PROPOSAL.decision.slots


def test_a_request_keeps_what_was_said_and_changes_what_is_proposed() -> None:
    decision = next_request(
        {"model": "demo", "type": "Q4_K_M", "bits": 4, "fit": "anyway", "start": True}, {"bits": None}
    )
    assert decision == Decision("quantize", {"model": "demo", "type": "Q4_K_M"}, 1.0, "a yes to what was proposed")


def test_a_plan_gives_back_the_request_that_it_was_made_from() -> None:
    plan = QuantizationPlan(
        "p", ModelRef("hub", "org/m", "v1"), "c", "gguf", 4, "Q4_K_M", "gguf", "cpu", context=4096,
        memory_bytes=8 << 30, run=Run(4096),
    )  # fmt: skip
    words = shlex.split(next_step.command(next_request(request_of(plan), {"type": "Q5_K_M", "bits": None})))
    assert words == [
        *("quantize", "org/m@v1", "--method", "gguf", "--type", "Q5_K_M"),
        *("--device", "cpu", "--memory", "8GB", "--context", "4096"),
    ]


def shown(outcome: Outcome) -> str:
    console = Console(file=io.StringIO(), width=1000)
    console.print(outcome.view)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_chat_asks_and_the_shell_gets_a_line_to_type() -> None:
    outcome = Outcome({}, "made", 0, PROPOSAL)
    asked = shown(closed(outcome, talking=True))
    assert asked.startswith("made")
    assert "? Q5_K_M would halve the loss for 0.7 GB more: try it? (yes or no)" in asked
    assert "`lqmf quantize org/name@main --method gguf --type Q5_K_M" in shown(closed(outcome, talking=False))
    assert closed(Outcome({}, "made"), talking=True).view == "made"


def test_the_document_has_the_sentences_and_the_proposal_or_null() -> None:
    told = next_step.document(Feedback(("It is small.",), PROPOSAL))
    assert told["sentences"] == ["It is small."]
    assert told["proposal"]["slots"] == PROPOSAL.decision.slots
    assert told["proposal"]["command"].startswith("lqmf quantize org/name@main ")
    assert next_step.document(Feedback()) == {"sentences": [], "proposal": None}


# ---------------------------------------------------------------- yes, no, and anything else


def answered(*lines: str) -> list[Decision]:
    """The decisions for lines after a job that proposed something."""
    agent = EnhancedDecisionAgent()
    agent.decide(Utterance("quantize demo to Q4_K_M"))
    agent.note_artifact("demo_gguf_4bit_Q4_K_M")
    agent.note_proposed(PROPOSAL.decision)
    return [agent.decide(Utterance(line)) for line in lines]


@pytest.mark.parametrize(
    "line", ["yes", "Yes!", "ok", "sure", "yes please", "do it", "try it", "yes, try it", "let's try it"]
)
def test_a_yes_means_what_was_proposed_once(line: str) -> None:
    first, second = answered(line, "xyzzy")
    assert (first.intent, first.slots) == ("quantize", PROPOSAL.decision.slots)
    assert second.intent != "quantize"


@pytest.mark.parametrize("line", ["no", "nope", "no thanks", "never mind", "forget it"])
def test_a_no_drops_it(line: str) -> None:
    assert answered(line)[0] == DECLINED


@pytest.mark.parametrize(
    ("line", "intent"),
    [("test it", "test"), ("stats", "stats"), ("thanks", "help"), ("great", "help"), ("no, for gpu", "quantize")],
)
def test_any_other_line_is_read_as_ever_and_closes_it(line: str, intent: str) -> None:
    first, second = answered(line, "yes")
    assert first.slots != PROPOSAL.decision.slots
    assert first.intent == intent or intent == "help"
    assert second.slots != PROPOSAL.decision.slots
