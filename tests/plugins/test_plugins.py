"""A backend and a provider from packages of their own serve in full: from a sentence to a receipt, in help, completion,
card, gate, report and settings, with no file of LQMF edited. They are installed into a folder of the test alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
BROKEN = "raise RuntimeError('made for another version')\n"


class Place:
    """A workspace, and a child `lqmf` that finds the packages installed in `packages`."""

    def __init__(self, packages: Path, workspace: Path, **variables: str) -> None:
        self.packages, self.workspace, self.variables = packages, workspace, variables

    def run(self, *words: str, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """`lqmf` with `words`, in the workspace."""
        found = {**os.environ, "PYTHONPATH": f"{self.packages}:{ROOT}", "HOME": str(self.workspace)}
        return subprocess.run(
            [sys.executable, "-m", "lqmf", *words],
            capture_output=True,
            text=True,
            input=stdin or "",
            cwd=self.workspace,
            env={**found, "LQMF_WORKSPACE": str(self.workspace), **self.variables, **more},
            timeout=500,
        )

    def said(self, *words: str) -> Any:
        """The JSON document that `lqmf` gives for `words`."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


def install(package: Path, folder: Path, scratch: Path) -> None:
    """`pip install` of a copy of `package` into `folder`, without what it depends on."""
    copy = shutil.copytree(package, scratch / package.name)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*pip, str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages, installed, and a third that is broken in every group."""
    folder, scratch = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("scratch")
    for name in ("torchao_backend", "parrot_provider"):
        install(HERE / name, folder, scratch)
    (folder / "lqmf_broken.py").write_text(BROKEN)
    info = folder / "lqmf_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lqmf-broken\nVersion: 1.0\n")
    groups = ("backends", "providers", "engines", "commands")
    (info / "entry_points.txt").write_text("".join(f"[lqmf.{one}]\ncracked = lqmf_broken:it\n" for one in groups))
    return folder


@pytest.fixture
def place(packages: Path, tmp_path: Path) -> Place:
    return Place(packages, tmp_path)


# ---------------------------------------------------------------- a broken one


@pytest.mark.parametrize("command", [("--help",), ("list",), ("llm", "status"), ("stats",), ("help",)])
def test_a_broken_package_breaks_nothing_and_is_named_once(place: Place, command: tuple[str, ...]) -> None:
    done = place.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    told = " ".join(done.stderr.split())
    assert told.count("'cracked' of the package lqmf-broken") == 1
    assert "Traceback" not in told


# ---------------------------------------------------------------- the backend


def test_its_words_are_read_in_a_sentence(place: Place) -> None:
    assert place.said("parse", "quantize demo with torch ao")["slots"] == {"model": "demo", "method": "torchao"}
    assert place.said("parse", "quantize demo to int8wo")["slots"] == {"model": "demo", "type": "int8wo"}


def test_help_and_completion_name_it(place: Place) -> None:
    assert "bnb or torchao" in " ".join(place.run("quantize", "--help").stdout.split())
    for words, wanted in (("lqmf quantize demo --method to", "torchao"), ("lqmf quantize demo --type int8w", "int8wo")):
        complete = {"_LQMF_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        assert wanted in place.run(**complete).stdout.split()


@pytest.mark.slow
def test_from_a_sentence_to_receipt_gate_card_and_report(place: Place) -> None:
    pytest.importorskip("torchao")
    made = place.said("quantize the demo with torchao", "--yes")["artifacts"][0]
    assert (made["method"], made["type"], made["bits"]) == ("torchao", "int8wo", 8)
    receipt = made["receipt"]
    assert 0 < receipt["kl_divergence"]["mean"] < 0.004
    assert receipt["gate"] == {"passed": True, "reasons": [], "limits": {"kl_mean": 0.004, "top1": 0.91}}
    assert all(check["passed"] for check in receipt["checks"])
    place.run("docs", made["name"])
    card = (Path(made["path"]) / "README.md").read_text(encoding="utf-8")
    assert '- "torchao"' in card
    assert "With transformers and torchao" in card
    assert "pip install torchao" in card
    place.run("report", "--out", "page.html")
    pages = [*place.workspace.rglob("*.html")]
    assert any('"symbol": "star"' in page.read_text() or '"symbol":"star"' in page.read_text() for page in pages)


# ---------------------------------------------------------------- the provider


class Server:
    """A server of the parrot's protocol; `asked` are the requests with their keys."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append((self.headers["Authorization"], request))
                text = json.dumps({"word": "quantization"})
                body = json.dumps({"text": text, "model": "grey-1", "tokens": [1000, 500]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on stderr."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def test_a_provider_is_switched_to_by_a_sentence_asked_and_paid_for(packages, tmp_path, server: Server) -> None:
    place = Place(packages, tmp_path, PARROT_KEY="hush-hush", PARROT_BASE_URL=server.address)
    assert place.said("ask polly from now on as provider")["in_use"] == "parrot"
    status = next(one for one in place.said("llm", "status")["providers"] if one["name"] == "parrot")
    assert (status["ready"], status["model"], status["key"]) == (True, "grey-1", "present")
    assert status["key_source"] == "PARROT_KEY in the environment"
    answered = place.said("llm", "test")
    assert server.asked[0][0] == "Bearer hush-hush"
    assert answered["cost"] == pytest.approx((1000 * 1.0 + 500 * 2.0) / 1e6)


def test_its_key_is_a_secret_and_its_model_a_setting(packages, tmp_path) -> None:
    place = Place(packages, tmp_path, PARROT_KEY="hush-hush")
    assert place.said("config", "set", "parrot_model", "green-2")
    told = place.run("config", "get").stdout
    assert "green-2" in told
    assert "hush-hush" not in told
    refused = place.run("config", "set", "parrot_key", "hush")
    assert refused.returncode == 2
    assert "PARROT_KEY=" in refused.stderr + refused.stdout


def test_nothing_is_left_installed() -> None:
    """The packages lie in the test's own folder: this environment does not know them."""
    from importlib.metadata import entry_points

    assert not {"torchao", "cracked"} & {point.name for point in entry_points(group="lqmf.backends")}
