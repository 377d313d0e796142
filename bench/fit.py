"""What was predicted of a model and what it really took: memory by kind, resident memory, tokens a second.

    python bench/fit.py [--sizes 0.1 0.5 1] [--types Q4_K_M Q8_0] [--models llama qwen2 qwen3moe] [--runs 3]

Synthetic models of three architectures, and the bundled demo. Predictions come as for a model that is not here:
`Backend.needs` reads a folder whose weights are holes. Measurements come from llama.cpp's log when the file is loaded,
and from the task that tests artifacts, in a worker; speeds are medians of several tests, and the rates that predict
them medians of several calibrations (`--calibrations`), taken just before each model: a machine that others use too may
be a third faster or slower some minutes later. The synthetic files hold random blocks in the types that llama.cpp
itself would choose; they and the folders are kept in the temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lqmf.errors import LqmfError
from lqmf.fit import speed
from lqmf.fit.calibration import Calibration, this_machine
from lqmf.fit.needs import Needs
from lqmf.hardware import detect
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files import gguf_types
from lqmf.model_files.gguf_header import GgufHeader, Tensor, read_header
from lqmf.model_files.tensor_types import TENSOR_TYPES
from lqmf.quantization.gguf import needs
from lqmf.quantization.gguf.converter import header, toolchain
from lqmf.quantization.gguf.mix import arithmetic
from lqmf.records import ModelRef, QuantizationPlan, Run, Task, from_json, to_json

DEMO = Path(__file__).resolve().parents[1] / "lqmf" / "assets" / "demo"
CONTEXT = 2048
LIMITS = {
    "weights": 0.01,
    "cache": 0.01,
    "compute": 0.01,
    "RSS": 0.05,
    "writing": 0.25,
    "reading": 0.25,
}  # as the acceptance has them
QUIET_PERCENT, PATIENCE_SECONDS = 15.0, 10.0  # of the processor in use before a measurement, which waits no longer
NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}


@dataclass(frozen=True)
class Dims:
    """`experts` of which `used` work at once; `inner` is one expert's."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    experts: int = 0
    used: int = 0


MODELS: Mapping[str, Mapping[str, Dims]] = {
    "llama": {
        "0.1": Dims(12, 768, 2048, 12, 4, 32000),
        "0.5": Dims(24, 1280, 3584, 20, 4, 32000),
        "1": Dims(22, 2048, 5632, 32, 4, 32000),
    },
    "qwen2": {  # the middle one is Qwen2.5 0.5B, whose rows no K-type fits
        "0.1": Dims(12, 768, 2304, 12, 2, 49152),
        "0.5": Dims(24, 896, 4864, 14, 2, 151936),
        "1": Dims(20, 1536, 6144, 12, 2, 151936),
    },
    "qwen3moe": {
        "0.1": Dims(8, 512, 256, 8, 4, 32000, 16, 4),
        "0.5": Dims(16, 1024, 512, 16, 4, 32000, 16, 4),
        "1": Dims(16, 1024, 512, 16, 4, 32000, 32, 4),
    },
}


@dataclass(frozen=True)
class Figures:
    """What was predicted or measured, in bytes and tokens a second."""

    weights: float
    cache: float
    compute: float
    rss: float
    writing: float
    reading: float


COLUMNS = {"weights": "weights", "cache": "cache", "compute": "compute", "RSS": "rss", "writing": "writing"}
COLUMNS |= {"reading": "reading"}


def main() -> int:
    if sys.argv[1:2] == ["--load"]:
        return load(Path(sys.argv[2]))
    options = parse()
    folder = options.work
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}\ncontext {CONTEXT}, cache f16, each prediction beside its measurement and the error of it\n")
    found = []
    for _title, models in groupby(list(files(options, folder)), key=itemgetter(0)):
        rates = calibrated(options.calibrations, folder)
        for model in models:
            predicted = predict(rates, model[2], model[1])
            found.append(show(model, predicted, measure(model[-1], options.runs, folder)))
    return summarize(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=["0.1", "0.5", "1"], choices=["0.1", "0.5", "1"])
    parser.add_argument("--types", nargs="*", default=["Q4_K_M", "Q8_0"])
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS), help="beside the demo")
    parser.add_argument("--runs", type=int, default=3, help="tests of each model")
    parser.add_argument("--calibrations", type=int, default=1, help="before each model, of which the median is taken")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lqmf-bench-fit")
    return parser.parse_args()


