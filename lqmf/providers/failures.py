"""Failures at a far end, as errors of ours. Translated once, at the SDK's boundary, by type and status.

Knows HTTP statuses; knows no SDK. No error of an SDK leaves a provider, not even as a cause: it holds the request with
the key in its headers.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from time import time
from types import ModuleType
from typing import TypeVar

from lqmf.errors import BadRequest, KeyRefused, ProviderBusy, ProviderError, ProviderNotReady, ProviderUnavailable
from lqmf.hub.auth import redact
from lqmf.terminal import clean

R = TypeVar("R")
Foreign = tuple[type[Exception], ...]

LONGEST_WORDS = 200  # characters of a far end's own words
LATER = "Try again later, or ask another provider: `lqmf llm switch`. The rules plan without one."


def sdk(module: str, package: str, provider: str) -> ModuleType:
    """Import the SDK and return its module. Raises ProviderNotReady with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        pass
    raise ProviderNotReady(
        f"{provider} needs the package {package}, which is not installed.",
        "Run `pip install 'lqmf[llm]'`, or `lqmf llm switch none`.",
    )


def of_status(
    provider: str, status: int, words: object, headers: Mapping[str, str] | None, key: str | None
) -> ProviderError:
    """Return the error that an HTTP status stands for; `words` are the far end's own, `key` is masked in them."""
    said = f"{provider} answered {status}"
    if status in (401, 403):  # the far end's words often repeat the key: they are left out
        return KeyRefused(f"{said}: it refuses the key.", _key_remedy(provider), status=status)
    if status == 429:
        return ProviderBusy(f"{said}: too many requests.", LATER, status=status, **_retry_after(headers or {}))
    if status >= 500 or status in (408, 409):
        told = own_words(words, key) or "it is overloaded or out of order"
        return ProviderUnavailable(f"{said}: {told}.", LATER, status=status)
    told = own_words(words, key)
    return BadRequest(
        f"{said}{f': {told}' if told else ''}.",
        f"Check the model and the address of {provider}: `lqmf llm status`.",
        status=status,
    )


def unreachable(provider: str, how: str) -> ProviderUnavailable:
    """Return the error for an answer that did not come, or broke off; `how` continues "claude .."."""
    return ProviderUnavailable(f"{provider} {how}.", LATER)


async def asked(work: Awaitable[R], foreign: Foreign, translate: Callable[[Exception], ProviderError]) -> R:
    """Return the result of `work`; raise its foreign errors as ours, with nothing of theirs attached."""
    try:
        return await work
    except foreign as error:
        failure = translate(error)
    raise failure


async def streamed(
    pieces: AsyncIterator[R], foreign: Foreign, translate: Callable[[Exception], ProviderError]
) -> AsyncIterator[R]:
    """Yield the items of `pieces`; raise foreign errors as ours, with nothing of theirs attached."""
    try:
        async for piece in pieces:
            yield piece
        return
    except foreign as error:
        failure = translate(error)
    raise failure


def own_words(words: object, key: str | None) -> str:
    """Return a far end's words on what is wrong with a request: short, printable, without keys."""
    text = " ".join(clean(str(words or "")).split())
    text = text.replace(key, "***") if key else text
    return redact(text)[:LONGEST_WORDS].rstrip(". ")


def _retry_after(headers: Mapping[str, str]) -> dict[str, float]:
    """Return the seconds to wait, from `retry-after-ms` or `retry-after` (a number or a date, RFC 9110 section
    10.2.3)."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return {"retry_after_seconds": max(0.0, float(headers[name]) * unit)}
        except (KeyError, ValueError):
            continue
    try:
        return {"retry_after_seconds": max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time())}
    except (KeyError, ValueError, TypeError):
        return {}


def _key_remedy(provider: str) -> str:
    from lqmf.declared.providers import of
    from lqmf.providers.config import OFFLINE_WAY

    variable = next(iter(of(provider).keys), "").upper()
    wanted = f"Put a key that is right into .env as {variable}=<your key>. " if variable else "Check its key. "
    return f"{wanted}Without one: {OFFLINE_WAY}."
