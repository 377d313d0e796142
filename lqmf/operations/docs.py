"""docs: write an artifact's model card and Modelfile again from its records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lqmf.errors import ProviderError, UsageError
from lqmf.events import Notice
from lqmf.operations.result import Result
from lqmf.records import Artifact, Request

if TYPE_CHECKING:
    from lqmf.app import App
    from lqmf.artifacts.card.prose import Prose
    from lqmf.understanding.answers import Ask


@dataclass(frozen=True)
class Written(Result):
    """The files that were written of `artifact` (of several, the first), and whose words the sentences are."""

    artifact: str
    files: tuple[Path, ...]
    prose: Literal["records", "provider"]

    @property
    def document(self) -> dict[str, Any]:
        """`{"status": "done", "artifact", "files", "prose"}`."""
        files = [str(path) for path in self.files]
        return {"status": "done", "artifact": self.artifact, "files": files, "prose": self.prose}


async def run(app: App, request: Request, ask: Ask) -> Written:
    """Write the card and the Modelfile of each artifact that is named, without a name the newest's."""
    from lqmf.artifacts.card import writing

    out = Path(request.out).expanduser().absolute() if request.out else None
    artifacts = [app.shelf.find(name) for name in request.names or (request.name or request.model,)]
    if out is not None and len(artifacts) > 1:
        raise UsageError(f"In {out} they would overwrite one another.", "Name one artifact for each `--out`.")
    words = await _worded(app, artifacts[0]) if request.prose else None
    force = bool(request.force)
    written = [path for artifact in artifacts for path in writing.write(artifact, words, out, force=force)]
    return Written(artifacts[0].name, tuple(written), "records" if words is None else "provider")


async def _worded(app: App, artifact: Artifact) -> Prose | None:
    """Return the card's sentences in a provider's words; None, and why is told, where its words may not stand or none
    answers. Raises UsageError without a provider."""
    from lqmf.agents import rewording
    from lqmf.artifacts.card import writing

    if app.llm is None:
        raise UsageError(
            "--prose needs an LLM provider, and none is set.", "`lqmf llm switch claude`, or leave it out."
        )
    own = writing.own_prose(artifact)
    try:
        return await rewording.reworded(app.llm, own)
    except (ProviderError, ValueError) as error:
        why = error.message if isinstance(error, ProviderError) else f"The provider's wording was left out: {error}."
        app.bus.publish(Notice(text=app.redact(f"{why} The records' own sentences stand."), level="warning"))
        return None
