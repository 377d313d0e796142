"""The statistics are those of the textbook, at every size and in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lqmf.errors import MeasurementError
from lqmf.quality import divergence as module
from lqmf.quality.divergence import DivergenceMeter, kl_nats
from lqmf.quality.perplexity import Perplexity, log_softmax

LOGITS = st.floats(-60, 60, width=32)
PAIRS = st.tuples(st.integers(1, 6), st.integers(2, 9)).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=LOGITS), arrays(np.float32, shape, elements=LOGITS))
)


def brute_log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.fsum(math.exp(x - top) for x in row)
    return [x - top - math.log(total) for x in row]


def brute_kl(p: list[float], q: list[float]) -> float:
    log_p, log_q = brute_log_softmax(p), brute_log_softmax(q)
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True))


@given(pair=PAIRS)
def test_kl_is_the_sum_of_p_times_the_difference_of_logarithms(pair):
    p, q = pair
    found = kl_nats(log_softmax(p), log_softmax(q))
    for row, (a, b) in enumerate(zip(p.tolist(), q.tolist(), strict=True)):
        assert found[row] == pytest.approx(brute_kl(a, b), rel=1e-9, abs=1e-12)
        assert found[row] >= -1e-12


@given(pair=PAIRS, shift=st.floats(-100, 100))
def test_a_constant_added_to_a_row_changes_nothing(pair, shift):
    p, q = (side.astype(np.float64) for side in pair)
    before, after = kl_nats(log_softmax(p), log_softmax(q)), kl_nats(log_softmax(p + shift), log_softmax(q))
    np.testing.assert_allclose(before, after, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(pair=PAIRS, block=st.integers(1, 40))
def test_the_meter_gives_the_same_whatever_it_takes_at_a_time(pair, block):
    p, q = pair
    targets = np.arange(len(p)) % p.shape[1]
    whole, parts = DivergenceMeter(), DivergenceMeter()
    whole.add(p, q, targets)
    limit, module._BLOCK_ELEMENTS = module._BLOCK_ELEMENTS, block
    try:
        for row in range(len(p)):
            parts.add(p[row : row + 1], q[row : row + 1], targets[row : row + 1])
    finally:
        module._BLOCK_ELEMENTS = limit
    assert whole.tokens == parts.tokens == len(p)
    assert whole.top1_agreement == parts.top1_agreement
    assert whole.source.value == pytest.approx(parts.source.value, rel=1e-12)
    assert whole.divergence().mean == pytest.approx(parts.divergence().mean, rel=1e-9, abs=1e-15)


@given(pair=PAIRS)
def test_perplexity_is_the_exponential_of_the_mean_surprise(pair):
    logits = pair[0]
    targets = [row % logits.shape[1] for row in range(len(logits))]
    perplexity = Perplexity()
    perplexity.add(log_softmax(logits), np.array(targets))
    surprise = [-brute_log_softmax(row)[t] for row, t in zip(logits.tolist(), targets, strict=True)]
    assert perplexity.value == pytest.approx(math.exp(math.fsum(surprise) / len(surprise)), rel=1e-9)


def test_a_model_against_itself_diverges_by_nothing():
    logits = np.random.default_rng(0).normal(size=(50, 100)).astype(np.float32)
    meter = DivergenceMeter()
    meter.add(logits, logits, np.zeros(50, dtype=np.int64))
    assert meter.top1_agreement == 1
    assert meter.divergence().mean == meter.divergence().max == 0


def test_the_distribution_is_described_as_numpy_describes_it():
    random = np.random.default_rng(1)
    p, q = (random.normal(size=(400, 30)).astype(np.float32) for _ in "pq")
    meter = DivergenceMeter()
    meter.add(p, q, np.zeros(400, dtype=np.int64))
    kl = kl_nats(log_softmax(p), log_softmax(q))
    found = meter.divergence()
    assert (found.p50, found.p90, found.p99) == tuple(np.percentile(kl, (50, 90, 99)))
    assert found.max == kl.max()
    assert found.standard_error == pytest.approx(kl.std(ddof=1) / math.sqrt(400))


def test_what_the_source_rules_out_adds_nothing_and_what_only_the_artifact_rules_out_is_infinite():
    ruled_out = log_softmax(np.array([[0.0, 0.0, -np.inf]]))
    open_to_all = log_softmax(np.zeros((1, 3)))
    assert kl_nats(ruled_out, open_to_all)[0] == pytest.approx(math.log(1.5))
    assert kl_nats(open_to_all, ruled_out)[0] == math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["source", "artifact"])
def test_predictions_that_are_no_numbers_are_caught(bad, side):
    logits = {"source": np.zeros((2, 4), np.float32), "artifact": np.zeros((2, 4), np.float32)}
    logits[side][1, 2] = bad
    with pytest.raises(MeasurementError, match=f"The {side}"):
        DivergenceMeter().add(logits["source"], logits["artifact"], np.zeros(2, dtype=np.int64))