def files(options: argparse.Namespace, folder: Path) -> Iterator[Model]:
    """Every model."""
    tools = toolchain.ensure()
    known = needs.needs(DEMO, "demo", (CONTEXT,), 1, tools)
    for type in ("F16", *options.types):
        yield "demo", type, known, demo(type, folder)
    for name in options.models:
        for size in options.sizes:
            source = skeleton(name, MODELS[name][size], folder / f"{name}-{size}")
            known = needs.needs(source, source.name, (CONTEXT,), 1, tools)
            kept = header.make(source, source.name, tools, header.place(source, source.name, tools))
            for type in options.types:
                target = folder / f"{source.name}-{type}.gguf"
                if not target.exists():
                    with kept.extended() as bare:
                        fill(bare, type, target)
                yield f"{name} {size}B", type, known, target


# ---------------------------------------------------------------- predicted and measured


Model = tuple[str, str, Needs, Path]  # title, type, what it needs by prediction, the real file


def show(model: Model, predicted: Figures, measured: Figures) -> tuple[Figures, Figures]:
    """Print a line."""
    cells = [f"{model[0]:14} {model[1]:7}"]
    for label, name in COLUMNS.items():
        told, was = getattr(predicted, name), getattr(measured, name)
        unit, digits = (1, 0) if name in ("writing", "reading") else (1 << 20, 1)
        cells.append(f"{label} {told / unit:,.{digits}f}/{was / unit:,.{digits}f} {error(told, was):+.1%}")
    print("  ".join(cells), flush=True)
    return predicted, measured


def calibrated(count: int, folder: Path) -> Calibration:
    """The median of so many calibrations, figure by figure."""
    documents = [worker("calibrate", {}, folder)["calibration"] for _ in range(count)]

    def merged(values: Sequence[Any]) -> Any:
        if isinstance(values[0], dict):
            return {key: merged([value[key] for value in values]) for key in values[0]}
        return statistics.median(values) if isinstance(values[0], int | float) else values[0]

    return from_json(Calibration, merged(documents))


def predict(calibration: Calibration, known: Needs, type: str) -> Figures:
    weights, run = known.weights[type], Run(CONTEXT)
    pace = speed.pace(calibration, known, weights, run)
    if pace is None:
        raise SystemExit(f"a type of {dict(weights.read)} was not measured")
    sizes = ("f16", "f16", run.ubatch)
    cache, compute = known.cache_bytes(CONTEXT, *sizes), known.compute_bytes(CONTEXT, *sizes)
    rss = speed.peak_rss(calibration, known, weights, run)
    return Figures(weights.in_ram(0), cache, compute, rss, pace.generation, pace.prompt)


