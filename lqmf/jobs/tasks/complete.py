"""Asks an artifact for help, as the worker's task: messages in, prose or a JSON document of a given schema out.

The document is valid whatever the model: decoding is held to the schema, and strings are kept short enough that the
answer ends in time. Knows engines and schemas; judges nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Message, Sampling
from lqmf.engines.registry import open_artifact
from lqmf.errors import MeasurementError, UsageError
from lqmf.events import Emit, stage
from lqmf.ggml.json_grammar import BYTES, bounded, most_characters
from lqmf.records import Task

LONGEST_STRING = 400  # characters
LEAST_ROOM = 64  # tokens for an answer
_CUT = "\n[..]\n"  # stands where a prompt was too long for the model's context


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Answer the messages with prose, or with a JSON document of the schema.

    `params`: {"artifact": path, "messages": [{"role", "content"}], "schema": a JSON schema or None, "max_tokens",
    "device"}. Pieces of text go out as Progress notes. Returns {"text", "input_tokens", "output_tokens", "cut_tokens",
    "seconds", "engine"}; `cut_tokens` is the number of tokens that the prompt had too many. Raises LqmfError.
    """
    params = task.params
    path = Path(params["artifact"])
    opened = open_artifact(path, device=params.get("device") or "auto")
    with stage(emit, "complete", f"Asking {path.name}", "tokens") as report, opened as engine:
        started = time.perf_counter()
        room = min(params["max_tokens"], max(LEAST_ROOM, engine.context_length // 3))
        prompt, cut = fitted(engine, params["messages"], engine.context_length - room)
        text, count = "", 0
        for sampling in samplings(params.get("schema"), room):
            text, count = "", 0
            for piece in engine.generate(prompt, sampling):
                count += piece.token is not None
                text += piece.text
                if piece.text:
                    report(count, room, piece.text)
            if not sampling.json_schema or _is_json(text):
                break
        else:
            raise MeasurementError("The model's answer did not end.", "Give it more room: llm_max_tokens.")
        spent = {"input_tokens": len(prompt), "output_tokens": count, "cut_tokens": cut}
        return {"text": text, **spent, "seconds": time.perf_counter() - started, "engine": engine.name}


def samplings(schema: dict[str, Any] | None, room: int) -> Iterator[Sampling]:
    """Yield how to sample: once for prose; for a document first with strings of a usual length, then, should it not end
    within `room` tokens, with strings short enough that it must."""
    if schema is None:
        yield Sampling(max_tokens=room)
        return
    usual = min(LONGEST_STRING, most_characters(schema, room))
    sure = min(usual, most_characters(schema, room, tokens_a_character=BYTES))
    for length in dict.fromkeys((usual, sure)):
        yield Sampling(max_tokens=room, json_schema=json.dumps(bounded(schema, length)))


def fitted(engine: LocalEngine, messages: Sequence[Message], room: int) -> tuple[list[int], int]:
    """Return (the prompt as at most `room` tokens, how many tokens were left out), cut from the middle of the longest
    message. Raises UsageError where the context is too short for that."""
    prompt = _tokens(engine, messages)
    over = len(prompt) - room
    if over <= 0:
        return prompt, 0
    longest = max(range(len(messages)), key=lambda place: len(messages[place]["content"]))
    words = engine.tokenize(messages[longest]["content"])
    cut = over + len(engine.tokenize(_CUT)) + 16  # tokens join differently at the seams
    if cut >= len(words):
        raise UsageError("The model's context is too short for the question.", "Choose an artifact with a longer one.")
    start = (len(words) - cut) // 2
    kept = engine.detokenize(words[:start]) + _CUT + engine.detokenize(words[start + cut :])
    shorter = [{**m, "content": kept} if place == longest else m for place, m in enumerate(messages)]
    return _tokens(engine, shorter)[-room:], cut


def _tokens(engine: LocalEngine, messages: Sequence[Message]) -> list[int]:
    """The prompt with the beginning token once, also where a chat template has already written it out."""
    tokens = engine.tokenize(_rendered(engine, messages), special=True, bos=True)
    return tokens[1:] if len(tokens) > 1 and tokens[0] == tokens[1] else tokens


def _rendered(engine: LocalEngine, messages: Sequence[Message]) -> str:
    """Render the messages through the model's chat template; a template without a place for the system's message gets
    it together with the user's."""
    try:
        return engine.render(messages)
    except UsageError:
        joined = "\n\n".join(message["content"] for message in messages)
    try:
        return engine.render([{"role": "user", "content": joined}])
    except UsageError:
        return joined + "\n"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
