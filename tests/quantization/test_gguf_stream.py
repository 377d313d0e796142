"""A stream writes what the official converter followed by llama-quantize writes, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel, UsageError
from lqmf.events import Event, Progress
from lqmf.model_files.gguf_header import read_header
from lqmf.model_files.gguf_types import LAYOUTS
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.pipeline import Output, Streamed
from tests.kinds import by_kind
from tests.quantization import models, stream_peer
from tests.quantization.models import FAMILIES, Family

pytestmark = pytest.mark.slow  # the converter runs, or models are made

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
TYPES = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "Q3_K_M", "Q2_K", "IQ4_XS", "IQ3_S")
PLAIN = ("Q4_K_M", "Q2_K", "IQ4_XS", "F16", "BF16", "F32")  # made without an importance matrix too
FEW = ("Q4_K_M", "Q2_K", "IQ3_XXS")  # the last only with an importance matrix

_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
MIXTURE = Family("qwen3-moe", {**FAMILIES["qwen3"].config, "model_type": "qwen3_moe", **_EXPERTS}, "qwen2")
# tied heads: llama-bpe, qwen3, gemma2, gpt2; a mixture; fused, split, permuted and transposed matrices
ARCHITECTURES = (
    *(FAMILIES[name] for name in ("llama", "llama-bpe", "qwen3", "gemma2", "phi3", "gpt2", "gpt-neox", "falcon")),
    MIXTURE,
)
KINDS = {"llama", "gemma2", "phi3", "gpt2", "qwen3-moe"}  # which stand for the others


def streamed(source: Path, outputs: list[Output], scratch: Path, name: str, **options: Any) -> Streamed:
    scratch.mkdir(parents=True, exist_ok=True)
    emit = options.pop("emit", lambda _event: None)
    return pipeline.stream(source, outputs, toolchain.ensure(), emit, scratch=scratch, name=name, **options)


def random_model(family: Family, folder: Path, tokenizer: Path, **saving: Any) -> Path:
    """A small model of `family` with random bfloat16 weights, as a download would look."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(tokenizer, folder)
    settings = {**family.config, "num_hidden_layers": 2, "n_layer": 2}
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder, **saving)
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each tokenizer that the architectures need, in a folder of its own."""
    root, made = tmp_path_factory.mktemp("tokenizers"), {}
    for kind in {family.tokenizer for family in ARCHITECTURES}:
        made[kind] = root / kind
        made[kind].mkdir()
        models._TOKENIZERS[kind](made[kind])
    return made


def assert_same(ours: Path, theirs: Path) -> None:
    """Keys but for LQMF's, in order; tensors' names, types and places; and every byte that follows."""
    assert stream_peer.shown(read_header(ours)) == stream_peer.shown(read_header(theirs))
    assert stream_peer.data(ours) == stream_peer.data(theirs)


# ---------------------------------------------------------------- the demo model, all types


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The official F16 and an importance matrix for it; the demo streamed to everything, with and without that."""
    folder = tmp_path_factory.mktemp("demo")
    found = stream_peer.converted({"demo": (DEMO, "gpt-2")}, folder)
    matrix = stream_peer.invented_imatrix(found["demo"], folder / "demo.imatrix.gguf")
    ours = [Output(folder / f"{type}.gguf", type, metadata={"lqmf.test": True}) for type in TYPES]
    plain = [Output(folder / f"plain-{type}.gguf", type) for type in PLAIN]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(streamed, DEMO, ours, folder / "scratch-a", "demo", imatrix=matrix),
            pool.submit(streamed, DEMO, plain, folder / "scratch-b", "demo"),
        ]
        assert [job.result().kept_tensors for job in jobs] == [0, 0]
    return {"folder": folder, "f16": found["demo"], "imatrix": matrix}


@pytest.mark.parametrize("type", TYPES)
def test_every_type_of_the_demo_is_what_the_official_tools_write(
    demo: Mapping[str, Path], tmp_path: Path, type: str
) -> None:
    with_matrix = stream_peer.quantized(demo["f16"], tmp_path / "a.gguf", LAYOUTS[type].ftype, demo["imatrix"])
    assert_same(demo["folder"] / f"{type}.gguf", with_matrix)
    if type in PLAIN:
        without = stream_peer.quantized(demo["f16"], tmp_path / "b.gguf", LAYOUTS[type].ftype)
        assert (demo["folder"] / f"plain-{type}.gguf").read_bytes() == without.read_bytes()


def test_the_importance_matrix_decides_bytes_and_is_named(demo: Mapping[str, Path]) -> None:
    ours, plain = demo["folder"] / "Q4_K_M.gguf", demo["folder"] / "plain-Q4_K_M.gguf"
    assert stream_peer.data(ours) != stream_peer.data(plain)
    said = read_header(ours).metadata
    assert said["quantize.imatrix.file"] == "demo.imatrix.gguf"
    assert said["quantize.imatrix.dataset"] == stream_peer.DATASET
    assert said["quantize.imatrix.chunks_count"] == stream_peer.CHUNKS
    assert said["lqmf.test"] is True


@pytest.mark.parametrize("type", ["F16", "BF16", "F32"])
def test_unquantized_files_are_the_converters_own(demo: Mapping[str, Path], tmp_path: Path, type: str) -> None:
    if type == "F16":
        theirs = demo["f16"]
    else:
        theirs = stream_peer.converted({"demo": (DEMO, "gpt-2")}, tmp_path, type.lower())["demo"]
    assert (demo["folder"] / f"plain-{type}.gguf").read_bytes() == theirs.read_bytes()


