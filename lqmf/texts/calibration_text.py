"""A calibration text in memory: its domains, read from the bytes of a file. Knows no model and no network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lqmf.engines.promise import Message
from lqmf.errors import UsageError

HUB = "hub:"
WINDOW_TOKENS = 512
_LEAST_BYTES = WINDOW_TOKENS  # no tokenizer in use makes more than one token of a byte
DEFAULT = "Leave --calibration out to use the built-in texts, or give a plain text of a few hundred KB."

Dialogue = Sequence[Message]


@dataclass(frozen=True)
class Domain:
    """Text of one kind: plain, or dialogues to be rendered as the model wants them."""

    name: str
    text: str = ""
    dialogues: tuple[Dialogue, ...] = ()


@dataclass(frozen=True)
class CalibrationText:
    """A text to calibrate on. `name` is its name in the manifest and the matrix; `sha256` is over every byte of every
    domain's file."""

    name: str
    sha256: str
    domains: tuple[Domain, ...]


def of_bytes(name: str, data: bytes, *, rows: bool) -> CalibrationText:
    """Read a text from a file's bytes; `rows` says that it is JSON lines. Raises UsageError for bytes that are no such
    text."""
    if data.startswith(b"GGUF"):
        raise UsageError(f"{name} is a GGUF file, but neither a text nor a sound importance matrix.", DEFAULT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no text in UTF-8 (byte {error.start} fits no character).", DEFAULT) from error
    if "\0" in text:
        raise UsageError(f"{name} is a binary file, not a text: it holds NUL bytes.", DEFAULT)
    if not text.strip():
        raise UsageError(f"{name} is empty.", DEFAULT)
    if len(data) < _LEAST_BYTES:
        raise UsageError(f"{name} has {len(data)} bytes, less than one window of {WINDOW_TOKENS} tokens.", DEFAULT)
    return CalibrationText(name, sha256((data,)), tuple(_rows(name, text) if rows else [Domain("text", text)]))


def sha256(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _rows(name: str, text: str) -> Iterator[Domain]:
    rows = [_object(name, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    plain = [row["text"] for row in rows if isinstance(row.get("text"), str)]
    dialogues = tuple(row["messages"] for row in rows if _is_dialogue(row.get("messages")))
    if not plain and not dialogues:
        raise UsageError(f'{name} has no line with "text" or "messages".', DEFAULT)
    if plain:
        yield Domain("text", "\n\n".join(plain))
    if dialogues:
        yield Domain("dialogues", dialogues=dialogues)


def dialogues_of(text: str, name: str) -> tuple[Dialogue, ...]:
    return next(domain.dialogues for domain in _rows(name, text) if domain.dialogues)


def _object(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"Line {number} of {name} is no JSON: {error}.", DEFAULT) from error
    if not isinstance(row, dict):
        raise UsageError(f"Line {number} of {name} is no JSON object.", DEFAULT)
    return row


def _is_dialogue(said: Any) -> bool:
    return isinstance(said, list) and bool(said) and all(map(_is_message, said))


def _is_message(said: Any) -> bool:
    return isinstance(said, dict) and isinstance(said.get("role"), str) and isinstance(said.get("content"), str)
