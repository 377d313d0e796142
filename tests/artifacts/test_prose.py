"""A card's sentences come from the records, and nobody's wording of them brings in a figure or a name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lqmf.artifacts.card import prose
from lqmf.artifacts.card.prose import Prose
from lqmf.artifacts.card.writing import own_prose
from lqmf.errors import UsageError
from lqmf.records import Check, Receipt, to_json
from tests.artifacts.test_model_card import ARTIFACT, MANIFEST, RECEIPT

OWN = prose.written(ARTIFACT, MANIFEST, to_json(RECEIPT))


def test_the_sentences_hold_the_records_figures() -> None:
    assert OWN.summary == (
        "It has 4.4 GB, 3.31 times smaller than its source, at 4.83 bits a weight. Against the source it loses 0.00234 "
        "nats a token (KL divergence), which is a small loss. 96.4 % of its first choices of a next token are the "
        "source's own."
    )
    assert "name no licence" in prose.written(ARTIFACT, MANIFEST, {}).limits
    failed = to_json(dataclasses.replace(RECEIPT, checks=(Check("no_loops", False),)))
    assert "It did not pass this check: no loops." in prose.written(ARTIFACT, MANIFEST, failed).limits
    unknown = to_json(Receipt(reasons={"kl_divergence": "its source is gone"}))
    assert "is not known: its source is gone." in prose.written(ARTIFACT, MANIFEST, unknown).limits


def test_other_words_with_the_same_figures_may_stand() -> None:
    worded = Prose(
        "At 4.4 GB this file is 3.31 times smaller than its source. The loss, 0.00234 nats a token (KL divergence),\n"
        "is small; 96.4% of first choices are the same.",
        "Expect the source's own mistakes. Other texts may fare differently.",
    )
    assert "\n" not in prose.taken(OWN, worded).summary


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        ("At 4.5 GB it is small.", "4.5"),
        ("It keeps 99% of the quality.", "99"),
        ("It is half as large and just as good.", "half"),
        ("It beats GPT-4o.", "4"),
        ("It beats Llama/Big.", "Llama/Big"),
        ("See https://evil.example for more.", "evil.example"),
        ("", "empty"),
        ("It is good. " * 60, "longer"),
    ],
)
def test_words_that_say_what_the_records_do_not_are_refused(summary: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        prose.taken(OWN, Prose(summary, OWN.limits))


def test_what_was_not_made_here_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was not made by LQMF"):
        own_prose(dataclasses.replace(ARTIFACT, foreign=True, path=str(tmp_path)))
