"""preflight: can it be done here, what will it cost, and what will fit? No weights are fetched, nothing is asked.

The JSON document: `{"status": "possible"/"impossible", "model", "findings": [{"name", "answer", "detail", "remedy"}],
"methods": {method: {"answer", "reason", "remedy"}}, "published", "estimate", "fit"}`. `answer` is yes, no, but or
unknown; a no makes it impossible. `published` lists GGUFs on the Hub, null where it was not asked; `estimate` is what
quantizing costs; `fit` has `recommended` (a candidate), `why`, `best` (five at most), `least` and `ways_out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.asking import never_asking
from lqmf.operations.result import Result
from lqmf.records import Request, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.planning.preflight import Preflight
    from lqmf.understanding.answers import Ask

FIT = ("recommended", "why", "best", "least", "ways_out")


@dataclass(frozen=True)
class Examined(Result):
    """Everything that was found. `narrowed`: more than the model was said, and is to be said again."""

    found: Preflight
    narrowed: bool = False

    @property
    def ok(self) -> bool:
        """Whether it can be done."""
        return self.found.possible

    @property
    def document(self) -> dict[str, Any]:
        """The preflight as JSON has it: of all that could be run, only what is worth choosing between."""
        found, solution = self.found, self.found.solution
        return {
            "status": "possible" if found.possible else "impossible",
            "model": found.model,
            "findings": to_json(found.findings),
            "methods": to_json(found.methods),
            "published": to_json(found.published),
            "estimate": to_json(found.estimate),
            "fit": {name: to_json(getattr(solution, name)) for name in FIT} if solution else None,
        }


async def run(app: App, request: Request, ask: Ask) -> Examined:
    """Look at everything. Raises LqmfError for a model that cannot be found."""
    return Examined(await app.planning.preflight(request, never_asking(ask)), narrowed=len(request.slots()) > 1)
