"""Every test ends in a receipt that says what was measured, and why what was not."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.agents.feedback_agent import CONVERSION_SHARE, QUICK_WINDOWS, FeedbackAgent
from lqmf.artifacts import shelf
from lqmf.artifacts.card.measures import quality as card_quality
from lqmf.errors import (
    IncompleteModel,
    JobCancelled,
    LqmfError,
    MeasurementError,
    ModelError,
    NotBuilt,
    NotFound,
    OutOfMemory,
    RemoteCodeRefused,
    UnsupportedModel,
    WorkerDied,
)
from lqmf.events import Emit, Event, Notice, StageFinished
from lqmf.fit.predictions import LABELS
from lqmf.jobs.runner import LocalRunner
from lqmf.quality.measures import busy, named
from lqmf.quality.receipt.schedule import OVERTIME_SECONDS
from lqmf.records import Artifact, Base, Divergence, Gpu, Hardware, Measurement, Receipt, Task, from_json, to_json
from tests.fixtures_gguf import DEMO, demo_gguf

HARDWARE = Hardware("A Processor", 2, 8 << 30, 4 << 30, (Gpu("A Card", 8 << 30, 6 << 30),))
ARTIFACT = Artifact("a", "/shelf/a", "gguf", 4, "Q4_K_M", 100, 400, 4.0)
PROBED = {
    "checks": [{"name": "speaks", "passed": True, "detail": ""}],
    "samples": [{"prompt": "?", "response": "!", "tokens": n, "ended": True} for n in (3, 6)],
    "tokens_per_second": {"prompt": 10.0, "generation": 5.0},
    "engine": "llama.cpp 1",
    "device": "cpu",
    "reasons": {"utilization.gpu": "no GPU"},
}
DIVERGENCE = {"mean": 0.1, "standard_error": 0.01, "p50": 0.0, "p90": 0.2, "p99": 0.3, "max": 0.4, "noise_floor": None}
CHECKED = {
    "checks": [{"name": "rope", "passed": True, "detail": "base 10000"}],
    "reasons": {"checks.template": "no template"},
    "other_model": "",
}
CONVERSION = {"kl_divergence": {**DIVERGENCE, "mean": 2e-6}, "limit_nats": 1e-3}
CONVERTED = {"conversion": CONVERSION, "reasons": {}}
COMPARED = {"perplexity": 9.0, "kl_divergence": DIVERGENCE, "tokens_evaluated": 510, "reasons": {"base": "why"}}
SOURCE = Base(Path("/base.gguf"), source=Path("/models/source"), name="org/source")

Answer = dict[str, Any] | LqmfError


class Scripted:
    """A runner that answers each kind of task as told, a check of files with CHECKED, one of the conversion with
    CONVERTED, and keeps what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.answers, self.asked = {"structure": CHECKED, "conversion": CONVERTED, **answers}, []

    async def run(self, task: Task, emit: Emit) -> dict[str, Any]:
        self.asked.append(task)
        answer = self.answers[task.kind]
        if isinstance(answer, LqmfError):
            raise answer
        return answer


def run_test(
    run: Callable[[Task, Emit], Awaitable[dict[str, Any]]],
    heard: list[Event] | None = None,
    loads=(0.0, 0.0),
    **changes,
):
    agent = FeedbackAgent(run, hardware=lambda: HARDWARE, load=iter(loads).__next__)
    emit = heard.append if heard is not None else lambda event: None
    what = {"job": "j", "log": "/log", "artifact": ARTIFACT, "base": SOURCE, "depth": "quick", **changes}
    return asyncio.run(agent.test(Measurement(**what), emit))


def test_all_reports_become_one_receipt():
    receipt = run_test(Scripted(probe=PROBED, divergence=COMPARED).run)
    assert receipt.kl_divergence == Divergence(0.1, 0.01, 0.0, 0.2, 0.3, 0.4)
    assert [check.name for check in receipt.checks] == ["loads", "speaks", "rope"]
    assert receipt.measured_on == {"cpu": "A Processor", "gpu": None, "engine": "llama.cpp 1"}
    told = {"measured_on.gpu", "utilization.gpu", "checks.template", "base", "similarity", "sequence_loss"}
    assert receipt.reasons.keys() == told
    assert from_json(Receipt, json.loads(json.dumps(to_json(receipt)))) == receipt


