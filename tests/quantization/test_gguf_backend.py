"""The GGUF backend makes the files of a plan in order, and the same plan makes them again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import UnsupportedModel
from lqmf.events import Progress, StageStarted
from lqmf.model_files.gguf_header import read_header
from lqmf.model_files.gguf_types import known
from lqmf.planning.planner import artifact_name
from lqmf.quantization.gguf.backend import GgufBackend, model_name
from lqmf.quantization.promise import Built, Source
from lqmf.records import ModelRef, QuantizationPlan
from tests.fixtures_gguf import small_folder
from tests.quantization import official

SOURCE = small_folder()
CALIBRATION = Path(str(resources.files("lqmf").joinpath("assets/text/calibration.txt")))
PLAN = QuantizationPlan("p", ModelRef("demo", "demo"), None, "gguf", 4, "Q4_K_M", "gguf", "cpu")


def quantize(work: Path, type: str, source: Path = SOURCE, **changes: Any) -> tuple[Built, Path]:
    """The artifact that the backend makes in fresh folders, and its folder."""
    out, scratch = work / "out", work / "scratch"
    out.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(exist_ok=True)
    plan = plan_of(type, **changes)
    return GgufBackend().quantize(plan, Source(source), out, scratch, lambda _event: None), out


def plan_of(type: str, **changes: Any) -> QuantizationPlan:
    return replace(PLAN, type=type, bits=known(type).bits, **changes)


def types_of(file: Path) -> set[str]:
    return {tensor.type for tensor in read_header(file).tensors if len(tensor.shape) == 2}


@pytest.mark.parametrize("type", ["F16", "BF16", "F32"])
def test_types_that_are_not_quantized_are_what_the_converter_makes(tmp_path: Path, type: str) -> None:
    built, out = quantize(tmp_path, type)
    assert types_of(out / built.files[0]) == {type}


def test_what_is_measured_against_lies_outside_the_artifact(tmp_path: Path) -> None:
    built, out = quantize(tmp_path, "Q8_0", base="F16")
    assert built.base is not None
    assert out not in Path(built.base).parents
    assert types_of(Path(built.base)) == {"F16"}
    assert quantize(tmp_path / "none", "Q8_0")[0].base is None


def test_every_tensors_type_is_told_for_the_manifest(tmp_path: Path) -> None:
    built, out = quantize(tmp_path, "Q4_K_M")
    assert built.tensors == {tensor.name: tensor.type for tensor in read_header(out / built.files[0]).tensors}
    assert built.imatrix is None


def test_a_matrix_guides_the_types_and_is_named_in_the_file_and_for_the_manifest(tmp_path: Path) -> None:
    built, out = quantize(tmp_path, "Q4_K_M", base="F16", imatrix=True)
    plain, plain_out = quantize(tmp_path / "plain", "Q4_K_M")
    assert built.imatrix is not None
    told = read_header(out / built.files[0]).metadata
    assert told["lqmf.imatrix.sha256"] == built.imatrix["imatrix_sha256"]
    assert told["quantize.imatrix.chunks_count"] == built.imatrix["windows"]
    assert not any("imatrix" in key for key in read_header(plain_out / plain.files[0]).metadata)
    assert official.tensors(out / built.files[0]) != official.tensors(plain_out / plain.files[0])


def test_plans_that_follow_are_made_in_the_same_pass(tmp_path: Path) -> None:
    """The second job finds its file: the source is not read again."""
    first, second = plan_of("Q4_K_M"), plan_of("Q8_0")
    seen: list[Any] = []
    for name in ("work", "one", "two"):
        (tmp_path / name).mkdir()
    work = tmp_path / "work"
    GgufBackend().quantize(first, Source(SOURCE), tmp_path / "one", work, seen.append, [second])
    gone = Source(tmp_path / "gone")
    built = GgufBackend().quantize(second, gone, tmp_path / "two", work, seen.append)
    assert types_of(tmp_path / "two" / built.files[0]) == {"Q8_0"}
    assert [event.title for event in seen if isinstance(event, StageStarted)] == ["Quantizing to Q4_K_M, Q8_0"]


def test_a_plan_that_needs_a_matrix_may_follow_one_that_needs_nothing(tmp_path: Path) -> None:
    """What the later plan calibrates on is made first. The text is this test's alone, so that no matrix is known."""
    text = tmp_path / "text.txt"
    text.write_text(f"{tmp_path}\n" + CALIBRATION.read_text(encoding="utf-8")[:60_000], encoding="utf-8")
    for name in ("work", "out"):
        (tmp_path / name).mkdir()
    plain, guided = plan_of("Q8_0"), plan_of("Q4_K_M", base="F16", imatrix=True, calibration=str(text))
    built = GgufBackend().quantize(
        plain, Source(SOURCE), tmp_path / "out", tmp_path / "work", lambda _event: None, [guided]
    )
    assert types_of(tmp_path / "out" / built.files[0]) == {"Q8_0"}
    [made] = (tmp_path / "work").glob("demo-Q4_K_M-*.gguf")
    assert "lqmf.imatrix.sha256" in read_header(made).metadata


