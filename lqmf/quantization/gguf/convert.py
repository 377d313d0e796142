"""A folder of Hugging Face files becomes one GGUF file of 16 (or 32) bits, through the official converter.

Starts `launcher.py` in a child process, and turns its JSON lines into events and errors. Knows nothing about
quantizing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lqmf.errors import LqmfError, OutOfMemory, WorkerDied
from lqmf.events import Emit, Notice, Progress, StageFinished, StageStarted
from lqmf.quantization.gguf import child
from lqmf.quantization.gguf import toolchain as toolchains
from lqmf.quantization.gguf.source import has_tokenizer, inspect
from lqmf.quantization.gguf.toolchain import Toolchain

MATCHED = "The converter does not recognize this tokenizer; "  # how a note on one that was proven begins
NO_TOKENIZER = "The tokenizer is unknown: "  # how a note on one left out begins


@dataclass(frozen=True)
class Converted:
    """The GGUF that was written, and what is worth telling about it."""

    path: Path
    notes: tuple[str, ...] = ()


def make_base(
    source: Path, scratch: Path, emit: Emit, *, name: str, allow_remote_code: bool = False, checkout: Path | None = None
) -> Converted:
    """The model in `source` as `<name>-F16.gguf` in `scratch`. Raises as `convert` does."""
    tools = ready(emit, checkout)
    target = scratch / f"{name}-F16.gguf"
    return convert(source, target, "f16", tools, emit, scratch=scratch, name=name, allow_remote_code=allow_remote_code)


def ready(emit: Emit, checkout: Path | None = None) -> Toolchain:
    """The converter, fetched now if this is the first time. Raises ToolchainError."""
    found = toolchains.find(checkout)
    if found is None:
        emit(Notice(text="Fetching llama.cpp's converter (77 MB), once."))
        found = toolchains.ensure(checkout)
    if found.warning:
        emit(Notice(text=found.warning, level="warning"))
    return found


def convert(
    source: Path,
    target: Path,
    outtype: str,
    tools: Toolchain,
    emit: Emit,
    *,
    scratch: Path,
    name: str,
    allow_remote_code: bool = False,
    header_only: bool = False,
) -> Converted:
    """Write `target` from the model in `source`, as `outtype` (f16, bf16 or f32).

    With `header_only` no weight is read or written, and a tokenizer that cannot be had is a note instead of an error.
    Raises IncompleteModel, UnsafeFormat, UnsupportedModel and RemoteCodeRefused for what the model lacks or wants,
    DiskFull, OutOfMemory, WorkerDied.
    """
    inspect(source, tools, tokenizer=not header_only)
    started = time.monotonic()
    emit(StageStarted(stage="convert", title=f"Converting to {outtype.upper()} GGUF"))
    with named(source, scratch, name) as folder:
        asked = request(source, folder, target, outtype, tools, scratch, name)
        asked |= {"allow_remote_code": allow_remote_code, "header_only": header_only}
        notes = _run(asked, scratch, emit, quiet=header_only)
    emit(StageFinished(stage="convert", seconds=time.monotonic() - started))
    return Converted(target, notes)


# ---------------------------------------------------------------- the child process


def request(
    source: Path, folder: Path, target: Path, outtype: str, tools: Toolchain, scratch: Path, name: str
) -> dict[str, Any]:
    """What `launcher.py` is asked: the model of `source`, which it finds as `folder`, to `target`."""
    return {
        "toolchain": str(tools.root.resolve()),
        "model": str(folder),
        "outfile": str(target.resolve()),
        "outtype": outtype,
        "scratch": str(scratch.resolve()),
        "text": str(resources.files("lqmf").joinpath("assets/text/calibration.txt")),
        "memory": str(toolchains.cache_dir() / "pretokenizers" / tools.version),
        "model_name": name,
        "has_tokenizer": has_tokenizer(source),
    }


@contextmanager
def named(source: Path, scratch: Path, name: str) -> Iterator[Path]:
    """`source` under the model's own name: the converter writes its folder's name into the file, and the same plan
    must give the same bytes wherever the files lie. Where links are not allowed, `source` itself."""
    link = scratch / "source" / name
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)  # left by a run that was killed
        link.symlink_to(source.resolve(), target_is_directory=True)
    except OSError:
        yield source.resolve()
        return
    try:
        yield link.absolute()
    finally:
        link.unlink()
        link.parent.rmdir()


def _run(request: Mapping[str, Any], scratch: Path, emit: Emit, *, quiet: bool = False) -> tuple[str, ...]:
    notes: list[str] = []

    def hear(message: Mapping[str, Any]) -> None:
        if "done_bytes" in message:
            done, total = message["done_bytes"], message["total_bytes"]
            emit(Progress(stage="convert", done=done, total=total, unit="bytes"))
        elif "pretokenizer" in message:
            notes.append(proven(message))
            emit(Notice(text=notes[-1]))
        elif "no_tokenizer" in message:
            notes.append(f"{NO_TOKENIZER}{message['no_tokenizer']} Sizes leave the vocabulary out.")

    code = child.run("lqmf.quantization.gguf.launcher", request, scratch, hear, quiet=quiet)
    if code != 0:
        raise _died(code)
    return tuple(dict.fromkeys(notes))


def proven(message: Mapping[str, Any]) -> str:
    """A note on a pre-tokenizer that was proven."""
    text = (
        f"{MATCHED}llama.cpp's pre-tokenizer '{message['pretokenizer']}' gives the same tokens on "
        f"{message['lines']} varied lines."
    )
    return text if message["specials_agree"] else text + " It differs in the special tokens put around a text."


def _died(code: int) -> LqmfError:
    if code == -signal.SIGKILL:
        return OutOfMemory(
            "The converter was killed, most likely by the system for lack of memory.",
            "Close other programs and try again.",
        )
    return WorkerDied(f"The converter ended unexpectedly ({code}).", "The job's log has its last words.")
