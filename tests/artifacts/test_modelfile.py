"""The Modelfile of a GGUF file says what the file says, and nothing where the file leaves it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lqmf.artifacts.card import modelfile
from lqmf.errors import ModelError
from lqmf.records import FileEntry, Manifest, ModelRef
from tests.artifacts.modelfile_parser import parse
from tests.artifacts.test_ollama import CHATML, COUNTING, HEADERS
from tests.model_files.gguf_writer import gguf

TOKENS = ["<|begin|>", "<|end|>", *(f"word{number}" for number in range(100))]
SPECIAL = {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.tokens": TOKENS}


def written(folder: Path, run: dict[str, Any] | None = None, **pairs: Any) -> str | None:
    """The Modelfile of a file with these keys; `__` in a name stands for a dot."""
    named = {name.replace("__", "."): value for name, value in pairs.items()}
    (folder / "m.gguf").write_bytes(gguf({"general.architecture": "llama", **SPECIAL, **named}))
    return modelfile.of_artifact(folder, manifest("m.gguf", run))


def manifest(file: str, run: dict[str, Any] | None = None) -> Manifest:
    entries = (FileEntry(file, 1, "0" * 64),)
    return Manifest(1, "m", ModelRef("demo", "demo"), None, {}, {}, entries, {}, "", 1, run=run or {})


def test_template_context_and_what_ends_an_answer_are_the_files_and_the_plans(tmp_path: Path) -> None:
    text = written(tmp_path, {"context": 4096}, tokenizer__chat_template=CHATML) or ""
    told = parse(text)
    assert told[0] == ("model", "./m.gguf")
    assert told[1][0] == "template"
    assert ("num_ctx", "4096") in told
    assert told[-2:] == [("stop", "<|im_end|>"), ("stop", "<|end|>")]
    assert not {"temperature", "top_p", "top_k"} & {name for name, _ in told}


def test_a_file_that_came_without_a_plan_sets_no_context(tmp_path: Path) -> None:
    assert "num_ctx" not in (written(tmp_path, tokenizer__chat_template=CHATML) or "")


@pytest.mark.parametrize("template", [COUNTING, None])
def test_without_a_proven_template_it_has_none_and_says_why(tmp_path: Path, template: str | None) -> None:
    pairs = {"tokenizer__chat_template": template} if template else {}
    text = written(tmp_path, **pairs) or ""
    assert [name for name, _ in parse(text)] == ["model"]
    assert text.startswith("# There is no TEMPLATE: ")


def test_the_token_that_begins_a_text_is_written_only_where_the_engine_does_not_add_it(tmp_path: Path) -> None:
    added = written(tmp_path, tokenizer__chat_template=HEADERS, tokenizer__ggml__add_bos_token=1) or ""
    assert "<|begin|>" not in added
    left = written(tmp_path, tokenizer__chat_template=HEADERS, tokenizer__ggml__add_bos_token=0) or ""
    assert '{{ if eq $before "" }}<|begin|><|head|>system' in dict(parse(left))["template"]
    unknown = written(tmp_path, tokenizer__chat_template=HEADERS) or ""
    assert "does not say whether the token that begins a text is added" in unknown


def test_a_plan_without_a_gpu_says_nothing_of_other_machines_gpus(tmp_path: Path) -> None:
    assert "num_gpu" not in (written(tmp_path, {"context": 4096, "gpu_layers": 0}) or "")
    assert "PARAMETER num_gpu 33\n" in (written(tmp_path, {"context": 4096, "gpu_layers": 33}) or "")


def test_a_modelfile_elsewhere_points_at_the_weights_wherever_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    written(tmp_path)
    [origin] = parse(modelfile.of_artifact(tmp_path, manifest("m.gguf"), out) or "")
    assert Path(origin[1]) == tmp_path / "m.gguf"
    (out / "m.gguf").write_bytes(b"")
    assert parse(modelfile.of_artifact(tmp_path, manifest("m.gguf"), out) or "") == [("model", "./m.gguf")]


def test_a_template_that_never_ends_is_left_out_and_takes_no_time(tmp_path: Path) -> None:
    endless = (
        "{% for i in range(10 ** 4) %}{% for j in range(10 ** 5) %}{{ messages[0]['content'] }}{% endfor %}{% endfor %}"
    )
    text = written(tmp_path, tokenizer__chat_template=endless) or ""
    assert [name for name, _ in parse(text)] == ["model"]


def test_what_is_no_gguf_has_none_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    assert modelfile.of_artifact(tmp_path, manifest("model.safetensors")) is None
    (tmp_path / "m.gguf").write_bytes(b"no such thing at all, nothing of it")
    with pytest.raises(ModelError):
        modelfile.of_artifact(tmp_path, manifest("m.gguf"))
