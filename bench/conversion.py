"""Time and memory of holding a conversion against its model, for half a billion weights, one and two.

    python bench/conversion.py [--sizes 0.5,1.1,2] [--windows 2] [--work FOLDER] [--gate] [--out FILE.md]

Models are Llamas of random bfloat16 weights in four shards, made here with their F16 GGUF. Each run is a process of its
own: the model alone, layer by layer from its shards; the check as a receipt adds it, which has the GGUF's predictions
from the comparison of the artifact (here a Q8_0, whose cost is no part of it); and the whole check where nothing left
them, which runs the GGUF too. Musts, with `--gate`: at one billion, what the check adds to a receipt is at most 1.5 GB
and 60 CPU seconds for two windows, and its memory does not grow from the smallest to the largest by more than a tenth.
llama.cpp maps the whole GGUF: its pages count as memory of a process although the system takes them back when they are
wanted. So each run has a control group of 1.5 GB, where a run that needs more is killed (root on Linux; elsewhere it
runs without, and says so). CPU seconds hold on a machine that others use; seconds do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from stream import machine, synthetic

from lqmf import workspace
from lqmf.engines.transformers.source_by_layers import LayeredSource
from lqmf.jobs.tasks import conversion, divergence
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline as streams
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN

WINDOW, FIRST, WORDS = 512, 256, 4000
RSS_MUST_BYTES, CPU_MUST_SECONDS, GROWTH_MUST = 1_500_000_000, 60.0, 1.1
JUDGED = 1.1  # billions: the model that the musts on time and memory speak of


@dataclass(frozen=True)
class Model:
    """A model's folder, its F16 GGUF, an artifact made of it, and where the comparison of both leaves the former's
    predictions."""

    source: Path
    base: Path
    artifact: Path
    rows: Path

    def remove(self) -> None:
        shutil.rmtree(self.source)
        for file in (self.base, self.artifact, self.rows):
            file.unlink()


ABOUT = """\
A receipt compares the artifact with the F16 GGUF first, which leaves what that predicts in these windows: the check
adds the model's own pass to it. Alone, as where that comparison failed, it runs the GGUF too, in whose mapped pages
memory is counted as far as the control group of 1.5 GB lets it. CPU seconds hold on a machine that others use, as
this one may have been; seconds do not."""


def main() -> int:
    options = parse()
    if options.alone:
        kind, *places = options.alone
        print(json.dumps(measured(RUNS[kind], Model(*map(Path, places)), options.windows)))
        return 0
    lines = [
        "# Conversion: time and memory of the check",
        "",
        f"Written by `bench/conversion.py`: {options.windows} windows of {WINDOW} tokens. {machine()}.",
        "",
        ABOUT,
        "",
        "| billion weights | | seconds | CPU seconds | peak memory | KL |",
        "|---|---|---|---|---|---|",
    ]
    costs: dict[float, dict[str, Any]] = {}  # of what a receipt pays
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        for size in map(float, options.sizes.split(",")):
            each = made(size, Path(work))
            leave_rows(each, options.windows)
            for kind, title in TITLES.items():
                found = apart(kind, each, options.windows)
                if kind == "added":
                    costs[size] = found
                lines.append(row(size, title, found))
                print(lines[-1], flush=True)
            each.remove()
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if good(costs) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="0.5,1.1,2", help="billions of weights")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where the models go, some 11 GB (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a must does not hold")
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--alone", nargs=5, help=argparse.SUPPRESS)  # one run, in a process of its own
    return parser.parse_args()


def row(size: float, title: str, found: dict[str, Any]) -> str:
    kl = f"{found['kl']:.1e}" if found.get("kl") is not None else ""
    rss = f"{found['rss_bytes'] / 1e9:.2f} GB"
    return f"| {size:g} | {title} | {found['seconds']:.0f} | {found['cpu_seconds']:.0f} | {rss} | {kl} |"


def good(costs: dict[float, dict[str, Any]]) -> bool:
    peaks = [each["rss_bytes"] for each in costs.values()]
    print(f"memory grows by {max(peaks) / min(peaks):.3f} (must {GROWTH_MUST})")
    flat = max(peaks) <= GROWTH_MUST * min(peaks)
    judged = costs.get(JUDGED)
    if judged is None:
        return flat
    return flat and judged["rss_bytes"] <= RSS_MUST_BYTES and judged["cpu_seconds"] <= CPU_MUST_SECONDS


# ---------------------------------------------------------------- one run


def apart(kind: str, each: Model, windows: int) -> dict[str, Any]:
    """`measured` in a process of its own."""
    places = map(str, dataclasses.astuple(each))
    command = [sys.executable, __file__, "--windows", str(windows), "--alone", kind, *places]
    with limited(each) as joined:
        told = subprocess.run(
            [*joined, *command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@contextmanager
def limited(each: Model) -> Iterator[list[str]]:
    """The beginning of a command that runs in RSS_MUST_BYTES of memory and reads its files from the disk: pages that
    another process brought in would not count. Without a limit, and said, where no control group can be made."""
    for file in (*each.source.glob("*.safetensors"), each.base, each.rows):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    group = control_group()
    if group is None:
        print("no control group: without a limit", flush=True)
        yield []
        return
    yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    with suppress(OSError):  # the system still takes the last process out
        group.rmdir()


def control_group() -> Path | None:
    """A control group of RSS_MUST_BYTES, of either version; None where none can be made."""
    for root, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        group = Path(root) / f"lqmf-{os.getpid()}"
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            if (group / limit).exists():
                (group / limit).write_text(str(RSS_MUST_BYTES))
                return group
            group.rmdir()
    return None


def measured(run: Callable[[Model, int], float | None], each: Model, windows: int) -> dict[str, Any]:
    for name in conversion.UNUSED:  # as the worker does
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    started = time.perf_counter()
    kl = run(each, windows)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "rss_bytes": peak_rss_bytes(),
        "kl": kl,
    }


def model(each: Model, windows: int) -> None:
    import numpy as np

    read = np.random.default_rng(0).integers(5, WORDS, (windows, WINDOW)).tolist()
    with LayeredSource(each.source) as source:
        source.logits(read, first=FIRST)


def check(each: Model, windows: int, rows: Path | None = None) -> float:
    params = {"source": str(each.source), "base": str(each.base), "text": str(EVALUATION[MAIN]), "windows": windows}
    params |= {"rows": str(rows) if rows else None}
    with tempfile.TemporaryDirectory() as folder, workspace.measured_afresh(Path(folder)):
        told = conversion.run(Task("bench", "conversion", {**params, "device": "cpu"}, ""), lambda event: None)
    return float(told["conversion"]["kl_divergence"]["mean"])


def added(each: Model, windows: int) -> float:
    return check(each, windows, each.rows)


def made(size: float, work: Path) -> Model:
    each = Model(
        synthetic(size, work / f"{size:g}"), *(work / f"{size:g}{end}" for end in (".gguf", "-q.gguf", ".rows"))
    )
    scratch = work / f"scratch-{size:g}"
    scratch.mkdir()
    outputs = [streams.Output(each.base, "F16"), streams.Output(each.artifact, "Q8_0")]
    streams.stream(each.source, outputs, toolchain.ensure(), lambda event: None, scratch=scratch, name="synthetic")
    return each


def leave_rows(each: Model, windows: int) -> None:
    """Compare the artifact with the base, as the receipt does before the check."""
    params = {"artifact": str(each.artifact), "base": str(each.base), "text": str(EVALUATION[MAIN]), "device": "cpu"}
    keep = {"file": str(each.rows), "windows": windows}
    divergence.run(
        Task("bench", "divergence", {**params, "max_windows": windows, "keep": keep}, ""), lambda event: None
    )


TITLES = {
    "model": "the model, layer by layer",
    "added": "what the check adds to a receipt",
    "check": "the whole check alone",
}
RUNS: dict[str, Callable[[Model, int], float | None]] = {"model": model, "added": added, "check": check}


if __name__ == "__main__":
    raise SystemExit(main())
