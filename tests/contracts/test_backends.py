"""The Backend promise, held against every backend that is registered. Whatever passes here may quantize.

Somebody else's backend is held to it as well: install it (an entry point in the group `lqmf.backends`), then
`pytest tests/contracts/test_backends.py -k NAME`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pytest

from lqmf import events, forks, workspace
from lqmf.errors import LqmfError, UsageError
from lqmf.events import Event, Progress, StageFinished, StageStarted
from lqmf.fit.needs import Needs
from lqmf.jobs.runner import WORKER, LocalRunner
from lqmf.quantization.gguf.converter.convert import LAUNCHER
from lqmf.quantization.promise import Backend, Source
from lqmf.quantization.registry import backend, backends
from lqmf.records import Hardware, ModelInfo, ModelRef, QuantizationPlan, Task, from_json, to_json

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
HARDWARE = Hardware("cpu", 2, 24 << 30, 20 << 30)
CONFIG = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
MODEL = ModelInfo(
    ModelRef("demo", "demo"), None, CONFIG["architectures"][0], CONFIG["model_type"], CONFIG, (),
    (DEMO / "model.safetensors").stat().st_size, dtype="BF16",
)  # fmt: skip
QUICK = {"gptq": {"windows": "8"}}  # settings with which a backend is quick
RELOAD = {
    "gguf": """
import sys, llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False)
print(len(model.create_completion("A list is", max_tokens=4, temperature=0)["choices"][0]["text"]))
""",
    "safetensors": """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], device_map="cpu", use_safetensors=True)
inputs = AutoTokenizer.from_pretrained(sys.argv[1])("A list is", return_tensors="pt")
assert bool(torch.isfinite(model(**inputs).logits).all())
print(model.generate(**inputs, max_new_tokens=4, do_sample=False).shape[1] - inputs["input_ids"].shape[1])
""",
}


@pytest.fixture(scope="module", params=sorted(backends()))
def each(request: pytest.FixtureRequest) -> Backend:
    made = backend(request.param)
    if made.available().answer == "no":
        pytest.skip(f"{made.title}: {made.available().reason}")
    return made


def plan_for(each: Backend, bits: int = 4) -> QuantizationPlan:
    form: Any = each.output_format
    settings = QUICK.get(each.name, {})
    return QuantizationPlan(
        "p", MODEL.ref, None, each.name, bits, each.default_type(bits), form, "cpu", parameters=settings
    )


# ---------------------------------------------------------------- what it says


def test_it_says_what_it_is(each: Backend) -> None:
    assert each.name in backends()
    assert each.title
    assert each.output_format in ("gguf", "safetensors")
    assert all(name == kind.name and kind.bits >= 1 and kind.summary for name, kind in each.types.items())
    assert all(name == one.name and one.summary for name, one in each.parameters.items())
    assert {type for one in each.parameters.values() for type in one.types} <= set(each.types)


def test_a_default_type_is_one_of_its_types_and_has_the_bits(each: Backend) -> None:
    assert each.types[each.default_type(4)].bits == 4


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


def test_asking_it_imports_nothing_heavy(each: Backend) -> None:
    """The chat asks every backend: whether it is there, and whether it can do this model."""
    code = (
        "import sys; from tests.contracts.test_backends import HARDWARE, MODEL; from lqmf.quantization.registry import "
        f"backend; one = backend({each.name!r}); one.available(); one.check(MODEL, HARDWARE)\n"
        "heavy = ('torch', 'transformers', 'llama_cpp', 'gptqmodel', 'bitsandbytes', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_an_estimate_is_plausible(each: Backend) -> None:
    found = each.estimate(MODEL, plan_for(each), HARDWARE)
    assert 0 < found.size_bytes < MODEL.weights_bytes
    assert found.disk_peak_bytes >= found.size_bytes
    assert found.ram_peak_bytes > 0
    assert found.seconds is None or math.isfinite(found.seconds)


def test_what_a_model_needs_is_a_whole_table_and_the_same_again(each: Backend) -> None:
    found = each.needs(MODEL, DEMO, (700,), 2)
    assert (found.method, found.parallel) == (each.name, 2)
    assert set(found.weights) <= set(each.types)
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


# ---------------------------------------------------------------- what it refuses before any work


def wrong_values(each: Backend) -> Iterator[tuple[str, str]]:
    """For each of its settings a value that it cannot have, and a setting that it does not have."""
    yield "no_such_setting", "1"
    for name, one in each.parameters.items():
        if one.choices or isinstance(one.default, bool | int | float):
            yield name, "nonsense"
        if one.high is not None:
            yield name, str(type(one.default)(one.high * 10))
        if one.low is not None and one.low >= 0:
            yield name, "-7"


@pytest.mark.parametrize("change", [{"type": "Q9_X"}, {"bits": 77, "type": ""}])
def test_what_it_does_not_have_is_refused_before_any_work(
    each: Backend, change: dict[str, Any], tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(LqmfError) as error:
        each.quantize(replace(plan_for(each), **change), Source(DEMO), bench.out, bench.work, bench.told.append)
    assert error.value.remedy
    assert (list(bench.out.iterdir()), bench.told) == ([], [])


def test_a_setting_that_cannot_be_is_refused_before_any_work(each: Backend, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name, value in wrong_values(each):
        types = each.parameters[name].types if name in each.parameters else ()
        plan = plan_for(each)
        if types:
            plan = replace(plan, type=types[0], bits=each.types[types[0]].bits)
        plan = replace(plan, parameters={name: value})
        with pytest.raises(UsageError, match=name) as error:
            each.vet(plan, MODEL, DEMO)
        assert error.value.remedy
        with pytest.raises(UsageError, match=name):
            each.quantize(plan, Source(DEMO), bench.out, bench.work, bench.told.append)
    assert (list(bench.out.iterdir()), bench.told) == ([], [])


def test_a_sound_plan_is_not_refused_and_a_calibration_that_is_none_is(each: Backend, tmp_path: Path) -> None:
    each.vet(plan_for(each), MODEL, DEMO)
    with pytest.raises(UsageError) as error:
        each.vet(replace(plan_for(each), calibration=str(tmp_path / "none.txt")), MODEL, DEMO)
    assert error.value.remedy


# ---------------------------------------------------------------- a whole job


@dataclass
class Job:
    """A job from the command line: the artifact's folder, what was told, the plan and the most memory of the worker."""

    folder: Path
    told: Sequence[Event]
    manifest: dict[str, Any]
    workspace: Path
    peak_ram: int


