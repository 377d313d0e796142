"""Checks a reading that a provider proposes: the rules decide what may stand, and the user's own words win. And turns
the proposal of a job into the request that a yes to it means.

Pure. Knows intents, slots and the words of the line; knows no provider. A value counts only where the line says it:
nobody's guess becomes the user's word. Before a reading changes something, the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lqmf.records import Decision, QuantizationPlan, Question, yes_or_no
from lqmf.understanding.lexicon import INTENT_SLOTS, METHOD, PROVIDER
from lqmf.understanding.sentence import understand
from lqmf.units import GIB

if TYPE_CHECKING:
    from lqmf.quantization.parameters import Parameter

LOW = 0.5  # confidence below which the rules leave a line open
PROPOSED = 0.6  # confidence of a reading that stood
# What may be proposed. Leaving, logging in, confirming and calling off are for the user's own words alone.
MEANINGS: Mapping[str, str] = {
    "quantize": "make a quantized model",
    "plan": "ask what it would be, how large, whether it fits, what is recommended",
    "preflight": "ask whether a model can be done at all: licence, architecture, disk",
    "test": "measure an artifact",
    "compare": "compare artifacts made before",
    "list": "see what was made",
    "show": "see all that is known of an artifact, a job or a model",
    "stats": "see success rates, times, space saved",
    "history": "see what was said and done",
    "verify": "check an artifact's files",
    "delete": "remove an artifact",
    "chat": "talk with a model that was made",
    "finetune": "train a model",
    "serve": "offer a model over an API",
    "llm_status": "ask who advises, or whether it can be reached",
    "llm_switch": "choose who advises",
    "config": "see or set a setting",
    "doctor": "check this machine and the set-up",
    "explain": "ask what something means or which is better in general",
    "help": "ask what can be done here",
    "resume": "go on with an interrupted job",
}
HARMLESS = frozenset(
    {"plan", "preflight", "list", "show", "stats", "history", "llm_status", "doctor", "explain", "help"}
)
_NUMBERS = ("bits", "memory_gb", "context")


def is_open(text: str, read: Decision) -> bool:
    """Return whether the rules could not tell what a line means, and the line has words enough to tell."""
    return read.confidence < LOW and read.intent == "unknown" and len(re.findall(r"[^\W\d_]{2,}", text)) >= 2


def checked(
    text: str, read: Decision, proposed: Mapping[str, Any], who: str
) -> tuple[Decision | None, tuple[str, ...]]:
    """Return the decision left of `proposed` ({"intent", slot: value}) beside `read`, the rules' reading of `text`
    (None where nothing is left), and a sentence for each value that was dropped. Values that the rules found in the
    line win over those proposed."""
    intent = str(proposed.get("intent"))
    if intent not in MEANINGS:
        return None, () if intent == "unknown" else (f"'{intent}' is nothing that may be proposed",)
    if read.intent not in ("unknown", intent):
        return None, (f"the rules read it as {read.intent}",)
    allowed = INTENT_SLOTS.get(intent, frozenset())
    said = {name: value for name, value in {**_by_rules(text), **read.slots}.items() if name in allowed}
    slots, dropped = dict(said), []
    for name, value in proposed.items():
        if name == "intent" or name in said:
            continue
        if name not in allowed or not _is_said(name, value, text):
            dropped.append(f"{name} {value}: the line does not say it")
        else:
            slots[name] = value
    if intent == "explain":
        slots.setdefault("topic", text.strip(" ?!."))
    return Decision(intent, slots, PROPOSED, f"read so by {who}"), tuple(dropped)


def _by_rules(text: str) -> dict[str, Any]:
    """Return the values that the rules find in a line, whatever it asks."""
    sentence = understand(text)
    named = {"model": sentence.models[-1:], "name": sentence.names[-1:]}
    return {**{slot: found[0] for slot, found in named.items() if found}, **sentence.said}


def _is_said(name: str, value: Any, text: str) -> bool:
    """Return whether the line says `value` itself."""
    low = text.lower()
    if name in _NUMBERS:
        number = float(value)
        said = [float(digits) * (1024 if unit else 1) for digits, unit in re.findall(r"(\d+(?:\.\d+)?)(k\b)?", low)]
        return number > 0 and any(number in (one, one * 1000 / 1024) for one in said)
    word = str(value).strip().lower()
    if not word:
        return False
    if name in ("method", "provider"):
        vocabulary = METHOD if name == "method" else PROVIDER
        return any(found.lastgroup == word for found in vocabulary.finditer(low))
    if name == "topic":
        return all(part in low for part in word.split())
    return re.search(rf"(?<![\w/.-]){re.escape(word)}(?![\w/-])", low) is not None


def confirmation(decision: Decision) -> Question | None:
    """Return the question to ask before a proposed reading is carried out; None for a reading that changes nothing."""
    if decision.intent in HARMLESS:
        return None
    values = ", ".join(f"{name} {value}" for name, value in decision.slots.items())
    return yes_or_no(
        "proposed",
        f"Did you mean: {MEANINGS[decision.intent]}{f' ({values})' if values else ''}?",
        f"No rule reads this line; it was {decision.reason}.",
    )


# ---------------------------------------------------------------- what a job proposes

ONCE = ("fit", "start")  # answers to questions of one job
ACCEPTED = "a yes to what was proposed"
DECLINED = Decision("cancel", {}, 0.9, "a no to what was proposed")


def next_request(
    said: Mapping[str, Any], changes: Mapping[str, Any], known: Mapping[str, Parameter] | None = None
) -> Decision:
    """Return the decision for the next job: `said`, the slots of a job that made an artifact, with the proposed
    changes; None takes a slot back. Of the method's parameters, `known`, those stay that the proposed type has."""
    slots = {name: value for name, value in {**said, **changes}.items() if value is not None and name not in ONCE}
    if known and "parameters" in slots:
        type = slots.get("type") or f"{slots.get('bits')}bit"
        own = {name for name, one in known.items() if not one.types or type in one.types}
        slots["parameters"] = {name: value for name, value in slots["parameters"].items() if name in own}
    return Decision("quantize", {name: value for name, value in slots.items() if value != {}}, 1.0, ACCEPTED)


def _as_text(value: Any) -> str:
    """Return a parameter's value as `--set` takes it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def request_of(plan: QuantizationPlan, known: Mapping[str, Parameter] | None = None) -> dict[str, Any]:
    """Return the slots of the request that a plan was made from, as far as the plan knows it. Parameters that are
    empty, or that have the method's own default (`known`), are left out."""
    usual = {name: _as_text(one.default) for name, one in (known or {}).items()}
    settings = {name: _as_text(value) for name, value in plan.parameters.items()}
    model = plan.model
    source = model.path if model.kind == "local" else f"{model.id}@{model.revision}" if model.revision else model.id
    guided = next((one.value for one in plan.choices if one.name == "imatrix" and one.source == "user"), None)
    return {
        "model": source,
        "method": plan.method,
        "type": plan.type or None,
        "bits": None if plan.type else plan.bits,
        "device": plan.device,
        "context": plan.context,
        "memory_gb": round(plan.memory_bytes / GIB, 3) if plan.memory_bytes else None,
        "priority": plan.priority,
        "parallel": plan.run.parallel if plan.run and plan.run.parallel > 1 else None,
        "imatrix": guided,
        "calibration": plan.calibration,
        "adapter": plan.adapter,
        "parameters": {name: text for name, text in settings.items() if text not in ("", usual.get(name))} or None,
    }
