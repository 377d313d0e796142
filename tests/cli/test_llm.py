"""`llm`, `explain` and `parse --llm`: who helps, what is known, and both readings of a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lqmf import settings

KEY = "sk-ant-api03-plantedkey0123456789"


@pytest.fixture(autouse=True)
def _bare(home, monkeypatch):
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def script(home, monkeypatch):
    """`script(answer, ..)`: the scripted provider is in use, with these answers."""

    def use(*answers, **more):
        path = home / "script.json"
        path.write_text(json.dumps([{"answer": answer, **more} for answer in answers]))
        (home / "config.json").write_text(json.dumps({"llm_provider": "scripted", "scripted_file": str(path)}))

    return use


# ---------------------------------------------------------------- status


def test_status_names_each_provider_its_key_and_where_from(run, home):
    (home / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\n")
    (home / "config.json").write_text('{"llm_provider": "claude", "llm_fallbacks": ["local"]}')
    ran = run("llm", "status", "--json")
    found = {one["name"]: one for one in ran.document["providers"]}
    assert ran.document["provider"] == "claude"
    assert ran.document["source"] == "config.json"
    assert (found["claude"]["place"], found["local"]["place"], found["gemini"]["place"]) == (1, 2, None)
    assert (found["claude"]["key"], found["claude"]["key_source"]) == ("present", "ANTHROPIC_API_KEY in .env")
    assert (found["openai"]["key"], found["openai"]["ready"]) == ("missing", False)
    assert found["local"]["key"] == "not needed"
    assert KEY not in ran.out + ran.err
    people = run("llm")
    assert "ANTHROPIC_API_KEY" in people.out
    assert KEY not in people.out


def test_status_without_a_provider_says_that_none_is_needed(run):
    assert "rules decide" in run("llm", "status").out


def test_the_command_line_comes_before_all_else(run, home):
    (home / "config.json").write_text('{"llm_provider": "claude"}')
    document = run("--llm-provider", "gemini", "llm", "status", "--json").document
    assert (document["provider"], document["source"]) == ("gemini", "option")


def test_the_module_by_its_name_does_the_same(home):
    words = [sys.executable, "-m", "lqmf.utils.llm_cli", "status", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LQMF_HOME": str(home)})
    assert done.returncode == 0
    assert json.loads(done.stdout)["provider"] == "none"


# ---------------------------------------------------------------- switch


def test_switch_writes_config_json_and_keeps_the_rest_in_order(run, home):
    (home / "config.json").write_text('{"//": "mine", "log_level": "error", "max_retries": 1}')
    document = run("llm", "switch", "openai", "--model", "gpt-6-luna", "--json").document
    assert (document["in_use"], document["ready"]) == ("openai", False)
    assert "OPENAI_API_KEY" in document["reason"]
    kept = json.loads((home / "config.json").read_text())
    assert list(kept) == ["//", "log_level", "max_retries", "llm_provider", "openai_model"]
    assert (kept["llm_provider"], kept["openai_model"]) == ("openai", "gpt-6-luna")


def test_a_broken_config_is_refused_with_its_line_and_not_overwritten(run, home):
    broken = '{"log_level": "info",\n "max_retries" 3}'
    (home / "config.json").write_text(broken)
    ran = run("llm", "switch", "claude", "--json")
    assert ran.code == 2
    assert "line 2" in ran.document["error"]["message"]
    assert "line 2" in ran.document["error"]["remedy"]
    assert (home / "config.json").read_text() == broken


def test_a_provider_that_there_is_not_is_guessed_at_and_nothing_is_written(run, home):
    ran = run("llm", "switch", "clade", "--json")
    assert ran.code == 2
    assert "claude" in ran.document["error"]["remedy"]
    assert not (home / "config.json").exists()


def test_an_own_artifact_is_named_in_the_same_breath(run, home, make_artifact):
    make_artifact("m_gguf_4bit_Q4_K_M")
    assert run("llm", "switch", "local", "--artifact", "m_gguf", "--json").document["in_use"] == "local"
    assert json.loads((home / "config.json").read_text())["local_artifact"] == "m_gguf_4bit_Q4_K_M"
    assert run("llm", "switch", "claude", "--artifact", "m_gguf", "--json").code == 2


def test_a_switch_takes_effect_in_the_running_chat(run, home):
    said = run(stdin="switch to gemini\nllm status\nuse claude instead\nllm status\nexit\n").out
    assert "● gemini" in said
    assert said.index("● gemini") < said.index("● claude")
    assert json.loads((home / "config.json").read_text())["llm_provider"] == "claude"


def test_what_the_environment_says_still_comes_first_and_is_told(run, monkeypatch):
    monkeypatch.setenv("LLM_PROVIDER", "openai")
    ran = run("llm", "switch", "claude")
    assert "openai, from environment, still comes first" in ran.out.replace("\n  ", " ")


# ---------------------------------------------------------------- test


def test_a_test_is_one_real_call_with_its_time_and_tokens(run, script):
    script({"word": "quantization"}, tokens=[12, 3])
    document = run("llm", "test", "--json").document
    assert (document["provider"], document["input_tokens"], document["output_tokens"]) == ("scripted", 12, 3)
    assert document["cost"] is None
    assert document["seconds"] >= 0
    standing = run("llm", "status", "--json").document
    assert standing["today"]["calls"] == 1
    assert next(one for one in standing["providers"] if one["place"] == 1)["last_call"]["purpose"] == "test"


def test_a_test_without_a_key_names_the_variable_the_line_and_the_way_without(run):
    error = run("llm", "test", "claude", "--json").document["error"]
    told = f"{error['message']} {error['remedy']}"
    for part in ("ANTHROPIC_API_KEY=<your key>", ".env", "llm switch none"):
        assert part in told


# ---------------------------------------------------------------- explain


def test_a_term_is_explained_offline_with_its_sources(run):
    document = run("explain", "gptq", "--json").document
    assert [one["title"] for one in document["passages"]] == ["GPTQ"]
    assert document["passages"][0]["sources"]
    assert document["answer"] is None
    spoken = run("what is GPTQ?")
    assert "layer by layer" in spoken.out
    assert "2210.17323" in spoken.out


def test_a_question_that_no_rule_reads_is_answered_where_the_notes_hold_its_answer(run):
    assert "chat template" in run("why does it output gibberish?").out
    assert run("what is the capital of France?").code == 1


def test_types_are_compared_by_figures_and_by_what_was_measured_here(run, make_artifact):
    make_artifact("m_gguf_4bit_Q4_K_M")
    run("list")
    document = run("explain", "difference between Q4_K_M and Q4_0", "--json").document
    assert [one["type"] for one in document["types"]] == ["Q4_K_M", "Q4_0"]
    assert all(one["expected_kl_nats"] > 0 and one["source"] for one in document["types"])


def test_what_nothing_is_known_of_is_said_with_the_way_to_the_topics(run):
    ran = run("explain", "the weather in Paris", "--json")
    assert ran.code == 1
    assert ran.document["error"]["code"] == "not_found"
    assert "imatrix, k-quants" in ran.document["error"]["remedy"]
    assert len(run("explain", "--json").document["topics"]) > 20


def test_a_free_question_is_answered_in_a_providers_words_marked_as_such(run, script, home):
    script("Because every weight is rounded more coarsely.", expects="K-types")
    ran = run("explain", "why is Q2_K so bad?")
    assert "Because every weight is rounded more coarsely." in ran.out
    assert "the words of scripted" in ran.out
    assert "Q2_K" in ran.out


def test_where_the_provider_fails_the_notes_themselves_are_the_answer(run, home):
    (home / "config.json").write_text('{"llm_provider": "claude", "max_retries": 0}')
    ran = run("explain", "why is Q2_K so bad?")
    assert ran.code == 0
    assert "super-blocks of 256" in ran.out.replace("\n", " ")
    assert "ANTHROPIC_API_KEY" in ran.out + ran.err


def test_a_plain_term_costs_no_call(run, script):
    script()
    assert run("explain", "what is GPTQ?", "--json").document["answer"] is None


# ---------------------------------------------------------------- reading with help

ODD = "gimme the wobbly lowdown on everything cooked so far"
NOTHING = dict.fromkeys(("model", "name", "method", "type", "bits", "memory_gb", "context", "topic", "provider"), None)


def test_both_readings_are_shown_and_what_the_line_does_not_say_is_dropped(run, script):
    script({"intent": "list", **NOTHING, "bits": 4})
    document = run("parse", "--llm", "--json", ODD).document
    assert document["llm"]["decision"]["intent"] == "list"
    assert document["llm"]["decision"]["slots"] == {}
    assert len(document["llm"]["dropped"]) == 1
    offline = run("parse", "--json", ODD).document
    assert {name: document[name] for name in offline} == offline


def test_without_a_provider_nobody_else_can_read(run):
    ran = run("parse", "--llm", "--json", "hello there")
    assert ran.code == 2
    assert "llm switch" in ran.document["error"]["remedy"]


def test_a_line_that_no_rule_reads_is_read_with_help_and_harmless_ones_are_done(run, script):
    script({"intent": "stats", **NOTHING})
    ran = run(stdin=f"{ODD}\nexit\n")
    assert "Taken for `stats`" in ran.out
    assert ran.code == 0


@pytest.mark.parametrize("answer", ["no", "", "list"])
def test_what_would_change_something_is_asked_about_and_yes_to_all_is_no_answer(
    run, script, home, make_artifact, answer
):
    make_artifact("m_gguf_4bit_Q4_K_M")
    script({"intent": "delete", **NOTHING})
    ran = run("--yes", stdin=f"vaporise that lump of mine\n{answer}\nexit\n")
    assert "Did you mean: remove an artifact?" in ran.out
    assert (home / "quantized-models" / "m_gguf_4bit_Q4_K_M").exists()


def test_after_a_yes_the_command_itself_still_asks_what_it_always_asks(run, script, home, make_artifact):
    made = make_artifact("m_gguf_4bit_Q4_K_M")
    script({"intent": "delete", **NOTHING, "name": "m_gguf_4bit_Q4_K_M"})
    ran = run(stdin="vaporise m_gguf_4bit_Q4_K_M that lump of mine\nyes\nno\nexit\n")
    assert "This cannot be undone" in ran.out
    assert made.exists()


def test_where_nobody_can_be_asked_nothing_is_done(run, script):
    script({"intent": "delete", **NOTHING})
    ran = run("-c", "vaporise that lump of mine", "--json", "--yes")
    assert ran.code == 2
    assert ran.document["status"] == "needs_input"


def test_where_nobody_answers_the_rules_reading_stands(run, home):
    line = ODD
    without = run("-c", line, "--json")
    (home / "config.json").write_text('{"llm_provider": "claude", "max_retries": 0}')
    helped = run("-c", line, "--json")
    assert (helped.code, helped.document) == (without.code, without.document)
