"""The texts that receipts are measured on, one of each kind, and how a model reads them. Nothing that chooses or
calibrates opens them.

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
    """What a receipt says of the text in `path`."""
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def tokens(path: Path, engine: Engine) -> list[int]:
    """The whole text as `engine` reads it, with its beginning token where it has one."""
    if path.suffix == ".jsonl":
        from lqmf.texts import calibration

        return [
            token for domain in calibration.of_file(path).domains for token in calibration.tokens_of(domain, engine)
        ]
    return engine.tokenize(path.read_text(encoding="utf-8"), bos=True)


@dataclass(frozen=True)
class Reading:
    """How a model reads texts: each one's tokens, the beginning token where there is one, and how many tokens and
    different ones it holds."""

    vocabulary: int
    begin: tuple[int, ...]
    context_length: int
    tokens: dict[str, list[int]]

    @classmethod
    def by(cls, engine: Engine, texts: dict[str, Path]) -> Reading:
        """`texts` as `engine` reads them."""
        read = {name: tokens(path, engine) for name, path in texts.items()}
        return cls(engine.vocabulary, tuple(engine.tokenize("", bos=True)), engine.context_length, read)

    def windows(self, name: str, length: int) -> list[list[int]]:
        """Those of one text. Raises MeasurementError when it is too short for one."""
        found = cut(self.tokens[name], length, self.begin[0] if self.begin else None)
        if not found:
            message = f"The text has {len(self.tokens[name])} tokens; a window needs {length}."
            raise MeasurementError(message, "Give a longer text to measure on.")
        return found

    def must_be(self, other: Reading, name: str) -> None:
        """Raises MeasurementError when the two do not read the text `name` alike."""
        mine, theirs = ((one.vocabulary, one.begin, one.tokens[name]) for one in (self, other))
        if mine != theirs:
            raise MeasurementError(
                "The artifact and its source read the same text as different tokens, so their predictions cannot be "
                "compared.",
                "Give the model that the artifact was made from: lqmf test NAME --base MODEL",
            )
