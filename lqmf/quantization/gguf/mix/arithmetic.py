"""Questions to libllama about a GGUF file: which type each tensor would get, and how much memory a context would take.

The weights of the file may be holes: libllama runs `llama_model_quantize` with `dry_run`, and makes contexts of a model
loaded with `no_alloc`. It answers in its log, which is read here. It may abort the process, so it is asked in a child
(`python -m lqmf.quantization.gguf.mix.arithmetic`) that does one step after another; a step that kills the child is
left out.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lqmf import child_process
from lqmf.child_process import Send
from lqmf.engines.llama.context import ContextOptions, parameters, size_for
from lqmf.errors import LqmfError, ModelError, WorkerDied
from lqmf.quantization.gguf.mix import dryrun
from lqmf.records import from_json, to_json

SCALE_CHATS = 64  # a context for so many chats shows sizes to a fraction of a byte, where the log's two decimals do not
_SCALE_CONTEXT = 256

_SIZE = re.compile(r"\bsize = *([\d.]+) MiB")
_CELLS = re.compile(r"\( *(\d+) cells, +\d+ layers, +\d+/(\d+) seqs\), K \(\w+\): *([\d.]+) MiB, V \(\w+\): *([\d.]+)")
_LAYER = re.compile(r"layer +(\d+): dev = ")
_BUFFER = re.compile(r"(compute|output) buffer size = *([\d.]+) MiB")
_NODES = re.compile(r"graph: nodes = (\d+)")
_DEBUG, _ERROR = 1, 4  # GGML_LOG_LEVEL_


@dataclass(frozen=True)
class Step:
    """One question. `what` is "types": the tensor types of every file type; "scale": one context for SCALE_CHATS chats
    of 256 tokens, cached as `cache_type`; or "contexts": each of the contexts, for a batch of `ubatch` tokens."""

    what: str
    cache_type: str = "f16"
    ubatch: int = 512


@dataclass(frozen=True)
class Cache:
    """One key-value cache as the log tells it: `cells` of all chats, sizes rounded to hundredths of a MiB."""

    cells: int
    k_mib: float
    v_mib: float
    layers: tuple[int, ...]


@dataclass(frozen=True)
class State:
    """Memory that does not grow with the context, as recurrent layers keep it."""

    mib: float
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Told:
    """The memory of one context as the log tells it."""

    step: Step
    context: int
    caches: tuple[Cache, ...] = ()
    states: tuple[State, ...] = ()
    compute_mib: float = 0.0
    output_mib: float = 0.0
    nodes: int = 0


@dataclass
class Answers:
    """All answers to the steps. `types` has, for each file type, the tensors that would change and their new types
    ("q6_K"); `doing` is the place of the step that is being done (-1: none yet), and `loaded` says whether the model
    could be loaded."""

    types: dict[str, Mapping[str, str]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doing: int = -1
    loaded: bool = False

    def hear(self, message: Mapping[str, Any]) -> None:
        """Add one message of the child to the answers."""
        self.doing = message.get("doing", self.doing)
        self.loaded = message.get("loaded", self.loaded)
        if "type" in message:
            self.types[message["type"]] = message["tensors"]
        elif "told" in message:
            self.told.append(from_json(Told, message["told"]))
        elif "note" in message:
            self.notes.append(message["note"])


# ---------------------------------------------------------------- the parent's end


def ask(file: Path, types: Mapping[str, int], steps: Sequence[Step], contexts: Sequence[int], parallel: int) -> Answers:
    """Return libllama's answers about `file`: `types` are names of file types with llama.cpp's numbers, `contexts`
    tokens for each of `parallel` chats. A step that libllama refuses, or dies of, is left out and noted.

    Raises WorkerDied when libllama cannot be asked at all, ModelError with its reason for a file that it cannot read.
    """
    answers, left = Answers(), list(steps)
    request = {"file": str(file), "types": dict(types), "contexts": list(contexts), "parallel": parallel}
    while left:
        answers.doing = -1
        with TemporaryDirectory(prefix="lqmf-arithmetic-") as folder:
            asked = {**request, "steps": to_json(left)}
            code = child_process.run(
                "lqmf.quantization.gguf.mix.arithmetic", asked, Path(folder), answers.hear, quiet=True
            )
        if code == 0:
            break
        if answers.doing < 0 or code == -signal.SIGKILL:
            raise _died(code)
        failed, left = left[answers.doing], left[answers.doing + 1 :]
        answers.notes.append(f"llama.cpp {child_process.ending(code)} (when asked about {_named(failed)}).")
        if failed.what != "types" and not answers.loaded:
            break
    if not answers.types and not answers.told:
        raise _died(code)
    return answers


def _died(code: int) -> WorkerDied:
    return WorkerDied(
        f"llama.cpp {child_process.ending(code)} (when asked what this model needs).",
        "Try again with other programs closed; `lqmf doctor` checks the installation.",
    )


def _named(step: Step) -> str:
    return "the types of the tensors" if step.what == "types" else f"a {step.cache_type} cache"


# ---------------------------------------------------------------- the child's end


def main() -> int:
    """Carry out the steps of the request. Return the exit code: 0 done, 1 after an error was sent."""
    send = child_process.claim_stdout()
    child_process.end_with_parent()
    request = json.loads(sys.argv[1])
    steps = [from_json(Step, step) for step in request["steps"]]
    try:
        _Asker(request, send).carry_out(steps)
    except LqmfError as error:
        send({"error": error.to_json()})
        return 1
    return 0


@dataclass
class _Log:
    """libllama's log since it was last cleared; lines for debuggers are dropped, but for those about layers."""

    lines: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def hear(self, level: int, raw: bytes, _user: object) -> None:
        if level == _DEBUG and b": dev = " not in raw:
            return
        text = raw.decode("utf-8", "replace")
        self.lines.append(text)
        if level == _ERROR and text.strip():
            self.errors.append(text.strip())

    def clear(self) -> None:
        self.lines.clear()
        self.errors.clear()

    @property
    def complaint(self) -> str:
        """Return the log's first error, without the names of functions."""
        return re.sub(r"^\w+: ((failed|error)[\w ]*: )?", "", self.errors[0]) if self.errors else "no reason given"

    @property
    def text(self) -> str:
        return "".join(self.lines)


