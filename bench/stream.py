"""Time, memory and disk of one pass from safetensors to a K-quant, against the official converter and llama-quantize.

    python bench/stream.py [--size 1] [--type Q4_K_M] [--runs 3] [--command] [--flat]

The model is a Llama of that many billion random bfloat16 weights in four shards, made here. Both routes read the same
files, alternate, and are watched from outside: wall time, the highest sum of resident memory over the process tree
(imports and all), the most disk that the route's folders take, and bytes written. The peer is the converter as a
script, then `llama-quantize` as `bench/peers.sh` builds it, or else libllama's own function in a bare process.
Musts: time at most 0.75 of the peer's (aim 0.65), disk at most 1.02 of the result, memory at most the peer's.
`--command` measures the whole of `lqmf quantize` too, program and worker, without a receipt and with one.
`--flat` measures LQMF alone at half, one and two billion weights: its memory must not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.metadata
import os
import platform
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from lqmf import workspace
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "lqmf" / "assets" / "demo"
TIME_MUST, TIME_AIM, DISK_MUST, MEMORY_MUST = 0.75, 0.65, 1.02, 1.0
GROWTH_MUST = 1.05  # of LQMF's memory, from half a billion weights to two
PRE = "gpt-2"  # the demo's pre-tokenizer, which the official converter does not recognize by itself


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float  # of the whole tree: steadier than wall time on a machine that others use
    rss_bytes: int
    disk_bytes: int
    written_bytes: int
    output_bytes: int


def main() -> int:
    parts = {"--lqmf": lqmf, "--converter": converter, "--library": library}
    if sys.argv[1:2] and sys.argv[1] in parts:
        return parts[sys.argv[1]](*sys.argv[2:])
    options = parse()
    toolchain.ensure()
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        good = flat(options.type, Path(folder)) if options.flat else compare(options, Path(folder))
    return 0 if good or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1.0, help="billions of weights")
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--command", action="store_true", help="the whole command too, with the receipt off and on")
    parser.add_argument("--flat", action="store_true", help="LQMF's memory at 0.5, 1 and 2 billion weights")
    parser.add_argument("--work", type=Path, default=None, help="where the files go (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a must does not hold")
    return parser.parse_args()


def compare(options: argparse.Namespace, folder: Path) -> bool:
    """Print both routes' medians and the ratios; whether every must holds."""
    source = synthetic(options.size, folder / "synthetic")
    read_once(source)
    costs: dict[str, list[Cost]] = {"lqmf": [], "peer": []}
    for run in range(options.runs):
        for route in ("lqmf", "peer") if run % 2 else ("peer", "lqmf"):
            costs[route].append(once(route, source, options.type, folder / "run"))
    size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    print(
        f"\nsynthetic {options.size:g}B ({size / 1e9:.2f} GB) -> {options.type}, {options.runs} runs each, alternating"
    )
    print(f"peer: converter, then {'llama-quantize' if llama_quantize() else 'llama_model_quantize in a bare process'}")
    ours, theirs = (median(route, found) for route, found in costs.items())
    for test in ("none", "quick") if options.command else ():
        cost = median(f"receipt {test}", [whole(source, options.type, test, folder / "run")])
        seconds, memory = cost.seconds / theirs.seconds, cost.rss_bytes / theirs.rss_bytes
        print(f"  {'':10} time ratio {seconds:.3f}   memory {memory:.3f}")
    return judge(ours, theirs)


def whole(source: Path, type: str, test: str, folder: Path) -> Cost:
    """`lqmf quantize` in a new workspace: the program and its worker, all that they load and write counted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [sys.executable, "-m", "lqmf", "--workspace", str(folder), "quantize", str(source), "--type", type]
    cost = measure([*command, "--no-imatrix", "--test", test, "--yes"], folder)
    made = next((folder / "quantized-models").glob("*/*.gguf"))
    return replace(cost, output_bytes=made.stat().st_size)


def judge(ours: Cost, theirs: Cost) -> bool:
    seconds, memory = ours.seconds / theirs.seconds, ours.rss_bytes / theirs.rss_bytes
    cpu = ours.cpu_seconds / theirs.cpu_seconds
    disk, peers_disk = ours.disk_bytes / ours.output_bytes, theirs.disk_bytes / theirs.output_bytes
    written = ours.written_bytes / theirs.written_bytes
    print(f"  time ratio {seconds:.3f} (must {TIME_MUST}, aim {TIME_AIM})   CPU ratio {cpu:.3f}")
    print(f"  memory ratio {memory:.3f} (must {MEMORY_MUST})")
    print(
        f"  peak disk {disk:.3f} x the result (must {DISK_MUST}; the peer's {peers_disk:.2f})   written {written:.3f}"
    )
    return seconds <= TIME_MUST and disk <= DISK_MUST and memory <= MEMORY_MUST


def flat(type: str, folder: Path) -> bool:
    """Print LQMF's memory at three sizes; whether it stays the same."""
    peaks = []
    for billions in (0.5, 1.0, 2.0):
        source = synthetic(billions, folder / "synthetic")
        peaks.append(median(f"lqmf {billions:g}B", [once("lqmf", source, type, folder / "run")]).rss_bytes)
        shutil.rmtree(source)
    print(f"  growth {peaks[-1] / peaks[0]:.3f} (must {GROWTH_MUST})")
    return peaks[-1] / peaks[0] <= GROWTH_MUST


