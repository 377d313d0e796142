"""What is said before weights are fetched: each obstacle in its own words, each with a way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import DoesNotFit, LqmfError, NotBuilt, ToolchainError, UnsupportedModel
from lqmf.fit.solver import Solution
from lqmf.hub.published import PublishedGguf
from lqmf.model_files.template_check import Template
from lqmf.planning.preflight import Facts, Finding, Preflight, Tokenizer, examine
from lqmf.records import (
    Candidate,
    Estimate,
    Footprint,
    Hardware,
    Loss,
    ModelInfo,
    ModelRef,
    QuantizationPlan,
    Run,
    Speed,
    Verdict,
)

GIB = 1 << 30
INFO = ModelInfo(
    ref=ModelRef("hub", "org/Model-7B"),
    commit="c" * 40,
    architecture="MistralForCausalLM",
    model_type="mistral",
    config={"architectures": ["MistralForCausalLM"]},
    files=(),
    weights_bytes=14_500_000_000,
    parameters=7_248_000_000,
    dtype="BF16",
    has_chat_template=True,
    license="apache-2.0",
)
PLAN = QuantizationPlan(
    id="p",
    model=INFO.ref,
    commit=INFO.commit,
    method="gguf",
    bits=4,
    type="Q4_K_M",
    format="gguf",
    device="cpu",
    estimate=Estimate(4_370_000_000, 33_400_000_000, 2 * GIB, 754.0, 14_500_000_000),
)
VERDICTS = {
    "gguf": Verdict("yes", "llama.cpp knows MistralForCausalLM."),
    "gptq": Verdict("no", "This version cannot quantize with GPTQ yet.", "Take gguf: `--method gguf`."),
}


def candidate(type: str = "Q4_K_M", gpu_layers: int = 0, speed: Speed | None = None, **run: Any) -> Candidate:
    weights, cache = 4_080 << 20, 512 << 20
    memory = (
        Footprint(300 << 20, 0, 20 << 20, 150 << 20, weights, cache, 200 << 20, 512 << 20)
        if gpu_layers
        else Footprint(weights, cache, 200 << 20, 150 << 20)
    )
    how = Run(**{"context": 8192, "k_type": "q8_0", "v_type": "q8_0", "gpu_layers": gpu_layers, **run})
    loss = Loss(0.0123, "a table")
    return Candidate("gguf", type, 4, how, 4_370_000_000, memory, loss, 4_200_000_000, speed)


def solution(*best: Candidate, least: Candidate | None = None, ways_out: tuple[str, ...] = ()) -> Solution:
    return Solution(
        recommended=best[0] if best else None,
        why=("The least loss that fits.",) if best else (),
        pareto=best,
        best=best,
        ways_out=ways_out,
        least=least,
    )


GOOD = Facts(
    info=INFO,
    hardware=Hardware("a processor", 8, 32 * GIB, 24 * GIB),
    tokenizer=Tokenizer("known", "llama.cpp knows it"),
    template=Template("renders", "it renders a dialogue"),
    verdicts=VERDICTS,
    download_bytes=14_500_000_000,
    disk_free_bytes=80_000_000_000,
    place=Path("/home/somebody/.lqmf"),
    published=(),
    plan=PLAN,
    solution=solution(candidate()),
)


def of(found: Preflight, name: str) -> Finding:
    return next(finding for finding in found.findings if finding.name == name)


def test_a_model_that_can_be_done_says_so_in_the_order_in_which_one_asks() -> None:
    found = examine(GOOD)
    assert found.possible
    assert [(finding.name, finding.answer, finding.detail) for finding in found.findings] == [
        ("access", "yes", "open to everybody"),
        ("licence", "yes", "apache-2.0"),
        ("weights", "yes", "7.25 billion parameters, BF16, 14.5 GB"),
        ("architecture", "yes", "MistralForCausalLM: decoder"),
        ("method", "yes", "gguf: llama.cpp knows MistralForCausalLM."),
        ("tokenizer", "yes", "llama.cpp knows it"),
        ("chat template", "yes", "it renders a dialogue"),
        ("published", "yes", "nobody has a GGUF that names it as its base"),
        ("download", "yes", "14.5 GB"),
        ("disk", "yes", "33.4 GB on the way, 18.9 GB at the end; 80.0 GB are free in /home/somebody/.lqmf"),
        ("memory", "yes", "2.0 GB of RAM to quantize; 24.0 GB of 32.0 GB are free"),
        ("time", "yes", "about 12 min 34 s to quantize, plus downloading and testing"),
        ("fit", "yes", "Q4_K_M with 8,192 tokens of context: 4.8 GB of memory"),
    ]


def hub(**changes: Any) -> Facts:
    """A model that no plan could be made of, for a reason in its metadata."""
    refused = UnsupportedModel("It cannot be.", "Take another.")
    return replace(GOOD, info=replace(INFO, **changes), plan=None, solution=None, fit_error=refused)


NO = Verdict("no", "llama.cpp does not know the architecture HalForCausalLM.", "Try another method.")
UNABLE: dict[str, tuple[Facts, str, str, str]] = {
    "gated": (hub(access="gated"), "access", "no token with access", "https://huggingface.co/org/Model-7B"),
    "private": (hub(access="private"), "access", "private", "lqmf hf login"),
    "pickled": (hub(weights_format="pickle"), "weights", "can run code", "safetensors"),
    "without weights": (hub(weights_format="none"), "weights", "there are none", "safetensors"),
    "an unsupported architecture": (
        replace(hub(architecture="HalForCausalLM"), verdicts={"gguf": NO}),
        "method",
        "HalForCausalLM",
        "another method",
    ),
    "an unknown tokenizer": (
        replace(GOOD, tokenizer=Tokenizer("unknown", "llama.cpp splits text in no way like it")),
        "tokenizer",
        "no way like it",
        "another method",
    ),
    "without a tokenizer": (
        replace(hub(has_tokenizer=False), tokenizer=Tokenizer("none", "there is none")),
        "tokenizer",
        "there is none",
        "tokenizer",
    ),
    "too large for the disk": (replace(GOOD, disk_free_bytes=33_000_000_000), "disk", "33.0 GB are free", "lqmf disk"),
    "too large to quantize": (
        replace(GOOD, hardware=Hardware("c", 2, GIB, GIB // 2)),
        "memory",
        "2.0 GB of RAM",
        "more memory",
    ),
    "nothing fits": (
        replace(GOOD, solution=solution(least=candidate("Q2_K"), ways_out=("Say `--context 4096`.",))),
        "fit",
        "even Q2_K with 8,192 tokens of context needs 4.8 GB",
        "--context 4096",
    ),
    "nothing fits, and no plan": (
        replace(GOOD, plan=None, solution=None, fit_error=DoesNotFit("It needs 40 GB.", "`--memory 48GB`")),
        "fit",
        "40 GB",
        "48GB",
    ),
    "a method not built": (
        replace(GOOD, plan=None, solution=None, fit_error=NotBuilt("No GPTQ yet.", "Say `with gguf`.")),
        "plan",
        "No GPTQ",
        "with gguf",
    ),
}


@pytest.mark.parametrize("case", UNABLE)
def test_each_obstacle_has_its_own_words_and_a_way_out_and_is_said_once(case: str) -> None:
    facts, name, says, remedy = UNABLE[case]
    found = examine(facts)
    assert not found.possible
    assert [finding.name for finding in found.findings if finding.answer == "no"] == [name]
    assert says in of(found, name).detail
    assert remedy in of(found, name).remedy


@pytest.mark.parametrize(
    ("facts", "name", "answer", "says"),
    [
        (replace(GOOD, info=replace(INFO, parameters=7_345_664)), "weights", "yes", "7.35 million parameters, BF16"),
        (replace(GOOD, info=replace(INFO, parameters=None, dtype=None)), "weights", "yes", "safetensors, 14.5 GB"),
        (replace(GOOD, info=replace(INFO, access="granted")), "access", "yes", "your token"),
        (replace(GOOD, info=replace(INFO, license=None)), "licence", "unknown", "none"),
        (replace(GOOD, info=replace(INFO, license="cc-by-nc-4.0")), "licence", "but", "commercial"),
        (replace(GOOD, tokenizer=Tokenizer("matched", "as gpt-2 on 3,919 lines")), "tokenizer", "yes", "3,919"),
        (replace(GOOD, tokenizer=Tokenizer("unchecked", "not readable")), "tokenizer", "unknown", "readable"),
        (replace(GOOD, template=Template("none")), "chat template", "but", "continues a text"),
        (replace(GOOD, template=Template("fails", "It fails: x")), "chat template", "but", "x"),
        (replace(GOOD, template=Template("unknown", "not readable")), "chat template", "unknown", "readable"),
        (replace(GOOD, published=None), "published", "unknown", "not asked"),
        (replace(GOOD, published=(PublishedGguf("a/B-GGUF", 12345, 7),)), "published", "yes", "a/B-GGUF (12,345"),
        (replace(GOOD, present=Path("/hf/models"), download_bytes=0), "on this machine", "yes", "/hf/models"),
        (replace(GOOD, present=Path("/hf/models"), download_bytes=0), "download", "yes", "nothing"),
        (replace(GOOD, download_bytes=5_000_000_000), "download", "yes", "the rest is here"),
        (replace(GOOD, hardware=Hardware("c", 2, 4 * GIB, GIB)), "memory", "but", "1.0 GB of 4.0 GB"),
        (replace(GOOD, plan=replace(PLAN, keep_16bit=True)), "disk", "yes", "33.4 GB on the way, 33.4 GB at the end"),
        (replace(GOOD, plan=replace(PLAN, discard_source=True)), "disk", "yes", "4.4 GB at the end"),
        (
            replace(GOOD, solution=solution(candidate(gpu_layers=33))),
            "fit",
            "yes",
            "5.2 GB on the GPU and 470 MB of RAM",
        ),
        (replace(GOOD, solution=solution(candidate(parallel=4))), "fit", "yes", "for each of 4 chats"),
    ],
)
def test_what_is_no_obstacle_is_said_and_stops_nothing(facts: Facts, name: str, answer: str, says: str) -> None:
    found = examine(facts)
    assert found.possible
    assert of(found, name).answer == answer
    assert says in of(found, name).detail


def test_a_fit_that_could_not_be_computed_is_unknown_and_no_obstacle() -> None:
    broken: LqmfError = ToolchainError("The converter is not here.", "`lqmf doctor --fix`")
    found = examine(replace(GOOD, plan=None, solution=None, fit_error=broken))
    assert found.possible
    assert of(found, "plan") == Finding("plan", "unknown", "The converter is not here.", "`lqmf doctor --fix`")


def test_free_disk_counts_what_is_still_to_be_downloaded_whoever_made_the_estimate() -> None:
    alone = replace(PLAN, estimate=Estimate(4_370_000_000, 18_900_000_000, 2 * GIB, 754.0))
    assert of(examine(replace(GOOD, plan=alone)), "disk") == of(examine(GOOD), "disk")


def test_a_folder_on_this_machine_has_no_access_and_is_published_nowhere() -> None:
    found = examine(replace(GOOD, info=replace(INFO, ref=ModelRef("local", "m", path="/my models/m"))))
    assert found.model == "/my models/m"
    assert not {"access", "published"} & {finding.name for finding in found.findings}


def test_a_folder_with_several_obstacles_names_them_all() -> None:
    facts = replace(hub(access="gated", weights_format="pickle"), disk_free_bytes=0)
    assert [f.name for f in examine(facts).findings if f.answer == "no"] == ["access", "weights"]
