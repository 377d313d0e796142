"""What a plain sentence asks for: the rules of `rules`, applied in order; and the words that are not part of a request.

Knows sentences. Knows nothing of earlier ones, nor of the values in them.
"""

from __future__ import annotations

import re

from lqmf.understanding.lexicon import METHOD, TYPE, uncaptured
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.rules import (
    ACTIONS,
    COMMANDS,
    DOMAIN,
    KNOWLEDGE,
    OUTCOMES,
    QUANTIZE_VERB,
    QUANTIZING,
    QUESTIONS,
    THING,
    M,
    Rule,
    X,
)

_FILLER = Pattern(
    r"^(?:(?:may i ask you to|be so kind and|first of all|first off|hey|hi|hello|yo|ok|okay|k|please|so|well|now"
    r"|then|and|also|just|good|great|nice|cool|fine"
    r"|right|alright|thanks|thank you|thx|yes|yeah|yep|sure|no"
    r"|nope|actually|hmm+|um+|uh|er+|ah|oh|could you|can you|would you"
    r"|will you|can we|could we|can i|could i|may i"
    r"|i would (?:like|love)(?: you)?(?: to)?(?: have)?"
    r"|i (?:want|need|wish)(?: you)? to|i want you"
    r"|i am (?:trying|looking|hoping) to|i have to|you should|we should"
    r"|we need to|let us|let me|lets|help me(?: to)?(?=\s+\w)|go ahead and"
    r"|kindly"
    r"|first|next|finally|afterwards|after that|maybe|perhaps|possibly"
    r"|once more|again|try to|be so kind(?: as)? to|would you mind"
    r"|do me a favou?r and|quickly|dear \w+|sorry"
    r"|mate|buddy|dude|bro|man|for me|instead|be a dear and|listen|look"
    r"|if (?:you can|possible|you do not mind)"
    r"|when you (?:get a chance|have a moment|can)|by the way|btw|(?:good )?(?:morning|evening|afternoon)"
    r"|(?<=hi )there|(?<=hey )there|(?<=hello )there"
    r"|sweet|awesome|excellent|perfect|wonderful|lovely|brilliant|super|amazing|fantastic|neat|got it|i see|understood"
    r"|anyway|basically|honestly|in that case|real quick|somebody|someone|any chance you (?:can|could)|go on and"
    r"|is there any chance you (?:can|could)|i was (?:wondering|hoping)(?: if)?(?: you (?:can|could))?|can somebody"
    r"|(?:would|could) it be possible to|is it possible for you to|i am (?:going|about) to|how about we"
    r"|why do not (?:we|you)"
    r"|feel free to|bot|robot|computer|assistant|lqmf|one more thing|quick question|if you would|may we|shall we"
    r"|we (?:want|need|would like) to|i would (?:rather|prefer(?: to)?)"
    r"|it would be (?:great|nice|good) if you could|it is time to|time to"
    r"|your job is to|what i want is to|thanks to|proceed to|start by"
    r"|i guess|i think|simply|to start with|wait)(?![\w-])[\s,!.:;-]*)+"
)

_NOT_DONE = Pattern(
    r"\b(?:do not|never|no need to|not going to|will not|no|not(?= \w+ing\b)|without|instead of|rather than|before|not)"
    r" (?:(?:want|wish|need|have|you|to|yet|actually|really|bother|try|even|like|going|go and) )*"
    r"(?:(?:re)?quantiz(?:e|ing|ation)|start(?:ing)?|run(?:ning)?|execut(?:e|ing)|convert(?:ing)?"
    r"|compress(?:ing)?|build(?:ing)?|mak(?:e|ing)|do(?:ing)?|download(?:ing)?"
    r"|delet(?:e|ing)|remov(?:e|ing)|test(?:ing|s)?|benchmark(?:ing|s)?"
    r"|compar(?:e|ing)|serv(?:e|ing)|launch(?:ing)?|begin(?:ning)?"
    r"|touch(?:ing)?|creat(?:e|ing)"
    r"|list(?:ing)?|verify(?:ing)?|show(?:ing)?|train(?:ing)?|finetun(?:e|ing)|shrink(?:ing)?)\b"
    r"(?:(?! but\b| just\b| only\b| instead\b| rather\b| show\b| tell\b| plan\b| list\b| i (?:just|only"
    r"|want)\b)[^,.;:!?])*?"
    r"(?=[,.;:!?]| - | but\b| just\b| only\b| instead\b| rather\b| show\b| tell\b| plan\b| list\b"
    r"| i (?:just|only|want)\b|$)"
)

