"""A line as a change of what was said before: "the same but", "no, for cpu", "and the failed ones?", "add X".

Knows the last decision and the request. Knows nothing of answers to questions.
"""

from __future__ import annotations

import re
from dataclasses import replace

from lqmf.records import Decision
from lqmf.understanding.fitting import IN_GENERAL, is_of_the_plan, without_replaced
from lqmf.understanding.lexicon import INTENT_SLOTS, METHOD, ON_ARTIFACTS, PROVIDER, REQUESTS, SETTING, TYPE
from lqmf.understanding.models import unmark
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.references import by_description, name_slots, named, referred
from lqmf.understanding.requests import decided, plain_values, provider
from lqmf.understanding.rules import IT_WORD
from lqmf.understanding.sentence import Sentence
from lqmf.understanding.settings_words import value_of
from lqmf.understanding.slots import ANOTHER_GPU, revise, without_refused
from lqmf.understanding.state import Dialogue

_SAME = Pattern(
    r"\b(?:same|likewise|ditto|identical(?:ly)?|like that|that way|like (?:before|the last|this)|as (?:before"
    r"|above|last time|planned|discussed)|those settings|these settings|with these|that again|once more for"
    r"|equally|similarly|like so)\b"
)
_AGAIN = Pattern(
    r"^(?:now )?(?:again|once more|one more time|repeat(?: (?:that|it))?|redo(?: (?:that|it))?|another (?:one"
    r"|time)|same again|same thing again|repeat the last (?:one|thing|command))[\s.!?]*$"
)
_JOINS = Pattern(
    r"^(?:and|also|now|but|or|then|plus|ok(?:ay)?|what about|how about|what if|how does that change"
    r"|instead|actually|no|not|nope|sorry|hmm+|rather|make (?:it|that)|use|with|without|for|in|on|at|as|to"
    r"|using|via|only|just|keep|change|set|switch|add"
    r"|better|let us|i mean(?:t)?|wait|try|go (?:with|for)|take"
    r"|it (?:is|should|must|has|needs?)"
    r"|the (?:file|result|model|output|context|other|machine|device|target)"
    r"|should|must|has to|same|please|that|this|give it|put it|save|store"
    r"|calibrate|limit|cap|prefer|oh|oops|while|if|when|allow|never|do not"
    r"|scratch|from|under|at most|max|cpu|gpu|fall|within|well|so|yes|yeah"
    r"|ah|optimi[sz]e|prioriti[sz]e|maybe|perhaps|up to|target"
    r"|i (?:want|need|prefer|have|would|only)|my|\d|bits?|replace|swap|turn"
    r"|aim|run|have|include|compare|drop|forget|remove)(?![\w-])"
)
_ELSE = Pattern(r"\b(?:another|different|something else|some other|new|other) (?:model|one|thing)?\b")


def continuation(state: Dialogue, sentence: Sentence) -> Decision | None:
    """Return the line as a change of the last decision, where it names no intent of its own or says "the same"; else
    None."""
    last = state.last
    if last is None or sentence.rule is IN_GENERAL:
        return None
    front = sentence.plain
    intent = sentence.rule.intent if sentence.rule else None
    if _AGAIN.match(front) and not sentence.models:
        base = last if last.intent not in ("explain", "unknown", "cancel") else state.request
        return replace(base, confidence=0.9, reason="the same again") if base else None
    for reader in (_more_names, _other_value, _other_provider, _other_status, _other_topic, _same_for):
        decision = reader(state, sentence, intent)
        if decision:
            return decision
    return _revision(state, sentence, intent)


_ADDS = Pattern(r"\b(?:add|also|include|too|as well|plus|append|extend|join|throw in|additionally|and)\b")
_ADDS_TO_IT = Pattern(r"\b(?:comparison|compare|add|include|throw)\b")
_TAKES_OUT = Pattern(r"\b(?:remove|drop|leave out|without|exclude|take out)\b")
_COMPARES_ANEW = Pattern(r"\bcompare (?:<|it)")


