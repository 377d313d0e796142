"""Memory and disk of a GPTQ job, layer by layer, on two models that differ only in how deep they are.

    python bench/memory_gptq.py [--small 0.5] [--large 2] [--windows 8] [--out FILE.svg] [--gate]

Both are Llamas of random bfloat16 weights, made here, in shards as published models have them. The worker of a real job
is watched from outside: the resident memory of its process tree, and what its folder for the work takes on the disk
(finished layers lie there). What counts is how much more the large model needs at most, as a share of the bytes of
weights that it has more. Must: at most 0.25.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lqmf.events import Event, Progress, StageStarted
from lqmf.hub import metadata
from lqmf.hub.client import HubClient
from lqmf.jobs.runner import LocalRunner
from lqmf.quantization.registry import backend
from lqmf.records import ModelRef, QuantizationPlan, Task, to_json

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "lqmf" / "assets" / "demo"
GROWTH_MUST = 0.25
WIDTH, INNER, HEADS, KV_HEADS, WORDS = 3072, 8192, 24, 6, 32000
LAYER = 2 * WIDTH * WIDTH + 2 * WIDTH * WIDTH * KV_HEADS // HEADS + 3 * WIDTH * INNER
SHARD_BYTES = 1_000_000_000
EVERY_SECONDS = 0.05


@dataclass
class Run:
    """What one job took. `marks` are (seconds, what had just happened), `samples` (seconds, RSS, disk) in bytes."""

    weights_bytes: int
    layers: int
    seconds: float = 0.0
    result_bytes: int = 0
    marks: list[tuple[float, str]] = field(default_factory=list)
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max(rss for _, rss, _ in self.samples)

    @property
    def disk(self) -> int:
        return max(disk for _, _, disk in self.samples)


def main() -> int:
    options = parse()
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        runs = [measure(size, Path(place), options.windows) for size in (options.small, options.large)]
    for run in runs:
        show(run)
    small, large = runs
    growth = (large.peak - small.peak) / (large.weights_bytes - small.weights_bytes)
    print(f"\ngrowth of peak memory: {growth:.3f} of the added weights (must {GROWTH_MUST})")
    if options.out:
        options.out.write_text(drawing(runs), encoding="utf-8")
        print(f"curve: {options.out}")
    return 0 if growth <= GROWTH_MUST or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", type=float, default=0.5, help="billions of weights")
    parser.add_argument("--large", type=float, default=2.0)
    parser.add_argument("--windows", type=int, default=8, help="of calibration: memory for them is the same in both")
    parser.add_argument("--out", type=Path, help="where the curve goes, as SVG")
    parser.add_argument("--work", type=Path, help="where the models go (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when the must does not hold")
    return parser.parse_args()


def machine() -> str:
    names = ("torch", "transformers", "gptqmodel")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB; {versions}"


def measure(billions: float, place: Path, windows: int) -> Run:
    """Quantize a model of so many weights in a worker, watched."""
    source, out, work = place / "model", place / "out", place / "work"
    for folder in (source, out, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    run = Run(synthetic(billions, source), layers_of(billions))
    ref = ModelRef("local", "synthetic", path=str(source))
    plan = QuantizationPlan(
        "p", ref, None, "gptq", 4, "", "safetensors", "cpu", parameters={"windows": windows, "group_size": 128}
    )
    params = {"plan": to_json(plan), "source": str(source), "out": str(out), "work": str(work)}
    began, over = time.monotonic(), threading.Event()

    def hear(event: Event) -> None:
        match event:
            case StageStarted(stage=stage):
                run.marks.append((time.monotonic() - began, stage))
            case Progress(stage="quantize", done=done):
                run.marks.append((time.monotonic() - began, f"layer {done:.0f}"))
            case _:
                pass

    watcher = threading.Thread(target=watch, args=(run, work, began, over))
    watcher.start()
    try:
        asyncio.run(LocalRunner().run(Task("bench", "quantize", params, str(place / "job.log")), hear))
    finally:
        over.set()
        watcher.join()
    run.seconds = time.monotonic() - began
    run.result_bytes = bytes_in(out)
    estimate(run, source, plan)
    return run


def estimate(run: Run, source: Path, plan: QuantizationPlan) -> None:
    from lqmf import hardware

    info = asyncio.run(metadata.inspect(ModelRef("local", "synthetic", path=str(source)), hub=HubClient()))
    needs = backend("gptq").needs(info, source, (), 1)
    told = backend("gptq").estimate(info, plan, hardware.detect(), needs)
    print(
        f"estimated: {told.ram_peak_bytes / 1e6:,.0f} MB of memory, {told.disk_peak_bytes / 1e6:,.0f} MB of disk, "
        f"{told.size_bytes / 1e6:,.0f} MB of result, {told.seconds or 0:,.0f} s"
    )


def watch(run: Run, work: Path, began: float, over: threading.Event) -> None:
    me = psutil.Process()
    while not over.wait(EVERY_SECONDS):
        rss = 0
        for child in me.children(recursive=True):
            try:
                rss += child.memory_info().rss
            except psutil.Error:
                continue
        run.samples.append((time.monotonic() - began, rss, bytes_in(work)))


def bytes_in(folder: Path) -> int:
    """Bytes of the files in `folder`, while others write and remove them."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def show(run: Run) -> None:
    print(
        f"\n{run.weights_bytes / 1e9:.2f} GB of weights, {run.layers} layers: {run.seconds:.0f} s, "
        f"peak {run.peak / 1e6:,.0f} MB of memory, {run.disk / 1e6:,.0f} MB on the disk on the way, "
        f"{run.result_bytes / 1e6:,.0f} MB of result"
    )
    print(f"{'until':>12} {'seconds':>8} {'peak MB':>9} {'disk MB':>9}")
    ends = [at for at, _ in run.marks[1:]] + [run.seconds]
    for (since, name), until in zip(run.marks, ends, strict=True):
        inside = [sample for sample in run.samples if since <= sample[0] < until]
        if inside:
            rss, disk = max(s[1] for s in inside), max(s[2] for s in inside)
            print(f"{name:>12} {until:8.1f} {rss / 1e6:9,.0f} {disk / 1e6:9,.0f}")


