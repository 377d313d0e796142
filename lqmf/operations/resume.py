"""resume: go on with a job that was interrupted, failed or was cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lqmf.operations.quantize import Quantized, joined
from lqmf.records import Decision

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask


async def run(app: App, request: Decision, ask: Ask) -> Quantized:
    """Go on with the job that is named, without a name the latest. Raises LqmfError."""
    made = await app.pipeline.resume(request.slots.get("job"), ask)
    return Quantized(made.artifacts, made.jobs, joined(made.feedback))
