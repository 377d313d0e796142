"""What each tensor loses, measured on the demo model: the artifact's own tensors, one at a time, in its source."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lqmf.errors import ModelError
from lqmf.events import Event, Progress
from lqmf.ggml.base_file import BaseFile
from lqmf.model_files.gguf_header import read_header
from lqmf.quantization.gguf.mix import layer_losses
from lqmf.quantization.gguf.mix.allocate import Effort
from lqmf.quantization.gguf.mix.layer_losses import Losses, measure
from tests.fixtures_gguf import EVALUATION, demo_gguf
from tests.model_files.gguf_writer import SMALL

LITTLE = Effort(groups=400, windows=1, window_tokens=256, judged=1, variants=0)
FEW = Effort(groups=9, windows=1, window_tokens=128, judged=1, variants=0)


@pytest.fixture(scope="module")
def heard() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def found(heard: list[Event]) -> Losses:
    return measure(demo_gguf("Q4_K_M"), demo_gguf("F16"), EVALUATION, heard.append, effort=LITTLE, threads=1)


def test_every_tensor_that_was_quantized_has_a_loss_of_its_own_and_no_other(found: Losses) -> None:
    quantized = {t.name: t.type for t in read_header(demo_gguf("Q4_K_M")).tensors if t.type not in ("F32", "F16")}
    assert {loss.name: loss.type for loss in found.tensors} == quantized
    assert all(loss.kl_nats > 0 and loss.group == (loss.name,) for loss in found.tensors)
    assert found.tokens_evaluated == 128
    assert found.base == "F16"


def test_the_single_losses_add_up_to_that_of_the_whole_file(found: Losses) -> None:
    assert sum(loss.kl_nats for loss in found.tensors) == pytest.approx(found.all_kl_nats, rel=0.25)
    assert found.all_kl_nats == pytest.approx(0.0022, rel=0.6)  # the file's own divergence, over a few windows


def test_its_progress_counts_the_runs(heard: list[Event], found: Losses) -> None:
    steps = [event for event in heard if isinstance(event, Progress)]
    assert [event.done for event in steps] == list(range(len(found.tensors) + 1))
    assert {event.total for event in steps} == {len(found.tensors) + 1}


def test_neighbours_measured_together_share_their_figure_and_say_so() -> None:
    found = measure(demo_gguf("Q2_K"), demo_gguf("F16"), EVALUATION, lambda event: None, effort=FEW, threads=1)
    together = [loss for loss in found.tensors if len(loss.group) > 1]
    assert together
    for loss in together:
        assert {other.kl_nats for other in together if other.name in loss.group} == {loss.kl_nats}
    told = layer_losses.document(found, {"name": "evaluation"}, "an engine")
    row = next(row for row in told["tensors"] if row["name"] == together[0].name)
    assert row["group"] == list(together[0].group)


def test_a_tensor_put_into_the_source_is_the_artifacts_own() -> None:
    import numpy as np

    donor, source = BaseFile(demo_gguf("Q8_0")), BaseFile(demo_gguf("F16"))
    name = "blk.2.ffn_up.weight"
    read = layer_losses._as_in(donor, source, name).view(np.float16).astype(np.float32)
    assert np.abs(read - donor.rows(name, 0, slice(None))).max() < 1e-4
    assert np.abs(read - source.rows(name, 0, slice(None))).max() > 0


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(SMALL)
    shutil.copyfile(demo_gguf("F16"), tmp_path / "base.gguf")
    with pytest.raises(ModelError, match="was not made from"):
        measure(other, tmp_path / "base.gguf", EVALUATION, lambda event: None, effort=FEW)
