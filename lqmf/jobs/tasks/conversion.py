"""The worker's side of a test: how far the GGUF that a conversion made is from its model, which runs layer by layer
from its own shards beside it.

One model is in memory at a time, the other's logits wait. A result is kept for the model, the file and the versions
that it came from, since every artifact of the model asks for it again. Knows no artifact.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf import workspace
from lqmf.engines.local import LocalEngine
from lqmf.engines.registry import open_engine
from lqmf.engines.transformers.source_by_layers import LayeredSource
from lqmf.errors import LqmfError, MeasurementError, UsageError
from lqmf.events import Emit, Report, stage
from lqmf.model_files import safetensors_folder, safetensors_header, selection
from lqmf.model_files.gguf_files import model_file
from lqmf.model_files.gguf_header import read_header
from lqmf.quality.checks.finite import OutOfTime
from lqmf.quality.receipt import conversion
from lqmf.quality.receipt.conversion import Batch, Conversion
from lqmf.quality.receipt.noise_floor import NoiseFloor
from lqmf.quantization.gguf.converter import ignored
from lqmf.records import Task
from lqmf.units import duration
from lqmf.version import VERSION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMAT = 1  # of what is kept
_TELLING_LAYERS = 2  # after which the time of all is foretold
_LONGER = 1.5  # times as long a token of a long window takes
_SAMPLES, _SAMPLE_BYTES = 64, 4096  # of a file of weights, that tell it from another


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"source": the model's own folder, "base": a GGUF made of it, "text": path, "windows": how many,
    "budget_seconds": or None, "device": "auto"/"cpu"/"gpu"}.

    Gives {"conversion": the receipt's, "reasons"}; where it could not be measured it is None, for the reason under
    "conversion". Raises MeasurementError for logits that are no numbers.
    """
    params = task.params
    source, base = Path(params["source"]), model_file(Path(params["base"]))
    try:
        kept = workspace.measured_dir() / "conversions" / f"{_key(source, base, params)}.json"
        with stage(emit, "conversion", f"Comparing {base.stem} with the model itself", "layers") as report:
            if told := workspace.kept_json(kept):
                return {"conversion": told, "reasons": {}}
            found = _Check(source, base, params, report).found()
    except OutOfTime as reason:
        return {"conversion": None, "reasons": {"conversion": str(reason)}}
    except MeasurementError:
        raise
    except LqmfError as error:
        return {"conversion": None, "reasons": {"conversion": error.message}}
    workspace.keep_json(kept, found)
    return {"conversion": found, "reasons": {}}


class _Check:
    """One comparison under way."""

    def __init__(self, source: Path, base: Path, params: Mapping[str, Any], report: Report) -> None:
        self._source, self._base, self._params, self._report = source, base, params, report
        self._started = self._pass_started = time.monotonic()
        self._conversion, self._floor = Conversion(), NoiseFloor(windows=1)

    def found(self) -> dict[str, Any]:
        """The receipt's `conversion`. Raises OutOfTime, LqmfError."""
        header = read_header(self._base)
        device = self._params.get("device") or "auto"
        with LayeredSource(self._source, device=device) as source:
            long = conversion.beyond(source.sliding_window, _context(header.metadata, header.architecture))
            with open_engine(self._base, device=device, context=long) as base:
                usual = self._batch(base, min(conversion.WINDOW_TOKENS, base.context_length), self._params["windows"])
                if usual is None:
                    raise UsageError("The text is too short for one window.", "Give a longer text.")
                rows = self._base_rows(base, usual)
                name = base.name
            self._pass_started = time.monotonic()
            self._conversion.add(
                usual, source.logits(usual.windows, first=usual.first, report=self._hear)[:, :-1], rows
            )
            more = self._beyond(source, long, device, usual) if long else {}
            return {
                **self._conversion.told(self._floor.kl_nats),
                "window_tokens": len(usual.windows[0]),
                "sliding_window": source.sliding_window,
                "ignored_window": ignored.ignored_window(safetensors_folder.config(self._source)),
                **more,
                "limit_nats": conversion.limit_nats(header.type, self._floor.kl_nats),
                "source": {"engine": source.name},
                "base": {"engine": name, "type": header.type},
            }

    def _batch(self, base: LocalEngine, length: int, count: int) -> Batch | None:
        text = Path(self._params["text"]).read_text(encoding="utf-8")
        begin = base.tokenize("", bos=True)
        return conversion.batch(
            base.tokenize(text, bos=True), length, count, begin[0] if begin else None, base.vocabulary
        )

    def _base_rows(self, base: LocalEngine, read: Batch) -> NDArray[np.float32]:
        import numpy as np

        found = []
        for window, logits in zip(read.windows, base.logits(read.windows, first=read.first), strict=True):
            found.append(logits[:-1])
            self._floor.look(base, window, found[-1], read.first)
        return np.stack(found)

    def _beyond(self, source: LayeredSource, length: int, device: str, usual: Batch) -> dict[str, Any]:
        """One window that is longer than the sliding window, where there is time for it."""
        spent = time.monotonic() - self._started
        need = spent * _LONGER * length / usual.tokens
        budget = self._params.get("budget_seconds")
        if budget is not None and spent + need > budget:
            reason = f"a window of {length} tokens would take {duration(need)}; a comprehensive test reads it"
            return {"long_window_tokens": None, "long_window_reason": reason}
        with open_engine(self._base, device=device, context=length) as base:
            read = self._batch(base, length, 1)
            if read is None:
                return {"long_window_tokens": None, "long_window_reason": "the text is too short for it"}
            rows = self._base_rows(base, read)
        self._conversion.add(read, source.logits(read.windows, first=read.first)[:, :-1], rows)
        return {"long_window_tokens": length}

    def _hear(self, through: int, layers: int) -> None:
        """Tell of the layers that are through. Raises OutOfTime when all will not be in time."""
        self._report(through, layers, "")
        budget = self._params.get("budget_seconds")
        if budget is None or through < _TELLING_LAYERS:
            return
        whole = self._pass_started - self._started + (time.monotonic() - self._pass_started) * layers / through
        if whole > budget:
            raise OutOfTime(f"running the model itself would take {duration(whole)}; a comprehensive test does it")


def _context(metadata: Mapping[str, Any], architecture: str) -> int:
    """Tokens that the model was trained for."""
    found = metadata.get(f"{architecture}.context_length")
    return found if isinstance(found, int) else conversion.WINDOW_TOKENS


# ---------------------------------------------------------------- what is kept


def _key(source: Path, base: Path, params: Mapping[str, Any]) -> str:
    """What names a result: both models' files, the text, and the versions of all that takes part."""
    seen = hashlib.sha256()
    versions = [version(name) for name in ("llama-cpp-python", "transformers", "torch")]
    text = hashlib.sha256(Path(params["text"]).read_bytes()).hexdigest()
    seen.update(json.dumps([_FORMAT, VERSION, versions, text, params["windows"]]).encode())
    for file in (source / selection.CONFIG, *safetensors_header.weights(source), base):
        changed = file.stat().st_mtime_ns if file != base else 0  # which is made anew each time
        seen.update(f"{file.name} {file.stat().st_size} {changed}".encode())
        for sample in _samples(file):
            seen.update(sample)
    return seen.hexdigest()[:40]


def _samples(file: Path) -> Iterator[bytes]:
    """Pieces of a file, evenly spread."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        for number in range(_SAMPLES):
            opened.seek(number * max(0, size - _SAMPLE_BYTES) // max(1, _SAMPLES - 1))
            yield opened.read(_SAMPLE_BYTES)
