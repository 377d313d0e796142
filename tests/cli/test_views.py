"""Views fit the terminal at 80 and at 120 columns, say what matters, and take hostile names calmly."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lqmf.artifacts.rebuild import Rebuilt
from lqmf.artifacts.verify import Finding
from lqmf.cli.render import Screen, clean
from lqmf.cli.views import (
    accounts,
    artifacts,
    benchmarks,
    checkup,
    comparisons,
    decisions,
    disk,
    help,
    messages,
    plans,
    questions,
    receipts,
    records,
    settings,
    statistics,
    verified,
)
from lqmf.operations.doctor import Check
from lqmf.quality.checks.differences import Difference
from lqmf.quality.compare.comparison import compare
from lqmf.records import Artifact, Choice, Decision, Estimate, Feedback, ModelRef, Option, QuantizationPlan, Question
from tests.cli.conftest import RECEIPT

LONG = "very-long-organisation-name_a-model-with-a-name-that-goes-on-and-on-v0.3_gguf_4bit_Q4_K_M_v12"
HOSTILE = "evil\x1b[31m\x07\u202e[bold]name"


def artifact(name: str, type: str = "Q4_K_M", **receipt: Any) -> Artifact:
    return Artifact(
        name=name,
        path=f"/home/somebody/.lqmf/quantized-models/{name}",
        method="gguf",
        bits=4,
        type=type,
        size_bytes=4_200_000_000,
        source_size_bytes=14_500_000_000,
        compression_ratio=3.45,
        model="org/model",
        created_at="2026-01-31T14:05:00+00:00",
        receipt={**RECEIPT, **receipt},
    )


PLAN = QuantizationPlan(
    id="p",
    model=ModelRef("hub", "org/model"),
    commit="c" * 40,
    method="gguf",
    bits=4,
    type="Q4_K_M",
    format="gguf",
    device="cpu",
    choices=(
        Choice("model", "org/" + LONG, "7.2 billion parameters, MistralForCausalLM", "user"),
        Choice("type", "Q4_K_M", "the usual balance of size and quality; " * 4, "rules"),
        Choice("cpu_fallback", False, HOSTILE, "settings"),
    ),
    estimate=Estimate(4_200_000_000, 19_000_000_000, 2_000_000_000, 754.0, 14_500_000_000),
)
ROW = {
    "kind": "artifact",
    "status": "ok",
    "size_bytes": 4_200_000_000,
    "receipt": RECEIPT,
    "created_at": "2026-01-31T14:05:00",
}
JOB = {
    "kind": "job",
    "id": "20260131-140500-abcdef",
    "title": f"{LONG} as Q4_K_M",
    "status": "failed",
    "error": {
        "code": "disk_full",
        "message": "The disk is full, and it will stay so for a long time to come.",
        "remedy": "`lqmf disk`",
    },
    "created_at": "2026-01-31T14:05:00",
    "at": 1769868300.0,
    "started_at": 1769868300.0,
    "seconds": 12.5,
    "artifact": None,
    "events": [{"event": "StageStarted", "stage": "convert", "text": HOSTILE, "at": 1769868301.0}],
}
STATS = {
    "jobs": {"total": 4, "by_status": {"done": 3, "failed": 1}, "success_rate": 0.75, "retries": 2},
    "seconds": {"gguf": {"jobs": 3, "median": 754.0, "mean": 800.0}},
    "artifacts": {"total": 3, "size_bytes": 12_000_000_000, "saved_bytes": 30_000_000_000},
    "methods": [
        {
            "method": "gguf",
            "type": "Q4_K_M",
            "artifacts": 2,
            "compression_ratio": 3.45,
            "kl_mean": 0.0022,
            "perplexity": 8.1,
        }
        | {"top1_agreement": 0.964, "prompt_per_second": 833.0, "generation_per_second": 44.0},
        {
            "method": "gguf",
            "type": "Q8_0",
            "artifacts": 1,
            "compression_ratio": None,
            "kl_mean": None,
            "perplexity": None,
        }
        | {"top1_agreement": None, "prompt_per_second": None, "generation_per_second": None},
    ],
}
SURVEY = {
    "root": "/home/somebody/.lqmf",
    "free_bytes": 83_000_000_000,
    "total_bytes": 270_000_000_000,
    "folders": [{"name": "models", "path": f"/data/{LONG}/models", "size_bytes": 14_500_000_000}],
    "in_use": [{"name": "a running job", "path": "/home/somebody/.lqmf/quantized-models/.building-1", "size_bytes": 9}],
    "removable": [
        {"path": f"/data/{LONG}", "size_bytes": 14, "reason": "a downloaded model", "remedy": "remove the folder"}
    ],
}
ACCOUNT = {
    "logged_in": True,
    "user": HOSTILE,
    "fullname": "Ada",
    "plan": "free",
    "orgs": ["a", "b"],
    "token_role": "read",
    "source": "cache",
}
BETTER = {"mean": 0.0001, "standard_error": 0.00001, "p99": 0.001}
RATE = {"tokens": 32, "per_second": 1234.5, "runs": [1234.5, 1200.0, 1250.0]}
MEANS = {"answers": 2, "ended": 1.0, "repetition": 0.25, "quality": 0.735, "coherence": 0.7, "rougeL": 0.61}
BENCHMARK: dict[str, Any] = {
    "depth": "quick",
    "parallel": 4,
    "measured_on": {"cpu": "A", "gpu": None, "engine": "llama.cpp 0.3.36"},
    "load_seconds": {"median": 1.25, "runs": [1.0, 1.25, 1.5]},
    "memory_bytes": {"loaded": 1 << 29, "one": 1 << 30, "parallel": 3 << 29, "gpu": None},
    "energy_joules_per_token": {"cpu": 1.5, "gpu": None},
    "speed": [
        {"parallel": 1, "context_tokens": 0, "prompt": RATE, "generation": RATE, "reason": None},
        {"parallel": 4, "context_tokens": 2048, "prompt": None, "generation": None, "reason": f"no room, {HOSTILE}"},
    ],
    "source": {"engine": "llama.cpp 0.3.36"},
    "prompts": {"name": "prompts", "sha256": "ab", "asked": 2},
    "answers": [
        {"id": "a", "scores": {"quality": 0.7}, "reason": None},
        {"id": "b", "scores": None, "reason": "prompt and answer need 5000 tokens; the context has 4096"},
    ],
    "categories": {"facts": MEANS, HOSTILE: {**MEANS, "quality": None}},
    "overall": MEANS,
    "tasks": {
        "arc_easy": {
            "documents": 100,
            "metrics": {"acc": {"value": 0.61, "standard_error": 0.049, "higher_is_better": True}},
        }
    },
    "reasons": {},
}
KEPT = {"artifact": {"name": LONG}, "path": f"/home/somebody/.lqmf/benchmarks/{LONG}-20260131.json"}
REBUILT = Rebuilt(
    LONG,
    "job",
    [{"path": HOSTILE, "same": False}],
    [Difference(HOSTILE, name, "7 of 8 bytes differ") for name in (None, HOSTILE, *map(str, range(20)))],
    [{"name": "torch", "then": "1", "now": None}],
    {"mean": 0.01, "standard_error": 0.001},
)
VIEWS: dict[str, Callable[[], Any]] = {
    "plan": lambda: plans.plan_view(PLAN),
    "receipt": lambda: receipts.receipt_view(artifact(LONG), RECEIPT),
    "an empty receipt": lambda: receipts.receipt_view(artifact(HOSTILE), {"reasons": {"*": "not measured yet"}}),
    "made": lambda: artifacts.made_view([artifact(LONG)], Feedback(("It has 4.2 GB.",))),
    "artifacts": lambda: artifacts.artifacts_view([artifact(LONG), artifact(HOSTILE)]),
    "verified": lambda: verified.verified_view(
        LONG,
        [Finding("manifest", True), Finding("files", False, HOSTILE), Finding("loads", None, HOSTILE)],
        [{"path": HOSTILE, "problem": "is missing"}],
        ["extra.txt", HOSTILE],
        "SHA256:" + "A" * 43,
        refused=True,
    ),
    "rebuilt": lambda: verified.rebuilt_view(REBUILT),
    "rebuilt and the same": lambda: verified.rebuilt_view(
        dataclasses.replace(REBUILT, files=[{"path": LONG, "same": True}], artifact=artifact(LONG))
    ),
    "comparison": lambda: comparisons.comparison_view(
        compare([artifact(LONG), artifact("demo_gguf_8bit_Q8_0", "Q8_0", kl_divergence=BETTER)], [BENCHMARK, BENCHMARK])
    ),
    "benchmark": lambda: benchmarks.benchmark_view({**KEPT, "benchmark": BENCHMARK}),
    "a benchmark without a source": lambda: benchmarks.benchmark_view(
        {**KEPT, "benchmark": {**BENCHMARK, "source": None, "tasks": None, "reasons": {"source": "it is gone"}}}
    ),
    "list": lambda: records.list_view([{**ROW, "name": LONG}, {**ROW, "name": HOSTILE}, JOB]),
    "job": lambda: records.show_view(JOB),
    "history": lambda: records.history_view(
        [{"kind": "turn", "text": f"quantize {LONG} {HOSTILE}", "status": "done", "at": 1.0}, JOB]
    ),
    "stats": lambda: statistics.stats_view(STATS),
    "disk": lambda: disk.disk_view(SURVEY),
    "settings": lambda: settings.settings_view(
        [{"key": "models_dir", "value": f"/data/{LONG}", "source": ".env", "description": "downloaded models"}], "/root"
    ),
    "account": lambda: accounts.account_view(ACCOUNT),
    "checkup": lambda: checkup.checkup_view([Check("converter", "missing", f"not in {LONG}", "`lqmf doctor --fix`")]),
    "decision": lambda: decisions.decision_view(
        Decision("quantize", {"model": LONG, "names": [LONG, HOSTILE]}, 0.9, "because")
    ),
    "help": lambda: help.help_view([]),
    "question": lambda: questions.question_view(Question("t", LONG * 2, (Option(1, LONG), Option(2, "two")), 1)),
    "error": lambda: messages.error_view(f"{LONG} {HOSTILE} " * 3, "Do this. " * 20),
}


def drawn(view: Any, width: int) -> list[str]:
    plain = {"markup": False, "highlight": False, "emoji": False}
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, **plain)  # type: ignore[arg-type]
    console.print(view)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", VIEWS)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = drawn(VIEWS[name](), width)
    assert lines
    assert max(cell_len(clean(line)) for line in lines) <= width


def text_of(name: str, width: int = 120) -> str:
    return " ".join(clean(" ".join(drawn(VIEWS[name](), width))).split())


def test_a_plan_says_for_every_choice_what_why_and_whose() -> None:
    text = text_of("plan")
    assert "cpu fallback no evil[bold]name settings" in text
    assert "download 14.5 GB" in text
    assert "time about 12 min 34 s" in text


def test_a_receipt_says_how_good_how_fast_and_against_what() -> None:
    text = text_of("receipt")
    assert "KL divergence 0.00220 ± 0.000020 nats a token; 99 % are below 0.0134" in text
    assert "same top choice 96.4 % of tokens, against the source" in text
    assert "perplexity 47.990 the source has 47.690" in text
    assert "writing 413 tokens/s llama.cpp 0.3.36" in text
    assert "4.2 GB from 14.5 GB, 3.45 times smaller" in text


def test_a_receipt_says_whether_it_passed_its_gate_and_what_failed() -> None:
    checks = [
        {"name": "loads", "passed": True, "detail": ""},
        {"name": "layer_order", "passed": False, "detail": "blk.2 holds blk.5"},
    ]
    gate = {"passed": False, "reasons": ["The check failed.", "Too far."], "limits": {"kl_mean": 0.1, "top1": 0.62}}
    missing = {"checks.rope": "no source", "checks.template": "no source"}
    lines = receipts.receipt_view(artifact("a"), {**RECEIPT, "checks": checks, "gate": gate, "reasons": missing})
    text = " ".join(clean(" ".join(drawn(lines, 80))).replace("│", " ").split())
    assert "gate ✗ failed The check failed. Too far." in text
    assert "checks ✓ 1 of 2 loads layer order ✗ blk.2 holds blk.5" in text
    assert "not checked - rope, template: no source" in text
    passed = receipts.receipt_view(artifact("a"), {**RECEIPT, "gate": {**gate, "passed": True, "reasons": []}})
    assert "✓ passed at most 0.1 nats, at least 62 % the same" in " ".join(" ".join(drawn(passed, 80)).split())


def test_a_receipt_has_a_line_for_each_kind_of_text_within_eighty_columns() -> None:
    code = {"perplexity": 77.2, "base": {"perplexity": 76.9}, "kl_divergence": {"mean": 0.002}, "top1_agreement": 0.95}
    more = {"right_token": {"mean_change": -0.0007, "rms_change": 0.008}, "perplexity_ratio": {"value": 1.004}}
    more["perplexity_ratio"]["standard_error"] = 0.001
    view = receipts.receipt_view(artifact("a"), {**RECEIPT, **more, "domains": {"code": code, "prose": {}}})
    lines = [clean(line) for line in drawn(view, 80)]
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if "code" in line).split()[1:6] == ["code", "0.00200", "95.0", "%", "77.200"]
    assert next(line for line in lines if "prose" in line).split()[1:6] == ["prose", "-", "-", "-", "-"]
    assert any("right token" in line and "-0.07 %" in line for line in lines)
    assert any("ratio 1.0040" in line for line in lines)


def test_what_failed_its_gate_is_marked_wherever_it_is_listed() -> None:
    failed = {"gate": {"passed": False, "reasons": ["x"], "limits": {}}}
    assert "gate failed" in " ".join(drawn(artifacts.artifacts_view([artifact("a", **failed)]), 80))
    assert "gate failed" in " ".join(drawn(records.list_view([{**ROW, "name": "a", "receipt": failed}]), 80))
    open_ = {**ROW, "name": "a", "receipt": {"gate": {"passed": None}}}
    assert "gate failed" not in " ".join(drawn(records.list_view([open_]), 80))


def test_what_was_not_measured_says_why() -> None:
    assert "KL divergence - not measured yet" in text_of("an empty receipt")


def test_the_better_figure_is_marked_an_equal_one_is_not_and_chance_has_its_own_mark() -> None:
    lines = [clean(line) for line in drawn(VIEWS["comparison"](), 120)]

    def row(title: str) -> str:
        return next(line for line in lines if line.lstrip().startswith(title))

    assert row("KL divergence").split()[-2:] == ["0.000100", "★"]
    assert "★" not in row("size")
    assert "≈" not in row("size")
    assert row("writing").split().count("≈") == 2


def test_a_comparison_ends_with_what_a_friend_would_say() -> None:
    assert text_of("comparison").endswith("Q8_0 loses 5% of what Q4_K_M does at the same size; take Q8_0.")


def test_a_benchmark_fits_one_screen_and_says_what_it_lacks() -> None:
    assert len(drawn(VIEWS["benchmark"](), 80)) <= 40
    text = text_of("benchmark")
    assert "1 0 1,234 t/s 1,234 t/s 1,234 t/s" in text
    assert "1.0 GB with one chat, 1.5 GB with 4" in text
    assert "1.50 J a token (CPU)" in text
    assert "arc_easy 100 0.610 acc ± 0.049" in text
    assert "1 prompt was not scored: prompt and answer need 5000 tokens" in text
    assert "Not held against the source: it is gone." in text_of("a benchmark without a source")


def test_a_failed_job_says_why_in_the_list() -> None:
    assert "job 20260131-140500-abcdef: The disk is full" in text_of("list")


def test_a_narrow_list_keeps_its_names() -> None:
    rows = records.list_view([{**ROW, "name": "demo_gguf_4bit_Q4_K_M"}])
    assert any("demo_gguf_4bit_Q4_K_M" in line for line in drawn(rows, 50))
    assert "2026-01-31 14:05" in "".join(drawn(rows, 80))


def test_only_what_lacks_is_told_in_the_verdict() -> None:
    assert "Something is missing: converter." in text_of("checkup")
    healthy = " ".join(drawn(checkup.checkup_view([Check("GPU", "note", "none")]), 80))
    assert "Everything needed is here." in healthy


def test_no_path_and_no_command_is_folded_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(artifacts.made_view([artifact(LONG)], Feedback(("It has 4.2 GB.",))))
    told = capsys.readouterr().out.splitlines()
    assert f"  in      /home/somebody/.lqmf/quantized-models/{LONG}" in told
    assert any(line.startswith("· `show ") and line.endswith("measures more.") for line in told)


def test_a_line_to_be_copied_is_one_line_at_any_terminal_and_obeyed_by_none() -> None:
    line = f"llama-server -m /models/{LONG * 3}/model.gguf -c 8192"
    assert drawn(messages.Copied(f"{line}\x1b[31m\nollama run it"), 60) == [line, "ollama run it"]


def test_what_conversion_changes_stands_apart_from_the_loss_of_quantizing() -> None:
    found = {
        "kl_divergence": {"mean": 2e-6}, "top1_agreement": 0.998, "largest_logit_error": 0.0123, "limit_nats": 1e-3,
        "source": {"engine": "transformers 5.23.0 (float32)"}, "sliding_window": 64, "ignored_window": 64,
    }  # fmt: skip
    for receipt, seen in (
        ({**RECEIPT, "conversion": found}, "llama.cpp ignores its sliding window of 64 tokens"),
        ({**RECEIPT, "conversion": {**found, "ignored_window": None, "long_window_reason": "x"}}, "not compared"),
        ({**RECEIPT, "reasons": {"conversion": "its source is gone"}}, "conversion - its source is gone"),
    ):
        lines = drawn(receipts.receipt_view(artifact("a"), receipt), 80)
        assert seen in " ".join(clean(" ".join(lines)).replace("│", " ").split())


def test_at_fifty_columns_a_receipt_keeps_the_names_of_its_rows_and_whole_figures() -> None:
    found = {
        "perplexity": 254.919,
        "base": {"perplexity": 254.772},
        "kl_divergence": {"mean": 0.00186},
        "top1_agreement": 0.954,
    }
    lines = drawn(
        receipts.receipt_view(artifact("a"), {**RECEIPT, "domains": {"documentation": found, "prose": found}}), 50
    )
    told = [" ".join(line.strip("│ ").split()) for line in lines]
    assert "documentation 0.00186 95.4 % 254.919" in told
    assert "text KL same top perplexity" in told
    assert not any("…" in line for line in lines)
    assert max(len(line) for line in lines if "KL divergence" in line) == 50


def test_a_job_ends_with_six_lines_and_lines_that_chat_with_the_result() -> None:
    gate = {"passed": True, "reasons": [], "limits": {"kl_mean": 0.1, "top1": 0.62}}
    run = ("llama-cli -m /a/m.gguf -c 2048 -cnv", "ollama create a -f /a/Modelfile && ollama run a")
    view = artifacts.made_view([artifact("a", gate=gate)], Feedback(()), [run])
    lines = [clean(line).strip() for line in drawn(view, 100)]
    assert [line.split()[0] for line in lines[2:8]] == ["size", "loss", "speed", "memory", "gate", "run"]
    assert "hardly any: 0.00220 nats a token; 96.4 % of its first choices are the source's" in lines[3]
    assert lines[8:10] == list(run)
    failed = [{"name": "layer_order", "passed": False, "detail": ""}]
    worse = artifact("a", checks=failed, gate={**gate, "passed": False, "reasons": ["A check failed."]})
    told = " ".join(" ".join(drawn(artifacts.made_view([worse], Feedback(())), 100)).split())
    assert "✗ failed; these checks failed: layer order. A check failed." in told
    assert "run as README.md in its folder says" in told


def test_several_plans_are_one_with_a_row_for_each_and_share_what_is_the_same() -> None:
    other = dataclasses.replace(
        PLAN, type="Q8_0", choices=(PLAN.choices[0], Choice("type", "Q8_0", "as you said", "user"), PLAN.choices[2])
    )
    text = " ".join(" ".join(drawn(plans.plans_view([PLAN, other]), 100)).split())
    assert text.count("Plan for") == 1
    assert "Q4_K_M 4.2 GB 12 min 34 s Q8_0 4.2 GB 12 min 34 s" in text
    assert text.count("cpu fallback") == 1
    narrow = [clean(line).split() for line in drawn(plans.plans_view([PLAN, other]), 30)]
    assert ["Q8_0", "4.2", "GB"] in narrow  # a column goes as a whole


def test_a_plan_after_a_plan_says_only_what_changed() -> None:
    now = dataclasses.replace(PLAN, choices=(*PLAN.choices[:2], Choice("cpu_fallback", True, "as you said", "user")))
    lines = drawn(plans.changes_view(PLAN, now), 80)
    text = " ".join(" ".join(lines).split())
    assert "cpu fallback no yes as you said" in text
    assert "Q4_K_M" not in text
    assert len(lines) <= 8
    assert "Nothing of the plan changes." in " ".join(drawn(plans.changes_view(PLAN, PLAN), 80))
