"""`--gate` makes a bad receipt an exit code; the artifact stays, and bears the mark."""

from __future__ import annotations

import pytest

from lqmf.operations.quantize import Quantized
from lqmf.records import Artifact, Feedback
from tests.commands import here
from tests.fixtures_gguf import small_folder


@pytest.mark.parametrize(
    ("passed", "asked", "ok"),
    [(True, True, True), (False, True, False), (None, True, False), (False, False, True), (None, False, True)],
)
def test_only_a_gate_that_was_asked_for_and_not_passed_is_a_failure(passed, asked, ok):
    assert made({"gate": {"passed": True}}, {"gate": {"passed": passed}}, gate=asked).ok == ok


def test_no_receipt_passes_nothing():
    assert not made(None, gate=True).ok


def made(*receipts, gate):
    """What `quantize` gives back, an artifact for each receipt."""
    artifacts = tuple(Artifact("a", "/a", "gguf", 4, "Q4_K_M", 1, 1, 1.0, receipt=receipt) for receipt in receipts)
    return Quantized(artifacts, ("job",), Feedback(), gate=gate)


def test_a_gate_without_a_measurement_is_wrong_usage(run):
    refused = run("quantize", "demo", "--test", "none", "--gate", "--json")
    assert refused.code == 2
    assert "--test none makes none" in refused.document["error"]["message"]


def test_a_bound_that_is_none_is_refused_when_it_is_set(run):
    refused = run("config", "set", "gate_kl", "four:0.1")
    assert refused.code == 2
    assert "write bits and bound, like 4:0.1" in " ".join(refused.err.split())


def test_a_comparison_says_who_failed(run, make_artifact):
    make_artifact("demo_gguf_4bit_Q4_K_M", gate={"passed": False, "reasons": ["x"], "limits": {}})
    make_artifact("demo_gguf_8bit_Q8_0", "Q8_0", 8)
    compared = run("compare", "Q4_K_M", "Q8_0", "--json").document
    assert [one["gate_passed"] for one in compared["artifacts"]] == [False, None]
    assert "demo_gguf_4bit_Q4_K_M failed its gate" in run("compare", "Q4_K_M", "Q8_0").out


@pytest.mark.slow
def test_what_fails_its_gate_is_kept_and_marked(tmp_path):
    """The whole way, held to a bound that no two bits keep."""
    strict = {"GATE_KL": "8:0.005,1:0.001"}
    said = ("--type", "Q2_K", "--no-imatrix", "--yes", "--gate")
    made = here(tmp_path, "quantize", str(small_folder()), *said, env=strict)
    assert made.returncode == 1
    told = " ".join((made.stdout + made.stderr).split())
    assert "nats a token; 0.001 is the most for 2 bits" in told.replace("│ ", "").replace("│", "")
    assert "gate failed" in here(tmp_path, "list").stdout
