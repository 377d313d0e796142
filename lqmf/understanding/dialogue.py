"""A dialogue: what "it", "the same", "no, for cpu" and "yes" mean, given what was said before.

`step` is pure: a state and a line in, a new state and a decision out. Knows no files, no clocks, no artifacts but
those that were named or reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lqmf.records import Decision, Question
from lqmf.understanding import answers
from lqmf.understanding.intents import IT, Rule, classify, head, topic, without_denied
from lqmf.understanding.lexicon import (
    ALWAYS_BY_NAME,
    INTENT_SLOTS,
    METHOD,
    ON_ARTIFACTS,
    PROVIDER,
    REQUESTS,
    SETTING,
    SETTINGS,
    TYPE,
    type_name,
)
from lqmf.understanding.models import MARK, Entity, unmark
from lqmf.understanding.patterns import Pattern, words
from lqmf.understanding.slots import Slots, calibration, contradictions, extract, from_flags, revise, without_refused
from lqmf.understanding.wording import Wording, read


@dataclass(frozen=True)
class Dialogue:
    """What a dialogue has come to. `request` is the model's request that "the same" means; `names` are artifacts, the
    latest last; `artifact_is_it` says that "it" is the last of `names` rather than the request."""

    request: Decision | None = None
    last: Decision | None = None
    names: tuple[str, ...] = ()
    artifact_is_it: bool = False
    open: bool = False  # does a fragment ("with 8k context") still change the request?
    asked: Question | None = None
    background: Mapping[str, Any] = field(
        default_factory=dict
    )  # what a question on the side ("is it gated?") leaves out


@dataclass(frozen=True)
class Sentence:
    """One line with everything that it says by itself."""

    wording: Wording
    plain: str
    rule: Rule | None
    said: Slots
    models: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def front(self) -> str:
        """The sentence without its courtesies."""
        return head(self.plain)


# ---------------------------------------------------------------- one sentence

_CORRECTS = Pattern(
    r"(?:[,.;:!-]+ *|(?<= )|^)(?:no,? |oh,? |oops,? |ah,? |er+,? |uh,? |hm+,? )*(?:sorry|no wait"
    r"|wait(?: a (?:second|moment|minute))?(?:,? no)?|i meant?(?: to say)?|i mean|scratch that|make that"
    r"|correction|or rather|rather(?! than)|on second thou?ghts?"
    r"|actually(?: no)?|oops|strike that|my (?:mistake|bad)|no no|better|let me rephrase|i take that back)\b[ ,:.!-]*"
)
_NO_COMMA = Pattern(
    r"(?:[,;.:-]|\bhmm?) +no+(?:, +| +(?!gpu|cpu|graphics|fall|\w+ing\b|imatrix|calib|need|more|less|bigger|larger|way|matter|limit"
    r"|gguf|gptq|bitsandbytes|bnb|quantiz|safetensors|idea|problem|rush|hurry))"
)


def understand(line: str) -> Sentence:
    """What a line says by itself, whatever was said before."""
    wording = read(line)
    pieces = [piece for piece in _pieces(wording.plain) if piece.strip(" ,.;:!?-")]
    said: Slots = {}
    for piece in pieces:
        said = revise(said, extract(piece))
    said = revise(said, from_flags(wording))
    rules = [rule for rule in (classify(piece) for piece in reversed(pieces[1:])) if rule]
    rule = next((r for r in rules if r.intent not in ("unknown", "exit", "help")), None) or classify(wording.plain)
    return _rather_quantize(_with_entities(Sentence(wording, wording.plain, rule, said), pieces))


def _rather_quantize(sentence: Sentence) -> Sentence:
    """ "They want to chat with <model>, so make it 4-bit gguf" asks for a quantization: its words do not come first."""
    rule = sentence.rule
    if rule is None or rule.intent not in _INCIDENTAL or sentence.names or not sentence.models:
        return sentence
    leads = rule.pattern.match(sentence.front) is not None
    told = len(sentence.said.keys() & {"method", "bits", "type", "target_size_gb", "format"}) > 0
    return replace(sentence, rule=None) if told and not leads else sentence


_INCIDENTAL = words("chat experiment serve test show list stats history help doctor demo")


def _pieces(plain: str) -> list[str]:
    return [piece for part in _CORRECTS.split(plain) for piece in _NO_COMMA.split(part)]


def _with_entities(sentence: Sentence, pieces: list[str]) -> Sentence:
    entities = sentence.wording.entities
    path, taken = calibration(sentence.plain, entities)
    said = dict(sentence.said) | ({"calibration": path} if path else {})
    kept: list[int] = []
    for piece in pieces:
        here = [int(found[2]) for found in MARK.finditer(without_denied(_wanted(piece)))]
        if not _is_list_like(piece):
            kept = _without_last(kept, here, entities)
        kept += [index for index in here if index != taken and index not in kept]
    kept = kept or [int(found[2]) for found in MARK.finditer(sentence.plain) if int(found[2]) != taken]
    models = tuple(
        dict.fromkeys(entities[i].text for i in kept if entities[i].kind == "m" or _is_model_path(entities[i]))
    )
    names = tuple(
        dict.fromkeys(entities[i].text for i in kept if entities[i].kind == "n" or _is_gguf_path(entities[i]))
    )
    return replace(sentence, said=said, models=models, names=names)


def _without_last(kept: list[int], here: list[int], entities: tuple[Entity, ...]) -> list[int]:
    """A correction replaces as many things as it names, from the end."""
    for index in here:
        same = [old for old in kept if entities[old].kind == entities[index].kind]
        kept = [old for old in kept if old != same[-1]] if same else kept
    return kept


_REFUSED_MARK = Pattern(
    r"\b(?:not|instead of|rather than|except(?: for)?|but not|other than)(?: (?:to|for|with|from|the|on"
    r"|compare|it))* <[mnp]\d+>"
)


def _wanted(piece: str) -> str:
    return _REFUSED_MARK.sub(" ", piece)


def _is_list_like(piece: str) -> bool:
    return re.search(r"\b(?:add|also|too|as well|include)\b", piece) is not None


def _is_gguf_path(entity: Entity) -> bool:
    return entity.kind == "p" and entity.text.lower().endswith(".gguf")


def _is_model_path(entity: Entity) -> bool:
    return entity.kind == "p" and not re.search(
        r"(?i)\.(?:txt|jsonl?|csv|tsv|parquet|md|html?|pdf|raw|dat|gguf)(?:\.gz)?$", entity.text
    )


# ---------------------------------------------------------------- one step


def step(state: Dialogue, line: str) -> tuple[Dialogue, Decision]:
    """The decision for the next line of a dialogue, and the state after it."""
    sentence = understand(line)
    decision = (
        _answer(state, sentence)
        or _assent(state, sentence)
        or _continuation(state, sentence)
        or _of_its_own(state, sentence)
        or _by_values(state, sentence)
        or Decision("unknown", {}, 0.0, "no rule reads this")
    )
    found = contradictions(decision.slots) if decision.intent in REQUESTS else ()
    decision = replace(decision, conflicts=found)
    return _after(state, decision), decision


def parse_dialogue(lines: Iterable[str]) -> list[Decision]:
    """The decisions for the lines of one dialogue, in order."""
    state, decisions = Dialogue(), []
    for line in lines:
        state, decision = step(state, line)
        decisions.append(decision)
    return decisions


def _after(state: Dialogue, decision: Decision) -> Dialogue:
    intent, slots = decision.intent, decision.slots
    state = replace(state, asked=None)
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


def with_artifact(state: Dialogue, name: str) -> Dialogue:
    """The state after a job reported the artifact it made: "it" is that one now."""
    names = tuple(known for known in state.names if known != name) + (name,)
    return replace(state, names=names, artifact_is_it=True)


# ---------------------------------------------------------------- answers, yes and no

_YES = Pattern(
    r"^(?:(?:oh |hell |ok(?:ay)?,? )*(?:yes|yeah|yep|yup|ya|sure(?: thing)?|ok|okay|k|fine|right|correct"
    r"|exactly|of course|absolutely|definitely|please(?: do)?|do|go|go ahead|go for it|do it|do that"
    r"|proceed|start|begin|run|run it|run that|make it so|let us (?:go|do it|do that|start|begin)"
    r"|sounds (?:good|great|fine|right|perfect)|looks (?:good|great|fine|right|ok)|perfect|great|good"
    r"|confirm(?:ed)?|agreed|approved?|accept(?:ed)?|i agree|affirmative|why not|alright|all right"
    r"|that is (?:right|fine|correct|good|it|ok)|i am sure|i confirm|fire away|start it|start now"
    r"|launch(?: it)?|execute(?: it)?|hit it|shoot|ship it|lgtm|very well|indeed|y|go on|continue|carry on"
    r"|proceed with it|build it|make it|get going|get started|then do it|let it run|kick it off|off you go"
    r"|with that|please do so|do so|go with that|thanks|then|now|it|and|for me|please|just|i want that"
    r"|that works|works for me|exactly that|exactly like that|let us|so be it|by all means))"
    r"(?:[\s,.!]+(?:yes|please|go|ahead|do|it|that|then|now|and|start|run|proceed|sure|ok|i am|thanks"
    r"|thank you|so|go for it|delete it|delete|really|with|this|the|plan|job|sounds good|good|great"
    r"|exactly|like|as planned|away|right|quantize it|quantization|let us go|do it|build it|confirm"
    r"|fine))*[\s.!]*$"
)
_START = Pattern(
    r"\b(?:go ahead|go for it|do it|do that|proceed|start|run (?:it|that)|let us (?:go|do it|start|begin)"
    r"|make it so|build it|launch|execute|begin|kick it off|get going|get started|ship it|let it run"
    r"|off you go|hit it)\b"
)
_NO = Pattern(
    r"^(?:no|nope|nah|n|no way|no thanks?(?: you)?|not really|never|negative|rather not|better not|do not"
    r"|i do not want (?:that|it|to)|no please|please no|please do not|certainly not|absolutely not|hell no"
    r"|no no|of course not)(?:[\s,.!]+(?:no|thanks|thank you|do not|please|stop|cancel|forget it|leave it|not"
    r"|that|it|keep it|delete it|do|i do not|way|keep))*[\s.!]*$"
)
_WHY = Pattern(
    r"^(?:but |and |ok |so )?(?:why(?: (?:is )?(?:that|this|so|not|do you (?:ask|say so|think so|suggest that"
    r"|recommend that|need (?:that|to know|this))|exactly|though|would you|did you (?:choose|pick|suggest"
    r"|say) (?:that|this|it)|that one|this one|should i))?|how come|what for|for what reason"
    r"|what is the reason|how so|says who|why is that so|what makes you (?:say|think) (?:so|that))[\s?!.]*$"
)


def _answer(state: Dialogue, sentence: Sentence) -> Decision | None:
    """The line as an answer to the question that is open."""
    if state.asked is None or (sentence.rule and sentence.rule.intent not in ("cancel", "llm_switch")):
        return None
    reply = answers.answer(state.asked, sentence.wording.text)
    if reply.kind == "cancel":
        return Decision("cancel", {}, 1.0, "the question was called off")
    if reply.kind == "value" and state.asked.id in ("model", *INTENT_SLOTS["quantize"]) and state.request:
        slots = revise(state.request.slots, {state.asked.id: reply.value})
        return replace(state.request, slots=slots, reason=f"answers '{state.asked.id}'")
    return None


def _assent(state: Dialogue, sentence: Sentence) -> Decision | None:
    """Yes, no and why, said to the last decision."""
    front = sentence.plain.strip()
    if sentence.models or sentence.names or sentence.said:
        return None
    if _WHY.match(front):
        return _why(state)
    if _YES.match(front) and not (sentence.rule and sentence.rule.intent not in ("resume", "chat")):
        return _yes(state, front)
    if _NO.match(front) and not (sentence.rule and sentence.rule.intent == "cancel"):
        if state.last is not None and state.last.intent in REQUESTS | ON_ARTIFACTS:
            return Decision("cancel", {}, 0.8, "a no to the last request")
        return Decision("unknown", {}, 0.2, "a no with nothing asked")
    return None


def _why(state: Dialogue) -> Decision:
    about = state.asked.id if state.asked else state.last.intent if state.last else "decision"
    about = str(state.last.slots.get("topic", about)) if state.last and not state.asked else about
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
        return _decision("quantize", {**state.background, **last.slots}, 0.8, "a yes to the plan")
    return replace(last, confidence=0.9, reason=f"a yes to '{last.intent}'")


# ---------------------------------------------------------------- a change of what was said

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


def _continuation(state: Dialogue, sentence: Sentence) -> Decision | None:
    """The line as a change of the last decision: it names no intent of its own, or says "the same"."""
    last = state.last
    if last is None:
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


def _more_names(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if last is None or last.intent not in ON_ARTIFACTS:
        return None
    named = _named(sentence)
    if (
        last.intent == "compare"
        and (named or IT_WORD.search(sentence.plain))
        and intent in (None, "compare", "delete", "list", "show", "quantize")
    ):
        old = tuple(last.slots.get("names", ()) or filter(None, [last.slots.get("name")]))
        if re.search(
            r"\b(?:add|also|include|too|as well|plus|append|extend|join|throw in|additionally|and)\b", sentence.plain
        ) and (intent is None or re.search(r"\b(?:comparison|compare|add|include|throw)\b", sentence.plain)):
            extra = named or _referred(state, sentence)
            if not re.search(r"\bcompare (?:<|it)", sentence.plain):
                return _decision("compare", {"names": list(dict.fromkeys(old + extra))}, 0.9, "added to the comparison")
        if re.search(r"\b(?:remove|drop|leave out|without|exclude|take out)\b", sentence.plain) and named:
            return _decision(
                "compare", {"names": [name for name in old if name not in named]}, 0.9, "taken out of the comparison"
            )
        if intent is None and len(named) == 1 and len(old) == 2:
            return _decision("compare", {"names": [old[0], named[0]]}, 0.7, "compares with another one")
    if intent is None and named and last.intent != "compare":
        return _decision(
            last.intent, _name_slots(last.intent, named, ()), 0.8, f"the same question ('{last.intent}') of another one"
        )
    if intent is None and last.intent != "compare" and not sentence.said.keys() - {"bits", "method", "type"}:
        chosen = _by_description(state, sentence)
        if chosen and re.search(r"\b(?:one|version)\b", sentence.plain):
            return _decision(last.intent, {"name": chosen}, 0.7, "picks one of those named")
    return None


def _other_value(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if last is None or last.intent != "config" or intent not in (None, "config", "llm_switch"):
        return None
    if SETTING.search(sentence.plain):
        return None
    if _ASKS_VALUE.match(sentence.plain):
        return _decision("config", {"key": last.slots.get("key")}, 0.8, "asks for the last setting")
    value = _value_of(sentence)
    if value is None:
        return None
    return _decision("config", {"key": last.slots.get("key"), "value": value}, 0.8, "a value for the last setting")


_ASKS_VALUE = Pattern(
    r"^(?:and |so |now |ok )*(?:what|which|show|tell|get|read|is|how)\b.{0,20}\b(?:it|value|now|that)\b(?: \w+){0,4}[?.! ]*$"
)


def _other_provider(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
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
    return _decision(chosen, {"provider": _provider(sentence.plain)}, 0.8, "another provider")


def _other_status(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    last = state.last
    if last is None or last.intent != "list" or intent not in (None, "list") or sentence.models or sentence.names:
        return None
    fragment = intent is None or re.search(
        r"\b(?:ones?|only|just|of (?:them|these|those))\b|^(?:and|now)\b", sentence.plain
    )
    said = {key: value for key, value in sentence.said.items() if key in INTENT_SLOTS["list"]}
    if re.match(
        r"^(?:and |now |ok |then )*(?:all(?: of them)?|everything|the rest|all again)[\s?.!]*$", sentence.plain
    ):
        return _decision("list", {}, 0.8, "the whole list")
    if not fragment or not said:
        return None
    return _decision("list", revise(last.slots, said), 0.8, "narrows the last list")


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
    return _decision("explain", {"topic": unmark(found[1], sentence.wording.entities)}, 0.7, "another topic")


def _is_term(words: str) -> bool:
    return METHOD.fullmatch(words) is not None or TYPE.fullmatch(words) is not None or not re.search(r"\d|<", words)


def _same_for(state: Dialogue, sentence: Sentence, intent: str | None) -> Decision | None:
    """ "do the same for X": the last decision with something else in its place."""
    last = state.last
    if last is None or not _SAME.search(sentence.plain) or intent in ("compare",):
        return None
    if last.intent in ON_ARTIFACTS and intent in (None, last.intent) and (named := _named(sentence)):
        return _decision(last.intent, _name_slots(last.intent, named, ()), 0.9, "the same for another one")
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
    if intent not in REQUESTS:
        intent = None
    said = {
        key: value
        for key, value in sentence.said.items()
        if key in INTENT_SLOTS[request.intent] | INTENT_SLOTS["quantize"]
    }
    if not said and not sentence.models and not _drops(sentence) and intent is None:
        return _bare_number(state, sentence)
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
    if intent == "explain":
        told = bool(sentence.said or sentence.models)
        return told and bool((_ASKS_ON if last_is_request else _ASKS_ON_WITH).match(sentence.plain))
    if not last_is_request:
        return False
    if intent == "config":
        return (
            bool(re.match(r"^(?:set|change|enable|disable|turn|make|allow)\b", sentence.front))
            and bool(sentence.said)
            and "_" not in sentence.plain
        )
    return False


_STARTS_NOW = Pattern(
    r"\b(?:do it|do that|go ahead|go for it|start|proceed|build (?:it|that|one|me)|run it"
    r"|(?:make|create|produce|build|give|get)(?: me| us)? (?:a|an|one|the|another|two)\b)"
)
_ASKS_ON = Pattern(
    r"^(?:(?:ok|okay|hmm|so|but|and|then|now),? )*(?:what about|how about|what if|and|in|at|with|for|on)\b"
)
_ASKS_ON_WITH = Pattern(
    r"^(?:(?:ok|okay|hmm|so|but|and|then|now),? )*(?:(?:what about|how about|what if|and) )?(?:in|at|with|for|on|using|to|as|via)\b"
)


def _leans_on(state: Dialogue, sentence: Sentence, intent: str) -> bool:
    """Does a sentence with an intent of its own speak of the same model?"""
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


IT_WORD = Pattern(rf"\b{IT}\b")


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
        r"(?:(?:just|only|use|take|make it|ok|okay|maybe|then|let us|say|take|try|and|or|what about|how about|at|in|with|to),? )*"
        r"([2-8])(?: please| then| bits?)?[.!? ]*",
        sentence.plain,
    )
    request = state.request
    if not found or request is None or state.last is not request or request.intent not in ("quantize", "plan"):
        return None
    return _decision(request.intent, revise(request.slots, {"bits": int(found[1])}), 0.7, "a number of bits")


def _merged(state: Dialogue, base: Decision, intent: str, sentence: Sentence, reason: str) -> Decision:
    known = {**state.background, **base.slots} if intent != "preflight" else base.slots
    old = {key: value for key, value in known.items() if key not in _drops(sentence)}
    if intent == "preflight" and base.intent != "preflight":
        old = {"model": old["model"]} if "model" in old else {}
    said = dict(sentence.said)
    if sentence.models:
        said["model"] = sentence.models[-1]
    said.pop("status", None)
    return _decision(intent, revise(old, _plain_values(intent, said)), 0.9, reason)


_DROPPED = Pattern(
    r"\b(?:forget|drop|remove|skip|ignore|without|never ?mind|no|lift|leave out|omit|lose|any) (?:about "
    r"|the |a |any |that |my )*(?:(?:memory|ram|vram|context|file|size|target|speed|bits?|type|calibration"
    r"|device|priority|fallback|cpu)[ -]?)*(?:limits?|restrictions?|constraints?|memory|context|size"
    r"|target|type|calibration|priority|device|fallback|requirement)\b"
)


def _drops(sentence: Sentence) -> frozenset[str]:
    """Slots that a sentence takes back ("forget the memory limit")."""
    found = _DROPPED.search(sentence.plain)
    if not found:
        return frozenset()
    words = {
        "memory": "memory_gb", "ram": "memory_gb", "vram": "memory_gb", "context": "context", "size": "target_size_gb", "target": "target_size_gb",
        "type": "type", "calibration": "calibration", "device": "device", "priority": "priority",
    }  # fmt: skip
    return frozenset(slot for word, slot in words.items() if re.search(rf"\b{word}\b", found[0]))


# ---------------------------------------------------------------- a decision from a sentence of its own


def _of_its_own(state: Dialogue, sentence: Sentence) -> Decision | None:
    rule = sentence.rule
    if rule is None:
        return None
    reason = f"{rule.name}{_evidence(sentence)}"
    intent = rule.intent
    if intent == "explain":
        return Decision("explain", {"topic": unmark(topic(sentence.plain), sentence.wording.entities)}, 0.9, reason)
    if intent == "config":
        return _decision("config", _setting(sentence), 0.9, reason)
    if intent in ("llm_switch", "llm_status"):
        provider = _provider(sentence.plain)
        return _decision(intent, {"provider": provider} if provider else {}, 0.9, reason)
    if intent in ON_ARTIFACTS:
        return _on_artifact(state, sentence, intent, reason)
    said = dict(sentence.said)
    if sentence.models:
        said["model"] = sentence.models[-1]
    elif intent in REQUESTS:
        said |= _unfamiliar(sentence)
    if intent in REQUESTS and sentence.names and "model" not in said:
        said["name" if intent == "finetune" else "model"] = sentence.names[-1]
    if intent in ("finetune", "sweep") and "model" not in said and state.request and IT_WORD.search(sentence.plain):
        said |= {"model": state.request.slots[key] for key in ("model",) if key in state.request.slots}
    if (
        intent in REQUESTS
        and "model" not in said
        and state.request
        and not state.open
        and IT_WORD.search(sentence.plain)
    ):
        said = revise(state.request.slots, said)
    return _decision(intent, _plain_values(intent, said), 0.9, reason)


def _evidence(sentence: Sentence) -> str:
    shown = [f"{key} {value}" for key, value in sentence.said.items()][:4]
    return f"; reads {', '.join(shown)}" if shown else ""


_OBJECT = Pattern(
    r"^(?:requantize|quantize|quant|compress|shrink|squeeze|convert|plan|preflight|sweep|finetune"
    r"|train)(?: (?:the|my|model|this|for))* ([a-z][\w.-]*\w)(?=\s|$|[,;:?!])"
)
_TARGETS = Pattern(r"\bdemo(?: model)?\b(?! (?:mode|run))")


def _unfamiliar(sentence: Sentence) -> Slots:
    """The model after a verb, when nobody knows its name ("quantize my-llama"); `demo` is the bundled one."""
    if _TARGETS.search(sentence.front):
        return {"model": "demo"}
    found = _OBJECT.search(sentence.front)
    if found and (re.search(r"\d|-", found[1]) or found[1] in _FAMILY_WORDS) and not _is_value(found[1]):
        typed = re.search(re.escape(found[1]), sentence.wording.text, re.IGNORECASE)
        return {"model": typed[0] if typed else found[1]}
    return {}


_FAMILY_WORDS = words("falcon bloom opt phi orca solar granite command hermes mpt yi glm")


def _is_value(word: str) -> bool:
    return bool(
        type_name(word)
        or METHOD.fullmatch(word)
        or re.search(r"^\d|bits?$|-only$|^(?:non|re|pre)-|^\w-|-to-|-up$", word)
    )


def _plain_values(intent: str, said: Mapping[str, Any]) -> Slots:
    return {key: value for key, value in said.items() if key in INTENT_SLOTS.get(intent, frozenset())}


def _decision(intent: str, slots: Mapping[str, Any], confidence: float, reason: str) -> Decision:
    allowed = INTENT_SLOTS.get(intent, frozenset())
    kept = {key: value for key, value in slots.items() if key in allowed and value is not None and value != []}
    return Decision(intent, kept, confidence, reason)


def _provider(plain: str) -> str | None:
    found = list(
        PROVIDER.finditer(
            re.sub(
                r"\b(?:not|from|instead of|rather than|over|away from) (?:use |using |with )?"
                + "(?:claude|anthropic|openai|gemini|google|ollama|chatgpt|local)(?: models?)?",
                " ",
                plain,
            )
        )
    )
    return found[-1].lastgroup if found else None


# ---------------------------------------------------------------- about artifacts


def _named(sentence: Sentence) -> tuple[str, ...]:
    """Everything that a sentence names, artifacts and models alike, in spoken order."""
    wanted = set(sentence.names) | set(sentence.models)
    order = [sentence.wording.entities[int(found[2])].text for found in MARK.finditer(sentence.plain)]
    return tuple(dict.fromkeys(text for text in order if text in wanted))


_BARE = Pattern(
    r"^(?:now |then |and |also |ok |please |next |just )*(?:test|verify|benchmark|delete|rebuild|show|chat"
    r"|serve|compare|docs|experiment|erase|remove|bench)(?: now| then| too| as well| again| please)*[\s.!?]*$"
)
_ARGUMENT = Pattern(
    r"^(?:test|verify|benchmark|delete|remove|rm|rebuild|show|chat|serve|docs|experiment|compare|history"
    r"|report|api serve)(?: (?:with|the|me|job|artifact|model|named|called"
    r"|run))* ([\w.+-]*[\d_.-][\w.+-]*\w)[.!?]?$"
)


def _on_artifact(state: Dialogue, sentence: Sentence, intent: str, reason: str) -> Decision:
    slots = {key: value for key, value in sentence.said.items() if key in INTENT_SLOTS[intent]}
    slots |= _references(state, sentence, intent) or _argument(sentence)
    return _decision(intent, slots, 0.9, reason)


def _references(state: Dialogue, sentence: Sentence, intent: str) -> Slots:
    named = _named(sentence)
    pointed = _referred(state, sentence)
    if intent == "compare":
        return _compared(state, sentence, named, pointed)
    if named:
        return _name_slots(intent, named, sentence.models)
    if pointed:
        return _name_slots(intent, pointed, ())
    chosen = _by_description(state, sentence)
    if chosen and re.search(r"\b(?:one|version)\b", sentence.plain):
        return {"name": chosen}
    if (
        IT_WORD.search(sentence.plain)
        or _BARE.match(sentence.plain)
        or re.search(r"\b(?:too|as well|then|now)\b", sentence.plain)
    ):
        return _what_it_is(state)
    return {}


def _what_it_is(state: Dialogue) -> Slots:
    if state.names and (state.artifact_is_it or state.request is None):
        return {"name": state.names[-1]}
    if state.request and "model" in state.request.slots:
        return {"model": state.request.slots["model"]}
    return {}


def _compared(state: Dialogue, sentence: Sentence, named: tuple[str, ...], pointed: tuple[str, ...]) -> Slots:
    everyone = tuple(dict.fromkeys(pointed + named if _it_comes_first(sentence) else named + pointed))
    if not everyone and (
        re.search(r"\b(?:them|both|these|those|two)\b", sentence.plain) or _BARE.match(sentence.plain)
    ):
        last_names = tuple(state.last.slots.get("names", ())) if state.last else ()
        everyone = last_names or state.names[-2:]
    if (
        len(everyone) == 1
        and not IT_WORD.search(sentence.plain)
        and len(named) == 1
        and state.artifact_is_it
        and state.names[-1] != named[0]
    ):
        everyone = (
            (state.names[-1], *named)
            if re.match(r"^(?:compare|now compare|and compare) (?:with|to|against)\b", sentence.front)
            else everyone
        )
    return {"names": list(everyone)} if everyone else {}


def _it_comes_first(sentence: Sentence) -> bool:
    pronoun, mark = IT_WORD.search(sentence.plain), MARK.search(sentence.plain)
    return pronoun is not None and (mark is None or pronoun.start() < mark.start())


def _name_slots(intent: str, named: tuple[str, ...], models: tuple[str, ...]) -> Slots:
    if len(named) > 1:
        return {"names": list(named)}
    if named and named[0] in models and intent not in ALWAYS_BY_NAME:
        return {"model": named[0]}
    return {"name": named[0]} if named else {}


_ORDINALS = Pattern(
    r"\b(?:the )?(it|that one|this one|that|this|last(?: one)?|latest(?: one)?|newest(?: one)?"
    r"|most recent(?: one)?|previous(?: one)?|first(?: one)?|second(?: one)?|third(?: one)?|other(?: one)?"
    r"|former|latter|one before(?: (?:that|it))?|both|two|them|these|those)\b"
)


def _referred(state: Dialogue, sentence: Sentence) -> tuple[str, ...]:
    """The artifacts that "it", "the last one", "the first" point to, in spoken order."""
    found = [
        match[1].removesuffix(" one") for match in _ORDINALS.finditer(MARK.sub(" ", without_denied(sentence.plain)))
    ]
    known = tuple(state.last.slots.get("names", ())) if state.last else ()
    listed = known or state.names
    chosen: list[str] = []
    for word in found:
        name = _pick(word, listed, state, [*chosen, *_named(sentence)])
        chosen += [single for single in name if single not in chosen]
    return tuple(chosen)


def _pick(word: str, listed: tuple[str, ...], state: Dialogue, taken: list[str]) -> tuple[str, ...]:
    names = state.names
    free = [name for name in names if name not in taken]
    if word in ("both", "two", "them", "these", "those"):
        return (
            listed[-2:]
            if word in ("both", "two")
            else (tuple(state.last.slots.get("names", ())) if state.last else ()) or listed[-2:]
        )
    if word in ("first", "former") and len(listed) > 1:
        return (listed[0],)
    if word in ("second", "third") and len(listed) > 1:
        return listed[1:2] if word == "second" else listed[2:3]
    if word == "latter" and listed:
        return (listed[-1],)
    if word in ("last", "latest", "newest", "most recent", "other", "previous", "one before", "first", "former"):
        before = [name for name in free if not (state.artifact_is_it and names and name == names[-1])]
        if word in ("previous", "other", "one before") or taken:
            return tuple((before or free)[-1:])
        return tuple(free[-1:])
    return names[-1:] if state.artifact_is_it and (not taken or names[-1] not in taken) else ()


def _by_description(state: Dialogue, sentence: Sentence) -> str | None:
    """ "the 8 bit one", "the gptq version": the latest known name that fits."""
    wanted = [f"{sentence.said['bits']}bit"] if "bits" in sentence.said else []
    wanted += [str(sentence.said[key]) for key in ("method", "type") if key in sentence.said]
    fitting = [name for name in state.names if all(word.lower() in name.lower() for word in wanted)]
    return fitting[-1] if wanted and fitting else None


def _argument(sentence: Sentence) -> Slots:
    """A word behind a command that can only be a name ("delete run-12")."""
    found = _ARGUMENT.match(sentence.front)
    if not found or _is_value(found[1]):
        return {}
    typed = re.search(re.escape(found[1]), sentence.wording.text, re.IGNORECASE)
    return {"name": typed[0] if typed else found[1]}


# ---------------------------------------------------------------- settings

_VALUE_AFTER = Pattern(r"(?:\b(?:to|at|as|be|is|of|into|than)\b|[=:]) *[\"']?(<[mnp]\d+>|[\w./:-]+)")
_NUMBER_UNIT = Pattern(r"^(\d+(?:\.\d+)?)(?:gb?|gib)$")


def _setting(sentence: Sentence) -> Slots:
    plain, text = sentence.plain, sentence.wording.text
    typed = re.match(r"(?i)^(?:lqmf )?config (get|set) (\S+)(?:[ =]+(.+))?$", text)
    if typed:
        return {
            "key": typed[2].strip("\"'"),
            "value": typed[3].strip("\"'") if typed[3] and typed[1].lower() == "set" else None,
        }
    found = SETTING.search(plain)
    if not found:
        return _unnamed_setting(sentence)
    key = next(name for name in SETTINGS if found.groupdict().get(name))
    rest = plain[: found.start()] + " KEY " + plain[found.end() :]
    return {"key": key, "value": _setting_value(sentence, rest, found.end())}


def _setting_value(sentence: Sentence, rest: str, end: int) -> str | None:
    if re.match(
        r"^(?:what|which|show|get|tell|see|read|print|display|is|how|where|config get|look|let me see|check)\b",
        sentence.front,
    ):
        return None
    value = _VALUE_AFTER.search(sentence.plain, end) or re.match(r"^ ?()([\w./:-]+)", sentence.plain[end:])
    if value and value[value.lastindex or 1] not in ("please", "now", "setting", "on", "off", "for", "in", "the"):
        return _as_typed(sentence, value[value.lastindex or 1])
    before = re.search(r"KEY", rest)
    if re.search(r"\b(?:enable|turn on|switch on|activate|on)\b", rest):
        return "true"
    if re.search(r"\b(?:disable|turn off|switch off|deactivate|off|no)\b", rest):
        return "false"
    lead = re.search(r"\b(debug|info|warning|error|json|sqlite|\d+)\b", rest[: before.start()] if before else rest)
    return lead[1] if lead else None


def _unnamed_setting(sentence: Sentence) -> Slots:
    kept = re.search(r"\b(json|sqlite)\b", sentence.plain)
    if kept:
        return {"key": "storage_backend", "value": kept[1]}
    loose = re.search(r"\b(?:set|change) ([a-z]\w*_\w+)(?: (?:to|=)|=)? *(\S+)?", sentence.plain)
    if loose:
        return {"key": loose[1], "value": _as_typed(sentence, loose[2]) if loose[2] else None}
    return {}


def _value_of(sentence: Sentence) -> str | None:
    """The value in "set it to debug", "no, info", "make it 12"."""
    found = re.match(
        r"^(?:(?:no|and|now|ok|okay|then|please|actually|sorry|hmm|rather|well|good|wait"
        r"|oh)[ ,.!]+)*(?:(?:set|change|make|turn|switch|put|raise|lower|use|try|i mean(?:t)?"
        r"|take)(?: (?:it|that|this|back|the value|again|over))*(?: (?:to|at|as|on|=))?|to|=|it should be"
        r"|it must be|let it be)? ?(<[mnp]\d+>|[\w./:-]+)(?: (?:then|please|instead|rather|now|again|gb"
        r"|better))*[.!]?$",
        sentence.plain,
    )
    if not found or found[1] in (
        "it",
        "yes",
        "no",
        "why",
        "back",
        "please",
        "to",
        "help",
        "exit",
        "quit",
        "that",
        "cancel",
        "stats",
        "history",
        "list",
        "test",
    ):
        return None
    return _as_typed(sentence, found[1])


def _as_typed(sentence: Sentence, value: str) -> str:
    value = unmark(value, sentence.wording.entities)
    unit = _NUMBER_UNIT.match(value)
    if unit:
        return unit[1]
    value = value.rstrip(".,;:!?")
    typed = re.search(re.escape(value), sentence.wording.text, re.IGNORECASE)
    return typed[0] if typed else value


# ---------------------------------------------------------------- no verb at all


def _by_values(state: Dialogue, sentence: Sentence) -> Decision | None:
    """No rule names an intent, but the values do: a model, or how it should be quantized."""
    said = _plain_values("quantize", sentence.said)
    telling = {key for key in said if key in ("method", "bits", "type", "target_size_gb")}
    if sentence.models and (
        telling or said or _WANTED.search(sentence.plain) or MARK.fullmatch(sentence.front.strip(" .!,"))
    ):
        slots = {**said, "model": sentence.models[-1]}
        return _decision("quantize", slots, 0.7, f"a model{_evidence(sentence)}")
    if ("method" in telling and {"bits", "type"} & telling) or (telling and _WANTED.search(sentence.plain)):
        return _decision("quantize", said | _unfamiliar(sentence), 0.6, f"says how to quantize{_evidence(sentence)}")
    if telling and len(sentence.plain.split()) <= 6:
        return _decision("quantize", said, 0.5, f"says how to quantize{_evidence(sentence)}")
    if sentence.names and len(sentence.plain.split()) <= 2:
        return _decision("show", {"name": sentence.names[-1]}, 0.5, "names an artifact")
    return None


_WANTED = Pattern(
    r"\b(?:make|create|build|produce|generate|give|get|want|need|like|turn|prepare|do|have|into|put|run"
    r"|version|as|bring|fetch|deliver|cook|spit|use|model|download|load|grab)\b"
)
