"""Measures a model behind an address from outside: samples, speed, and its loss on the evaluation text where the server
gives the log-probabilities of a prompt.

Knows the engine over HTTP; sees no file, no memory and no processor, and says so. The figures of a receipt and of a
benchmark have the names and units that they have for a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from lqmf import workspace
from lqmf.engines.http.engine import HttpEngine, Reply
from lqmf.engines.promise import Message, Sampling
from lqmf.errors import LqmfError, ModelNotFound, UsageError
from lqmf.events import Report
from lqmf.quality.benchmark.prompts import PromptSet
from lqmf.quality.receipt.perplexity import Perplexity
from lqmf.quality.receipt.samples import BEGINNINGS, QUESTIONS, SAMPLING
from lqmf.records import Artifact, Check, to_json
from lqmf.texts import evaluation

PASSAGE = 2000  # characters that are read at once; the second half is scored, as of a receipt's windows
LEAST_TEXT = 500  # characters of a prompt that is timed
NOT_HERE = "the model runs behind an address: its files and its processes are not seen"
NO_SOURCE = "an address gives no distribution over all tokens that could be compared with the source's"
UNCOUNTED = "the server does not count tokens (`stream_options` with `include_usage`)"
UNSEEN = ("peak_memory_bytes", "load_seconds", "bits_per_weight", "size_bytes", "utilization", "first_logits")
UNCOMPARED = ("base", "perplexity_ratio", "right_token", "kl_divergence", "top1_agreement")


@dataclass(frozen=True)
class Depth:
    """The amount of work: the number of samples; timed runs, with the length of their prompt (characters) and answer
    (tokens); passages of the text (None: all); prompts of each category (None: all)."""

    samples: int
    runs: int
    characters: int
    written_tokens: int
    passages: int | None
    prompts_each: int | None


DEPTHS = {
    "quick": Depth(3, 3, 4000, 64, 16, 2),
    "comprehensive": Depth(6, 5, 8000, 128, None, None),
}


def artifact(address: str, model: str) -> Artifact:
    """Return the record of the model `model` behind `address`, as results name it: a foreign artifact without files."""
    name = workspace.safe_name(f"{address.partition('://')[2]}_{model}")
    return Artifact(name, address, "http", 0, "", 0, None, None, model, foreign=True)


def chosen_model(engine: HttpEngine, named: str | None) -> str:
    """Return the model to measure: `named`, else the only model that the server offers. Raises ModelNotFound for a name
    that the server does not offer, UsageError where it offers several models or none."""
    try:
        offered = engine.models()
    except ModelNotFound:  # not every server has such a list
        offered = [named] if named else []
    if named and (named in offered or not offered):
        return named
    told = ", ".join(offered[:8]) or "none"
    if named:
        raise ModelNotFound(
            f"The server does not offer '{named}'; it offers: {told}.", "Name one of them with --model."
        )
    if len(offered) != 1:
        raise UsageError(f"Which model? The server offers: {told}.", "Name one of them with --model.")
    return offered[0]


# ---------------------------------------------------------------- a receipt


def receipt(engine: HttpEngine, depth: Depth, text: Path, report: Report) -> dict[str, Any]:
    """Return the receipt's fields, null with a reason where an address does not show them. Raises the engine's errors
    when the server cannot be reached."""
    total = depth.samples + depth.runs + 1
    replies = []
    for prompt in QUESTIONS[: depth.samples]:
        replies.append((prompt, _answer(engine, prompt, SAMPLING)))
        report(len(replies), total, "answering")
    length = _fitting(engine, depth.characters)
    timed = [_timed(engine, length, depth.written_tokens, run) for run in range(depth.runs)]
    report(total - 1, total, "timed")
    lost = loss(engine, text, depth.passages)
    report(total, total, "read the text")
    empty = sum(not reply.text.strip() for _, reply in replies)
    speaks = Check("speaks", empty == 0, f"{empty} of {len(replies)} answers are empty" if empty else "")
    speed = {"prompt": _middle(map(_reading, timed)), "generation": _middle(each.tokens_per_second for each in timed)}
    reasons = {**dict.fromkeys(UNSEEN, NOT_HERE), **dict.fromkeys(UNCOMPARED, NO_SOURCE), **lost.pop("reasons")}
    reasons |= {f"tokens_per_second.{name}": UNCOUNTED for name, value in speed.items() if value is None}
    return {
        "checks": to_json([speaks]),
        "samples": [_sample(prompt, reply) for prompt, reply in replies],
        "latency_seconds": {
            "first_token": median(reply.first_token_seconds for _, reply in replies),
            "per_response": median(reply.seconds for _, reply in replies),
        },
        "tokens_per_second": speed,
        "measured_on": {"cpu": None, "gpu": None, "engine": engine.name},
        **lost,
        "reasons": {**reasons, "measured_on.cpu": NOT_HERE, "measured_on.gpu": NOT_HERE},
    }


def _sample(prompt: str, reply: Reply) -> dict[str, Any]:
    return {"prompt": prompt, "response": reply.text, "tokens": reply.tokens or len(reply.pieces), "ended": reply.ended}


def _answer(engine: HttpEngine, asked: str | Sequence[Message], sampling: Sampling) -> Reply:
    """The answer of a chat; of a server without chats, or a model without a template, the continuation of the text."""
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    try:
        return engine.reply(messages, sampling)
    except (ModelNotFound, UsageError):
        return engine.reply(messages[-1]["content"], sampling)


def _fitting(engine: HttpEngine, characters: int) -> int:
    """The number of characters that the server takes in one prompt: `characters`, halved until accepted or not above
    LEAST_TEXT."""
    while characters > LEAST_TEXT:
        try:
            _timed(engine, characters, 1, 0)
        except UsageError:
            characters //= 2
        else:
            break
    return characters


def _timed(engine: HttpEngine, characters: int, tokens: int, run: int) -> Reply:
    """The timed continuation of a long text. Each text begins at another word, so that no cache of the server holds
    it."""
    words = " ".join((*BEGINNINGS, *QUESTIONS)).split()
    start = run % len(words)
    text = " ".join([f"{time.time_ns()}", *words[start:], *words * (characters // 400 + 1)])[:characters]
    return engine.reply(text, Sampling(max_tokens=tokens))


def _reading(reply: Reply) -> float | None:
    return reply.prompt_tokens / reply.first_token_seconds if reply.prompt_tokens else None


def _middle(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def loss(engine: HttpEngine, text: Path, most: int | None) -> dict[str, Any]:
    """Return the perplexity on `text` with the number of tokens and passages (at most `most`) that were scored; null,
    with the reason, where the server gives no log-probabilities."""
    import numpy as np

    perplexity, windows = Perplexity(), 0
    whole = " ".join(text.read_text(encoding="utf-8").split())
    passages = [whole[start : start + PASSAGE] for start in range(0, len(whole) - PASSAGE, PASSAGE)][:most]
    try:
        for passage in passages:
            scored = [nats for place, nats in engine.surprises(passage) if place >= PASSAGE // 2]
            if scored:
                perplexity.count(np.asarray(scored, dtype=np.float64))
                windows += 1
    except LqmfError as error:
        return _unread(error.message)
    if not windows:
        return _unread("the server gave no log-probability of any token of the text")
    value, error_bar = perplexity.value, perplexity.standard_error
    told = {**evaluation.told(text), "passages": f"{windows} of {PASSAGE} characters, of each the second half"}
    figures = {"perplexity": value, "perplexity_standard_error": error_bar}
    finite = {name: one if np.isfinite(one) else None for name, one in figures.items()}
    beyond = {name: "beyond measure" for name, one in finite.items() if one is None}
    return {
        **finite,
        "tokens_evaluated": perplexity.tokens,
        "window_tokens": 2 * perplexity.tokens // windows,
        "text": told,
        "reasons": beyond,
    }


def _unread(why: str) -> dict[str, Any]:
    names = ("perplexity", "perplexity_standard_error")
    return {**dict.fromkeys(names), "reasons": dict.fromkeys(names, why.rstrip("."))}


# ---------------------------------------------------------------- a benchmark


def timings(engine: HttpEngine, depth: Depth, parallel: int, prompts: PromptSet, report: Report) -> dict[str, Any]:
    """Return the figures that the worker's task `benchmark` gives of a file, as far as an address shows them: "speed",
    "answers", "prompts", "engine" and "reasons"; "load_seconds", memory and energy are null."""
    chosen = prompts.first(depth.prompts_each)
    chats = list(dict.fromkeys((1, parallel)))
    total, answers = len(chosen.prompts) + len(chats), []
    for prompt in chosen.prompts:
        reply = _answer(engine, prompt.messages, Sampling(max_tokens=depth.written_tokens))
        answers.append(
            {
                "id": prompt.id, "category": prompt.category, "prompt": prompt.text, "response": reply.text,
                "tokens": list(reply.pieces), "token_count": reply.tokens, "ended": reply.ended,
                "seconds": reply.seconds, "reason": None,
            }
        )  # fmt: skip
        report(len(answers), total, f"answering: {prompt.category}")
    speed = []
    for row in _speeds(engine, depth, chats):
        speed.append(row)
        report(len(answers) + len(speed), total, f"timed {row['parallel']} at once")
    reasons = dict.fromkeys(("load_seconds", "memory_bytes", "energy_joules_per_token.cpu"), NOT_HERE)
    return {
        "load_seconds": {"median": None, "runs": []},
        "memory_bytes": dict.fromkeys(("loaded", "one", "parallel", "gpu")),
        "energy_joules_per_token": dict.fromkeys(("cpu", "gpu")),
        "speed": speed,
        "answers": answers,
        "prompts": {"name": prompts.name, "sha256": prompts.sha256},
        "engine": engine.name,
        "reasons": {**reasons, "measured_on.cpu": NOT_HERE, "measured_on.gpu": NOT_HERE},
    }


def _speeds(engine: HttpEngine, depth: Depth, chats: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each number of chats at once. `context_tokens` is 0: a context cannot be filled without timing it."""
    length = _fitting(engine, depth.characters)
    for parallel in chats:
        runs = [_together(engine, parallel, length, depth.written_tokens, run) for run in range(depth.runs)]
        yield _row(parallel, runs)


