"""What a model needs is known before its weights are: the same to the byte as what is made of it and what it takes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pytest

from lqmf import workspace
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.engines.promise import Sampling
from lqmf.errors import LqmfError, ModelError, UsageError, WorkerDied
from lqmf.fit.needs import CACHE_TYPES, Needs
from lqmf.model_files import gguf_types
from lqmf.model_files.gguf_header import GgufHeader, Tensor, read_header
from lqmf.quantization.gguf import needs
from lqmf.quantization.gguf.backend import GgufBackend
from lqmf.quantization.gguf.converter import header, toolchain
from lqmf.quantization.gguf.mix import arithmetic
from lqmf.quantization.gguf.mix.arithmetic import Answers, Cache, State, Step, Told
from lqmf.records import Hardware, ModelInfo, ModelRef, QuantizationPlan
from tests.fixtures_gguf import demo_gguf
from tests.kinds import by_kind
from tests.quantization import models, official
from tests.quantization.bases import make_base
from tests.quantization.models import FAMILIES, Family

pytestmark = pytest.mark.slow

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
TOOLS = toolchain.ensure()
WINDOWED = {**FAMILIES["gemma3"].config, "num_hidden_layers": 6, "sliding_window": 128, "max_position_embeddings": 2048}
MIXTURE = {
    **FAMILIES["llama"].config, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 256, "decoder_sparse_step": 1,
}  # fmt: skip
MADE = {
    "llama": FAMILIES["llama"],
    "gpt2, small heads": replace(FAMILIES["gpt2"], config={**FAMILIES["gpt2"].config, "n_head": 16}),
    "falcon": FAMILIES["falcon"],
    "gemma3, windowed": replace(FAMILIES["gemma3"], config=WINDOWED),
    "mixture of experts": Family("qwen3-moe", MIXTURE, "qwen2"),
}
CHECKED = ("Q4_K_M", "IQ4_XS", "Q8_0")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own, but for the tools, which would be downloaded again."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("cache")
        for kept in ("toolchain", "pretokenizers"):
            (workspace.cache_dir() / kept).mkdir(parents=True, exist_ok=True)
            (place / kept).symlink_to(workspace.cache_dir() / kept)
        patch.setenv(workspace.CACHE_VARIABLE, str(place))
        yield place


def skeleton(folder: Path, target: Path) -> Path:
    """A copy whose weights are holes."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    for weights in folder.glob("*.safetensors"):
        with weights.open("rb") as source, (target / weights.name).open("wb") as holes:
            start = source.read(8)
            holes.write(start + source.read(int.from_bytes(start, "little")))
            holes.truncate(weights.stat().st_size)
    return target


@dataclass(frozen=True)
class Case:
    """A model, what it was said to need when its weights were holes, and the half-float file really made of it."""

    folder: Path
    found: Needs
    base: Path


@pytest.fixture(scope="module", params=by_kind(("demo", *MADE), set(MADE) - {"llama", "falcon"} | {"demo"}))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    work = tmp_path_factory.mktemp("case")
    folder = DEMO if request.param == "demo" else models.build(MADE[request.param], work / "model")
    found = needs.needs(skeleton(folder, work / "holes"), "m", (300,), 1, TOOLS)
    base = make_base(folder, work, lambda _event: None, name="m").path
    return Case(folder, found, base)


@pytest.fixture(scope="module")
def demo() -> Needs:
    return needs.needs(DEMO, "m", (300,), 1, TOOLS)


# ---------------------------------------------------------------- the files


def test_each_file_has_the_size_that_was_said_and_each_part_its_bytes(case: Case, tmp_path: Path) -> None:
    assert case.base.stat().st_size == case.found.weights["F16"].file_bytes
    for type in CHECKED:
        made, said = tmp_path / type, case.found.weights[type]
        official.quantized(case.base, made, gguf_types.LAYOUTS[type].ftype)
        assert made.stat().st_size == said.file_bytes
        tensors = {tensor.name: tensor.size_bytes for tensor in read_header(made).tensors}
        head = tensors["token_embd.weight"] if said.tied else 0
        assert said.input_bytes + sum(said.layers) + said.output_bytes - head == sum(tensors.values())
        assert sum(size for name, size in tensors.items() if name.startswith("blk.1.")) == said.layers[1]
        assert said.tied is ("output.weight" not in tensors)


def test_a_token_reads_the_layers_and_the_head_and_of_experts_those_it_uses(case: Case, tmp_path: Path) -> None:
    """Two of four experts, where there are any; of the embedding one row, unless it is the head too."""
    official.quantized(case.base, tmp_path / "m", gguf_types.LAYOUTS["Q4_K_M"].ftype)
    said = case.found.weights["Q4_K_M"]
    parts = ("blk.", "output", "token_embd.") if said.tied else ("blk.", "output")
    read = dict.fromkeys(said.read, 0)
    for tensor in read_header(tmp_path / "m").tensors:
        if tensor.name.startswith(parts):
            kind = tensor.type.lower().replace("_k", "_K")
            read[kind] += tensor.size_bytes // 2 if "_exps." in tensor.name else tensor.size_bytes
    assert said.read == read


