"""Puts files into a repository of the Hub, as the worker's task: it can be cancelled, and the chat waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lqmf.events import Emit, stage
from lqmf.hub import publishing
from lqmf.records import Task


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Upload files. `params`: {"repository", "files": {path in it: path here}, "card", "token", "endpoint", "private",
    "message"}. Returns {"url"}. Raises LqmfError."""
    params = task.params
    files = {path: Path(here) for path, here in params["files"].items()}
    with stage(emit, "upload", f"Uploading to {params['repository']}", ""):
        url = publishing.upload(
            params["repository"],
            {**files, "README.md": params["card"].encode()},
            token=params["token"],
            endpoint=params["endpoint"],
            private=params["private"],
            message=params["message"],
        )
    return {"url": url}
