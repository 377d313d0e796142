"""What waits on the disk comes back as it was, and only what fits is taken."""

from __future__ import annotations

import numpy as np
import pytest

from lqmf.quality import turns
from tests.fixtures_gguf import DEMO, demo_gguf
from tests.fixtures_safetensors import demo_folder


def test_arrays_come_back_in_order_and_nothing_is_left(tmp_path):
    rows = [np.random.default_rng(n).normal(size=(n, 7)).astype(np.float32) for n in (3, 1, 5)]
    with turns.Waiting(tmp_path) as waiting:
        for each in rows:
            waiting.put(each)
        for _ in range(2):
            assert all(np.array_equal(one, other) for one, other in zip(rows, waiting, strict=True))
        assert list(tmp_path.iterdir()) == []


def test_half_of_the_free_disk_is_the_most(tmp_path, monkeypatch):
    monkeypatch.setattr(turns.shutil, "disk_usage", lambda folder: type("", (), {"free": 1000})())
    with turns.Waiting(tmp_path) as waiting:
        assert waiting.takes((25, 5))
        waiting.put(np.zeros((20, 5), np.float32))
        assert waiting.takes((5, 5))
        assert not waiting.takes((6, 5))


@pytest.mark.parametrize(("free", "apart"), [(100 << 20, False), (40 << 20, True)])
def test_two_models_run_in_turns_where_the_memory_does_not_hold_both(monkeypatch, free, apart):
    """The source takes 29 MB in float32, its NF4 artifact 5."""
    monkeypatch.setattr(turns, "_free", lambda device: (free, "float32"))
    assert turns.too_large_together(DEMO, demo_folder("nf4"), "cpu") is apart


def test_a_gguf_counts_by_its_file(monkeypatch):
    size = demo_gguf("Q4_K_M").stat().st_size
    monkeypatch.setattr(turns, "_free", lambda device: (int(2 * size / 0.8) + 9, "float32"))
    assert not turns.too_large_together(demo_gguf("Q4_K_M"), demo_gguf("Q4_K_M"), "cpu")
    monkeypatch.setattr(turns, "_free", lambda device: (int(2 * size / 0.8) - 9, "float32"))
    assert turns.too_large_together(demo_gguf("Q4_K_M"), demo_gguf("Q4_K_M"), "cpu")
