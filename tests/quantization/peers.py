"""llama.cpp's own tools, where `bench/peers.sh` has built them. A test that wants one is skipped where it is absent."""

from __future__ import annotations

import pytest

from lqmf import workspace
from lqmf.ggml.library import installed_version


def peer(tool: str) -> str:
    """The path of `tool`, in step with the installed llama-cpp-python."""
    found = workspace.cache_dir() / "peers" / str(installed_version()) / tool
    if not found.is_file():
        pytest.skip(f"{tool} is not built: bench/peers.sh")
    return str(found)
