"""What a model reads while it is calibrated: the built-in texts, a file, or a dataset of the Hub.

Turns any of them into windows of tokens. Knows no tensors and no quantizing, and never opens the evaluation text. At
import and in `check` it needs neither a model nor a library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from lqmf.engines.promise import Message
from lqmf.errors import UsageError
from lqmf.texts.windows import cut

HUB = "hub:"
BUILT_IN = "LQMF's calibration texts"
WINDOW_TOKENS = 512
_LARGEST_BYTES = 1 << 30
_LONGEST_TOKEN = 16  # characters, on average: what is read of a text of any length
_LEAST_BYTES = WINDOW_TOKENS  # no tokenizer in use makes more than one token of a byte
_DEFAULT = "Leave --calibration out to use the built-in texts, or give a plain text of a few hundred KB."

Dialogue = Sequence[Message]


@dataclass(frozen=True)
class Domain:
    """Text of one kind: plain, or dialogues to be rendered as the model wants them."""

    name: str
    text: str = ""
    dialogues: tuple[Dialogue, ...] = ()


@dataclass(frozen=True)
class CalibrationText:
    """`name` is what the manifest and the matrix say; `sha256` is over every byte of every domain's file."""

    name: str
    sha256: str
    domains: tuple[Domain, ...]


class Reader(Protocol):
    """A model's tokenizer and chat template, as engines have them."""

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]: ...

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str: ...


def check(said: str) -> None:
    """Refuse, before any work and without a model, what cannot be read: UsageError, each with its reason.

    A text of too few tokens passes if it has enough bytes: only the model's tokenizer can tell.
    """
    if not said.startswith(HUB):
        of_file(Path(said))
        return
    from lqmf.texts import hub_dataset

    hub_dataset.parse(said)


def read(said: str | None) -> CalibrationText:
    """The text that `said` names: None the built-in ones, `hub:org/name` a dataset, else a file. Raises UsageError for
    what cannot be read, and the Hub's errors."""
    if said is None:
        return built_in()
    if not said.startswith(HUB):
        return of_file(Path(said))
    from lqmf.texts import hub_dataset

    return hub_dataset.fetch(said)


def built_in() -> CalibrationText:
    """Documentation, dialogues in many languages, and source code."""
    folder = resources.files("lqmf").joinpath("assets/text")
    names = ("calibration.txt", "calibration_dialogues.jsonl", "calibration_code.txt")
    prose, dialogues, code = (folder.joinpath(name).read_bytes() for name in names)
    domains = (
        Domain("documentation", prose.decode()),
        Domain("dialogues", dialogues=_dialogues(dialogues.decode(), "the built-in dialogues")),
        Domain("code", code.decode()),
    )
    return CalibrationText(BUILT_IN, _sha256((prose, dialogues, code)), domains)


def of_file(path: Path) -> CalibrationText:
    """The text in a file; a `.jsonl` holds an object a line, with "messages" or "text". Raises UsageError."""
    path = path.expanduser()
    try:
        if (size := path.stat().st_size) > _LARGEST_BYTES:
            raise UsageError(f"{path.name} has {size / 1e9:.1f} GB: far more than is ever read.", _DEFAULT)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"There is no calibration file {path}.", _DEFAULT) from error
    except OSError as error:
        raise UsageError(f"The calibration file {path} cannot be read: {error.strerror or error}.", _DEFAULT) from error
    return of_bytes(path.name, data, rows=path.suffix == ".jsonl")


def of_bytes(name: str, data: bytes, *, rows: bool) -> CalibrationText:
    """The same for a file's content; `rows` says that it is JSON lines."""
    if data.startswith(b"GGUF"):
        raise UsageError(f"{name} is a GGUF file, but neither a text nor a sound importance matrix.", _DEFAULT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no text in UTF-8 (byte {error.start} fits no character).", _DEFAULT) from error
    if "\0" in text:
        raise UsageError(f"{name} is a binary file, not a text: it holds NUL bytes.", _DEFAULT)
    if not text.strip():
        raise UsageError(f"{name} is empty.", _DEFAULT)
    if len(data) < _LEAST_BYTES:
        raise UsageError(f"{name} has {len(data)} bytes, less than one window of {WINDOW_TOKENS} tokens.", _DEFAULT)
    return CalibrationText(name, _sha256((data,)), tuple(_rows(name, text) if rows else [Domain("text", text)]))


def windows(text: CalibrationText, model: Reader, tokens: int = WINDOW_TOKENS, most: int = 1 << 10) -> list[list[int]]:
    """Up to `most` windows of `tokens` token ids, the domains taking turns so that an early stop has seen each.

    Each window begins with the model's beginning token where it has one, in place of what stood there, as in
    llama-imatrix; a text of one domain gives the same windows as there. Raises UsageError when not even one is full.
    """
    begin = model.tokenize("", bos=True)
    room = most * tokens * _LONGEST_TOKEN
    first = begin[0] if begin else None
    parts = [cut(tokens_of(domain, model, room), tokens, first) for domain in text.domains]
    found = list(islice(_in_turn(parts), most))
    if not found:
        raise UsageError(f"{text.name} is shorter than one window of {tokens} tokens.", _DEFAULT)
    return found


# ---------------------------------------------------------------- tokens


def tokens_of(domain: Domain, model: Reader, room: int | None = None) -> list[int]:
    """What `model` reads of `domain`, of a plain text the first `room` characters: it begins as the model begins texts,
    and so does each dialogue, in the model's own template."""
    begin = model.tokenize("", bos=True)
    plain = begin + model.tokenize(domain.text[:room]) if domain.text else []
    for dialogue in domain.dialogues:
        said = model.tokenize(_rendered(dialogue, model), special=True)
        plain += said if said[: len(begin)] == begin else begin + said
    return plain


def _rendered(dialogue: Dialogue, model: Reader) -> str:
    """Through the model's own template; without its system message where the template takes none; else as turns."""
    without = [message for message in dialogue if message["role"] != "system"]
    for messages in (dialogue, without):
        try:
            return model.render(messages, add_generation_prompt=False)
        except UsageError:
            continue
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in dialogue) + "\n\n"


def _in_turn(parts: Sequence[list[list[int]]]) -> Iterator[list[int]]:
    for i in range(max(map(len, parts))):
        for part in parts:
            yield from part[i : i + 1]


# ---------------------------------------------------------------- files


def _sha256(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _rows(name: str, text: str) -> Iterator[Domain]:
    rows = [_object(name, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    plain = [row["text"] for row in rows if isinstance(row.get("text"), str)]
    dialogues = tuple(row["messages"] for row in rows if _is_dialogue(row.get("messages")))
    if not plain and not dialogues:
        raise UsageError(f'{name} has no line with "text" or "messages".', _DEFAULT)
    if plain:
        yield Domain("text", "\n\n".join(plain))
    if dialogues:
        yield Domain("dialogues", dialogues=dialogues)


def _dialogues(text: str, name: str) -> tuple[Dialogue, ...]:
    return next(domain.dialogues for domain in _rows(name, text) if domain.dialogues)


def _object(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"Line {number} of {name} is no JSON: {error}.", _DEFAULT) from error
    if not isinstance(row, dict):
        raise UsageError(f"Line {number} of {name} is no JSON object.", _DEFAULT)
    return row


def _is_dialogue(said: Any) -> bool:
    return isinstance(said, list) and bool(said) and all(map(_is_message, said))


def _is_message(said: Any) -> bool:
    return isinstance(said, dict) and isinstance(said.get("role"), str) and isinstance(said.get("content"), str)
