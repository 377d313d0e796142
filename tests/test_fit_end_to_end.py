"""Fitting, from flags and from sentences: the same plan, kept in the manifest, run as planned, learnt from."""

import json

import pytest

from lqmf.quality.measures import busy
from tests.commands import document_here as document
from tests.commands import here
from tests.fixtures_gguf import small_folder

pytestmark = pytest.mark.slow
FLAGS = (
    "--memory", "2GB", "--device", "cpu", "--context", "1024", "--kv-type", "q8_0", "--parallel", "2",
    "--priority", "size",
)  # fmt: skip
SENTENCE = (
    "plan for demo on cpu with 2 GB of memory and 1k context, kv cache in q8_0, for 2 chats at once, "
    "as small as possible"
)


def planned(told: dict) -> dict:
    """What a plan says, but for its id and for whose choice each was."""
    plan = told["plan"]
    assert plan["run"]["parallel"] == 2
    return {name: plan[name] for name in ("type", "run", "prediction", "candidates", "memory_bytes", "priority")}


def test_flags_and_a_sentence_give_the_same_plan(tmp_path):
    typed = planned(document(tmp_path, "plan", "demo", *FLAGS))
    said = planned(document(tmp_path, SENTENCE))
    assert said == typed
    assert (typed["run"]["k_type"], typed["run"]["context"]) == ("q8_0", 1024)


def test_what_was_planned_is_in_the_manifest_run_so_and_printed_for_others(tmp_path):
    said = ("--type", "Q4_K_M", "--context", "1024", "--kv-type", "q8_0", "--test", "none", "--yes")
    made = document(tmp_path, "quantize", str(small_folder()), *said)
    artifact = made["artifact"]
    folder = tmp_path / "quantized-models" / artifact["name"]
    run = json.loads((folder / "manifest.json").read_text())["run"]
    assert (run["context"], run["k_type"], run["v_type"], run["gpu_layers"]) == (1024, "q8_0", "q8_0", 0)
    shown = document(tmp_path, "show", artifact["name"])["run"]
    assert "-c 1024" in shown["llama_server"]
    assert "-ctk q8_0 -ctv q8_0" in shown["llama_server"]
    assert "PARAMETER num_ctx 1024" in (folder / "Modelfile").read_text()
    assert f"-f {folder / 'Modelfile'}" in shown["ollama"]
    assert "-c 1024" in (folder / "README.md").read_text()


def test_a_prediction_stands_beside_its_measurement_and_is_learnt_from(tmp_path):
    model = str(small_folder())
    made = document(tmp_path, "quantize", model, "--type", "Q8_0", "--yes")
    told = made["receipt"]["prediction"]
    assert told["size_bytes"]["error"] == pytest.approx(0, abs=2e-4)  # but for what the file says of itself
    assert told["peak_rss_bytes"]["measured"] == made["receipt"]["peak_memory_bytes"]["rss"]
    assert told["kl_nats"]["missed"], "this is another model than the one that the table is of"
    rows = document(tmp_path, "stats", "--predictions")["predictions"]
    of_time = set() if busy(made["receipt"]) else {"quantize_seconds"}  # is not learnt from beside other programs
    assert {row["quantity"] for row in rows} >= {"size_bytes", "peak_rss_bytes", "kl_nats", *of_time}
    again = document(tmp_path, "plan", model, "--type", "Q8_0")["plan"]
    assert again["prediction"]["kl_nats"] == pytest.approx(told["kl_nats"]["measured"])


def test_a_plan_that_does_not_fit_says_so_and_a_job_is_refused_unless_something_else_fits(tmp_path):
    told = document(tmp_path, "plan", "demo", "--memory", "100MB", "--context", "2048", "--device", "cpu")
    assert told["fits"] is False
    assert told["ways_out"]
    refused = document(tmp_path, "quantize", "demo", "--memory", "100MB", "--device", "cpu", "--yes")
    assert refused["error"]["code"] == "does_not_fit"
    assert "--memory" in refused["error"]["remedy"]
    assert not (tmp_path / "quantized-models").exists() or not any((tmp_path / "quantized-models").iterdir())


def test_in_the_chat_the_next_sentence_changes_one_thing(tmp_path):
    lines = "will demo fit on my 8GB card with 1k context?\nI need 2k\nwhat if I had 12 GB?\nmake it smaller\nexit\n"
    said = here(tmp_path, stdin=lines)
    assert said.returncode == 0, said.stdout + said.stderr
    fits = [line for line in said.stdout.splitlines() if "demo fits: " in line]
    assert len(fits) == 4
    assert "1,024 tokens" in fits[0]
    assert all("2,048 tokens" in line for line in fits[1:])
