"""What LQMF writes is what llama.cpp's own tools write, and the same plan writes it again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel
from lqmf.events import Progress
from lqmf.quantization.base import Built
from lqmf.quantization.gguf.backend import GgufBackend, model_name
from lqmf.quantization.gguf.types import LAYOUTS, TYPES
from lqmf.records import ModelRef, QuantizationPlan
from tests.quantization import official

DEMO = Path(str(resources.files("lqmf").joinpath("assets/demo")))
PLAN = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu")


@pytest.fixture(scope="module")
def official_f16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.f16(DEMO, tmp_path_factory.mktemp("official") / "demo.gguf", "gpt-2")


def quantize(work: Path, type: str, source: Path = DEMO, **changes: Any) -> tuple[Built, Path]:
    """The artifact that the backend makes in a fresh folder, and that folder."""
    out, scratch = work / "out", work / "scratch"
    out.mkdir(parents=True)
    scratch.mkdir()
    plan = replace(PLAN, type=type, bits=TYPES[type].bits, **changes)
    return GgufBackend().quantize(plan, source, out, scratch, lambda _event: None), out


@pytest.mark.parametrize("type", ["Q4_K_M", "Q8_0", "Q2_K", "IQ4_XS", "Q6_K"])
def test_tensors_are_the_bytes_of_the_official_tools(official_f16: Path, tmp_path: Path, type: str) -> None:
    built, out = quantize(tmp_path, type)
    direct = official.quantized(official_f16, tmp_path / "direct.gguf", LAYOUTS[type].ftype)
    assert built.files == (f"demo-{type}.gguf",)
    assert official.tensors(out / built.files[0]) == official.tensors(direct)


def test_the_base_is_the_official_f16(official_f16: Path, tmp_path: Path) -> None:
    """F16 as an artifact is that file too, and its base lies outside the output folder."""
    built, out = quantize(tmp_path, "F16")
    expected = official.tensors(official_f16)
    assert built.base is not None
    assert out not in Path(built.base).parents
    assert official.tensors(Path(built.base)) == expected
    assert official.tensors(out / "demo-F16.gguf") == expected


@pytest.mark.parametrize("type", ["BF16", "F32"])
def test_types_that_are_not_quantized_come_from_the_converter(tmp_path: Path, type: str) -> None:
    built, out = quantize(tmp_path, type)
    types = {kind for kind, shape, _ in official.tensors(out / built.files[0]).values() if len(shape) == 2}
    assert types == {type}
    assert built.base is None


def test_the_same_plan_gives_the_same_bytes_wherever_the_files_lie(tmp_path: Path) -> None:
    elsewhere = tmp_path / "3f2a9c" / "snapshot"
    shutil.copytree(DEMO, elsewhere)
    (first, one), (second, two) = quantize(tmp_path / "a", "Q4_K_M"), quantize(tmp_path / "b", "Q4_K_M", elsewhere)
    data = (one / first.files[0]).read_bytes()
    assert data == (two / second.files[0]).read_bytes()
    assert str(tmp_path).encode() not in data
    assert b"snapshot" not in data


def test_progress_is_told_and_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    seen: list[Any] = []
    GgufBackend().quantize(PLAN, DEMO, tmp_path / "out", tmp_path / "scratch", seen.append)
    for stage, unit in (("convert", "bytes"), ("quantize", "tensors")):
        steps = [event for event in seen if isinstance(event, Progress) and event.stage == stage]
        assert {event.unit for event in steps} == {unit}
        assert [event.done for event in steps] == sorted(event.done for event in steps)
        assert steps[-1].done == steps[-1].total


def test_a_type_that_needs_an_importance_matrix_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="importance matrix") as refusal:
        quantize(tmp_path, "IQ2_XS")
    assert "Q2_K" in refusal.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        (ModelRef("hub", "mistralai/Mistral-7B-v0.3"), "Mistral-7B-v0.3"),
        (ModelRef("local", "x", path="/data/my model/"), "my_model"),
        (ModelRef("hub", "../../etc"), "etc"),
        (ModelRef("hub", "a/..."), "model"),
        (ModelRef("demo", "demo"), "demo"),
    ],
)
def test_a_file_is_named_after_its_model_safely(ref: ModelRef, name: str) -> None:
    assert model_name(ref) == name
