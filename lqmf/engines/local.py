"""Adds to the Engine promise the parts of an engine that holds a model on this machine. Knows nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

from lqmf.engines import limits
from lqmf.engines.promise import Closing, Engine, Message, Piece, Sampling
from lqmf.errors import UsageError


class LocalEngine(Engine, Protocol):
    """An engine that can be measured. `device` is where it runs: "cpu" or "gpu"; `reason` says why it runs there, and
    in which precision."""

    device: str
    reason: str

    def ends(self, token: int) -> bool:
        """Return whether generation stops at `token`."""
        ...

    def __enter__(self) -> LocalEngine: ...


class InMemory(Closing):
    """The part that LQMF's own local engines share: what they refuse, and how a prompt becomes a stream."""

    vocabulary: int
    context_length: int

    @abstractmethod
    def _alive(self) -> None:
        """Raise UsageError once the engine is closed."""

    @abstractmethod
    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return `messages` as a prompt."""

    @abstractmethod
    def _prompt_tokens(self, text: str) -> list[int]:
        """Return the tokens of a prompt, the beginning token once, also if a chat template has already written it
        out."""

    @abstractmethod
    def _stream(self, tokens: list[int], sampling: Sampling) -> Iterator[Piece]: ...

    def chat(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """Return the assistant's answer to `messages`, as a stream of Pieces."""
        return self.generate(self.render(messages), sampling)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Continue `prompt`: yield one Piece a token (its text may be empty, held back inside a character or a possible
        stop string), then the text that was held back. Ends at an end token, a stop string, `max_tokens`, or a full
        context. Raises UsageError for a prompt that is empty or longer than the context."""
        tokens = self._prompt_tokens(prompt) if isinstance(prompt, str) else list(prompt)
        self._check_tokens(tokens)
        limits.check_prompt(tokens, self.context_length)
        return self._stream(tokens, sampling)

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        self._alive()
        limits.check_tokens(tokens, self.vocabulary)

    def _check_window(self, window: Sequence[int], first: int) -> None:
        """Raise UsageError for a window that cannot be read, or not from position `first`."""
        self._check_tokens(window)
        if not 0 <= first < len(window) <= self.context_length:
            message = f"A window of {len(window)} tokens, from position {first}, does not fit a context of "
            raise UsageError(f"{message}{self.context_length}.", "Use shorter windows.")
