"""KL divergence, perplexity and agreement of GGUF files of the demo model: LQMF's figures beside llama-perplexity's.

    python bench/divergence.py [--kilobytes 300] [--types Q8_0,..] [--gate] [--out FILE.md]

Needs llama-perplexity: bench/peers.sh. Both read the same text in the same windows of 512 tokens and score second
halves, on as many threads. The peer runs twice for an artifact, once to write the source's logits to a file and once to
compare with that; LQMF's worker runs once. Each is timed as whole processes, and what a process hands to the system to
be written is counted (`wchar` of /proc/PID/io). Must, with `--gate`: every figure within 2 % of the peer's or within
twice its standard error, and the divergences in the known order of types. Aim: no more time, below 50 MB written.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from lqmf import workspace
from lqmf.ggml import library
from lqmf.hardware import cpu_name
from lqmf.jobs.runner import LocalRunner
from lqmf.model_files.refs import DEMO_FOLDER
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.pipeline import Output
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")  # in the known order of divergences
CLOSE, ERRORS = 0.02, 2.0
AIM_WRITTEN_BYTES = 50_000_000
EVERY_SECONDS = 0.01
TRIES = 3
lines: list[str] = []


@dataclass(frozen=True)
class Figure:
    """A value and its standard error (None: not told)."""

    value: float
    error: float | None = None


@dataclass(frozen=True)
class Spent:
    """Of one or more processes."""

    seconds: float
    written_bytes: int

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.written_bytes + other.written_bytes)


@dataclass(frozen=True)
class Row:
    """One type, measured by both."""

    type: str
    ours: dict[str, Figure]
    theirs: dict[str, Figure]
    our_cost: Spent
    their_cost: Spent  # of comparing alone; the source's logits are written before, once

    def far(self) -> list[str]:
        """What differs by more than it may."""
        return [name for name, theirs in self.theirs.items() if not _agree(self.ours[name], theirs)]


def main() -> int:
    options = parse()
    tool = workspace.cache_dir() / "peers" / str(toolchain.installed_version()) / "llama-perplexity"
    if not tool.is_file():
        raise SystemExit("llama-perplexity is not built yet: bench/peers.sh")
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        folder = Path(place)
        text = folder / "text.txt"
        text.write_text(EVALUATION[MAIN].read_text(encoding="utf-8")[: options.kilobytes * 1000], encoding="utf-8")
        files = made(options.types.split(","), folder)
        heading(text)
        logits = folder / "logits.kld"
        _, writing = peer(tool, "-m", files["F16"], "-f", text, "--kl-divergence-base", logits)
        rows = [row(name, file, files["F16"], text, logits, tool) for name, file in files.items() if name != "F16"]
        show(rows, writing, logits.stat().st_size)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if good(rows) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kilobytes", type=int, default=300, help="of the evaluation text")
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--gate", action="store_true", help="exit 1 where a must does not hold")
    parser.add_argument("--out", type=Path, help="write what is printed here too")
    parser.add_argument("--work", type=Path, help="where the files go (default: the temporary folder)")
    return parser.parse_args()


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def made(types: list[str], folder: Path) -> dict[str, Path]:
    """The demo model as F16 and as each type, by LQMF's own quantizer, without an importance matrix."""
    files = {name: folder / f"demo-{name}.gguf" for name in ("F16", *types)}
    outputs = [Output(path, name) for name, path in files.items()]
    pipeline.stream(DEMO_FOLDER, outputs, toolchain.ensure(), lambda event: None, scratch=folder, name="demo")
    return files


def row(name: str, file: Path, base: Path, text: Path, logits: Path, tool: Path) -> Row:
    receipt, our_cost = worker(file, base, text)
    for _ in range(TRIES):
        told, their_cost = peer(tool, "-m", file, "--kl-divergence", "--kl-divergence-base", logits)
        if theirs := of_peer(told):
            return Row(name, of_receipt(receipt), theirs, our_cost, their_cost)
    raise SystemExit(f"llama-perplexity said something else:\n{told[-2000:]}")


# ---------------------------------------------------------------- running both


def peer(tool: Path, *arguments: str | Path) -> tuple[str, Spent]:
    """What llama-perplexity prints, and its cost. (-ub is the batch that LQMF computes in too.)"""
    command = [tool, *arguments, "-c", "512", "-ub", "512", "-t", str(library.threads()), "--no-warmup"]
    with watched() as cost:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"llama-perplexity failed:\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr, cost()


def worker(file: Path, base: Path, text: Path) -> tuple[dict, Spent]:
    """The answer of LQMF's worker, in a process of its own as in a real test, and its cost."""
    params = {"artifact": str(file), "base": str(base), "text": str(text), "device": "cpu"}
    task = Task("bench", "divergence", params, str(file.with_suffix(".log")))
    with watched() as cost:
        receipt = asyncio.run(LocalRunner().run(task, lambda event: None))
    return receipt, cost()


class watched:  # noqa: N801 (used like a function)
    """Time, and bytes written by the processes started inside; the value given is called for both afterwards."""

    def __enter__(self) -> watched:
        self._written: dict[int, int] = {}
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.perf_counter() - self._began
        self._over.set()
        self._watcher.join()

    def __call__(self) -> Spent:
        return Spent(self._seconds, sum(self._written.values()))

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(EVERY_SECONDS):
            for child in me.children(recursive=True):
                try:
                    self._written[child.pid] = child.io_counters().write_chars
                except psutil.Error:
                    continue


