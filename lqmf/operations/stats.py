"""stats: success rates, times, space saved, methods compared; or how far off estimates were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result, Told
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


class Statistics(Told):
    """Everything that was done in this workspace, summed up as `lqmf.store.statistics` does."""


@dataclass(frozen=True)
class Learnt(Result):
    """What was predicted against what was measured, and the corrections that this taught."""

    predictions: tuple[Mapping[str, Any], ...]


async def run(app: App, request: Request, ask: Ask) -> Statistics | Learnt:
    """Sum up the MemoryAgent's records, or what its predictions came to."""
    if request.predictions:
        from lqmf.fit import corrections

        learnt = corrections.fit(app.memory.predictions()).by_key.values()
        return Learnt(tuple(each.to_json() for each in learnt))
    return Statistics(app.memory.stats())