def measure(file: Path, runs: int, folder: Path) -> Figures:
    """What llama.cpp's log says of a real context, then `runs` tests, each in a worker of its own."""
    told = subprocess.run(
        [sys.executable, __file__, "--load", str(file)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    log = json.loads(told.stdout)
    params = {"artifact": str(file), "device": "cpu", "context": CONTEXT, "budget_seconds": 6.0}
    tests = [worker("probe", params, folder) for _ in range(runs)]
    return Figures(
        weights=sum(tensor.size_bytes for tensor in read_header(file).tensors),
        cache=log["cache"],
        compute=log["compute"],
        rss=statistics.median(test["peak_memory_bytes"]["rss"] for test in tests),
        writing=statistics.median(test["tokens_per_second"]["generation"] for test in tests),
        reading=statistics.median(test["tokens_per_second"]["prompt"] for test in tests),
    )


def worker(kind: str, params: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A task's result."""
    task = Task("bench", kind, params, str(folder / f"bench-{os.getpid()}.log"))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while psutil.cpu_percent(interval=1.0) > QUIET_PERCENT and time.monotonic() < deadline:
        pass  # others are at work
    for attempt in range(5):
        try:
            return asyncio.run(LocalRunner().run(task, lambda _event: None))
        except LqmfError as error:
            if attempt == 4 or kind != "calibrate":
                raise
            print(f"  (again: {error.message})", flush=True)
    raise AssertionError


def load(file: Path) -> int:
    """In a process of its own: load the file, run a prompt, and say what llama.cpp's log told of it."""
    from lqmf.engines.llama.engine import LlamaCppEngine
    from lqmf.engines.promise import Sampling

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("lqmf.llama.cpp").addHandler(handler)
    logging.getLogger("lqmf.llama.cpp").setLevel(logging.DEBUG)
    with LlamaCppEngine(file, context=CONTEXT) as engine:
        list(engine.generate([1] * 256, Sampling(max_tokens=2)))
    sizes = {"KV": 0.0, "compute": 0.0, "output": 0.0}
    for line in lines:
        if found := re.search(r"(KV|compute|output) buffer size = +([\d.]+) MiB", line):
            sizes[found[1]] += float(found[2]) * (1 << 20)
    print(json.dumps({"cache": sizes["KV"], "compute": sizes["compute"] + sizes["output"]}))
    return 0


def error(predicted: float, measured: float) -> float:
    return predicted / measured - 1 if measured else 0.0


def summarize(found: Sequence[tuple[Figures, Figures]]) -> int:
    """The worst error of each column against its limit. 1 when one is over."""
    good = True
    print("\nworst error")
    for label, name in COLUMNS.items():
        errors = [abs(error(getattr(p, name), getattr(m, name))) for p, m in found]
        limit = LIMITS.get(label)
        said = f"(at most {limit:.0%})" if limit else ""
        print(f"  {label:8} {max(errors):6.1%}, median {statistics.median(errors):.1%}  {said}")
        good &= limit is None or max(errors) <= limit
    return 0 if good else 1


# ---------------------------------------------------------------- the models


def demo(type: str, folder: Path) -> Path:
    """The bundled model, really converted and quantized."""
    target = folder / f"demo-{type}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            ref = ModelRef("local", "demo", path=str(DEMO))
            plan = QuantizationPlan("bench", ref, None, "gguf", 0, type, "gguf", "cpu")
            worker("quantize", {"plan": to_json(plan), "source": str(DEMO), "out": str(made), "work": scratch}, folder)
            made.rename(target)
    return next(target.glob("*.gguf"))


def skeleton(name: str, dims: Dims, folder: Path) -> Path:
    """A Hugging Face folder whose weights are a hole."""
    folder.mkdir(exist_ok=True)
    shutil.copy(DEMO / "tokenizer_config.json", folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(dims.vocabulary)))
    (folder / "config.json").write_text(json.dumps(config(name, dims)))
    described, end = {}, 0
    for tensor, shape in tensors(name, dims):
        size = 2 * prod(shape)
        described[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(described).encode()
    with (folder / "model.safetensors").open("wb") as weights:
        weights.write(struct.pack("<Q", len(head)) + head)
        weights.truncate(8 + len(head) + end)
    return folder


def tokenizer(vocabulary: int) -> dict[str, Any]:
    """The demo's, grown: more tokens, each merged from two that it has."""
    grown: dict[str, Any] = json.loads((DEMO / "tokenizer.json").read_text())
    known, merges = grown["model"]["vocab"], grown["model"]["merges"]
    words = [word for word in known if not word.startswith("<")]
    for first, second in product(words, words):
        if len(known) >= vocabulary:
            break
        if first + second not in known:
            known[first + second] = len(known)
            merges.append([first, second] if isinstance(merges[0], list) else f"{first} {second}")
    return grown


def config(name: str, dims: Dims) -> dict[str, Any]:
    architecture = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3moe": "Qwen3MoeForCausalLM"}[name]
    common = {
        "architectures": [architecture],
        "model_type": {"qwen3moe": "qwen3_moe"}.get(name, name),
        "hidden_size": dims.width,
        "intermediate_size": dims.inner,
        "num_hidden_layers": dims.layers,
        "num_attention_heads": dims.heads,
        "num_key_value_heads": dims.kv_heads,
        "head_dim": dims.width // dims.heads,
        "vocab_size": dims.vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": name == "qwen2",
        "eos_token_id": 0,
        "torch_dtype": "bfloat16",
    }
    if not dims.experts:
        return common
    sparse = {"num_experts": dims.experts, "num_experts_per_tok": dims.used, "moe_intermediate_size": dims.inner}
    return {**common, **sparse, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True}


def tensors(name: str, dims: Dims) -> Iterator[tuple[str, list[int]]]:
    """Name and shape of each, as transformers writes them."""
    width, head = dims.width, dims.width // dims.heads
    yield "model.embed_tokens.weight", [dims.vocabulary, width]
    yield "model.norm.weight", [width]
    if name != "qwen2":
        yield "lm_head.weight", [dims.vocabulary, width]
    rows = {"q": dims.heads * head, "k": dims.kv_heads * head, "v": dims.kv_heads * head, "o": width}
    for layer in range(dims.layers):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", [width]
        yield f"{at}.post_attention_layernorm.weight", [width]
        for part, size in rows.items():
            yield f"{at}.self_attn.{part}_proj.weight", [size, width]
            if name == "qwen2" and part != "o":
                yield f"{at}.self_attn.{part}_proj.bias", [size]
        if dims.experts:
            yield f"{at}.mlp.gate.weight", [dims.experts, width]
            yield f"{at}.self_attn.q_norm.weight", [head]
            yield f"{at}.self_attn.k_norm.weight", [head]
        for block in [f".experts.{number}" for number in range(dims.experts)] or [""]:
            yield f"{at}.mlp{block}.gate_proj.weight", [dims.inner, width]
            yield f"{at}.mlp{block}.up_proj.weight", [dims.inner, width]
            yield f"{at}.mlp{block}.down_proj.weight", [width, dims.inner]


# ---------------------------------------------------------------- files of random blocks


def fill(bare: Path, type: str, target: Path) -> None:
    """Write the GGUF that quantizing `bare` (16-bit, its weights a hole) to `type` would give, of random weights."""
    told = arithmetic.ask(bare, {type: gguf_types.LAYOUTS[type].ftype}, (arithmetic.Step("types"),), (), 1)
    shape = read_header(bare)
    kinds = {t.name: told.types[type].get(t.name, t.type).upper() for t in shape.tensors}
    head, blocks = bytearray(bare.read_bytes()[: shape.data_offset]), Blocks()
    fresh = target.with_suffix(".part")
    with fresh.open("wb") as file:
        file.seek(shape.data_offset)
        for tensor in shape.tensors:
            retype(head, shape, tensor, kinds[tensor.name], file.tell() - shape.data_offset)
            file.write(blocks.of(tensor, kinds[tensor.name]))
            file.write(bytes(-file.tell() % 32))
        file.seek(0)
        file.write(head)
    fresh.rename(target)


def retype(head: bytearray, shape: GgufHeader, tensor: Tensor, kind: str, offset: int) -> None:
    """Change a tensor's type and place in a header, where its name and shape stand."""
    name = tensor.name.encode()
    sizes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    described = struct.pack("<Q", len(name)) + name + sizes
    at = head.index(described) + len(described)
    head[at : at + 12] = struct.pack("<IQ", NUMBERS[kind], offset)


class Blocks:
    """Random rows, quantized once for each type and row length, and repeated."""

    ROWS = 64

    def __init__(self) -> None:
        import llama_cpp

        library = Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"
        self._quantize = ctypes.CDLL(str(library)).ggml_quantize_chunk
        self._quantize.restype = ctypes.c_size_t
        self._quantize.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_void_p]
        self._random = np.random.default_rng(0)
        self._known: dict[tuple[str, int], bytes] = {}

    def of(self, tensor: Tensor, kind: str) -> bytes:
        """A tensor's data: norms are ones, so that activations stay of ordinary size, and the rows of the first three
        tokens are zero, so that none of these, which may end an answer, is ever the likeliest."""
        if len(tensor.shape) == 1:
            return np.ones(tensor.elements, np.float32).tobytes()
        width, block = tensor.shape[0], TENSOR_TYPES[NUMBERS[kind]]
        size = tensor.elements // block.block * block.block_bytes
        rows = self._known.setdefault((kind, width), b"") or self._rows(kind, width)
        self._known[kind, width] = rows
        data = (rows * (size // len(rows) + 1))[:size]
        silent = 3 * size // (tensor.elements // width) if tensor.name in ("output.weight", "token_embd.weight") else 0
        return bytes(silent) + data[silent:]

    def _rows(self, kind: str, width: int) -> bytes:
        values = (self._random.standard_normal((self.ROWS, width)) / np.sqrt(width)).astype(np.float32)
        block = TENSOR_TYPES[NUMBERS[kind]]
        made = ctypes.create_string_buffer(values.size // block.block * block.block_bytes)
        self._quantize(NUMBERS[kind], values.ctypes.data, made, 0, self.ROWS, width, np.ones(width, "f4").ctypes.data)
        return made.raw


def machine() -> str:
    hardware = detect()
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("llama-cpp-python", "numpy"))
    memory = hardware.ram_total_bytes / 2**30
    return f"{platform.platform()}, {this_machine()}, {memory:.0f} GiB; Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    raise SystemExit(main())
