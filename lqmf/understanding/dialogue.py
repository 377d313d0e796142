"""A dialogue: the meaning of the next line, given the lines before.

`step` is pure: a state and a line in, a new state and a decision out. Knows no files, no clocks, and only the artifacts
that were named or reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from lqmf.fit import cards
from lqmf.records import Decision, Question
from lqmf.understanding import answers
from lqmf.understanding.assent import NO, YES
from lqmf.understanding.changes import continuation
from lqmf.understanding.fitting import size_billions
from lqmf.understanding.lexicon import ON_ARTIFACTS, REQUESTS
from lqmf.understanding.mood import ACTS, ASKED, DENIED, mood
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.proposals import DECLINED
from lqmf.understanding.requests import by_values, decided, of_its_own, said_of
from lqmf.understanding.rules import DOMAIN, ENDS_A_JOB
from lqmf.understanding.sentence import Sentence, understand
from lqmf.understanding.slots import contradictions
from lqmf.understanding.state import Dialogue

__all__ = ["Dialogue", "parse_dialogue", "step", "with_artifact", "with_decision"]


def step(state: Dialogue, line: str) -> tuple[Dialogue, Decision]:
    """Return the state after the next line of a dialogue, and the decision for that line."""
    sentence = understand(line, of_models=state.open and state.last is not None and state.last.intent in REQUESTS)
    decision = (
        _to_proposal(state, sentence, line)
        or _assent(state, sentence)
        or continuation(state, sentence)
        or of_its_own(state, sentence)
        or by_values(state, sentence)
        or _question(sentence)
        or Decision("unknown", {}, 0.0, "no rule reads this")
    )
    decision = _no_act(state, sentence, decision)
    found = contradictions(decision.slots) if decision.intent in REQUESTS else ()
    decision = _in_passing(state, sentence, replace(decision, conflicts=found))
    return _after(state, decision), decision


def _in_passing(state: Dialogue, sentence: Sentence, decision: Decision) -> Decision:
    """Return the decision with the card and the size of model that the line names; those of the request before where
    the line keeps its device, or names no model either."""
    if decision.intent not in REQUESTS:
        return decision
    before, slots = state.request, decision.slots
    goes_on = before is not None and state.open and sentence.rule is None
    card = cards.find(sentence.plain)
    name = card.name if card else before.card if before and "device" not in sentence.said else None
    size = size_billions(sentence.plain) or (before.size_billions if before and goes_on else None)
    return replace(
        decision,
        card=name if slots.get("device") == "gpu" and "memory_gb" not in slots else None,
        size_billions=None if slots.get("model") else size,
    )


def _no_act(state: Dialogue, sentence: Sentence, decision: Decision) -> Decision:
    """Return the decision; where it would act on something that was only asked about or refused, return one that
    changes nothing."""
    if decision.intent not in ACTS or (decision.intent == "config" and "value" not in decision.slots):
        return decision
    if sentence.said == {"test": "none"} and state.artifact_is_it:  # what is made already is not made again
        return Decision("cancel", {}, 0.8, REFUSED)
    meant = mood(sentence.plain)
    if meant == "order" or (meant == "wondered" and decision.intent not in REQUESTS):
        return decision
    if meant == "denied":
        answers_last = state.last is not None and state.last.intent in REQUESTS | ON_ARTIFACTS
        no = answers_last or NO.match(sentence.plain)
        return Decision("cancel", {}, 0.8, REFUSED) if no else Decision("unknown", {}, 0.2, DENIED)
    if decision.intent in REQUESTS and "model" in decision.slots:
        return decided("plan", decision.slots, 0.8, ASKED + decision.intent)
    return Decision("explain", {"topic": said_of(sentence)}, 0.8, ASKED + decision.intent)


def _question(sentence: Sentence) -> Decision | None:
    """Return the decision for a question that no rule reads, but which speaks of the things that LQMF deals with; else
    None."""
    known = DOMAIN.search(sentence.plain) or sentence.said.keys() & {"bits", "type", "method"}
    if not known or mood(sentence.plain) not in ("asked", "wondered"):
        return None
    return Decision("explain", {"topic": said_of(sentence)}, 0.5, "a question of what is dealt with here")


def parse_dialogue(lines: Iterable[str]) -> list[Decision]:
    """Return the decisions for the lines of one dialogue, in order."""
    state, decisions = Dialogue(), []
    for line in lines:
        state, decision = step(state, line)
        decisions.append(decision)
    return decisions


def _after(state: Dialogue, decision: Decision) -> Dialogue:
    intent, slots = decision.intent, decision.slots
    state = replace(state, proposed=None)
    if intent == "unknown":
        return state
    if intent == "cancel":
        return replace(state, last=decision, open=False)
    new_names = [name for name in (slots.get("name"), *slots.get("names", ())) if name]
    names = tuple(name for name in state.names if name not in new_names) + tuple(new_names)
    if intent in REQUESTS:
        background = _background(state, decision)
        return replace(
            state, request=decision, last=decision, open=True, artifact_is_it=False, names=names, background=background
        )
    on_artifact = bool(new_names) or (state.artifact_is_it and intent not in ("cancel",))
    return replace(state, last=decision, names=names, artifact_is_it=on_artifact)


def _background(state: Dialogue, decision: Decision) -> Mapping[str, Any]:
    request = state.request
    if decision.intent != "preflight" or request is None or request.slots.get("model") != decision.slots.get("model"):
        return {}
    return {**state.background, **request.slots, **decision.slots}


def with_decision(state: Dialogue, decision: Decision) -> Dialogue:
    """Return the state after a line that no rule read turned out to mean `decision`."""
    return _after(state, decision)


def with_artifact(state: Dialogue, name: str) -> Dialogue:
    """Return the state after a job reported its artifact: "it" means this artifact now."""
    names = (*(known for known in state.names if known != name), name)
    return replace(state, names=names, artifact_is_it=True)


# ---------------------------------------------------------------- answers, yes and no

_START = Pattern(
    r"\b(?:go ahead|go for it|do it|do that|proceed|start|run (?:it|that)|let us (?:go|do it|start|begin)"
    r"|make it so|build it|launch|execute|begin|kick it off|get going|get started|ship it|let it run"
    r"|off you go|hit it)\b|^go[\s.!]*$"
)
_CLAUSE = Pattern(r"(?<![,.;:!])[,.;:!]++ +(?=\S)")
_WHY = Pattern(
    r"^(?:but |and |ok |so )?(?:why(?: (?:is )?(?:that|this|so|not|do you (?:ask|say so|think so|suggest that"
    r"|recommend that|need (?:that|to know|this))|exactly|though|would you|did you (?:choose|pick|suggest"
    r"|say) (?:that|this|it)|that one|this one|should i))?|how come|what for|for what reason"
    r"|what is the reason|how so|says who|why is that so|what makes you (?:say|think) (?:so|that))[\s?!.]*$"
)


_TRY = Pattern(
    r"^(?:(?:yes|yeah|yep|ok|okay|sure|please|go on|let us|let's)[ ,.!]+)*try (?:it|that)(?: please)?[.! ]*$"
)
_REMARK = Pattern(
    r"^(?:(?:good|great|perfect|very|thanks|thank you|indeed|ok|okay|k|and|then|now|it|for me|just|please|let us)"
    r"(?:[\s,.!]+|$))+$"
)
_DELETES = Pattern(r"\b(?:delete|remove|erase)\b")
REFUSED = "a no to the last request"


def ends_a_job(decision: Decision) -> bool:
    """Return whether a decision to cancel speaks of a job that runs, and is no mere no."""
    return decision.intent == "cancel" and (decision.confidence == 1.0 or decision.reason.startswith(ENDS_A_JOB))


_PROPOSED = Question("proposed", "", kind="confirm")


def _to_proposal(state: Dialogue, sentence: Sentence, line: str) -> Decision | None:
    """Return the line as a yes or a no to the proposal of the last job, else None. A yes that also asks for something
    ("ok, delete it") is read as that request, and never as a yes to the request before."""
    if state.proposed is None:
        return None
    reply = answers.answer(_PROPOSED, line)
    if reply.kind == "value" and not reply.value:
        return DECLINED
    if _TRY.match(line.strip().lower()):
        return state.proposed
    if _asks(sentence, "cancel", "resume", "chat"):
        return None
    if reply.kind == "cancel":
        return DECLINED
    plainly = reply.kind == "value"
    if not plainly and not _agrees(sentence):
        return None
    if _DELETES.search(sentence.plain) or (not plainly and _REMARK.match(sentence.plain.strip())):
        return Decision("unknown", {}, 0.2, "neither a yes nor a no to what was proposed")
    return state.proposed


def _asks(sentence: Sentence, *but: str) -> bool:
    """Return whether the line has an intent of its own, other than those in `but`."""
    return sentence.rule is not None and sentence.rule.intent not in but


def _assent(state: Dialogue, sentence: Sentence) -> Decision | None:
    """Return the decision for a yes, a no or a why, said to the last decision; None for any other line."""
    front = sentence.plain.strip()
    if sentence.models or sentence.names or sentence.said:
        return None
    if _WHY.match(front):
        return _why(state)
    if state.last is None and sentence.rule and sentence.rule.intent == "resume":
        return None
    if _agrees(sentence):
        return _yes(state, front)
    if NO.match(front) and not (sentence.rule and sentence.rule.intent == "cancel"):
        if state.last is not None and state.last.intent in REQUESTS | ON_ARTIFACTS:
            return Decision("cancel", {}, 0.8, REFUSED)
        return Decision("unknown", {}, 0.2, "a no with nothing asked")
    return None


def _agrees(sentence: Sentence) -> bool:
    """Return whether the line is a yes, and nothing else."""
    front = sentence.plain.strip()
    if sentence.models or sentence.names or sentence.said or _WHY.match(front):
        return False
    told = _CLAUSE.split(sentence.front)[-1]
    yes = YES.match(front) or (YES.match(told) and (_START.search(front) or _START.search(told)))
    return bool(yes) and not _asks(sentence, "resume", "chat")


def _why(state: Dialogue) -> Decision:
    about = str(state.last.slots.get("topic", state.last.intent)) if state.last else "decision"
    return Decision("explain", {"topic": about}, 0.8, "asks for the reason")


def _yes(state: Dialogue, plain: str) -> Decision:
    last = state.last
    if last is None or last.intent in ("unknown", "cancel", "help", "exit"):
        return Decision("unknown", {}, 0.2, "a yes with nothing asked")
    if (
        last.intent not in REQUESTS
        and state.request
        and state.open
        and _START.search(plain)
        and last.intent == "explain"
    ):
        last = state.request
    if last.intent in ("plan", "preflight"):
        return decided("quantize", {**state.background, **last.slots}, 0.8, "a yes to the plan")
    return replace(last, confidence=0.9, reason=f"a yes to '{last.intent}'")
