"""One process that quantizes and measures many small models, so that torch and its libraries are loaded once: by the
backends' own `quantize`, and through LQMF's engines.

`make` and `measure` are asked by JSON lines, one at a time. Knows no expectation.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lqmf.errors import LqmfError, from_json
from lqmf.model_files.model_kind import Nature, kind_at
from lqmf.quantization.promise import Source
from lqmf.quantization.registry import backend
from lqmf.records import ModelRef, QuantizationPlan, to_json
from tests.architectures import families

WINDOWS, WINDOW_TOKENS = 2, 96
QUICK = {"gptq": {"windows": "4"}}
ROOT = Path(__file__).parents[2]


def plan_for(method: str, type: str, source: Path) -> QuantizationPlan:
    """The plan for this type with the method's usual settings, on the CPU; GPTQ calibrates on few windows."""
    kind = backend(method).types[type]
    form: Literal["gguf", "safetensors"] = "gguf" if method == "gguf" else "safetensors"
    ref = ModelRef("local", source.name, path=str(source))
    name = "" if method == "gptq" else type
    return QuantizationPlan("p", ref, None, method, kind.bits, name, form, "cpu", parameters=QUICK.get(method, {}))


class Maker:
    """The process, seen from outside. Raises what the backend raised, and AssertionError when the process died."""

    def __init__(self, log: Path) -> None:
        environment = {**os.environ, "GPTQMODEL_CPU_WORKERS": "2", "OMP_NUM_THREADS": "2"}
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.architectures.maker", str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip

    def make(self, method: str, type: str, source: Path, place: Path) -> Path:
        """The folder of the artifact, below `place`."""
        self._ask({"do": "make", "method": method, "type": type, "source": str(source), "place": str(place)})
        return place / "out"

    def measure(self, source: Path, artifact: Path) -> dict[str, Any]:
        """How far `artifact` is from `source`: "kl" of a decoder; "cosine" of an encoder; "kl" and "loss" of both
        sides for an encoder-decoder. Raises LqmfError, above all for what is no number."""
        return self._ask({"do": "measure", "source": str(source), "artifact": str(artifact)})

    def _ask(self, told: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process died; its last words:\n{self._log.read_text(errors='replace')[-3000:]}"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise from_json(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)


class Makers:
    """The processes that make and measure. gptqmodel changes transformers when it is imported, so GPTQ is made in a
    process of its own, and what was made is measured in a fresh one, as a user's program would load it."""

    def __init__(self, place: Path) -> None:
        self._place, self._made = place, dict[bool, Maker]()

    def __enter__(self) -> Makers:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._made.values():
            each.close()

    def making(self, method: str) -> Maker:
        """The process that makes artifacts of `method`."""
        apart = method == "gptq"
        if apart not in self._made:
            self._made[apart] = Maker(self._place / f"log-{apart}")
        return self._made[apart]

    @contextlib.contextmanager
    def measuring(self, method: str) -> Iterator[Maker]:
        """A process that measures one artifact of `method`."""
        if method != "gptq":
            yield self.making(method)
            return
        maker = Maker(self._place / "log-fresh")
        try:
            yield maker
        finally:
            maker.close()


# ---------------------------------------------------------------- in the process


def main() -> int:
    answers = os.fdopen(os.dup(1), "w")
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for line in sys.stdin:
        told = json.loads(line)
        do: Callable[[Mapping[str, Any]], dict[str, Any]] = {"make": _make, "measure": _measure}[told["do"]]
        try:
            answer = do(told)
        except LqmfError as error:
            answer = {"error": error.to_json()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _make(told: Mapping[str, Any]) -> dict[str, Any]:
    source, place = Path(told["source"]), Path(told["place"])
    out, work = place / "out", place / "work"
    out.mkdir(parents=True)
    work.mkdir()
    plan = plan_for(told["method"], told["type"], source)
    built = backend(told["method"]).quantize(plan, Source(source), out, work, lambda _event: None)
    return {"built": to_json(built)}


def _measure(told: Mapping[str, Any]) -> dict[str, Any]:
    import numpy as np

    from lqmf.quality.receipt.divergence import DivergenceMeter
    from lqmf.quality.receipt.similarity import SimilarityMeter

    kind, vocabulary, expected = _of_source(Path(told["source"]))
    windows = _windows(vocabulary)
    found = list(_rows(kind, Path(told["artifact"]), windows))
    if kind == "encoder":
        alike = SimilarityMeter()
        for p, q in zip(expected, found, strict=True):
            alike.add(p, q)
        similarity = alike.similarity()
        return {
            "cosine": similarity["token_cosine"]["mean"],
            "between": similarity["embedding_cosine"]["between_texts"],
        }
    meter = DivergenceMeter()
    for p, q, window in zip(expected, found, windows, strict=True):
        meter.add(p, q, np.asarray(window[-len(p) :]))
    loss = {"source": float(meter.source.surprises.mean()), "artifact": float(meter.artifact.surprises.mean())}
    return {"kl": meter.divergence().mean, "top1": meter.top1_agreement, "loss": loss}


@functools.cache
def _of_source(source: Path) -> tuple[Nature, int, list[Any]]:
    """The source's kind, its vocabulary, and what it makes of the windows: asked of one that is sound, once."""
    kind, vocabulary = kind_at(source), int(families.config(source.name)["vocab_size"])
    return kind, vocabulary, list(_rows(kind, source, _windows(vocabulary)))


def _windows(vocabulary: int) -> list[list[int]]:
    import numpy as np

    drawn: list[list[int]] = np.random.default_rng(0).integers(5, vocabulary, (WINDOWS, WINDOW_TOKENS)).tolist()
    return drawn


def _rows(kind: Nature, path: Path, windows: list[list[int]]) -> Iterator[Any]:
    """What the model at `path` makes of each window: logits for the tokens after the first, the states of an encoder's
    tokens, or the logits for the second half as an answer to the first."""
    from lqmf.engines.reader import open_reader
    from lqmf.engines.registry import open_engine

    if kind == "decoder":
        with open_engine(path, device="cpu") as engine:
            yield from (logits[:-1] for logits in engine.logits(windows))
        return
    half = WINDOW_TOKENS // 2
    with open_reader(path) as reader:
        for window in windows:
            if kind == "encoder":
                yield reader.states(reader.add_special_tokens(window))
            else:
                yield reader.answers(reader.add_special_tokens(window[:half]), window[half:])


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
