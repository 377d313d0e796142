"""Real comparisons of the demo model on several kinds of text: each has its figures or its reason, side by side and in
turns, with the source in 16 bits and in 8."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lqmf.jobs.tasks import divergence
from lqmf.quality.receipt import figures, memory_plan
from lqmf.quality.receipt.memory_plan import PairMemory
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN
from tests.fixtures_gguf import EVALUATION as TEXT
from tests.fixtures_gguf import demo_gguf

pytestmark = pytest.mark.slow

OTHERS = {name: str(path) for name, path in EVALUATION.items() if name != MAIN}
KNOWN_ORDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
WINDOW_BYTES = memory_plan.window_bytes(512, 4096)


def measure(artifact: str = "Q4_K_M", base: str = "F16", **params) -> dict:
    asked = {"artifact": str(demo_gguf(artifact)), "base": str(demo_gguf(base)), "text": str(TEXT), **params}
    return divergence.run(Task("j", "divergence", asked, ""), lambda event: None)


@pytest.fixture(scope="module")
def measured() -> dict:
    return measure(domains=OTHERS, budget_seconds=0)


def test_each_kind_of_text_has_all_figures_of_its_own(measured):
    assert list(measured["domains"]) == ["documentation", "prose", "code", "dialogue"]
    for name, found in measured["domains"].items():
        assert {field for field in figures.FIELDS if found[field] is None} == set(), name
        assert found["tokens_evaluated"] == 255 * (4 if name == MAIN else 2)
        assert found["text"]["name"] == EVALUATION[name].stem
        assert 0 < found["kl_divergence"]["mean"] < 0.02
    json.dumps(measured, allow_nan=False)


def test_the_receipts_own_figures_are_those_of_the_documentation(measured):
    main = measured["domains"][MAIN]
    assert {name: measured[name] for name in main} == main
    alone = measure(budget_seconds=0)
    same = ("perplexity", "base", "kl_divergence", "top1_agreement", "text", "tokens_evaluated", "windows")
    assert {name: alone[name] for name in same} == {name: measured[name] for name in same}


def test_a_model_of_manuals_is_more_surprised_by_other_kinds_of_text(measured):
    surprise = {name: found["base"]["perplexity"] for name, found in measured["domains"].items()}
    assert min(surprise, key=surprise.__getitem__) == MAIN


def test_a_text_too_short_for_a_window_is_null_with_the_reason(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("One sentence.", encoding="utf-8")
    found = measure(domains={"short": str(short)}, budget_seconds=0)["domains"]["short"]
    assert {found[field] for field in figures.FIELDS} == {None}
    assert "a window needs 512" in found["reason"]


def test_in_turns_by_blocks_of_three_windows_the_figures_are_the_same(measured, tmp_path, monkeypatch):
    """Ten windows in four blocks. Nothing is written, and no more waits than the budget holds."""
    opened: list[str] = []
    real = divergence.open_engine
    monkeypatch.setattr(divergence, "open_engine", lambda path, **k: opened.append(Path(path).stem) or real(path, **k))
    monkeypatch.chdir(tmp_path)
    apart = measure(domains=OTHERS, max_windows=10, in_turns=True, memory_bytes=3 * WINDOW_BYTES)
    assert {k: v for k, v in apart.items() if k != "seconds"} == {k: v for k, v in measured.items() if k != "seconds"}
    assert opened == ["demo-F16", "demo-Q4_K_M", "demo-F16", "demo-Q4_K_M", "demo-F16"]
    assert list(tmp_path.iterdir()) == []


def test_where_not_even_turns_fit_nothing_is_compared_and_the_reason_says_what_is_needed(monkeypatch):
    gb = 1 << 30
    monkeypatch.setattr(divergence, "pair_memory", lambda *_: PairMemory(14 * gb, 5 * gb, gb // 8, 8 * gb, 8 * gb))
    found = measure(max_windows=4)
    assert found["base"] is found["kl_divergence"] is None
    assert found["perplexity"] > 1
    assert "not measured" in found["reasons"]["kl_divergence"]
    assert "need 18.1 GB; 8.0 GB are free" in found["reasons"]["kl_divergence"]


def test_far_from_the_gates_limits_a_text_needs_eight_windows_and_near_them_more():
    far = measure(stop_at={"kl_mean": 0.1, "top1": 0.75}, max_windows=12)
    assert far["windows"] == 8
    near = measure(stop_at={"kl_mean": far["kl_divergence"]["mean"], "top1": 0.75}, max_windows=12)
    assert near["windows"] == 12


def test_a_source_of_eight_bits_tells_its_own_loss_where_there_is_one_of_sixteen():
    short = {"window_tokens": 128, "max_windows": 4}
    found = measure(base="Q8_0", reference=str(demo_gguf("F16")), **short)
    assert found["base"]["type"] == "Q8_0"
    noise = found["base"]["noise"]
    assert noise["kl_divergence"] == measure("Q8_0", **short)["kl_divergence"]
    assert noise["reason"] is None
    without = measure(base="Q8_0", **short)["base"]["noise"]
    assert without == {
        "kl_divergence": None,
        "reason": "the source ran as Q8_0, and there is none in 16 bits beside it",
    }


@pytest.mark.slow
def test_the_types_lose_in_the_known_order():
    means = [measure(name, window_tokens=256, max_windows=5)["kl_divergence"]["mean"] for name in KNOWN_ORDER]
    assert means == sorted(means)
