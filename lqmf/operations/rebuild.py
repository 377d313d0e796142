"""rebuild: make an artifact again from its manifest, and say whether the same bytes come out."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import hardware
from lqmf.artifacts import rebuild
from lqmf.errors import IncompleteModel, ModelNotFound, Unauthorized
from lqmf.events import Notice
from lqmf.jobs.journal import new_id, work_folder
from lqmf.operations.result import Result
from lqmf.records import Manifest, ModelInfo, QuantizationPlan, Request, to_json

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


async def run(app: App, request: Request, ask: Ask) -> Remade:
    """Make an artifact again from its manifest (the name may be a manifest's path; without one the newest), and
    compare. What was made goes away unless it is to be kept, or there is no artifact of that manifest here. Raises
    NotFound, AmbiguousName, ModelError where the source has changed or is gone, and what making it raises."""
    wanted = rebuild.original(request.name, app.shelf.find)
    plan = rebuild.plan_of(wanted.manifest, gpu=bool(hardware.gpus()))
    info = await _source(app, wanted.manifest, plan, ask)
    for sentence in rebuild.warnings(wanted.manifest, plan):
        app.bus.publish(Notice(text=sentence, level="warning"))
    keep = bool(request.keep_rebuilt) or not wanted.is_in(app.workspace.artifacts)
    context = app.pipeline.context(new_id())
    check = rebuild.RebuildCheck(wanted, app.runner.run, context, keep=keep)
    with work_folder(app.workspace, info.ref, info.commit, f"-again-{wanted.key}") as folder:
        work = app.pipeline.work(context.job, plan, info, folder, accept=check, original=_name(request, wanted))
        artifact = await app.pipeline.carry_out(work)
    assert check.result is not None, "the executor asks before it ends"
    return Remade(dataclasses.replace(check.result, artifact=artifact))


def _name(request: Request, wanted: rebuild.Original) -> str:
    """Return the original as a command names it wherever it is typed: by its name, or by its manifest's whole path."""
    path = Path(request.name or "").expanduser()
    return str(path.absolute()) if request.name and path.exists() else wanted.name


async def _source(app: App, manifest: Manifest, plan: QuantizationPlan, ask: Ask) -> ModelInfo:
    """Return what is known of the source, which is the one that the manifest tells of. Raises ModelError."""
    stored = app.models.stored(plan.model, plan.commit)
    rebuild.refuse_gone(manifest, stored)
    try:
        info = await app.planning.pinned(plan, ask)
    except (ModelNotFound, IncompleteModel, Unauthorized) as error:  # the Hub says that of what it has not, too
        raise rebuild.gone(manifest, error.message) from error
    await asyncio.to_thread(rebuild.refuse_changed, manifest, info, stored, app.bus.publish)
    return info
