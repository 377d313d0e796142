"""A comparison shows what is known, names the better side where more than chance tells it, and says why where not."""

from __future__ import annotations

import json

import pytest

from lqmf.errors import UsageError
from lqmf.quality.compare import comparison
from lqmf.records import Artifact


def receipt(**changes) -> dict:
    document = {
        "perplexity": 10.0,
        "perplexity_ratio": {"value": 1.02, "standard_error": 0.001},
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


def compare(*artifacts: Artifact, benchmarks=()) -> tuple[dict, dict[str, dict]]:
    document = comparison.compare(artifacts, benchmarks)
    json.dumps(document, allow_nan=False)
    return document, {row["id"]: row for row in document["rows"]}


def test_each_row_names_its_better_side():
    lower = {"mean": 0.001, "standard_error": 0.0001, "p99": 0.005}
    better_quality = receipt(
        perplexity=9.0, perplexity_ratio={"value": 1.01, "standard_error": 0.001}, kl_divergence=lower
    )
    document, rows = compare(artifact("small", 100, receipt()), artifact("good", 200, better_quality))
    assert [column["name"] for column in document["artifacts"]] == ["small", "good"]
    assert rows["size_bytes"]["values"] == [100, 200]
    assert rows["size_bytes"]["best"] == rows["compression_ratio"]["best"] == [0]
    assert rows["perplexity"]["best"] == rows["kl_divergence"]["best"] == [1]
    assert rows["kl_divergence"]["errors"] == [0.0001, 0.0001]
    assert rows["kl_divergence_p99"]["best"] == []  # it has no error bar
    assert document["wins"] == [2, 2]
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
    """A GGUF on llama.cpp beside a GPTQ on transformers: what each needs here is what one wants to know."""
    leaner = receipt(
        peak_memory_bytes={"rss": 500, "gpu": None},
        measured_on={"cpu": "A", "gpu": None, "engine": "transformers 5"},
    )
    document, rows = compare(artifact("gguf", 100, receipt()), artifact("gptq", 200, leaner))
    assert rows["peak_rss_bytes"]["best"] == [1]
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
            comparison.compare(same)


# ---------------------------------------------------------------- what chance explains


def test_a_difference_within_the_error_bars_is_called_the_same():
    near = receipt(
        kl_divergence={"mean": 0.00201, "standard_error": 0.0001, "p99": 0.01},
        top1_agreement=0.961,
        perplexity=9.99,
        perplexity_ratio={"value": 1.0205, "standard_error": 0.001},
    )
    _, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, near))
    for id in ("kl_divergence", "top1_agreement", "perplexity"):
        assert (rows[id]["best"], rows[id]["verdict"], rows[id]["tested"]) == ([], "same", "error bars"), id


def test_perplexity_is_told_apart_by_its_ratio_to_the_source():
    """Its own error bar is as wide as the text is varied; the ratio's is not."""
    lower = receipt(
        perplexity=9.8, perplexity_standard_error=0.4, perplexity_ratio={"value": 1.0, "standard_error": 0.001}
    )
    _, rows = compare(artifact("a", 100, receipt(perplexity_standard_error=0.4)), artifact("b", 100, lower))
    assert rows["perplexity"]["best"] == [1]
    assert rows["perplexity"]["errors"] == [0.4, 0.4]
    without = receipt(perplexity=9.0, perplexity_ratio=None)
    _, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, without))
    assert (rows["perplexity"]["best"], rows["perplexity"]["verdict"]) == ([], None)


def test_of_three_those_that_cannot_be_told_from_the_best_share_it():
    def kl(mean: float) -> dict:
        return receipt(kl_divergence={"mean": mean, "standard_error": 0.0001, "p99": 0.01})

    _, rows = compare(artifact("a", 1, kl(0.002)), artifact("b", 2, kl(0.0021)), artifact("c", 3, kl(0.005)))
    assert (rows["kl_divergence"]["best"], rows["kl_divergence"]["verdict"]) == ([0, 1], "different")


def test_speeds_of_receipts_claim_nothing_and_memory_a_clear_difference_alone():
    other = receipt(tokens_per_second={"prompt": 900.0, "generation": 90.0}, peak_memory_bytes={"rss": 1010})
    _, rows = compare(artifact("a", 100, receipt()), artifact("b", 100, other))
    assert rows["tokens_per_second_generation"]["verdict"] is None
    assert (rows["peak_rss_bytes"]["best"], rows["peak_rss_bytes"]["verdict"]) == ([], "same")


def test_domains_that_both_have_on_one_text_get_a_row_each():
    def domains(kl: float, text: str = "x") -> dict:
        measured = {"kl_divergence": {"mean": kl, "standard_error": 0.0001}, "text": {"sha256": text}}
        lacking = {"kl_divergence": None, "reason": "no template"}
        return receipt(domains={"documentation": measured, "code": measured, "dialogue": lacking})

    _, rows = compare(artifact("a", 100, domains(0.002)), artifact("b", 200, domains(0.003)))
    assert rows["kl_divergence.code"]["best"] == [0]
    assert "kl_divergence.documentation" not in rows  # that is what the receipt's top says
    assert "kl_divergence.dialogue" not in rows
    _, rows = compare(artifact("a", 100, domains(0.002)), artifact("b", 200, domains(0.003, "y")))
    assert "kl_divergence.code" not in rows