@pytest.fixture(scope="module")
def job(each: Backend, tmp_path_factory: pytest.TempPathFactory) -> Job:
    place = tmp_path_factory.mktemp(each.name)
    said = [part for name, value in QUICK.get(each.name, {}).items() for part in ("--set", f"{name}={value}")]
    command = [
        *(sys.executable, "-m", "lqmf", "--workspace", str(place), "quantize", "demo", "--method", each.name),
        *("--bits", "4", "--device", "cpu", "--yes", "--test", "none", "--json", *said),
    ]
    environment = {**os.environ, forks.FOLDER_VARIABLE: ""}  # servers of its own, whose memory is its
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    with Watch(process.pid) as watch:
        out, err = process.communicate(timeout=500)
    assert process.returncode == 0, out + err
    document = json.loads(out)
    lines = (place / "logs" / f"{document['job']}.jsonl").read_text(encoding="utf-8").splitlines()
    told = [events.from_json({k: v for k, v in json.loads(line).items()}) for line in lines]
    folder = Path(document["artifact"]["path"])
    return Job(folder, told, workspace.read_json(folder / "manifest.json"), place, watch.peak)


class Watch:
    """The most memory that the processes which a process started took, in bytes; what several share counts once."""

    def __init__(self, pid: int) -> None:
        self._pid, self.peak = pid, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                children = psutil.Process(self._pid).children(recursive=True)
                self.peak = max(self.peak, sum(child.memory_full_info().pss for child in children))
            except psutil.Error:
                continue


@pytest.mark.slow
def test_the_demo_is_quantized_near_the_size_and_within_the_memory_that_were_promised(each: Backend, job: Job) -> None:
    plan = from_json(QuantizationPlan, job.manifest["plan"])
    assert (plan.method, plan.bits) == (each.name, 4)
    assert plan.estimate is not None
    weights = sum(path.stat().st_size for path in job.folder.glob(f"*.{each.output_format}"))
    assert weights == pytest.approx(plan.estimate.size_bytes, rel=0.05)
    assert 0 < job.peak_ram <= plan.estimate.ram_peak_bytes


@pytest.mark.slow
def test_stages_are_told_and_progress_never_goes_back(each: Backend, job: Job) -> None:
    started = [event.stage for event in job.told if isinstance(event, StageStarted)]
    assert "quantize" in started
    assert sorted(started) == sorted(event.stage for event in job.told if isinstance(event, StageFinished))
    done: dict[str, float] = {}
    for event in job.told:
        if isinstance(event, StageStarted):
            done[event.stage] = 0.0
        elif isinstance(event, Progress) and event.stage in done:
            assert done[event.stage] <= event.done <= (event.total or math.inf)
            done[event.stage] = event.done


