"""The prompts of a benchmark, by category, and their form for a model. Knows files of prompts and an engine; judges
nothing.

A file is JSON: {"passages": {name: text}, "prompts": [{"id", "category", "messages": [{"role", "content"}], "passage":
name or left out}]}, where the passage stands before the last message; or plain text with a prompt a line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqmf import assets
from lqmf.engines.promise import Engine
from lqmf.errors import UsageError

BUILT_IN = assets.FOLDER / "benchmark" / "prompts.json"
ROLES = ("system", "user", "assistant")
_FORM = "A file of prompts is text with a prompt a line, or JSON like lqmf/assets/benchmark/prompts.json."


@dataclass(frozen=True)
class Prompt:
    """A conversation to be answered; `text` is its last message as a person reads it, without the passage."""

    id: str
    category: str
    messages: tuple[Mapping[str, str], ...]
    text: str


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order, with the name and the SHA-256 of their file."""

    name: str
    sha256: str
    prompts: tuple[Prompt, ...]

    def first(self, each: int | None) -> PromptSet:
        """Return the set with the first `each` prompts of every category (None: all), in their order."""
        seen: Counter[str] = Counter()
        chosen = []
        for prompt in self.prompts:
            seen[prompt.category] += 1
            if each is None or seen[prompt.category] <= each:
                chosen.append(prompt)
        return PromptSet(self.name, self.sha256, tuple(chosen))


def read(path: Path = BUILT_IN) -> PromptSet:
    """Return the prompts in a file. Raises UsageError for a file that cannot be read, is empty, or has another form."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The prompts in {path} cannot be read: {error}.", _FORM) from error
    prompts = _of_json(path, text) if path.suffix == ".json" else _of_lines(text)
    if not prompts or len({prompt.id for prompt in prompts}) < len(prompts):
        raise UsageError(f"{path} holds no prompts, or two with the same id.", _FORM)
    return PromptSet(path.stem, hashlib.sha256(data).hexdigest(), tuple(prompts))


def _of_lines(text: str) -> list[Prompt]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [Prompt(str(n), "own", ({"role": "user", "content": line},), line) for n, line in enumerate(lines, 1)]


def _of_json(path: Path, text: str) -> list[Prompt]:
    try:
        document = json.loads(text)
        passages = document.get("passages") or {}
        return [_prompt(entry, passages) for entry in document["prompts"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(f"{path} does not have the form of prompts: {error}.", _FORM) from error


def _prompt(entry: Mapping[str, Any], passages: Mapping[str, str]) -> Prompt:
    messages = [{"role": str(m["role"]), "content": str(m["content"])} for m in entry["messages"]]
    if messages[-1]["role"] != "user" or any(message["role"] not in ROLES for message in messages):
        raise ValueError(f"the messages of {entry['id']} do not end with the user's")
    text = messages[-1]["content"]
    if entry.get("passage"):
        messages[-1] = {"role": "user", "content": f"{passages[entry['passage']]}\n\n{text}"}
    return Prompt(str(entry["id"]), str(entry["category"]), tuple(messages), text)


def asked(engine: Engine, messages: Sequence[Mapping[str, str]]) -> tuple[str, tuple[str, ...]]:
    """Return (text, stop strings) of `messages`: by the model's own chat template, with no stop string; without a
    template as a dialogue in plain text, which stops where the user would speak again."""
    try:
        return engine.render(messages), ()
    except UsageError:
        lines = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
        return "\n".join([*lines, "Assistant:"]), ("\nUser:",)
