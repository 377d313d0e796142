"""The words that are no part of a request: greetings, courtesies, and what is not to be done.

Knows plain sentences. Knows nothing of what they ask for.
"""

from __future__ import annotations

from lqmf.understanding.assent import line_of
from lqmf.understanding.lexicon import PROVIDER, uncaptured
from lqmf.understanding.patterns import Pattern

_FILLER = Pattern(
    r"^(?:(?:may i ask you to|be so kind and|first of all|first off|hey|hi|hello|yo|ok|okay|k|please|so|well|now"
    r"|then|and|also|just|good|great|nice|cool|fine"
    r"|right|alright|thanks|thank you|thx|yes|yeah|yep|sure|no"
    r"|nope|actually|hmm+|m+h+m?|um+|uh|er+|ah|oh|could you|can you|would you"
    r"|will you|can we|could we|can i|could i|may i"
    r"|i would (?:like|love)(?: you)?(?: to)?(?: have)?"
    r"|i (?:want|need|wish)(?: you)? to|i want you"
    r"|i am (?:trying|looking|hoping) to|i have to|you should|we should"
    r"|we need to|let us|let me|lets|help me(?: to)?(?=\s+\w)|go ahead and"
    r"|kindly"
    r"|first|next|finally|afterwards|after that|maybe|perhaps|possibly"
    r"|once more|again|try to|be so kind(?: as)? to|would you mind"
    r"|do me a favou?r and|quickly|dear \w+|sorry"
    r"|lol|haha|hehe|mate|buddy|dude|bro|man|for me|instead|be a dear and|listen|look"
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

# The words of doing, with their endings: "quantize", "deleting", "get rid of".
DOING = (
    r"(?:(?:(?:re)?quanti[sz]|(?:re)?quant|compress|shrink|squeez|convert|download|delet|remov|eras|cancel|abort|stop"
    r"|interrupt|kill|terminat|undo|redo|(?:re)?test|evaluat|measur|benchmark|(?:re)?build|remak|recreat|mak|creat"
    r"|run(?!ning)"
    r"|start|launch|begin|execut|resum|continu|finish|serv|host|publish|upload|deploy|push|finetun|train|adapt|merg"
    r"|attach"
    r"|sweep|experiment|chat|talk|switch|chang|set|turn|writ|generat|report|login|logout|disconnect|authenticat|connect"
    r"|exit|quit|leav|clear|touch|compar|list|verif|show)(?:e|y|ing|ying|ting|ning|ping)?|try(?:ing)?|do (?:it|that"
    r"|this)|get(?:ting)? rid of"
    rf"|open(?:ing)?|(?:us(?:e|ing)|ask(?:ing)?) (?:{uncaptured(PROVIDER)}))\b"
)
_NOT_DONE = Pattern(
    r"\b(?:do not|never|no need to|not going to|will not|would not|must not|should not|may not|no|not(?= \w+ing\b)"
    r"|without"
    r"|instead of|rather than|rather not|before|not)"
    r" (?:(?:want|wish|need|have|you|to|yet|actually|really|bother|try|even|like|going|go|and|dare|ever|please|it to"
    r"|that"
    r"|us|me|intend|plan|mean|just) )*" + DOING + r"(?:(?! but\b| just\b| only\b| instead\b| rather\b| show\b| tell\b"
    r"| plan\b| list\b| i (?:just|only|want)\b)[^,.;:!?])*?"
    r"(?=[,.;:!?]| - | but\b| just\b| only\b| instead\b| rather\b| show\b| tell\b| plan\b| list\b"
    r"| i (?:just|only|want)\b|$)"
)

_COURTESY = Pattern(
    r"(?:,[ ]*(?:ok|okay|right|alright|yeah|huh|eh)(?=[\s.!?]*$)|(?<![\s,.;:!-])[\s,.;:!-]++(?:please"
    r"|thanks(?: (?:a lot|so much|in advance|again|very much|a bunch|mate))?"
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
_NOTHING = line_of(
    """i, we, you, please, would, wait, no, ok, okay, but, and, so, oh, well, hey, actually, sorry, must, should, may,
    can, let us""",
    """i, we, you, please, would, no, do, must, should, may, can, for now, yet, today, now, thanks, thank you, at all,
    ever""",
)


def head(plain: str) -> str:
    """Return the sentence without greetings and courtesies around it."""
    stripped = _FILLER.sub("", without_courtesy(plain))
    return stripped or plain


def without_courtesy(plain: str) -> str:
    """Return the sentence without the courtesies at its end; a question mark behind them is kept."""
    found = _COURTESY.search(plain)
    return (
        plain[: found.start()] + ("?" if "?" in found["end"] and not _TAG.search(found[0]) else "")
        if found and found.start()
        else plain
    )


def only_denied(plain: str) -> bool:
    """Return whether a sentence says what is not to be done, and nothing else."""
    return not _less_denied(plain) and _NOT_DONE.search(plain) is not None


def without_denied(plain: str) -> str:
    """Return the sentence without what is not to be done ("don't quantize, just list", "not the stats, the
    history")."""
    return _less_denied(plain) or plain


def _less_denied(plain: str) -> str:
    rest = _NOT_DONE.sub(" ", _DENIED_THING.sub(" ", plain))
    if rest == plain:
        return plain
    left = " ".join(_ORPHAN.sub("", rest).strip(" ,.;:!?-").split())
    return "" if _NOTHING.match(left) else left
