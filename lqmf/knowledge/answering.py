"""A free question on quantization, answered by a provider's model from our passages and this store's results alone.

Knows prompts, masks and calls. Where no passage is found no provider is asked; where a call fails, the passages
themselves are the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lqmf.errors import ProviderUnavailable
from lqmf.knowledge.passages import Passage
from lqmf.providers import prompts
from lqmf.providers.masking import Masks

if TYPE_CHECKING:
    from lqmf.providers.base import Message
    from lqmf.providers.calls import Calls

LONGEST_QUESTION = 1000  # characters


def messages(
    question: str,
    found: Sequence[Passage],
    types: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    redact: Callable[[str], str],
) -> list[Message]:
    """Return the messages that ask the question: with it go the passages and the figures, without paths and secrets."""
    masks = Masks(redact)
    public = [{name: value for name, value in one.items() if name != "artifact"} for one in results]
    return prompts.messages(
        "explain",
        question=prompts.fenced("the user", masks.text(question[:LONGEST_QUESTION])),
        passages=prompts.fenced("the program", masks.data({one.title: one.text for one in found})),
        types=prompts.fenced("the program", masks.data(list(types))),
        results=prompts.fenced("the program", masks.data(public)),
    )


async def answer(calls: Calls, asked: Sequence[Message], *, wait_s: float) -> AsyncIterator[str]:
    """Yield prose, piece by piece; the first piece within `wait_s` seconds. Raises ProviderError."""
    pieces = calls.stream("explain", asked)
    async with contextlib.aclosing(pieces):  # type: ignore[type-var]
        yield await _first(pieces, calls.name, wait_s)
        async for piece in pieces:
            yield piece


async def _first(pieces: AsyncIterator[str], name: str, wait_s: float) -> str:
    try:
        async with asyncio.timeout(wait_s):
            return await anext(pieces)
    except TimeoutError:
        late = f"{name} gave no answer within {wait_s:g} s."
    except StopAsyncIteration:
        late = f"{name} gave an empty answer."
    raise ProviderUnavailable(late, "`lqmf llm test` asks it a small question.")
