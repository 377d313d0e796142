"""What differs between two files is told in an order that does not change from run to run."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save_file

from lqmf.quality.checks import differences

NAMES = [f"layers.{layer}.weight" for layer in range(40)]


def test_differing_tensors_are_told_in_the_order_of_their_names(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    for place, value in ((before, 1.0), (after, 2.0)):
        place.mkdir()
        save_file({name: np.full(4, value, np.float32) for name in NAMES}, place / "model.safetensors")
    found = differences.between(before, after, ["model.safetensors"])
    assert [one.tensor for one in found] == sorted(NAMES)