# ---------------------------------------------------------------- figures


def of_receipt(told: dict) -> dict[str, Figure]:
    kl, ratio, right = told["kl_divergence"], told["perplexity_ratio"], told["right_token"]
    return {
        "KL mean": Figure(kl["mean"], kl["standard_error"]),
        "KL median": Figure(kl["p50"]),
        "KL 99 %": Figure(kl["p99"]),
        "perplexity": Figure(told["perplexity"], told["perplexity_standard_error"]),
        "source's": Figure(told["base"]["perplexity"], told["base"]["standard_error"]),
        "ratio": Figure(ratio["value"], ratio["standard_error"]),
        "top-1": Figure(told["top1_agreement"]),
        "right token, mean": Figure(right["mean_change"], right["standard_error"]),
        "right token, rms": Figure(right["rms_change"]),
    }


PATTERNS = {
    "KL mean": r"Mean    KLD:", "KL median": r"Median  KLD:", "KL 99 %": r"99\.0%   KLD:",
    "perplexity": r"Mean PPL\(Q\) +:", "source's": r"Mean PPL\(base\) +:", "ratio": r"Mean PPL\(Q\)/PPL\(base\) +:",
    "top-1": r"Same top p:", "right token, mean": r"Mean    Δp:", "right token, rms": r"RMS Δp    :",
}  # fmt: skip


def of_peer(printed: str) -> dict[str, Figure]:
    """Its figures; none where its last lines are missing, as they are when it ends before its log has been written."""
    found = {}
    for name, pattern in PATTERNS.items():
        match = re.search(pattern + r"\s*(-?[\d.]+)(?:\s*±\s*([\d.]+))?\s*(%?)", printed)
        if match is None:
            return {}
        unit = 0.01 if match[3] else 1.0
        found[name] = Figure(float(match[1]) * unit, float(match[2]) * unit if match[2] else None)
    return found


def _agree(ours: Figure, theirs: Figure) -> bool:
    error = theirs.error if theirs.error is not None else 0.0
    return abs(ours.value - theirs.value) <= max(CLOSE * abs(theirs.value), ERRORS * error)


# ---------------------------------------------------------------- telling


def heading(text: Path) -> None:
    say("# Divergence from the source, beside llama-perplexity's\n")
    say(
        f"Made by `bench/divergence.py`: the bundled model's GGUF files against its F16 file, on the first "
        f"{text.stat().st_size / 1000:.0f} KB of the evaluation text, windows of 512 tokens, second halves. "
        f"{cpu_name()}, {library.threads()} threads, Python {platform.python_version()}, llama.cpp of "
        f"llama-cpp-python {version('llama-cpp-python')} for both."
    )


def show(rows: list[Row], writing: Spent, file_bytes: int) -> None:
    say("\n| type | figure | LQMF | llama-perplexity | its error | difference |  |")
    say("|---|---|---|---|---|---|---|")
    for each in rows:
        for name, theirs in each.theirs.items():
            ours = each.ours[name]
            error = "-" if theirs.error is None else f"{theirs.error:.6f}"
            apart = (ours.value - theirs.value) / theirs.value if theirs.value else 0.0
            verdict = "same" if _agree(ours, theirs) else "**differs**"
            say(
                f"| {each.type} | {name} | {ours.value:.6f} | {theirs.value:.6f} | {error} | {apart:+.2%} | {verdict} |"
            )
    say("\nThe cost of one artifact's figures, both processes of the peer's counted:\n")
    say("| type | LQMF, s | peer, s | ratio | LQMF writes | peer writes |")
    say("|---|---|---|---|---|---|")
    for each in rows:
        ours, theirs = each.our_cost, writing + each.their_cost
        say(
            f"| {each.type} | {ours.seconds:.1f} | {theirs.seconds:.1f} | {ours.seconds / theirs.seconds:.2f} | "
            f"{ours.written_bytes / 1e6:.2f} MB | {theirs.written_bytes / 1e6:.0f} MB |"
        )
    conclude(rows, writing, file_bytes)


def conclude(rows: list[Row], writing: Spent, file_bytes: int) -> None:
    ours, theirs = sum_of(each.our_cost for each in rows), writing + sum_of(each.their_cost for each in rows)
    alone = len(rows) * writing.seconds + theirs.seconds - writing.seconds
    far = [f"{each.type}: {', '.join(each.far())}" for each in rows if each.far()]
    order = [each.type for each in sorted(rows, key=lambda each: each.ours["KL mean"].value)]
    say(f"\nThe peer's file of logits takes {file_bytes / 1e6:.0f} MB.")
    say(f"One artifact at a time, LQMF takes {ours.seconds / alone:.2f} of the peer's time (aim: 1).")
    say(
        f"All {len(rows)} in a row, where the peer reads its file again and LQMF the source: "
        f"{ours.seconds / theirs.seconds:.2f}."
    )
    say(f"Most written for one artifact: {max(each.our_cost.written_bytes for each in rows) / 1e6:.2f} MB (aim: 50).")
    say(f"Figures beyond 2 % and twice the standard error: {'; '.join(far) or 'none'}.")
    say(f"Order of divergences: {' < '.join(order)}.")


def sum_of(costs: Iterator[Spent]) -> Spent:
    return sum(costs, Spent(0.0, 0))


def good(rows: list[Row]) -> bool:
    found = [each.ours["KL mean"].value for each in rows]
    return found == sorted(found) and not any(each.far() for each in rows)


if __name__ == "__main__":
    sys.exit(main())