class _Asker:
    """The steps of one request, carried out in this process."""

    def __init__(self, request: Mapping[str, Any], send: Send) -> None:
        from lqmf.ggml import library

        self._file = str(request["file"])
        self._types: Mapping[str, int] = request["types"]
        self._contexts: list[int] = request["contexts"]
        self._parallel: int = request["parallel"]
        self._send, self._log, self._told_types = send, _Log(), False
        self._lib = library.load()
        self._callback = self._lib.llama_log_callback(self._log.hear)  # held for as long as libllama may call it
        self._lib.llama_log_set(self._callback, ctypes.c_void_p())

    def carry_out(self, steps: Sequence[Step]) -> None:
        """Carry out every step; send the place of each before it starts, in case it kills the process."""
        model = None
        for place, step in enumerate(steps):
            self._send({"doing": place})
            if step.what == "types":
                self._ask_types()
                continue
            model = model or self._load()
            if not model:
                return
            if step.what == "scale":
                self._tell(model, step, _SCALE_CONTEXT, SCALE_CHATS)
            else:
                all(self._tell(model, step, context, self._parallel) for context in self._contexts)

    def _ask_types(self) -> None:
        for name, number in self._types.items():
            self._log.clear()
            code = dryrun.attempt(self._lib, self._file, number, imatrix=False)
            if code == 0:
                self._told_types = True
                self._send({"type": name, "tensors": dryrun.changes(self._log.text)})
            else:
                self._send({"note": f"llama.cpp would not make {name}: {self._log.complaint}"})

    def _load(self) -> Any:
        """Return the model with nothing allocated; None, with a note, where libllama told its types but does not load
        it. Raises ModelError where libllama could not even tell its types."""
        parameters = self._lib.llama_model_default_params()
        parameters.no_alloc, parameters.n_gpu_layers = True, 0
        parameters.load_mode = 0  # no memory map: libllama asserts that none is asked for together with no_alloc
        self._log.clear()
        model = self._lib.llama_model_load_from_file(os.fsencode(self._file), parameters)
        if not model:
            refusal = f"llama.cpp cannot load this model: {self._log.complaint}"
            if not self._told_types:
                raise ModelError(refusal, "Choose another model.")
            self._send({"note": refusal})
            return None
        self._send({"loaded": True})
        return model

    def _tell(self, model: Any, step: Step, context: int, chats: int) -> bool:
        """Send the memory that a context for `chats` chats takes when they write text on a CPU, with one row of logits
        for each chat, as the engine asks for it; or send a note why there is no context. Return whether there is
        one."""
        self._log.clear()
        options = ContextOptions(step.ubatch, 1, step.cache_type, step.cache_type, gpu=False)
        asked = parameters(self._lib, size_for(context), 1, options)
        asked.n_ctx *= chats
        asked.n_seq_max = asked.n_outputs_max = chats
        made = self._lib.llama_init_from_model(model, asked)
        if not made:
            if step.what == "contexts":
                self._send({"note": f"llama.cpp refuses {_named(step)}: {self._log.complaint}"})
            return False
        self._lib.llama_free(made)
        self._send({"told": to_json(read(step, context, self._log.text))})
        return True


def read(step: Step, context: int, log: str) -> Told:
    """Return the memory of a context by the log of making it; in the log, each cache's layers come before its size."""
    caches, states, layers = [], [], []
    buffers, nodes = {"compute": 0.0, "output": 0.0}, 0
    for line in log.splitlines():
        if layer := _LAYER.search(line):
            layers.append(int(layer[1]))
        elif cells := _CELLS.search(line):
            caches.append(Cache(int(cells[1]) * int(cells[2]), float(cells[3]), float(cells[4]), tuple(layers)))
            layers = []
        elif buffer := _BUFFER.search(line):
            buffers[buffer[1]] += float(buffer[2])
        elif graph := _NODES.search(line):
            nodes = int(graph[1])
        elif (size := _SIZE.search(line)) and "buffer size" not in line:
            states.append(State(float(size[1]), tuple(layers)))
            layers = []
    return Told(step, context, tuple(caches), tuple(states), buffers["compute"], buffers["output"], nodes)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # libllama's own taking apart is of no use here
