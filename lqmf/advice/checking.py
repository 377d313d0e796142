"""Checks a provider's answer against the candidates, the schema's bounds and what the user said.

Pure; asks nobody. An answer that contradicts the user, names a candidate that was not offered or holds control
characters is refused as a whole; a value that is only out of bounds is dropped by itself. Each refusal is said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lqmf.advice.answers import MOST_MODELS, PRIORITIES, NamedModels, Recommendation
from lqmf.fit.quality import CLEAR
from lqmf.fit.solver import Solution
from lqmf.model_files.refs import is_repo_id, printable
from lqmf.records import Advice, Candidate, Request

MOST_OFFERED = 16
LEAST_CONTEXT, MOST_CONTEXT = 512, 10_000_000  # tokens; the most where nobody says what the model was trained for
REASON_LENGTH, NOTE_LENGTH, MOST_NOTES = 300, 200, 2  # characters, characters, notes
_COPY = re.compile(r"(?i)(?:^|[-_./])(?:gguf|ggml|gptq|awq|exl2|bnb|mlx|int4|int8|[2-8]-?bit)(?:$|[-_./])")


class _Unfit(Exception):
    """The answer is refused as a whole; the text says why."""


# ---------------------------------------------------------------- what may be chosen


def offered(solution: Solution, asked: Request) -> tuple[Candidate, ...]:
    """Return the candidates that a provider may choose from: the planner's best, its own choice with other contexts,
    other types with its context that lose no more than clearly.

    All of them fit and keep what the user said; where the user said a priority, none is worse by it than the planner's
    choice.
    """
    chosen = solution.recommended
    if chosen is None:
        return ()
    lossless_first = sorted(solution.pareto, key=lambda c: (c.loss.kl_nats, -c.run.gpu_layers, -c.run.ubatch))
    most = max(CLEAR, chosen.loss.kl_nats)
    longer = [one for one in lossless_first if one.type == chosen.type]
    others = [c for c in lossless_first if c.run.context == chosen.run.context and c.loss.kl_nats <= most]
    rest = (*_first(longer, lambda one: one.run.context), *_first(others, lambda one: one.type))
    known: dict[tuple[Any, ...], Candidate] = {}
    for one in (*solution.best, *rest):  # batch and layers on the GPU follow from the rest
        if one.method == chosen.method and _keeps(one, chosen, asked.priority):
            known.setdefault((one.method, *pick_slots(one).values()), one)
    return tuple(known.values())[:MOST_OFFERED]


def _first(candidates: Sequence[Candidate], of: Callable[[Candidate], Any]) -> list[Candidate]:
    """Return the first candidate of each kind."""
    found: dict[Any, Candidate] = {}
    for one in candidates:
        found.setdefault(of(one), one)
    return list(found.values())


def _keeps(one: Candidate, chosen: Candidate, priority: str | None) -> bool:
    """Return whether `one` is at least as good as `chosen` by `priority`."""
    if priority == "quality":
        return one.loss.kl_nats <= chosen.loss.kl_nats
    if priority == "speed":
        if one.speed and chosen.speed:
            return one.speed.generation >= chosen.speed.generation
        return one.read_bytes <= chosen.read_bytes and one.run.gpu_layers >= chosen.run.gpu_layers
    if priority == "size":
        return one.file_bytes <= chosen.file_bytes and one.memory.total <= chosen.memory.total
    return True


# ---------------------------------------------------------------- a recommendation


def checked(
    answer: Recommendation,
    advice: Advice,
    choices: Sequence[Candidate],
    chosen: Candidate,
    asked: Request,
    trained: int | None,
) -> Advice:
    """Return `advice` with the parts of `answer` that pass the checks. `asked` is the user's request, `chosen` the
    planner's own choice out of `choices`, `trained` the model's longest context in tokens."""
    try:
        _refuse_control((answer.reason, *answer.notes, answer.candidate or "", answer.priority or ""))
        _refuse_contradiction(answer, asked)
        filled, dropped = _filled(answer, choices, chosen, asked, trained)
    except _Unfit as why:
        return replace(advice, dropped=(f"Its answer was left out: {why}.",))
    notes = tuple(_line(note, NOTE_LENGTH) for note in answer.notes if note.strip())[:MOST_NOTES]
    return replace(advice, slots=filled, reason=_line(answer.reason, REASON_LENGTH), notes=notes, dropped=dropped)


def _refuse_control(texts: Sequence[str]) -> None:
    for text in texts:
        if any(unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t\u200c\u200d" for c in text):
            raise _Unfit("it held control characters")


def _refuse_contradiction(answer: Recommendation, asked: Request) -> None:
    for name in ("context", "priority"):
        said, told = getattr(asked, name), getattr(answer, name)
        if said is not None and told is not None and told != said:
            raise _Unfit(f"you said {name} {said}, and it said another")


def _filled(
    answer: Recommendation,
    choices: Sequence[Candidate],
    chosen: Candidate,
    asked: Request,
    trained: int | None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    if answer.candidate is not None:
        picked = next((one for one in choices if one.id == answer.candidate), None)
        if picked is None:
            raise _Unfit(f"{printable(answer.candidate, 60)} was not offered")
        return ({} if picked.id == chosen.id else _open(pick_slots(picked), asked)), ()
    return _wished(answer, asked, trained)


def pick_slots(candidate: Candidate) -> dict[str, Any]:
    """Return the slots that lead the planner to `candidate`."""
    run = candidate.run
    found = {"type": candidate.type, "context": run.context, "kv_type": run.cache}
    return {name: value for name, value in found.items() if value}


def _wished(answer: Recommendation, asked: Request, trained: int | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the slots of an answer that names no candidate, which the planner then solves for, and sentences on those
    dropped."""
    wish: dict[str, Any] = {}
    dropped = []
    if answer.context is not None:
        if LEAST_CONTEXT <= answer.context <= (trained or MOST_CONTEXT):
            wish["context"] = answer.context
        else:
            dropped.append("Its context was left out: the model has none of that length.")
    settled = any(getattr(asked, name) for name in ("type", "target_size_gb"))  # then there is nothing left to weigh
    if answer.priority is not None and not settled:
        if answer.priority in PRIORITIES:
            wish["priority"] = answer.priority
        else:
            dropped.append("Its priority was left out: there is none of that name.")
    return _open(wish, asked), tuple(dropped)


def _open(wish: Mapping[str, Any], asked: Request) -> dict[str, Any]:
    return {name: value for name, value in wish.items() if getattr(asked, name) is None}


def _line(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


# ---------------------------------------------------------------- models by name


def named_models(answer: NamedModels) -> list[tuple[str, str]]:
    """Return the ids that follow the Hub's rules, each with its reason, the best first; copies that are quantized
    already are left out."""
    found: dict[str, str] = {}
    for one in answer.models:
        try:
            _refuse_control((one.id, one.reason))
        except _Unfit:
            continue
        if one.id.count("/") == 1 and is_repo_id(one.id) and not _COPY.search(one.id):
            found.setdefault(one.id, _line(one.reason, NOTE_LENGTH))
    return list(found.items())[:MOST_MODELS]
