"""Reads the text that a model is calibrated on: the built-in texts, a file, or a dataset of the Hub.

Turns any of them into windows of tokens. Knows no tensors and no quantizing, and never opens the evaluation text. At
import and in `check` it needs neither a model nor a library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Protocol

from lqmf.engines.promise import Message
from lqmf.errors import UsageError
from lqmf.texts import hub_dataset
from lqmf.texts.calibration_text import (
    DEFAULT,
    HUB,
    WINDOW_TOKENS,
    CalibrationText,
    Dialogue,
    Domain,
    dialogues_of,
    of_bytes,
    sha256,
)
from lqmf.texts.windows import cut
from lqmf.units import file_size

BUILT_IN = "LQMF's calibration texts"
_LARGEST_BYTES = 1 << 30
_LONGEST_TOKEN = 16  # characters, on average: what is read of a text of any length


class Reader(Protocol):
    """A model's tokenizer and chat template, as engines have them."""

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]: ...

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str: ...


def check(said: str) -> None:
    """Raise UsageError, with the reason, for a calibration that cannot be read; needs no model and comes before any
    work.

    A text of too few tokens passes if it has enough bytes: only the model's tokenizer can tell.
    """
    if not said.startswith(HUB):
        of_file(Path(said))
        return
    hub_dataset.parse(said)


def read(said: str | None) -> CalibrationText:
    """Read the text that `said` names: None the built-in texts, `hub:org/name` a dataset, else a file. Raises
    UsageError for a text that cannot be read, and the Hub's errors."""
    if said is None:
        return built_in()
    if not said.startswith(HUB):
        return of_file(Path(said))
    return hub_dataset.fetch(said)


def built_in() -> CalibrationText:
    """Read the built-in texts: documentation, dialogues in many languages, and source code."""
    folder = resources.files("lqmf").joinpath("assets/text")
    names = ("calibration.txt", "calibration_dialogues.jsonl", "calibration_code.txt")
    prose, dialogues, code = (folder.joinpath(name).read_bytes() for name in names)
    domains = (
        Domain("documentation", prose.decode()),
        Domain("dialogues", dialogues=dialogues_of(dialogues.decode(), "the built-in dialogues")),
        Domain("code", code.decode()),
    )
    return CalibrationText(BUILT_IN, sha256((prose, dialogues, code)), domains)


def of_file(path: Path) -> CalibrationText:
    """Read the text in a file; a `.jsonl` holds an object a line, with "messages" or "text". Raises UsageError."""
    path = path.expanduser()
    try:
        if (size := path.stat().st_size) > _LARGEST_BYTES:
            raise UsageError(f"{path.name} has {file_size(size)}: far more than is ever read.", DEFAULT)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"There is no calibration file {path}.", DEFAULT) from error
    except OSError as error:
        raise UsageError(f"The calibration file {path} cannot be read: {error.strerror or error}.", DEFAULT) from error
    return of_bytes(path.name, data, rows=path.suffix == ".jsonl")


def windows(text: CalibrationText, model: Reader, tokens: int = WINDOW_TOKENS, most: int = 1 << 10) -> list[list[int]]:
    """Cut the text into up to `most` windows of `tokens` token ids; the domains take turns, so an early stop has seen
    each.

    Each window begins with the model's beginning token where the model has one, in place of the window's first token,
    as in llama-imatrix; for a text of one domain the windows are those of llama-imatrix. Raises UsageError when not
    even one window is full.
    """
    begin = model.tokenize("", bos=True)
    room = most * tokens * _LONGEST_TOKEN
    first = begin[0] if begin else None
    parts = [cut(tokens_of(domain, model, room), tokens, first) for domain in text.domains]
    found = list(islice(_in_turn(parts), most))
    if not found:
        raise UsageError(f"{text.name} is shorter than one window of {tokens} tokens.", DEFAULT)
    return found


# ---------------------------------------------------------------- tokens


def tokens_of(domain: Domain, model: Reader, room: int | None = None) -> list[int]:
    """Return the token ids of `domain` by the model's tokenizer, of a plain text the first `room` characters. The text
    begins as the model begins texts, and so does each dialogue, in the model's own template."""
    begin = model.tokenize("", bos=True)
    plain = begin + model.tokenize(domain.text[:room]) if domain.text else []
    for dialogue in domain.dialogues:
        said = model.tokenize(_rendered(dialogue, model), special=True)
        plain += said if said[: len(begin)] == begin else begin + said
    return plain


def _rendered(dialogue: Dialogue, model: Reader) -> str:
    """Render a dialogue through the model's own template; without its system message where the template takes none; as
    plain turns where it takes neither."""
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
