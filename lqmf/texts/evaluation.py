"""Reads the texts that receipts are measured on, one text of each kind, as a model's tokens. Code that chooses or
calibrates never opens them.

A dialogue (`.jsonl`, {"messages": [..]} a line) is rendered through the model's own chat template where it has one.
Knows files and tokenizers; no measure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lqmf import assets
from lqmf.engines.promise import Engine
from lqmf.errors import MeasurementError
from lqmf.texts.windows import cut

_FOLDER = assets.FOLDER / "text"
MAIN = "documentation"  # the text of which a receipt's own figures speak
EVALUATION = {
    MAIN: _FOLDER / "evaluation.txt",
    "prose": _FOLDER / "evaluation_prose.txt",
    "code": _FOLDER / "evaluation_code.txt",
    "dialogue": _FOLDER / "evaluation_dialogues.jsonl",
}


def told(path: Path) -> dict[str, str]:
    """Return the receipt's description of the text in `path`: its name and SHA-256."""
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def tokens(path: Path, engine: Engine) -> list[int]:
    """Return the token ids of the whole text by `engine`, with its beginning token where it has one."""
    if path.suffix == ".jsonl":
        from lqmf.texts import calibration

        return [
            token for domain in calibration.of_file(path).domains for token in calibration.tokens_of(domain, engine)
        ]
    return engine.tokenize(path.read_text(encoding="utf-8"), bos=True)


@dataclass(frozen=True)
class Reading:
    """A model's reading of texts: its vocabulary's size, its beginning token (empty where it has none), its context
    length, and the token ids of each text by name."""

    vocabulary: int
    begin: tuple[int, ...]
    context_length: int
    tokens: dict[str, list[int]]

    @classmethod
    def by(cls, engine: Engine, texts: dict[str, Path]) -> Reading:
        """Read `texts` with the tokenizer of `engine`."""
        read = {name: tokens(path, engine) for name, path in texts.items()}
        return cls(engine.vocabulary, tuple(engine.tokenize("", bos=True)), engine.context_length, read)

    def windows(self, name: str, length: int) -> list[list[int]]:
        """Cut the text `name` into windows of `length` token ids. Raises MeasurementError when it is too short for one
        window."""
        found = cut(self.tokens[name], length, self.begin[0] if self.begin else None)
        if not found:
            message = f"The text has {len(self.tokens[name])} tokens; a window needs {length}."
            raise MeasurementError(message, "Give a longer text to measure on.")
        return found

    def must_be(self, other: Reading, name: str) -> None:
        """Raise MeasurementError when this reading and `other` do not read the text `name` as the same tokens."""
        mine, theirs = ((one.vocabulary, one.begin, one.tokens[name]) for one in (self, other))
        if mine != theirs:
            raise MeasurementError(
                "The artifact and its source read the same text as different tokens, so their predictions cannot be "
                "compared.",
                "Give the model that the artifact was made from: lqmf test NAME --base MODEL",
            )
