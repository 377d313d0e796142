"""Loads one artifact that does not continue text and reports how it reads, as the worker's task of a test, in this
fresh process: speed, load time, memory, use of the processor, and checks.

Measures no quality against a source; that is the task `likeness`, in a process of its own, so that this one's memory is
the artifact's alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from lqmf.engines.reader import Reader, open_reader
from lqmf.events import Emit, stage
from lqmf.quality.checks import checks
from lqmf.quality.receipt.memory import peak_rss_bytes
from lqmf.quality.receipt.samples import BEGINNINGS, QUESTIONS
from lqmf.quality.receipt.utilization import Watch
from lqmf.quality.receipt.weights import weights
from lqmf.records import Check, Task, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNS = {"quick": 5, "comprehensive": 20}
READ_TOKENS = 256  # of a text that is timed, or as many as the model holds


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Let one artifact read and measure its behaviour.

    `params`: {"artifact": path, "depth": "quick"/"comprehensive", "device": "auto"/"cpu"/"gpu"}. Returns the receipt's
    fields of the same names, with `engine`, `device` and `reasons`. Raises LqmfError, above all when the artifact
    cannot be loaded.
    """
    params = task.params
    path, runs = Path(params["artifact"]), RUNS[params.get("depth") or "quick"]
    with stage(emit, "probe", f"Running {path.name}", "steps") as report:
        report(0, runs + 1, "loading")
        started = time.perf_counter()
        with open_reader(path, device=params.get("device") or "auto") as reader:
            reader.states(_text(reader, 4))
            load_seconds = time.perf_counter() - started
            report(0, runs + 1, f"runs {reader.reason}")
            files = weights(path)
            found = [checks.weights_present(files), _finite(reader)]
            with Watch() as watch:
                seconds = _timed(reader, runs)
            report(runs + 1, runs + 1, "timed")
            told = {"engine": reader.name, "device": reader.device, "reasons": _reasons(reader, watch)}
            length = len(_text(reader, READ_TOKENS))
    return {
        "checks": to_json(found),
        "load_seconds": load_seconds,
        "size_bytes": files.size_bytes,
        "bits_per_weight": files.bits_per_weight,
        "tokens_per_second": {"prompt": length / seconds, "generation": None},
        "peak_memory_bytes": {"rss": peak_rss_bytes(), "gpu": watch.gpu_peak_bytes},
        "utilization": {"cpu": watch.cpu_percent, "gpu": watch.gpu_percent},
        **told,
    }


def _text(reader: Reader, count: int) -> list[int]:
    """Return a framed text of ordinary words, of about `count` tokens, or of as many as the model holds."""
    tokens = reader.tokenize(" ".join((*BEGINNINGS, *QUESTIONS)))
    room = min(count, reader.context_length) - len(reader.add_special_tokens([]))
    return reader.add_special_tokens((tokens * (count // max(1, len(tokens)) + 1))[: max(1, room)])


def _finite(reader: Reader) -> Check:
    """Check that over a short text every state is a number and no token's states are all equal; of an encoder-decoder,
    check its predictions of an answer instead."""
    text = _text(reader, 64)
    rows = reader.answers(text, text[:32]) if reader.nature == "encoder-decoder" else reader.states(text)
    return Check("finite_predictions", *_sound(rows))


def _sound(rows: NDArray[np.float32]) -> tuple[bool, str]:
    import numpy as np

    if not (rows < np.inf).all():
        return False, "it gives NaN or infinity"
    flat = int((rows.max(axis=-1) == rows.min(axis=-1)).sum())
    return flat == 0, f"{flat} of {len(rows)} tokens are flat" if flat else ""


def _timed(reader: Reader, runs: int) -> float:
    """Return the median seconds that the encoder takes for one text."""
    text, seconds = _text(reader, READ_TOKENS), []
    for _ in range(runs):
        started = time.perf_counter()
        reader.states(text)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _reasons(reader: Reader, watch: Watch) -> dict[str, str]:
    silent = f"it is an {reader.nature}: it does not continue a text"
    return dict.fromkeys(("samples", "latency_seconds", "tokens_per_second.generation"), silent) | watch.reasons()