@pytest.mark.slow
def test_a_mix_is_chosen_once_and_leaves_its_map_beside_the_file(tmp_path: Path) -> None:
    seen: list[Any] = []
    for name in ("work", "one", "two"):
        (tmp_path / name).mkdir()
    plan = replace(plan_of("auto", base="F16", imatrix=True), target_bytes=1_700_000, keep=("output=Q8_0",))
    made = [
        GgufBackend().quantize(plan, Source(SOURCE), tmp_path / name, tmp_path / "work", seen.append)
        for name in ("one", "two")
    ]
    assert made[0].files == made[1].files == ("demo-auto.gguf", "tensor-types.txt")
    assert sum("Choosing" in event.title for event in seen if isinstance(event, StageStarted)) == 1
    file = tmp_path / "one" / "demo-auto.gguf"
    assert 1_600_000 < file.stat().st_size <= 1_700_000
    kinds = {tensor.name: tensor.type for tensor in read_header(file).tensors}
    assert kinds["token_embd.weight"] == "Q8_0", "the head is tied to it"
    told = (tmp_path / "one" / "tensor-types.txt").read_text().splitlines()
    assert all(kinds[line[1:].partition("$")[0]] == line.partition("=")[2].upper() for line in told)


def test_the_same_plan_gives_the_same_bytes_wherever_the_files_lie(tmp_path: Path) -> None:
    elsewhere = tmp_path / "3f2a9c" / "snapshot"
    shutil.copytree(SOURCE, elsewhere)
    (first, one), (second, two) = quantize(tmp_path / "a", "Q4_K_M"), quantize(tmp_path / "b", "Q4_K_M", elsewhere)
    data = (one / first.files[0]).read_bytes()
    assert data == (two / second.files[0]).read_bytes()
    assert str(tmp_path).encode() not in data
    assert b"snapshot" not in data


def test_progress_is_told_and_never_goes_back(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    seen: list[Any] = []
    GgufBackend().quantize(PLAN, Source(SOURCE), tmp_path / "out", tmp_path / "scratch", seen.append)
    steps = [event for event in seen if isinstance(event, Progress) and event.stage == "quantize"]
    assert {event.unit for event in steps} == {"bytes"}
    assert [event.done for event in steps] == sorted(event.done for event in steps)
    assert steps[-1].done == steps[-1].total


def test_a_type_that_needs_an_importance_matrix_is_refused_without_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="importance matrix") as refusal:
        quantize(tmp_path, "IQ2_XS")
    assert refusal.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        (ModelRef("hub", "mistralai/Mistral-7B-v0.3"), "Mistral-7B-v0.3"),
        (ModelRef("local", "x", path="/data/my model/"), "my_model"),
        (ModelRef("hub", "../../etc"), "etc"),
        (ModelRef("hub", "a/..."), "model"),
        (ModelRef("demo", "demo"), "demo"),
        (ModelRef("local", "x", path="/data/日本語-7B"), "日本語-7B"),
        (ModelRef("local", "x", path="/data/--help"), "help"),
    ],
)
def test_a_file_is_named_after_its_model_safely(ref: ModelRef, name: str) -> None:
    assert model_name(ref) == name
    if ref.kind == "local":
        assert artifact_name(replace(PLAN, model=ref)) == f"{name}_gguf_4bit_Q4_K_M"


def with_weight(folder: Path, value: float) -> Path:
    """The model with one weight of `value` in its layer."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(SOURCE, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.down_proj.weight"][3, 5] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("base", ["F16", None])
def test_a_weight_beyond_a_half_floats_range_makes_base_and_result_wider(tmp_path: Path, base: str | None) -> None:
    """One BF16 weight of 100,000: as F16 it is infinite."""
    built, out = quantize(tmp_path, "Q8_0", with_weight(tmp_path / "big", 1e5), base=base)
    assert types_of(out / built.files[0]) == {"Q8_0"}
    assert any("does not hold" in note and "blk.0.ffn_down.weight" in note for note in built.notes)
    if base:
        assert types_of(Path(str(built.base))) <= {"F32", "BF16"}


def test_a_weight_that_is_no_number_in_the_model_itself_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"in the model itself: no type helps") as caught:
        quantize(tmp_path, "Q8_0", with_weight(tmp_path / "nan", float("nan")))
    assert "BF16" not in caught.value.remedy
