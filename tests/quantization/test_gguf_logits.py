"""A 16-bit GGUF computes what transformers computes: for the demo, and for small models of many families.

The bound on divergence is 1e-5 nats a token; each kind of wrong conversion must exceed it a hundredfold, or the
bound would prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.quantization.gguf.converter.probe_lines import sample_lines
from tests.quantization import models
from tests.quantization.bases import make_base

pytestmark = pytest.mark.slow  # the converter runs, or models are made

KL_BOUND = 1e-5
ERROR_BOUND = 0.03  # of the logits' standard deviation
DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
TEXT = Path(str(resources.files("lqmf").joinpath("assets/text/calibration.txt")))


@dataclass
class Pair:
    """One family's model on both sides: its folder, its GGUF, and both sides' logits on the same windows."""

    family: models.Family
    folder: Path
    gguf: Path
    model: Any
    windows: list[list[int]]
    expected: Any  # (N, T, V)
    found: Any


@pytest.fixture(scope="module", params=list(models.FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family = models.FAMILIES[request.param]
    work = tmp_path_factory.mktemp(family.name)
    folder = models.build(family, work / "model")
    (work / "scratch").mkdir()
    gguf = make_base(folder, work / "scratch", lambda _event: None, name=family.name).path
    model = models.load(folder)
    windows = np.random.default_rng(0).integers(3, models.VOCABULARY, (3, 96)).tolist()
    return Pair(family, folder, gguf, model, windows, models.logits(model, windows), run_gguf(gguf, windows))


def run_gguf(path: Path, windows: list[list[int]]) -> Any:
    """Logits (N, T, V), with the cache in 32 bits so that only the arithmetic differs."""
    with LlamaCppEngine(path, k_type="f32", v_type="f32", threads=2, context=len(windows[0])) as engine:
        return np.stack(list(engine.logits(windows)))


def divergence(p: Any, q: Any) -> float:
    """Mean KL from softmax(p) to softmax(q), in nats a token, in double precision."""
    p, q = (x.astype(np.float64) - x.max(-1, keepdims=True) for x in (p, q))
    log_p, log_q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (p, q))
    return float((np.exp(log_p) * (log_p - log_q)).sum(-1).mean())


def test_the_model_is_not_blind(pair: Pair) -> None:
    """Its output is far enough from uniform for a wrong conversion to show."""
    assert models.entropy(pair.expected) <= 0.70 * math.log(models.VOCABULARY)


def test_logits_agree_with_transformers(pair: Pair) -> None:
    assert divergence(pair.expected, pair.found) < KL_BOUND
    assert np.abs(pair.expected - pair.found).max() <= ERROR_BOUND * pair.expected.std()


@pytest.mark.parametrize("wrong", list(models.WRONG))
def test_a_wrong_conversion_would_show(pair: Pair, wrong: str) -> None:
    if wrong == "a wrong rope base" and not pair.family.rope:
        assert "rope_theta" not in str(pair.model.config)  # nothing there to get wrong
        return
    broken = models.logits(models.WRONG[wrong](pair.model, pair.family), pair.windows)
    assert divergence(broken, pair.found) > 100 * KL_BOUND


def test_text_becomes_the_same_tokens(pair: Pair) -> None:
    """The GGUF's tokenizer gives the ids that the model's own tokenizer gives."""
    lines = [line for line in sample_lines(TEXT, 300) if line.strip()]
    with LlamaCppEngine(pair.gguf, threads=1, context=64) as engine:
        differing = [line for line, ids in reference_ids(pair.folder, lines) if engine.tokenize(line) != ids]
    assert differing == []


def reference_ids(folder: Path, lines: list[str]) -> Iterator[tuple[str, list[int]]]:
    if (folder / "tokenizer.model").is_file():
        from sentencepiece import SentencePieceProcessor

        processor = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        yield from ((line, processor.encode(line)) for line in lines)
    else:
        from transformers import AutoTokenizer

        ids = AutoTokenizer.from_pretrained(folder)(lines, add_special_tokens=False)["input_ids"]
        yield from zip(lines, ids, strict=True)


def test_the_demo_agrees_with_transformers(tmp_path: Path) -> None:
    gguf = make_base(DEMO, tmp_path, lambda _event: None, name="demo").path
    with LlamaCppEngine(gguf, threads=1, context=64) as engine:
        tokens = engine.tokenize(TEXT.read_text(encoding="utf-8")[:20000])
    windows = [tokens[start : start + 256] for start in (0, 1024, 2048)]
    expected, found = models.logits(models.load(DEMO), windows), run_gguf(gguf, windows)
    assert divergence(expected, found) < KL_BOUND
    assert np.abs(expected - found).max() <= ERROR_BOUND * expected.std()
