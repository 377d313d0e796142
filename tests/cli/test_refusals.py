"""What a method cannot do is said in clear words before a byte of weights is fetched, whatever the architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
