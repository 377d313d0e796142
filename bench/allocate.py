"""Automatic mixed precision against llama.cpp's own mixes, at their exact sizes, with the same importance matrix.

    python bench/allocate.py [demo] [FOLDER ..] [--windows 24] [--no-files] [--no-estimates] [--out FILE.md]

Prints for each preset its size, its KL on the evaluation text, that of the mix found for exactly that size, and the
ratio; then how the ways of estimating sensitivity compare without any refinement, and what the way meant for large
models costs in all, as a multiple of one quantization plus calibration. All files come from LQMF's own streaming
quantizer. A second small model to measure on is made by `bench/small_model.py`.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from allocate_estimates import EMBEDDING, HEAD, Source, fisher, propagated

from lqmf.engines.llama.engine import LlamaCppEngine
from lqmf.events import Event
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.quality.receipt.divergence import DivergenceMeter
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.converter.toolchain import Toolchain
from lqmf.quantization.gguf.imatrix import collect
from lqmf.quantization.gguf.mix import allocate, errors_table, sensitivity
from lqmf.quantization.gguf.mix.mixes import Mixes
from lqmf.quantization.gguf.mix.patched_model import Divergences, PatchedModel
from lqmf.quantization.gguf.mix.sensitivity import Spoiler
from lqmf.quantization.gguf.mix.trial import Trial
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.pipeline import Output
from lqmf.texts.windows import cut, first_scored
from lqmf.workspace import CACHE_VARIABLE

ASSETS = Path(__file__).resolve().parents[1] / "lqmf" / "assets"
EVALUATION = ASSETS / "text" / "evaluation.txt"
PRESETS = ("Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "IQ3_M", "Q2_K")
WINDOW = 512
lines: list[str] = []


@dataclass(frozen=True)
class Model:
    """A model to measure on: its files, its 16-bit GGUF, its importance matrix, and what that one cost."""

    name: str
    source: Path
    base: Path
    matrix_file: Path
    matrix: Imatrix
    calibration: Cost


@dataclass
class Cost:
    """Of one part of the work: `cpu_seconds` over all threads, steadier on a machine that others use too."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        wall, cpu = time.monotonic(), os.times()
        yield
        now = os.times()
        self.seconds += time.monotonic() - wall
        self.cpu_seconds += sum(now[:4]) - sum(cpu[:4])  # children's too


def main() -> int:
    options = parse()
    tools = toolchain.ensure()
    say(machine())
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        for place, named in enumerate(options.models):
            scratch = Path(folder) / str(place)
            scratch.mkdir()
            with fresh_cache(scratch):
                model = prepared(named, scratch, tools)
                if options.files:
                    table(model, scratch, tools, options.windows)
                if options.estimates:
                    estimates(model, tools, options.windows)
                cost(model, scratch, tools)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["demo"], help="demo, or folders of Hugging Face files")
    parser.add_argument("--windows", type=int, default=24, help="of the evaluation text")
    parser.add_argument("--no-files", dest="files", action="store_false", help="leave out the table of real files")
    parser.add_argument("--no-estimates", dest="estimates", action="store_false")
    parser.add_argument("--out", type=Path, default=None, help="write what is printed here too")
    parser.add_argument("--work", type=Path, default=None, help="where the files go (default: the temporary folder)")
    return parser.parse_args()


def say(text: str = "") -> None:
    print(text, flush=True)
    lines.append(text)


def machine() -> str:
    threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
    return (
        "# Automatic mixed precision, measured\n\n"
        "Made by `bench/allocate.py`. KL in nats a token over the second half of each window of the evaluation text, "
        f"which nothing that chooses has read. {platform.machine()}, {threads} thread(s), Python "
        f"{platform.python_version()}, llama-cpp-python {version('llama-cpp-python')}."
    )