def test_what_was_predicted_stands_beside_what_was_measured():
    predicted = {
        "size_bytes": 1000.0, "generation_tokens_per_second": 4.0, "prompt_tokens_per_second": 10.0,
        "kl_nats": 0.095, "peak_rss_bytes": 5e6, "peak_gpu_bytes": 1e9, "quantize_seconds": 20.0,
    }  # fmt: skip
    probed = {**PROBED, "size_bytes": 1001, "peak_memory_bytes": {"rss": 5_500_000, "gpu": None}}
    script = Scripted(probe=probed, divergence=COMPARED)
    receipt = run_test(script.run, predicted=predicted, making={"quantize_seconds": 15, "quantize_rss_bytes": 7})
    assert receipt.prediction == {
        "size_bytes": {"predicted": 1000.0, "measured": 1001, "error": 0.001, "missed": False},
        "generation_tokens_per_second": {"predicted": 4.0, "measured": 5.0, "error": 0.25, "missed": True},
        "prompt_tokens_per_second": {"predicted": 10.0, "measured": 10.0, "error": 0.0, "missed": False},
        "kl_nats": {"predicted": 0.095, "measured": 0.1, "error": 0.0526, "missed": False},
        "peak_rss_bytes": {"predicted": 5e6, "measured": 5_500_000, "error": 0.1, "missed": False},
        "quantize_seconds": {"predicted": 20.0, "measured": 15, "error": -0.25, "missed": True},
    }
    assert from_json(Receipt, json.loads(json.dumps(to_json(receipt)))) == receipt


@pytest.mark.parametrize("loads", [(0.0, 3.0), (3.0, 0.0)])
def test_on_a_busy_machine_speeds_are_told_as_unreliable_and_nothing_is_learnt_from_them(loads):
    predicted = {"size_bytes": 1000.0, "generation_tokens_per_second": 4.0, "quantize_seconds": 20.0}
    heard: list[Event] = []
    script = Scripted(probe={**PROBED, "size_bytes": 1001}, divergence=COMPARED)
    receipt = run_test(script.run, heard, loads, predicted=predicted, making={"quantize_seconds": 15})
    assert receipt.load == {"before": loads[0], "after": loads[1]}
    assert receipt.prediction.keys() == {"size_bytes"}
    assert any("speeds are not reliable" in event.text for event in heard if isinstance(event, Notice))
    told = to_json(receipt)
    assert "not reliable" in named("tokens_per_second_generation").line(told)[2]
    assert "not reliable" not in named("kl_divergence").line(told)[2]
    card = card_quality(ARTIFACT, {**told, "conversion": None})
    assert "tokens/s" not in card
    assert "which other programs kept busy" in card


def test_a_receipt_of_before_was_taken_in_peace():
    assert not busy(to_json(Receipt()))
    assert not busy({"load": "high"})
    assert not busy({"load": {"before": 0.1, "after": None}})


