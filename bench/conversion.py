"""Time and memory of holding a conversion against its model, for half a billion weights, one and two.

    python bench/conversion.py [--sizes 0.5,1.1,2] [--windows 2] [--work FOLDER] [--gate] [--out FILE.md]

Models are Llamas of random bfloat16 weights in four shards, made here with their F16 GGUF. Each run is a process of its
own: the model alone, layer by layer from its shards, and the whole check as a test does it, GGUF and all. Musts, with
`--gate`: at one billion the whole check takes at most 1.5 GB and 60 CPU seconds for two windows, and the model's memory
does not grow from the smallest to the largest by more than a tenth. llama.cpp maps the whole GGUF: its pages count as
memory of a process although the system takes them back when they are wanted. So each run has a control group of 1.5 GB,
where a run that needs more is killed (root on Linux; elsewhere it runs without, and the table says so).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from stream import machine, synthetic

from lqmf import workspace
from lqmf.engines.transformers.source_by_layers import LayeredSource
from lqmf.jobs.tasks import conversion
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quantization.gguf.converter import toolchain
from lqmf.quantization.gguf.stream import pipeline as streams
from lqmf.records import Task
from lqmf.texts.evaluation import EVALUATION, MAIN

WINDOW, FIRST, WORDS = 512, 256, 4000
RSS_MUST_BYTES, CPU_MUST_SECONDS, GROWTH_MUST = 1_500_000_000, 60.0, 1.1
JUDGED = 1.1  # billions: the model that the musts on time and memory speak of


def main() -> int:
    options = parse()
    if options.alone:
        kind, source, base = options.alone
        print(json.dumps(measured({"model": model, "check": check}[kind], source, base, options.windows)))
        return 0
    lines = [
        "# Conversion: time and memory of the check",
        "",
        f"Written by `bench/conversion.py`: {options.windows} windows of {WINDOW} tokens. {machine()}.",
        "",
        "| billion weights | | seconds | CPU seconds | peak memory | KL |",
        "|---|---|---|---|---|---|",
    ]
    alone: dict[float, dict[str, Any]] = {}
    judged: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        for size in map(float, options.sizes.split(",")):
            source, base = made(size, Path(work))
            for kind, title in (("model", "the model, layer by layer"), ("check", "the whole check")):
                found = apart(kind, source, base, options.windows)
                if kind == "model":
                    alone[size] = found
                elif size == JUDGED:
                    judged = found
                lines.append(row(size, title, found))
                print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if good(alone, judged) or not options.gate else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="0.5,1.1,2", help="billions of weights")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where the models go, some 9 GB (default: the temporary folder)")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a must does not hold")
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)  # one run, in a process of its own
    return parser.parse_args()


def row(size: float, title: str, found: dict[str, Any]) -> str:
    kl = f"{found['kl']:.1e}" if found.get("kl") is not None else ""
    rss = f"{found['rss_bytes'] / 1e9:.2f} GB"
    return f"| {size:g} | {title} | {found['seconds']:.0f} | {found['cpu_seconds']:.0f} | {rss} | {kl} |"


def good(alone: dict[float, dict[str, Any]], judged: dict[str, Any] | None) -> bool:
    peaks = [each["rss_bytes"] for each in alone.values()]
    print(f"memory grows by {max(peaks) / min(peaks):.3f} (must {GROWTH_MUST})")
    flat = max(peaks) <= GROWTH_MUST * min(peaks)
    if judged is None:
        return flat
    return flat and judged["rss_bytes"] <= RSS_MUST_BYTES and judged["cpu_seconds"] <= CPU_MUST_SECONDS


# ---------------------------------------------------------------- one run


def apart(kind: str, source: Path, base: Path, windows: int) -> dict[str, Any]:
    """`measured` in a process of its own."""
    command = [sys.executable, __file__, "--windows", str(windows), "--alone", kind, str(source), str(base)]
    with limited(source, base) as joined:
        told = subprocess.run(
            [*joined, *command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


@contextmanager
def limited(source: Path, base: Path) -> Iterator[list[str]]:
    """The beginning of a command that runs in RSS_MUST_BYTES of memory and reads its files from the disk: pages that
    another process brought in would not count. Without a limit, and said, where no control group can be made."""
    for file in (*source.glob("*.safetensors"), base):
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


def measured(run: Callable[[Path, Path, int], float | None], source: str, base: str, windows: int) -> dict[str, Any]:
    started = time.perf_counter()
    kl = run(Path(source), Path(base), windows)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "rss_bytes": peak_rss_bytes(),
        "kl": kl,
    }


def model(source: Path, _base: Path, windows: int) -> None:
    import numpy as np

    read = np.random.default_rng(0).integers(5, WORDS, (windows, WINDOW)).tolist()
    with LayeredSource(source) as each:
        each.logits(read, first=FIRST)


def check(source: Path, base: Path, windows: int) -> float:
    params = {"source": str(source), "base": str(base), "text": str(EVALUATION[MAIN]), "windows": windows}
    with tempfile.TemporaryDirectory() as folder, workspace.measured_afresh(Path(folder)):
        told = conversion.run(Task("bench", "conversion", {**params, "device": "cpu"}, ""), lambda event: None)
    return float(told["conversion"]["kl_divergence"]["mean"])


def made(size: float, work: Path) -> tuple[Path, Path]:
    """A model of that many billion weights, and its F16 GGUF."""
    source, base = synthetic(size, work / f"{size:g}"), work / f"{size:g}.gguf"
    scratch = work / f"scratch-{size:g}"
    scratch.mkdir()
    output = streams.Output(base, "F16")
    streams.stream(source, [output], toolchain.ensure(), lambda event: None, scratch=scratch, name="synthetic")
    return source, base


if __name__ == "__main__":
    raise SystemExit(main())
