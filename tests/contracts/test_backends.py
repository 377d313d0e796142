"""The Backend promise, held against every backend that is registered. Whatever passes here may quantize."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pytest

from lqmf.errors import LqmfError, UsageError
from lqmf.events import Event, Progress, StageFinished, StageStarted
from lqmf.fit.needs import Needs
from lqmf.jobs.runner import LocalRunner
from lqmf.quantization.base import Backend, Source
from lqmf.quantization.registry import backend, backends
from lqmf.records import Hardware, ModelInfo, ModelRef, QuantizationPlan, Task, from_json, to_json

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
HARDWARE = Hardware("cpu", 2, 24 << 30, 20 << 30)
CONFIG = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
MODEL = ModelInfo(
    ModelRef("demo", "demo"), None, CONFIG["architectures"][0], CONFIG["model_type"], CONFIG, (),
    (DEMO / "model.safetensors").stat().st_size, dtype="BF16",
)  # fmt: skip
RELOAD = """
import sys
from pathlib import Path
from lqmf.inference.engine import Sampling
from lqmf.inference.registry import open_engine
with open_engine(Path(sys.argv[1]), context=64) as engine:
    print(len(list(engine.generate("The", Sampling(max_tokens=4)))))
"""


@pytest.fixture(params=sorted(backends()))
def each(request: pytest.FixtureRequest) -> Backend:
    made = backend(request.param)
    if made.available().answer == "no":
        pytest.skip(f"{made.title}: {made.available().reason}")
    return made


def plan_for(each: Backend, bits: int = 4) -> QuantizationPlan:
    form: Any = each.output_format
    return QuantizationPlan("p", MODEL.ref, None, each.name, bits, each.default_type(bits), form, "cpu")  # type: ignore[arg-type]


class Bench:
    """Folders for one quantization of the demo, carried out in a worker, and everything it told."""

    def __init__(self, root: Path) -> None:
        self.out, self.work, self.log = root / "out", root / "work", root / "job.log"
        self.out.mkdir()
        self.work.mkdir()
        self.told: list[Event] = []

    async def run(self, plan: QuantizationPlan, hear: Callable[[Event], None] | None = None) -> dict[str, Any]:
        places = {"source": str(DEMO), "out": str(self.out), "work": str(self.work)}
        task = Task("j", "quantize", {"plan": to_json(plan), **places}, str(self.log))
        return await LocalRunner().run(task, hear or self.told.append)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_says_what_it_is(each: Backend) -> None:
    assert each.name in backends()
    assert each.title
    assert each.output_format in ("gguf", "safetensors")
    assert all(name == kind.name and kind.bits >= 1 and kind.summary for name, kind in each.types.items())


def test_a_default_type_is_one_of_its_types_and_has_the_bits(each: Backend) -> None:
    name = each.default_type(4)
    assert name == "" or each.types[name].bits == 4


def test_bits_it_cannot_do_are_refused_as_wrong_usage(each: Backend) -> None:
    with pytest.raises(UsageError) as error:
        each.default_type(77)
    assert error.value.remedy


def test_a_good_model_is_not_refused(each: Backend) -> None:
    assert each.check(MODEL, HARDWARE, each.default_type(4)).answer in ("yes", "but")


@pytest.mark.parametrize("flaw", [{"weights_format": "pickle"}, {"weights_format": "none"}])
def test_a_model_without_safe_weights_is_refused_with_a_way_out(each: Backend, flaw: dict[str, Any]) -> None:
    verdict = each.check(replace(MODEL, **flaw), HARDWARE, each.default_type(4))
    assert verdict.answer == "no"
    assert verdict.reason
    assert verdict.remedy


def test_an_estimate_is_plausible(each: Backend) -> None:
    found = each.estimate(MODEL, plan_for(each), HARDWARE)
    assert 0 < found.size_bytes < MODEL.weights_bytes
    assert found.disk_peak_bytes >= found.size_bytes
    assert found.ram_peak_bytes > 0
    assert found.seconds is None or math.isfinite(found.seconds)


def test_what_a_model_needs_is_a_whole_table_and_the_same_again(each: Backend) -> None:
    found = each.needs(MODEL, DEMO, (700,), 2)
    assert (found.method, found.parallel) == (each.name, 2)
    assert set(found.weights) <= set(each.types or {""})
    assert sum(found.layer_shares) == pytest.approx(1)
    assert found.layers == CONFIG["num_hidden_layers"]
    for weights in found.weights.values():
        assert len(weights.layers) == found.layers
        assert 0 < weights.read_bytes <= weights.file_bytes
        assert 0 < weights.in_ram(0) <= weights.file_bytes
    assert 700 in found.contexts
    assert len(found.contexts) > 1
    sampled = {(sample.context, sample.cache_type, sample.ubatch) for sample in found.samples}
    assert len(sampled) == len(found.samples) == len(found.contexts) * len(found.cache_types) * len(found.ubatches)
    caches = [found.cache_bytes(context, "f16", "f16", 512) for context in found.contexts]
    assert 0 < caches[0] < caches[-1]
    assert caches == sorted(caches)
    assert from_json(Needs, json.loads(json.dumps(to_json(found)))) == found
    assert each.needs(MODEL, DEMO, (700,), 2) == found


def test_an_estimate_agrees_with_the_needs(each: Backend) -> None:
    found, plan = each.needs(MODEL, DEMO, (), 1), plan_for(each)
    assert each.estimate(MODEL, plan, HARDWARE, found).size_bytes == found.weights[plan.type].file_bytes


def test_a_type_it_does_not_have_is_refused_before_any_work(each: Backend, bench: Bench) -> None:
    plan = replace(plan_for(each), type="Q9_X")
    with pytest.raises(LqmfError) as error:
        each.quantize(plan, Source(DEMO), bench.out, bench.work, bench.told.append)
    assert error.value.remedy
    assert (list(bench.out.iterdir()), bench.told) == ([], [])


def test_a_sound_plan_is_not_refused_and_a_calibration_that_is_none_is(each: Backend, tmp_path: Path) -> None:
    each.vet(plan_for(each), MODEL, DEMO)
    with pytest.raises(UsageError) as error:
        each.vet(replace(plan_for(each), calibration=str(tmp_path / "none.txt")), MODEL, DEMO)
    assert error.value.remedy


def test_the_demo_is_quantized_and_runs_in_a_fresh_process(each: Backend, bench: Bench) -> None:
    """Near the estimated size, with every stage told and progress that never goes back."""
    built = asyncio.run(bench.run(plan_for(each)))
    assert sorted(built["files"]) == sorted(p.relative_to(bench.out).as_posix() for p in bench.out.rglob("*.*"))
    assert built["versions"]
    assert built["base"] is None or bench.work in Path(built["base"]).parents
    size = sum(path.stat().st_size for path in bench.out.rglob("*") if path.is_file())
    assert size == pytest.approx(each.estimate(MODEL, plan_for(each), HARDWARE).size_bytes, rel=0.15)
    check_events(bench.told)
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(bench.out)], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) >= 1


def check_events(told: list[Event]) -> None:
    started = [event.stage for event in told if isinstance(event, StageStarted)]
    assert started
    assert started == [event.stage for event in told if isinstance(event, StageFinished)]
    for stage in started:
        steps = [event for event in told if isinstance(event, Progress) and event.stage == stage]
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert all(step.total is None or step.done <= step.total for step in steps)


def test_cancelled_midway_it_leaves_no_process_and_the_next_run_is_whole(each: Backend, bench: Bench) -> None:
    async def cancelled() -> None:
        begun = asyncio.Event()
        work = asyncio.create_task(bench.run(plan_for(each), lambda _event: begun.set()))
        await asyncio.wait_for(begun.wait(), 60)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    asyncio.run(cancelled())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    again = bench.out.parent / "again"
    again.mkdir()
    other = Bench(again)
    other.work = bench.work  # where what was finished may be gone on from
    assert asyncio.run(other.run(plan_for(each)))["files"]
    assert b"".join(path.read_bytes() for path in sorted(other.out.iterdir()))
