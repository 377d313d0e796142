"""Collects a model's answers to fixed prompts, and tells whether they loop. Knows an engine that generates; judges form
only.

The prompts are fixed and sampling is seeded: the same file gives the same samples on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lqmf.engines.promise import Engine, Sampling
from lqmf.errors import UsageError

QUESTIONS = (
    "What is a database? Answer in one sentence.",
    "Write a short Python function that adds two numbers.",
    "Explain in two sentences why the sky is blue.",
    "List three uses of a text editor.",
    "Translate to French: The library opens at nine.",
    "What is 12 times 12?",
)
BEGINNINGS = (
    "The function returns a list of",
    "A database is",
    "The following example shows how to",
    "In the morning, the first thing that",
    "If the file does not exist, then",
    "The most important difference between the two is",
)
SAMPLING = Sampling(max_tokens=96, temperature=0.7, top_p=0.95, seed=1)


@dataclass(frozen=True)
class Sample:
    """One prompt and its answer. `ended` says whether the model stopped by itself."""

    prompt: str
    response: str
    tokens: tuple[int, ...]
    first_token_seconds: float
    seconds: float
    ended: bool
    through_template: bool

    def to_json(self) -> dict[str, Any]:
        """Return the receipt's form: the prompt as a person reads it, the answer, its number of tokens, and whether it
        ended."""
        return {"prompt": self.prompt, "response": self.response, "tokens": len(self.tokens), "ended": self.ended}


def take(engine: Engine, count: int, sampling: Sampling = SAMPLING) -> Iterator[Sample]:
    """Yield up to `count` samples, each when it is done: answers to QUESTIONS through the chat template, or
    continuations of BEGINNINGS where the model has no template."""
    chat = _has_template(engine)
    for prompt in (QUESTIONS if chat else BEGINNINGS)[:count]:
        yield take_one(engine, prompt, sampling, chat=chat)


def take_one(engine: Engine, prompt: str, sampling: Sampling, *, chat: bool) -> Sample:
    """Return the answer to `prompt`, timed: at most `sampling.max_tokens` tokens, and at most half of the context."""
    text = engine.render([{"role": "user", "content": prompt}]) if chat else prompt
    start = time.perf_counter()
    first: float | None = None
    tokens: list[int] = []
    words: list[str] = []
    limited = replace(sampling, max_tokens=min(sampling.max_tokens, engine.context_length // 2))
    for piece in engine.generate(text, limited):
        words.append(piece.text)
        if piece.token is not None:
            first = first or time.perf_counter() - start
            tokens.append(piece.token)
    seconds = time.perf_counter() - start
    ended = len(tokens) < limited.max_tokens
    return Sample(prompt, "".join(words), tuple(tokens), first or seconds, seconds, ended, chat)


def _has_template(engine: Engine) -> bool:
    try:
        engine.render([{"role": "user", "content": "Hello"}])
    except UsageError:
        return False
    return True


def loops(tokens: Sequence[int]) -> bool:
    """Tell whether an answer ends in a loop: its last 48 tokens repeat with a period of at most 16 tokens."""
    tail = list(tokens[-48:])
    return len(tail) == 48 and any(tail[period:] == tail[:-period] for period in range(1, 17))