# ---------------------------------------------------------------- benchmarks


def benchmark(rate: float = 20.0, quality: float = 0.5, **changes) -> dict:
    def part(factor: float) -> dict:
        return {"tokens": 32, "per_second": factor * rate, "runs": [factor * rate * k for k in (0.99, 1.0, 1.01)]}

    def point(parallel: int, depth: int) -> dict:
        return {"parallel": parallel, "context_tokens": depth, "prompt": part(9), "generation": part(1), "reason": None}

    shifts = (-0.1, 0.0, 0.1, 0.02)
    return {
        "depth": "quick",
        "speed": [point(1, 0), point(1, 512), point(1, 2048), point(4, 0)],
        "load_seconds": {"median": 1.0, "runs": [1.0, 1.01, 0.99]},
        "measured_on": {"cpu": "A", "gpu": None},
        "prompts": {"name": "prompts", "sha256": "p"},
        "overall": {"quality": quality, "coherence": None},
        "answers": [{"id": str(i), "scores": {"quality": quality + s}} for i, s in enumerate(shifts)],
        "tasks": None,
        "reasons": {"overall": "the source is gone"},
        **changes,
    }


PAIR = (artifact("a", 100, receipt()), artifact("b", 200, receipt()))


def test_speeds_of_benchmarks_stand_in_place_of_the_receipts_and_are_told_apart_by_their_runs():
    _, rows = compare(*PAIR, benchmarks=[benchmark(20), benchmark(30)])
    assert "tokens_per_second_generation" not in rows
    assert [id for id in rows if id.startswith("speed.writing")] == [
        "speed.writing.1.0", "speed.writing.1.2048", "speed.writing.4.0",
    ]  # fmt: skip
    assert (rows["speed.writing.1.0"]["best"], rows["speed.writing.1.0"]["tested"]) == ([1], "runs")
    assert rows["load_seconds"]["verdict"] == "same"
    _, rows = compare(*PAIR, benchmarks=[benchmark(20), benchmark(20.1)])
    assert rows["speed.writing.1.0"]["verdict"] == "same"


def test_scores_are_told_apart_prompt_by_prompt():
    _, rows = compare(*PAIR, benchmarks=[benchmark(quality=0.5), benchmark(quality=0.53)])
    assert (rows["answers_quality"]["best"], rows["answers_quality"]["tested"]) == ([1], "pairs")
    assert "answers_coherence" not in rows


def test_one_benchmark_alone_is_no_comparison():
    _, rows = compare(*PAIR, benchmarks=[benchmark(), None])
    assert "tokens_per_second_generation" in rows
    assert not [id for id in rows if id.startswith(("speed", "answers"))]


def test_benchmarks_of_other_prompts_or_another_depth_are_not_weighed():
    other = benchmark(30, 0.9, prompts={"sha256": "q"}, depth="comprehensive")
    document, rows = compare(*PAIR, benchmarks=[benchmark(), other])
    assert rows["answers_quality"]["best"] == rows["speed.writing.1.0"]["best"] == []
    assert any("prompts" in note for note in document["notes"])
    assert any("equally long" in note for note in document["notes"])


def test_the_newest_benchmarks_that_were_made_alike_are_compared():
    def of(depth: str, at: int, prompts: str = "p") -> dict:
        return {"depth": depth, "prompts": {"sha256": prompts}, "at": at}

    one = [of("comprehensive", 5), of("quick", 4), of("quick", 3)]
    other = [of("quick", 9), of("quick", 8), of("comprehensive", 7, "mine")]
    assert [chosen["at"] for chosen in comparison.alike([one, other])] == [4, 9]
    assert [chosen["at"] for chosen in comparison.alike([one, other[2:]])] == [5, 7]
    assert comparison.alike([one, []]) == [one[0], None]


def test_named_tasks_are_told_apart_by_their_error_bars():
    def tasks(acc: float, documents: int = 100) -> dict:
        metric = {"value": acc, "standard_error": 0.02, "higher_is_better": True}
        return benchmark(tasks={"arc_easy": {"documents": documents, "shots": 0, "metrics": {"acc": metric}}})

    _, rows = compare(*PAIR, benchmarks=[tasks(0.6), tasks(0.7)])
    assert rows["task.arc_easy.acc"]["best"] == [1]
    _, rows = compare(*PAIR, benchmarks=[tasks(0.6), tasks(0.63)])
    assert rows["task.arc_easy.acc"]["verdict"] == "same"
    assert "task.arc_easy.acc" not in compare(*PAIR, benchmarks=[tasks(0.6), tasks(0.7, 50)])[1]
