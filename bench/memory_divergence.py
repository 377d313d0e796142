"""Memory of the worker that compares a model of a billion weights with its source, at a vocabulary of 128,256.

    python bench/memory_divergence.py [--windows 4] [--work FOLDER] [--gate] [--out FILE.md]

The model has the form of Llama 3.2 1B and random weights; it is made here, as F16 and as Q4_K_M. What a model needs by
itself is the peak resident memory of a process that opens it and computes one window, less that of the process before,
and less the rows of logits that are handed out: weights, cache, buffers. Must, with `--gate`: the worker's peak, all of
it, stays below what both need plus 0.5 GB. The same with the models in turns, where the larger of them and the waiting
logits count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.ggml import library
from lqmf.hardware import cpu_name
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files.gguf_header import read_header
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quality.receipt.memory_plan import window_bytes
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.pipeline import Output
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN
from lqmf.texts.windows import cut, first_scored

WORDS, WIDTH, INNER, LAYERS, HEADS, KV_HEADS = 128_256, 2048, 8192, 16, 32, 8
TYPES = ("F16", "Q4_K_M")
WINDOW = 512
MORE_MUST_BYTES = 500_000_000
WAITING_WINDOWS = 2
EVERY_SECONDS = 0.01
lines: list[str] = []


@dataclass(frozen=True)
class Measured:
    """One comparison: the worker's peak, what the models (and logits that wait) need, and what it found."""

    name: str
    peak_bytes: int
    need_bytes: int
    kl: float

    @property
    def more_bytes(self) -> int:
        return self.peak_bytes - self.need_bytes


