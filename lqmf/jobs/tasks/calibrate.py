"""The worker's side of `lqmf doctor --calibrate`: what running models costs here, from models made of zeros.

Each runs in the engine that runs everyone's models, so whatever this build and this processor do (threads, weights
arranged anew, the cost of many small steps) is in the figures. A run is repeated until two agree, and the quicker one
counts, so that what other programs take now and then is not in the figures. Knows no real model.

A GPU is measured like the processor, where this build of llama.cpp has one. (That half has not been run yet: the
machine that this was written on has none.)
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psutil

from lqmf.errors import GpuOutOfMemory, MeasurementError
from lqmf.events import Emit, Notice
from lqmf.fit import zeros
from lqmf.fit.calibration import Calibration, Rate, Rates, this_machine
from lqmf.fit.zeros import Shape
from lqmf.inference import llama_library
from lqmf.inference.engine import Sampling
from lqmf.inference.local import LocalEngine
from lqmf.inference.registry import open_engine
from lqmf.quality.stage import Report, stage
from lqmf.quality.utilization import Watch
from lqmf.records import Task, to_json

TYPES = (
    *("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs", "iq4_nl", "iq3_s", "iq3_xxs"),
    *("iq2_s", "iq2_xs", "iq2_xxs", "iq1_s", "iq1_m", "q5_0", "q5_1", "q4_0", "q4_1", "mxfp4"),
)
SMALL = Shape("q8_0", layers=16, width=128, inner=128, context=256)  # in the caches as a whole
MANY = Shape("q8_0", layers=12, width=768, inner=2048)  # many matrices that are in memory, of which each is small
ATTENTIVE = Shape("q8_0", layers=8, width=512, inner=512)
WORDY = Shape("q8_0", layers=1, width=64, inner=64, vocabulary=1 << 17)
WIDTH, LAYER = 2048, 60e6  # of the models that measure a type: their rows, and about so many weights in a layer
BYTES = {"cpu": 96 << 20, "gpu": 384 << 20}  # of their weights: more than caches hold
WEIGHTS = {"cpu": 160e6, "gpu": 640e6}  # at most: types of few bits take long to compute and are not held up by memory
SHORT, LONG = 16, 960  # tokens of the two prompts whose difference is attention
PROMPT_WORK, PROMPT_TOKENS = 5e9, 256  # multiply-adds of a prompt that measures a type, and its tokens at most
LEAST_TOKENS, ENOUGH_SECONDS = 4, 0.08  # of writing, in one run
AGREED, MOST_RUNS = 0.08, 4  # by how much two runs differ that agree, and how many there are at most
BUSY = 0.5  # of the cores in use, from which a calibration is doubtful

Device = Literal["cpu", "gpu"]


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Needs no `params`. Gives {"calibration": a Calibration as JSON}. Raises LqmfError, above all MeasurementError
    when the machine was too busy."""
    _warn_if_busy(emit)
    has_gpu = bool(llama_library.load().llama_supports_gpu_offload())
    with stage(emit, "calibrate", "Measuring this machine", "steps") as report, tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder) / "zeros.gguf", report, 2 + (len(TYPES) + 5) * (1 + has_gpu))
        base, entry = bench.memory()
        cpu, gpu = bench.rates("cpu"), None
        try:
            gpu = bench.rates("gpu") if has_gpu else None
        except GpuOutOfMemory as error:
            emit(Notice(text=f"The GPU was not measured. {error.message}", level="warning"))
    return {"calibration": to_json(Calibration(this_machine(), cpu, gpu, base, entry))}


def _warn_if_busy(emit: Emit) -> None:
    """Threads that wait for one another lose most of their time when others want the same cores."""
    load = psutil.getloadavg()[0]
    if load > BUSY * llama_library.threads():
        told = f"Other programs are busy here (load {load:.1f}), so this will come out too slow."
        emit(Notice(text=f"{told} Calibrate again when it is quiet.", level="warning"))