def test_the_time_of_a_quick_test_is_shared_out_and_what_has_no_time_left_says_so(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lqmf.agents.feedback_agent.time.monotonic", lambda: now[0])
    script = Scripted(probe=PROBED, divergence=COMPARED)

    async def slow(task: Task, emit: Emit) -> dict[str, Any]:
        now[0] += 50.0  # a machine where nothing goes on
        return await script.run(task, emit)

    receipt = run_test(slow)
    assert [task.kind for task in script.asked] == ["probe", "structure", "divergence"]
    assert "no time left" in receipt.reasons["conversion"]
    given = [task.params["budget_seconds"] for task in script.asked]
    assert given == [40.0, 35.0, 0.0]


def test_what_did_not_run_or_was_not_predicted_is_not_compared():
    predicted = {"size_bytes": 1000.0, "kl_nats": 0.1}
    assert run_test(Scripted(probe=WorkerDied("killed")).run, predicted=predicted).prediction == {}
    assert run_test(Scripted(probe=PROBED, divergence=COMPARED).run).prediction == {}


def test_the_card_is_named_only_when_the_model_ran_on_it():
    receipt = run_test(Scripted(probe={**PROBED, "device": "gpu"}, divergence=COMPARED).run)
    assert receipt.measured_on["gpu"] == "A Card"
    assert "measured_on.gpu" not in receipt.reasons


def test_a_quick_test_shares_out_its_time_and_a_comprehensive_one_has_no_limit():
    quick, full = Scripted(probe=PROBED, divergence=COMPARED), Scripted(probe=PROBED, divergence=COMPARED)
    run_test(quick.run)
    run_test(full.run, depth="comprehensive")
    probe, structure, divergence, conversion = (task.params for task in quick.asked)
    assert (conversion["source"], conversion["base"]) == ("/models/source", "/base.gguf")
    assert conversion["windows"] == divergence["keep"]["windows"] == 2
    assert 110 < conversion["budget_seconds"] < 120  # what the others left
    assert conversion["rows"] == divergence["keep"]["file"]
    assert (structure["source"], structure["base"]) == ("/models/source", "/base.gguf")
    assert probe["budget_seconds"] == 40
    assert 60 < divergence["budget_seconds"] <= 120 * (1 - CONVERSION_SHARE) - OVERTIME_SECONDS
    assert divergence["max_windows"] == QUICK_WINDOWS
    probe, _, divergence, conversion = (task.params for task in full.asked)
    assert probe["budget_seconds"] is divergence["budget_seconds"] is divergence["max_windows"] is None
    assert (conversion["windows"], conversion["budget_seconds"]) == (4, None)


def test_the_conversion_stands_in_the_receipt_apart_from_the_loss_of_quantizing():
    assert run_test(Scripted(probe=PROBED, divergence=COMPARED).run).conversion == CONVERSION
    fault = {**CONVERSION, "kl_divergence": {**DIVERGENCE, "mean": 0.66}}
    gate = run_test(Scripted(probe=PROBED, divergence=COMPARED, conversion={**CONVERTED, "conversion": fault}).run).gate
    assert gate is not None
    assert gate["passed"] is False
    assert ["conversion" in reason for reason in gate["reasons"]] == [True]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base": dataclasses.replace(SOURCE, source=None)}, "not on this machine"),
        ({"base": Base(reason="too large")}, "too large"),
        ({"artifact": dataclasses.replace(ARTIFACT, method="bnb")}, "not converted"),
    ],
)
def test_where_there_is_no_conversion_to_compare_the_receipt_says_why(changes, why):
    script = Scripted(probe=PROBED, divergence=COMPARED)
    receipt = run_test(script.run, **changes)
    assert receipt.conversion is None
    assert why in receipt.reasons["conversion"]
    assert "conversion" not in [task.kind for task in script.asked]


def test_a_conversion_that_an_earlier_test_compared_is_not_compared_again(monkeypatch):
    monkeypatch.setattr("lqmf.quality.receipt.kept_conversions.told", lambda *_: CONVERSION)
    script = Scripted(probe=PROBED, divergence=COMPARED)
    assert run_test(script.run).conversion == CONVERSION
    assert [task.kind for task in script.asked] == ["probe", "structure", "divergence"]
    assert script.asked[-1].params["keep"] is None
    assert script.asked[-1].params["budget_seconds"] > 120 * (1 - CONVERSION_SHARE)


def test_a_conversion_that_could_not_be_compared_leaves_the_rest_of_the_receipt():
    receipt = run_test(Scripted(probe=PROBED, divergence=COMPARED, conversion=OutOfMemory("no room")).run)
    assert (receipt.conversion, receipt.reasons["conversion"]) == (None, "no room")
    assert receipt.kl_divergence is not None


def test_a_receipt_from_before_conversions_were_compared_reads_as_before():
    old = to_json(run_test(Scripted(probe=PROBED, divergence=COMPARED).run))
    del old["conversion"]
    assert from_json(Receipt, old).conversion is None


