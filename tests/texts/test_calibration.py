"""What is calibrated on: the built-in texts are apart from those that choose and judge, and a text that cannot serve is
refused before any work, each with its own reason."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import unquote

import pytest

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.errors import Offline, UsageError
from lqmf.quantization.gguf.vet import check_calibration
from lqmf.texts import hub_dataset as calibration_hub
from lqmf.texts.calibration import built_in, of_file, windows
from tests.fixtures_gguf import demo_gguf

TEXTS = Path(str(resources.files("lqmf").joinpath("assets/text")))
CALIBRATION = ("calibration.txt", "calibration_dialogues.jsonl", "calibration_code.txt")


def long_lines(name: str) -> set[str]:
    lines = (line.strip() for line in (TEXTS / name).read_text(encoding="utf-8").splitlines())
    return {line for line in lines if len(line) > 60 and any(map(str.isalpha, line))}


def test_calibration_selection_and_evaluation_share_no_line() -> None:
    kinds = [set().union(*map(long_lines, CALIBRATION)), long_lines("selection.txt"), long_lines("evaluation.txt")]
    assert all(len(lines) > 500 for lines in kinds)
    assert not kinds[0] & kinds[1]
    assert not kinds[0] & kinds[2]
    assert not kinds[1] & kinds[2]


def test_no_other_text_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or real(path))
    built_in()
    assert opened == list(CALIBRATION)


def test_the_first_windows_hold_every_domain() -> None:
    """Prose, a dialogue in the model's own template, and code take turns; each window is full and none repeats."""
    text = built_in()
    with LlamaCppEngine(demo_gguf(), threads=1) as model:
        found = windows(text, model, most=12)
        first = [model.detokenize(window) for window in found]
    assert [len(window) for window in found] == [512] * 12
    assert len(set(map(tuple, found))) == 12
    assert [domain.name for domain in text.domains] == ["documentation", "dialogues", "code"]
    assert all("<|im_start|>" in shown for shown in first[1::3])
    assert all("def " in "".join(first[2::3]) and "<|im_start|>" not in shown for shown in first[0::3] + first[2::3])


