"""The model card: the Hub reads its header, people read the rest, and no name from outside takes effect in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqmf.artifacts.card.markdown import bar, fence, plain, text
from lqmf.artifacts.card.model_card import model_card
from lqmf.artifacts.card.prose import Prose
from lqmf.records import Artifact, Check, Divergence, FileEntry, Manifest, ModelRef, Receipt
from lqmf.units import memory_size

ARTIFACT = Artifact(
    "org_model_gguf_4bit_Q4_K_M", "/home/someone/quantized-models/x", "gguf", 4, "Q4_K_M", 4_372_812_000,
    14_484_000_000, 3.3123, "org/model", "2026-11-22T05:41:38+00:00",
)  # fmt: skip
MANIFEST = Manifest(
    format_version=1, name=ARTIFACT.name, model=ModelRef("hub", "org/model"), commit="c0ffee", source_sha256={},
    plan={"choices": [{"name": "bits", "value": 4, "reason": "fits | 8 GB", "source": "rules"}]},
    files=(FileEntry("model-Q4_K_M.gguf", 4_372_812_000, "ab12"), FileEntry("README.md", 1, "cd", False)),
    versions={"lqmf": "0.1.0", "llama-cpp-python": "0.3.36"}, created_at=ARTIFACT.created_at,
    source_size_bytes=14_484_000_000,
)  # fmt: skip
RECEIPT = Receipt(
    base={"perplexity": 8.1, "engine": "llama.cpp"}, perplexity=8.25,
    kl_divergence=Divergence(0.00234, 0.00002, 0.001, 0.01, 0.05, 1.0), top1_agreement=0.9641, tokens_evaluated=30720,
    window_tokens=512, text={"name": "evaluation", "sha256": "00"},
    tokens_per_second={"prompt": 3000.0, "generation": 1020.0},
    peak_memory_bytes={"rss": 5_000_000_000, "gpu": None}, load_seconds=1.5, bits_per_weight=4.83,
    measured_on={"cpu": "a CPU", "gpu": None, "engine": "llama.cpp"}, reasons={"latency_seconds": "no time | left"},
)  # fmt: skip


DOMAINS = {
    "documentation": {
        "perplexity": 8.25, "base": {"perplexity": 8.1}, "top1_agreement": 0.9641,
        "kl_divergence": {"mean": 0.002, "standard_error": 0.0001, "p99": 0.05},
    },
    "code": {
        "perplexity": 4.1, "base": {"perplexity": 4.05}, "top1_agreement": 0.95,
        "kl_divergence": {"mean": 0.004, "standard_error": 0.0001, "p99": 0.08},
    },
    "dialogue": {"perplexity": None, "base": None, "kl_divergence": None, "reason": "it has no chat | template"},
}  # fmt: skip


def read(card: str) -> Any:
    from huggingface_hub import ModelCard

    return ModelCard(card, ignore_metadata_errors=False)


def test_the_hub_reads_the_header() -> None:
    card = read(model_card(ARTIFACT, dataclasses.replace(MANIFEST, license="apache-2.0"), RECEIPT))
    results = {one.metric_type: (one.metric_value, one.dataset_args) for one in card.data.eval_results}
    assert results == {
        "perplexity": (8.25, {"sha256": "00"}),
        "kl_divergence": (0.00234, {"sha256": "00"}),
        "kl_divergence_p99": (0.05, {"sha256": "00"}),
        "top1_agreement": (0.9641, {"sha256": "00"}),
    }
    told = card.data.to_dict()
    assert told.pop("model-index")[0]["name"] == ARTIFACT.name
    assert told == {
        "base_model": "org/model",
        "base_model_relation": "quantized",
        "license": "apache-2.0",
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "quantized_by": "LQMF",
        "tags": ["gguf", "llama.cpp", "quantized", "lqmf", "Q4_K_M"],
    }


def test_a_matrix_and_what_it_was_collected_from_are_named() -> None:
    told = {"text": "LQMF's calibration texts", "windows": 24}
    card = model_card(ARTIFACT, dataclasses.replace(MANIFEST, imatrix=told), RECEIPT)
    assert "| Importance matrix | from LQMF's calibration texts, 24 windows |" in card
    assert "Importance matrix" not in model_card(ARTIFACT, MANIFEST, RECEIPT)


def test_a_reader_finds_facts_measures_and_commands() -> None:
    card = model_card(ARTIFACT, MANIFEST, RECEIPT)
    for expected in (
        "# org_model_gguf_4bit_Q4_K_M\n",
        "[org/model](https://huggingface.co/org/model)",
        "| Bits per weight | 4.83 |",
        "| Size | 4.4 GB, from 14.5 GB, 3.31 times smaller |",
        "| Source commit | c0ffee |",
        "| Made with | lqmf 0.1.0, llama-cpp-python 0.3.36 |",
        "| Perplexity | 8.250 | the source has 8.100 |",
        "| KL divergence | 0.00234 | ± 0.000020 nats a token; 99 % are below 0.0500 |",
        "| Same top choice | 96.4 % | of tokens, against the source |",
        "| Writing | 1,020 tokens/s | llama.cpp |",
        "| Reading | 3,000 tokens/s |  |",
        "Not measured: first token (no time \\| left).",
        f"| Peak memory | {memory_size(5_000_000_000)} |  |",
        "Measured over 30,720 tokens of evaluation, in windows of 512, on a CPU, llama.cpp.",
        "llama-server -m ./model-Q4_K_M.gguf -c 4096\n",
        "ollama run org_model_gguf_4bit_q4_k_m",
        "lms import ./model-Q4_K_M.gguf",
        "lqmf test org_model_gguf_4bit_Q4_K_M",
        "| bits | 4 |",
        "| model-Q4_K_M.gguf | 4.4 GB | ab12 |",
    ):
        assert expected in card
    assert "/home/someone" not in card
    assert "README" not in card


def test_what_was_not_measured_says_so() -> None:
    for nothing in (None, Receipt(reasons={"*": "not measured yet"})):
        card = model_card(ARTIFACT, MANIFEST, nothing)
        assert "It was not measured. `lqmf test` measures it." in card
        assert "not measured yet" not in card.split("## Limits")[0]
    card = model_card(ARTIFACT, MANIFEST, Receipt(load_seconds=1.5, reasons={"perplexity": "the text is too short"}))
    assert "| Loading | 1.5 s |  |" in card
    assert "Not measured: perplexity (the text is too short)." in card


def test_a_card_tells_nothing_of_the_machine_that_the_plan_was_made_for() -> None:
    left = "It takes 4.1 GB of memory; 13.7 GB are left."
    choices = [
        {"name": "type", "value": "Q4_K_M", "reason": left},
        {"name": "memory", "value": "4.1 GB", "reason": left},
        {"name": "device", "value": "cpu", "reason": "there is no GPU here"},
    ]
    run = {"device": "cpu", "context": 8192, "parallel": 4, "k_type": "q8_0", "v_type": "q8_0", "gpu_layers": 0}
    card = model_card(ARTIFACT, dataclasses.replace(MANIFEST, plan={"choices": choices}, run=run), RECEIPT)
    assert "| type | Q4_K_M |" in card
    assert "llama-server -m ./model-Q4_K_M.gguf -c 8192\n" in card
    for told in ("are left", "4.1 GB", "no GPU here", "-ngl", "-ctk", "-np", "NUM_PARALLEL"):
        assert told not in card, told


def test_a_card_names_the_programs_that_run_what_it_describes() -> None:
    bnb = dataclasses.replace(ARTIFACT, method="bnb", type="int8")
    gptq = dataclasses.replace(ARTIFACT, method="gptq", type="")
    reads = Receipt(similarity={"embedding_cosine": {"mean": 0.99, "min": 0.9, "texts": 3}})
    answers = Receipt(sequence_loss={"artifact": 2.0, "source": 1.9, "change": 0.1})
    assert "AutoModel.from_pretrained" in model_card(bnb, MANIFEST, reads)
    assert "AutoModelForSeq2SeqLM" in model_card(bnb, MANIFEST, answers)
    assert "llama-embedding -m" in model_card(ARTIFACT, MANIFEST, reads)
    for receipt in (reads, answers):
        assert "llama-cli" not in model_card(ARTIFACT, MANIFEST, receipt)
    assert "GPTQModel.load" in model_card(gptq, dataclasses.replace(MANIFEST, model_type="phi3"), RECEIPT)
    assert "GPTQModel.load" not in model_card(gptq, dataclasses.replace(MANIFEST, model_type="llama"), RECEIPT)


def test_other_methods_and_local_models_are_described_as_they_are() -> None:
    bnb = dataclasses.replace(ARTIFACT, method="bnb", type="nf4")
    local = dataclasses.replace(MANIFEST, model=ModelRef("local", "mine", path="/home/someone/mine"))
    card = model_card(bnb, local, None)
    data = read(card).data.to_dict()
    assert "base_model" not in data
    assert data["library_name"] == "transformers"
    assert "llama-cli" not in card
    assert 'folder = "./org_model_gguf_4bit_Q4_K_M"' in card
    assert "mine, a local model" in card
    assert "/home/someone" not in card


HOSTILE = (
    "x\n---\nlicense: mit\n---\n# owned",
    'a" \ntags: [evil]\n#',
    "<script>alert(1)</script>",
    "[click](https://evil.example) ![i](https://evil.example/p.png)",
    "a | b\n| --- | c",
    "\x1b[31mred\x07\u202egnp.exe",
    "`rm -rf ~`; $(reboot) ' && ls",
    "```\n# out of the fence\n```",
    "https://evil.example www.evil.example **loud** __init__ &lt; $x$",
    "- !!python/object/apply:os.system ['id']",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(name: str) -> None:
    artifact = dataclasses.replace(ARTIFACT, name=name, type=name)
    manifest = dataclasses.replace(
        MANIFEST, model=ModelRef("hub", name), commit=name, versions={name: name},
        plan={"choices": [{"name": name, "value": name, "reason": name}]}, files=(FileEntry(name + ".gguf", 1, name),),
        license=name,
    )  # fmt: skip
    card = model_card(artifact, manifest, dataclasses.replace(RECEIPT, reasons={"latency_seconds": name}))
    data = read(card).data.to_dict()
    licence = {"license", "license_name"} if plain(name) else set()
    assert set(data) == {*licence, "library_name", "pipeline_tag", "quantized_by", "tags", "model-index"}
    assert data["license"] == "other"
    assert [line for line in card.splitlines() if line.startswith("# ")] == [f"# {text(name)}"]
    assert not any(c in card for c in "\x1b\x07\u202e")
    outside = card.split("## How to run it")[0].split("---\n", 2)[2] + card.split("## How it was made")[1]
    for live in ("<script>", "](https", "](http", "`rm", "**", "://evil"):
        assert live not in outside.replace("\\" + live[0], "")
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3, 4}


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_name_gives_a_header_that_holds_it(name: str) -> None:
    data = read(model_card(dataclasses.replace(ARTIFACT, type=name), MANIFEST, None)).data.to_dict()
    assert data["tags"] == list(
        dict.fromkeys(["gguf", "llama.cpp", "quantized", "lqmf", *([plain(name)] if name else [])])
    )


def test_a_fence_outlasts_the_code_in_it() -> None:
    assert fence("sh", "echo '````'").startswith("`````sh\n")


def test_kinds_of_text_gate_and_checks_are_told_of_with_bars() -> None:
    receipt = dataclasses.replace(
        RECEIPT,
        domains=DOMAINS,
        gate={"passed": False, "reasons": ["KL is 0.3."], "limits": {"kl_mean": 0.12, "top1": 0.9}},
        checks=(Check("loads", True), Check("no_loops", False, "it | repeats")),
    )
    card = model_card(ARTIFACT, dataclasses.replace(MANIFEST, tensors={"a": "Q4_K", "b": "Q4_K", "c": "F32"}), receipt)
    for expected in (
        f"| documentation | 0.00200 | {'█' * 12} | 96.4 % | 8.250 | 8.100 |",
        f"| code | 0.00400 | {'█' * 24} | 95.0 % | 4.100 | 4.050 |",
        "| dialogue | it has no chat \\| template |  |  | - | - |",
        "**It does not keep within the bounds set for its bits "
        "(KL divergence at most 0.12, same top choice at least 90%):** KL is 0.3.",
        "| no loops | **failed** | it \\| repeats |",
        "It did not pass this check: no loops.",
        "| Types of the tensors | 2 Q4_K, 1 F32 |",
        f"| the source | 14.5 GB | {'█' * 24} |",
        f"| this one | 4.4 GB | {bar(4_372_812_000, 14_484_000_000)} |",
    ):
        assert expected in card


def test_a_bar_is_as_long_as_its_share_to_an_eighth_of_a_character() -> None:
    assert bar(1, 1) == "█" * 24
    assert bar(0.5, 1) == "█" * 12
    assert bar(0, 1) == bar(1, 0) == "▏"
    assert bar(1, 48) == "▌"


def test_sentences_in_other_words_take_the_place_of_the_records_own() -> None:
    card = model_card(ARTIFACT, MANIFEST, RECEIPT, words=Prose("Small and *good*.", "It errs."))
    assert "made by LQMF (Local Quantized Model Factory). Small and \\*good\\*.\n" in card
    assert "## Limits\n\nIt errs.\n" in card
    assert "| Perplexity | 8.250 | the source has 8.100 |" in card