@pytest.mark.parametrize(
    "error", [WorkerDied("killed"), OutOfMemory("no room"), UnsupportedModel("new"), RemoteCodeRefused("its own code")]
)
def test_an_artifact_that_does_not_run_gets_a_receipt_that_says_so(error):
    heard: list[Event] = []
    script = Scripted(probe=error)
    receipt = run_test(script.run, heard)
    assert [(check.name, check.passed, check.detail) for check in receipt.checks] == [("loads", False, error.message)]
    assert [task.kind for task in script.asked] == ["probe"]
    assert receipt.kl_divergence is receipt.tokens_per_second is None
    assert "could not be run" in receipt.reasons["kl_divergence"]
    assert [event.level for event in heard if isinstance(event, Notice)] == ["warning"]


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("error", [ModelError("damaged"), IncompleteModel("cut short"), NotFound("gone", nearest=[])])
def test_damaged_or_missing_files_are_an_error_and_no_receipt(error, foreign):
    with pytest.raises(type(error), match=error.message) as caught:
        run_test(Scripted(probe=error).run, artifact=dataclasses.replace(ARTIFACT, foreign=foreign))
    assert caught.value.exit_code == 1
    assert "lqmf delete a" in caught.value.remedy
    assert ("lqmf verify a" in caught.value.remedy) is not foreign
    assert caught.value.details == error.details


@pytest.mark.parametrize("cut", [100, 1 << 20, None])
def test_a_real_file_that_is_cut_short_or_gone_is_an_error_and_no_receipt(tmp_path, cut):
    if cut:
        (tmp_path / "m.gguf").write_bytes(demo_gguf("Q4_K_M").read_bytes()[:cut])
    damaged = dataclasses.replace(ARTIFACT, path=str(tmp_path))
    with pytest.raises(ModelError if cut else IncompleteModel) as caught:
        run_test(LocalRunner().run, artifact=damaged, log=str(tmp_path / "log"))
    assert caught.value.exit_code == 1
    assert "lqmf verify a" in caught.value.remedy


@pytest.mark.parametrize("error", [WorkerDied("killed"), OutOfMemory("no room"), MeasurementError("NaN")])
def test_what_could_not_be_compared_leaves_the_rest_of_the_receipt(error):
    receipt = run_test(Scripted(probe=PROBED, divergence=error).run)
    assert receipt.tokens_per_second == PROBED["tokens_per_second"]
    assert receipt.kl_divergence is receipt.perplexity is None
    assert receipt.reasons["kl_divergence"] == receipt.reasons["perplexity"] == error.message


def test_a_source_that_the_user_named_and_that_is_another_model_is_refused():
    script = Scripted(probe=PROBED, structure={**CHECKED, "other_model": "100 tokens; the source has 99"})
    with pytest.raises(MeasurementError, match="a was not made from org/source: 100 tokens"):
        run_test(script.run, base=dataclasses.replace(SOURCE, said=True))
    assert [task.kind for task in script.asked] == ["probe", "structure"]


def test_of_its_own_source_a_difference_is_a_failed_check_and_the_rest_is_measured():
    failed = {"name": "vocabulary", "passed": False, "detail": "100 tokens"}
    script = Scripted(probe=PROBED, divergence=COMPARED, structure={**CHECKED, "checks": [failed], "other_model": "x"})
    receipt = run_test(script.run)
    assert receipt.kl_divergence is not None
    assert receipt.gate is not None
    assert receipt.gate["passed"] is False
    assert "vocabulary failed: 100 tokens" in receipt.gate["reasons"][0]


def test_files_that_cannot_be_checked_leave_the_rest_of_the_receipt():
    receipt = run_test(Scripted(probe=PROBED, divergence=COMPARED, structure=WorkerDied("killed")).run)
    assert [check.name for check in receipt.checks] == ["loads", "speaks"]
    assert receipt.reasons["checks"] == "killed"


