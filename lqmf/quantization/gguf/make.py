"""The steps from a model to its GGUF files: a base to run, an importance matrix, a choice of types, the files.

Runs in the worker process only. Each step is a module of its own; this module calls them in order, and keeps their
results for the next try and for the next file of the same model. Knows nothing of jobs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from lqmf import workspace
from lqmf.errors import UnsupportedModel
from lqmf.events import Emit, Event, Notice
from lqmf.model_files import gguf_types, safetensors_header
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.gguf import provenance
from lqmf.quantization.gguf.converter import adapter
from lqmf.quantization.gguf.converter.toolchain import Toolchain
from lqmf.quantization.gguf.imatrix import collect
from lqmf.quantization.gguf.stream import pipeline
from lqmf.quantization.gguf.stream.pipeline import Output
from lqmf.quantization.promise import Source
from lqmf.records import QuantizationPlan
from lqmf.version import VERSION

R = TypeVar("R")
RAM_SHARE = 0.5  # of the free memory that a model of 32-bit floats may take


@dataclass(frozen=True)
class Made:
    """The files and facts of one plan: `file` is the artifact's file, `mix` the types chosen for its tensors (None if
    no types were chosen), `base` the GGUF to compare it with; `matrix`, `tensors` and `adapter` go into the
    manifest."""

    file: Path
    mix: Mapping[str, str] | None
    base: Path | None
    matrix: Mapping[str, Any] | None
    tensors: Mapping[str, str]
    notes: tuple[str, ...]
    adapter: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _Matrix:
    """An importance matrix: its file, its values, and the manifest's facts about it."""

    path: Path
    values: collect.Imatrix
    facts: Mapping[str, Any]


