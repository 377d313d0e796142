"""Lets a model answer a set of prompts greedily: the same file gives the same answers. Knows an engine and prompts;
judges nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Sampling
from lqmf.quality.benchmark.prompts import Prompt, PromptSet, asked
from lqmf.quality.benchmark.scores import Answer
from lqmf.quality.receipt.perplexity import log_softmax, surprise_nats


@dataclass(frozen=True)
class Answered:
    """A prompt and its answer; `answer` is None where the prompt does not fit the context, for `reason`."""

    prompt: Prompt
    prompt_tokens: tuple[int, ...]
    answer: Answer | None
    seconds: float = 0.0
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the benchmark file's form, with the token ids, so that another model can read them."""
        answer = self.answer
        return {
            "id": self.prompt.id,
            "category": self.prompt.category,
            "prompt": self.prompt.text,
            "prompt_tokens": list(self.prompt_tokens),
            "response": answer and answer.text,
            "tokens": answer and list(answer.tokens),
            "ended": answer and answer.ended,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def take(engine: LocalEngine, prompts: PromptSet, max_tokens: int) -> Iterator[Answered]:
    """Yield each prompt's answer, when it is done: at most `max_tokens` tokens."""
    for prompt in prompts.prompts:
        text, stop = asked(engine, prompt.messages)
        tokens = prompt_tokens(engine, text)
        if len(tokens) + max_tokens > engine.context_length:
            reason = (
                f"prompt and answer need {len(tokens) + max_tokens} tokens; the context has {engine.context_length}"
            )
            yield Answered(prompt, tuple(tokens), None, reason=reason)
            continue
        started = time.perf_counter()
        answer = _answer(engine, tokens, Sampling(max_tokens=max_tokens, stop=stop))
        yield Answered(prompt, tuple(tokens), answer, time.perf_counter() - started)


def _answer(engine: LocalEngine, prompt: Sequence[int], sampling: Sampling) -> Answer:
    words: list[str] = []
    tokens: list[int] = []
    for piece in engine.generate(prompt, sampling):
        words.append(piece.text)
        if piece.token is not None:
            tokens.append(piece.token)
    text = "".join(words)
    return Answer(text, tuple(tokens), _ended(engine, text, tokens, sampling))


def _ended(engine: LocalEngine, text: str, tokens: Sequence[int], sampling: Sampling) -> bool:
    """Whether the model stopped by itself: before its limit, or with a string that begins the next turn."""
    return len(tokens) < sampling.max_tokens or any(engine.detokenize(tokens).endswith(s) for s in sampling.stop)


def prompt_tokens(engine: LocalEngine, text: str) -> list[int]:
    """Return the tokens of a prompt, with the beginning token once, even where the chat template writes it as well."""
    tokens, begin = engine.tokenize(text, special=True, bos=True), engine.tokenize("", bos=True)
    twice = bool(begin) and len(tokens) > 1 and tokens[0] == tokens[1] == begin[0]
    return tokens[1:] if twice else tokens


def surprise(engine: LocalEngine, prompt: Sequence[int], answer: Sequence[int]) -> float | None:
    """Return the mean negative log-likelihood of an answer's tokens after its prompt, in nats; None where the answer is
    empty or both do not fit the context."""
    import numpy as np

    window = [*prompt, *answer]
    if not answer or len(window) > engine.context_length:
        return None
    (logits,) = engine.logits([window], first=len(prompt) - 1)
    found = surprise_nats(log_softmax(logits[:-1]), np.asarray(answer, dtype=np.int64))
    return float(found.mean())


def answer_of(row: Mapping[str, Any], nll_nats: float | None = None) -> Answer:
    """Return the answer that `Answered.to_json` wrote as `row`. Its prompt must have had an answer."""
    return Answer(row["response"], tuple(row["tokens"]), row["ended"], nll_nats)
