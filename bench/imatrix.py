"""Time, sums and worth of LQMF's importance matrix against llama-imatrix's, on the same model, text and windows.

    python bench/imatrix.py [--windows 40] [--runs 3] [--threads N] [--types Q4_K_M,IQ3_S] [--gate]

Needs llama-imatrix and llama-quantize: bench/peers.sh. Each run of either is a process of its own, timed whole, and
they alternate; the tool computes no perplexity. Must: time ratio at most 1.2, sums equal within 1e-3, and KL with
either matrix within its standard error. The KL is over the evaluation text, which no calibration opens.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from lqmf import workspace
from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.ggml import library
from lqmf.model_files import imatrix_file
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.imatrix import collect as imatrix
from lqmf.records import Divergence
from lqmf.texts.calibration import of_file, windows
from lqmf.texts.windows import cut, first_scored
from tests.quantization.bases import make_base

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(str(resources.files("lqmf").joinpath("assets")))
TIME_RATIO, SUM_DIFFERENCE = 1.2, 1e-3


def main() -> int:
    if sys.argv[1:2] == ["--collect"]:
        return collect(*sys.argv[2:])
    options = parse()
    tools = {name: peer(name) for name in ("llama-imatrix", "llama-quantize")}
    print(machine(options.threads))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        base = options.model or make_base(ASSETS / "demo", folder, lambda _event: None, name="demo").path
        text = folder / "text.txt"
        text.write_text((ASSETS / "text" / "calibration.txt").read_text(encoding="utf-8"), encoding="utf-8")
        good = race(tools["llama-imatrix"], base, text, folder, options)
        good &= same_sums(folder)
        if options.types:
            good &= same_worth(tools["llama-quantize"], base, folder, options)
    return 0 if good or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a GGUF file (default: the demo model as F16)")
    parser.add_argument("--windows", type=int, default=40, help="windows of 512 tokens")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=library.threads())
    parser.add_argument("--types", default="Q4_K_M,IQ3_S", help="quantized with either matrix; empty: none")
    parser.add_argument("--kl-windows", type=int, default=30)
    parser.add_argument("--gate", action="store_true", help="exit 1 when a bound is exceeded")
    return parser.parse_args()


def race(tool: str, base: Path, text: Path, folder: Path, options: argparse.Namespace) -> bool:
    count, threads = str(options.windows), str(options.threads)
    theirs = [tool, "-m", str(base), "-f", str(text), "-o", str(folder / "theirs.gguf"), "-c", "512", "--chunks", count]
    theirs += ["--no-ppl", "-t", threads, "-tb", threads, "-lv", "0"]
    ours = [sys.executable, __file__, "--collect", str(base), str(text), str(folder / "ours.gguf"), count, threads]
    costs: dict[str, list[tuple[float, float]]] = {"llama-imatrix": [], "lqmf": []}
    for run in range(-1, options.runs):  # the first of each warms the file cache, and is not counted
        for name, command in (("llama-imatrix", theirs), ("lqmf", ours)):
            cost = once(command)
            if run >= 0:
                costs[name].append(cost)
    print(f"\n{base.name}, {count} windows of 512 tokens, {threads} threads, {options.runs} runs each, whole processes")
    medians = {}
    for name, found in costs.items():
        wall, cpu = [cost[0] for cost in found], [cost[1] for cost in found]
        medians[name] = statistics.median(wall), statistics.median(cpu)
        print(
            f"  {name:14} {medians[name][0]:8.2f} s ({min(wall):.2f}..{max(wall):.2f})   CPU {medians[name][1]:.2f} s"
        )
    ratio, cpu_ratio = (mine / other for mine, other in zip(medians["lqmf"], medians["llama-imatrix"], strict=True))
    print(f"  ratio          {ratio:8.3f} of time, {cpu_ratio:.3f} of CPU time   (must: time at most {TIME_RATIO})")
    return ratio <= TIME_RATIO


def once(command: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock and of CPU time, which other work on the machine disturbs less."""
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def collect(base: str, text: str, out: str, count: str, threads: str) -> int:
    """Our side of the race: the same windows, as many as asked, no early stop."""
    settings = imatrix.Settings(least=int(count), most=int(count), tolerance=0)
    with imatrix.Watched(Path(base), threads=int(threads)) as model:
        chosen = windows(of_file(Path(text)), model, most=int(count))
        made = imatrix.collect(model, chosen, lambda _event: None, settings=settings, dataset=text)
    imatrix_file.write(made.imatrix, Path(out))
    return 0


def same_sums(folder: Path) -> bool:
    theirs, ours = (imatrix_file.read(folder / f"{name}.gguf") for name in ("theirs", "ours"))
    if theirs.entries.keys() != ours.entries.keys():
        print(f"  entries differ: {sorted(theirs.entries.keys() ^ ours.entries.keys())[:4]}")
        return False
    worst, where = 0.0, ""
    for name, entry in theirs.entries.items():
        other = ours.entries[name]
        if not np.array_equal(entry.counts, other.counts):
            print(f"  counts differ for {name}: {entry.counts.ravel()[:4]} and {other.counts.ravel()[:4]}")
            return False
        difference = np.abs(other.sums - entry.sums) / np.maximum(np.abs(entry.sums), np.finfo(np.float32).tiny)
        if difference.max() >= worst:
            worst, where = float(difference.max()), name
    print(f"  largest relative difference of a sum {worst:.1e} ({where}; must: at most {SUM_DIFFERENCE:.0e})")
    return worst <= SUM_DIFFERENCE


def same_worth(tool: str, base: Path, folder: Path, options: argparse.Namespace) -> bool:
    good = True
    print(f"\nKL to {base.name} in nats a token, {options.kl_windows} windows of the evaluation text")
    for kind in options.types.split(","):
        found = {}
        for name in ("theirs", "ours"):
            made = folder / f"{name}-{kind}.gguf"
            command = [tool, "--imatrix", str(folder / f"{name}.gguf"), str(base), str(made), kind]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            found[name] = divergence(base, made, options)
        theirs, ours = found["theirs"], found["ours"]
        noise = (theirs.standard_error**2 + ours.standard_error**2) ** 0.5
        difference = ours.mean - theirs.mean
        good &= abs(difference) <= 2 * noise
        print(
            f"  {kind:8} theirs {theirs.mean:.6f}   ours {ours.mean:.6f}   difference {difference:+.1e} +- {noise:.1e}"
        )
    return good


def divergence(base: Path, made: Path, options: argparse.Namespace) -> Divergence:
    meter = DivergenceMeter()
    with LlamaCppEngine(base, threads=options.threads) as p, LlamaCppEngine(made, threads=options.threads) as q:
        for window in evaluation(p, options.kl_windows):
            first = first_scored(len(window))
            logits = [next(iter(engine.logits([window], first=first))) for engine in (p, q)]
            meter.add(logits[0][:-1], logits[1][:-1], np.array(window[first + 1 :]))
    return meter.divergence()


def evaluation(model: LlamaCppEngine, count: int) -> Iterator[list[int]]:
    text = (ASSETS / "text" / "evaluation.txt").read_text(encoding="utf-8")
    begin = model.tokenize("", bos=True)
    yield from cut(begin + model.tokenize(text), 512, begin[0] if begin else None)[:count]


def peer(name: str) -> str:
    path = workspace.cache_dir() / "peers" / str(toolchain.installed_version()) / name
    if not path.is_file():
        raise SystemExit(f"{name} is not built yet: bench/peers.sh")
    return str(path)


def machine(threads: int) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("llama-cpp-python", "numpy"))
    return (
        f"{platform.platform()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{threads} threads; Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
