"""What the formula says a quantization library writes is what the library wrote; its table is one the solver can use.

`measured_tensors.json` holds the tensors of small models before and after the real libraries quantized them, of which
the first layer, the first expert and the ends are kept (docs/measured/fit-formulas.md tells how).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.errors import UsageError
from lqmf.fit import formula
from lqmf.fit.needs import Needs
from lqmf.model_files.config import cache_bytes
from lqmf.model_files.safetensors_header import TensorShape

MEASURED = json.loads((Path(__file__).parent / "measured_tensors.json").read_text(encoding="utf-8"))
RULES = {
    "nf4": formula.bnb_4bit("nf4"),
    "nf4-double": formula.bnb_4bit("nf4", double=True),
    "fp4": formula.bnb_4bit("fp4"),
    "int8": formula.bnb_int8(),
    "gptq4-g128": formula.gptq(4, 128),
    "gptq3-g128": formula.gptq(3, 128),
    "gptq8-g128": formula.gptq(8, 128),
    "gptq2-g64": formula.gptq(2, 64),
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
GEMMA: dict[str, Any] = {
    "model_type": "gemma3_text",
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_hidden_layers": 34,
    "sliding_window": 1024,
    "vocab_size": 262208,
}
MIB = 1 << 20


def tensors(config: dict[str, Any], *, tied: bool = False) -> list[TensorShape]:
    """The checkpoint of a Llama of this configuration."""
    width, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (keys, width), "self_attn.v_proj": (keys, width)}
    shapes |= {"self_attn.o_proj": (width, width), "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width)}
    shapes |= {"mlp.down_proj": (width, inner)}
    found = [TensorShape("model.embed_tokens.weight", "BF16", (words, width))]
    for index in range(config["num_hidden_layers"]):
        stem = f"model.layers.{index}."
        found += [TensorShape(f"{stem}{name}.weight", "BF16", shape) for name, shape in shapes.items()]
        found += [
            TensorShape(f"{stem}{norm}_layernorm.weight", "BF16", (width,)) for norm in ("input", "post_attention")
        ]
    found.append(TensorShape("model.norm.weight", "BF16", (width,)))
    return found if tied else [*found, TensorShape("lm_head.weight", "BF16", (words, width))]


def shaped(rows: Iterable[tuple[str, str, list[int]]]) -> list[TensorShape]:
    return [TensorShape(name, dtype, tuple(shape)) for name, dtype, shape in rows]


def table(method: str = "bnb", *, config: dict[str, Any] = LLAMA, tied: bool = False) -> Needs:
    rules = {"gguf": {name: formula.gguf(name) for name in ("Q4_K_M", "IQ4_XS", "Q8_0")}}.get(method, RULES)
    return formula.needs(config, tensors(LLAMA, tied=tied), rules, method=method, contexts=(8192,), parallel=1)


@pytest.mark.parametrize("measured", MEASURED["saved"], ids=lambda case: f"{case['model']}-{case['kind']}")
def test_the_formula_gives_the_bytes_that_the_library_wrote(measured: dict[str, Any]) -> None:
    written = sum(tensor.size_bytes for tensor in shaped(measured["saved"]))
    rule = RULES[measured["kind"]]
    said = sum(rule.stored(tensor).bytes for tensor in shaped(MEASURED["sources"][measured["model"]]))
    assert said == pytest.approx(written, rel=0.01)


@pytest.mark.parametrize("kind", [kind for kind in RULES if kind.startswith("gptq")])
def test_gptq_is_exact_to_the_byte(kind: str) -> None:
    measured = next(case for case in MEASURED["saved"] if case["kind"] == kind)
    written = sum(tensor.size_bytes for tensor in shaped(measured["saved"]))
    assert sum(RULES[kind].stored(tensor).bytes for tensor in shaped(MEASURED["sources"]["demo"])) == written


@pytest.mark.parametrize(("type", "told_mib"), [("Q4_K_M", 4685.30), ("IQ4_XS", 4269.15), ("Q8_0", 8137.64)])
def test_gguf_sizes_by_nominal_bits_are_near_llama_cpps_own(type: str, told_mib: float) -> None:
    assert table("gguf").weights[type].file_bytes / MIB == pytest.approx(told_mib, rel=0.02)


def test_all_weights_are_counted_once_wherever_they_lie() -> None:
    for found in table().weights.values():
        assert found.on_gpu(0) == found.in_ram(99) == 0
        assert found.in_ram(0) == found.on_gpu(99) == found.file_bytes
    found = table("gguf", tied=True).weights["Q8_0"]
    assert found.tied
    assert found.in_ram(0) == pytest.approx(found.file_bytes, rel=1e-5)  # the last norm is counted with the head
    assert found.in_ram(99) + found.on_gpu(99) == found.file_bytes + found.input_bytes  # a card holds its own copy


def test_one_token_reads_a_part_of_the_experts() -> None:
    config = LLAMA | {"num_hidden_layers": 1, "num_experts": 4, "num_experts_per_tok": 1}
    expert = [TensorShape(f"model.layers.0.mlp.experts.{n}.up_proj.weight", "BF16", (64, 64)) for n in range(4)]
    words = TensorShape("model.embed_tokens.weight", "BF16", (8, 64))
    rules = {"f16": formula.plain("f16")}
    found = formula.needs(config, [*expert, words], rules, method="gguf", contexts=(512,), parallel=1).weights["f16"]
    assert found.read_bytes == 64 * 64 * 2 + 8 * 64 * 2
    assert found.layers == (4 * 64 * 64 * 2,)


def test_the_table_says_whose_arithmetic_it_is_and_that_buffers_are_estimated() -> None:
    found = table()
    assert (found.origin, found.method, found.trained_context) == ("formula", "bnb", 131072)
    assert found.notes == (formula.APPROXIMATE,)
    assert sum(found.layer_shares) == pytest.approx(1)
    assert found.cache_types == ("f16",)
    assert table("gguf").cache_types == ("f16", "q8_0", "q4_0")


@given(st.integers(2, 512))
def test_between_samples_the_cache_of_a_window_is_never_taken_for_less(cells: int) -> None:
    context = cells * 256
    rules = {"f16": formula.plain("f16")}
    found = formula.needs(GEMMA, tensors(LLAMA), rules, method="gguf", contexts=(8192,), parallel=1)
    for ubatch in found.ubatches:
        exact = cache_bytes(GEMMA, context, "f16", "f16", ubatch=ubatch)
        assert exact <= found.cache_bytes(context, "f16", "f16", ubatch) <= exact * 1.15


@pytest.mark.parametrize(
    ("vocabulary", "context", "ubatch", "told_mib"),
    [(32768, 8192, 512, 124.01), (32768, 32768, 512, 148.01), (32768, 8192, 128, 31.0), (128256, 8192, 512, 266.5)],
)
def test_buffers_are_what_libllama_reserves(vocabulary: int, context: int, ubatch: int, told_mib: float) -> None:
    config = LLAMA | {"vocab_size": vocabulary}  # Mistral 7B v0.3, and Llama 3.1 8B
    found = formula.needs(config, tensors(config), {}, method="gguf", contexts=(8192, 32768), parallel=1)
    assert found.compute_bytes(context, "f16", "f16", ubatch) / MIB == pytest.approx(told_mib, rel=0.01)


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="5-bit"):
        formula.gptq(5)
    with pytest.raises(UsageError, match="'f8'"):
        formula.plain("f8")
