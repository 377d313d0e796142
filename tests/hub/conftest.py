"""Every hub test runs with a Hugging Face home of its own, no tokens, and quick retries; only loopback is reached."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from lqmf.hub.client import HubClient
from lqmf.hub.transfer import TransferOptions
from lqmf.retry import RetryPolicy
from tests.hub.server import LocalHub

QUICK = RetryPolicy(max_retries=2, base_seconds=0.01, max_seconds=0.02)
_NAMES = (
    "HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH",
)  # fmt: skip


@pytest.fixture(autouse=True)
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh Hugging Face home, for this process and its children."""
    from huggingface_hub import constants

    home = tmp_path / "hf-home"
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    return home


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    """A local hub; at the end, no fault may be left that did not happen."""
    with LocalHub() as server:
        yield server
    assert server.unused_faults() == []


@pytest.fixture
def client(hub: LocalHub) -> HubClient:
    return HubClient(endpoint=hub.url, retry=QUICK)


@pytest.fixture
def options() -> TransferOptions:
    """Small ranges, one after another, so that the server's log can be read."""
    return TransferOptions(connections=1, chunk_bytes=64 << 10, journal_bytes=16 << 10, retry=QUICK)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
