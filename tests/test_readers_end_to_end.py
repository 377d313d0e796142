"""An encoder and an encoder-decoder are quantized and measured by one command each, by a measure that fits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.architectures import families
from tests.commands import lqmf

pytestmark = pytest.mark.slow


def made(root: Path, name: str, *options: str) -> tuple[dict[str, Any], str]:
    """The receipt of the family's model, and what a person is shown of it."""
    import json

    done = lqmf(root, "quantize", str(families.folder(name)), *options, "--yes", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout)
    shown = lqmf(root, "show", document["artifacts"][0]["name"])
    return document["receipt"], shown.stdout + shown.stderr


def test_codebert_in_int8_has_the_embeddings_of_its_source(tmp_path: Path) -> None:
    receipt, shown = made(tmp_path, "codebert", "--method", "bnb", "--type", "int8")
    cosine = receipt["similarity"]["embedding_cosine"]
    assert 0.999 < cosine["min"] <= cosine["mean"] <= 1 + 1e-9
    assert cosine["between_texts"] < cosine["min"]
    assert receipt["sequence_loss"] is None
    for missing in ("perplexity", "kl_divergence"):
        assert receipt[missing] is None
        assert "encoder" in receipt["reasons"][missing]
    assert all(check["passed"] for check in receipt["checks"])
    assert "embedding cosine" in shown


def test_bert_as_gguf_is_checked_as_an_encoder(tmp_path: Path) -> None:
    receipt, _shown = made(tmp_path, "bert", "--method", "gguf", "--type", "Q8_0")
    checks = {check["name"]: check["passed"] for check in receipt["checks"]}
    assert all(checks.values()), receipt["checks"]
    assert {"vocabulary", "special_tokens", "source_weights"} <= checks.keys()
    refused = lqmf(tmp_path, "benchmark", "bert")
    assert refused.returncode == 1
    assert "not a model that continues text" in refused.stderr


def test_t5_as_gguf_answers_nearly_as_its_source(tmp_path: Path) -> None:
    receipt, shown = made(tmp_path, "t5", "--method", "gguf", "--type", "Q8_0")
    loss = receipt["sequence_loss"]
    assert abs(loss["change"]) < 0.05
    assert loss["artifact"] == pytest.approx(loss["source"] + loss["change"])
    assert 0 < receipt["kl_divergence"]["mean"] < 0.1  # of 0.3 in four bits: a model of random weights is touchy
    assert receipt["similarity"] is None
    assert receipt["perplexity"] is None
    assert "sequence loss" in shown
