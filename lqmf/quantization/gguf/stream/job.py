"""The job of a stream, and the type and place of each tensor in each output, decided before a weight is read.

The types of a mixture are libllama's own choice (`dryrun.py`), those of a map are the map's. Runs in the converter's
process. Knows types and keys; nothing of weights' bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lqmf.child_process import Send
from lqmf.errors import UnsupportedModel, UsageError
from lqmf.ggml import chunks as ggml_chunks
from lqmf.model_files.gguf_types import LAYOUTS, OUTTYPES
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.model_files.tensor_types import TENSOR_TYPES
from lqmf.quantization.gguf.mix import dryrun
from lqmf.quantization.gguf.stream import layout as stream_layout
from lqmf.quantization.gguf.stream.layout import Layout, Raw

_NEVER_ASKED = ("token_embd.weight", "per_layer_token_embd.weight", "output.weight")
_UNWEIGHTED = {"IQ3_XXS": "IQ3_S", "Q2_K": "Q3_K"}  # the next type that asks for no matrix; of all others it is Q2_K
_ASK_FOR = ("IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S")  # tensor_requires_imatrix in llama-quant.cpp


@dataclass(frozen=True)
class Wanted:
    """One output, as `pipeline.py` describes it: `types` by tensor, or the type's own mixture; `wide` is the type that
    its weights are read as."""

    path: str
    type: str
    types: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    weighted: bool = True
    wide: str = "F16"

    @property
    def outtype(self) -> str:
        """Return the type to ask the converter for: its own 16 or 32 bits, or the type to start from: F16, as
        llama-quantize does, where it holds the weights."""
        return OUTTYPES.get(self.type, OUTTYPES[self.wide])

    @property
    def mixture(self) -> str | None:
        """Return the llama.cpp file type that libllama chooses the tensors' types for; None if it chooses no types."""
        return None if self.type == "auto" or self.type in OUTTYPES else self.type


@dataclass(frozen=True)
class Job:
    """The job of a stream. Paths are strings; `identity` says which weights these are."""

    outputs: Sequence[Wanted]
    source: str
    weights: Sequence[str]
    scratch: str
    journal: str
    identity: str
    imatrix: str | None = None
    budget_bytes: int = 512 << 20
    discard: bool = False
    used: str | None = None
    adapter: str | None = None
    threads: int = 0

    @classmethod
    def read(cls, path: Path) -> Job:
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**document, "outputs": [Wanted(**output) for output in document["outputs"]]})


@dataclass(frozen=True)
class Prepared:
    """The converter's work for one of its own types: its writer, and each tensor as it would write it."""

    writer: Any
    raws: Mapping[str, Raw]


def lay_out(job: Job, prepared: Mapping[str, Prepared], imatrix: Imatrix | None, send: Send) -> list[Layout]:
    """Return the layout of every output, in the job's order. Raises UnsupportedModel, UsageError, WorkerDied."""
    choices = {
        True: _choices(job, prepared, imatrix, weighted=True),
        False: _choices(job, prepared, None, weighted=False),
    }
    return [
        _laid_out(
            job, output, prepared[output.outtype], choices[output.weighted], imatrix if output.weighted else None, send
        )
        for output in job.outputs
    ]


def _choices(
    job: Job, prepared: Mapping[str, Prepared], imatrix: Imatrix | None, *, weighted: bool
) -> dict[str, dryrun.Choice]:
    """Return the types that libllama would choose for each mixture that is asked for."""
    asked = [output for output in job.outputs if output.weighted == weighted and output.mixture]
    wanted = {str(output.mixture): LAYOUTS[str(output.mixture)].ftype for output in asked}
    if not wanted:
        return {}
    header = Path(job.scratch) / "header.gguf"
    start = prepared[asked[0].outtype]
    layout = stream_layout.as_converted(start.writer, start.raws, {})
    try:
        header.write_bytes(layout.header)
        os.truncate(header, layout.size)  # holes where the weights would be
        return dryrun.ask(header, wanted, header.parent, imatrix=imatrix is not None)
    finally:
        header.unlink(missing_ok=True)


