"""What a conversion changes is seen against the model itself; a sound one is as near as 16-bit arithmetic allows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lqmf import workspace
from lqmf.errors import MeasurementError
from lqmf.events import Event, Progress
from lqmf.jobs.tasks import conversion as task
from lqmf.jobs.tasks import divergence
from lqmf.quality.receipt import base_rows, conversion, kept_conversions
from lqmf.records import Task
from tests.architectures import families
from tests.fixtures_gguf import EVALUATION
from tests.quantization.bases import make_base


@pytest.fixture(autouse=True)
def afresh(tmp_path: Path) -> Iterator[None]:
    with workspace.measured_afresh(tmp_path / "measured"):
        yield


def changed(name: str, place: Path, **config: Any) -> Path:
    """A copy of the family's model, with these keys in its configuration."""
    folder = Path(shutil.copytree(families.folder(name), place / "model"))
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **config}))
    return folder


def compared(source: Path, place: Path, heard: list[Event] | None = None, **params: Any) -> Mapping[str, Any]:
    """What the worker's task finds of `source` and the GGUF made of it."""
    base = next(place.glob("*.gguf"), None) or make_base(source, place, lambda _: None, name="model").path
    asked = {"source": str(source), "base": str(base), "text": str(EVALUATION), "windows": 2, "device": "cpu", **params}
    emit = heard.append if heard is not None else lambda _: None
    return task.run(Task("j", "conversion", asked, str(place / "log")), emit)


def test_a_sound_conversion_is_as_near_as_16_bits_and_is_kept(tmp_path):
    heard: list[Event] = []
    source = families.folder("mistral")
    found = compared(source, tmp_path, heard)["conversion"]
    assert 0 < found["kl_divergence"]["mean"] < 1e-4
    assert 0 < found["kl_divergence"]["noise_floor"] < 1e-4
    assert found["top1_agreement"] > 0.97
    assert found["tokens_evaluated"] == 2 * 255
    assert (found["base"]["type"], found["limit_nats"]) == ("F16", conversion.BOUND_NATS)
    told = [(event.done, event.total) for event in heard if isinstance(event, Progress)]
    assert told == [(1, 2), (2, 2)]
    (base,) = tmp_path.glob("*.gguf")
    assert kept_conversions.told(source, base, EVALUATION, 2) == found
    assert kept_conversions.told(source, base, EVALUATION, 4) is None


@pytest.mark.parametrize("in_turns", [False, True])
def test_what_the_base_predicted_in_the_comparison_with_the_artifact_is_not_computed_again(
    tmp_path, monkeypatch, in_turns
):
    source, rows = families.folder("llama"), tmp_path / "rows"
    alone = compared(source, tmp_path)["conversion"]
    (base,) = tmp_path.glob("*.gguf")
    keep = {"file": str(rows), "windows": 2}
    asked = {"artifact": str(base), "base": str(base), "text": str(EVALUATION), "max_windows": 3, "device": "cpu"}
    divergence.run(Task("j", "divergence", {**asked, "in_turns": in_turns, "keep": keep}, ""), lambda _: None)
    monkeypatch.setattr(task, "open_engine", None)
    found = compared(source, tmp_path, rows=str(rows))["conversion"]
    floor = found["kl_divergence"].pop("noise_floor")
    assert 0 < floor < 1e-4
    assert 0 < alone["kl_divergence"].pop("noise_floor") < 1e-4
    assert found == alone


@pytest.mark.parametrize("left", ["nothing", "too few windows", "no end"])
def test_what_the_comparison_with_the_artifact_did_not_leave_whole_is_computed(tmp_path, left):
    import numpy as np

    source, rows = families.folder("llama"), tmp_path / "rows"
    keeper = base_rows.Keeper(rows, 2)
    for _ in range({"nothing": 0, "too few windows": 1, "no end": 2}[left]):
        keeper.look(range(512), np.zeros((255, 32), np.float32))
    if left != "no end":
        keeper.finish("an engine", None)
    assert compared(source, tmp_path, rows=str(rows))["conversion"]["windows"] == 2


