"""history: the last turns and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result
from lqmf.records import Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

LIMIT = 20


@dataclass(frozen=True)
class Remembered(Result):
    """Turns and jobs in order of time, the newest last."""

    history: tuple[Mapping[str, Any], ...]


async def run(app: App, request: Request, ask: Ask) -> Remembered:
    """Return the last turns and jobs, as many as were asked for, or twenty."""
    return Remembered(tuple(app.memory.history(request.limit or LIMIT)))
