"""Checks that a file's bytes are those that the Hub lists: SHA-256 for LFS files, git's blob hash for the others."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from lqmf.records import RemoteFile

_BLOCK_BYTES = 4 << 20


class Stopped(Exception):
    """Hashing was asked to stop."""


def digest(path: Path, file: RemoteFile, stop: threading.Event) -> tuple[str, bool]:
    """Return (SHA-256 of the file at `path` in hex, whether its content is that of `file`).

    A git blob's hash is the SHA-1 of `blob <size>\\0` and the content. Raises Stopped once `stop` is set, and OSError.
    """
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            if stop.is_set():
                raise Stopped
            sha256.update(block)
            if not file.sha256:
                git.update(block)
    if file.sha256:
        return sha256.hexdigest(), sha256.hexdigest() == file.sha256
    return sha256.hexdigest(), file.git_oid in (None, git.hexdigest())
