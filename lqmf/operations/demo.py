"""demo: the bundled model, quantized, measured, and asked to go on with a sentence. Fully offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.errors import WorkerDied
from lqmf.jobs.journal import new_id
from lqmf.operations import quantize
from lqmf.operations.quantize import Quantized
from lqmf.operations.result import Result
from lqmf.records import Artifact, Proposal, Request, Task

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.understanding.answers import Ask

TOKENS = 40
PROMPT = "A list is a mutable sequence,"
REQUEST = Request(intent="quantize", model="demo", method="gguf", bits=4, type="Q4_K_M", device="cpu")


@dataclass(frozen=True)
class Shown(Result):
    """What was made, and how it went on with a sentence."""

    made: Quantized
    prompt: str
    continuation: str

    @property
    def ok(self) -> bool:
        """Whether it was made."""
        return self.made.ok

    @property
    def proposal(self) -> Proposal | None:
        """What may be made next."""
        return self.made.proposal

    @property
    def document(self) -> dict[str, Any]:
        """The document of `quantize`, with "prompt" and "continuation"."""
        return {**self.made.document, "prompt": self.prompt, "continuation": self.continuation}


async def run(app: App, request: Request, ask: Ask) -> Shown:
    """Quantize the bundled model, then put one question to the result."""
    made = await quantize.run(app, REQUEST, ask)
    return Shown(made, PROMPT, await _continued(app, made.artifacts[0], PROMPT))


async def _continued(app: App, artifact: Artifact, prompt: str) -> str:
    """Return what an artifact goes on to say, greedily, from a worker."""
    context = app.pipeline.context(new_id())
    params = {"artifact": artifact.path, "prompt": prompt, "sampling": {"max_tokens": TOKENS}}
    try:
        result = await app.runner.run(Task(context.job, "generate", params, context.log), context.emit)
    except WorkerDied as error:  # of no job: what was made stays
        error.remedy = f"{error.remedy} `lqmf test {artifact.name}` says whether it runs."
        raise
    return str(result["text"])
