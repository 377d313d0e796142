"""The scripted provider: answers from a file, in order. For tests, and for trying the chat without an account.

It objects to a call that the script does not foresee, and, when it is closed, to answers that nobody asked for.

    [{"answer": {"candidate": "gguf:Q5_K_M:..", "reason": "It fits."}, "expects": "words of the prompt"},
     {"answer": "Prose is streamed word by word.", "delay_s": 0.5},
     {"error": "provider_unavailable", "message": "out of order"}]

`expects` is text that the last message must hold; `tokens` is `[in, out]`; `error` is the code of one of our errors.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from lqmf.errors import ProviderError, SettingsError, UsageError, from_json
from lqmf.providers.answers import parse
from lqmf.providers.base import Completion, Message, Usage

if TYPE_CHECKING:
    from lqmf.providers.config import LlmSettings

T = TypeVar("T", bound=BaseModel)


class ScriptError(UsageError):
    """A call that the script does not foresee. It is no ProviderError: nothing may take it for a provider's fault."""

    code = "script"


class Line(BaseModel):
    """One call and what comes of it: an `answer` (an object, or prose) or an `error`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: dict[str, Any] | str | None = None
    error: str | None = None
    message: str = "The script says so."
    expects: str | None = None
    delay_s: float = 0.0
    tokens: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Line:
        if (self.answer is None) == (self.error is None):
            raise ValueError("it needs an answer or an error, and not both")
        return self

    @property
    def usage(self) -> Usage:
        return Usage(*(self.tokens or (None, None)))


_SCRIPT = TypeAdapter(list[Line])


class Scripted:
    """A Provider: each call takes the next line of `script`."""

    name = "scripted"
    model = "script"

    def __init__(self, script: Sequence[Line]) -> None:
        self._script = list(script)
        self._used = 0
        self.asked: list[tuple[Message, ...]] = []

    @classmethod
    def from_file(cls, path: Path) -> Scripted:
        """Return the provider with the script in `path`. Raises SettingsError for a file that is not there, or is no
        script."""
        remedy = 'It should look like [{"answer": "Hello."}]; set it with `lqmf config set scripted_file FILE`.'
        try:
            return cls(_SCRIPT.validate_json(path.read_bytes()))
        except OSError as error:
            raise SettingsError(f"The script {path} cannot be read: {error.strerror or error}.", remedy) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = " ".join(str(part) for part in first["loc"])
            raise SettingsError(f"{path} is no script: {where}: {first['msg']}.", remedy) from error

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return the next answer as an object of `schema`. Raises ProviderError as scripted, ScriptError where the
        script has no answer for this call."""
        started = time.perf_counter()
        line = await self._next(messages)
        text = line.answer if isinstance(line.answer, str) else json.dumps(line.answer)
        value = parse(self.name, text, schema, line.usage)
        return Completion(value, line.usage, time.perf_counter() - started, self.model, self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        """Yield the next answer, word by word, then its Usage where the script has one. Raises ProviderError as
        scripted, ScriptError where the script has no answer for this call."""
        line = await self._next(messages)
        text = line.answer if isinstance(line.answer, str) else json.dumps(line.answer)
        for word in re.findall(r"\s*\S+\s*$|\s*\S+", text):
            yield word
        if line.tokens:
            yield line.usage

    async def close(self) -> None:
        """Raise ScriptError where answers are left over."""
        left = len(self._script) - self._used
        self._used = len(self._script)
        if left:
            raise ScriptError(f"The script has {left} more than was asked for.", "Take the rest out of the script.")

    async def _next(self, messages: Sequence[Message]) -> Line:
        self.asked.append(tuple(messages))
        if self._used == len(self._script):
            raise ScriptError(f"The script has no answer for call {self._used + 1}.", "Add an answer to the script.")
        line = self._script[self._used]
        self._used += 1
        if line.expects is not None and line.expects not in messages[-1].content:
            raise ScriptError(
                f"Call {self._used} does not hold '{line.expects}', which the script expects.", "Correct the script."
            )
        await asyncio.sleep(line.delay_s)
        if line.error is not None:
            error = from_json({"code": line.error, "message": line.message})
            raise error if isinstance(error, ProviderError) else ProviderError(line.message)
        return line


def PROVIDER(settings: LlmSettings, artifacts: Path) -> Scripted:  # noqa: N802 - the name that the registry looks for
    """Return the provider of the script that the settings name. Raises SettingsError without a script."""
    if not settings.scripted_file:
        raise SettingsError(
            "The scripted provider has no script.", "Name one: `lqmf config set scripted_file FILE`, or SCRIPTED_FILE."
        )
    return Scripted.from_file(Path(settings.scripted_file).expanduser())
