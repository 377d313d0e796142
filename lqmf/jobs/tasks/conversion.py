"""The worker's side of a test: how far the GGUF that a conversion made is from its model, which runs layer by layer
from its own shards beside it.

One model is in memory at a time. What the GGUF predicts was computed when the artifact was compared with it, as a rule;
where it was not, the GGUF runs first here, and its logits wait. Knows no artifact.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqmf.engines.local import LocalEngine
from lqmf.engines.registry import open_engine
from lqmf.engines.transformers.source_by_layers import LayeredSource
from lqmf.errors import LqmfError, MeasurementError, UsageError
from lqmf.events import Emit, Report, stage
from lqmf.model_files import safetensors_folder
from lqmf.model_files.gguf_files import model_file
from lqmf.model_files.gguf_header import read_header
from lqmf.quality.checks.finite import OutOfTime
from lqmf.quality.receipt import base_rows, conversion, kept_conversions
from lqmf.quality.receipt.base_rows import BaseRows
from lqmf.quality.receipt.conversion import Batch, Conversion
from lqmf.quality.receipt.noise_floor import NoiseFloor
from lqmf.quantization.gguf.converter import ignored
from lqmf.records import Task
from lqmf.units import duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNUSED = ("torchao", "scipy")  # which transformers imports where they are installed, in a second of CPU time
_TELLING_LAYERS = 2  # after which the time of all is foretold
_LONGER = 1.5  # times as long a token of a long window takes
_NOISE_FIRST = 96  # the position of the first window from which on the noise floor is looked for


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """`params`: {"source": the model's own folder, "base": a GGUF made of it, "text": path, "windows": how many,
    "rows": path where the task `divergence` was to leave what the base predicts, or None, "budget_seconds": or None,
    "device": "auto"/"cpu"/"gpu"}.

    Gives {"conversion": the receipt's, "reasons"}; where it could not be measured it is None, for the reason under
    "conversion". Raises MeasurementError for logits that are no numbers.
    """
    params = task.params
    source, base = Path(params["source"]), model_file(Path(params["base"]))
    try:
        with stage(emit, "conversion", f"Comparing {base.stem} with the model itself", "layers") as report:
            found = _Check(source, base, params, report).found()
    except OutOfTime as reason:
        return {"conversion": None, "reasons": {"conversion": str(reason)}}
    except MeasurementError:
        raise
    except LqmfError as error:
        return {"conversion": None, "reasons": {"conversion": error.message}}
    kept_conversions.keep(source, base, Path(params["text"]), params["windows"], found)
    return {"conversion": found, "reasons": {}}


class _Check:
    """One comparison under way."""

    def __init__(self, source: Path, base: Path, params: Mapping[str, Any], report: Report) -> None:
        self._source, self._base, self._params, self._report = source, base, params, report
        self._device: str = params.get("device") or "auto"
        self._started = time.monotonic()
        self._conversion = Conversion()

    def found(self) -> dict[str, Any]:
        """The receipt's `conversion`. Raises OutOfTime, LqmfError."""
        header, left = read_header(self._base), self._params.get("rows")
        base = (base_rows.kept(Path(left), self._params["windows"]) if left else None) or self._own_rows()
        read = base.read
        with LayeredSource(self._source, device=self._device) as source:
            self._pass_started = time.monotonic()
            rows = source.logits(read.windows, first=read.first, report=self._hear)[:, :-1]
            self._conversion.add(read, rows, base.rows)
            long = conversion.beyond(source.sliding_window, _context(header.metadata, header.architecture))
            more = self._beyond(source, long, read) if long else {}
            return {
                **self._conversion.told(base.noise_floor),
                "window_tokens": len(read.windows[0]),
                "sliding_window": source.sliding_window,
                "ignored_window": ignored.ignored_window(safetensors_folder.config(self._source)),
                **more,
                "limit_nats": conversion.limit_nats(header.type, base.noise_floor),
                "source": {"engine": source.name},
                "base": {"engine": base.engine, "type": header.type},
            }

    def _batch(self, base: LocalEngine, length: int, count: int) -> Batch | None:
        text = Path(self._params["text"]).read_text(encoding="utf-8")
        begin = base.tokenize("", bos=True)
        return conversion.batch(
            base.tokenize(text, bos=True), length, count, begin[0] if begin else None, base.vocabulary
        )

    def _own_rows(self) -> BaseRows:
        """What the base predicts in the first windows of the text. Raises UsageError for a text that is too short."""
        with open_engine(self._base, device=self._device) as base:
            read = self._batch(base, min(conversion.WINDOW_TOKENS, base.context_length), self._params["windows"])
            if read is None:
                raise UsageError("The text is too short for one window.", "Give a longer text.")
            begun, *others = read.windows
            first, floor = min(_NOISE_FIRST, read.first), NoiseFloor(windows=1)
            rows = _rows(base, begun, first)
            floor.look(base, begun, rows, first)
            found = [rows[read.first - first :], *(_rows(base, window, read.first) for window in others)]
            return BaseRows(read, found, base.name, floor.kl_nats)

    def _beyond(self, source: LayeredSource, length: int, usual: Batch) -> dict[str, Any]:
        """One window that is longer than the sliding window, where there is time for it."""
        need = 2 * (time.monotonic() - self._pass_started) * _LONGER * length / usual.tokens
        budget = self._params.get("budget_seconds")
        if budget is not None and time.monotonic() - self._started + need > budget:
            reason = f"a window of {length} tokens would take {duration(need)}; a comprehensive test reads it"
            return {"long_window_tokens": None, "long_window_reason": reason}
        with open_engine(self._base, device=self._device, context=length) as base:
            read = self._batch(base, length, 1)
            if read is None:
                return {"long_window_tokens": None, "long_window_reason": "the text is too short for it"}
            rows = [_rows(base, window, read.first) for window in read.windows]
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


def _rows(base: LocalEngine, window: Sequence[int], first: int) -> NDArray[np.float32]:
    """The logits (N, V) that `base` gives from the position `first` on, but the last."""
    (logits,) = base.logits([window], first=first)
    return logits[:-1]
