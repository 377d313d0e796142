"""The child process that runs llama.cpp's official converter, unedited, with a few things added around it.

It runs no code that comes with a model (the converter itself asks for that), names BPE pre-tokenizers that the
converter does not recognize once they are proven, and reports bytes written. Where the converter and the installed
transformers disagree about a configuration's keys, it reconciles them. It speaks JSON lines on standard
output; whatever the libraries print goes to standard error. Standard input closing means that the parent is gone.
Knows nothing about jobs or plans: `convert.py` starts it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lqmf.errors import (
    FULL,
    DiskFull,
    IncompleteModel,
    LqmfError,
    OutOfMemory,
    UnsupportedModel,
)
from lqmf.quantization.gguf import compat, guard, pretokenizer

Send = Callable[[dict[str, Any]], None]

_REPORT_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """What to convert, as `convert.py` says it in one JSON argument. Paths are strings."""

    toolchain: str
    model: str
    outfile: str
    outtype: str
    scratch: str
    text: str  # ordinary text, to prove a pre-tokenizer with
    memory: str  # where proven pre-tokenizers are kept
    model_name: str | None = None
    allow_remote_code: bool = False


def main() -> int:
    """Convert, and tell the outcome as the last JSON line. Exit 0 done, 1 failed."""
    send = _claim_stdout()
    _end_with_parent()
    request = Request(**json.loads(sys.argv[1]))
    try:
        _convert(request, send)
    except LqmfError as error:
        send({"error": error.to_json()})
    except BaseException as error:  # noqa: BLE001  (the top of a process: whatever the converter raises)
        sys.excepthook(type(error), error, error.__traceback__)
        send({"error": translate(error).to_json()})
    else:
        send({"done": True})
        return 0
    return 1


def _convert(request: Request, send: Send) -> None:
    guard.remote_code(allowed=request.allow_remote_code)
    sys.path[:0] = [request.toolchain, str(Path(request.toolchain) / "gguf-py")]
    from conversion import base  # type: ignore[import-not-found]

    guard.pickles()
    _report_bytes(send)
    base.TextModel.get_vocab_base_pre = _with_proven_names(base, request, send)
    _reconcile(base)
    script = str(Path(request.toolchain) / "convert_hf_to_gguf.py")
    sys.argv = [script, request.model, "--outfile", request.outfile, "--outtype", request.outtype]
    sys.argv += ["--model-name", request.model_name] if request.model_name else []
    runpy.run_path(script, run_name="__main__")


# ---------------------------------------------------------------- what the converter does not know


def _with_proven_names(base: Any, request: Request, send: Send) -> Callable[[Any, Any], str]:
    """`get_vocab_base_pre` that proves a name by behaviour where the converter's own has none."""
    official = base.TextModel.get_vocab_base_pre

    def named(model: Any, tokenizer: Any) -> str:
        try:
            return str(official(model, tokenizer))
        except NotImplementedError:
            remembered = pretokenizer.recall(tokenizer, Path(request.memory))
            found = remembered or _prove(base, model, tokenizer, request)
            send({"pretokenizer": found.name, "lines": found.lines, "specials_agree": found.specials_agree})
            return found.name

    return named


def _prove(base: Any, model: Any, tokenizer: Any, request: Request) -> pretokenizer.Match:
    from lqmf.quantization.gguf.toolchain import Toolchain

    names = Toolchain(Path(request.toolchain), "", "").pretokenizers()
    file = Path(request.scratch) / "vocabulary.gguf"
    current = base.TextModel.get_vocab_base_pre
    base.TextModel.get_vocab_base_pre = lambda _model, _tokenizer: "default"
    try:
        type(model)(model.dir_model, model.ftype, file).write_vocab()
    finally:
        base.TextModel.get_vocab_base_pre = current
    try:
        return pretokenizer.match(tokenizer, file, names, Path(request.text), Path(request.memory))
    finally:
        file.unlink(missing_ok=True)


def _reconcile(base: Any) -> None:
    """Give the converter the configuration keys it looks for, and state a rope base that it leaves out."""
    load, prepare = base.ModelBase.load_hparams, base.TextModel.prepare_metadata

    def completed(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return compat.completed(load(*args, **kwargs))

    def stated(model: Any, *args: Any, **kwargs: Any) -> None:
        prepare(model, *args, **kwargs)
        key = f"{model.gguf_writer.arch}.rope.freq_base"
        rope_base = compat.unsaid_rope_base(model.hparams)
        if rope_base is not None and not any(key in values for values in model.gguf_writer.kv_data):
            model.gguf_writer.add_rope_freq_base(rope_base)

    base.ModelBase.load_hparams = staticmethod(completed)
    base.TextModel.prepare_metadata = stated


# ---------------------------------------------------------------- talking to the parent


def _claim_stdout() -> Send:
    """Take standard output for JSON lines, and let everything else that prints there print to standard error."""
    stream: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return send


def _end_with_parent() -> None:
    """Leave at once when the parent closes its end of standard input, by intent or by dying."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _report_bytes(send: Send) -> None:
    """Put our own bar in place of the one that the GGUF writer makes."""
    import tqdm  # type: ignore[import-untyped]

    class Bar:
        def __init__(self, *_args: Any, total: int | None = None, **_kwargs: Any) -> None:
            self.done, self.total, self.told = 0, total, 0.0

        def update(self, count: int) -> None:
            self.done += count
            if self.done == self.total or time.monotonic() - self.told > _REPORT_EVERY_SECONDS:
                self.told = time.monotonic()
                send({"done_bytes": self.done, "total_bytes": self.total})

    tqdm.tqdm = Bar


def translate(error: BaseException) -> LqmfError:
    """What the converter raised, as one of our errors, by type."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, MemoryError):
        return OutOfMemory("Converting the model to GGUF ran out of memory.", "Close other programs and try again.")
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFull(
            "The disk filled up while the model was converted to GGUF.", "Run `lqmf disk` to see what to free."
        )
    if isinstance(error, SystemExit | NotImplementedError):
        return UnsupportedModel(f"llama.cpp's converter does not know this model: {reason}", "Choose another model.")
    if isinstance(error, FileNotFoundError) or "Missing" in reason:
        return IncompleteModel(f"The model is incomplete: {reason}", "Download it again.")
    return UnsupportedModel(
        f"llama.cpp's converter could not convert this model: {type(error).__name__}: {reason}",
        "The job's log has the converter's own words.",
    )


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # torch takes over a second to take itself apart
