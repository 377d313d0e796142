"""A decision from a sentence that stands for itself: by its rule, or by its values where no rule names an intent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lqmf.records import Decision
from lqmf.understanding.fitting import IN_GENERAL, without_replaced
from lqmf.understanding.intents import topic
from lqmf.understanding.lexicon import INTENT_SLOTS, ON_ARTIFACTS, PROVIDER, REQUESTS, TYPE, is_value, uncaptured
from lqmf.understanding.models import MARK, unmark
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.references import argument, references
from lqmf.understanding.rules import IT_WORD
from lqmf.understanding.sentence import Sentence
from lqmf.understanding.settings_words import setting
from lqmf.understanding.slots import Slots, revise, settled
from lqmf.understanding.state import Dialogue


def of_its_own(state: Dialogue, sentence: Sentence) -> Decision | None:
    """Return the decision that the sentence's own rule names (None without a rule); the meaning of "it" may come from
    the dialogue."""
    rule = sentence.rule
    if rule is None:
        return None
    intent, reason = rule.intent, f"{rule.name}{_evidence(sentence)}"
    if intent == "explain":
        return Decision("explain", {"topic": said_of(sentence)}, 0.9, reason)
    if intent == "config":
        return decided("config", setting(sentence), 0.9, reason)
    if intent in ("llm_switch", "llm_status"):
        return decided(intent, {"provider": provider(sentence.plain)}, 0.9, reason)
    if intent in ON_ARTIFACTS:
        return _on_artifact(state, sentence, intent, reason)
    if intent in REQUESTS:
        slots = _requested(state, sentence, intent)
        asks = intent == "preflight" and not sentence.front.startswith("preflight")
        if asks and state.request is None and "model" not in slots:  # "does this work with images?"
            return Decision("explain", {"topic": said_of(sentence)}, 0.7, reason)
        return decided(intent, slots, 0.9, reason)
    if intent == "list" and sentence.models:
        return decided(intent, {**sentence.said, "model": sentence.models[-1]}, 0.9, reason)
    return decided(intent, sentence.said, 0.9, reason)


def said_of(sentence: Sentence) -> str:
    """Return the subject of a question, in its own words."""
    return unmark(topic(sentence.plain), sentence.wording.entities)


def _requested(state: Dialogue, sentence: Sentence, intent: str) -> Slots:
    """Return the values of a request for a model, which may be named by "it"."""
    said = dict(sentence.said)
    if sentence.rule is IN_GENERAL:
        return _machine(state, sentence) | said
    if sentence.models:
        return {**said, "model": sentence.models[-1]}
    said |= _unfamiliar(sentence)
    if sentence.names and "model" not in said:
        said["name" if intent == "finetune" else "model"] = sentence.names[-1]
    if "model" in said or state.request is None or not IT_WORD.search(sentence.plain):
        return said
    if intent in ("finetune", "sweep"):
        return said | {key: value for key, value in state.request.slots.items() if key == "model"}
    return said if state.open else revise(without_replaced(state.request.slots, said, sentence.plain), said)


_SAME_MACHINE = Pattern(r"\b(?:that|the same|such an?) (?:card|gpu|machine|box|computer|laptop|pc|setup|amount)\b")


def _machine(state: Dialogue, sentence: Sentence) -> Slots:
    """Return the values said of the machine before, where a question about models in general points to it ("on that
    card")."""
    if state.request is None or not _SAME_MACHINE.search(sentence.plain):
        return {}
    return {key: value for key, value in state.request.slots.items() if key in ("device", "memory_gb", "ram_gb")}


def _on_artifact(state: Dialogue, sentence: Sentence, intent: str, reason: str) -> Decision:
    slots = {key: value for key, value in sentence.said.items() if key in INTENT_SLOTS[intent]}
    slots |= references(state, sentence, intent) or argument(sentence)
    return decided(intent, slots, 0.9, reason)


def _evidence(sentence: Sentence) -> str:
    flat = {**sentence.said, **sentence.said.get("parameters", {})}
    shown = [f"{key} {value}" for key, value in flat.items() if key != "parameters"][:4]
    return f"; reads {', '.join(shown)}" if shown else ""


_OBJECT = Pattern(
    r"^(?:requantize|quantize|quant|compress|shrink|squeeze|convert|plan|preflight|sweep|finetune"
    r"|train)(?: (?:the|my|model|this|for))* ([a-z][\w.-]*\w)(?=\s|$|[,;:?!])"
)


def _unfamiliar(sentence: Sentence) -> Slots:
    """Return the model named after a verb, when no vocabulary has its name ("quantize my-llama")."""
    found = _OBJECT.search(sentence.front)
    if found and (re.search(r"\d|-", found[1]) or found[1] in _FAMILY_WORDS) and not is_value(found[1]):
        typed = re.search(re.escape(found[1]), sentence.wording.text, re.IGNORECASE)
        return {"model": typed[0] if typed else found[1]}
    return {}


_FAMILY_WORDS = words("falcon bloom opt phi orca solar granite command hermes mpt yi glm")


def plain_values(intent: str, said: Mapping[str, Any]) -> Slots:
    return {key: value for key, value in said.items() if key in INTENT_SLOTS.get(intent, frozenset())}


def decided(intent: str, slots: Mapping[str, Any], confidence: float, reason: str) -> Decision:
    allowed = INTENT_SLOTS.get(intent, frozenset())
    kept = {key: value for key, value in settled(slots).items() if key in allowed and value is not None and value != []}
    return Decision(intent, kept, confidence, reason)


_LEFT = Pattern(
    r"\b(?:not|from|instead of|rather than|over|away from) (?:use |using |with )?"
    rf"(?:{uncaptured(PROVIDER)})(?: models?)?"
)


_FROM_IT = Pattern(r"<[mn]\d+> (?:\w+ )?from (?:my |the )?$")


def provider(plain: str) -> str | None:
    """Return the provider that a sentence chooses: the last that it does not turn away from; where its model comes from
    the only one ("use qwen3 from ollama as the llm") that one."""
    found = list(PROVIDER.finditer(_LEFT.sub(" ", plain)))
    found = found or [one for one in PROVIDER.finditer(plain) if _FROM_IT.search(plain[: one.start()])]
    return found[-1].lastgroup if found else None


# ---------------------------------------------------------------- no verb at all


def by_values(state: Dialogue, sentence: Sentence) -> Decision | None:
    """Return the decision that the values of a sentence tell where no rule names an intent: a model, or how to quantize
    it. None where they tell none."""
    said = plain_values("quantize", sentence.said)
    telling = {key for key in said if key in ("method", "bits", "type", "target_size_gb")}
    if sentence.models and (
        telling or said or _WANTED.search(sentence.plain) or MARK.fullmatch(sentence.front.strip(" .!,"))
    ):
        slots = {**said, "model": sentence.models[-1]}
        amounts = {"memory_gb", "ram_gb", "context", "parallel", "kv_type"} & said.keys()
        asks = not telling and bool(amounts) and "priority" not in said and not _ORDERED.search(sentence.plain)
        asks = asks or _EITHER.search(sentence.plain) is not None
        return decided("plan" if asks else "quantize", slots, 0.7, f"a model{_evidence(sentence)}")
    if ("method" in telling and {"bits", "type"} & telling) or (telling and _WANTED.search(sentence.plain)):
        return decided("quantize", said | _unfamiliar(sentence), 0.6, f"says how to quantize{_evidence(sentence)}")
    if telling and sentence.plain.endswith("?") and state.request is None and not _WANTED.search(sentence.plain):
        return Decision("explain", {"topic": said_of(sentence)}, 0.5, "asks of how to quantize")
    if telling and len(sentence.plain.split()) <= 6:
        return decided("quantize", said, 0.5, f"says how to quantize{_evidence(sentence)}")
    if said.keys() == {"priority"} and _MAKE_IT.match(sentence.front):
        return decided("quantize", said, 0.5, f"says how it should be{_evidence(sentence)}")
    if said.keys() & {"memory_gb", "ram_gb"} and state.request is None and not (sentence.models or sentence.names):
        return decided("plan", said, 0.5, f"says what the machine has{_evidence(sentence)}")
    if sentence.names and len(sentence.plain.split()) <= 2:
        return decided("show", {"name": sentence.names[-1]}, 0.5, "names an artifact")
    return None


_MAKE_IT = Pattern(r"(?:make|get|do|have|shrink|keep) (?:it|this|that|me)\b")
_KIND = rf"(?:q\d\w*|\d[ -]?bits?|{TYPE.pattern})"
_EITHER = Pattern(rf"{_KIND} (?:or|vs\.?|versus) {_KIND}(?![^.;]*\b(?:whatever|either)\b)")
_ORDERED = Pattern(
    r"\b(?:make|create|build|produce|generate|give|gimme|get|want|need(?! to know)|like|turn|prepare|convert|for"
    r"|please|as|into|bring|fetch|deliver|version|download|squash|crush|cram|use|must|should|has to)\b(?!.*\?\s*$)"
)
_WANTED = Pattern(
    r"\b(?:make|create|build|produce|generate|give|get|want|need|like|turn|prepare|do|have|into|put|run"
    r"|version|as|bring|fetch|deliver|cook|spit|use|model|download|load|grab)\b"
)