_TOPIC_LEAD = Pattern(
    r"^(?:(?:explain|define|describe|tell me(?: more| something| a bit)?(?: about)?|teach me(?: about)?"
    r"|what (?:is|are|was|were|does|do)|who is|how (?:does|do|is|are)|why (?:is|are|does|do|would|should"
    r"|can)"
    r"|i (?:do not )?(?:understand|know|wonder|wondered|get)"
    r"|i am curious about|about|what exactly is|more about|to me|me"
    r"|you mean by|mean by|the meaning of|meaning of|definition of|the term"
    r"|the word|exactly|actually|in simple terms|really|is|the|a|an|meant by"
    r"|please|can you|could you|would you|it means?|briefly|quickly|what|how"
    r"|why|which|when|do i|should i|do you|does|i)(?![\w-])[ ,:]*)+"
)
_TOPIC_TAIL = Pattern(
    r"(?: (?:mean|means|stand(?:s)? for|work|works|do|is|again|please|exactly|actually|anyway|all about"
    r"|in (?:simple|plain) (?:terms|words|english)|to me|for me|then|good for))*[\s?!.]*$"
)


_COURTESY = Pattern(
    r"(?:,[ ]*(?:ok|okay|right|alright|yeah|huh|eh)(?=[\s.!?]*$)|[\s,.;:!-]+(?:please|thanks(?: (?:a lot|so much"
    r"|in advance|again|very much|a bunch|mate))?"
    r"|thank you(?: (?:very much|so much|in advance))?"
    r"|thx|ty|cheers|kindly|mate|buddy|dude|bro|man|pal|for me|for us|real quick|if (?:you (?:can|could|please"
    r"|do not mind"
    r"|would)|possible|that is (?:ok|okay|possible|alright))|would you|will you|could you|can you|lol"
    r"|haha|(?:at|in) (?:the|this) moment|right now|right away|real fast|asap|when you (?:can|have (?:a"
    r"|the) (?:time|moment|minute))"
    r"|i guess|i think|or something|or so|and thanks|and thank you|much appreciated|somehow|as soon as possible"
    r"|:-?[)(dp]|;-?\)|<3|xx?))+(?P<end>[\s.!?]*)$"
)
_TAG = Pattern(r"\b(?:you|ok|okay|right|alright|yeah|huh|eh)\b")
_DENIED_THING = Pattern(
    r"\b(?:not|instead of|rather than|no|without|forget|never ?mind|i do not (?:want|need|mean))(?: (?:the|my|a|an"
    r"|any|your|want"
    r"|about|to see|see|show|show me))* (?:stats|statistics|history|list|demo|report|config|configuration|settings"
    r"|plan|help|docs"
    r"|documentation|model card|chat|benchmarks?|comparison|tests?|doctor|sweep|preflight|logs?|training|server"
    r"|api)(?:(?=\s*[,;:.!-]|\s+(?:but|just|i (?:want|need|mean)|rather|show|only|give)\b)(?:\s*[,;:.!-]"
    r"|\s+but\b)*\s*(?:but |just )*"
    r"|(?=[\s.!]*$))"
)


_ORPHAN = Pattern(r"^ *(?:i|we|you|please)? *[,;:.!-]+")  # what a denial leaves of its own clause


def head(plain: str) -> str:
    """The sentence without greetings and courtesies around it."""
    stripped = _FILLER.sub("", without_courtesy(plain))
    return stripped or plain


def without_courtesy(plain: str) -> str:
    """The sentence without the courtesies at its end; a question mark behind them is kept."""
    found = _COURTESY.search(plain)
    return (
        plain[: found.start()] + ("?" if "?" in found["end"] and not _TAG.search(found[0]) else "")
        if found and found.start()
        else plain
    )


def without_denied(plain: str) -> str:
    """The sentence without what is not to be done ("don't quantize, just list", "not the stats, the history")."""
    rest = _NOT_DONE.sub(" ", _DENIED_THING.sub(" ", plain))
    rest = " ".join(_ORPHAN.sub("", rest).strip(" ,.;:!-").split()) if rest != plain else plain
    return rest or plain


def topic(plain: str) -> str:
    """What a knowledge question is about, without the question's own words."""
    text = _TOPIC_TAIL.sub("", _TOPIC_LEAD.sub("", head(plain)))
    text = re.sub(r"^differences? between ", "", text).strip(" ?!.,:")
    return text or plain.strip(" ?!.,:")


def _first(rules: tuple[Rule, ...], text: str) -> Rule | None:
    return next((rule for rule in rules if rule.matches(text)), None)


_LEADING_QUANTIZE = Rule("quantize", "'quantize' leads", Pattern(rf"^(?:{QUANTIZE_VERB})\b"))


