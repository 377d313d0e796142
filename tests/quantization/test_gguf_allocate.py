"""The automatic mix on the demo model: less loss at the same size, wishes honoured, nothing read that must not be.

The importance matrix is the built-in text's, from few windows: what is tested here is the choice, not the matrix.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from lqmf import workspace
from lqmf.errors import UsageError
from lqmf.events import Event, Progress, StageFinished, StageStarted
from lqmf.ggml import codec
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.imatrix_file import Imatrix
from lqmf.quantization.gguf.imatrix import collect
from lqmf.quantization.gguf.imatrix.collect import Settings
from lqmf.quantization.gguf.mix import allocate, errors_table, sensitivity
from lqmf.quantization.gguf.mix.allocate import Effort
from lqmf.quantization.gguf.mix.mixes import Mixes
from lqmf.quantization.gguf.mix.patched_model import Divergences, PatchedModel
from lqmf.quantization.gguf.mix.sensitivity import Spoiler
from lqmf.quantization.gguf.mix.trial import Trial
from tests.fixtures_gguf import EVALUATION, demo_gguf, small_gguf

pytestmark = pytest.mark.slow

LITTLE = Effort(groups=24, windows=1, window_tokens=192, judged=2, variants=1)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    demo_gguf("F16"), demo_gguf("Q4_K_M"), demo_gguf("Q6_K"), demo_gguf("Q8_0"), small_gguf("F16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(workspace.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@lru_cache
def matrix() -> Imatrix:
    few = Settings(tokens=256, least=4, most=4)
    return collect.importance_matrix(demo_gguf("F16"), "allocate-test", None, ignore, settings=few)[1]


def ignore(_event: Event) -> None:
    """Progress is of no interest here."""


@pytest.fixture
def mixes() -> Mixes:
    return Mixes(BaseFile(demo_gguf("F16")), matrix(), {}, fast=False, reserve_bytes=0)


@pytest.fixture
def model() -> Iterator[PatchedModel]:
    with PatchedModel(demo_gguf("F16"), threads=1) as opened:
        yield opened


def windows(model: PatchedModel, count: int, length: int = 256) -> list[list[int]]:
    tokens = model.tokenize(allocate.selection_text().read_text(encoding="utf-8"))
    return [tokens[start : start + length] for start in range(1000, 1000 + count * length, length)]


def test_every_type_reads_back_close_to_what_was_written_and_more_bits_are_closer() -> None:
    rows = np.random.default_rng(1).normal(size=(8, 512)).astype(np.float32)
    weights = np.ones(512, dtype=np.float32)
    errors = [
        errors_table.error(rows, kind, weights) for kind in ("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0", "f16")
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.2 * float(np.square(rows).sum())
    assert np.array_equal(codec.decode(codec.encode(rows, "f32"), "f32", 512), rows)
    with pytest.raises(ValueError, match="whole number"):
        codec.encode(rows[:, :96], "q4_K")


def test_a_sample_of_rows_tells_the_error_of_the_whole_tensor(mixes: Mixes) -> None:
    name = "blk.3.ffn_down.weight"
    weights = errors_table.importance(mixes.base, matrix(), name)
    assert weights is not None
    sampled = errors_table.make(mixes.base, matrix(), {name: ("q4_K", "iq3_s")}, ignore)[name]
    for kind, error in sampled.items():
        whole = errors_table.error(mixes.base.rows(name, 0, slice(None)), kind, weights[0])
        assert error == pytest.approx(whole, rel=0.1)


def test_an_errors_table_comes_from_the_cache_and_a_spoilt_entry_is_made_again(
    mixes: Mixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workspace.CACHE_VARIABLE, str(tmp_path))
    wanted = {"blk.0.attn_k.weight": ("q4_K", "q8_0")}
    first = errors_table.make(mixes.base, matrix(), wanted, ignore)
    (kept,) = (workspace.cache_dir() / "errors").rglob("*.json")
    kept.write_text(json.dumps({"q4_K": 1.5}))
    assert errors_table.make(mixes.base, matrix(), wanted, ignore)["blk.0.attn_k.weight"]["q4_K"] == 1.5
    kept.write_text("torn")
    assert errors_table.make(mixes.base, matrix(), wanted, ignore) == first


def test_a_model_that_was_spoilt_and_restored_predicts_as_before(model: PatchedModel, mixes: Mixes) -> None:
    spoiler, judge = Spoiler(mixes.base, matrix(), model, threads=1), Divergences(model, windows(model, 1))
    assert spoiler.locate(list(mixes.choices)) == list(mixes.choices)
    spoiler.apply({"token_embd.weight": "q4_0", "blk.0.ffn_up.weight": "q2_K"})
    assert judge.each(0, 1)[0].mean() > 1e-3
    spoiler.apply({})
    assert judge.each(0, 1)[0].max() < 1e-9


def test_divergences_of_single_tensors_add_up_to_that_of_all_together(model: PatchedModel, mixes: Mixes) -> None:
    spoiler, judge = Spoiler(mixes.base, matrix(), model, threads=1), Divergences(model, windows(model, 2))
    names = [f"blk.{layer}.{role}.weight" for layer in (1, 4, 6) for role in ("ffn_down", "attn_v", "ffn_gate")]
    spoiler.locate(names)
    errors = errors_table.make(mixes.base, matrix(), {name: ("q3_K",) for name in names}, ignore)
    found = sensitivity.measure(spoiler, judge, 2, [(name,) for name in names], errors, ignore)
    added = sum(found[name] * errors[name]["q3_K"] for name in names)
    assert Trial(spoiler, judge, ignore).kl_nats(dict.fromkeys(names, "q3_K")) == pytest.approx(added, rel=0.25)


def test_groups_are_of_one_role_and_neighbouring_layers_and_no_more_than_asked() -> None:
    names = ["token_embd.weight", *(f"blk.{i}.{role}.weight" for i in range(12) for role in ("attn_q", "ffn_up"))]
    for most in (25, 15, 11, 9, 5, 1):
        groups = sensitivity.grouped(names, most)
        assert sorted(name for group in groups for name in group) == sorted(names)
        assert len(groups) <= max(most, 3)
        for group in groups:
            layers = [int(name.split(".")[1]) for name in group if name.startswith("blk.")]
            assert len({name.rpartition(".")[0].rpartition(".")[2] for name in group}) == 1
            assert layers == list(range(layers[0], layers[0] + len(layers))) if layers else len(group) == 1
    assert ("blk.0.attn_q.weight",) in sensitivity.grouped(names, 9)
    assert ("blk.11.attn_q.weight",) in sensitivity.grouped(names, 9)


def test_the_mix_keeps_to_size_and_wishes_and_tells_how_far_it_got() -> None:
    seen: list[Event] = []
    size = demo_gguf("Q4_K_M").stat().st_size
    found = allocate.allocate(
        demo_gguf("F16"), matrix(), size, seen.append, keep={"output": "q8_0", "blk.0.attn": "q6_K"}, fast=True,
        threads=1, effort=LITTLE,
    )  # fmt: skip
    assert found.file_bytes <= size
    assert found.types["token_embd.weight"] == "q8_0"
    assert {kind for name, kind in found.types.items() if name.startswith("blk.0.attn")} == {"q6_K"}
    assert not any(kind.startswith("iq") for kind in found.types.values())
    assert found.gap < 1e-6
    assert found.measured_kl == pytest.approx(found.predicted_kl, rel=0.5)
    assert {"errors", "sensitivity", "solve", "verify"} <= found.seconds.keys()
    assert isinstance(seen[0], StageStarted)
    assert isinstance(seen[-1], StageFinished)
    assert any(isinstance(event, Progress) and "spoiling" in event.note for event in seen)


def test_from_an_8_bit_base_no_tensor_becomes_larger_than_it_is_there() -> None:
    size = demo_gguf("Q6_K").stat().st_size
    found = allocate.allocate(demo_gguf("Q8_0"), matrix(), size, ignore, fast=True, threads=1, effort=LITTLE)
    assert found.file_bytes <= size
    assert "f16" not in found.types.values()
    assert found.preset_kl is None or found.measured_kl <= found.preset_kl


@pytest.mark.slow
def test_the_mix_of_q4_k_m_s_size_loses_much_less_than_q4_k_m(model: PatchedModel, mixes: Mixes) -> None:
    size = mixes.file_bytes(mixes.presets()["Q4_K_M"])
    quick = Effort(groups=40, windows=2, window_tokens=256, judged=4, variants=2)
    found = allocate.allocate(demo_gguf("F16"), matrix(), size, ignore, reserve_bytes=0, threads=1, effort=quick)
    assert found.file_bytes <= size
    spoiler = Spoiler(mixes.base, matrix(), model, threads=1)
    spoiler.locate(list(mixes.choices))
    tokens = model.tokenize(EVALUATION.read_text(encoding="utf-8"))
    judge = Trial(spoiler, Divergences(model, [tokens[start : start + 512] for start in (5000, 60000, 110000)]), ignore)
    assert judge.kl_nats(found.types) < 0.75 * judge.kl_nats(mixes.presets()["Q4_K_M"])


@pytest.mark.parametrize(("size", "word"), [(1_000_000, "too small"), (99_000_000, "more than the model")])
def test_an_impossible_size_is_refused_before_anything_is_measured(size: int, word: str) -> None:
    seen: list[Event] = []
    with pytest.raises(UsageError, match=word):
        allocate.allocate(demo_gguf("F16"), matrix(), size, seen.append)
    assert [type(event) for event in seen] == [StageStarted]


def test_a_keep_that_names_nothing_and_a_text_without_a_window_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tensor that 'nothing' names"):
        allocate.allocate(demo_gguf("F16"), matrix(), 5_000_000, ignore, keep={"nothing": "q8_0"})
    (tmp_path / "short.txt").write_text("Too short.")
    with pytest.raises(UsageError, match="less than a window"):
        allocate.allocate(demo_gguf("F16"), matrix(), 5_000_000, ignore, text=tmp_path / "short.txt", threads=1)


_AUDITED = """
import json, os, sys
from pathlib import Path

