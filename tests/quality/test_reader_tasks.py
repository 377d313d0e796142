"""The worker's tasks for models that do not continue text: alike is alike, damaged is not, and what cannot be said has
its reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lqmf.errors import MeasurementError
from lqmf.jobs.tasks import likeness, read
from lqmf.records import Task
from tests.architectures import families
from tests.architectures.damage import damaged
from tests.fixtures_gguf import EVALUATION

pytestmark = pytest.mark.slow


def compared(artifact: Path, base: Path | None, **more: Any) -> dict[str, Any]:
    params = {"artifact": str(artifact), "base": str(base) if base else None, "text": str(EVALUATION), "device": "cpu"}
    params |= {"max_windows": 5, "window_tokens": 64, **more}
    return likeness.run(Task("j", "likeness", params, ""), lambda _event: None)


def test_an_encoder_is_like_itself_and_unlike_a_damaged_copy(tmp_path: Path) -> None:
    source = families.folder("codebert")
    same, other = compared(source, source), compared(damaged(source, tmp_path / "damaged"), source)
    assert same["similarity"]["embedding_cosine"]["min"] == pytest.approx(1)
    assert same["similarity"]["token_cosine"]["min"] == pytest.approx(1)
    assert same["similarity"]["embedding_cosine"]["between_texts"] < 0.99
    assert other["similarity"]["token_cosine"]["mean"] < 0.9
    assert (same["similarity"]["texts"], same["window_tokens"], same["tokens_evaluated"]) == (5, 62, 5 * 64)
    for missing in ("perplexity", "kl_divergence", "top1_agreement"):
        assert missing not in same
        assert "similarity" in same["reasons"][missing]


def test_an_encoder_decoder_answers_as_itself_and_a_damaged_copy_worse(tmp_path: Path) -> None:
    source = families.folder("blenderbot")
    same, other = compared(source, source), compared(damaged(source, tmp_path / "damaged"), source)
    assert same["sequence_loss"]["change"] == 0
    assert same["kl_divergence"]["mean"] == pytest.approx(0, abs=1e-9)
    assert same["top1_agreement"] == 1
    assert other["sequence_loss"]["source"] == same["sequence_loss"]["source"]
    assert other["kl_divergence"]["mean"] > 0.2
    assert "sequence_loss" in same["reasons"]["perplexity"]
    assert same["tokens_evaluated"] == 5 * (same["window_tokens"] - same["window_tokens"] // 2)


def test_without_a_source_an_encoder_decoder_has_its_own_loss_and_an_encoder_nothing() -> None:
    alone = compared(families.folder("blenderbot"), None, base_reason="it was not kept")
    beside = compared(families.folder("blenderbot"), families.folder("blenderbot"))
    assert alone["sequence_loss"] == {"artifact": pytest.approx(beside["sequence_loss"]["source"]), "source": None}
    assert alone["reasons"]["kl_divergence"] == "it was not kept"
    encoder = compared(families.folder("codebert"), None, base_reason="it was not kept")
    assert encoder["reasons"]["similarity"] == "it was not kept"


def test_the_budget_ends_it_but_not_before_four_windows() -> None:
    found = compared(families.folder("codebert"), families.folder("codebert"), max_windows=None, budget_seconds=0.0)
    assert found["similarity"]["texts"] == likeness.FEWEST_WINDOWS


def test_another_models_tokens_are_not_compared() -> None:
    with pytest.raises(MeasurementError, match="different tokens"):
        compared(families.folder("codebert"), families.folder("bert"))


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("A list.", encoding="utf-8")
    with pytest.raises(MeasurementError, match="a window needs"):
        compared(families.folder("codebert"), families.folder("codebert"), text=str(text))


@pytest.mark.parametrize("name", ["codebert", "blenderbot"])
def test_what_reads_is_timed_and_checked_and_what_it_cannot_do_has_a_reason(name: str) -> None:
    task = Task("j", "read", {"artifact": str(families.folder(name)), "device": "cpu"}, "")
    found = read.run(task, lambda _event: None)
    assert {check["name"]: check["passed"] for check in found["checks"]} == {
        "weights_present": True,
        "finite_predictions": True,
    }
    assert found["tokens_per_second"]["prompt"] > 0
    assert found["tokens_per_second"]["generation"] is None
    assert "continue" in found["reasons"]["tokens_per_second.generation"]
    assert found["load_seconds"] > 0
    assert found["peak_memory_bytes"]["rss"] > 0


def test_states_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(families.folder("codebert"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"].fill_(torch.inf)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    task = Task("j", "read", {"artifact": str(folder), "device": "cpu"}, "")
    finite = next(
        check for check in read.run(task, lambda _event: None)["checks"] if check["name"] == "finite_predictions"
    )
    assert not finite["passed"]
    with pytest.raises(MeasurementError, match="not numbers"):
        compared(folder, families.folder("codebert"))