_MAY_I = Rule(
    "preflight",
    "asks whether it can be done",
    Pattern(rf"\b(?:can|could|may) (?:i|we|one) (?:\w+ )?(?!squeeze\b[^.;]*\d)(?:{QUANTIZE_VERB})\b.*{M}"),
)
_MAY_FIT = Rule(
    "plan",
    "asks whether it will do",
    Pattern(rf"\b(?:can|could|may) (?:i|we|one) (?:\w+ )?(?:squeeze|fit|cram)\b.*{M}.*\d"),
)
_YES_OR_NO = (
    r"^(?:is|are|was|does|do(?! (?:not|the|it|that|this|a|an|so)\b| <)|did|has|will|would|should|might|could"
    r"|can)\b(?! (?:you|it be possible to|we (?:have|get|make))\b)"
)
_SIZED_QUESTION = Rule(
    "plan",
    "asks whether it will do",
    Pattern(
        rf"{_YES_OR_NO}(?=.*{M}).*\b(?:worth|big|large|heavy|small|slow|fast|fit\w*|run\w*|memory|v?ram|gpus?"
        r"|cards?|cpus?|laptop|pc|machine"
        r"|computer|raspberry|\d+ ?(?:gb|gigs?|gib))\b"
    ),
)
_MODEL_QUESTION = Rule("preflight", "asks about a model", Pattern(rf"{_YES_OR_NO}.*{M}"))
_PLAIN_WHAT = Rule(
    "explain",
    "asks what something is",
    Pattern(
        r"^what(?: kind of \w+)? (?:is|are|does|do|makes?)\b(?!.*\b(?:best|right|optimal|recommend\w*"
        r"|ideal|size|should|smallest|status"
        rf"|success|i have|my|i|plan|estimate)\b(?!-))(?!.*{THING})"
    ),
)
_OPEN_QUESTION = Rule(
    "plan",
    "asks what it would be",
    Pattern(rf"^(?:what|which|how)\b(?! about\b| if\b| do i\b| matters\b| counts\b| i\b| we\b).*{M}"),
)


def classify(plain: str) -> Rule | None:
    """The rule that says what a sentence asks for; None where only its values or the dialogue can tell."""
    text = without_courtesy(without_denied(plain))
    rule = _whole(text)
    if _LEAVES_LAST.search(text):
        return _first(COMMANDS[:1], "exit")
    if rule is None or rule.intent in _WEAK:
        return _of_a_clause(text) or rule
    return rule


_LEAVES_LAST = Pattern(r"^[^<]*[.,;!] *(?:so |and |ok |now )*(?:exit|quit|bye(?: bye)?|goodbye)[\s.!]*$")
_WEAK = frozenset({"explain", "unknown", "help", "doctor", "stats"})
_CLAUSE = Pattern(r"(?<=[a-z]{2})[.:;!?,]+ +(?:and |so |then |but |just )*")


_ENDING = frozenset({"cancel", "exit"})  # said last, if meant


def _of_a_clause(text: str) -> Rule | None:
    """The command that a clause of a longer line spells out ("what have we got? list all gguf models")."""
    clauses = _CLAUSE.split(text)
    if len(clauses) < 2 or MARK_OF_MODEL.search(text):
        return None
    for place, clause in enumerate(reversed(clauses)):
        front = head(clause)
        rule = _first(COMMANDS, front) or (_whole(clause) if _COMMANDING.match(front) else None)
        if rule and (rule.intent not in _WEAK or rule.intent == "help") and (place == 0 or rule.intent not in _ENDING):
            return rule
    return None


MARK_OF_MODEL = Pattern(M)
_COMMANDING = Pattern(
    r"(?:list|show|test|verify|benchmark|compare|delete|rebuild|serve|chat|report|history|stats|statistics|resume"
    r"|demo)\b"
)


_QUANTIZE_LATER = Rule(
    "quantize",
    "'quantize' leads a clause",
    Pattern(
        rf"[:;.!] (?:(?:so|then|please|and|now|just|ok|could you|can you),? )*(?:{QUANTIZE_VERB}) (?:[^.;?]*{M}"
        rf"|it\b)(?![^.;]*\?)"
    ),
)
_AT_ALL = Rule(
    "preflight",
    "asks whether it can be done",
    Pattern(rf"\b(?:can|could) you (?:even |actually )?(?:{QUANTIZE_VERB})\b.*{M}.*\bat all\b"),
)


