"""Calibrating: the arithmetic finds the rates that times were made from, and the real thing gives a usable record."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lqmf.errors import MeasurementError
from lqmf.events import Event, Notice, Progress
from lqmf.fit.calibration import Calibration, Rate, Rates
from lqmf.ggml import synthetic_model
from lqmf.ggml.synthetic_model import Shape
from lqmf.jobs.runner import LocalRunner
from lqmf.jobs.tasks import calibrate
from lqmf.records import Task, from_json

MEMORY = """
import json, sys
from pathlib import Path
from lqmf.jobs.tasks import calibrate
print(json.dumps(calibrate._Bench(Path(sys.argv[1]), lambda *_: None, 2).memory()))
"""
SMALLER = """
import json, sys
from dataclasses import replace
from lqmf.events import Progress
from lqmf.jobs.tasks import calibrate
from lqmf.records import Task
smaller = {
    "WIDTH": 512, "WEIGHTS": {"cpu": 4e6}, "PROMPT_LAYERS": 1, "PROMPT_INNER": 256, "LONG": 512, "MOST_RUNS": 1,
    "LEAST_RUNS": 1, "LEAST_TOKENS": 1, "ENOUGH_SECONDS": 0.0, "STEADY_SECONDS": 0.0,
    "WHOLE": tuple(replace(shape, layers=1) for shape in calibrate.WHOLE),
    "EXPERT": replace(calibrate.EXPERT, layers=1),
    "_positive": lambda seconds: max(seconds, 1e-9),  # so small a time may be noise
}
for name, value in smaller.items():
    setattr(calibrate, name, value)