@dataclass
class GgufBuild:
    """The making of one model's files in the folder `work`, whose name stands for the model's content and which
    outlives a worker that dies."""

    name: str
    source: Source
    work: Path
    tools: Toolchain
    emit: Emit
    notes: tuple[str, ...] = ()
    wide: str = "F16"  # what weights are read as: BF16 or F32 once F16 was found not to hold them
    _matrices: dict[str | None, _Matrix] = field(default_factory=dict)  # by calibration

    def make(self, plan: QuantizationPlan, later_plans: Sequence[QuantizationPlan]) -> Made:
        """Make the file of `plan`, and those of `later_plans` in the same pass over the source. Raises LqmfError."""
        return self._widening(lambda: self._made(plan, later_plans))

    def base(self, plan: QuantizationPlan) -> Path:
        """Return the path of the model as `plan.base`, a type that can be run to calibrate and to compare; made unless
        it is there. Raises LqmfError."""
        return self._widening(lambda: self._based(plan))

    def _widening(self, work: Callable[[], R]) -> R:
        """Return the result of `work`; where F16 does not hold the weights it is done again with the type that does.
        Weights that are removed as they are read cannot be read again."""
        try:
            return work()
        except UnsupportedModel as error:
            if not error.details.get("beyond_half") or self.wide != "F16" or self.source.consumed_dir:
                raise
            self.wide = self._wider()
            self.notes = (*self.notes, f"{error.message} It is made from {self.wide} instead.")
            self.emit(Notice(text=self.notes[-1]))
        return work()

    def _wider(self) -> str:
        """Return F32 where the memory takes it, because llama.cpp rounds what flows into BF16 weights to BF16 too."""
        shapes = safetensors_header.tensors(self.source.folder)
        room = RAM_SHARE * psutil.virtual_memory().available
        whole = any(shape.dtype == "F32" for shape in shapes)
        return "F32" if whole or 4 * sum(shape.elements for shape in shapes) <= room else "BF16"

    def _made(self, plan: QuantizationPlan, later_plans: Sequence[QuantizationPlan]) -> Made:
        plans = (plan, *later_plans)
        base = next((self._based(each) for each in plans if each.base), None)
        matrices = [self._matrix(each, base) for each in plans]
        outputs = [self._output(each, base, matrix) for each, matrix in zip(plans, matrices, strict=True)]
        self._stream(outputs, plan, next((matrix.path for matrix in matrices if matrix), None))
        tensors = {tensor.name: tensor.type for tensor in read_header(outputs[0].path).tensors}
        facts = matrices[0].facts if matrices[0] else None
        merged = {"name": Path(plan.adapter).name, "sha256": _merged(plan)} if plan.adapter else None
        return Made(outputs[0].path, outputs[0].types, base, facts, tensors, self.notes, merged)

    def _based(self, plan: QuantizationPlan) -> Path:
        assert plan.base is not None
        type = self.wide if plan.base == "F16" else plan.base
        output = Output(self._path(plan, type, {}), type, wide=self.wide)
        self._stream([output], plan)
        return output.path

    # ------------------------------------------------------------ on the way

    def _matrix(self, plan: QuantizationPlan, base: Path | None) -> _Matrix | None:
        if not plan.imatrix:
            if gguf_types.known(plan.type).needs_imatrix:
                raise UnsupportedModel(f"{plan.type} needs an importance matrix.", "Leave out --no-imatrix.")
            return None
        if plan.calibration not in self._matrices:
            identity = f"{self.work.name} {plan.base} {_merged(plan)}{self._widened}"
            path, values, facts = collect.importance_matrix(base, identity, plan.calibration, self.emit)
            if facts["text_sha256"]:
                path = self._named(path, facts["imatrix_sha256"])
            self._matrices[plan.calibration] = _Matrix(path, values, facts)
        return self._matrices[plan.calibration]

    def _named(self, path: Path, digest: str) -> Path:
        """Return a collected matrix under a name that holds its hash, because the file quantized with it states this
        name."""
        named = self.work / f"imatrix-{digest[:16]}.gguf"
        workspace.take(path, named)
        return named

    def _mix(self, plan: QuantizationPlan, base: Path | None, matrix: _Matrix | None) -> Mapping[str, str]:
        """The type of each tensor for the size that was asked for, chosen once."""
        assert base is not None, "the planner gives a mix a base"
        assert plan.target_bytes is not None, "the planner gives a mix a size"
        from lqmf.quantization.gguf.mix import allocate, tensor_types

        fast = plan.priority == "speed" and plan.device == "cpu"
        told = [plan.target_bytes, plan.keep, matrix.facts["imatrix_sha256"] if matrix else None, base.name, fast]
        kept = self.work / f"mix-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]}.json"
        if types := workspace.kept_json(kept):
            return types
        values = matrix.values if matrix else None
        keep = tensor_types.parse_keep(plan.keep)
        found = allocate.allocate(base, values, plan.target_bytes, self.emit, keep=keep, fast=fast)
        workspace.keep_json(kept, found.types)
        return found.types

    # ------------------------------------------------------------ the files

    def _output(self, plan: QuantizationPlan, base: Path | None, matrix: _Matrix | None) -> Output:
        mixed = self._mix(plan, base, matrix) if plan.type == gguf_types.AUTO else None
        facts = provenance.keys(plan, self.name, matrix.facts if matrix else None, mixed, _merged(plan))
        path = self._path(plan, plan.type, {**facts, "types": mixed})
        return Output(path, plan.type, types=mixed, metadata=facts, weighted=matrix is not None, wide=self.wide)

    def _path(self, plan: QuantizationPlan, type: str, told: Mapping[str, Any]) -> Path:
        """Return the path of a file, named by everything that decides its bytes, so that a finished file is found
        again."""
        decisive = json.dumps([type, _merged(plan), self.tools.version, VERSION, told], sort_keys=True) + self._widened
        return self.work / f"{self.name}-{type}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}.gguf"

    @property
    def _widened(self) -> str:
        """Return what tells files made from another type than F16 apart."""
        return "" if self.wide == "F16" else f" from {self.wide}"

    def _stream(self, outputs: Sequence[Output], plan: QuantizationPlan, matrix: Path | None = None) -> None:
        missing = [output for output in outputs if not output.path.exists()]
        if not missing:
            return
        used = self.source.consumed_dir
        if used is not None:
            used.mkdir(exist_ok=True)
        made = pipeline.stream(
            self.source.folder,
            missing,
            self.tools,
            self._tell,
            scratch=self.work,
            name=self.name,
            imatrix=matrix,
            allow_remote_code=plan.allow_remote_code,
            weights=self.source.weights,
            discard=used is not None,
            used=used,
            adapter=Path(plan.adapter) if plan.adapter else None,
            identity=self.work.name,
        )
        self.notes = tuple(dict.fromkeys((*self.notes, *made.notes)))

    def _tell(self, event: Event) -> None:
        """Pass `event` on, unless it is a notice that an earlier pass gave already."""
        if not (isinstance(event, Notice) and event.text in self.notes):
            self.emit(event)


def _merged(plan: QuantizationPlan) -> str:
    """Return the hash of the adapter's content; "" if there is no adapter."""
    return adapter.fingerprint(Path(plan.adapter)) if plan.adapter else ""