@dataclass(frozen=True)
class _Model:
    """A loaded model of zeros, and what llama.cpp's log told of it."""

    engine: LocalEngine
    log: list[str]

    def run(self, prompt: int, tokens: int = 32) -> tuple[float, float]:
        """Seconds until the first token after a prompt of so many tokens, then for a further one: the median of up to
        `tokens`."""
        start = last = time.perf_counter()
        taken: list[float] = []
        for _piece in self.engine.generate([1] * prompt, Sampling(max_tokens=1 + tokens)):
            now = time.perf_counter()
            taken.append(now - last)
            last = now
            if len(taken) > LEAST_TOKENS and last - start > taken[0] + ENOUGH_SECONDS:
                break
        later = sorted(taken[1:]) or [0.0]
        return taken[0], later[len(later) // 2]

    def steady(self, prompt: int) -> tuple[float, float]:
        """The same of several runs: of each the quickest, once two agree."""
        reading: list[float] = []
        writing: list[float] = []
        while len(reading) < MOST_RUNS and not (_agree(reading) and _agree(writing)):
            first, later = self.run(prompt)
            reading.append(first)
            writing.append(later)
        return min(reading), min(writing)

    def told(self, pattern: str) -> list[float]:
        """The numbers that the log gave, in order."""
        return [float(number) for line in self.log for number in re.findall(pattern, line)]


@dataclass(frozen=True)
class _Times:
    """What a model took: seconds for a prompt of so many tokens, and for one token written after it. `held_bytes` are
    those of its weights that llama.cpp arranged anew."""

    shape: Shape
    prompt: int
    reading: float
    writing: float
    nodes: float
    held_bytes: float


class _Bench:
    """One file that holds one model after another."""

    def __init__(self, file: Path, report: Report, total: int) -> None:
        self._file, self._report, self._total = file, report, total
        self._done = count()

    @contextmanager
    def model(self, shape: Shape, device: Device = "cpu") -> Iterator[_Model]:
        """The model of that shape, loaded and warm."""
        self._report(next(self._done), self._total, shape.type)
        zeros.write(self._file, shape)
        with _log() as said, open_engine(self._file, device=device) as engine:
            model = _Model(engine, said)
            model.run(SHORT, 0)
            yield model

    def timed(self, shape: Shape, device: Device, *prompts: int) -> list[_Times]:
        """What the model of that shape takes with each prompt."""
        with self.model(shape, device) as model:
            nodes = model.told(r"graph: nodes = (\d+)")[-1]
            held = sum(model.told(r"load_tensors: +(?!CPU |\S+_Mapped)\S+ model buffer size = +([\d.]+) MiB"))
            return [_Times(shape, prompt, *model.steady(prompt), nodes, held * (1 << 20)) for prompt in prompts]

    def memory(self) -> tuple[int, float]:
        """What a process that tests models takes beside them, and what an entry of a vocabulary adds, in bytes."""
        buffers = r"(?<!Mapped model) buffer size = +([\d.]+) MiB"
        with self.model(SMALL) as small, Watch():
            small.run(SMALL.context - 1, 1)
            list(small.engine.logits([[1] * 64]))
            bare = _rss() - sum(small.told(buffers)) * (1 << 20) - self._file.stat().st_size
        before = _rss()
        with self.model(WORDY) as wordy:
            grown = _rss() - before - sum(wordy.told(buffers)) * (1 << 20) - WORDY.read_bytes * 2
        return round(bare), max(0.0, grown) / WORDY.vocabulary

    def rates(self, device: Device) -> Rates:
        """How fast `device` is at everything."""
        (small,) = self.timed(SMALL, device, SHORT)
        short, half, whole = self._attentive(device)
        pairs = ATTENTIVE.attention * LONG**2 / 4  # of N tokens N * N / 2 look at each other: twice half leaves these
        known = Rates(
            types={},
            node_seconds=0.0,
            cached_node_seconds=small.writing / small.nodes,
            attention_per_second=ATTENTIVE.attention * (LONG - SHORT) / _positive(whole.writing - short.writing),
            prompt_attention_per_second=pairs / _positive(whole.reading - 2 * half.reading),
            passing_seconds=0.0,
            vocabulary_seconds=0.0,
        )
        known = replace(known, node_seconds=self._node(device, known))
        known = replace(known, types={type: _rate(self._typical(type, device), device, known) for type in TYPES})
        (wordy,) = self.timed(WORDY, device, SHORT)
        reading = WORDY.read_bytes / known.types[WORDY.type].read_bytes_per_second
        choosing = wordy.writing - reading - wordy.nodes * known.cached_node_seconds
        linear = (4 * half.reading - whole.reading) / LONG  # seconds of a token, but for attention
        passing = linear - ATTENTIVE.weights / known.types[ATTENTIVE.type].multiply_adds_per_second
        return replace(
            known,
            passing_seconds=max(0.0, passing) / ATTENTIVE.attention,
            vocabulary_seconds=max(0.0, choosing) / WORDY.vocabulary,
        )

    def _attentive(self, device: Device) -> tuple[_Times, _Times, _Times]:
        """A model that mostly attends: a short prompt, half of a long one, and the long one, once they make sense."""
        for _ in range(MOST_RUNS):
            short, half, whole = self.timed(ATTENTIVE, device, SHORT, LONG // 2, LONG)
            if whole.writing > short.writing and whole.reading > 2 * half.reading:
                break
        return short, half, whole

    def _node(self, device: Device, known: Rates) -> float:
        """Seconds of a node, from two models that read about as much, in many and in few matrices."""
        (many,) = self.timed(MANY, device, SHORT)
        few = self._typical(MANY.type, device)
        part = MANY.read_bytes / few.shape.read_bytes
        slower = many.writing - _looking(many, known) - part * (few.writing - _looking(few, known))
        return max(known.cached_node_seconds, slower / (many.nodes - part * few.nodes))

    def _typical(self, type: str, device: Device) -> _Times:
        """A model of one type with matrices as large as those of models with a billion weights or two."""
        wanted = min(WEIGHTS[device], BYTES[device] / zeros.tensor_bytes(type, 1 << 20) * (1 << 20))
        layers = max(1, round(wanted / LAYER))
        inner = max(1, round((wanted / layers - 4 * WIDTH**2) / (3 * WIDTH) / 256)) * 256
        prompt = max(32, min(PROMPT_TOKENS, int(PROMPT_WORK / wanted)))
        return self.timed(Shape(type, layers, WIDTH, inner), device, prompt)[0]


def _rate(times: _Times, device: Device, known: Rates) -> Rate:
    """A type's rates: what a model of it took, less what is no matrix."""
    shape, waiting = times.shape, times.nodes * known.node_seconds
    written = times.writing - waiting - _looking(times, known)
    pairs = shape.attention * times.prompt**2 / 2
    read = times.reading - waiting - pairs / known.prompt_attention_per_second
    copied = times.held_bytes / shape.read_bytes if device == "cpu" else 0.0
    return Rate(shape.read_bytes / _positive(written), shape.weights * times.prompt / _positive(read), copied)


def _looking(times: _Times, known: Rates) -> float:
    """Seconds of attention of a token that is written after the prompt."""
    return times.shape.attention * times.prompt / known.attention_per_second


def _agree(times: Sequence[float]) -> bool:
    quickest = sorted(times)[:2]
    return len(quickest) == 2 and quickest[1] <= quickest[0] * (1 + AGREED)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise MeasurementError(
            "Other programs kept this machine too busy to be measured.", "lqmf doctor --calibrate, when it is quiet"
        )
    return seconds


def _rss() -> int:
    return int(psutil.Process().memory_info().rss)


@contextmanager
def _log() -> Iterator[list[str]]:
    """llama.cpp's log from here on, kept instead of passed on."""
    kept: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    logger, before = llama_library.log, (llama_library.log.level, llama_library.log.propagate)
    logger.addHandler(handler)
    logger.level, logger.propagate = logging.DEBUG, False
    try:
        yield kept
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