_PURPOSE = Rule(
    "explain",
    "asks what something is",
    Pattern(
        r"^(?:what (?:is|are) (?:the )?(?:use|point|purpose|meaning|idea|benefit|advantage|downside"
        r"|definition)s? (?:of|in|behind"
        r"|to)\b|what does (?:an? |the )?[\w -]{2,25} (?:do|mean)\??$|what (?:is|are) (?:an? )?[\w-]+(?: card"
        r"| format)?\??$"
        r"|i (?:do not|never|can not) (?:really |quite )?(?:get|understand|understood|know|knew|see)\b"
        rf"|(?:can|do|does|will|would|is|are) (?:an? )?(?:{uncaptured(METHOD)}|{TYPE.pattern})(?: (?:models?"
        rf"|files?|quants?))? (?!or\b)"
        r"|how much (?:smaller|faster|slower|worse|better|bigger|quality|accuracy|precision) (?!.*\b(?:would|will"
        r"|it)\b)"
        r"|[\w -]{2,30} explained\b)"
    ),
)


_COMPARES_KINDS = Pattern(
    rf"^how (?:does|do|would)\b.*\bcompare (?:to|with|against)\b.*(?:{uncaptured(METHOD)}|{TYPE.pattern})"
)


def _asks_to_know(front: str) -> bool:
    """A question whose words alone show that it is about terms: before the actions that these terms may name."""
    if re.search(X, front):
        return False
    if front.startswith("why ") and DOMAIN.search(front):
        return True
    if _MINE_WORDS.search(front):
        return False
    return (_PURPOSE.matches(front) and DOMAIN.search(front) is not None) or _COMPARES_KINDS.search(front) is not None


def _whole(text: str) -> Rule | None:
    """The first rule that fits, read over the whole text."""
    front = head(text)
    command = _first(COMMANDS, front)
    if command and not _is_about_a_model(command, front):
        return command
    asked = _first((_MAY_FIT, _MAY_I, _AT_ALL, _QUANTIZE_LATER), text)
    if asked:
        return asked
    if _LEADING_QUANTIZE.matches(front) and not _is_sweep(front) and not _wants_plan(front):
        return _LEADING_QUANTIZE
    first_words = _leading(front)
    if first_words:
        return first_words
    if _asks_to_know(front):
        return _PURPOSE
    return (
        _first(ACTIONS, text)
        or _first(QUESTIONS[:1], front)
        or (_PLAIN_WHAT if _PLAIN_WHAT.matches(front) and DOMAIN.search(front) else None)
        or _first(QUESTIONS[1:], text if _is_of_models(text) else "")
        or _first(OUTCOMES[:4], text)
        or _knowledge(front)
        or _first(OUTCOMES[4:], text)
        or _first((_SIZED_QUESTION, _MODEL_QUESTION), front)
        or _first((_OPEN_QUESTION,), front)
        or _first(QUANTIZING, text)
    )


def _is_about_a_model(command: Rule, front: str) -> bool:
    """A sentence that names a model sets nothing up, unless it is spelled as a command."""
    sets_up = command.intent in ("config", "llm_switch", "llm_status", "doctor")
    return sets_up and re.search(M, front) is not None and not re.match(r"(?:config|llm|set) ", front)


def _is_of_models(text: str) -> bool:
    """Does a sentence speak of anything that LQMF deals with?"""
    return re.search(THING, text) is not None or DOMAIN.search(text) is not None or _PLANS.search(text) is not None


_PLANS = Pattern(r"\b(?:size|footprint|plan|preflight|dry[ -]?run|estimates?)\b")


def _leading(front: str) -> Rule | None:
    word = front.split(" ", 1)[0]
    return None if word not in _PLAIN_LEADS else Rule(word, f"'{word}' leads", Pattern(""))


_PLAIN_LEADS = frozenset({"preflight", "verify", "explain", "benchmark", "rebuild", "delete", "plan"})


def _is_sweep(front: str) -> bool:
    return _first(tuple(rule for rule in ACTIONS if rule.intent == "sweep"), front) is not None


def _wants_plan(front: str) -> bool:
    return re.search(r"^(?:simulate|preview)|\b(?:dry[ -]?run|(?:only|just) (?:the |a )?plan)\b", front) is not None


def _knowledge(front: str) -> Rule | None:
    if re.search(X, front) and not re.search(r"\b(?:difference|vs\.?|versus|what is|better|compare)\b", front):
        return None
    if re.match(r"^(?:can|could|would) you\b", front) or _MINE_WORDS.search(front):
        return None
    rule = _first(KNOWLEDGE, front)
    return rule if rule and DOMAIN.search(front) else None


_MINE_WORDS = Pattern(
    r"\b(?:my|i have|have i|do i have|did i|average|percentage|total number|are there|do we have|have we|got any"
    r"|how often did"
    r"|i made|we made|failed|runs(?! (?:out|on|faster|slower|in))|jobs?|experiments?|worked|so far"
    r"|not work|not succeed|succeeded|history|statistics|success rate)\b"
)
