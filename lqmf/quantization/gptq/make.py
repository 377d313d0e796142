"""The making of a GPTQ folder by gptqmodel: a text is cut into windows; each layer is read from the source, quantized
and put on the disk, one after another; then the whole model is saved.

Runs in the worker process only. The library is not changed; the environment variables that it reads are set before it
is imported. Knows nothing of jobs.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lqmf import installed, workspace
from lqmf.engines.transformers.loading import translated
from lqmf.engines.transformers.tokenizer import HfTokens
from lqmf.events import Emit, Report, stage
from lqmf.model_files import selection
from lqmf.quantization import transformers_models
from lqmf.quantization.parameters import Value
from lqmf.quantization.promise import Built
from lqmf.records import QuantizationPlan
from lqmf.texts import calibration
from lqmf.units import duration

VERSIONS = ("gptqmodel", "optimum", "transformers", "torch", "accelerate", "safetensors")
BATCH = 4  # windows that go through a layer at once
OFFLOAD = "gptq-layers"  # finished layers, in the folder for what is made on the way
_QUANTIZE_CONFIG, _LOSSES = "quantize_config.json", "quant_log.csv"
_OF_THIS_MACHINE = ("offload_to_disk_path", "offload_to_disk")  # what the library keeps of us in the configuration
_LEAST_WORKERS = 2  # gptqmodel keeps two for loading, and will not start with fewer


def make(
    plan: QuantizationPlan, settings: Mapping[str, Value], source: Path, out: Path, work: Path, emit: Emit
) -> Built:
    """Quantize the model in `source` into `out`; `settings` are the backend's parameters.

    Raises UsageError for a calibration text that is too short, UnsupportedModel for a model that gptqmodel cannot
    quantize, GpuOutOfMemory, OutOfMemory, RemoteCodeRefused and the Hub's errors.
    """
    offload = work / OFFLOAD
    shutil.rmtree(offload, ignore_errors=True)  # of a worker that died: its layers are not gone on from
    try:
        with translated(source.name, quantizing="gptqmodel"):
            windows, facts = _windows(plan, int(str(settings["windows"])), source, emit)
            model = _loaded(plan, settings, source, offload, emit)
            _quantized(model, windows, emit)
            _saved(model, source, out, emit)
    finally:
        shutil.rmtree(offload, ignore_errors=True)
    files, tensors = transformers_models.files(out), transformers_models.tensors(out)
    return Built(files, installed.versions(VERSIONS), base=str(source), calibration=facts, tensors=tensors)


def _windows(plan: QuantizationPlan, most: int, source: Path, emit: Emit) -> tuple[list[list[int]], dict[str, Any]]:
    """Return the windows to calibrate on, as token ids of the model, and the manifest's facts about them."""
    with stage(emit, "calibrate", "Reading the calibration text", "windows") as report:
        read = calibration.read(plan.calibration)
        tokens = HfTokens(source, allow_remote_code=plan.allow_remote_code)
        windows = calibration.windows(read, tokens, most=most)
        report(len(windows), len(windows), "")
    told = {"text": read.name, "text_sha256": read.sha256, "windows": len(windows), "window_tokens": len(windows[0])}
    return windows, told


def _loaded(plan: QuantizationPlan, settings: Mapping[str, Value], source: Path, offload: Path, emit: Emit) -> Any:
    """The model as gptqmodel has it before quantizing: no weights in memory, each layer is read when it is needed."""
    workers = max(_LEAST_WORKERS, ((os.cpu_count() or 1) + 1) // 2)
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(workers))
    with stage(emit, "load", "Loading GPTQModel", "steps"):
        import torch
        from gptqmodel import GPTQModel, QuantizeConfig

        transformers_models.limit_gpu(plan)
        config = json.loads((source / selection.CONFIG).read_text(encoding="utf-8"))
        how = QuantizeConfig(
            bits=plan.bits,
            group_size=settings["group_size"],
            desc_act=settings["desc_act"],
            sym=settings["sym"],
            damp_percent=settings["damp_percent"],
            device="cuda:0" if plan.device == "gpu" else "cpu",
            offload_to_disk=True,
            offload_to_disk_path=str(offload),
            calibration_data_device="cpu",  # between two layers, so that a small GPU holds one layer and one batch
        )
        return GPTQModel.load(
            str(source),
            how,
            dtype=getattr(torch, transformers_models.dtype(config)),
            trust_remote_code=plan.allow_remote_code,
        )


def _quantized(model: Any, windows: list[list[int]], emit: Emit) -> None:
    layers = int(model.model.config.get_text_config().num_hidden_layers)
    with stage(emit, "quantize", "Quantizing with GPTQ", "layers") as report:
        report(0, layers, "")
        model.layer_callback = _Layers(layers, report)
        rows = [{"input_ids": window, "attention_mask": [1] * len(window)} for window in windows]
        model.quantize(rows, batch_size=BATCH)


class _Layers:
    """A counter of finished layers, called from any thread, which reports their number and the time left."""

    def __init__(self, total: int, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._report, self._clock = total, report, clock
        self._began, self._done = clock(), 0
        self._lock = threading.Lock()

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        """Count a finished layer. gptqmodel calls this twice for each layer: when it is computed, and when it is packed
        as well."""
        with self._lock:
            if not submodule_finalized or layer_idx < self._done:
                return
            self._done = min(layer_idx + 1, self._total)
            left = (self._clock() - self._began) / self._done * (self._total - self._done)
            self._report(self._done, self._total, f"about {duration(left)} left" if self._done < self._total else "")


def _saved(model: Any, source: Path, out: Path, emit: Emit) -> None:
    """Save weights and configurations with the library, take its notes on this machine out, and copy the source's other
    files."""
    with stage(emit, "write", "Writing the folder", "steps"):
        model.save(str(out))
        (out / _LOSSES).unlink(missing_ok=True)
        config = json.loads((source / selection.CONFIG).read_text(encoding="utf-8"))
        _cleaned(out / selection.CONFIG, "quantization_config", config)
        _cleaned(out / _QUANTIZE_CONFIG, None, config)
        transformers_models.copy_beside(source, out)


def _cleaned(path: Path, part: str | None, source: Mapping[str, Any]) -> None:
    """Take this machine's paths out of a configuration, and put the source's padding token back: the library picks its
    own."""
    document = json.loads(path.read_text(encoding="utf-8"))
    meta = (document[part] if part else document).get("meta") or {}
    for name in _OF_THIS_MACHINE:
        meta.pop(name, None)
    if "pad_token_id" in document:
        document["pad_token_id"] = source.get("pad_token_id")
    workspace.write_json(path, document)
