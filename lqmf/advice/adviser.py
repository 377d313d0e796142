"""The adviser: asks a provider's model about a plan, or for names of models; returns the part of the answer that passes
the checks.

Knows prompts, facts and checks, and how long the chat waits. Knows no planner: it recommends, and decides nothing. A
failure is told once, in short; then there is no advice, and the rules' plan stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from lqmf.advice import checking, facts
from lqmf.advice.answers import NamedModels, recommendation
from lqmf.errors import GatedModel, ModelError, ProviderError, SettingsError, TransferError
from lqmf.events import Emit, Notice, stage
from lqmf.providers import prompts
from lqmf.providers.masking import Masks
from lqmf.records import Advice, Hardware, ModelInfo, QuantizationPlan, Request, Suggestion

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lqmf.fit.classes import SizeClass
    from lqmf.fit.solver import Solution
    from lqmf.planning.request import PlanRequest
    from lqmf.providers.base import Completion
    from lqmf.providers.calls import Calls

    T = TypeVar("T", bound=BaseModel)

LOOK_SECONDS = 10.0  # that the Hub has to say whether models exist
GRACE_SECONDS = 0.5  # beyond the wait, for what does not end by itself
LARGER = 1.35  # times the parameters of the largest size that fits: models of one size differ that much

Look = Callable[[str], Awaitable[ModelInfo]]  # a Hub id: its metadata. Raises LqmfError


class Adviser:
    """Asks for advice. `wait_seconds` is how long a turn waits for an answer; `history` gives the store's predictions;
    `look` asks the Hub; `redact` masks secrets."""

    def __init__(
        self,
        calls: Calls,
        *,
        wait_seconds: float,
        redact: Callable[[str], str],
        emit: Emit,
        history: Callable[[], Sequence[Mapping[str, Any]]],
        look: Look,
    ) -> None:
        self._calls = calls
        self._wait_seconds = wait_seconds
        self._redact = redact
        self._emit = emit
        self._history = history
        self._look = look
        self._told = False

    # ------------------------------------------------------------ a plan

    async def on_plan(
        self, request: PlanRequest, plan: QuantizationPlan, solution: Solution, lines: Sequence[str]
    ) -> Advice | None:
        """Return a provider's advice on `plan`, checked; None where there is only one candidate, or no provider
        answered. `lines` are those that the user typed."""
        choices = checking.offered(solution, request.said)
        if len(choices) < 2:
            return None
        masks = Masks(self._redact, facts.paths(request.said, request.info))
        values = facts.of_plan(request, plan, solution, choices, lines, self._history(), masks)
        done = await self._ask("plan", values, recommendation(choices))
        if done is None:
            return None
        advice = checking.checked(
            done.value,
            Advice(done.provider, done.model),
            choices,
            choices[0],
            request.said,
            request.info.context_length,
        )
        return self._clean(advice)

    def _clean(self, advice: Advice) -> Advice:
        """Return the advice with secrets masked: none may stand in a plan, wherever the model had it from."""
        notes = tuple(self._redact(note) for note in advice.notes)
        return replace(advice, reason=self._redact(advice.reason), notes=notes)

    # ------------------------------------------------------------ models by name

    async def on_models(
        self,
        asked: Request,
        hardware: Hardware,
        sizes: Mapping[SizeClass, Solution],
        lines: Sequence[str],
    ) -> tuple[Suggestion, ...]:
        """Return the models that a provider names for the wishes in `lines`, each looked up on the Hub; empty where no
        provider answered."""
        values = facts.of_models(asked, hardware, sizes, lines, Masks(self._redact, facts.paths(asked)))
        done = await self._ask("models", values, NamedModels)
        named = checking.named_models(done.value) if done else []
        most = most_parameters(sizes)
        found = await asyncio.gather(*(self._looked_up(id, self._redact(reason), most) for id, reason in named))
        return tuple(one for one in found if one is not None)

    async def _looked_up(self, id: str, reason: str, most: float) -> Suggestion | None:
        """Return the model as the Hub knows it; None where the Hub does not know it, or it cannot be used, or it is too
        large."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                info = await self._look(id)
        except GatedModel:
            return Suggestion(id, reason, "gated")
        except ModelError:
            return None
        except (TransferError, TimeoutError):
            return Suggestion(id, reason, "unverified")
        if info.weights_format != "safetensors" or (info.parameters or 0) > most:
            return None
        state = "verified" if info.access in ("open", "granted") else "gated"
        return Suggestion(id, reason, state, info.parameters, info.license)  # type: ignore[arg-type]

    # ------------------------------------------------------------ asking

    async def _ask(self, purpose: str, values: Mapping[str, str], schema: type[T]) -> Completion[T] | None:
        """Return the answer, within the time that the chat waits; where there is none, tell the reason once and return
        None."""
        messages = prompts.messages(purpose, **values)
        try:
            with stage(self._emit, "advice", f"Asking {self._calls.name}", "steps"):
                async with asyncio.timeout(self._wait_seconds + GRACE_SECONDS):
                    done = await self._calls.complete(purpose, messages, schema, deadline_s=self._wait_seconds)
        except (ProviderError, SettingsError) as error:
            self._tell(error.message)
        except TimeoutError:
            self._tell(f"{self._calls.name} gave no answer within {self._wait_seconds:g} s.")
        else:
            self._told = False
            return done
        return None

    def _tell(self, reason: str) -> None:
        """Tell why there is no advice, once until there is some again; `llm status` has the rest."""
        if self._told:
            return
        self._told = True
        self._emit(Notice(text=self._redact(f"No advice: {reason} The rules alone decide."), level="warning"))


def most_parameters(sizes: Mapping[SizeClass, Solution]) -> float:
    """Return the most parameters that a model may have here: a little more than the largest size that fits; infinity
    where no size is known to fit."""
    fitting = [_parameters(size.name) for size, found in sizes.items() if found.recommended]
    return max(fitting, default=float("inf")) * LARGER


def _parameters(size: str) -> float:
    """Return the number of parameters that a size names: 30e9 for "30B-A3B"."""
    return float(size.partition("B")[0]) * 1e9