def test_a_disk_without_room_for_what_is_kept_ends_nothing(tmp_path):
    import numpy as np

    keeper = base_rows.Keeper(tmp_path / "no folder" / "rows", 2)
    keeper.look(range(512), np.zeros((255, 32), np.float32))
    keeper.finish("an engine", None)
    assert base_rows.kept(tmp_path / "no folder" / "rows", 2) is None


def test_of_a_large_vocabulary_no_more_is_kept_than_is_compared(tmp_path):
    import numpy as np

    rows, words = np.arange(255 * 400, dtype=np.float32).reshape(255, 400), 400
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "_LOGITS_BYTES", 2 * 20 * 4 * words)
        keeper = base_rows.Keeper(tmp_path / "rows", 2)
        for _ in range(3):
            keeper.look(range(512), rows)
    keeper.finish("an engine", 1e-6)
    found = base_rows.kept(tmp_path / "rows", 2)
    assert found is not None
    assert (found.read.first, len(found.read.windows)) == (491, 2)
    assert all((each == rows[-20:]).all() for each in found.rows)


def test_a_sliding_window_that_libllama_ignores_is_seen(tmp_path):
    found = compared(changed("mistral", tmp_path, sliding_window=32), tmp_path)["conversion"]
    assert found["kl_divergence"]["mean"] > 100 * conversion.BOUND_NATS
    assert found["sliding_window"] == 32


def test_without_time_it_is_left_out_with_the_reason(tmp_path):
    found = compared(families.folder("llama"), tmp_path, budget_seconds=0.0)
    assert found["conversion"] is None
    assert "comprehensive" in found["reasons"]["conversion"]


def test_what_transformers_cannot_run_is_left_out_with_the_reason(tmp_path):
    compared(families.folder("llama"), tmp_path)
    found = compared(changed("llama", tmp_path, num_hidden_layers=3), tmp_path)
    assert found["conversion"] is None
    assert "lacks" in found["reasons"]["conversion"]


def test_a_text_too_short_is_told(tmp_path):
    (tmp_path / "short.txt").write_text("a")
    found = compared(families.folder("llama"), tmp_path, text=str(tmp_path / "short.txt"))
    assert "too short" in found["reasons"]["conversion"]


def test_logits_that_are_no_numbers_are_an_error():
    import numpy as np

    read = conversion.batch(list(range(100)), 16, 2, None, 100)
    assert read is not None
    rows = np.zeros((2, 16 - 1 - read.first, 100), np.float32)
    with pytest.raises(MeasurementError):
        conversion.Conversion().add(read, rows, rows * np.nan)


def test_as_many_positions_are_scored_as_memory_takes():
    small, large = (conversion.batch(list(range(2048)), 512, 4, 7, words) for words in (1000, 1_000_000))
    assert small is not None
    assert large is not None
    assert small.first == 256
    assert 4 * (511 - large.first) * 1_000_000 * 4 <= 256 << 20
    assert [window[0] for window in small.windows] == [7] * 4


@pytest.mark.parametrize(
    ("sliding", "context", "length"), [(None, 4096, None), (64, 4096, None), (1024, 4096, 1536), (4096, 4096, None)]
)
def test_a_longer_window_is_read_where_the_usual_ones_do_not_reach_beyond(sliding, context, length):
    assert conversion.beyond(sliding, context) == length


@pytest.mark.parametrize(
    ("type", "floor", "limit"),
    [("F16", 3e-6, 1e-3), ("BF16", None, 1e-3), ("Q8_0", 3e-6, 0.005), ("F16", 4e-4, 4e-3)],
)
def test_a_base_may_lose_what_its_own_bits_and_noise_may(type, floor, limit):
    assert conversion.limit_nats(type, floor) == limit