@pytest.mark.slow
def test_the_manifest_is_complete_and_names_no_place_of_this_machine(each: Backend, job: Job) -> None:
    """Every file has its hash, every tool its version, and the plan is one that makes it again."""
    told = {entry["path"]: entry["sha256"] for entry in job.manifest["files"]}
    there = {path.relative_to(job.folder).as_posix(): path for path in job.folder.rglob("*") if path.is_file()}
    assert there.keys() - {"manifest.json"} == told.keys()
    assert all(workspace.sha256(there[name]) == digest for name, digest in told.items())
    assert set(job.manifest["versions"]) > {"lqmf", "python"}
    assert job.manifest["source_sha256"]
    plan = from_json(QuantizationPlan, job.manifest["plan"])
    each.vet(plan, MODEL, DEMO)
    assert set(plan.parameters) <= set(each.parameters)
    for path in there.values():
        if path.suffix in (".json", ".jinja", ".md"):
            text = path.read_text(encoding="utf-8")
            assert str(job.workspace) not in text, path.name


@pytest.mark.slow
def test_the_output_runs_in_a_fresh_process_without_lqmf(each: Backend, job: Job) -> None:
    assert runs_alone(each, job.folder) >= 1


def runs_alone(each: Backend, folder: Path) -> int:
    """How many tokens the model in `folder` writes in a process that knows no LQMF."""
    what = folder if each.output_format == "safetensors" else next(folder.glob("*.gguf"))
    code = RELOAD[each.output_format] + "\nassert not any(name.partition('.')[0] == 'lqmf' for name in sys.modules)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(what)], capture_output=True, text=True, timeout=200, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_eight_bits_run_in_a_fresh_process_without_lqmf_too(each: Backend, tmp_path: Path) -> None:
    """They may be packed otherwise than four, as int8 is beside nf4."""
    if each.name == "gptq":
        pytest.skip("it packs eight bits as it packs four")
    bench = Bench(tmp_path)
    asyncio.run(bench.run(plan_for(each, 8)))
    assert runs_alone(each, bench.out) >= 1


# ---------------------------------------------------------------- cancelled


@dataclass
class Bench:
    """Folders for one quantization of the demo, carried out in a worker, and everything it told."""

    root: Path
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.out, self.work):
            folder.mkdir(parents=True)

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def work(self) -> Path:
        return self.root / "work"

    async def run(self, plan: QuantizationPlan, hear: Callable[[Event], None] | None = None) -> dict[str, Any]:
        places = {"source": str(DEMO), "out": str(self.out), "work": str(self.work)}
        task = Task("j", "quantize", {"plan": to_json(plan), **places}, str(self.root / "job.log"))
        return await LocalRunner().run(task, hear or self.told.append)


def is_midway(event: Event, job: Job) -> bool:
    """Whether a job is in the middle at `event`: some of a stage's work is done, or where no stage of this backend
    tells of that, its last stage has begun."""
    worked = [one for one in job.told if isinstance(one, StageStarted) and one.stage not in ("publish", "download")]
    if any(map(is_partial, job.told)):
        return is_partial(event)
    return isinstance(event, StageStarted) and event.stage == worked[-1].stage


def working() -> set[int]:
    """The processes that this one started and that work: servers wait, their forks have their command line."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = child.parent()
            if parent is None or parent.cmdline() == child.cmdline() or not is_server(child.cmdline()):
                found.add(child.pid)
    return found


def is_server(command: Sequence[str]) -> bool:
    return bool({LAUNCHER, WORKER} & set(command)) and command[-1].isdigit()


def is_partial(event: Event) -> bool:
    return isinstance(event, Progress) and event.stage == "quantize" and 0 < event.done < (event.total or 0)


@pytest.mark.slow
def test_cancelled_midway_it_leaves_no_process_and_the_next_run_is_whole(
    each: Backend, job: Job, tmp_path: Path
) -> None:
    plan, bench = from_json(QuantizationPlan, job.manifest["plan"]), Bench(tmp_path / "first")

    async def cancelled() -> None:
        begun = asyncio.Event()
        work = asyncio.create_task(bench.run(plan, lambda event: begun.set() if is_midway(event, job) else None))
        await asyncio.wait_for(begun.wait(), 120)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    before = working()
    asyncio.run(cancelled())
    assert working() <= before
    again = Bench(tmp_path / "again")
    again.work.rmdir()
    bench.work.rename(again.work)  # where what was finished may be gone on from, and what was not must be cleaned up
    built = asyncio.run(again.run(plan))
    made = {
        path.relative_to(again.out).as_posix(): path.stat().st_size for path in again.out.rglob("*") if path.is_file()
    }
    assert set(built["files"]) == made.keys()
    weights = {name: size for name, size in made.items() if name.endswith(each.output_format)}
    assert weights == {name: (job.folder / name).stat().st_size for name in weights}
    base = built["base"]
    assert base is None or again.work in Path(base).parents or Path(base) == DEMO
