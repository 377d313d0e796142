"""A sound folder passes its checks whatever its architecture's classes store, and a damaged one does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lqmf.jobs.tasks import structure
from lqmf.jobs.tasks.structure import ALL, WEIGHTS
from lqmf.quality.checks.tensors import tensors
from lqmf.records import Task
from tests.architectures import families
from tests.architectures.maker import Maker
from tests.kinds import by_kind
from tests.quality import planted

pytestmark = pytest.mark.slow
FAMILIES = ("gpt2", "starcoder", "phi3", "llama")  # transposed by Conv1D, its namesake that is not, fused, plain
TYPES = {"nf4": "bnb", "int8": "bnb", "4bit": "gptq"}
SPLIT = ("phi3", "4bit")  # gptqmodel stores the halves of gate_up_proj apart
Make = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """The artifact of a family in a type, made once; GPTQ has a process of its own, since it changes transformers."""
    makers: dict[str, Maker] = {}
    made: dict[tuple[str, str], Path] = {}

    def artifact(name: str, type: str) -> Path:
        method = TYPES[type]
        if method not in makers:
            makers[method] = Maker(tmp_path_factory.mktemp("maker") / "log")
        if (name, type) not in made:
            place = tmp_path_factory.mktemp(f"{name}-{type}")
            made[name, type] = makers[method].make(method, type, families.folder(name), place)
        return made[name, type]

    yield artifact
    for each in makers.values():
        each.close()


def check(artifact: Path, source: Path) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """What failed and how, why checks are missing, and the names of those that passed."""
    params = {"artifact": str(artifact), "source": str(source), "base": str(source)}
    found = structure.run(Task("j", "structure", params, ""), lambda event: None)
    failed = {one["name"]: one["detail"] for one in found["checks"] if not one["passed"]}
    reasons = {name.removeprefix("checks."): why for name, why in found["reasons"].items()}
    return failed, reasons, {one["name"] for one in found["checks"]} - failed.keys()


ALL_MADE = [(name, type) for name in FAMILIES for type in TYPES]
STANDING = {("gpt2", "nf4"), ("gpt2", "int8"), ("gpt2", "4bit"), ("starcoder", "nf4"), SPLIT, ("llama", "int8")}


@pytest.mark.parametrize(("name", "type"), by_kind(ALL_MADE, STANDING))
def test_every_check_of_a_sound_folder_passes_or_is_missing_with_a_reason(name: str, type: str, make: Make) -> None:
    failed, reasons, passed = check(make(name, type), families.folder(name))
    assert failed == {}
    assert set(ALL) <= passed | reasons.keys()
    assert all(reasons.values())
    if (name, type) == SPLIT:
        assert all("gate_up_proj.weight: stored under other names" in reasons[one] for one in WEIGHTS)
    else:
        assert set(WEIGHTS) <= passed


@pytest.mark.parametrize("name", FAMILIES)
def test_every_check_of_a_source_against_itself_passes_or_is_missing_with_a_reason(name: str) -> None:
    failed, reasons, passed = check(families.folder(name), families.folder(name))
    assert failed == {}
    assert set(WEIGHTS) <= passed
    assert set(ALL) <= passed | reasons.keys()


@pytest.mark.parametrize(("name", "type"), [("gpt2", "nf4"), ("gpt2", "4bit"), SPLIT])
def test_swapped_layers_are_told_although_names_or_directions_differ(
    name: str, type: str, make: Make, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(make(name, type), tmp_path / "damaged"))
    planted.swap_layers(damaged, one=0, other=1, under="h" if name == "gpt2" else "layers")
    failed, _, _ = check(damaged, families.folder(name))
    assert ".0." in failed["layer_order"]


def test_rows_of_a_conv1d_are_its_outputs_however_it_is_stored(make: Make) -> None:
    source = tensors(families.folder("gpt2"))
    assert source.shapes["transformer.h.0.attn.c_attn.weight"] == (768, 256)
    for type in TYPES:
        assert tensors(make("gpt2", type)).shapes == source.shapes
