"""Reads a line as an answer to the question that is open. Pure; knows the question and the line, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lqmf.records import Option, Question
from lqmf.understanding.assent import CALLS_OFF, CONFIRMS, REFUSES, TAKES
from lqmf.understanding.intents import classify
from lqmf.understanding.patterns import Pattern
from lqmf.understanding.slots import extract
from lqmf.understanding.wording import Wording, read


@dataclass(frozen=True)
class Reply:
    """The role of a line at a question. `value` counts for the kind "value" alone; "other" is no answer: a new turn."""

    kind: Literal["value", "why", "back", "cancel", "other"]
    value: Any = None


class Ask(Protocol):
    """The other end of the conversation: a terminal, a replayed file, a program, or nobody."""

    @property
    def interactive(self) -> bool:
        """Return whether a person sits at a terminal and can pick from a list that was not asked for."""
        ...

    def show(self, record: Any) -> None:
        """Show a record in passing, before the answer: a plan, a notice."""
        ...

    async def __call__(self, question: Question) -> Reply:
        """Return the answer. Raises NeedsInput where nobody can be asked."""
        ...


_WHY = Pattern(r"^(?:why|how come|what for|reason)\b(?! not \S).{0,40}$|^\?$")
_BACK = Pattern(
    r"^(?:(?:go|step|one step|take me) )?(?:back|previous(?: question)?|undo)(?: (?:please|one(?: step)?"
    r"|a step|up))*$"
)
_ORDER = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_SPOKEN = Pattern(
    r"^(?:(?:please|use|take|choose|pick|make it|i want|i would like|let us (?:use|take|go with)|go (?:with"
    r"|for)|with|in|on|to|the|as|option|number|answer|just|only|ok|hmm|well|for|maybe|a|an|yes|number"
    r"|#)[ ,]+)*"
)


def answer(question: Question, line: str) -> Reply:
    """Return the reply that `line` is to `question`: a value for it, a word about it, or something else."""
    wording = read(line)
    text = wording.plain.strip(" .!,?") or wording.text.strip()
    if question.kind == "secret":
        return (
            Reply("cancel")
            if CALLS_OFF.match(text)
            else Reply("value", line.strip())
            if line.strip()
            else Reply("cancel")
        )
    for kind, pattern in (("why", _WHY), ("back", _BACK), ("cancel", CALLS_OFF)):
        if pattern.match(text) and not _is_option(question, text):
            return Reply(kind)  # type: ignore[arg-type]
    if question.kind == "confirm":
        return _confirmation(text)
    return _chosen(question, wording, text)


def about(question: Question, line: str) -> str:
    """Return a line that asks about options by their numbers with the options' values in place of the numbers: "why not
    3?" -> "why not Q8_0?". Any other line stays as it is."""
    plain = read(line).plain
    if not question.options or not _ASKS_ABOUT.match(plain) or extract(_NUMBERED.sub(" ", plain)):
        return line

    def option(found: re.Match[str]) -> str:
        place = int(found[1]) - 1
        return str(question.options[place].value) if 0 <= place < len(question.options) else found[0]

    return _NUMBERED.sub(option, line)


def is_curious(question: Question, line: str) -> bool:
    """Return whether a line at a question asks for help, or to know something, rather than answers it or changes the
    wish."""
    if changes(question, line):
        return False
    rule = classify(read(about(question, line)).plain)
    return rule is not None and rule.intent in ("explain", "help")


_ASKS_ABOUT = Pattern(
    r"^(?:(?:and|but|ok|so|hmm+)[ ,]+)*(?:why|what|how|which|is|are|does|explain|tell me|difference|compare)\b"
)
_NUMBERED = Pattern(r"(?<![\w.])(?:(?:number|option|no\.?|#) ?)?([1-9]\d?)(?![\w.]| ?(?:bits?|gb|k)\b)")


def changes(question: Question, line: str) -> bool:
    """Return whether a line that answers no option still says something of the wish ("5 bits", "for cpu",
    "smaller")."""
    wording = read(line)
    if question.kind != "plan" or wording.entities or len(wording.plain.split()) > 8:
        return False
    return bool(extract(wording.plain)) and not _asks_for_something_else(wording)


def _confirmation(text: str) -> Reply:
    if REFUSES.match(text):
        return Reply("value", False)
    return Reply("value", True) if CONFIRMS.match(text) else Reply("other")


def _asks_for_something_else(wording: Wording) -> bool:
    """Return whether the line is a request of its own ("stats", "quantize gpt2 to 8 bits")."""
    rule = classify(wording.plain)
    return rule is not None and (rule.intent not in ("llm_switch", "resume", "quantize") or bool(wording.entities))


def _is_option(question: Question, text: str) -> bool:
    return any(text == str(option.label).lower() or text == str(option.value).lower() for option in question.options)


def _chosen(question: Question, wording: Wording, text: str) -> Reply:
    if _asks_for_something_else(wording):
        return Reply("other")
    spoken = _SPOKEN.sub("", text).removesuffix(" please").removesuffix(" one").strip()
    option = _option(question, wording, spoken)
    if option is not None:
        return Reply("value", option.value)
    booleans = {option.value for option in question.options if isinstance(option.value, bool)}
    if booleans and (TAKES.match(text) or REFUSES.match(text)):
        return Reply("value", REFUSES.match(text) is None)
    if TAKES.match(text) and question.default is not None:
        return Reply("value", question.default)
    if question.options and question.id != "model":  # models that are offered are only suggestions
        return _unlisted(question, wording)
    return _free(question, wording, text)


def _option(question: Question, wording: Wording, spoken: str) -> Option | None:
    """Return the option that is meant: by its value, its label, the slot that it fills, or its number in the list."""
    for option in question.options:
        if (
            spoken in (_flat(option.value), _flat(option.label))
            or wording.text.strip().lower() == str(option.label).lower()
        ):
            return option
    said = extract(wording.plain)
    if set(said) == {question.id}:
        return next((option for option in question.options if option.value == said[question.id]), None)
    digits = re.fullmatch(r"(\d{1,2})\)?", spoken)
    index = int(digits[1]) - 1 if digits else _ORDER.index(spoken) if spoken in _ORDER else -1
    if spoken == "last" and question.options:
        return question.options[-1]
    if 0 <= index < len(question.options):
        return question.options[index]
    starts = [option for option in question.options if len(spoken) > 2 and _flat(option.label).startswith(spoken)]
    return starts[0] if len(starts) == 1 else None


def _flat(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(str(value).lower().split())


def _unlisted(question: Question, wording: Wording) -> Reply:
    """Return the value of a line that says nothing but a value of the right kind that is not in the list ("Q5_K_S")."""
    said = extract(wording.plain)
    alone = set(said) == {question.id} and not wording.entities and len(wording.plain.split()) <= 5
    return Reply("value", said[question.id]) if alone else Reply("other")


def _free(question: Question, wording: Wording, text: str) -> Reply:
    said = extract(wording.plain)
    if question.id in said and len(text.split()) <= 6:
        return Reply("value", said[question.id])
    if question.id == "bits" and re.fullmatch(r"\d{1,2}", text):
        return Reply("value", int(text))
    if question.id in ("model", "name", "calibration"):
        named = [entity.text for entity in wording.entities]
        short = len(text.split()) <= 4
        return Reply("value", named[0]) if len(named) == 1 and short else _word(wording) if short else Reply("other")
    return Reply("value", wording.text) if wording.text else Reply("other")


def _word(wording: Wording) -> Reply:
    return Reply("value", wording.text) if re.fullmatch(r"[\w./~@+-]+", wording.text) else Reply("other")
