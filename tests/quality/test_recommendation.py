"""What a friend would say follows from the figures: whole sentences, for every shape of result."""

from __future__ import annotations

import dataclasses

import pytest

from lqmf.quality.compare.comparison import compare
from lqmf.records import Artifact

MB, GB = 10**6, 10**9


def artifact(type: str, size: int, kl: float | None = None, error: float = 1e-5, model: str = "org/m") -> Artifact:
    receipt = {
        "kl_divergence": None if kl is None else {"mean": kl, "standard_error": error, "p99": 9 * kl},
        "text": {"name": "evaluation", "sha256": "ab"},
        "window_tokens": 512,
        "tokens_evaluated": 1020,
        "checks": [{"name": "loads", "passed": True}],
        "base": {"perplexity": 9.0} if model == "org/m" else {"perplexity": 8.0},
        "measured_on": {"cpu": "A", "gpu": None, "engine": "llama.cpp 1"},
    }
    name = f"m_gguf_{type}" if model == "org/m" else f"other_{type}"
    return Artifact(name, f"/shelf/{name}", "gguf", 4, type, size, None, None, model, receipt=receipt)


def writes(*runs: float) -> dict:
    """A benchmark that says only how fast one chat is written."""
    point = {"parallel": 1, "context_tokens": 0, "prompt": None, "reason": None}
    return {
        "depth": "quick",
        "speed": [{**point, "generation": {"per_second": sorted(runs)[len(runs) // 2], "runs": list(runs)}}],
        "measured_on": {"cpu": "A", "gpu": None},
    }


def sentence(*artifacts: Artifact, benchmarks=()) -> str:
    return compare(artifacts, benchmarks)["sentence"]


SMALL, LARGE = artifact("Q4_K_M", 4_100 * MB, 0.0024), artifact("Q5_K_M", 4_800 * MB, 0.0012)


def test_what_failed_its_gate_is_named():
    refused = dataclasses.replace(LARGE, receipt={**LARGE.receipt, "gate": {"passed": False, "reasons": ["x"]}})
    assert sentence(SMALL, refused).endswith("take it if it fits your memory. Mind that Q5_K_M failed its gate.")
    both = dataclasses.replace(SMALL, receipt={**SMALL.receipt, "gate": {"passed": False, "reasons": ["x"]}})
    assert sentence(both, refused).endswith("Mind that Q4_K_M and Q5_K_M failed their gates.")


def test_more_bytes_for_less_loss_are_weighed():
    assert sentence(SMALL, LARGE) == (
        "Q5_K_M loses half as much as Q4_K_M for 700 MB more; take it if it fits your memory."
    )
    assert sentence(LARGE, SMALL) == sentence(SMALL, LARGE)


def test_the_smaller_one_that_loses_less_is_simply_taken():
    better = artifact("IQ4_XS", 4_000 * MB, 0.0018)
    assert sentence(SMALL, better) == (
        "IQ4_XS loses three quarters as much as Q4_K_M and is 100 MB smaller; take IQ4_XS."
    )


@pytest.mark.parametrize(
    ("kl", "words"),
    [
        (0.00231, "4% less than"),
        (0.0014, "42% less than"),
        (0.0016, "two thirds as much as"),
        (0.00101, "42% of what Q4_K_M does"),
        (0.00024, "a tenth as much as"),
        (0.00014, "6% of what Q4_K_M does"),
        (0.00001, "0.4% of what Q4_K_M does"),
    ],
)
def test_a_fraction_is_said_where_it_is_near_and_a_figure_elsewhere(kl, words):
    assert f"Q8_0 loses {words}" in sentence(SMALL, artifact("Q8_0", 8_000 * MB, kl))


def test_losses_that_cannot_be_told_apart_leave_the_size_to_decide():
    close = artifact("Q4_1", 4_400 * MB, 0.00239, error=1e-4)
    assert sentence(SMALL, close) == (
        "Q4_K_M and Q4_1 lose the same, as far as can be told; take Q4_K_M, it is 300 MB smaller."
    )


def test_the_same_size_and_loss_leave_the_speed_to_decide_where_it_is_known():
    twin = artifact("Q4_K_S", SMALL.size_bytes, 0.0024)
    assert sentence(SMALL, twin).endswith("and are of the same size: take either.")
    assert sentence(SMALL, twin, benchmarks=[writes(20, 21, 20.5), writes(30, 31, 30.4)]).endswith(
        "and are of the same size; take Q4_K_S, which writes 1.5 times as fast."
    )


def test_speed_is_said_only_where_the_runs_prove_it():
    told = sentence(SMALL, LARGE, benchmarks=[writes(20, 21, 20.5), writes(30, 31, 30.4)])
    assert "for 700 MB more, and writes 1.5 times as fast; take it" in told
    slower = sentence(SMALL, LARGE, benchmarks=[writes(30, 31, 30.4), writes(20, 21, 20.5)])
    assert "though the other writes 1.5 times as fast" in slower
    for noisy in ([writes(20, 40, 30), writes(25, 45, 31)], [writes(20), writes(30)], [writes(20, 21), None]):
        assert sentence(SMALL, LARGE, benchmarks=noisy) == sentence(SMALL, LARGE)


def test_different_models_are_not_weighed():
    other = artifact("Q4_K_M", 1 * GB, 0.0001, model="org/other")
    assert sentence(SMALL, other) == (
        "They come from different models, so what each lost says nothing of which is better. "
        "other_Q4_K_M is 3.1 GB smaller."
    )


def test_what_was_not_measured_is_to_be_tested_first():
    assert sentence(SMALL, artifact("Q8_0", 8_000 * MB)) == (
        "What Q8_0 lost is not measured: test first, then compare. Q4_K_M is 3.9 GB smaller."
    )
    told = sentence(artifact("Q8_0", 8 * GB), artifact("Q6_K", 6 * GB), artifact("Q5_0", 5 * GB))
    assert told.startswith("What Q8_0, Q6_K and Q5_0 lost is not measured")
    assert told.endswith("Q5_0 is the smallest.")


def test_losses_measured_on_other_texts_are_not_weighed():
    receipt = {**LARGE.receipt, "text": {"name": "other", "sha256": "cd"}}
    other = Artifact(**{**LARGE.__dict__, "receipt": receipt})
    assert sentence(SMALL, other).startswith("Nothing tells their losses apart here: test them again, alike.")


def test_of_several_the_best_the_smallest_and_the_beaten_are_named():
    told = sentence(SMALL, LARGE, artifact("Q8_0", 8_000 * MB, 0.0001), artifact("Q5_1", 5_400 * MB, 0.0013))
    assert told == (
        "Q8_0 loses least: 4% of what Q4_K_M does, for 3.9 GB more; Q4_K_M is the smallest. "
        "Leave Q5_1: Q5_K_M is smaller and loses less."
    )


def test_of_several_one_that_is_smallest_and_best_is_taken():
    best = artifact("auto", 4_000 * MB, 0.0010)
    assert sentence(SMALL, LARGE, best) == "auto loses least and is the smallest; take it."


def test_of_several_that_lose_alike_the_smallest_is_taken():
    alike = [artifact(name, size * MB, 0.002, error=1e-3) for name, size in (("A", 3), ("B", 2), ("C", 4))]
    assert sentence(*alike) == "They lose the same, as far as can be told; take B, the smallest."


def test_nobody_is_beaten_by_chance():
    near = artifact("Q5_1", 5_400 * MB, 0.00121)
    assert "Leave" not in sentence(SMALL, LARGE, near)


def test_the_source_itself_loses_nothing():
    assert sentence(SMALL, artifact("F16", 14_000 * MB, 0.0, error=0.0)).startswith(
        "F16 loses nothing that could be measured, unlike Q4_K_M, for 9.9 GB more"
    )
