"""Calibrating: the arithmetic finds the rates that times were made from, and the real thing gives a usable record."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lqmf.errors import MeasurementError
from lqmf.events import Notice, Progress
from lqmf.fit.calibration import Calibration, Rate, Rates
from lqmf.fit.zeros import Shape
from lqmf.jobs.runner import LocalRunner
from lqmf.jobs.tasks import calibrate
from lqmf.records import Task, from_json

MEMORY = """
import json, sys
from pathlib import Path
from lqmf.jobs.tasks import calibrate
print(json.dumps(calibrate._Bench(Path(sys.argv[1]), lambda *_: None, 2).memory()))
"""
TRUE = Rates(
    {name: Rate(1e9 * (place + 5), 2e10 * (place + 1), copied=0.5) for place, name in enumerate(calibrate.TYPES)},
    node_seconds=3e-6,
    cached_node_seconds=5e-7,
    attention_per_second=4e9,
    prompt_attention_per_second=2e10,
    passing_seconds=1e-8,
    vocabulary_seconds=3e-9,
)


def ideal(_bench: object, shape: Shape, _device: str, *prompts: int) -> list[calibrate._Times]:
    """What a model takes whose times follow exactly from rates: small ones are in the caches, and only the attentive
    one passes so much between its matrices that it counts."""
    rate, nodes = TRUE.types[shape.type], 6 + 31 * shape.layers
    in_memory = shape.read_bytes > 20_000_000
    waiting = nodes * (TRUE.node_seconds if in_memory else TRUE.cached_node_seconds)
    reading = shape.read_bytes / rate.read_bytes_per_second if shape is not calibrate.SMALL else 0.0
    choosing = shape.vocabulary * TRUE.vocabulary_seconds
    found = []
    for prompt in prompts:
        looking = shape.attention * prompt / TRUE.attention_per_second
        computing = shape.weights * prompt / rate.multiply_adds_per_second
        pairs = shape.attention * prompt**2 / 2 / TRUE.prompt_attention_per_second
        passing = shape.attention * prompt * TRUE.passing_seconds if shape is calibrate.ATTENTIVE else 0.0
        spent = computing + pairs + passing + (waiting if in_memory else 0.0)
        found.append(
            calibrate._Times(shape, prompt, spent, waiting + looking + reading + choosing, nodes, shape.read_bytes / 2)
        )
    return found


def test_the_rates_that_the_times_were_made_from_are_found_again(monkeypatch, tmp_path):
    monkeypatch.setattr(calibrate._Bench, "timed", ideal)
    found = calibrate._Bench(tmp_path / "none", lambda *_: None, 1).rates("cpu")
    for name in ("node_seconds", "attention_per_second", "prompt_attention_per_second", "passing_seconds"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.03), name
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


def test_runs_end_once_two_agree():
    model = calibrate._Model(SimpleNamespace(), [])
    times = iter([(9.0, 5.0), (4.0, 2.0), (4.1, 2.1), (0.0, 0.0)])
    object.__setattr__(model, "run", lambda _prompt: next(times))
    assert model.steady(16) == (4.0, 2.0)
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


def test_a_worker_calibrates_this_machine(tmp_path):
    """The real thing, once: a machine that others keep busy may refuse, and then says so."""
    seen = []
    task = Task("job-1", "calibrate", {}, str(tmp_path / "job-1.log"))
    try:
        result = asyncio.run(LocalRunner().run(task, seen.append))
    except MeasurementError as busy:
        pytest.skip(busy.message)
    found = from_json(Calibration, result["calibration"])
    assert set(found.cpu.types) == set(calibrate.TYPES)
    assert all(rate.read_bytes_per_second > 0 and rate.copied >= 0 for rate in found.cpu.types.values())
    steps = [event for event in seen if isinstance(event, Progress)]
    assert steps[-1].done == steps[-1].total - 1