def _more_names(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    """Another name for the last question about artifacts, or for the comparison."""
    last = state.last
    if last is None or last.intent not in ON_ARTIFACTS:
        return None
    if last.intent == "compare":
        return _other_comparison(state, last, sentence, intent)
    if intent is not None:
        return None
    spoken = named(sentence)
    if spoken:
        reason = f"the same question ('{last.intent}') of another one"
        return decided(last.intent, name_slots(last.intent, spoken, ()), 0.8, reason)
    chosen = by_description(state, sentence)
    if (
        chosen
        and re.search(r"\b(?:one|version)\b", sentence.plain)
        and sentence.said.keys() <= {"bits", "method", "type"}
    ):
        return decided(last.intent, {"name": chosen}, 0.7, "picks one of those named")
    return None


def _other_comparison(state: Dialogue, last: Decision, sentence: Sentence, intent: str | None) -> Decision | None:
    """One more for the comparison, one less, or another one to compare with."""
    plain, spoken = sentence.plain, named(sentence)
    if intent not in (None, "compare", "delete", "list", "show", "quantize") or not (spoken or IT_WORD.search(plain)):
        return None
    old = tuple(last.slots.get("names", ()) or filter(None, [last.slots.get("name")]))
    adds = _ADDS.search(plain) and (intent is None or _ADDS_TO_IT.search(plain))
    if adds and not _COMPARES_ANEW.search(plain):
        together = dict.fromkeys(old + (spoken or referred(state, sentence)))
        return decided("compare", {"names": list(together)}, 0.9, "added to the comparison")
    if spoken and _TAKES_OUT.search(plain):
        return decided("compare", {"names": [name for name in old if name not in spoken]}, 0.9, "one less to compare")
    if intent is None and len(spoken) == 1 and len(old) == 2:
        return decided("compare", {"names": [old[0], spoken[0]]}, 0.7, "compares with another one")
    return None


def _other_value(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if last is None or last.intent != "config" or intent not in (None, "config", "llm_switch"):
        return None
    if SETTING.search(sentence.plain):
        return None
    if _ASKS_VALUE.match(sentence.plain):
        return decided("config", {"key": last.slots.get("key")}, 0.8, "asks for the last setting")
    value = value_of(sentence)
    if value is None:
        return None
    return decided("config", {"key": last.slots.get("key"), "value": value}, 0.8, "a value for the last setting")


_ASKS_VALUE = Pattern(
    r"^(?:and |so |now |ok )*(?:what|which|show|tell|get|read|is|how)\b.{0,20}\b(?:it|value|now"
    r"|that)\b(?: \w+){0,4}[?.! ]*$"
)


_ASKS_PROVIDER = Pattern(
    r"(?:and )?(?:which (?:one )?(?:is|are|do|does)|is it|does it|are you)(?: \w+)? (?:active|used|using|use"
    r"|current|working|work"
    r"|connected|reachable|on|set|selected|available)(?: now)?[\s?]*$"
)


def _other_provider(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if last is not None and last.intent in ("llm_switch", "llm_status") and _ASKS_PROVIDER.match(sentence.front):
        return decided("llm_status", {}, 0.8, "asks about the provider")
    found = PROVIDER.search(without_refused(sentence.plain))
    if (
        last is None
        or last.intent not in ("llm_switch", "llm_status")
        or not found
        or intent not in (None, "llm_switch", "llm_status")
    ):
        return None
    if sentence.models:
        return None
    chosen = (
        "llm_status" if intent == "llm_status" or (intent is None and last.intent == "llm_status") else "llm_switch"
    )
    return decided(chosen, {"provider": provider(sentence.plain)}, 0.8, "another provider")


def _other_status(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    asks = intent == "explain" and len(sentence.plain.split()) < 5
    if last is None or last.intent != "list" or not (asks or intent in (None, "list")):
        return None
    if sentence.models or sentence.names:
        return None
    fragment = (
        asks
        or intent is None
        or re.search(r"\b(?:ones?|only|just|of (?:them|these|those))\b|^(?:and|now)\b", sentence.plain)
    )
    said = {key: value for key, value in sentence.said.items() if key in INTENT_SLOTS["list"]}
    if re.match(
        r"^(?:and |now |ok |then )*(?:all(?: of them)?|everything|the rest|all again)[\s?.!]*$", sentence.plain
    ):
        return decided("list", {}, 0.8, "the whole list")
    if not fragment or not said:
        return None
    return decided("list", revise(last.slots, said), 0.8, "narrows the last list")


def _other_topic(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if (
        last is None
        or last.intent != "explain"
        or intent not in (None, "explain", "quantize", "llm_switch")
        or sentence.models
    ):
        return None
    found = re.match(
        r"^(?:ok(?:ay)?,? |thanks,? |i see,? )*(?:and|what about|how about|and what about|and what is"
        r"|or)(?: is)? (?:an? |the )?(.{2,60}?)[\s?!.]*$",
        sentence.plain,
    )
    if not found or re.match(r"^(?:in|for|with|on|at|to|as|via|using|now|then)\b", found[1]):
        return None
    if state.request and state.open and not _is_term(found[1]):
        return None
    return decided("explain", {"topic": unmark(found[1], sentence.wording.entities)}, 0.7, "another topic")


def _is_term(words: str) -> bool:
    return METHOD.fullmatch(words) is not None or TYPE.fullmatch(words) is not None or not re.search(r"\d|<", words)


def _same_for(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    """ "do the same for X": the last decision with something else in its place."""
    last = state.last
    if last is None or not _SAME.search(sentence.plain) or intent in ("compare",):
        return None
    if last.intent in ON_ARTIFACTS and intent in (None, last.intent) and (spoken := named(sentence)):
        return decided(last.intent, name_slots(last.intent, spoken, ()), 0.9, "the same for another one")
    if last.intent in ON_ARTIFACTS and intent is None and not (sentence.said or sentence.models):
        return replace(last, confidence=0.7, reason="the same again")
    base = last if last.intent in REQUESTS else state.request
    if base is None or (intent is not None and intent not in REQUESTS):
        return None
    return _merged(state, base, intent or base.intent, sentence, "the same, changed")


def _revision(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    """A fragment that changes the request: "no, for cpu", "with 8k context", "and gemma 2b?"."""
    request = state.request
    if request is None or not state.open:
        return None
    last_is_request = state.last is not None and state.last.intent in REQUESTS
    if (
        intent is not None
        and not (intent in REQUESTS and _leans_on(state, sentence, intent))
        and not _reads_as_fragment(sentence, intent, last_is_request)
    ):
        return None
    if intent not in REQUESTS or _asks_for_more(request, sentence):
        intent = None
    said = {
        key: value
        for key, value in sentence.said.items()
        if key in INTENT_SLOTS[request.intent] | INTENT_SLOTS["quantize"]
    }
    if not said and not sentence.models and not _drops(sentence) and intent is None:
        return _bare_number(state, sentence) or _asked_again(request, sentence, last_is_request)
    if intent is None and not _belongs(state, sentence, last_is_request):
        return None
    if intent is None and request.intent in ("plan", "preflight") and _STARTS_NOW.search(sentence.plain):
        intent = "quantize"
    return _merged(
        state,
        request,
        intent or request.intent,
        sentence,
        "changes the request" if intent is None else f"'{intent}' of the same model",
    )


def _reads_as_fragment(sentence: Sentence, intent: str, last_is_request: bool) -> bool:
    """Words like "make it smaller" name an intent, but here they change the request."""
    if intent == "explain" and last_is_request and _ON_CONDITION.match(sentence.plain):
        return True
    if intent == "explain":
        asks_on = _ASKS_ON if last_is_request else _ASKS_ON_WITH
        told = bool(sentence.said or sentence.models)
        return told and (
            any(asks_on.match(text) for text in (sentence.plain, sentence.front))
            or (
                last_is_request
                and (is_of_the_plan(sentence.plain) or is_of_the_plan(sentence.front) or _counts(sentence))
            )
        )
    if not last_is_request:
        return False
    if intent in ("test", "show", "chat", "benchmark"):
        changing = {"priority"} | (
            {"context", "kv_type", "parallel", "memory_gb", "ram_gb"} if intent == "show" else set()
        )
        return bool(sentence.said) and sentence.said.keys() <= changing and not named(sentence)
    if intent == "delete":
        return bool(_drops(sentence)) and not named(sentence)
    if intent == "config" and sentence.said.keys() == {"cpu_fallback"} and not _SETS.match(sentence.plain):
        return True
    if intent == "config":
        return (
            bool(re.match(r"^(?:set|change|enable|disable|turn|make|allow)\b", sentence.front))
            and bool(sentence.said)
            and "_" not in sentence.plain
        )
    return False


# "And if part of it stays in RAM?" asks for the plan again, whatever terms it names.
_ON_CONDITION = Pattern(
    r"^(?:(?:ok|okay|hmm+|so|but|and|then|now|well|fine)[ ,]+)*(?:(?:what )?if|when|suppose|assuming|say|provided)"
    r" (?!i (?:want|need) to know)(?!.*\b(?:what|why|which|how) (?:is|are|does|do|would)\b)"
)


_WHAT_THEN = Pattern(
    r"^(?:(?:ok|okay|hmm+|so|but|and|then|now|well)[ ,]+)*(?:what|which (?:one|type|quant))"
    r" (?:then |else )?(?:would|does|will|do|can|could) (?:then |still |i )?(?:fit|run|work|go|use|take|do)\b"
)


def _asked_again(request: Decision, sentence: Sentence, last_is_request: bool) -> Decision | None:
    """Return the plan again: on a condition that fills no slot, or with type and bits left open; else None."""
    if last_is_request and request.intent == "plan" and _ON_CONDITION.match(sentence.plain):
        return replace(request, reason="asked on a condition")
    if request.intent in ("plan", "quantize") and _WHAT_THEN.match(sentence.plain):
        open_again = {name: value for name, value in request.slots.items() if name not in ("type", "bits")}
        return decided("plan", open_again, 0.8, "asks what would do")
    return None


def _asks_for_more(request: Decision, sentence: Sentence) -> bool:
    """ "Can we squeeze in 3 users?" asks more of the plan; it does not start it."""
    running = {"context", "kv_type", "parallel", "memory_gb", "ram_gb", "device"}
    asks = re.match(r"(?:and |so |but |ok )*(?:can|could|would|will|may|might|should) (?!you\b)", sentence.plain)
    return request.intent == "plan" and asks is not None and bool(sentence.said) and sentence.said.keys() <= running


def _counts(sentence: Sentence) -> bool:
    """Return whether a question names amounts ("could the context be 8192?"): these are of the plan, not of a term's
    meaning."""
    amounts = bool(sentence.said.keys() & {"context", "memory_gb", "ram_gb", "parallel"})
    return amounts and not re.match(r"(?:why|explain|what (?:is|are|does)|how (?:does|do))\b", sentence.front)


_SETS = Pattern(r".*_|(?:config|set|show|get|what|change|is)\b")
_STARTS_NOW = Pattern(
    r"\b(?:do it|do that|go ahead|go for it|start|proceed|build (?:it|that|one|me)|run it"
    r"|(?<!\bi )(?<!\bwe )(?:make|create|produce|build|give|get)(?: me| us)? (?:a|an|one|the|another|two)\b"
    r"(?! (?:kv|k|v|cache|keys?|values?|context)\b))"
)
_ASKS_ON = Pattern(
    r"^(?:[^,;<]{3,30}[,;] )?(?:(?:ok|okay|hmm|so|but|and|then|now),? )*(?:what about|how about|what if|and|in|at"
    r"|with|for|on"
    r"|(?:(?:can|could|would|will) (?:you|we|i)|let us) (?:do|use|make|go|try|take|have|get))\b"
)
_ASKS_ON_WITH = Pattern(
    r"^(?:(?:ok|okay|hmm|so|but|and|then|now),? )*(?:(?:what about|how about|what if|and) )?(?:in|at|with"
    r"|for|on|using|to|as|via)\b"
)


def _leans_on(state: Dialogue, sentence: Sentence, intent: str) -> bool:
    """Return whether a sentence with an intent of its own speaks of the same model."""
    if sentence.models:
        return bool(re.search(r"\b(?:too|as well|likewise|that way)\b", sentence.plain)) and intent == (
            state.request.intent if state.request else ""
        )
    if _ELSE.search(sentence.plain) and not IT_WORD.search(sentence.plain):
        return False
    if IT_WORD.search(sentence.plain) or _SAME.search(sentence.plain):
        return True
    if re.search(r"\b(?:something|some model|a model|any model|models)\b", sentence.plain):
        return False
    return state.last is not None and state.last.intent in REQUESTS


def _belongs(state: Dialogue, sentence: Sentence, last_is_request: bool) -> bool:
    request = state.request
    assert request is not None
    joins = _JOINS.match(sentence.plain) is not None or IT_WORD.search(sentence.plain) is not None
    if not sentence.models:
        return True
    if "model" not in request.slots:
        return last_is_request or joins
    if joins or sentence.models[-1] == request.slots["model"]:
        return True
    return last_is_request and not sentence.said


def _bare_number(state: Dialogue, sentence: Sentence) -> Decision | None:
    found = re.fullmatch(
        r"(?:(?:just|only|hmm+|no|rather|better|actually|sorry|wait|oh|well|please|go for|go with|use|take|make it"
        r"|ok|okay|maybe|then|let us|say|take|try|and|or|what about"
        r"|how about|at|in|on|with|to|suppose|assume|if|it is|it was|that is|i have|i had),? )*"
        r"(\d{1,3})(?: please| then| bits?)?[.!? ]*",
        sentence.plain,
    )
    request = state.request
    if not found or request is None or state.last is not request or request.intent not in ("quantize", "plan"):
        return None
    number = int(found[1])
    if "memory_gb" in request.slots and (number > 8 or re.search(r"\bon \d", sentence.plain)):
        return decided(request.intent, {**request.slots, "memory_gb": number}, 0.7, "a number of gigabytes")
    if not 2 <= number <= 8:
        return None
    said = {"bits": number}
    slots = revise(without_replaced(request.slots, said, sentence.plain), said)
    return decided(request.intent, slots, 0.7, "a number of bits")


def _merged(state: Dialogue, base: Decision, intent: str, sentence: Sentence, reason: str) -> Decision:
    known = {**state.background, **base.slots} if intent != "preflight" else base.slots
    old = {key: value for key, value in known.items() if key not in _drops(sentence)}
    if intent == "preflight" and base.intent != "preflight":
        old = {"model": old["model"]} if "model" in old else {}
    said = dict(sentence.said)
    if sentence.models:
        said["model"] = sentence.models[-1]
    said.pop("status", None)
    return decided(intent, revise(without_replaced(old, said, sentence.plain), plain_values(intent, said)), 0.9, reason)


_SLOT_OF = {
    **dict.fromkeys(("memory", "ram", "vram"), "memory_gb"),
    **dict.fromkeys(("size", "target"), "target_size_gb"),
    **{slot: slot for slot in ("context", "type", "calibration", "device", "priority")},
}
_DROPPED = Pattern(
    r"\b(?:forget|drop|remove|skip|ignore|without|never ?mind|no|lift|leave out|omit|lose|any) (?:about "
    r"|the |a |any |that |my )*(?:(?:memory|ram|vram|context|file|size|target|speed|bits?|type|calibration"
    r"|device|priority|fallback|cpu)[ -]?)*(?:limits?|restrictions?|constraints?|memory|context|size"
    r"|target|type|calibration|priority|device|fallback|requirement)\b"
)


def _drops(sentence: Sentence) -> frozenset[str]:
    """Return the slots that a sentence takes back ("forget the memory limit"), or that end with their owner (a card's
    memory)."""
    if "memory_gb" not in sentence.said and ANOTHER_GPU.search(sentence.plain):
        return frozenset({"memory_gb"})
    found = _DROPPED.search(sentence.plain)
    if not found:
        return frozenset()
    return frozenset(slot for word, slot in _SLOT_OF.items() if re.search(rf"\b{word}\b", found[0]))
