"""The stream from a folder of Hugging Face files to GGUF files of any types, in one pass, with no 16-bit file between.

The converter's process does it (`converter.launcher`, `stream.child`): its own mapping and transformations, then
libggml's quantizer on blocks of rows, written in place. An interrupted run goes on where it was when it is called
again. Describes the job and reports its progress; knows nothing of tensors.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lqmf import forks
from lqmf.errors import UsageError
from lqmf.events import Emit, Notice, Progress, StageFinished, StageStarted
from lqmf.model_files import gguf_types
from lqmf.quantization.gguf.converter import adapter as adapters
from lqmf.quantization.gguf.converter import convert
from lqmf.quantization.gguf.converter.source import inspect
from lqmf.quantization.gguf.converter.toolchain import Toolchain

BUDGET_BYTES = 512 << 20


@dataclass(frozen=True)
class Output:
    """A file to make. `type` is llama.cpp's name ("Q4_K_M", "F16"), or "auto" where all types come from `types`.

    `types` gives tensors (by GGUF name) types of their own ("q4_K") over those of `type`; under "auto" a tensor that it
    does not name stays as the converter writes it. `metadata` is added at the end of the file's keys. Without
    `weighted` the file is made as if there were no importance matrix. `wide` is the type that weights are read as:
    F16, or BF16 or F32 for weights that F16 does not hold.
    """

    path: Path
    type: str
    types: Mapping[str, str] | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    weighted: bool = True
    wide: str = "F16"


@dataclass(frozen=True)
class Streamed:
    """Notes for the user, the number of tensors that an interrupted run had finished, and the number of all tensors."""

    notes: tuple[str, ...]
    kept_tensors: int
    tensors: int


def stream(
    source: Path,
    outputs: Sequence[Output],
    tools: Toolchain,
    emit: Emit,
    *,
    scratch: Path,
    name: str,
    imatrix: Path | None = None,
    allow_remote_code: bool = False,
    budget_bytes: int = BUDGET_BYTES,
    weights: Path | Sequence[Path] = (),
    discard: bool = False,
    used: Path | None = None,
    adapter: Path | None = None,
    threads: int = 0,
    journal: Path | None = None,
    identity: str = "",
) -> Streamed:
    """Make all `outputs` from the model in `source`, reading each weight once.

    `weights` are the folders where the weight files are or will appear whole (default: `source`, whose own files may
    else be mere headers). A file that is not there is waited for; with `discard` it is removed when all tensors made
    from it are on the disk (an empty file of its name is left in `used` first). `adapter` is a LoRA's folder, merged on
    the way. `journal` is kept until the outputs are whole (default: beside the first). `identity` says which weights
    these are, such as repository and revision (default: the files' names, sizes and, in `source`, times); when it, or
    anything that decides a byte, differs from the interrupted run's, the work starts over. `threads` 0 takes all cores.

    Raises IncompleteModel, UnsafeFormat, UnsupportedModel and RemoteCodeRefused for a model that cannot be converted,
    (with the detail `beyond_half` where it is F16 alone that does not hold the weights), UsageError for a map of types
    or an imatrix of another model, DiskFull, OutOfMemory, WorkerDied.
    """
    folders = [weights] if isinstance(weights, Path) else list(weights)
    _refuse(outputs, source, folders, discard=discard)
    inspect(source, tools)
    if adapter:
        adapters.check(adapter)
    started = time.monotonic()
    emit(StageStarted(stage="quantize", title=f"Quantizing to {', '.join(output.type for output in outputs)}"))
    for output in outputs:
        output.path.parent.mkdir(parents=True, exist_ok=True)
    job = {
        "outputs": [{**asdict(output), "path": str(output.path.resolve())} for output in outputs],
        "source": str(source.resolve()),
        "weights": [str(folder.resolve()) for folder in folders or [source]],
        "scratch": str(scratch.resolve()),
        "journal": str((journal or journal_of(outputs[0].path)).resolve()),
        "identity": identity or _identity(source, times=not folders),
        "imatrix": str(imatrix.resolve()) if imatrix else None,
        "budget_bytes": budget_bytes,
        "discard": discard,
        "used": str(used.resolve()) if used else None,
        "adapter": str(adapter.resolve()) if adapter else None,
        "threads": threads,
    }
    with convert.named(source, scratch, name) as folder:
        request = convert.request(source, folder, outputs[0].path, _outtype(outputs), tools, scratch, name)
        request |= {"allow_remote_code": allow_remote_code, "stream": _written(job, scratch)}
        made = _run(request, scratch, emit)
    emit(StageFinished(stage="quantize", seconds=time.monotonic() - started))
    return made


def journal_of(path: Path) -> Path:
    """Return the default path of the journal of a stream whose first output is `path`."""
    return path.with_name(f".{path.name}.journal")


def _refuse(outputs: Sequence[Output], source: Path, weights: Sequence[Path], *, discard: bool) -> None:
    if not outputs:
        raise UsageError("There is nothing to make.", "Name at least one type.")
    for output in outputs:
        if output.type != "auto":
            gguf_types.known(output.type)
        elif not output.types:
            raise UsageError("An automatic mixture needs its map of types.", "Name a type, or give the map.")
    if discard and source.resolve() in [folder.resolve() for folder in weights or [source]]:
        raise UsageError("Weights can only be dropped from a folder of their own.", "Leave --discard-source out.")


def _outtype(outputs: Sequence[Output]) -> str:
    return gguf_types.OUTTYPES.get(outputs[0].type, gguf_types.OUTTYPES[outputs[0].wide])


def _identity(folder: Path, *, times: bool) -> str:
    """The weight files by name, size and time: enough to see that a folder holds other weights than before."""
    seen = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        state = path.stat()
        seen.update(f"{path.name}\0{state.st_size}\0{state.st_mtime_ns if times else ''}\0".encode())
    return seen.hexdigest()


def _written(job: Mapping[str, Any], scratch: Path) -> str:
    """Return the path of a file with the job: a map of types can be longer than a command line."""
    path = scratch.resolve() / "stream.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return str(path)


# ---------------------------------------------------------------- the child process


def _run(request: Mapping[str, Any], scratch: Path, emit: Emit) -> Streamed:
    notes, tensors, reached = list[str](), [0, 0], [0, 0]

    def tell(note: str) -> None:
        emit(Progress(stage="quantize", done=reached[0], total=reached[1] or None, unit="bytes", note=note))

    def hear(message: Mapping[str, Any]) -> None:
        if "done_bytes" in message:
            reached[:] = message["done_bytes"], message["total_bytes"]
            tell(message["tensor"])
        elif "waiting" in message:
            tell(f"waiting for {message['waiting']}")
        elif "kept" in message:
            tensors[:] = message["kept"], message["of"]
            if tensors[0]:
                emit(Notice(text=f"Going on: {tensors[0]} of {tensors[1]} tensors are done already."))
        elif "fallbacks" in message:
            text = f"tensors have rows that {message['type']} does not fit; they took a larger type."
            notes.append(f"{message['fallbacks']} {text}")
        else:
            for note in convert.notes(message):
                notes.append(note)
                emit(Notice(text=note))

    tell("starting the converter")
    code = forks.ask(convert.server(Path(request["toolchain"]), scratch), request, scratch, hear)
    if code != 0:
        raise convert.died(code, "quantizer")
    return Streamed(tuple(dict.fromkeys(notes)), *tensors)
