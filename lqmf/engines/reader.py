"""The Reader promise: one way to run a model that does not continue text. An encoder gives each token a state; an
encoder-decoder predicts an answer token by token from the text that it read.

Finds the reader for a model on disk. Knows nothing about artifacts, jobs or measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lqmf.engines.llama import reader as llama_reader
from lqmf.engines.transformers import reader as transformers_reader
from lqmf.errors import NotFound
from lqmf.model_files.model_kind import Nature

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Reader(Protocol):
    """A model in memory. Use as a context manager. `device` is "cpu" or "gpu"; `reason` says why it runs there, and in
    which precision. `context_length` counts the tokens of a text and the special tokens around it."""

    name: str
    nature: Nature
    device: str
    reason: str
    vocabulary: int
    context_length: int

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of `text`, without special tokens around it."""
        ...

    def add_special_tokens(self, tokens: Sequence[int]) -> list[int]:
        """Return `tokens` with the special tokens around them that the model expects."""
        ...

    def states(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the encoder's last hidden states (T, H) for `tokens`, a text with its special tokens."""
        ...

    def answers(self, tokens: Sequence[int], target: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits (N, V) with which the decoder predicts each of the N tokens of `target` from `tokens` (a
        text with its special tokens) and the target's own tokens before it. Raises UsageError for an encoder."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Reader: ...

    def __exit__(self, *exc: object) -> None: ...


def open_reader(path: Path, *, device: str = "cpu") -> Reader:
    """Return the reader of the model at `path`, loaded. Raises NotFound if `path` does not exist, and as the reader
    does."""
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.", "lqmf test discover")
    reader: Reader = (llama_reader if llama_reader.can_read(path) else transformers_reader).open_model(path, device)
    return reader
