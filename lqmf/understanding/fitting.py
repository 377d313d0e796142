"""The questions of what fits: models in general, one model at its best, the context that it may have.

Knows sentences, with marks for names. Knows nothing of sizes or of earlier sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lqmf.understanding.lexicon import METHOD, uncaptured
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.rules import IT, M, Rule, X

_RUN = r"(?:run|fit|load|host|handle|hold|manage|accommodate|afford)"
_RUNS = rf"(?<!\ba )(?:{_RUN}|fits|runs)\b"
_MAY = r"(?:can|could|might|may|will|would|should)"
_WHO = r"(?:i|we|one|my|this|our)"
_BEST = (
    r"(?:best|top|coolest|biggest|largest|greatest|smartest|strongest|smallest|fastest|heaviest|good|decent|right"
    r"|suitable"
    r"|ideal|most (?:capable|powerful|intelligent|accurate))"
)
_MODELS = r"(?:language )?(?:models?|llms?)"
_MACHINE = (
    r"(?:\d+ ?(?:gb|gib|gigs?|gigabytes?|go|g)|v?ram|gpus?|cards?|rtx|gtx|laptop|machine|computer|pc|macbook|mac"
    r"|desktop|notebook|server|box|hardware|cpu|memory|raspberry|setup|system|workstation|rig|potato"
    r"|[1-5]0[5-9]0(?: ?ti)?|16[56]0|[ahv]100|h200|t4|p40|l40s?|a6000)\b"
)
_SIZED = r"(?<![\w.])\d+(?:\.\d+)? ?(?:b|billion|bn)(?:[ -]parameters?)?(?: models?| llms?)?\b"

_BILLIONS = Pattern(r"(?<![\w.])(\d{1,4}(?:\.\d{1,3})?) ?(?:b|billion|bn)(?:[ -]parameters?)?(?![\w-])")


def size_billions(plain: str) -> float | None:
    """Return the parameters, in billions, of the model without a name that a sentence speaks of ("a 70b"); None where
    it speaks of none, or of several."""
    found = {float(one[1]) for one in _BILLIONS.finditer(plain)}
    return next(iter(found)) if len(found) == 1 and min(found) > 0 else None


_GENERAL = (
    # what can I run; which model could my laptop handle
    rf"\b(?:what|which)\b[^.;<]{{0,40}}\b{_MAY} (?:{_WHO}|an?|the|that|such)\b[^.;<]{{0,40}}\b{_RUNS}",
    # how big a model can I fit; how many parameters
    rf"\bhow (?:big|large|huge|many)\b[^.;<]{{0,20}}\b(?:{_MODELS}|parameters)\b[^.;<]{{0,40}}\b{_RUNS}",
    # the best I can run
    rf"\b{_BEST}\b[^.;<]{{0,30}}\b(?:{_WHO}|it|an?|that|to)\b[^.;<]{{0,40}}\b{_RUNS}",
    rf"\bbest (?:thing )?(?:i|we) {_MAY} (?:do|get|have|use)\b[^.;<]{{0,20}}\b(?:here\b|{_MACHINE})",
    # what fits in 8 GB; the smartest model that runs on my card
    rf"\b(?:what|which|any|some|anything|something|{_BEST})\b(?: (?:\w+ ){{0,3}}{_MODELS}| (?:ones?|sizes?|else))?"
    rf"(?: (?:{_MAY}|that|which|actually|even|still))* (?:works? (?:here|on)"
    r"|(?:fits?|runs?)\b[^.;<]{0,25}\b(?:here|on|in|into|with|within|under|inside|my|this|our))\b",
    # what is possible with 8 GB
    rf"\bwhat (?:(?:is|would be) (?:possible|realistic|feasible|doable)|{_MAY} {_WHO} do)\b[^.;<]{{0,30}}"
    rf"\b(?:with|on|in|for)\b[^.;<]{{0,15}}\b{_MACHINE}",
    # recommend a model for my laptop
    rf"\b(?:{_BEST}|recommend\w*|suggest\w*|which|what)\b(?: [\w-]+){{0,4}} {_MODELS}\b"
    r"(?! (?:are|do i|did|have|were|was|exist|failed)\b)"
    rf"[^.;<]{{0,30}}\b(?:for|on|with|in)\b[^.;<]{{0,25}}\b{_MACHINE}",
    # anything decent for 4 GB; is there any model that I can use on this laptop
    r"\b(?:any|some)thing (?:(?:good|decent|nice|usable|useful|smart|better|else|small|big|fun) )?(?:for|on|with)\b"
    rf"[^.;<]{{0,20}}\b{_MACHINE}",
    rf"^(?=.*\b(?:here\b|{_MACHINE}))(?!.*<).*\b(?:any|some|what|which) (?:\w+ ){{0,3}}{_MODELS} (?:that )?(?:i|we)"
    rf" {_MAY} (?:use|try|get)\b",
    # 8 GB card: what should I run; any suggestions for 8 GB
    rf"^(?=.*\b{_MACHINE})(?!.*<).*\b(?:what (?:(?:{_MAY}|do) )?(?:(?:i|we|you) )?"
    r"(?:run|get|download|try|fits?|recommend|suggest)\b"
    r"|(?:any |some )?(?:options|suggestions|recommendations?|ideas|advice|tips)\b(?=[\s?!.]*$| (?:for|on|with)\b))",
    # I have an 8 GB card, which model is best for me
    rf"\b{_MACHINE}[^<]{{0,40}}\b(?:which|what|{_BEST}|recommend|suggest)\b[^.;<]{{0,30}}\b{_MODELS}"
    r"(?: (?:is|would be|should|do you|can you|will) (?:best|good|right|work|i|recommend|suggest)\b|[\s?!.]*$)",
    # how fast would a 7b be on a cpu
    rf"\b(?:tokens? (?:per|a) s\w*|tok/s|t/s|how (?:fast|slow"
    rf"|quick)\w*)\b[^.;<]{{0,30}}{_SIZED}[^.;<]{{0,20}}\b{_MACHINE}",
    # with 4 GB of vram is there any point at all; is it worth trying a 70b on 24 GB
    r"^(?!.*<)(?=.*\d ?(?:gb|gib|gigs?|go|g)\b)(?=.*(?:\?|\b(?:is|are|would|worth|any)\b))"
    r".*\b(?:worth|point|realistic|any (?:use|good|sense|chance|hope)|make sense|makes sense|hopeless|pointless"
    r"|bother\w*)\b",
    # can I run a 13b
    rf"\b{_MAY} (?:{_WHO}|an?|the)\b[^.;<]{{0,40}}\b{_RUN}\b[^.;<]{{0,20}}{_SIZED}",
    rf"\b(?:{_MAY}|does|do) (?:an? |the |any )?{_SIZED}[^.;<]{{0,20}}\b(?:{_RUNS}|work\b)",
)
# No model is meant by these, not even one spoken of before.
IN_GENERAL = Rule("plan", "asks which models fit", Pattern("|".join(_GENERAL)))
_OF_ONE = Pattern(
    rf"{X}|\b(?:what|which|best|right|good|how (?:many|much|long)|largest|biggest|longest|max(?:imum)?)(?: \w+)?"
    r" (?:quant\w*|bits?|types?|methods?|context|ctx|version|variant|precision|quality|settings?)\b|\bof it\b"
    r"|\b(?:tests?|benchmarks?|commands?|experiments?|jobs?|sweeps?|reports?|demos?|checks?|api|provider"
    r"|server(?! with| of| box)|have i|do i have|did i|made|built|failed|failing|happens|why"
    rf"|(?:{uncaptured(METHOD)}) (?:or|vs\.?|versus))\b"
)
_FEASIBLE = (
    r"(?:possible|realistic|feasible|doable|reasonable|viable|any chance|chances?|(?:too|very) (?:much|big|large|heavy)"
    r"|enough|sufficient|adequate|suffices?|get away with|(?:any|a|some) way|overkill|usable|ok|okay|fine|optimistic)"
)
_CLAUSE = r"(?:^|[.;:!?,] )(?:and |so |but |or |what about |how about |is |for |a |an |the )*"
_NEEDED = (
    r"(?:(?:system |hardware |memory |v?ram |gpu )?requirements?|specs?|v?ram|(?:gpu |video )?memory|hardware|gpu|card)"
)
_QUANT = r"(?:version|variant|quant\w*|types?|gguf|build|precision|quality|setting|configuration|one|option)"
_OF_THE_MODEL = tuple(
    Rule(intent, name, Pattern(pattern))
    for intent, name, pattern in (
        (
            "plan",
            "asks what it needs",
            rf"\b(?:min(?:imum|imal)?|needed|required|necessary|recommended|enough) (?:\w+ )?{_NEEDED}\b[^.;]*{M}"
            rf"|\b(?:requirements?|specs?|{_NEEDED} (?:do i need|needed|required|necessary|usage)) (?:for|of|to run)\b"
            rf"[^.;]*{M}"
            rf"|\b(?:what|which|how much)\b[^.;<]{{0,30}}\b(?:need|needed|required?|buy|get|takes?|want)\b"
            rf"[^.;<]{{0,20}}\b(?:for|to run|to use|to host|to have)\b[^.;<]{{0,20}}{M}"
            rf"|\b(?:v?ram|memory) (?:for|of)\b[^.;?]*{M}[^.;]*\?"
            rf"|{M}[^.;]{{0,30}} (?:requirements?|specs|how much (?:memory|v?ram)|(?:memory|v?ram|gpu) (?:needed"
            r"|required|usage|needs?))[\s?.]*$",
        ),
        (
            "plan",
            "asks how fast it would be",
            r"^(?:and |but )?(?:at )?what speed[\s?]*$"
            r"|\b(?:what|how much|which) (?:kind of |sort of )?(?:speeds?|tokens? (?:per|a) second|tok/s|t/s"
            rf"|performance)\b[^.;]{{0,20}}\b{_MAY} (?:i|we|it|that|this|{M})\b"
            rf"|\bhow (?:fast|slow|quick(?:ly)?|speedy)\b[^.;<]{{0,20}}\b(?:would|will|might|could)"
            rf" (?:i|we|it|that|this|{M})\b(?! take)",
        ),
        (
            "preflight",
            "asks about the tokenizer",
            r"\b(?:does|do|will|would|is|are)\b[^.;<]{0,20}\b(?:tokeni[sz]er|chat template)\b[^.;<]{0,15}"
            r"\b(?:fits?|match\w*|known|supported|recogni[sz]ed|work|ok|there|included|present)\b",
        ),
        (
            "plan",
            "asks for the best that fits",
            rf"\bbest\b[^.;]{{0,80}}\b{_WHO}\b[^.;,]{{0,25}}\b{_MAY} (?:\w+ )?{_RUN}\b"
            rf"|\b(?:what|which) {_QUANT}\b[^.;,]{{0,20}}\b{_MAY} {_WHO}\b[^.;,]{{0,20}}\b{_RUN}\b"
            rf"|\bbest {_QUANT}\b[^.;,]{{0,30}}\b{_WHO} {_MAY} (?:get|have)\b"
            rf"|^(?:and )?(?:the |what is the |what would be the )?best (?:possible )?{_QUANT} of (?:{M}|{IT})"
            rf"|^(?:what|which)\b.*\b(?:smallest|lowest|best|largest|highest|right|ideal"
            rf"|minim\w+)(?: \w+)? {_QUANT} (?:for|of)"
            rf" {M}|{M}[^.;]{{0,40}}\b(?:which|what)(?: \w+)? (?:{_QUANT}|settings|bits?)[\s?.]*$"
            rf"|\bbest {_QUANT} (?:(?:that|which|{_MAY}|still|actually) )*(?:fits?|runs?)\b",
        ),
        (
            "plan",
            "asks whether it will do",
            rf"[.;:!?,] (?:and |so |but )*(?:{_MAY}|does|do) (?:{M}|{IT}) (?:\w+ )?(?:fit|run)\b[^.;<]{{0,20}}\?"
            rf"|{M}[^.;]*\bwhat (?:{_MAY} )?fits?\b[^.;<]{{0,15}}\?"
            r"|\b(?:wonder\w*|tell me|know|sure|see|find out|curious|question is|ask\w*)(?: (?:is|whether|if))+"
            rf" (?:{M}|{IT}) (?:\w+ )?{_RUNS}"
            rf"|\b(?:{_MAY}|does|do) (?:{M}|{IT}) work (?:on|with|in|within)\b[^.;<]{{0,30}}\d ?(?:gb|gib|gigs?|go)\b"
            rf"|\b{_MAY} (?:i|we) (?:{M}|{IT})[^.;<]{{0,40}}\brun\b"
            # would <m> on 8 GB be possible; is it realistic to get <m> onto my card
            rf"|^(?=.*{M})(?=.*(?:\b{_MACHINE}|context\b|ctx\b))(?=.*\?"
            r"|(?:\w+ )?(?:is|are|would|will|any|can|could)\b|.*\b(?:whether|wonder\w*|(?:know|tell me) if)\b)"
            rf".*\b{_FEASIBLE}\b"
            # any question that names a model and an amount of memory
            rf"|^(?!.*\b(?:gated|supported|licen\w+|tokeni\w+|template|quantiz\w*|{_MAY} you)\b)(?=.*{M})"
            rf"(?=.*\d ?(?:gb|gib|gigs?|gigas?|gigabytes?|go|g)\b)"
            r".*(?:\?\s*$|\b(?:whether|know if|or not|possible|anyone|anybody|wonder\w*)\b)"
            # can I <m> on 8 GB
            rf"|^(?:(?:and|so|but|hi|hey|ok) )*(?:can|could|will|would|is|does|do)\b(?! you\b)(?=.*{M})"
            r"(?!.*\b(?:gated|supported|licen\w+|tokeni\w+|template|quantiz\w*)\b).*\d ?(?:gb|gib|gigs?|g)\b"
            # would I be able to host <m> on my card
            rf"|\b(?:{_MAY}|am|are) (?:i|we|one)\b[^.;<]{{0,25}}\b(?:host|serve|use|run|load|have|put|get)\b"
            rf"[^.;<]{{0,10}}{M}[^;<]{{0,70}}\b{_MACHINE}"
            # <m> on 8 GB? as a clause of its own
            rf"|{_CLAUSE}{M}[ ,]+(?:(?:on|with|in|for|at|@) )?[^.;?<]{{0,20}}\b{_MACHINE}[^.;?<]{{0,30}}\?"
            # <m> fits on 8 GB
            rf"|^(?:(?!make|have|get|let|help|see|please|want|need)\w+ )?{M} (?:fits?|runs?) (?:on|in|into|with)\b"
            rf"|^(?:and |so |ok |but )*(?:memory |v?ram )?(?:fit|memory|v?ram) (?:check|estimate|question)\b"
            rf"|\b{_MAY} (?:one|an?|my|the|this|our|two|\d+)\b[^.;<]{{0,30}}\b{_MACHINE}[^.;<]{{0,30}}"
            rf"\b(?:serve|power|do|take|feed|cover|drive)\b[^.;<]{{0,15}}{M}"
            rf"|\b{_MAY} {M} (?:do|take|reach|use|get|have)\b[^.;<]{{0,30}}\b(?:context|ctx|\d+k|{_MACHINE})",
        ),
        (
            "plan",
            "asks how much fits",
            r"\bhow many (?:\w+ )?layers\b[^.;]{0,30}\b(?:gpu|card|v?ram|fit|stay|go)\b"
            r"|\bhow much\b[^.;<]{0,30}\b(?:download|fetch)\w*\b[^.;<]{0,20}"
            + M
            + r"|\bhow much\b[^.;<]{0,20}"
            + M
            + r"[^.;<]{0,20}\bdownload"
            r"|\b(?:settings|parameters|options|flags|config(?:uration)?) (?:\w+ )?for\b[^.;]*"
            + M
            + r"|\bhow many (?:\w+ )?(?:users|people|chats|requests|sessions|clients|conversations)\b[^.;]{0,40}\bcan\b"
            r"|\bhow (?:much|many|long|large|big|many tokens of)\b(?: an?| of an?)?(?: \w+)? (?:context|ctx)\b"
            r"[^.;]{0,40}"
            rf"\b(?:{_MAY}|fits?|possible|get|have|left|max)\b"
            r"|\b(?:max(?:imum)?|longest|largest|biggest|most)(?: possible)? context\b[^.;]{0,30}"
            rf"\b(?:{_WHO}|fits?|{_MAY})\b",
        ),
    )
)


def fitting_rule(text: str) -> Rule | None:
    """Return the rule for the question of what fits that a sentence asks; None where it asks none."""
    if not _SPEAKS_OF_FITTING.search(text) or _ORDERS.search(text):
        return None
    if IN_GENERAL.matches(text) and not _OF_ONE.search(text):
        return IN_GENERAL
    return next((rule for rule in _OF_THE_MODEL if rule.matches(text)), None)


_ORDERS = Pattern(r"\b(?:(?:re)?quantize|(?:convert|compress|shrink)(?:ing)?|make|build|create|produce|turn)\b")
_SPEAKS_OF_FITTING = Pattern(
    rf"\b(?:{_RUNS}|smallest|lowest|least|largest|highest|right|ideal|minim(?:um|al)|which|settings|parameters"
    rf"|options|flags|download\w*|layers|worth|point|(?:best|works?|what|how (?:many"
    rf"|much)|context|ctx|tokeni[sz]er|template|{_MODELS}|{_NEEDED}"
    rf"|(?:any|some)thing|{_FEASIBLE})\b)|\?|{_MACHINE}"
)
_BEST_OF_ONE = Pattern(
    rf"\bbest(?: possible)?(?: {_QUANT})? of +(?:{M}|it\b|this\b|that\b)"
    rf"|\bbest\b(?! model)[^.;]{{0,40}}(?:{M}|\b(?:quant\w*|version|variant)\b)[^.;]{{0,20}}"
    rf"\b{_WHO}\b[^.;]{{0,30}}\b{_RUN}\b"
)

# ---------------------------------------------------------------- "make it smaller": one wish, and nothing else

_WISHES = {
    "size": r"smaller|tinier|lighter|leaner|tighter|slimmer|more compact|less (?:memory|space|vram|ram)",
    "speed": r"faster|quicker|snappier|speedier|more (?:speed|quick(?:ly)?|fast)|less slow",
    "quality": r"better quality|more accurate|more precise|more quality|higher quality|more faithful|less lossy",
}
_SUPERLATIVES = {
    "size": "smallest",
    "speed": "fastest|quickest",
    "quality": r"(?:best|highest|top|max(?:imum)?) (?:possible )?quality|best|(?<=it )better|(?<=be )better",
}
_NUDGE = Pattern(
    r"^(?:(?:(?:too|very|so|quite|rather) (?:slow|big|large|much|small|heavy|bad|fat)"
    r"|and|but|ok(?:ay)?|now|then|so|hmm+|no|please|well|actually|rather|maybe|perhaps|what about|how about|could"
    r"|can|would|should|it|that|this|you|we|i|make|get|be|is|go|run|there|a|an|the|one|something|anything|want|need"
    r"|like"
    r"|give|me|have|must|has|to|let us|try|any|even|much|way|still|slightly|bit|little|tad|lot|far|take|use|with"
    r"|somewhat|if|possible|prefer|what|answers?|responds?|runs|works?|hm|ah|oh|nah)[ ,.;!-]+)*(?:"
    + "|".join(f"(?P<{name}>{pattern}|{_SUPERLATIVES[name]})" for name, pattern in _WISHES.items())
    + r")(?:[ ,]+(?:please|then|one|version|model|still|if possible|though|thanks|now|instead|again|too))*[\s?!.]*$"
)


# "would Q3_K_M be ok?", "does kv cache q4 help here?", "what is the best quality then?": said of the plan, not of terms
_OF_THE_PLAN = Pattern(
    r"^(?:(?:ok|okay|hmm+|so|but|and|then|now),? )*(?:(?:if|and if|what if) (?:i|we)\b"
    r"|(?:does|do|would|will|could|can|should|might|is|are)\b[^.;<]{0,60}"
    r"\b(?:help|work|do|go|still|suffice|fit|run|enough|make sense|be (?:\w+ )?(?:slower|faster|smaller|larger|bigger"
    r"|worse|better)|be (?:ok|okay|fine|better|good|possible|too \w+))\b"
    r"[^.;<]{0,12}$)"
)


def is_of_the_plan(plain: str) -> bool:
    """Return whether a sentence that could be a question about terms is about the plan that was made before it."""
    return _OF_THE_PLAN.match(plain) is not None or _NUDGE.match(plain) is not None


def wish(plain: str) -> str | None:
    """Return the priority that a clause which says nothing else asks for ("make it a bit smaller"), or "quality" for
    the best of one model ("the best quant of it that I can run"); else None."""
    for clause in re.split(r"[,.;!:]+ ", plain) if len(plain) < 60 else (plain,):
        nudge = _NUDGE.match(clause.strip())
        if nudge:
            return nudge.lastgroup
    return "quality" if "best" in plain and _BEST_OF_ONE.search(plain) else None


# ---------------------------------------------------------------- a wish in the place of an earlier one

_COMPARES = Pattern(rf"\b(?:{'|'.join(_WISHES.values())}|better|as \w+ as)\b")
_BESIDE = Pattern(r"\b(?:still|also|as well|too|stay|stays|keep|keeping)\b")


def without_replaced(slots: Mapping[str, Any], said: Mapping[str, Any], plain: str) -> dict[str, Any]:
    """Return the slots said before, without those that a later sentence replaces: "make it smaller" leaves the type and
    the bits open, and "ok, Q8_0 then" ends a priority."""
    told = said.keys() & {"type", "bits", "priority"}
    gone: set[str] = set()
    if told == {"priority"} and _COMPARES.search(plain):
        gone = {"type", "bits"}
    elif told and "priority" not in told and not _BESIDE.search(plain):
        gone = {"priority"}
    return {key: value for key, value in slots.items() if key not in gone}
