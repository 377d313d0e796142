"""The Engine promise: one way to run a model, whatever runs it underneath.

An engine is one module here. Knows nothing about artifacts, jobs or measuring.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Message = Mapping[str, str]  # {"role", "content"}


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy and deterministic. With a `json_schema` (JSON text) only a document
    of that schema can be drawn; an engine that cannot hold a model to a schema raises UsageError."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 40
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: str = ""


@dataclass(frozen=True)
class Piece:
    """A piece of generated text; `token` is None where the engine does not say."""

    text: str
    token: int | None = None


class Closing(ABC):
    """The base of all that is used as a context manager and closed at its end."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Engine(Protocol):
    """A loaded model. Use as a context manager; `close` frees it."""

    name: str  # "llama.cpp 0.3.36", "http"
    context_length: int
    vocabulary: int

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Return the token ids of `text`. `special` lets "<|im_end|>" be read as its token; `bos` puts the beginning
        token first if the model's convention has one."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> str: ...

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return `messages` as a prompt, through the model's own chat template. Raises UsageError if the model has
        none."""
        ...

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue `prompt` as a stream of Pieces. In a prompt given as text, special tokens are read as such."""
        ...

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """Return the assistant's answer to `messages`, as a stream of Pieces."""
        ...

    def logits(
        self, windows: Iterable[Sequence[int]], *, first: int = 0, step: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield for each window of token ids the logits at positions `first`..: (T - first, V) float32. Windows are
        independent. Tokens before `first` are read but not scored: a third less time on a small model. With `step`, a
        window is read that many tokens at a time, as when it is written: slower, and rounded in another way."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *exc: object) -> None: ...