opened = set()
sys.addaudithook(lambda event, args: opened.add(os.fsdecode(args[0])) if event == "open" and isinstance(
    args[0], (str, bytes)) else None)
from lqmf.model_files import imatrix_file
from lqmf.quantization.gguf.mix import allocate

matrix = imatrix_file.read(Path(sys.argv[2]))
effort = allocate.Effort(groups=1, windows=1, window_tokens=64, judged=1, variants=1)
allocate.allocate(Path(sys.argv[1]), matrix, 1_700_000, lambda _event: None, threads=1, effort=effort)
found = {str(Path(path).resolve()) for path in opened}
print(json.dumps(sorted(found)))
"""


def test_the_allocator_opens_the_selection_text_and_never_the_evaluation_text(tmp_path: Path) -> None:
    from lqmf.model_files import imatrix_file

    imatrix_file.write(matrix(), tmp_path / "matrix.gguf")
    command = [sys.executable, "-c", _AUDITED, str(small_gguf("F16")), str(tmp_path / "matrix.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    opened = json.loads(done.stdout.splitlines()[-1])
    assert str(allocate.selection_text().resolve()) in opened
    assert str(EVALUATION.resolve()) not in opened
    texts = [path for path in opened if Path(path).parent == EVALUATION.resolve().parent]
    assert texts == [str(allocate.selection_text().resolve())]