def main() -> int:
    options = parse()
    if options.alone:
        print(json.dumps(alone(options.alone)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        base, artifact = made(Path(place))
        needs = [need(file) for file in (base, artifact)]
        heading(base, artifact, needs)
        rows = [
            compared("side by side", sum(needs), base, artifact, options.windows),
            compared(
                "in turns",
                max(needs) + WAITING_WINDOWS * window_bytes(WINDOW, WORDS),
                base,
                artifact,
                options.windows,
                in_turns=True,
                memory_bytes=WAITING_WINDOWS * window_bytes(WINDOW, WORDS),
            ),
        ]
    show(rows)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all(each.more_bytes <= MORE_MUST_BYTES for each in rows) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--work", type=Path, help="where the models go, some 6 GB (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when the must does not hold")
    parser.add_argument("--out", type=Path, help="write what is printed here too")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)  # one model in a process of its own
    return parser.parse_args()


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


# ---------------------------------------------------------------- measuring


def alone(file: Path) -> int:
    """Bytes that one model needs in this process, to compute one window."""
    library.load()
    before = peak_rss_bytes()
    with LlamaCppEngine(file) as engine:
        window = cut(engine.tokenize(EVALUATION[MAIN].read_text(encoding="utf-8")[:20_000]), WINDOW)[0]
        (rows,) = engine.logits([window], first=first_scored(WINDOW))
        return peak_rss_bytes() - before - int(rows.nbytes)


def need(file: Path) -> int:
    done = subprocess.run(
        [sys.executable, __file__, "--alone", str(file)], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(json.loads(done.stdout.splitlines()[-1]))


def compared(name: str, need_bytes: int, base: Path, artifact: Path, windows: int, **more: Any) -> Measured:
    """One comparison by a worker, which is watched from outside."""
    params: Mapping[str, Any] = {
        "artifact": str(artifact), "base": str(base), "text": str(EVALUATION[MAIN]), "device": "cpu",
        "max_windows": windows, "in_turns": False, **more,
    }  # fmt: skip
    over, peaks = threading.Event(), [0]
    watcher = threading.Thread(target=watch, args=(over, peaks))
    watcher.start()
    try:
        task = Task("bench", "divergence", params, str(artifact.with_suffix(".log")))
        told = asyncio.run(LocalRunner().run(task, lambda event: None))
    finally:
        over.set()
        watcher.join()
    return Measured(name, max(peaks), need_bytes, told["kl_divergence"]["mean"])


def watch(over: threading.Event, peaks: list[int]) -> None:
    """The greatest resident memory (VmHWM) of each child, which only grows."""
    me = psutil.Process()
    while not over.wait(EVERY_SECONDS):
        for child in me.children(recursive=True):
            try:
                status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
            except OSError:
                continue
            peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]


def heading(base: Path, artifact: Path, needs: list[int]) -> None:
    header = read_header(base)
    say("# Memory of comparing a model with its source\n")
    say(
        f"Made by `bench/memory_divergence.py`: {header.parameters / 1e9:.2f} billion random weights, a vocabulary of "
        f"{WORDS:,}, windows of {WINDOW} tokens. {cpu_name()}, {library.threads()} threads, Python "
        f"{platform.python_version()}, llama-cpp-python {version('llama-cpp-python')}.\n"
    )
    for file, own in zip((base, artifact), needs, strict=True):
        say(f"- {read_header(file).type}: {file.stat().st_size / 1e9:.2f} GB of file; by itself {own / 1e9:.2f} GB")
    say(f"- one window's logits: {window_bytes(WINDOW, WORDS) / 1e9:.2f} GB of float32 from each model")


def show(rows: list[Measured]) -> None:
    say("\n| models | the worker's peak | they need | more | must | KL |")
    say("|---|---|---|---|---|---|")
    for each in rows:
        say(
            f"| {each.name} | {each.peak_bytes / 1e9:.2f} GB | {each.need_bytes / 1e9:.2f} GB | "
            f"{each.more_bytes / 1e9:.2f} GB | {MORE_MUST_BYTES / 1e9:.1f} GB | {each.kl:.4f} |"
        )
    say("\nIn turns the larger model counts, and the logits that wait; the interpreter counts as more in both.")


# ---------------------------------------------------------------- the model


def made(place: Path) -> list[Path]:
    """The model's GGUF files, of TYPES."""
    source = place / "synthetic"
    source.mkdir()
    synthetic(source)
    outputs = [Output(place / f"{name}.gguf", name) for name in TYPES]
    pipeline.stream(source, outputs, toolchain.ensure(), lambda event: None, scratch=place, name="synthetic")
    shutil.rmtree(source)
    return [output.path for output in outputs]


def synthetic(folder: Path) -> None:
    """A Llama of random bfloat16 weights with the demo's tokenizer; its further words are never read."""
    import torch
    from safetensors.torch import save_file

    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "vocab_size": WORDS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "bos_token_id": 0, "eos_token_id": 0, "dtype": "bfloat16", "hidden_act": "silu",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO_FOLDER / name, folder / name)
    torch.manual_seed(0)
    save_file({name: weight(shape) for name, shape in shapes().items()}, folder / "model.safetensors")


def weight(shape: tuple[int, ...]) -> Any:
    import torch

    made = torch.ones(shape) if len(shape) == 1 else torch.randn(shape, dtype=torch.float32) * shape[1] ** -0.5
    return made.to(torch.bfloat16)


def shapes() -> dict[str, tuple[int, ...]]:
    keys = WIDTH * KV_HEADS // HEADS
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        found |= {
            f"{place}.input_layernorm.weight": (WIDTH,),
            f"{place}.post_attention_layernorm.weight": (WIDTH,),
            f"{place}.self_attn.q_proj.weight": (WIDTH, WIDTH),
            f"{place}.self_attn.k_proj.weight": (keys, WIDTH),
            f"{place}.self_attn.v_proj.weight": (keys, WIDTH),
            f"{place}.self_attn.o_proj.weight": (WIDTH, WIDTH),
            f"{place}.mlp.gate_proj.weight": (INNER, WIDTH),
            f"{place}.mlp.up_proj.weight": (INNER, WIDTH),
            f"{place}.mlp.down_proj.weight": (WIDTH, INNER),
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
