"""One of the user's own GGUF artifacts as helper: run in a worker process, decoding held to the schema. Offline.

Knows the worker and its task `complete`; loads no model here, and holds none between two questions. The questions stay
on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.artifacts import shelf
from lqmf.errors import BadAnswer, LqmfError, ProviderError, ProviderNotReady, ProviderUnavailable
from lqmf.events import Emit, Event, Progress
from lqmf.jobs.journal import new_id
from lqmf.jobs.runner import LocalRunner, Runner
from lqmf.providers.answers import bad, parse
from lqmf.providers.base import Completion, Message, T, Usage
from lqmf.records import Artifact, Task

if TYPE_CHECKING:
    from lqmf.providers.config import LlmSettings

NAME = "local"
_OTHER = "Name a GGUF artifact: `lqmf config set local_artifact NAME`; `lqmf list` shows them."


def own_artifact(settings: LlmSettings, artifacts: Path) -> OwnArtifact:
    """Return the provider that runs the artifact named in the settings, out of those in the folder `artifacts`. Raises
    ProviderNotReady."""
    wanted = settings.local_artifact or ""
    try:
        found = shelf.find(wanted, shelf.discover(artifacts))
    except LqmfError as error:
        raise ProviderNotReady(f"local_artifact: {error.message}", _OTHER) from error
    if found.method != "gguf":
        raise ProviderNotReady(f"{found.name} is no GGUF file: only those can be held to a form.", _OTHER)
    return OwnArtifact(found, LocalRunner())


class OwnArtifact:
    """A Provider. `model` is the artifact's name. `timeout_s` bounds an answer from its first to its last token."""

    name = NAME

    def __init__(self, artifact: Artifact, runner: Runner) -> None:
        self.model = artifact.name
        self._path = artifact.path
        self._runner = runner

    async def complete(
        self, messages: Sequence[Message], schema: type[T], *, max_tokens: int, timeout_s: float
    ) -> Completion[T]:
        """Return an object of `schema`; decoding is held to its form. Raises ProviderError."""
        started = time.perf_counter()
        done = await self._run(messages, max_tokens, timeout_s, _nothing, schema=schema.model_json_schema())
        usage = Usage(done["input_tokens"], done["output_tokens"])
        value = parse(self.name, done["text"], schema, usage)
        return Completion(value, usage, time.perf_counter() - started, self.model, self.name)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, timeout_s: float
    ) -> AsyncIterator[str | Usage]:
        """Yield prose, each piece as the model writes it, then the Usage. Raises ProviderError."""
        heard: asyncio.Queue[str | None] = asyncio.Queue()

        def hear(event: Event) -> None:
            if isinstance(event, Progress) and event.note:
                heard.put_nowait(event.note)

        work = asyncio.ensure_future(self._run(messages, max_tokens, timeout_s, hear))
        work.add_done_callback(lambda _: heard.put_nowait(None))
        try:
            while (piece := await heard.get()) is not None:
                yield piece
            done = await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        usage = Usage(done["input_tokens"], done["output_tokens"])
        if not done["text"].strip():
            raise bad(f"{self.name} gave an empty answer", usage)
        yield usage

    async def close(self) -> None:
        """Do nothing: no model is held between two questions."""

    async def _run(
        self, messages: Sequence[Message], max_tokens: int, timeout_s: float, emit: Emit, schema: Any = None
    ) -> dict[str, Any]:
        params = {
            "artifact": str(self._path),
            "messages": [asdict(message) for message in messages],
            "schema": schema,
            "max_tokens": max_tokens,
        }
        with _log() as log, _translated(self.model):
            async with asyncio.timeout(timeout_s):
                return await self._runner.run(Task(new_id(), "complete", params, log), emit)


def _nothing(event: Event) -> None:
    """Ignore the event: a document is of no use before it is whole."""


@contextlib.contextmanager
def _log() -> Iterator[str]:
    """Yield the path of a log for the output of libraries; it is removed afterwards, because it may hold the
    question."""
    with tempfile.TemporaryDirectory(prefix="lqmf-", ignore_cleanup_errors=True) as folder:
        yield str(Path(folder) / "worker.log")


@contextlib.contextmanager
def _translated(model: str) -> Iterator[None]:
    """Raise the errors of the worker as ProviderError."""
    try:
        yield
        return
    except TimeoutError:
        slow = f"{model} was too slow on this machine."
        failure: ProviderError = ProviderUnavailable(slow, "Choose a smaller artifact, or wait longer: llm_wait_s.")
    except LqmfError as error:
        failure = _KINDS.get(error.code, ProviderUnavailable)(f"local: {error.message}", error.remedy)
    raise failure


_KINDS: dict[str, type[ProviderError]] = {
    "measurement": BadAnswer,
    **dict.fromkeys(("usage", "not_found", "incomplete_model", "unsupported_model", "model"), ProviderNotReady),
}