def test_one_plain_text_is_cut_as_llama_imatrix_cuts_it(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One two three, four five. " * 200, encoding="utf-8")
    with LlamaCppEngine(demo_gguf(), threads=1) as model:
        begin = model.tokenize("", bos=True)
        whole = begin + model.tokenize(path.read_text(encoding="utf-8"))
        found = windows(of_file(path), model, 128)
    assert len(found) == len(whole) // 128 > 3
    for i, window in enumerate(found):
        assert window == begin + whole[i * 128 + len(begin) : (i + 1) * 128]


class Plain:
    """A tokenizer of characters whose model has a chat template only where `template` says how."""

    def __init__(self, template: str = "") -> None:
        self._template = template

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        return [0] * bos + [ord(character) for character in text]

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        if not self._template or (self._template == "no system" and messages[0]["role"] == "system"):
            raise UsageError("no")
        return "".join(f"[{m['role']}]{m['content']}" for m in messages)


@pytest.mark.parametrize(
    ("template", "shown"),
    [("any", "[system]Be brief.[user]Hi"), ("no system", "[user]Hi"), ("", "System: Be brief.\n\nUser: Hi")],
)
def test_dialogues_go_through_the_template_else_as_plain_turns(tmp_path: Path, template: str, shown: str) -> None:
    path = tmp_path / "chat.jsonl"
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello." * 120)]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    window = windows(of_file(path), Plain(template), 256)[0]  # type: ignore[arg-type]
    assert "".join(map(chr, window[1:])).startswith(shown)


BAD = {
    "empty.txt": (b"", "is empty"),
    "blank.txt": (b"\n \n" * 400, "is empty"),
    "zeros.bin": (b"abc\0" * 400, "NUL bytes"),
    "latin.txt": ("Grüße aus Köln. ".encode("latin-1") * 100, "no text in UTF-8"),
    "short.txt": (b"A few words.", "less than one window"),
    "model.gguf": (b"GGUF" + bytes(900), "is a GGUF file"),
    "rows.jsonl": (b'{"text": "fine"}\n{oops}\n' * 40, "Line 2 of rows.jsonl is no JSON"),
    "fields.jsonl": (b'{"body": "elsewhere"}\n' * 40, 'no line with "text" or "messages"'),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_be_calibrated_on_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    data, reason = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        check_calibration(str(tmp_path / name))
    assert reason in caught.value.message
    assert name in caught.value.message
    assert caught.value.remedy


def test_absent_files_and_folders_are_refused_too(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.txt", "There is no"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError, match=reason):
            check_calibration(str(path))


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(UsageError, match=r"huge\.txt has 5\.4 GB"):
        check_calibration(str(tmp_path / "huge.txt"))


def test_a_sound_text_passes(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("Good words. " * 100, encoding="utf-8")
    check_calibration(str(tmp_path / "good.txt"))


def test_a_text_of_too_few_tokens_is_refused_by_the_models_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "few.txt"
    path.write_text("documentation " * 60, encoding="utf-8")
    check_calibration(str(path))
    with LlamaCppEngine(demo_gguf(), threads=1) as model, pytest.raises(UsageError, match="shorter than one window"):
        windows(of_file(path), model)


def test_a_dataset_is_checked_by_its_form_alone() -> None:
    check_calibration("hub:ada/texts:train:body")
    for said in ("hub:", "hub:no such", "hub:ada/texts:a:b:c", "hub:ada/texts::b"):
        with pytest.raises(UsageError, match="names no dataset"):
            check_calibration(said)


def test_nothing_heavy_is_imported_for_the_check() -> None:
    code = (
        "import sys; from lqmf.texts import calibration as text; from lqmf.quantization.gguf.imatrix import collect\n"
        "text.built_in()\n"
        "print([m for m in ('torch', 'transformers', 'llama_cpp', 'numpy', 'huggingface_hub') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# ---------------------------------------------------------------- a dataset of the Hub


class Datasets(BaseHTTPRequestHandler):
    """The far end: one dataset, by the Hub's own protocol."""

    files: ClassVar[dict[str, bytes]] = {
        "README.md": b"# Words",
        "data/chat.jsonl": b'{"turns": [{"role": "user", "content": "Hi"}]}\n' * 60,
        "data/test-0001.jsonl": b'{"text": "not this split"}\n' * 60,
        "data/train-0001.jsonl": b"".join(b'{"id": %d, "body": "Row %d of many."}\n' % (i, i) for i in range(90)),
    }
    commit = "a" * 40

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, name = unquote(self.path).partition("?")[0], "/datasets/ada/words/resolve/" + self.commit + "/"
        if path == "/api/datasets/ada/words":
            files = [{"rfilename": file} for file in self.files]
            self._answer(json.dumps({"id": "ada/words", "sha": self.commit, "siblings": files}).encode())
        elif path.startswith(name) and path.removeprefix(name) in self.files:
            self._answer(self.files[path.removeprefix(name)])
        else:
            self._answer(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def _answer(self, body: bytes, status: int = 200, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        about = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": self.commit, **more}
        for key, value in {"Content-Length": str(len(body)), **about}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to the terminal."""


@pytest.fixture
def far_end() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Datasets)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_dataset_of_the_hub_is_read_through_the_real_client(far_end: str, tmp_path: Path) -> None:
    """The split's file and the column are found; a wrong column, split or name is said, with what there is."""
    code = (
        "import sys; from lqmf.errors import LqmfError; from lqmf.texts.hub_dataset import fetch\n"
        "for said in sys.argv[1:]:\n"
        "    try: text = fetch(said); print(text.name, text.domains[0].text[:12] or text.domains[0].dialogues[0])\n"
        "    except LqmfError as error: print(error.code, error.message, error.remedy)\n"
    )
    wanted = ("words:train:body", "words:chat:turns", "words", "words:valid:body", "nothing")
    said = subprocess.check_output(
        [sys.executable, "-c", code, *(f"hub:ada/{name}" for name in wanted)],
        text=True, env=os.environ | {"HF_ENDPOINT": far_end, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"},
    ).splitlines()  # fmt: skip
    assert said[0] == "hub:ada/words:train-0001.jsonl Row 0 of man"
    assert said[1] == "hub:ada/words:chat.jsonl [{'role': 'user', 'content': 'Hi'}]"
    assert said[2].startswith("usage train-0001.jsonl of ada/words has no text in a column 'text'. It has body, id.")
    assert said[3].startswith("usage The dataset ada/words has no .jsonl, .txt or .parquet file of a split 'valid'.")
    assert said[4].startswith("usage There is no dataset ada/nothing")


def test_offline_a_dataset_is_refused_without_asking(far_end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", far_end)
    with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
        calibration_hub.fetch("hub:ada/words:train:body")
