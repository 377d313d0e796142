"""A comparison shows what is known, names the better side only where it can, and says why where it cannot."""

from __future__ import annotations

import json

import pytest

from lqmf.agents.benchmark_agent import BenchmarkAgent
from lqmf.errors import UsageError
from lqmf.records import Artifact


def receipt(**changes) -> dict:
    document = {
        "perplexity": 10.0,
        "kl_divergence": {"mean": 0.002, "standard_error": 0.0001, "p99": 0.01},
        "top1_agreement": 0.96,
        "tokens_evaluated": 1020,
        "window_tokens": 512,
        "text": {"name": "evaluation", "sha256": "ab"},
        "checks": [{"name": "loads", "passed": True, "detail": ""}],
        "tokens_per_second": {"prompt": 100.0, "generation": 20.0},
        "latency_seconds": {"first_token": 0.5},
        "peak_memory_bytes": {"rss": 1000, "gpu": None},
        "load_seconds": 1.0,
        "bits_per_weight": 4.8,
        "measured_on": {"cpu": "A", "gpu": None, "engine": "llama.cpp 1"},
        "reasons": {"peak_memory_bytes.gpu": "no GPU"},
    }
    return {**document, **changes}


def artifact(name: str, size: int = 100, found: dict | None = None, model: str = "org/m") -> Artifact:
    return Artifact(name, f"/shelf/{name}", "gguf", 4, "Q4_K_M", size, 400, 400 / size, model, receipt=found)


def compare(*artifacts: Artifact) -> tuple[dict, dict[str, dict]]:
    document = BenchmarkAgent().compare(*artifacts)
    json.dumps(document, allow_nan=False)
    return document, {row["id"]: row for row in document["rows"]}


def test_each_row_names_its_better_side():
    better_quality = receipt(perplexity=9.0, kl_divergence={"mean": 0.001, "standard_error": 0.0001, "p99": 0.005})
    document, rows = compare(artifact("small", 100, receipt()), artifact("good", 200, better_quality))
    assert [column["name"] for column in document["artifacts"]] == ["small", "good"]
    assert rows["size_bytes"]["values"] == [100, 200]
    assert rows["size_bytes"]["best"] == rows["compression_ratio"]["best"] == [0]
    assert rows["perplexity"]["best"] == rows["kl_divergence"]["best"] == [1]
    assert rows["kl_divergence"]["errors"] == [0.0001, 0.0001]
    assert document["wins"] == [2, 3]
    assert document["notes"] == []


def test_a_tie_has_no_better_side():
    _, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, receipt()))
    assert all(row["best"] == [] for row in rows.values())


def test_three_columns_may_share_the_best():
    _, rows = compare(artifact("a", 100), artifact("b", 100), artifact("c", 200))
    assert rows["size_bytes"]["best"] == [0, 1]


def test_what_was_not_measured_is_null_with_its_reason_and_wins_nothing():
    unmeasured = receipt(perplexity=None, checks=[], reasons={"*": "not measured yet"})
    _, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, unmeasured), artifact("c"))
    assert rows["perplexity"]["values"] == [10.0, None, None]
    assert rows["perplexity"]["reasons"] == [None, "not measured yet", "not measured"]
    assert rows["perplexity"]["best"] == []


def test_a_row_that_no_column_can_fill_is_left_out_only_for_a_gpu():
    _, rows = compare(artifact("a", 100), artifact("b", 200))
    assert "peak_gpu_bytes" not in rows
    assert rows["load_seconds"]["values"] == [None, None]
    with_gpu = receipt(peak_memory_bytes={"rss": 1, "gpu": 5})
    assert "peak_gpu_bytes" in compare(artifact("a", 100, with_gpu), artifact("b", 200, receipt()))[1]


@pytest.mark.parametrize(
    ("changes", "silent", "telling"),
    [
        (
            {"text": {"name": "other", "sha256": "cd"}, "perplexity": 9, "top1_agreement": 0.9},
            "top1_agreement",
            "texts",
        ),
        ({"tokens_evaluated": 99, "perplexity": 9.0}, "perplexity", "amounts of text"),
        ({"measured_on": {"cpu": "B"}, "load_seconds": 2.0}, "load_seconds", "machines"),
    ],
)
def test_figures_that_cannot_be_compared_have_no_better_side(changes, silent, telling):
    document, rows = compare(artifact("a", 100, receipt()), artifact("b", 200, receipt(**changes)))
    assert rows[silent]["best"] == []
    assert rows["size_bytes"]["best"] == [0]
    assert telling in " ".join(document["notes"])


def test_different_engines_are_told_of_and_still_compared():
    """A GGUF on llama.cpp beside a GPTQ on transformers: which is faster here is what one wants to know."""
    faster = receipt(
        tokens_per_second={"prompt": 50.0, "generation": 40.0},
        measured_on={"cpu": "A", "gpu": None, "engine": "transformers 5"},
    )
    document, rows = compare(artifact("gguf", 100, receipt()), artifact("gptq", 200, faster))
    assert rows["tokens_per_second_prompt"]["best"] == [0]
    assert rows["tokens_per_second_generation"]["best"] == [1]
    assert len(document["notes"]) == 1
    assert "engines" in document["notes"][0]


def test_divergences_from_different_sources_are_not_compared():
    lower = receipt(kl_divergence={"mean": 0.001, "standard_error": 0, "p99": 0})
    document, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, lower, model="org/other"))
    assert rows["kl_divergence"]["best"] == []
    assert "different models" in document["notes"][0]


def test_one_source_under_two_names_is_known_by_its_score():
    lower = receipt(kl_divergence={"mean": 0.001, "standard_error": 0, "p99": 0}, base={"perplexity": 9.0})
    higher = receipt(base={"perplexity": 9.0})
    document, rows = compare(artifact("a", 100, higher), artifact("b", 100, lower, model="their name for it"))
    assert rows["kl_divergence"]["best"] == [1]
    assert document["notes"] == []


def test_one_artifact_is_no_comparison():
    for same in ((), (artifact("a"),), (artifact("a"), artifact("a"))):
        with pytest.raises(UsageError, match="two different"):
            BenchmarkAgent().compare(*same)
