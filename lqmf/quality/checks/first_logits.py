"""Measures the next tokens that a model expects after one fixed sentence: a fingerprint of all its weights and of the
engine that runs them.

The figures are kept in the receipt when an artifact is measured, and compared by `lqmf verify`: if the file is
unchanged and the figures differ, the engine runs it differently on this machine. Knows engines and figures; no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqmf.engines.promise import Engine
from lqmf.quality.receipt.perplexity import log_softmax
from lqmf.records import Check

TEXT = "A list is a mutable sequence, and a tuple is an immutable"
TOP = 8  # most likely next tokens that are kept
# Log-probabilities may differ so much, in nats. On the demo model, made as `auto`, other numbers of threads and batch
# sizes change nothing, an 8-bit cache 0.044, and any one of its 74 tensors zeroed 0.16 at least.
LIMIT_NATS = 0.1


def measure(engine: Engine, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return {"tokens": the sentence's ids, "top": [[token, log-probability], ..]}: the TOP most likely next tokens,
    the most likely first; where `before` is given, the log-probabilities (in nats) of its tokens."""
    tokens = engine.tokenize(TEXT, bos=True)
    (logits,) = engine.logits([tokens], first=len(tokens) - 1)
    expected = log_softmax(logits)[-1]
    asked = [int(token) for token, _ in before["top"]] if before else expected.argsort()[::-1][:TOP].tolist()
    found = [[token, round(float(expected[token]), 4)] for token in asked if token < len(expected)]
    return {"tokens": [int(token) for token in tokens], "top": found}


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Check:
    """Return the check that the sentence in `now` has the token ids of `before`, and log-probabilities within
    LIMIT_NATS."""
    if before["tokens"] != now["tokens"]:
        return Check("first_logits", False, "a sentence is read as other tokens than when it was measured")
    pairs = dict(map(tuple, before["top"])), dict(map(tuple, now["top"]))
    apart = max((abs(pairs[0][token] - pairs[1].get(token, float("-inf"))) for token in pairs[0]), default=0.0)
    told = f"log-probabilities differ by {apart:.4f} nats at most from when it was measured"
    return Check("first_logits", apart <= LIMIT_NATS, told if apart else "the same as when it was measured")
