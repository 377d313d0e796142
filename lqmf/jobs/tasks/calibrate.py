"""Measures the cost of running models on this machine, as the worker's task of `lqmf doctor --calibrate`, with
synthetic models.

Each model runs in the engine that runs everyone's models, so all effects of this build and this processor (threads,
rearranged weights, the cost of many small steps) are in the figures. Each is run for a while and the median counts: the
quickest of many short runs is faster than any model stays. Knows no real model.

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
from functools import cache
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import psutil

from lqmf.engines.local import LocalEngine
from lqmf.engines.promise import Sampling
from lqmf.engines.registry import open_engine
from lqmf.errors import GpuOutOfMemory, MeasurementError
from lqmf.events import Emit, Notice, Report, stage
from lqmf.fit.calibration import Calibration, Rate, Rates, this_machine
from lqmf.ggml import codec, library, synthetic_model
from lqmf.ggml.synthetic_model import Shape
from lqmf.quality.receipt.utilization import Watch
from lqmf.records import Task, to_json

TYPES = (
    *("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs", "iq4_nl", "iq3_s", "iq3_xxs"),
    *("iq2_s", "iq2_xs", "iq2_xxs", "iq1_s", "iq1_m", "q5_0", "q5_1", "q4_0", "q4_1", "mxfp4"),
)
SMALL = Shape("q8_0", layers=16, width=128, inner=128, context=256)  # in the caches as a whole
HELD = Shape("q8_0", layers=2, width=1024, inner=1024)  # there too, with matrices that take some reading
MANY = Shape("q8_0", layers=12, width=768, inner=2048)  # many matrices that are in memory, of which each is small
NARROW = Shape("q8_0", layers=24, width=256, inner=256)  # most of its prompt passes between the matrices
ATTENTIVE = Shape("q8_0", layers=8, width=512, inner=64, context=2048)
WORDY = Shape("q8_0", layers=1, width=64, inner=64, vocabulary=1 << 17)
WHOLE = tuple(Shape(type, layers=12, width=1024, inner=2816) for type in ("q4_k", "q8_0"))  # as models are built
EXPERT = Shape("q4_k", layers=4, width=1024, inner=512, experts=16, used=4)
WIDTH, LAYER = 2048, 60e6  # of the models that measure a type: their rows, and about so many weights in a layer
BYTES = {"cpu": 256 << 20, "gpu": 384 << 20}  # of their weights: more than caches hold, even in part
WEIGHTS = {"cpu": 400e6, "gpu": 640e6}  # at most: types of few bits take long to compute and are not held up by memory
ROWS = 32  # of random numbers, over and over
SHORT, LONG = 16, 1984  # tokens of the two prompts whose difference is attention
PROMPT_TOKENS = 256  # of a prompt that measures how a type is multiplied
PROMPT_LAYERS, PROMPT_INNER = 3, 2048  # of the model for that: more than caches hold of most types
LEAST_TOKENS, ENOUGH_SECONDS = 4, 0.08  # of writing, in one run
LEAST_RUNS, MOST_RUNS, STEADY_SECONDS = 3, 15, 0.5  # of one measurement: luck evens out, a core's clock settles
BUSY = 0.5  # of the cores in use, from which a calibration is doubtful

Device = Literal["cpu", "gpu"]


def run(task: Task, emit: Emit) -> dict[str, Any]:
    """Measure this machine. Needs no `params`. Returns {"calibration": a Calibration as JSON}. Raises LqmfError, above
    all MeasurementError when the machine was too busy."""
    _warn_if_busy(emit)
    has_gpu = bool(library.load().llama_supports_gpu_offload())
    with stage(emit, "calibrate", "Measuring this machine", "steps") as report, tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder) / "zeros.gguf", report, 2 + (2 * len(TYPES) + 8 + len(WHOLE)) * (1 + has_gpu))
        base, entry = bench.memory()
        cpu, gpu = bench.rates("cpu"), None
        try:
            gpu = bench.rates("gpu") if has_gpu else None
        except GpuOutOfMemory as error:
            emit(Notice(text=f"The GPU was not measured. {error.message}", level="warning"))
    return {"calibration": to_json(Calibration(this_machine(), cpu, gpu, base, entry))}


def _warn_if_busy(emit: Emit) -> None:
    """Warn when other programs are busy: threads that wait for one another lose most of their time when others want the
    same cores."""
    load = psutil.getloadavg()[0]
    if load > BUSY * library.threads():
        told = f"Other programs are busy here (load {load:.1f}), so this will come out too slow."
        emit(Notice(text=f"{told} Calibrate again when it is quiet.", level="warning"))


@dataclass(frozen=True)
class _Model:
    """A loaded model of zeros, and the lines of llama.cpp's log about it."""

    engine: LocalEngine
    log: list[str]

    def run(self, prompt: int, tokens: int = 32) -> tuple[float, float]:
        """Return (seconds until the first token after a prompt of `prompt` tokens, median seconds of a further token,
        of up to `tokens`)."""
        start = last = time.perf_counter()
        taken: list[float] = []
        said = [1 + place % 200 for place in range(prompt)]
        for _piece in self.engine.generate(said, Sampling(max_tokens=1 + tokens)):
            now = time.perf_counter()
            taken.append(now - last)
            last = now
            if len(taken) > LEAST_TOKENS and last - start > taken[0] + ENOUGH_SECONDS:
                break
        later = sorted(taken[1:]) or [0.0]
        return taken[0], later[len(later) // 2]

    def steady(self, prompt: int) -> tuple[float, float]:
        """Return the medians of both times of `run` over several runs, in seconds."""
        reading: list[float] = []
        writing: list[float] = []
        start = time.perf_counter()
        while len(reading) < LEAST_RUNS or (len(reading) < MOST_RUNS and time.perf_counter() - start < STEADY_SECONDS):
            first, later = self.run(prompt)
            reading.append(first)
            writing.append(later)
        return median(reading), median(writing)

    def told(self, pattern: str) -> list[float]:
        """Return the numbers that the log gave, in order."""
        return [float(number) for line in self.log for number in re.findall(pattern, line)]


@dataclass(frozen=True)
class _Times:
    """The times of a model: seconds for a prompt of `prompt` tokens, and for one token written after it. `held_bytes`
    are those of its weights that llama.cpp rearranged."""

    shape: Shape
    prompt: int
    reading: float
    writing: float
    nodes: float
    held_bytes: float


class _Bench:
    """A file that holds one model after another, and the measurements of them."""

    def __init__(self, file: Path, report: Report, total: int) -> None:
        self._file, self._report, self._total = file, report, total
        self._done = count()

    @contextmanager
    def model(self, shape: Shape, device: Device = "cpu", *, live: bool = False) -> Iterator[_Model]:
        """Yield the model of that shape, loaded and warm: of zeros, or with `live` of random numbers."""
        self._report(next(self._done), self._total, shape.type)
        synthetic_model.write(self._file, shape, _rows if live else None)
        with _log() as said, open_engine(self._file, device=device) as engine:
            model = _Model(engine, said)
            model.run(SHORT, 0)
            yield model

    def timed(self, shape: Shape, device: Device, *prompts: int, live: bool = False) -> list[_Times]:
        """Return the times of the model of that shape with each prompt."""
        with self.model(shape, device, live=live) as model:
            nodes = model.told(r"graph: nodes = (\d+)")[-1]
            held = sum(model.told(r"load_tensors: +(?!CPU |\S+_Mapped)\S+ model buffer size = +([\d.]+) MiB"))
            return [_Times(shape, prompt, *model.steady(prompt), nodes, held * (1 << 20)) for prompt in prompts]

    def memory(self) -> tuple[int, float]:
        """Return (the bytes of a process that tests models, without any model; the bytes that each entry of a
        vocabulary adds)."""
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
        """Measure all rates of `device`."""
        (small,) = self.timed(SMALL, device, SHORT)
        short, half, whole = self._attentive(device)
        held, holding = self.timed(HELD, device, SHORT, PROMPT_TOKENS)
        (narrow,) = self.timed(NARROW, device, PROMPT_TOKENS)
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
        known = replace(known, passing_seconds=_passing(narrow, holding, known))
        known = replace(known, node_seconds=self._node(device, known))
        known = replace(known, types={type: self._rate(type, device, known) for type in TYPES})
        known = _with_caches(held, holding, known)
        (wordy,) = self.timed(WORDY, device, SHORT)
        reading = known.cached_reading * WORDY.read_bytes / known.types[WORDY.type].read_bytes_per_second
        choosing = wordy.writing - reading - wordy.nodes * known.cached_node_seconds
        known = replace(known, vocabulary_seconds=max(0.0, choosing) / WORDY.vocabulary)
        known = _with_wholes([self.timed(shape, device, PROMPT_TOKENS, live=True)[0] for shape in WHOLE], known)
        (chosen,) = self.timed(EXPERT, device, PROMPT_TOKENS, live=True)
        return _with_experts(chosen, known)

    def _attentive(self, device: Device) -> tuple[_Times, _Times, _Times]:
        """Time a model that mostly attends, with a short prompt, half of a long prompt, and the long prompt; measure
        again until the longer prompts take longer."""
        for _ in range(MOST_RUNS):
            short, half, whole = self.timed(ATTENTIVE, device, SHORT, LONG // 2, LONG)
            if whole.writing > short.writing and whole.reading > 2 * half.reading:
                break
        return short, half, whole

    def _node(self, device: Device, known: Rates) -> float:
        """Return the seconds of a node, from two models that read about as much, in many and in few matrices."""
        (many,) = self.timed(MANY, device, SHORT)
        few = self._typical(MANY.type, device)
        part = MANY.read_bytes / few.shape.read_bytes
        slower = many.writing - _looking(many, known) - part * (few.writing - _looking(few, known))
        return max(known.cached_node_seconds, slower / (many.nodes - part * few.nodes))

    def _typical(self, type: str, device: Device) -> _Times:
        """Time a model of one type with matrices as large as those of models with a billion weights or two."""
        wanted = min(WEIGHTS[device], BYTES[device] / synthetic_model.tensor_bytes(type, 1 << 20) * (1 << 20))
        layers = max(1, round(wanted / LAYER))
        inner = max(1, round((wanted / layers - 4 * WIDTH**2) / (3 * WIDTH) / 256)) * 256
        return self.timed(Shape(type, layers, WIDTH, inner), device, SHORT)[0]

    def _rate(self, type: str, device: Device, known: Rates) -> Rate:
        """Return the rates of one tensor type: bytes/s from a large model writing a token, multiply-adds/s from a
        smaller model reading a prompt; time outside matrices is subtracted."""
        writer = self._typical(type, device)
        (reader,) = self.timed(Shape(type, PROMPT_LAYERS, WIDTH, PROMPT_INNER), device, PROMPT_TOKENS, live=True)
        written = writer.writing - writer.nodes * known.node_seconds - _looking(writer, known)
        read = reader.reading - reader.nodes * known.node_seconds - _between(reader, known)
        copied = writer.held_bytes / writer.shape.read_bytes if device == "cpu" else 0.0
        multiplied = reader.shape.weights * PROMPT_TOKENS
        return Rate(writer.shape.read_bytes / _positive(written), multiplied / _positive(read), copied)


@cache
def _rows(type: str, width: int) -> bytes:
    """Return random rows of a type, encoded, with values of ordinary size."""
    values = np.random.default_rng(0).standard_normal((ROWS, width)).astype(np.float32) / np.sqrt(width)
    return codec.encode(values, type, np.ones(width, np.float32)).tobytes()


def _with_experts(times: _Times, known: Rates) -> Rates:
    """Return the rates with the factors for weights in experts, from a model that has experts."""
    shape, rate = times.shape, known.types[times.shape.type]
    waiting = times.nodes * known.node_seconds
    chosen = synthetic_model.tensor_bytes(shape.type, shape.chosen) / rate.read_bytes_per_second
    others = (shape.read_bytes - synthetic_model.tensor_bytes(shape.type, shape.chosen)) / rate.read_bytes_per_second
    reading = times.writing / known.whole_token - waiting - _looking(times, known) - others
    multiplying = times.reading / known.whole_prompt - waiting - _between(times, known)
    multiplying -= (shape.weights - shape.chosen) * times.prompt / rate.multiply_adds_per_second
    alike = shape.chosen * times.prompt / rate.multiply_adds_per_second
    return replace(known, expert_reading=max(1.0, reading / chosen), expert_multiplying=max(1.0, multiplying / alike))


def _passing(narrow: _Times, wide: _Times, known: Rates) -> float:
    """Return the seconds between the matrices for a token of a prompt, for each multiply-add of its attention: from two
    models that the caches hold and that take equally long for a weight."""
    first, second = (
        each.reading - each.nodes * known.cached_node_seconds - _between(each, known) for each in (narrow, wide)
    )
    part = wide.shape.weights / narrow.shape.weights
    return max(0.0, part * first - second) / (PROMPT_TOKENS * (part * narrow.shape.attention - wide.shape.attention))


def _with_caches(written: _Times, read: _Times, known: Rates) -> Rates:
    """Return the rates with the factors for a model whose weights all stay in the processor's caches."""
    rate = known.types[HELD.type]
    reading = written.writing - written.nodes * known.cached_node_seconds - _looking(written, known)
    multiplying = read.reading - read.nodes * known.cached_node_seconds - _between(read, known)
    return replace(
        known,
        cached_reading=_part(reading * rate.read_bytes_per_second / HELD.read_bytes),
        cached_multiplying=_part(multiplying * rate.multiply_adds_per_second / (HELD.weights * read.prompt)),
    )


def _with_wholes(found: Sequence[_Times], known: Rates) -> Rates:
    """Return the rates with the factors of whole models: their times over the sum of the parts measured apart."""
    reading, writing = list[float](), list[float]()
    for times in found:
        shape, rate, waiting = times.shape, known.types[times.shape.type], times.nodes * known.node_seconds
        prompt = shape.weights * times.prompt / rate.multiply_adds_per_second + waiting + _between(times, known)
        token = shape.read_bytes / rate.read_bytes_per_second + waiting + _looking(times, known)
        reading.append(times.reading / prompt)
        writing.append(times.writing / token)
    return replace(known, whole_prompt=median(reading), whole_token=median(writing))


def _between(times: _Times, known: Rates) -> float:
    """Return the seconds of a whole prompt outside the matrices: attention, and the steps between the matrices."""
    looking = times.shape.attention * times.prompt**2 / 2 / known.prompt_attention_per_second
    return looking + times.shape.attention * times.prompt * known.passing_seconds


def _looking(times: _Times, known: Rates) -> float:
    """Return the seconds of attention of a token that is written after the prompt."""
    return times.shape.attention * times.prompt / known.attention_per_second


def _part(ratio: float) -> float:
    return min(1.0, max(0.1, ratio))


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
    """Yield the lines of llama.cpp's log from here on, kept instead of passed on."""
    kept: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    logger, before = library.log, (library.log.level, library.log.propagate)
    logger.addHandler(handler)
    logger.level, logger.propagate = logging.DEBUG, False
    try:
        yield kept
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