def _together(engine: HttpEngine, parallel: int, characters: int, tokens: int, run: int) -> list[Reply]:
    with ThreadPoolExecutor(parallel) as pool:
        asked = [pool.submit(_timed, engine, characters, tokens, run * parallel + chat) for chat in range(parallel)]
        return [each.result() for each in asked]


def _row(parallel: int, runs: Sequence[Sequence[Reply]]) -> dict[str, Any]:
    """Speeds of all chats together, as sums of each chat's own."""
    prompt = _part([[(reply.prompt_tokens, _reading(reply)) for reply in replies] for replies in runs])
    generation = _part([[(reply.tokens, reply.tokens_per_second) for reply in replies] for replies in runs])
    reason = None if prompt and generation else UNCOUNTED
    return {"parallel": parallel, "context_tokens": 0, "prompt": prompt, "generation": generation, "reason": reason}


def _part(runs: Sequence[Sequence[tuple[int | None, float | None]]]) -> dict[str, Any] | None:
    """Tokens and tokens a second of a row, from those of each chat in each run; None where the server counted no
    tokens."""
    whole = [[(tokens, rate) for tokens, rate in run if tokens and rate] for run in runs]
    counted = [known for known, run in zip(whole, runs, strict=True) if len(known) == len(run)]
    if not counted:
        return None
    rates = [sum(rate for _, rate in run) for run in counted]
    tokens = fmean(tokens for run in counted for tokens, _ in run)
    return {"tokens": round(tokens), "per_second": median(rates), "runs": rates}


def is_address(name: str | None) -> bool:
    """Tell whether `name` is an address (http:// or https://), not an artifact."""
    return (name or "").lower().startswith(("http://", "https://"))