def test_without_a_divergence_the_gate_says_why_it_is_open():
    receipt = run_test(Scripted(probe=PROBED, divergence=MeasurementError("no room")).run)
    assert receipt.gate is not None
    assert receipt.gate["passed"] is None
    assert "no room" in receipt.gate["reasons"][0]
    assert receipt.reasons["gate"] == receipt.gate["reasons"][0]


@pytest.mark.parametrize("kind", ["probe", "structure", "divergence"])
def test_a_cancelled_test_is_no_receipt(kind):
    answers: dict[str, Answer] = {"probe": PROBED, "divergence": COMPARED, kind: JobCancelled("stopped")}
    with pytest.raises(JobCancelled):
        run_test(Scripted(**answers).run)


def test_what_no_engine_runs_is_told_instead_of_measured(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotBuilt):
        run_test(LocalRunner().run, artifact=Artifact("a", str(tmp_path), "bnb", 4, "nf4", 1, 1, 1.0), log="/dev/null")


@pytest.mark.parametrize(("job_seconds", "budget"), [(0, 120), (600, 120), (3600, 720)])
def test_the_budget_is_two_minutes_or_a_fifth_of_the_job(job_seconds, budget):
    assert FeedbackAgent.budget(job_seconds) == budget


def test_a_benchmark_holds_the_artifact_the_receipt_and_the_lengths_of_the_answers():
    receipt = run_test(Scripted(probe=PROBED, divergence=COMPARED).run)
    document = FeedbackAgent.benchmark_document(ARTIFACT, receipt)
    assert datetime.datetime.fromisoformat(document["measured_at"]).tzinfo is datetime.UTC
    assert document["artifact"]["compression_ratio"] == 4.0
    assert document["response_tokens"] == {"mean": 4.5, "shortest": 3, "longest": 6}
    assert from_json(Receipt, document["receipt"]) == receipt
    assert FeedbackAgent.benchmark_document(ARTIFACT, Receipt())["response_tokens"] is None


def test_the_real_demo_gets_a_whole_receipt_from_real_workers(tmp_path):
    """The whole way: two worker processes, the real model, every field filled or reasoned for."""
    text = tmp_path / "words.txt"
    text.write_text((DEMO.parent / "text" / "evaluation.txt").read_text(encoding="utf-8")[:10_000], encoding="utf-8")
    heard: list[Event] = []
    what = Measurement(
        job="j",
        log=str(tmp_path / "log"),
        artifact=shelf.foreign(demo_gguf("Q4_K_M")),
        base=Base(demo_gguf("F16"), source=DEMO, name="demo"),
        depth="quick",
        predicted=dict.fromkeys(LABELS, 1.0),
    )
    agent = FeedbackAgent(LocalRunner().run, text=text, load=lambda: 0.0)
    with workspace.measured_afresh(tmp_path):
        receipt = asyncio.run(agent.test(what, heard.append))
    assert receipt.prediction.keys() == {
        "size_bytes", "peak_rss_bytes", "prompt_tokens_per_second", "generation_tokens_per_second", "kl_nats",
    }  # fmt: skip
    assert receipt.prediction["size_bytes"]["measured"] == demo_gguf("Q4_K_M").stat().st_size
    assert all(check.passed for check in receipt.checks), receipt.checks
    assert receipt.kl_divergence is not None
    assert 0 < receipt.kl_divergence.mean < 0.01
    assert receipt.text is not None
    assert receipt.text["name"] == "words"
    document = to_json(receipt)
    empty = {name for name, value in document.items() if value is None}
    assert empty <= set(receipt.reasons)
    assert [event.stage for event in heard if isinstance(event, StageFinished)] == [
        "probe", "structure", "divergence", "conversion",
    ]  # fmt: skip
    assert receipt.conversion is not None
    assert 0 < receipt.conversion["kl_divergence"]["mean"] < 1e-5
    assert receipt.gate is not None
    assert receipt.gate["passed"] is True
    assert receipt.base is not None
    assert receipt.base["model"] == "demo"
    json.dumps(document, allow_nan=False)
