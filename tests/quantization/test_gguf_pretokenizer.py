"""A pre-tokenizer is named only when its behaviour is proven; a tokenizer that none fits is refused."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest

from lqmf.errors import UnsupportedModel
from lqmf.events import Event, Notice
from lqmf.quantization.gguf.converter import pretokenizer, probe_lines, toolchain
from tests.quantization import models
from tests.quantization.bases import make_base

pytestmark = pytest.mark.slow  # the converter runs, or models are made

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
TEXT = Path(str(resources.files("lqmf").joinpath("assets/text/calibration.txt")))


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        (models.GPT2, "gpt-2"),
        ("Digits " + models.GPT2, "starcoder"),
        (models.QWEN2, "qwen2"),
        (models.LLAMA3, "llama-bpe"),
    ],
)
def test_the_likeliest_name_is_tried_first(pattern: str, first: str) -> None:
    names = toolchain.ensure().pretokenizers()
    ordered = pretokenizer.order(names, pattern)
    assert ordered[0] == first
    assert sorted(ordered) == sorted(names)


def test_the_lines_are_many_varied_and_the_same_every_time() -> None:
    lines = list(probe_lines.sample_lines(TEXT))
    assert lines == list(probe_lines.sample_lines(TEXT))
    assert len(set(lines)) > 3000
    for mark in ("\r\n", "\t", "12345", "don't", "你好", "🚀", "   ", "मस्ते"):
        assert any(mark in line for line in lines), mark


def converted(model: Path, work: Path) -> list[str]:
    """What was told while `model` was converted."""
    told: list[Event] = []
    work.mkdir()
    make_base(model, work, told.append, name="m")
    return [event.text for event in told if isinstance(event, Notice)]


def test_a_proof_is_remembered_by_the_tokenizers_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = toolchain.ensure()
    monkeypatch.setenv("LQMF_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(real.root, tmp_path / "cache" / "toolchain" / real.root.name)
    first = converted(DEMO, tmp_path / "one")
    assert "'gpt-2' gives the same tokens on" in first[0]
    (kept,) = (tmp_path / "cache" / "pretokenizers" / real.version).iterdir()
    kept.write_text(kept.read_text().replace("gpt-2", "mpt"))  # to see that it is read
    assert "'mpt'" in converted(DEMO, tmp_path / "two")[0]


def test_a_tokenizer_that_no_pretokenizer_fits_is_refused_and_the_line_named(tmp_path: Path) -> None:
    """This one splits words after every "e"."""
    from tokenizers import Regex, pre_tokenizers

    model = Path(shutil.copytree(DEMO, tmp_path / "model"))
    steps = [
        pre_tokenizers.Split(Regex(r"[^e]*e|[^e]+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    models.bpe(model, steps)
    with pytest.raises(UnsupportedModel, match="first line that differs"):
        converted(model, tmp_path / "scratch")
    assert not list((tmp_path / "scratch").glob("*.gguf"))