seen = []
found = calibrate.run(Task("job-1", "calibrate", {}, sys.argv[1]), seen.append)
steps = [{"stage": e.stage, "done": e.done, "total": e.total} for e in seen if isinstance(e, Progress)]
print(json.dumps([found["calibration"], steps]))
"""
TRUE = Rates(
    {name: Rate(1e9 * (place + 5), 2e10 * (place + 1), copied=0.5) for place, name in enumerate(calibrate.TYPES)},
    node_seconds=3e-6,
    cached_node_seconds=5e-7,
    attention_per_second=4e9,
    prompt_attention_per_second=2e10,
    passing_seconds=1e-8,
    vocabulary_seconds=3e-9,
    cached_reading=0.6,
    cached_multiplying=0.7,
    expert_reading=1.5,
    expert_multiplying=2.0,
    whole_token=1.2,
    whole_prompt=1.3,
)
HELD = (calibrate.SMALL, calibrate.NARROW, calibrate.ATTENTIVE, calibrate.HELD, calibrate.WORDY)  # by the caches


def ideal(_bench: object, shape: Shape, _device: str, *prompts: int, live: bool = False) -> list[calibrate._Times]:
    """What a model takes whose times follow exactly from rates."""
    rate, nodes, held = TRUE.types[shape.type], 6 + 31 * shape.layers, shape in HELD
    chosen = synthetic_model.tensor_bytes(shape.type, shape.chosen)
    waiting = nodes * (TRUE.cached_node_seconds if held else TRUE.node_seconds)
    reading = (shape.read_bytes + (TRUE.expert_reading - 1) * chosen) / rate.read_bytes_per_second
    reading *= TRUE.cached_reading * (shape is not calibrate.SMALL) if held else 1.0
    choosing = shape.vocabulary * TRUE.vocabulary_seconds
    work = shape.weights + (TRUE.expert_multiplying - 1) * shape.chosen
    work *= TRUE.cached_multiplying if held else 1.0
    found = []
    for prompt in prompts:
        looking = shape.attention * prompt / TRUE.attention_per_second
        pairs = shape.attention * prompt**2 / 2 / TRUE.prompt_attention_per_second
        passing = shape.attention * prompt * TRUE.passing_seconds
        once = 0.0 if shape is calibrate.ATTENTIVE else waiting  # a constant there would be lost in the differences
        spent = work * prompt / rate.multiply_adds_per_second + pairs + passing + once
        written = waiting + looking + reading + choosing
        if shape in (*calibrate.WHOLE, calibrate.EXPERT):
            spent, written = TRUE.whole_prompt * spent, TRUE.whole_token * written
        found.append(calibrate._Times(shape, prompt, spent, written, nodes, shape.read_bytes / 2))
    return found


def test_the_rates_that_the_times_were_made_from_are_found_again(monkeypatch, tmp_path):
    monkeypatch.setattr(calibrate._Bench, "timed", ideal)
    found = calibrate._Bench(tmp_path / "none", lambda *_: None, 1).rates("cpu")
    for name in ("node_seconds", "attention_per_second", "prompt_attention_per_second", "passing_seconds"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.03), name
    for name in (
        "cached_reading",
        "cached_multiplying",
        "expert_reading",
        "expert_multiplying",
        "whole_token",
        "whole_prompt",
    ):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.05), name
    assert found.cached_node_seconds == pytest.approx(TRUE.cached_node_seconds, rel=0.1)  # it attends a little, too
    assert found.vocabulary_seconds == pytest.approx(TRUE.vocabulary_seconds, rel=0.1)
    for name, rate in found.types.items():
        assert rate.read_bytes_per_second == pytest.approx(TRUE.types[name].read_bytes_per_second, rel=0.03)
        assert rate.multiply_adds_per_second == pytest.approx(TRUE.types[name].multiply_adds_per_second, rel=0.03)
        assert rate.copied == 0.5


def test_times_that_make_no_sense_are_an_error_with_a_way_out():
    with pytest.raises(MeasurementError) as caught:
        calibrate._positive(-1e-6)
    assert "lqmf doctor --calibrate" in caught.value.remedy


def test_of_several_runs_the_median_counts_and_long_ones_are_few():
    model = calibrate._Model(SimpleNamespace(), [])
    times = iter([(9.0, 5.0), (4.0, 2.0), (4.1, 2.1), (0.0, 0.0)])

    def run(_prompt: int) -> tuple[float, float]:
        time.sleep(calibrate.STEADY_SECONDS / 2)
        return next(times)

    object.__setattr__(model, "run", run)
    assert model.steady(16) == (4.1, 2.1)
    assert next(times) == (0.0, 0.0)


def test_a_busy_machine_is_told_of(monkeypatch):
    told = []
    monkeypatch.setattr(calibrate.psutil, "getloadavg", lambda: (99.0, 0.0, 0.0))
    calibrate._warn_if_busy(told.append)
    assert [type(event) for event in told] == [Notice]
    monkeypatch.setattr(calibrate.psutil, "getloadavg", lambda: (0.0, 0.0, 0.0))
    calibrate._warn_if_busy(told.append)
    assert len(told) == 1


def test_the_memory_of_a_process_and_of_a_vocabulary_are_plausible(tmp_path: Path):
    """Without a model a worker takes tens of megabytes; an entry at least its text, its merge and their places.

    In a process of its own, as the worker is: one that freed memory before takes less new."""
    base, entry = json.loads(subprocess.check_output([sys.executable, "-c", MEMORY, str(tmp_path / "zeros.gguf")]))
    assert 30e6 < base < 2e9
    assert 40 < entry < 2000


def is_usable(found: Calibration, seen: list[Event]) -> bool:
    assert set(found.cpu.types) == set(calibrate.TYPES)
    assert all(rate.read_bytes_per_second > 0 and rate.copied >= 0 for rate in found.cpu.types.values())
    steps = [event for event in seen if isinstance(event, Progress)]
    return steps[-1].done == steps[-1].total - 1


@pytest.mark.slow
def test_every_type_is_measured_here(tmp_path):
    """The real thing with matrices that are too small for rates to mean much: what runs is what counts. In a process of
    its own: it listens to llama.cpp's log."""
    told = subprocess.check_output([sys.executable, "-c", SMALLER, str(tmp_path / "job-1.log")], text=True)
    calibration, steps = json.loads(told.splitlines()[-1])
    assert is_usable(from_json(Calibration, calibration), [Progress(**step) for step in steps])


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_worker_calibrates_this_machine(tmp_path):
    """The real thing, once: a machine that others keep busy may refuse, and then says so."""
    seen: list[Event] = []
    task = Task("job-1", "calibrate", {}, str(tmp_path / "job-1.log"))
    try:
        result = asyncio.run(LocalRunner().run(task, seen.append))
    except MeasurementError as busy:
        pytest.skip(busy.message)
    assert is_usable(from_json(Calibration, result["calibration"]), seen)