def test_every_type_is_known_those_too_that_want_an_importance_matrix(demo: Needs) -> None:
    assert set(demo.weights) == set(gguf_types.TYPES)
    order = [demo.weights[type].file_bytes for type in ("IQ1_S", "IQ2_M", "Q4_K_M", "Q8_0", "F16", "F32")]
    assert order == sorted(order)


# ---------------------------------------------------------------- the memory


def measured(file: Path, context: int, cache_type: str, batch: int, caplog: pytest.LogCaptureFixture) -> Told:
    """What llama.cpp says of a context of the engine's, made to write text."""
    caplog.clear()
    with (
        caplog.at_level(logging.DEBUG, "lqmf.llama.cpp"),
        LlamaCppEngine(file, context=context, k_type=cache_type, v_type=cache_type, batch=batch) as engine,
    ):
        list(engine.generate("The", Sampling(max_tokens=2)))
    log = "\n".join(record.getMessage() for record in caplog.records)
    return arithmetic.read(Step("contexts", cache_type, batch), context, log)


@pytest.mark.parametrize(("cache_type", "batch"), [("f16", 512), ("q8_0", 128), ("q4_0", 512)])
def test_a_context_takes_what_was_said(
    case: Case, cache_type: str, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Cache, buffers and operations, of the quantized file in the engine: within 1 %, or what the log rounds off."""
    if cache_type not in case.found.cache_types:
        pytest.skip("this model's heads do not fit the blocks of that cache")
    file = case.base.with_name("m-Q4_K_M.gguf")
    if not file.exists():
        official.quantized(case.base, file, gguf_types.LAYOUTS["Q4_K_M"].ftype)
    assert case.found.trained_context is not None
    for context in (300, case.found.trained_context):
        real = measured(file, context, cache_type, batch, caplog)
        said = next(
            s for s in case.found.samples if (s.context, s.cache_type, s.ubatch) == (context, cache_type, batch)
        )
        assert real.caches
        close(said.k_bytes, sum(cache.k_mib for cache in real.caches), len(real.caches))
        close(said.v_bytes, sum(cache.v_mib for cache in real.caches), len(real.caches))
        close(said.compute_bytes, real.compute_mib)
        close(said.output_bytes, real.output_mib)
    if cache_type == "f16":
        assert real.nodes == case.found.nodes


def close(said: int, mib: float, terms: int = 1) -> None:
    assert said / 2**20 == pytest.approx(mib, rel=0.01, abs=0.0051 * terms)


def test_small_caches_are_exact_where_the_log_rounds(demo: Needs) -> None:
    """8 layers, 2 heads of 64 for keys and as many for values, two bytes each; 512 tokens."""
    sample = next(s for s in demo.samples if (s.context, s.cache_type, s.ubatch) == (300, "q8_0", 512))
    assert (sample.k_bytes, sample.v_bytes) == (8 * 2 * 64 * 34 // 32 * 512,) * 2
    assert sample.output_bytes == 4 * 4096


def test_several_chats_have_a_cache_each(demo: Needs) -> None:
    several = needs.needs(DEMO, "m", (300,), 4, TOOLS)
    one, four = demo.cache_bytes(300, "f16", "f16", 512), several.cache_bytes(300, "f16", "f16", 512)
    assert (several.parallel, four) == (4, 4 * one)


def test_layers_with_a_window_have_a_smaller_share_of_a_long_context(case: Case) -> None:
    assert len(case.found.layer_shares) == len(case.found.weights["F16"].layers)
    assert sum(case.found.layer_shares) == pytest.approx(1)
    config = json.loads((case.folder / "config.json").read_text(encoding="utf-8"))
    windowed = [kind == "sliding_attention" for kind in config.get("layer_types") or ()]
    if any(windowed) and config["sliding_window"] < config["max_position_embeddings"]:
        assert [share < 1 / 6 for share in case.found.layer_shares] == windowed
    else:
        assert len(set(case.found.layer_shares)) == 1


def test_a_cache_type_that_does_not_fit_the_heads_is_left_out_and_said(case: Case) -> None:
    config = json.loads((case.folder / "config.json").read_text(encoding="utf-8"))
    refused = [note for note in case.found.refusals if "refuses" in note]
    if config.get("n_head") == 16:
        assert case.found.cache_types == ("f16",)
        assert [name for name in CACHE_TYPES if any(f"a {name} cache" in note for note in refused)] == ["q8_0", "q4_0"]
    else:
        assert (case.found.cache_types, refused) == (CACHE_TYPES, [])


# ---------------------------------------------------------------- without weights, once


def test_holes_stand_for_weights(case: Case, tmp_path: Path) -> None:
    """All that is said in this module was said of holes; a real folder is answered from the same place."""
    assert header.place(skeleton(case.folder, tmp_path / "m"), "m", TOOLS) == header.place(case.folder, "m", TOOLS)


class Started:
    """Counts the processes that are started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.modules: list[str] = []
        real = subprocess.Popen

        def counted(command: list[str], **options: Any) -> Any:
            self.modules.append(command[2].rpartition(".")[2])
            return real(command, **options)

        monkeypatch.setattr("lqmf.child_process.subprocess.Popen", counted)


def test_what_was_answered_once_starts_no_process_again(demo: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(monkeypatch)
    assert needs.needs(DEMO, "m", (300, 512), 1, TOOLS) == demo
    assert started.modules == []


def test_another_context_asks_libllama_only_and_keeps_those_before(
    demo: Needs, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(monkeypatch)
    assert needs.needs(DEMO, "m", (400,), 1, TOOLS).contexts == (300, 400, 512, 1024, 2048)
    assert started.modules == ["arithmetic"]


def test_a_spoilt_table_is_made_again(demo: Needs) -> None:
    table = header.place(DEMO, "m", TOOLS) / "1.json"
    table.write_text(table.read_text(encoding="utf-8")[:1000], encoding="utf-8")
    assert needs.needs(DEMO, "m", (300,), 1, TOOLS).weights == demo.weights


def test_without_its_tokenizer_a_model_still_has_sizes(demo: Needs, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(DEMO, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")))
    found = needs.needs(bare, "m", (300,), 1, TOOLS)
    assert (needs.tokenizer(found)[0], needs.tokenizer(demo)[0]) == ("unknown", "matched")
    assert any("vocabulary" in note for note in found.notes)
    assert found.weights["Q4_K_M"].layers == demo.weights["Q4_K_M"].layers
    assert found.weights["Q4_K_M"].file_bytes < demo.weights["Q4_K_M"].file_bytes
    assert [s for s in found.samples if s.context == 512] == [s for s in demo.samples if s.context == 512]


def test_a_tokenizer_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    odd = Path(shutil.copytree(DEMO, tmp_path / "odd"))
    (odd / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert needs.tokenizer(needs.needs(odd, "m", (), 1, TOOLS))[0] == "unknown"


# ---------------------------------------------------------------- when llama.cpp fails


def ask(file: Path, steps: list[Step], contexts: list[int]) -> Answers:
    return arithmetic.ask(file, {"Q8_0": 7}, steps, contexts, 1)


def signalled(monkeypatch: pytest.MonkeyPatch, place: int, number: signal.Signals) -> None:
    """The child gets this signal as soon as it says that it is at that step."""
    hear = Answers.hear

    def struck(answers: Answers, message: dict[str, Any]) -> None:
        hear(answers, message)
        if message.get("doing") == place:
            monkeypatch.setattr(Answers, "hear", hear)
            for process in psutil.Process().children():
                process.send_signal(number)

    monkeypatch.setattr(Answers, "hear", struck)


def test_a_step_that_kills_libllama_is_left_out_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [512 + 256 * n for n in range(100)]
    signalled(monkeypatch, 2, signal.SIGABRT)
    caches = [Step("contexts", name) for name in ("q4_0", "f16", "q8_0")]
    answers = ask(demo_gguf("F16"), [Step("types"), *caches], many)
    assert set(answers.types) == {"Q8_0"}
    assert [told.context for told in answers.told if told.step.cache_type == "q8_0"] == many
    assert any("f16 cache" in note for note in answers.notes)


def test_a_child_that_the_system_kills_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    signalled(monkeypatch, 0, signal.SIGKILL)
    with pytest.raises(WorkerDied) as error:
        ask(demo_gguf("F16"), [Step("types"), Step("contexts")], [512])
    assert error.value.remedy


def edited(key: str, value: int, target: Path) -> Path:
    """The demo's file with one number in its metadata changed."""
    data = bytearray(demo_gguf("F16").read_bytes())
    at = data.index(key.encode()) + len(key) + 4
    data[at : at + 4] = value.to_bytes(4, "little")
    target.write_bytes(data)
    return target


def test_a_file_that_makes_libllama_abort_ends_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied):
        ask(edited("llama.block_count", 0, tmp_path / "bad.gguf"), [Step("types"), Step("contexts")], [512])


def test_a_model_that_libllama_does_not_load_has_types_and_a_note(tmp_path: Path) -> None:
    answers = ask(
        edited("llama.attention.head_count", 3, tmp_path / "bad.gguf"), [Step("types"), Step("contexts")], [512]
    )
    assert (set(answers.types), answers.told) == ({"Q8_0"}, [])
    assert any("wrong shape" in note for note in answers.notes)


@pytest.mark.parametrize("content", [b"", b"GGUF", os.urandom(4096), b"GGUF" + os.urandom(4096)])
def test_what_is_no_gguf_ends_in_an_error(content: bytes, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content)
    with pytest.raises((ModelError, WorkerDied)) as error:
        ask(bad, [Step("types"), Step("contexts")], [512])
    assert error.value.remedy


def test_an_architecture_that_the_converter_does_not_know_is_an_error(tmp_path: Path) -> None:
    unknown = Path(shutil.copytree(DEMO, tmp_path / "unknown"))
    (unknown / "config.json").write_text('{"architectures": ["HalForCausalLM"]}', encoding="utf-8")
    with pytest.raises(LqmfError, match="HalForCausalLM"):
        needs.needs(unknown, "m", (), 1, TOOLS)


# ---------------------------------------------------------------- reading the answers


@pytest.mark.parametrize(
    ("trained", "contexts"),
    [
        (None, [512 << n for n in range(9)]),
        (300, [300]),
        (2048, [512, 1024, 2048]),
        (5000, [512, 1024, 2048, 4096, 5000]),
        (262144, [*(512 << n for n in range(9)), 262144]),
        (10485760, [512 << n for n in range(9)]),
    ],
)
def test_contexts_are_sampled_in_powers_of_two_up_to_what_the_model_knows(
    trained: int | None, contexts: list[int]
) -> None:
    assert needs.usual_contexts(trained) == contexts


def test_a_context_beyond_all_reason_is_left_to_the_line(demo: Needs, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp would take gigabytes of cells for it, and again whenever another context is asked for."""
    monkeypatch.setattr(arithmetic, "ask", None)
    again = needs.needs(DEMO, "m", (10**9,), 1, TOOLS)
    assert again == demo
    keys = {at: again.cache_bytes(at, "f16", "f16", 512) for at in (1024, 2048, 10**9)}
    assert keys[10**9] == pytest.approx(keys[2048] / 2048 * 10**9)
    assert max(needs.usual_contexts(131072, (1 << 22) // 256)) == 16384


def test_more_chats_than_llama_cpp_has_are_refused_with_their_number() -> None:
    with pytest.raises(UsageError, match="256 chats"):
        needs.needs(DEMO, "m", (), 257, TOOLS)


def test_a_batch_that_one_cache_type_was_not_sampled_with_is_left_out(demo: Needs) -> None:
    """As where libllama dies of it."""
    samples = tuple(s for s in demo.samples if (s.cache_type, s.ubatch) != ("q4_0", 128))
    assert replace(demo, samples=samples).ubatches == (512,)


def shape(*tensors: Tensor) -> GgufHeader:
    return GgufHeader("m.gguf", 3, {"general.architecture": "llama"}, tensors, 1024, 1024)


def test_the_log_s_own_figures_stand_where_the_finer_scale_contradicts_them() -> None:
    step = Step("contexts", "f16", 512)
    told = Told(step, 512, (Cache(512, 3.0, 2.0, (0,)),), (State(0.5, (0,)),), 1.0, 0.02, 9)
    fine = Told(Step("scale", "f16"), 256, (Cache(16384, 1.0, 64.0, (0,)),), (State(32.0, (0,)),), 1.0, 9.0, 9)
    layer = Tensor("blk.0.x.weight", (32, 32), "F16", 2048, 0)
    sample = needs.read_answers(shape(layer), Answers(told=[fine, told]), 1).samples[0]
    assert (sample.k_bytes, sample.v_bytes, sample.state_bytes) == (3 << 20, 2 << 20, 1 << 19)
    assert sample.output_bytes == round(0.02 * 2**20)


def test_types_that_would_quantize_anew_what_is_quantized_already_are_left_out() -> None:
    """As llama.cpp refuses to."""
    packed = Tensor("blk.0.ffn_up_exps.weight", (32, 32), "MXFP4", 544, 0)
    answers = Answers(types={"Q8_0": {packed.name: "q8_0"}, "MXFP4_MOE": {}})
    found = needs.read_answers(shape(packed), answers, 1)
    assert set(found.weights) == {"MXFP4_MOE", "F16", "BF16", "F32"}
    assert "already" in found.notes[0]


def test_an_estimate_takes_its_sizes_from_the_needs(demo: Needs) -> None:
    plan = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu", base="F16")
    model = ModelInfo(plan.model, None, "LlamaForCausalLM", "llama", {}, (), 14_000_000)
    made = GgufBackend().estimate(model, plan, Hardware("cpu", 2, 8 << 30, 8 << 30), demo)
    sizes = [demo.weights[type].file_bytes for type in ("Q4_K_M", "F16")]
    assert (made.size_bytes, made.disk_peak_bytes) == (sizes[0], sum(sizes))
