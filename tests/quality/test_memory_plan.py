"""Two models run together where both fit, else in turns with as many waiting windows as there is room for, else not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lqmf import hardware
from lqmf.errors import DoesNotFit
from lqmf.quality.receipt import memory_plan
from lqmf.quality.receipt.memory_plan import PairMemory, pair_memory, window_bytes
from lqmf.records import Gpu, Hardware
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.fixtures_safetensors import demo_folder

GB = 1 << 30
ROOM = PairMemory(base=4 * GB, artifact=2 * GB, window=GB // 8, free=9 * GB, ram=9 * GB)


def test_a_window_takes_a_float_for_each_scored_token_and_word():
    assert window_bytes(512, 128_256) == 255 * 128_256 * 4


def test_both_fit_with_what_they_compute_in_and_a_fifth_to_spare():
    assert ROOM.together  # 6 GB and six windows of an eighth: 6.75 of 7.2
    assert not dataclasses.replace(ROOM, free=8 * GB).together
    assert not dataclasses.replace(ROOM, window=GB // 4).together


def test_half_of_what_the_larger_model_leaves_is_for_waiting_windows():
    assert dataclasses.replace(ROOM, free=8 * GB, ram=8 * GB).waiting_windows() == int((8 - 4.375) / 2 * 8)
    assert ROOM.waiting_windows(budget_bytes=GB) == 8


def test_on_a_gpu_windows_wait_in_the_ram():
    assert dataclasses.replace(ROOM, free=6 * GB, ram=2 * GB).waiting_windows() == 8


@pytest.mark.parametrize("short", [{"free": 5 * GB, "ram": 5 * GB}, {"free": 6 * GB, "ram": GB // 8}])
def test_what_does_not_even_fit_in_turns_is_refused_with_what_it_needs(short):
    with pytest.raises(DoesNotFit, match=r"not measured: .* need 5\.6 GB; [56]\.0 GB are free"):
        dataclasses.replace(ROOM, **short).waiting_windows()


@pytest.mark.parametrize(("free", "together"), [(100 << 20, True), (40 << 20, False)])
def test_models_of_safetensors_count_as_they_are_in_memory(monkeypatch, free, together):
    """The source takes 29 MB in float32, its NF4 artifact 5, and a window of each 4 MB three times."""
    monkeypatch.setattr(hardware, "detect", lambda: Hardware("cpu", 1, free, free))
    found = pair_memory(DEMO, demo_folder("nf4"), "cpu", 512)
    assert found.window == window_bytes(512, 4096)
    assert found.together is together


@pytest.mark.parametrize("told", [{}, {"text_config": {}}, {"text_config": {"vocab_size": 4096}}])
def test_the_vocabulary_is_told_by_the_weights_where_the_configuration_does_not(tmp_path, told):
    """As of models of text and pictures, whose text_config leaves it to transformers' defaults."""
    folder = Path(shutil.copytree(DEMO, tmp_path / "demo"))
    (folder / "config.json").write_text(json.dumps({"model_type": "of_its_own", **told}))
    assert pair_memory(folder, folder, "cpu", 512).window == window_bytes(512, 4096)


def test_windows_without_a_known_vocabulary_still_count():
    assert dataclasses.replace(ROOM, window=window_bytes(512, 0)).waiting_windows() > 0


def test_a_gguf_counts_by_its_file_and_a_card_by_its_own_memory(monkeypatch):
    card = Gpu("A Card", 8 * GB, 3 * GB)
    monkeypatch.setattr(hardware, "detect", lambda: Hardware("cpu", 1, GB, GB, (card,)))
    monkeypatch.setattr(memory_plan, "_offloads", lambda path: True)
    found = pair_memory(demo_gguf("F16"), demo_gguf("Q4_K_M"), "auto", 512)
    assert found == PairMemory(
        demo_gguf("F16").stat().st_size, demo_gguf("Q4_K_M").stat().st_size, window_bytes(512, 4096), 3 * GB, GB
    )
    assert pair_memory(demo_gguf("F16"), demo_gguf("Q4_K_M"), "cpu", 512).free == GB
