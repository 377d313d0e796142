"""The one way to ask providers: with retries, breakers, fallbacks, a deadline, a budget, and a record of calls.

Knows providers by their promise alone, and no prompt. Secrets are masked in the messages sent, and sequences that steer
a terminal are removed from the answers. Raises ProviderError, with nothing of an SDK's attached to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from lqmf.errors import LqmfError, ProviderError, ProviderNotReady, SettingsError, StoreError
from lqmf.providers import budget
from lqmf.providers.answers import bad, cleaned
from lqmf.providers.base import Completion, Message, Provider, Usage
from lqmf.providers.breaker import Breaker, Health
from lqmf.providers.deadline import Clock, next_item, within
from lqmf.retry import RetryPolicy
from lqmf.store.calls import Spent, call_row, day_of, spent
from lqmf.terminal import Cleaner, clean

if TYPE_CHECKING:
    from lqmf.providers.config import LlmSettings
    from lqmf.store.base import Row

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")

BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 8.0
PROSE_DEADLINES = 10  # times the silence that is borne: what prose may take in all, where nobody said

Ask = Callable[[Provider, float], Awaitable[R]]  # a provider, and the seconds that it may take


@dataclass(frozen=True)
class Ledger:
    """The record of calls. `rows` returns the calls of a day or of a provider, newest first, and raises StoreError."""

    record: Callable[[Row], None]
    rows: Callable[..., list[Row]]


@dataclass
class _Entry:
    """One call to a far end, while it lasts."""

    asked: str  # the model, as we name it
    model: str  # as the far end does
    characters: int
    usage: Usage = Usage()  # noqa: RUF009 - frozen


class Calls:
    """Asks providers in order. `build` makes a provider by name, when it is first asked. `redact` masks secrets;
    `notify` takes sentences."""

    def __init__(
        self,
        settings: LlmSettings,
        build: Callable[[str], Provider],
        ledger: Ledger,
        *,
        redact: Callable[[str], str],
        notify: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._build = build
        self._ledger = ledger
        self._redact = redact
        self._notify = notify
        self._clock = clock
        self._providers: dict[str, Provider] = {}
        self._breakers: dict[str, Breaker] = {}
        self._made: list[Row] = []  # of this process, should the store not take them
        self._told: set[str] = set()

    # ------------------------------------------------------------ asking

    async def complete(
        self, purpose: str, messages: Sequence[Message], schema: type[T], *, deadline_s: float | None = None
    ) -> Completion[T]:
        """Return an object of `schema` from the first provider that gives one, within `deadline_s` seconds for all of
        them.

        `purpose` is a word for the record. Raises ProviderError.
        """
        sent = self._redacted(messages)

        async def ask(provider: Provider, seconds: float) -> Completion[T]:
            with self._entered(provider, purpose, sent) as entry:
                async with within(seconds, provider.name):
                    done = await provider.complete(
                        sent, schema, max_tokens=self._settings.max_tokens, timeout_s=seconds
                    )
                entry.model, entry.usage = clean(done.model), done.usage
                entry.characters += len(done.value.model_dump_json())
                return replace(done, value=cleaned(provider.name, done.value, done.usage), model=entry.model)

        return await self._first(ask, Clock(deadline_s or self._settings.timeout_s * len(self._settings.order)))

    async def stream(
        self, purpose: str, messages: Sequence[Message], *, deadline_s: float | None = None
    ) -> AsyncIterator[str]:
        """Yield prose, each piece as it arrives, all of it within `deadline_s` seconds. Raises ProviderError.

        After the first piece nothing is tried again. Closing the iterator early (`aclose`) closes the connection.
        """
        sent, clock = self._redacted(messages), Clock(deadline_s or self._settings.timeout_s * PROSE_DEADLINES)

        async def ask(provider: Provider, seconds: float) -> tuple[str, AsyncIterator[str]]:
            pieces = self._pieces(provider, purpose, sent, seconds, clock)
            return await anext(pieces), pieces

        first, pieces = await self._first(ask, clock)
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            yield first
            async for piece in pieces:
                yield piece

    async def _pieces(
        self, provider: Provider, purpose: str, sent: Sequence[Message], first_s: float, clock: Clock
    ) -> AsyncIterator[str]:
        """Yield the pieces of one provider's answer, at least one. `first_s` is the time for the first piece in
        seconds; after it the silences are bounded."""
        cleaner, seconds, given = Cleaner(), first_s, False
        with self._entered(provider, purpose, sent) as entry:
            pieces = provider.stream(sent, max_tokens=self._settings.max_tokens, timeout_s=first_s)
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                while (piece := await next_item(pieces, seconds, provider.name)) is not None:
                    if isinstance(piece, Usage):
                        entry.usage = piece
                    elif text := cleaner.feed(piece):
                        entry.characters += len(text)
                        yield text
                        given, seconds = True, min(self._settings.timeout_s, clock.left())
            if text := cleaner.end():
                yield text
            elif not given:
                raise bad(f"{provider.name} gave an empty answer", entry.usage)

    # ------------------------------------------------------------ who, and how often

    async def _first(self, ask: Ask[R], clock: Clock) -> R:
        """Return the answer of the first provider that gives one; each may take its share of the time that is left."""
        failures: list[ProviderError] = []
        order = self._settings.order
        for index, name in enumerate(order):
            if failures:
                self._tell(f"{failures[-1].message} {name} is asked in its place.")
            try:
                return await self._retried(name, ask, clock.left() / (len(order) - index))
            except ProviderError as error:
                failures.append(error)
            budget_over = failures[-1].code == "budget_spent"
            if budget_over:
                break
        raise _alone(failures)

    async def _retried(self, name: str, ask: Ask[R], share_s: float) -> R:
        """Return the answer of `name`, within `share_s` seconds for all its attempts."""
        breaker, clock = self._breaker(name), Clock(share_s)
        breaker.check()
        provider = self._provider(name)

        async def attempt() -> R:
            self._check_budget()
            return await ask(provider, min(self._settings.timeout_s, clock.left()))

        policy = RetryPolicy(self._settings.max_retries, BACKOFF_S, LONGEST_BACKOFF_S, share_s, share_s)
        return await policy.run(attempt, worth=lambda error: error.transient and not breaker.health.rest_s)

    def _provider(self, name: str) -> Provider:
        """Return the provider, built when first needed. Raises ProviderNotReady where its key, its library or its name
        is missing."""
        if name not in self._providers:
            try:
                self._providers[name] = self._build(name)
            except SettingsError as error:
                raise ProviderNotReady(error.message, error.remedy, **error.details) from None
        return self._providers[name]

    def _breaker(self, name: str) -> Breaker:
        if name not in self._breakers:
            try:
                rows = self._ledger.rows(provider=name, limit=20)
            except StoreError:
                rows = []
            self._breakers[name] = Breaker(name, rows)
        return self._breakers[name]

    # ------------------------------------------------------------ how it is

    @property
    def name(self) -> str:
        """Return the name of the provider that is asked next: the first that is not left alone."""
        order = self._settings.order
        return next((name for name in order if not self._breaker(name).health.rest_s), order[0])

    def health(self) -> dict[str, Health]:
        """Return the health of each provider that may be asked, by name, in their order. Makes no call."""
        return {name: self._breaker(name).health for name in self._settings.order}

    def spent_today(self) -> Spent:
        """Return the calls, tokens and US dollars that today's calls took. Raises StoreError."""
        day = day_of(self._clock())
        kept, own = spent(self._ledger.rows(day=day)), spent(row for row in self._made if row["day"] == day)
        return Spent(max(kept.calls, own.calls), max(kept.tokens, own.tokens), max(kept.cost, own.cost))

    async def close(self) -> None:
        """Close the connections of every provider."""
        providers, self._providers = list(self._providers.values()), {}
        for provider in providers:
            await provider.close()

    # ------------------------------------------------------------ the record

    def _check_budget(self) -> None:
        """Raise BudgetSpent where the day's budget is used up; ProviderError where the store cannot say."""
        if not budget.is_limited(self._settings.budget):
            return
        try:
            used = self.spent_today()
        except StoreError as error:
            raise ProviderError(f"The day's budget cannot be checked: {error.message}", error.remedy) from None
        budget.check(self._settings.budget, used)

    @contextlib.contextmanager
    def _entered(self, provider: Provider, purpose: str, sent: Sequence[Message]) -> Iterator[_Entry]:
        """Yield the entry of one call to a far end; it is recorded and reported however the call ends."""
        entry = _Entry(provider.model, provider.model, sum(len(m.content) for m in sent))
        at, started, outcome = self._clock(), time.perf_counter(), "failed"
        try:
            yield entry
            outcome = "ok"
        except LqmfError as error:
            outcome = error.code
            entry.usage = _told_usage(error) or entry.usage
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            self._breaker(provider.name).report(outcome)
            self._keep(provider.name, purpose, outcome, entry, at, time.perf_counter() - started, sent)

    def _keep(
        self, name: str, purpose: str, outcome: str, entry: _Entry, at: float, seconds: float, sent: Sequence[Message]
    ) -> None:
        from lqmf.providers.prices import cost

        tokens = (entry.usage.input_tokens, entry.usage.output_tokens)
        costs = (cost(model, *tokens) for model in (entry.model, entry.asked))
        row = call_row(
            name,
            entry.model,
            purpose,
            outcome,
            at=at,
            seconds=seconds,
            tokens=tokens,
            characters=entry.characters,
            cost=next((found for found in costs if found is not None), None),
            prompt=[asdict(message) for message in sent] if self._settings.keep_prompts else None,
        )
        self._made.append({**row, "prompt": None})
        self._ledger.record(row)

    def _redacted(self, messages: Sequence[Message]) -> list[Message]:
        return [replace(message, content=self._redact(message.content)) for message in messages]

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notify(text)


def _told_usage(error: LqmfError) -> Usage | None:
    tokens = [error.details.get(name) for name in ("input_tokens", "output_tokens")]
    return None if tokens == [None, None] else Usage(*tokens)


def _alone(failures: Sequence[ProviderError]) -> ProviderError:
    """Return one error for all failures, with nothing attached to it that an SDK made."""
    first, *others = failures
    error = type(first)(" ".join(dict.fromkeys(one.message for one in failures)), first.remedy, **first.details)
    return error if others else first
