"""What a method cannot do is said in clear words before a byte of weights is fetched, whatever the architecture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lqmf.model_files.refs import DEMO_FOLDER
from tests.architectures import expectations, families
from tests.cli.conftest import Ran
from tests.hub.server import Hollow, LocalHub

EXPECTED = expectations.read()
REFUSED = sorted(EXPECTED.cells("no"))
MOST_OF_A_FILE = 600_000  # bytes of weights that reading a header may take along


def content(file: Path) -> bytes | Hollow:
    """A file as the hub has it; of weights there is the header alone, and who asks for more fails."""
    if not file.name.endswith(".safetensors"):
        return file.read_bytes()
    return Hollow(families.header(file), 50 * file.stat().st_size)


@pytest.mark.parametrize("name", sorted({name for name, _ in REFUSED}))
def test_a_no_names_its_reason_and_what_can_and_fetches_no_weights(
    name: str, run: Callable[..., Ran], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add_repo(f"ada/{name}", {file.name: content(file) for file in families.folder(name).iterdir()})
        for method in (method for refused, method in REFUSED if refused == name):
            cell = EXPECTED.families[name].cells[method]
            ran = run("quantize", f"ada/{name}", "--method", method, "--yes", "--json")
            assert ran.code == 1
            assert cell.says in ran.document["error"]["message"]
            assert ran.document["error"]["remedy"]
        sent = [(request.path, request.sent) for request in hub.requests if request.path.endswith(".safetensors")]
    assert sum(bytes for _, bytes in sent) <= MOST_OF_A_FILE, sent
    assert not (home / "quantized-models").exists()


@pytest.mark.parametrize("change", [{"num_hidden_layers": "eight"}, {"vocab_size": 10**12}])
def test_a_configuration_of_nonsense_is_refused_alike_by_all_that_begin_with_a_model(
    change: dict[str, object], run: Callable[..., Ran], home: Path
) -> None:
    shutil.copytree(DEMO_FOLDER, home / "odd")
    config = home / "odd" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    told = {
        command: run(command, str(home / "odd"), "--json").document["error"]["message"]
        for command in ("plan", "preflight", "quantize")
    }
    (message,) = set(told.values())
    assert next(iter(change)) in message
    assert "a whole number from 1 to" in message
