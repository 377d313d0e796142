"""Running `lqmf` as a user does, in a workspace of its own: in a process of its own, or, where no promise speaks of the
process, in this one, which saves the processor's time to start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from lqmf.cli import shell

FOREIGN = (
    "HF_TOKEN",
    "HUGGINGFACE_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "LQMF_HOME",
    "LOG_LEVEL",
    "STORAGE_BACKEND",
)


def command(root: Path, *arguments: str) -> list[str]:
    """The words of a command in the workspace `root`."""
    return [sys.executable, "-m", "lqmf", "--workspace", str(root), *arguments]


def environment(root: Path, **more: str) -> dict[str, str]:
    """The environment without what this machine's user has set, and with a Hugging Face home of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**kept, "HF_HOME": str(root / "hf-home"), **more}


def lqmf(
    root: Path, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(root, *arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(root, **(env or {})),
    )


def here(
    root: Path, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, as `lqmf` would."""
    words = ["--workspace", str(root), *arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.dict(os.environ, environment(root, **(env or {})), clear=True),
        mock.patch("sys.stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = shell.run(words)
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, code, *said)


def document(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """What a command, in a process of its own, says with --json: exactly one document."""
    return json.loads(lqmf(root, *arguments, "--json", env=env).stdout)


def document_here(root: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """What a command says with --json: exactly one document."""
    return json.loads(here(root, *arguments, "--json", env=env).stdout)


def written(root: Path) -> bytes:
    """Everything that lies in the workspace, in one piece, for searching."""
    return b"\n".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())