def median(route: str, costs: Sequence[Cost]) -> Cost:
    seconds = [cost.seconds for cost in costs]
    found = Cost(
        statistics.median(seconds),
        *(
            int(statistics.median(getattr(cost, name) for cost in costs))
            for name in ("cpu_seconds", "rss_bytes", "disk_bytes", "written_bytes", "output_bytes")
        ),
    )
    spread = f"{min(seconds):.1f}..{max(seconds):.1f}"
    print(
        f"  {route:8} {found.seconds:7.1f} s ({spread})  CPU {found.cpu_seconds:.0f} s RSS {found.rss_bytes >> 20} MiB"
    )
    disk, written, size = found.disk_bytes / 1e9, found.written_bytes / 1e9, found.output_bytes / 1e9
    print(f"  {'':10} disk {disk:.3f} GB   written {written:.3f} GB   result {size:.3f} GB")
    return found


def once(route: str, source: Path, type: str, folder: Path) -> Cost:
    """One run in fresh processes and fresh folders."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    steps = (
        [[sys.executable, __file__, "--lqmf", str(source), type, str(folder)]]
        if route == "lqmf"
        else peer(source, type, folder)
    )
    costs = [measure(step, folder) for step in steps]
    made = list((folder / "out").glob("*.gguf"))
    if len(made) != 1:
        raise SystemExit(f"the {route} route failed; see {folder}")
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.cpu_seconds for cost in costs),
        max(cost.rss_bytes for cost in costs),
        max(cost.disk_bytes for cost in costs),
        sum(cost.written_bytes for cost in costs),
        made[0].stat().st_size,
    )


def peer(source: Path, type: str, folder: Path) -> list[list[str]]:
    base, target = folder / "scratch" / "base.gguf", folder / "out" / "model.gguf"
    binary = llama_quantize()
    second = (
        [str(binary), str(base), str(target), type, str(os.cpu_count())]
        if binary
        else [sys.executable, __file__, "--library", str(base), str(target), type]
    )
    return [[sys.executable, __file__, "--converter", str(source), str(base)], second]


def llama_quantize() -> Path | None:
    found = sorted((workspace.cache_dir() / "peers").glob("*/llama-quantize"))
    return found[-1] if found else None


# ---------------------------------------------------------------- watching from outside


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Run `command` and watch it, its children and `folder` every 20 ms."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started, before, rss, disk = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0, 0
    with (folder.parent / "log.txt").open("ab") as log:
        child = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment)
        while child.poll() is None:
            rss = max(rss, resident(child))
            disk = max(disk, allocated(folder))
            time.sleep(0.2)
    if child.returncode != 0:
        raise SystemExit(f"{command[:4]} failed; see {folder.parent / 'log.txt'}")
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, rss, disk, 512 * (after.ru_oublock - before.ru_oublock), 0)


def resident(root: psutil.Process) -> int:
    """Resident bytes of the tree now."""
    try:
        return sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def allocated(folder: Path) -> int:
    """Bytes of disk that the files in `folder` take; one with two names counts once."""
    taken = dict[int, int]()
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                state = os.lstat(os.path.join(path, name))
                taken[state.st_ino] = state.st_blocks * 512
    return sum(taken.values())


# ---------------------------------------------------------------- the routes, each in a process of its own


def lqmf(source: str, type: str, folder: str) -> int:
    target = pipeline.Output(Path(folder, "out", "model.gguf"), type)
    pipeline.stream(
        Path(source), [target], toolchain.ensure(), lambda _event: None, scratch=Path(folder, "scratch"), name="model"
    )
    return 0


def converter(source: str, base: str) -> int:
    """The official script, told the one thing that it cannot know about the demo's tokenizer."""
    root = str(toolchain.ensure().root)
    sys.path[:0] = [root, f"{root}/gguf-py"]
    from conversion import base as conversion

    conversion.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: PRE
    sys.argv = ["convert_hf_to_gguf.py", source, "--outtype", "f16", "--outfile", base]
    runpy.run_path(f"{root}/convert_hf_to_gguf.py", run_name="__main__")
    return 0


def library(base: str, target: str, type: str) -> int:
    from llama_cpp import llama_cpp as lib

    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{type}")
    parameters.nthread = os.cpu_count()
    return int(lib.llama_model_quantize(base.encode(), target.encode(), ctypes.byref(parameters)))


# ---------------------------------------------------------------- the model and the machine


def synthetic(billions: float, folder: Path) -> Path:
    """A Llama with random bfloat16 weights and the demo's tokenizer, in four shards; made in a process of its own."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    width = 2048
    layers = max(1, round((billions * 1e9 - 32000 * width * 2) / (width * width * 11.5)))
    code = f"""
import torch
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(vocab_size=32000, hidden_size={width}, intermediate_size={width * 3}, num_hidden_layers={layers},
                     num_attention_heads={width // 64}, num_key_value_heads={width // 256})
torch.manual_seed(0)
model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
size = sum(weight.numel() * 2 for weight in model.parameters())
model.save_pretrained({str(folder)!r}, max_shard_size=size // 4 + (20 << 20))
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def read_once(folder: Path) -> None:
    """Both routes find the source in the system's cache."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as handle:
            while handle.read(16 << 20):
                pass


def machine() -> str:
    packages = ("llama-cpp-python", "torch", "transformers", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.platform()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB; Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