@contextmanager
def fresh_cache(folder: Path) -> Iterator[None]:
    """An empty cache for the time, so that nothing measured comes out of an earlier run."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder / "cache")
    try:
        yield
    finally:
        os.environ.pop(CACHE_VARIABLE)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before


def quiet(_event: Event) -> None:
    pass


def prepared(named: str, scratch: Path, tools: Toolchain) -> Model:
    source = ASSETS / "demo" if named == "demo" else Path(named).resolve()
    base, spent = scratch / "base.gguf", Cost()
    pipeline.stream(source, [Output(base, "F16")], tools, quiet, scratch=scratch, name=source.name)
    with spent.counted():
        path, matrix, _ = collect.importance_matrix(base, "bench", None, quiet)
    header = BaseFile(base).header
    say(f"\n## {source.name} ({header.architecture}, {header.parameters / 1e6:.1f} M weights)")
    return Model(source.name, source, base, path, matrix, spent)


# ---------------------------------------------------------------- real files


def table(model: Model, scratch: Path, tools: Toolchain, windows: int) -> None:
    presets = [Output(scratch / f"{preset}.gguf", preset) for preset in PRESETS]
    make(model, presets, scratch, tools)
    autos, found = [], {}
    for preset in presets:
        size = preset.path.stat().st_size
        found[preset.type] = allocate.allocate(model.base, model.matrix, size, quiet, reserve_bytes=0)
        path = scratch / f"auto-{preset.type}.gguf"
        autos.append(Output(path, "auto", types=found[preset.type].types))
    make(model, autos, scratch, tools)
    judge = Judge(model.base, windows)
    say("\n| preset | bytes | its KL | auto, bytes | auto KL | ratio | +- | predicted | on selection | gap |")
    say("|---|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for preset, auto in zip(presets, autos, strict=True):
        theirs, ours = judge.measure(preset.path), judge.measure(auto.path)
        sizes = preset.path.stat().st_size, auto.path.stat().st_size
        assert sizes[1] <= sizes[0], "above the size asked"
        ratios.append(ours.mean / theirs.mean)
        error = ratios[-1] * math.hypot(ours.standard_error / ours.mean, theirs.standard_error / theirs.mean)
        told = found[preset.type]
        say(
            f"| {preset.type} | {sizes[0]} | {theirs.mean:.6f} | {sizes[1]} | {ours.mean:.6f} | {ratios[-1]:.3f} | "
            f"{error:.3f} | {told.predicted_kl:.6f} | {told.measured_kl:.6f} | {told.gap:.1e} |"
        )
    say(f"\nGeometric mean of the ratios: **{geometric(ratios):.3f}**, the worst {max(ratios):.3f}.")


def make(model: Model, outputs: Sequence[Output], scratch: Path, tools: Toolchain) -> None:
    pipeline.stream(
        model.source, outputs, tools, quiet, scratch=scratch, name=model.source.name, imatrix=model.matrix_file
    )


def geometric(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


class Judge:
    """KL of a file from the base, over windows from all of the evaluation text, with llama.cpp as a user runs it."""

    def __init__(self, base: Path, windows: int) -> None:
        with LlamaCppEngine(base) as engine:
            self.windows = spread(cut(engine.tokenize(EVALUATION.read_text(encoding="utf-8")), WINDOW), windows)
            self.source = list(engine.logits(self.windows, first=first_scored(WINDOW)))

    def measure(self, file: Path) -> object:
        import numpy as np

        meter = DivergenceMeter()
        with LlamaCppEngine(file) as engine:
            found = engine.logits(self.windows, first=first_scored(WINDOW))
            for window, p, q in zip(self.windows, self.source, found, strict=True):
                meter.add(p[:-1], q[:-1], np.array(window[first_scored(WINDOW) + 1 :]))
        return meter.divergence()


def spread(windows: Sequence[list[int]], most: int) -> list[list[int]]:
    count = min(most, len(windows))
    return [windows[place * len(windows) // count] for place in range(count)]


# ---------------------------------------------------------------- estimates


def estimates(model: Model, tools: Toolchain, windows: int) -> None:
    """Solve with each estimate's costs, nothing refined, and run the mixes' weights over the evaluation text."""
    mixes = Mixes(BaseFile(model.base), model.matrix, {}, fast=False, reserve_bytes=0)
    errors = errors_table.make(mixes.base, model.matrix, mixes.choices, quiet)
    say(
        f"\nBelow {allocate.SMALL_MODEL / 1e6:.0f} M weights LQMF spoils each tensor alone, above that groups of role "
        "and depth; the other ways stand in the bench only."
    )
    say("\n| sensitivity from | runs | CPU s | geometric mean of the ratios, not refined |")
    say("|---|---|---|---|")
    with PatchedModel(model.base) as engine:
        spoiler = Spoiler(mixes.base, model.matrix, engine)
        spoiler.locate(list(mixes.choices))
        evaluated = spread(cut(engine.tokenize(EVALUATION.read_text(encoding="utf-8")), WINDOW), windows)
        judge = Trial(spoiler, Divergences(engine, evaluated), quiet)
        lab = Lab(engine, spoiler, mixes, errors, model)
        for name, runs, way in lab.ways(tools):
            spent = Cost()
            with spent.counted():
                found = way()
            costs = mixes.costs(errors, found)
            ratios = []
            for preset in PRESETS:
                theirs = mixes.presets()[preset]
                ours = mixes.solve(costs, mixes.file_bytes(theirs))[0]
                ratios.append(judge.kl_nats(ours) / judge.kl_nats(theirs))
            say(f"| {name} | {runs} | {spent.cpu_seconds:.1f} | {geometric(ratios):.3f} |")


@dataclass(frozen=True)
class Lab:
    engine: PatchedModel
    spoiler: Spoiler
    mixes: Mixes
    errors: errors_table.Errors
    model: Model

    def ways(self, tools: Toolchain) -> Iterator[tuple[str, str, Callable[[], dict[str, float]]]]:
        names, quick, thorough = list(self.mixes.choices), allocate.QUICK, allocate.THOROUGH
        every = len(names)
        for title, groups, effort in (
            ("each tensor alone", every, thorough),
            ("each tensor alone, few windows", every, quick),
            ("groups of role and depth, few windows (large models)", quick.groups, quick),
            ("groups by role alone, few windows", 1, quick),
        ):
            parts = len(sensitivity.grouped(names, groups))
            runs = f"{parts} x {effort.windows} x {effort.window_tokens} tokens"
            yield title, runs, lambda groups=groups, effort=effort: self.measured(names, groups, effort)
        source = Source(self.model.source, self.mixes.base.header, tools)
        windows = self.windows(allocate.Effort(0, 8, 256, 8, 0))
        yield "Fisher, one backward pass", "8 x 256 tokens", lambda: fisher(source, windows)
        ends = [name for name in (EMBEDDING, HEAD) if name in names]
        inner = next(name for name in names if name.startswith("blk.1."))
        yield (
            "propagated through one block",
            "8 x 256 tokens, each block 5 to 8 times",
            lambda: propagated(source, windows, self.measured([*ends, inner], 3, quick)),
        )
        yield "the weighed error alone", "none", lambda: dict.fromkeys(names, 1.0)

    def measured(self, names: Sequence[str], groups: int, effort: allocate.Effort) -> dict[str, float]:
        self.spoiler.apply({})  # the source is what is seen first
        judge = Divergences(self.engine, self.windows(effort))
        parts = sensitivity.grouped(names, groups)
        return sensitivity.measure(self.spoiler, judge, effort.windows, parts, self.errors, quiet)

    def windows(self, effort: allocate.Effort) -> list[list[int]]:
        return allocate.cut_windows(self.engine, allocate.selection_text(), effort)[: effort.windows]


# ---------------------------------------------------------------- cost


def cost(model: Model, scratch: Path, tools: Toolchain) -> None:
    """What finding a mix costs the way large models do it, nothing cached, against quantizing and calibrating."""
    quantization, finding = Cost(), Cost()
    with quantization.counted():
        make(model, [Output(scratch / "once.gguf", "Q4_K_M")], scratch, tools)
    size = (scratch / "once.gguf").stat().st_size
    with fresh_cache(scratch / "again"), finding.counted():
        found = allocate.allocate(model.base, model.matrix, size, quiet, effort=allocate.QUICK)
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in found.seconds.items())
    once, calibrated = quantization.cpu_seconds, model.calibration.cpu_seconds
    say(
        f"\nFinding a mix as for a large model: {finding.cpu_seconds:.1f} CPU s ({finding.seconds:.1f} s by the clock: "
        f"{parts}); one quantization {once:.1f}, calibration {calibrated:.1f} CPU s: "
        f"**{finding.cpu_seconds / (once + calibrated):.2f} x** quantization and calibration (at most 3)."
    )


if __name__ == "__main__":
    sys.exit(main())
