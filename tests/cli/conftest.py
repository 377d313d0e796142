"""A workspace of its own for each test, artifacts made by hand, and `run`: the shell without a process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.cli import shell
from lqmf.records import ModelRef, QuantizationPlan, to_json
from tests.model_files.gguf_writer import SMALL

RECEIPT: dict[str, Any] = {
    "base": {"perplexity": 47.69, "engine": "llama.cpp 0.3.36"},
    "perplexity": 47.99,
    "kl_divergence": {"mean": 0.0022, "standard_error": 0.00002, "p50": 0.001, "p90": 0.005, "p99": 0.0134, "max": 0.2},
    "top1_agreement": 0.964,
    "tokens_evaluated": 16320,
    "window_tokens": 512,
    "text": {"name": "evaluation", "sha256": "e" * 64},
    "checks": [{"name": "loads", "passed": True, "detail": ""}],
    "latency_seconds": {"first_token": 0.026, "per_response": 0.8},
    "tokens_per_second": {"prompt": 833.0, "generation": 413.0},
    "peak_memory_bytes": {"rss": 94_000_000, "gpu": None},
    "load_seconds": 0.4,
    "bits_per_weight": 5.07,
    "size_bytes": 250,
    "measured_on": {"cpu": "a processor", "gpu": None, "engine": "llama.cpp 0.3.36"},
    "samples": [{"prompt": "What is a list?", "response": "A list is a mutable sequence.", "tokens": 7}],
    "utilization": {"cpu": 51.0, "gpu": None},
    "reasons": {},
}


@dataclass(frozen=True)
class Ran:
    """What a call of the shell came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout: anything beside it is an error."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, and an environment without the user's own settings."""
    root = tmp_path / "home"
    root.mkdir()
    for name in ("HF_TOKEN", "HUGGINGFACE_TOKEN", "STORAGE_BACKEND", "LLM_PROVIDER", "NO_COLOR", "MCP_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LQMF_HOME", str(root))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return root


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`run("list", "--json", stdin="..")`: the shell's words carried out in this process."""

    def carry_out(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = shell.run(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return carry_out


@pytest.fixture
def make_artifact(home: Path) -> Callable[..., Path]:
    """`make_artifact(name)`: an artifact's folder with manifest, receipt and a GGUF header."""

    def make(name: str, type: str = "Q4_K_M", bits: int = 4, **receipt: Any) -> Path:
        folder = home / "quantized-models" / name
        folder.mkdir(parents=True)
        (folder / "m.gguf").write_bytes(SMALL)
        workspace.write_json(folder / "receipt.json", {**RECEIPT, **receipt})
        manifest = {
            "format_version": 1,
            "name": name,
            "model": {"kind": "hub", "id": "org/m"},
            "commit": None,
            "source_sha256": {},
            "plan": to_json(
                QuantizationPlan(f"plan-{name}", ModelRef("hub", "org/m"), None, "gguf", bits, type, "gguf", "cpu")
            ),
            "files": workspace.file_entries(folder),
            "versions": {},
            "created_at": f"2026-01-0{bits}T00:00:00+00:00",
            "source_size_bytes": 1000,
        }
        workspace.write_json(folder / "manifest.json", manifest)
        return folder

    return make
