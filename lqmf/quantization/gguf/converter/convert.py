"""The official converter in a child process: the requests to it, and the errors that its exit codes stand for.

Asks `launcher.py` for a file's header alone; `stream/pipeline.py` asks it for whole files. Knows nothing about
quantizing.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lqmf import child_process, forks, workspace
from lqmf.errors import LqmfError, OutOfMemory, WorkerDied
from lqmf.events import Emit, Notice
from lqmf.model_files import safetensors_folder, safetensors_header
from lqmf.quantization.gguf.converter import tensor_names
from lqmf.quantization.gguf.converter import toolchain as toolchains
from lqmf.quantization.gguf.converter.source import has_tokenizer, inspect
from lqmf.quantization.gguf.converter.toolchain import Toolchain

MATCHED = "The converter does not recognize this tokenizer; "  # how a note on one that was proven begins
WITHOUT_PREDICTION = (
    "config.json names layers that predict further tokens, which the weights do not have: the file is made without."
)
LAUNCHER = "lqmf.quantization.gguf.converter.launcher"  # the module that a server of conversions runs
DIFFERS = "llama.cpp reads other tokens than the model's own tokenizer in "  # how a note on such lines begins
NO_TOKENIZER = "The tokenizer is unknown: "  # how a note on one left out begins


@dataclass(frozen=True)
class Converted:
    """The path of the header that was written, and notes for the user."""

    path: Path
    notes: tuple[str, ...] = ()


def ready(emit: Emit) -> Toolchain:
    """Return the converter; fetch it now, with a notice, if it is not on this machine yet. Raises ToolchainError,
    DiskFull."""
    found = toolchains.find()
    if found is None:
        emit(Notice(text="Fetching llama.cpp's converter (77 MB), once."))
        found = toolchains.ensure()
    if found.warning:
        emit(Notice(text=found.warning, level="warning"))
    return found


def write_header(source: Path, target: Path, tools: Toolchain, *, scratch: Path, name: str) -> Converted:
    """Write to `target` the beginning of the F16 file of the model in `source`: its keys, and its tensors' names and
    shapes.

    No weight is read or written, and a tokenizer that cannot be read gives a note instead of an error. Raises
    IncompleteModel, UnsafeFormat, UnsupportedModel and RemoteCodeRefused for a model that cannot be converted,
    DiskFull, OutOfMemory, WorkerDied.
    """
    inspect(source, tools, tokenizer=False)
    found: list[str] = []

    def hear(message: Mapping[str, Any]) -> None:
        found.extend(notes(message))

    with named(source, scratch, name) as folder:
        asked = request(source, folder, target, "f16", tools, scratch, name)
        code = forks.ask(server(tools.root, scratch), asked, scratch, hear, quiet=True)
    if code != 0:
        raise died(code, "converter")
    return Converted(target, tuple(dict.fromkeys(found)))


# ---------------------------------------------------------------- the child process


def server(root: Path, scratch: Path) -> forks.Server:
    """Return the server of the converter in `root`, whose forks keep a model's own modules in `scratch`."""
    return forks.Server(LAUNCHER, (str(root.resolve()),), child_process.environment(scratch))


def request(
    source: Path, folder: Path, target: Path, outtype: str, tools: Toolchain, scratch: Path, name: str
) -> dict[str, Any]:
    """Return the request to `launcher.py` to convert the model of `source`, which the converter finds as `folder`, to
    `target`."""
    return {
        "toolchain": str(tools.root.resolve()),
        "model": str(folder),
        "outfile": str(target.resolve()),
        "outtype": outtype,
        "scratch": str(scratch.resolve()),
        "text": str(resources.files("lqmf").joinpath("assets/text/calibration.txt")),
        "memory": str(workspace.cache_dir() / "pretokenizers" / tools.version),
        "model_name": name,
        "has_tokenizer": has_tokenizer(source),
        "prediction_layers": not tensor_names.lacks_prediction_layers(
            safetensors_folder.config(source), [tensor.name for tensor in safetensors_header.tensors(source)]
        ),
    }


@contextmanager
def named(source: Path, scratch: Path, name: str) -> Iterator[Path]:
    """Yield a folder of links to the files in `source` under the model's own name: the converter writes its folder's
    name into the file, and the same plan must give the same bytes wherever the files lie. Of weights only the model's
    own are linked, since the converter takes every file called model*.safetensors. Where links are not allowed, yield
    `source` itself."""
    place = scratch / "source" / name
    shutil.rmtree(place.parent, ignore_errors=True)  # left by a run that was killed
    try:
        place.mkdir(parents=True)
        for file in _needed(source):
            (place / file.name).symlink_to(file.resolve(), target_is_directory=file.is_dir())
    except OSError:
        yield source.resolve()
        return
    try:
        yield place.absolute()
    finally:
        shutil.rmtree(place.parent)


def _needed(source: Path) -> Iterator[Path]:
    """What the converter may see: no weights but those that `source` is made of, and no index, which it takes for more
    than transformers does (a tied head that it names is nowhere)."""
    weights = safetensors_header.weights(source)
    for file in source.iterdir():
        weighty = file.name.endswith((".safetensors", ".safetensors.index.json"))
        if file in weights or not weighty:
            yield file


def notes(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a user should know by a `message` of the converter's process."""
    if "pretokenizer" in message:
        text = f"{MATCHED}llama.cpp's pre-tokenizer '{message['pretokenizer']}' gives the same tokens on "
        text += f"{message['lines']} varied lines."
        yield text if message["specials_agree"] else text + " It differs in the special tokens put around a text."
    elif "no_tokenizer" in message:
        yield f"{NO_TOKENIZER}{message['no_tokenizer']} Sizes leave the vocabulary out."
    elif "prediction_layers" in message:
        yield WITHOUT_PREDICTION
    elif "differences" in message:
        yield from _differences(**message["differences"])


def _differences(lines: int, differ: int, decomposed_differ: int, example: str, **_others: int) -> Iterator[str]:
    if differ:
        yield f"{DIFFERS}{differ:,} of {lines:,} varied lines, such as {example!r}."
    elif decomposed_differ:
        yield f"{DIFFERS}text whose accents stand apart from their letters (Unicode's NFD, as in file names of macOS)."


def died(code: int, what: str) -> LqmfError:
    """Return the error of a child process, called `what`, that ended with `code` and sent no error itself: OutOfMemory
    if it was killed, else WorkerDied."""
    if code == -signal.SIGKILL:
        return OutOfMemory(
            f"The {what} was killed, most likely by the system for lack of memory.",
            "Close other programs and try again; what is finished stays.",
        )
    return WorkerDied(f"The {what} ended unexpectedly ({code}).", "The job's log has its last words.")
