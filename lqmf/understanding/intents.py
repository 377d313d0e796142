"""The intent of a plain sentence: the rules of `rules`, applied in order.

Knows sentences. Knows nothing of earlier ones, nor of the values in them.
"""

from __future__ import annotations

import re

from lqmf.understanding.courtesy import head, without_courtesy, without_denied
from lqmf.understanding.fitting import fitting_rule
from lqmf.understanding.lexicon import METHOD, TYPE, uncaptured
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.rules import (
    ACTIONS,
    COMMANDS,
    DOMAIN,
    KNOWLEDGE,
    NOT_THE_CACHE,
    OUTCOMES,
    QUANTIZE_VERB,
    QUANTIZING,
    QUESTIONS,
    THING,
    WITH_MODEL,
    M,
    Rule,
    X,
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


def topic(plain: str) -> str:
    """Return the subject of a knowledge question, without the question's own words."""
    text = _TOPIC_TAIL.sub("", _TOPIC_LEAD.sub("", head(plain)))
    text = re.sub(r"^differences? between ", "", text).strip(" ?!.,:")
    return text or plain.strip(" ?!.,:")


def _first(rules: tuple[Rule, ...], text: str) -> Rule | None:
    return next((rule for rule in rules if rule.matches(text)), None)


_LEADING_QUANTIZE = Rule("quantize", "'quantize' leads", Pattern(rf"^(?:{QUANTIZE_VERB})\b{NOT_THE_CACHE}"))


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
    """Return the rule that says what a sentence asks for; None where only its values or the dialogue can tell."""
    text = without_courtesy(without_denied(plain))
    rule = _whole(text)
    if _LEAVES_LAST.search(text):
        return _first(COMMANDS[:1], "exit")
    if rule is None or rule.intent in _WEAK or (rule.intent == "plan" and not re.search(r"<|\d", text)):
        return _of_a_clause(text) or rule
    return rule


_LEAVES_LAST = Pattern(r"^[^<]*[.,;!] *(?:so |and |ok |now )*(?:exit|quit|bye(?: bye)?|goodbye)[\s.!]*$")
_WEAK = frozenset({"explain", "unknown", "help", "doctor", "stats"})
_CLAUSE = Pattern(r"(?<=[a-z]{2})[.:;!?,]+ +(?:and |so |then |but |just )*")


_ENDING = frozenset({"cancel", "exit"})  # said last, if meant


def _of_a_clause(text: str) -> Rule | None:
    """Return the command that a clause of a longer line spells out ("what have we got? list all gguf models")."""
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


_KIND = rf"(?:{uncaptured(METHOD)}|{TYPE.pattern})"
_COMPARES_KINDS = Pattern(
    rf"^how (?:does|do|would)\b.*\bcompare (?:to|with|against)\b.*{_KIND}"
    rf"|^(?:what|which)\b[^<]*\b(?:better|faster|smaller|less|more)\b[^<]*{_KIND} (?:or|vs\.?|versus) {_KIND}"
)


def _asks_to_know(front: str) -> bool:
    """Return whether the words of a question alone show that it is about terms: then it is no request for an action
    that these terms may name."""
    if re.search(X, front):
        return False
    if front.startswith(("why ", "what happens ")) and DOMAIN.search(front):
        return True
    if _MINE_WORDS.search(front):
        return False
    return (_PURPOSE.matches(front) and DOMAIN.search(front) is not None) or _COMPARES_KINDS.search(front) is not None


def _whole(text: str) -> Rule | None:
    """Return the first rule that fits the whole text."""
    front = head(text)
    command = fitting_rule(text) or _first(COMMANDS, front)
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
    """Return whether a command that sets something up is about a model: then it must be spelled as a command."""
    sets_up = command.intent in ("config", "llm_switch", "llm_status", "doctor") and command.name != WITH_MODEL
    return sets_up and re.search(M, front) is not None and not re.match(r"(?:config|llm|set) ", front)


def _is_of_models(text: str) -> bool:
    """Return whether a sentence speaks of anything that LQMF deals with."""
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
