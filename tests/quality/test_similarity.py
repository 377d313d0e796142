"""Cosines of states: exact on known vectors, and only for states that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from lqmf.errors import MeasurementError
from lqmf.quality.receipt.similarity import SimilarityMeter


def states(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_a_turn_of_a_quarter_is_a_cosine_of_zero_and_length_does_not_count() -> None:
    meter = SimilarityMeter()
    meter.add(states((1, 0), (0, 2)), states((0, 3), (0, 5)))
    found = meter.similarity()
    assert (found["token_cosine"]["mean"], found["token_cosine"]["min"], meter.tokens) == (0.5, 0.0, 2)
    assert found["embedding_cosine"]["mean"] == pytest.approx(2 / 5**0.5)  # of (.5, 1) and (0, 4)


def test_how_alike_different_texts_are_stands_beside_it() -> None:
    meter = SimilarityMeter()
    for row in ((1, 0), (0, 1), (-1, 0)):
        meter.add(states(row), states(row))
    found = meter.similarity()["embedding_cosine"]
    assert (found["mean"], found["min"]) == (1.0, 1.0)
    assert found["between_texts"] == pytest.approx((0 + 0 - 1) / 3)


def test_a_single_text_has_nothing_to_be_compared_with_and_zero_is_like_nothing() -> None:
    meter = SimilarityMeter()
    meter.add(states((1, 1)), states((0, 0)))
    assert meter.similarity()["embedding_cosine"] == {"mean": 0.0, "min": 0.0, "between_texts": None}


@pytest.mark.parametrize("wrong", [states((np.nan, 1)), states((np.inf, 1)), states((1, 1), (1, 1))])
def test_what_is_no_number_or_of_another_shape_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(MeasurementError):
        SimilarityMeter().add(states((1, 0)), wrong)
