"""What a killed process left behind, told at the start of a chat.

The first look opens neither settings nor store where their places are the usual ones: most chats start after nothing
was interrupted, and should start at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.errors import LqmfError
from lqmf.store.open import may_have_running

if TYPE_CHECKING:
    from lqmf.cli.session import Session

USUAL = {"mcp_dir": "mcp", "storage_backend": "sqlite"}  # the settings that say where records are


def tell(session: Session) -> None:
    """Say which jobs were interrupted, and how to go on with them."""
    from lqmf.cli import faults
    from lqmf.operations.unfinished import interrupted, judged, unfinished

    root, _ = workspace.find_root(session.options.get("workspace"), Path.cwd(), os.environ)
    if not possible(root, session.options, os.environ):
        return
    try:
        jobs = [judged(session.app, row) for row in interrupted(session.app)]
        latest = next((job for job in unfinished(session.app) if job.plans), None) if jobs else None
    except LqmfError as error:
        faults.failed(error, session.screen)
        return
    for job in jobs:
        stage = job.row["stage"] or "resolve"
        again = "" if job.plans else f" It is done anew: `{job.command}`." if job.command else ""
        session.screen.notice(f"Interrupted: {job.row['title']}, in the stage {stage} ({job.id}).{again}")
    if latest is not None and any(job.id == latest.id for job in jobs):
        session.screen.notice("`resume` goes on with the latest of them.")


def possible(root: Path, options: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    """Whether a job may be marked as running in the workspace at `root`; False only where that is certain."""
    if options.get("storage_backend") or any(key.lower() in USUAL for key in environment) or _moved(root):
        return True
    return may_have_running("sqlite", workspace.at(root).store)


def _moved(root: Path) -> bool:
    """Whether config.json or .env may put the records elsewhere than usual."""
    try:
        config = dict(json.loads(_text(root / "config.json") or "{}"))
        written = _text(root / ".env").lower()
    except (OSError, ValueError, TypeError):
        return True
    return any(config.get(key, usual) != usual or key in written for key, usual in USUAL.items())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