def _laid_out(
    job: Job,
    output: Wanted,
    prepared: Prepared,
    choices: Mapping[str, dryrun.Choice],
    imatrix: Imatrix | None,
    send: Send,
) -> Layout:
    kinds, said = {name: raw.kind for name, raw in prepared.raws.items()}, dict[str, Any]()
    if output.type in OUTTYPES and not output.types:
        return stream_layout.as_converted(prepared.writer, prepared.raws, output.metadata)
    if output.mixture:
        choice = choices[output.mixture]
        kinds |= {name: ggml_chunks.number(kind) for name, kind in choice.types.items()}
        if choice.fallbacks:
            send({"fallbacks": choice.fallbacks, "type": output.type})
    kinds |= _given(output.types or {}, prepared.raws)
    if imatrix is not None:
        kinds |= _for_prediction_layers(output, kinds, prepared.writer, imatrix)
    file_type = LAYOUTS[output.mixture].ftype if output.mixture else stream_layout.mostly(kinds, prepared.raws)
    _refuse_without_imatrix(output, kinds, prepared.raws, imatrix)
    if imatrix is not None:
        datasets, chunks = imatrix.datasets, imatrix.chunks
        name = Path(str(job.imatrix)).name
        said = stream_layout.about_imatrix(name, datasets, len(imatrix.entries), chunks)
    return stream_layout.as_quantized(prepared.writer, prepared.raws, kinds, file_type, said | dict(output.metadata))


def _for_prediction_layers(output: Wanted, kinds: Mapping[str, int], writer: Any, imatrix: Imatrix) -> dict[str, int]:
    """Return types that need no importance, by tensor, for those of layers that predict further tokens: no calibration
    runs these layers, so no matrix knows them."""
    said = {key: value.value for kept in writer.kv_data for key, value in kept.items()}
    layers, ahead = (int(said.get(f"{writer.arch}.{key}", 0)) for key in ("block_count", "nextn_predict_layers"))
    places = tuple(f"blk.{layer}." for layer in range(layers - ahead, layers))
    return {
        name: ggml_chunks.number(_UNWEIGHTED.get(TENSOR_TYPES[kind].name, "Q2_K"))
        for name, kind in kinds.items()
        if places and name.startswith(places) and name not in imatrix.entries and _is_asked_for(kind, output)
    }


def _is_asked_for(kind: int, output: Wanted) -> bool:
    """Return whether llama-quantize makes this type with an importance matrix alone."""
    called = TENSOR_TYPES[kind].name
    return called in _ASK_FOR or (called == "Q2_K" and output.type == "Q2_K_S")


def _refuse_without_imatrix(
    output: Wanted, kinds: Mapping[str, int], raws: Mapping[str, Raw], imatrix: Imatrix | None
) -> None:
    """Raise UnsupportedModel where llama-quantize does, and where libggml would abort."""
    chunks = ggml_chunks.Chunks()
    for name, kind in kinds.items():
        if kind == raws[name].kind or (imatrix and name in imatrix.entries):
            continue
        if (_is_asked_for(kind, output) and name not in _NEVER_ASKED) or chunks.needs_importance(kind):
            raise UnsupportedModel(
                f"{TENSOR_TYPES[kind].name} needs an importance matrix, and there is none for {name}.",
                "Choose a type that needs none, such as Q2_K or IQ3_S.",
            )


def _given(types: Mapping[str, str], raws: Mapping[str, Raw]) -> dict[str, int]:
    """Return an explicit map with the types' numbers. Raises UsageError for an unknown tensor or type, or a type that
    does not fit the tensor's rows."""
    if strangers := sorted(set(types) - set(raws)):
        raise UsageError(f"This model has no tensor called {strangers[0]}.", "Take its name out of the map of types.")
    found = {name: ggml_chunks.number(kind) for name, kind in types.items()}
    for name, kind in found.items():
        ggml_chunks.row_bytes(kind, raws[name].columns)
    return found


def importance_of(imatrix: Imatrix | None, raw: Raw) -> Any:
    """Return the importance of a tensor, (matrices, columns) floats; None if the matrix has none. Raises UsageError for
    another model's matrix."""
    if imatrix is None or raw.name not in imatrix.entries:
        return None
    found, matrices = imatrix.entries[raw.name].sums, raw.rows // (raw.shape[-2] if len(raw.shape) > 1 else 1)
    if found.size != matrices * raw.columns:
        if raw.name in _NEVER_ASKED[:2]:
            return None
        raise UsageError(
            f"The importance matrix belongs to another model: for {raw.name} it holds {found.size} values, and this "
            f"model has {matrices * raw.columns}.",
            "Give the importance matrix of this very model.",
        )
    return imatrix.importance(raw.name, raw.columns)
