"""Tasks of lm-evaluation-harness run on our engines from local data, score what the model says, name what they lack."""

from __future__ import annotations

import asyncio
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="the extra `evaluate` is not installed")

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.errors import LqmfError, NotBuilt, NotFound, UsageError
from lqmf.jobs.runner import LocalRunner
from lqmf.quality.benchmark import harness
from lqmf.records import Task
from tests.fixtures_gguf import demo_gguf

CHOICE = """
task: choosing
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list: [{{metric: acc}}]
"""
ROLLING = """
task: reading
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: bits_per_byte}}]
"""
WRITING = """
task: writing
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{text}}}}"
doc_to_target: "{{{{said}}}}"
generation_kwargs: {{until: ["\\n\\n"], max_gen_toks: 12}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
BEGINNINGS = ("The PostgreSQL server", "A list in Python", "This function returns", "If the file does not")


@pytest.fixture(scope="module")
def engine():
    with LlamaCppEngine(demo_gguf("Q8_0")) as opened:
        yield opened


def said(engine, text: str) -> str:
    tokens = engine.tokenize(text, special=True, bos=True)
    return "".join(p.text for p in engine.generate(tokens, Sampling(max_tokens=12, stop=("\n\n",))))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory, engine) -> dict[str, str]:
    """Three tasks with four documents, whose right answers are what the model itself says, in all but the last."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = []
    for place, text in enumerate(BEGINNINGS):
        own = said(engine, text)
        rows.append(
            {
                "text": text,
                "choices": [own.strip() or "x", "zzq vvk jjx qqp"],
                "answer": 1 if place == 3 else 0,
                "said": "something else" if place == 3 else own,
            }
        )
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {}
    for name, form in (("choosing", CHOICE), ("reading", ROLLING), ("writing", WRITING)):
        path = folder / f"{name}.yaml"
        path.write_text(form.format(data=data))
        found[name] = str(path)
    return found


def in_worker(tmp_path: Path, cache: Path, *named: str) -> dict:
    """The task as a job runs it: in a process of its own, with an empty Hugging Face cache."""
    environment = {**os.environ, "HF_HOME": str(cache)}
    params = {"artifact": str(demo_gguf("Q8_0")), "tasks": list(named), "limit": None, "device": "cpu"}
    task = Task("j", "harness", params, str(tmp_path / "worker.log"))
    return asyncio.run(LocalRunner(environment).run(task, lambda event: None))


@pytest.mark.slow
def test_local_tasks_of_every_kind_run_in_a_worker_without_a_network(tmp_path, tasks, engine):
    found = in_worker(tmp_path, tmp_path / "cache", *tasks.values())
    assert found["version"].startswith("lm-eval 0.4")
    scores = {name: told["metrics"] for name, told in found["tasks"].items()}
    assert {told["documents"] for told in found["tasks"].values()} == {4}
    assert scores["choosing"]["acc"]["value"] == scores["writing"]["exact_match"]["value"] == 0.75
    assert scores["choosing"]["acc"]["standard_error"] == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    bits = -sum(harness._rolling(engine, text) for text in BEGINNINGS) / math.log(2)
    assert scores["reading"]["bits_per_byte"]["value"] == pytest.approx(bits / sum(map(len, BEGINNINGS)), rel=1e-3)
    assert scores["reading"]["bits_per_byte"]["higher_is_better"] is False


@pytest.mark.slow
def test_data_that_is_not_in_the_cache_is_named_with_the_command_that_fetches_it(tmp_path):
    with pytest.raises(NotFound) as caught:
        in_worker(tmp_path, tmp_path / "cache", "hellaswag")
    assert "hellaswag is not in the Hugging Face cache" in caught.value.message
    assert "load_dataset('Rowan/hellaswag')" in caught.value.remedy


@pytest.mark.slow
def test_a_task_that_the_harness_does_not_have_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UsageError) as caught:
        in_worker(tmp_path, tmp_path / "cache", "hellaswagg")
    assert "'hellaswagg'" in caught.value.message
    assert "hellaswag" in caught.value.remedy


# ---------------------------------------------------------------- the adapter


def log_probability(engine, tokens: list[int], first: int) -> float:
    (logits,) = engine.logits([tokens])
    wide = logits.astype(np.float64)
    rows = (
        wide - np.log(np.exp(wide - wide.max(-1, keepdims=True)).sum(-1, keepdims=True)) - wide.max(-1, keepdims=True)
    )
    return float(sum(rows[i - 1, tokens[i]] for i in range(first, len(tokens))))


def test_a_continuations_likelihood_is_the_sum_over_its_tokens(engine):
    before, after = engine.tokenize("The PostgreSQL", bos=True), engine.tokenize(" server is")
    found, _ = harness._likelihood(engine, before, after)
    assert found == pytest.approx(log_probability(engine, [*before, *after], len(before)), abs=1e-3)
    assert harness._likelihood(engine, before, []) == (0.0, True)


def test_what_the_model_would_say_is_called_greedy_and_another_word_is_not(engine):
    before = engine.tokenize("The PostgreSQL server", bos=True)
    pieces = engine.generate(before, Sampling(max_tokens=5))
    own = [piece.token for piece in pieces if piece.token is not None]
    assert harness._likelihood(engine, before, own)[1]
    assert not harness._likelihood(engine, before, [*own[:-1], own[-1] + 1])[1]


def test_a_text_longer_than_the_context_is_scored_to_its_end():
    with LlamaCppEngine(demo_gguf("Q8_0"), context=64) as short, LlamaCppEngine(demo_gguf("Q8_0")) as long:
        text = "The server reads the file and returns a list of its lines. " * 12
        in_parts, whole = harness._rolling(short, text), harness._rolling(long, text)
        tokens = len(long.tokenize(text))
        assert tokens > 100
        assert -math.log(long.vocabulary) * tokens < in_parts < 0
        assert in_parts < whole  # with less context the repetition surprises more
        before, after = long.tokenize("a " * 200), long.tokenize(" server")
        assert harness._likelihood(short, before, after)[0] < 0


def test_the_adapter_answers_from_the_engine_alone(engine):
    from lm_eval.api.instance import Instance

    told = []
    lm = harness.model(engine, lambda: told.append(1))
    asked = [("", "The server"), ("The PostgreSQL", " server"), ("The PostgreSQL ", "server")]
    requests = [Instance("loglikelihood", {}, args, i) for i, args in enumerate(asked)]
    empty, one, two = (value for value, _ in lm.loglikelihood(requests))
    assert one == pytest.approx(two)  # a space at the end of the context belongs to the next word
    assert empty < 0
    assert len(told) == 3
    text = lm.generate_until(
        [Instance("generate_until", {}, ("The PostgreSQL", {"until": "\n", "max_gen_toks": 4}), 0)]
    )
    assert text == [said(engine, "The PostgreSQL")[: len(text[0])]]


def test_named_tasks_are_read_from_a_list_with_commas(tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text("task: own")
    monkeypatch.chdir(tmp_path)
    assert harness.names("hellaswag, arc_easy,hellaswag") == ["hellaswag", "arc_easy"]
    assert harness.names("own.yaml") == [str(tmp_path / "own.yaml")]
    for wrong, error in ((" , ", UsageError), ("missing.yaml", NotFound)):
        with pytest.raises(error):
            harness.names(wrong)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotBuilt) as caught:
        harness.require()
    assert caught.value.remedy == "pip install 'lqmf[evaluate]'"
    assert isinstance(caught.value, LqmfError)
