"""Yes and no: the phrases of lines that say nothing else. Knows words; knows nothing of the question."""

from __future__ import annotations

import re

from lqmf.understanding.patterns import Pattern


def line_of(first: str, then: str) -> Pattern:
    """Return the pattern of a whole line made of phrases: one of `first`, then any number of `then`; both are lists
    with commas.

    Each place of the line is read once, the longest phrase first, so that no line takes long.
    """
    return Pattern(rf"^(?>{_phrases(first)})(?:[\s,.!]++(?>{_phrases(then)}))*+[\s.!]*$")


def _phrases(listed: str) -> str:
    phrases = (" ".join(phrase.split()) for phrase in listed.split(","))
    return f"(?:{'|'.join(map(re.escape, sorted(phrases, key=len, reverse=True)))})(?!\\w)"


_SURE = "y, yes, yeah, yep, yup, sure, ok, okay, of course, go ahead, do it, i am sure"
_START = """build it, begin, carry on, continue, do that, do so, execute, execute it, fire away, get going, get
    started, go, go for it, go on, hit it, kick it off, launch, launch it, let it run, let us begin, let us do it, let
    us do that, let us go, let us start, make it, make it so, off you go, proceed, proceed with it, run, run it, run
    that, ship it, shoot, start, start it, start now, then do it"""
_GOOD = """absolutely, accept, accepted, affirmative, agreed, all right, alright, approve, approved, by all means,
    confirm, confirmed, correct, definitely, exactly, fine, good, great, i agree, i confirm, indeed, k, lgtm, looks
    fine, looks good, looks great, looks ok, looks right, perfect, please do, right, sounds fine, sounds good, sounds
    great, sounds perfect, sounds right, sure thing, that works, very well, why not, works for me, ya"""
_THIS = """for me, exactly like that, exactly that, go with that, i want that, it, just, let us, now, oh sure, oh yes,
    hell yes, please, please do so, so be it, thanks, that is correct, that is fine, that is good, that is it, that is
    ok, that is right, then, and, with that"""
_TAIL = """ahead, all, and, anyhow, anyway, as planned, away, begin, by all means, confirm, delete, delete it, do,
    exactly, execute, fine, get going, go, go for it, good, great, i am, it, job, kick it off, launch, launch it, let
    us go, like, make it so, now, of course, ok, one, plan, please, proceed, quantization, quantize it, really, right,
    run, so, sounds good, start, sure, thank you, thanks, that, the, then, this, very well, with, yes, go ahead, do
    it, do that, build it, build that, build this, create it, create that, create this, make it, make that, make this,
    run it, run that, run this, start it, start that, start this"""
_NO_TAIL = "do not, it, keep it, no, please, thank you, thanks, that"

# A yes or a no to the last decision. Words of starting are among the yeses: "go", "make it so".
YES = line_of(f"{_SURE}, {_START}, {_GOOD}, {_THIS}", _TAIL)
NO = line_of(
    """no, nope, nah, n, no way, not really, never, negative, rather not, better not, do not, do not bother,
    i do not want that, i do not want it, i do not want to, please no,
    please do not, certainly not, absolutely not, hell no, of course not""",
    f"{_NO_TAIL}, cancel, do, forget it, i do not, keep, leave it, not, stop, way",
)

# To a question with options: "whatever" takes the recommended one.
TAKES = line_of(
    f"""{_SURE}, fine, right, correct, agreed, all right, alright, go, go for it, do so, proceed, continue, confirm,
    start, fire away, good, great, perfect, looks good, sounds good, let us go, please do, any, whatever, default, the
    default, suggested, recommended, the recommended, the recommended one, take default, take the default, take the
    default one, take recommended, take the recommended, take the recommended one, that one, as you like, as you
    recommend, as you say, as you wish, you choose, you decide, you pick, your call, your choice, your pick, up to
    you, no preference, does not matter, i do not care, i do not know, i do not mind""",
    "delete it, do it, fine, go, go ahead, i am sure, is fine, it, please, sure, thanks, that, then",
)
REFUSES = line_of(
    "n, no, nope, nah, not now, never, do not, i do not, better not, rather not, please do not, no way",
    f"{_NO_TAIL}, delete it",
)

# To a question that matters nothing but a yes is a yes.
CONFIRMS = line_of(
    f"{_SURE}, absolutely, confirm, confirmed, definitely",
    "delete, delete it, do, do it, go ahead, i am sure, it, please, really, sure, yes",
)
CALLS_OFF = line_of(
    """abort, cancel, stop, quit, exit, never mind, nevermind, nvm, drop it, leave it, scrap it, scrap that, forget
    it, forget about it, forget that, forget this""",
    "all of it, everything, it, please, that, the job, the plan, the quantization, the whole thing, this",
)