def drawing(runs: list[Run]) -> str:
    """Memory (solid) and disk (dashed) over each job's own time, both jobs on one scale of bytes."""
    width, height, left = 800, 400, 60
    top = max(max(run.peak, run.disk) for run in runs)
    lines = []
    for run, colour in zip(runs, ("#4477aa", "#cc6677"), strict=True):
        for place, dash in ((1, ""), (2, ' stroke-dasharray="4 3"')):
            points = " ".join(
                f"{left + column},{height * (1 - most / top):.1f}"
                for column, most in most_by_column(run, place, width - left)
            )
            lines.append(f'<polyline fill="none" stroke="{colour}"{dash} points="{points}"/>')
        lines.append(f'<text x="{left + 10}" y="{20 + 20 * runs.index(run)}" fill="{colour}">{run.layers} layers, '
                     f"{run.weights_bytes / 1e9:.2f} GB of weights, {run.seconds:.0f} s</text>")  # fmt: skip
    axis = "".join(
        f'<text x="0" y="{height * (1 - part) + 4:.0f}">{top * part / 1e9:.1f} GB</text>'
        for part in (0.25, 0.5, 0.75, 1)
    )
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -10 {width} {height + 20}" font-family="sans-serif" '
        f'font-size="12">\n{axis}\n{body}\n</svg>\n'
    )


def most_by_column(run: Run, place: int, columns: int) -> list[tuple[int, int]]:
    """The largest of a job's samples in each column of the drawing."""
    most: dict[int, int] = {}
    for sample in run.samples:
        column = int(sample[0] / run.seconds * columns)
        most[column] = max(most.get(column, 0), sample[place])
    return sorted(most.items())


# ---------------------------------------------------------------- the models


def layers_of(billions: float) -> int:
    return max(1, round((billions * 1e9 - 2 * WORDS * WIDTH) / LAYER))


def synthetic(billions: float, folder: Path) -> int:
    """A Llama of random weights in `folder`, shard by shard; its bytes of weights."""
    import torch
    from safetensors.torch import save_file

    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": layers_of(billions), "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "vocab_size": WORDS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "bos_token_id": 0, "eos_token_id": 0, "dtype": "bfloat16", "hidden_act": "silu",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / name, folder / name)
    torch.manual_seed(0)
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    room = SHARD_BYTES
    for name, shape in tensors(layers_of(billions)):
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        if size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append((name, shape))
        room -= size
    names, total = {}, 0
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        made = {name: weight(shape) for name, shape in shard}
        names |= dict.fromkeys(made, file)
        total += sum(2 * one.numel() for one in made.values())
        save_file(made, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total


def weight(shape: tuple[int, ...]):
    import torch

    made = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * shape[1] ** -0.5
    return made.to(torch.bfloat16)


def tensors(layers: int) -> list[tuple[str, tuple[int, ...]]]:
    keys = WIDTH * KV_HEADS // HEADS
    found: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens.weight", (WORDS, WIDTH))]
    for layer in range(layers):
        place = f"model.layers.{layer}"
        found += [
            (f"{place}.input_layernorm.weight", (WIDTH,)),
            (f"{place}.post_attention_layernorm.weight", (WIDTH,)),
            (f"{place}.self_attn.q_proj.weight", (WIDTH, WIDTH)),
            (f"{place}.self_attn.k_proj.weight", (keys, WIDTH)),
            (f"{place}.self_attn.v_proj.weight", (keys, WIDTH)),
            (f"{place}.self_attn.o_proj.weight", (WIDTH, WIDTH)),
            (f"{place}.mlp.gate_proj.weight", (INNER, WIDTH)),
            (f"{place}.mlp.up_proj.weight", (INNER, WIDTH)),
            (f"{place}.mlp.down_proj.weight", (WIDTH, INNER)),
        ]
    return [*found, ("model.norm.weight", (WIDTH,)), ("lm_head.weight", (WORDS, WIDTH))]


if __name__ == "__main__":
    raise SystemExit(main())