def test_nothing_is_left_beside_whole_files(demo: Mapping[str, Path]) -> None:
    assert not [path for path in demo["folder"].rglob("*") if ".part" in path.name or path.name.endswith(".journal")]


# ---------------------------------------------------------------- many architectures


@pytest.fixture(scope="module")
def architectures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizers: Mapping[str, Path]
) -> Mapping[str, Path]:
    """Every architecture that a test asks for streamed without and with an importance matrix, and its official F16
    file."""
    folder = tmp_path_factory.mktemp("architectures")
    test = test_every_architecture_is_what_the_official_tools_write
    asked = {item.callspec.params["name"] for item in request.session.items if getattr(item, "function", None) is test}
    sources = {
        family.name: random_model(family, folder / family.name, tokenizers[family.tokenizer])
        for family in ARCHITECTURES
        if family.name in asked
    }

    def plain(name: str) -> tuple[Path, str]:
        target = folder / f"{name}-plain.gguf"
        streamed(sources[name], [Output(target, "Q4_K_M")], folder / f"scratch-{name}", name)
        return sources[name], str(read_header(target).metadata.get("tokenizer.ggml.pre", ""))

    with ThreadPoolExecutor(2) as pool:
        told = dict(zip(sources, pool.map(plain, sources), strict=True))
        found = stream_peer.converted(told, folder)
        for name, path in found.items():
            stream_peer.invented_imatrix(path, folder / f"{name}.imatrix")

        def weighted(name: str) -> None:
            outputs = [Output(folder / f"{name}-{type}.gguf", type) for type in FEW]
            matrix = folder / f"{name}.imatrix"
            streamed(sources[name], outputs, folder / f"scratch-{name}", name, imatrix=matrix)

        list(pool.map(weighted, sources))
    return {"folder": folder}


@pytest.mark.parametrize("name", by_kind([family.name for family in ARCHITECTURES], KINDS))
def test_every_architecture_is_what_the_official_tools_write(
    architectures: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    folder = architectures["folder"]
    f16, matrix = folder / f"{name}-f16.gguf", folder / f"{name}.imatrix"
    plain = stream_peer.quantized(f16, tmp_path / "plain.gguf", LAYOUTS["Q4_K_M"].ftype)
    assert (folder / f"{name}-plain.gguf").read_bytes() == plain.read_bytes()
    for type in FEW:
        theirs = stream_peer.quantized(f16, tmp_path / f"{type}.gguf", LAYOUTS[type].ftype, matrix)
        assert (folder / f"{name}-{type}.gguf").read_bytes() == theirs.read_bytes()


# ---------------------------------------------------------------- maps, progress, refusals


def test_a_map_decides_each_tensors_type(tmp_path: Path) -> None:
    """Over a type's own choice, and by itself; what it does not name stays as the converter writes it."""
    types = {"blk.0.attn_q.weight": "q8_0", "blk.0.ffn_down.weight": "iq4_xs", "token_embd.weight": "q5_K"}
    outputs = [Output(tmp_path / "over.gguf", "Q4_K_M", types), Output(tmp_path / "auto.gguf", "auto", types)]
    seen: list[Event] = []
    streamed(DEMO, outputs, tmp_path / "scratch", "demo", emit=seen.append)
    over, auto = ({t.name: t.type for t in read_header(output.path).tensors} for output in outputs)
    for found in (over, auto):
        assert {name: found[name] for name in types} == {name: kind.upper() for name, kind in types.items()}
    assert over["blk.1.ffn_up.weight"] == "Q4_K"
    assert auto["blk.1.ffn_up.weight"] == "F16"
    steps = [event for event in seen if isinstance(event, Progress)]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == weights_bytes(DEMO)


def weights_bytes(folder: Path) -> int:
    """The weights in a folder's one safetensors file, without its header."""
    data = (folder / "model.safetensors").read_bytes()
    return len(data) - 8 - int.from_bytes(data[:8], "little")


@pytest.mark.parametrize(
    ("type", "types", "error", "says"),
    [
        ("IQ2_XS", None, UnsupportedModel, "importance matrix"),
        ("auto", {"blk.99.ffn_up.weight": "q4_K"}, UsageError, "no tensor called blk.99"),
        ("auto", {"blk.0.ffn_up.weight": "q4_Z"}, UsageError, "no tensor type called 'q4_Z'"),
        ("auto", {"blk.0.ffn_up.weight": "iq2_xxs"}, UnsupportedModel, "importance matrix"),
        ("auto", None, UsageError, "map of types"),
        ("Q9_K", None, UsageError, "no type called"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    tmp_path: Path, type: str, types: Mapping[str, str] | None, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        streamed(DEMO, [Output(tmp_path / "out" / "x.gguf", type, types)], tmp_path / "scratch", "demo")
    assert not list(tmp_path.rglob("*.gguf*"))


def test_one_pass_makes_files_with_and_without_the_importance_matrix(demo: Mapping[str, Path], tmp_path: Path) -> None:
    outputs = [Output(tmp_path / "with.gguf", "Q2_K"), Output(tmp_path / "without.gguf", "Q2_K", weighted=False)]
    streamed(DEMO, outputs, tmp_path / "scratch", "demo", imatrix=demo["imatrix"])
    assert stream_peer.data(outputs[0].path) == stream_peer.data(demo["folder"] / "Q2_K.gguf")
    assert outputs[1].path.read_bytes() == (demo["folder"] / "plain-Q2_K.gguf").read_bytes()
