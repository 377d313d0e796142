"""rebuild: make an artifact again from its manifest, and say whether the same bytes come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lqmf.operations.result import Result
from lqmf.records import Decision, to_json

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.artifacts.rebuild import Rebuilt
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Remade(Result):
    """What was made again, held against the original."""

    made: Rebuilt

    @property
    def ok(self) -> bool:
        """Whether the same bytes came out."""
        return self.made.same

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "same"/"differs", "artifact", "job", "kept": the new artifact or null, "files": [{"path",
        "same"}], "differences": [{"file", "tensor", "detail"}], "versions": [{"name", "then", "now"}],
        "kl_divergence": or null, "reason": why null}`."""
        made = self.made
        return {
            "status": "same" if made.same else "differs",
            "artifact": made.name,
            "job": made.job,
            "kept": to_json(made.artifact),
            "files": to_json(made.files),
            "differences": to_json(made.differences),
            "versions": to_json(made.versions),
            "kl_divergence": to_json(made.divergence),
            "reason": made.why_none,
        }


async def run(app: App, request: Decision, ask: Ask) -> Remade:
    """Rebuild what is named; without a name, the newest. Raises LqmfError."""
    keep = bool(request.slots.get("keep"))
    return Remade(await app.pipeline.rebuild(request.slots.get("name"), ask, keep=keep))
