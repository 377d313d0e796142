"""The statistics are those of the textbook, at every size and in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lqmf.errors import MeasurementError
from lqmf.quality.receipt import perplexity as module
from lqmf.quality.receipt.divergence import DivergenceMeter, pair
from lqmf.quality.receipt.perplexity import Perplexity, log_softmax

LOGITS = st.floats(-60, 60, width=32)
PAIRS = st.tuples(st.integers(1, 6), st.integers(2, 9)).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=LOGITS), arrays(np.float32, shape, elements=LOGITS))
)


def brute_log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.fsum(math.exp(x - top) for x in row)
    return [x - top - math.log(total) for x in row]


def kl_nats(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return pair(p, q, np.zeros(len(p), dtype=np.int64)).kl_nats


def brute_kl(p: list[float], q: list[float]) -> float:
    log_p, log_q = brute_log_softmax(p), brute_log_softmax(q)
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True))


@given(both=PAIRS)
def test_kl_is_the_sum_of_p_times_the_difference_of_logarithms(both):
    p, q = both
    found = kl_nats(p, q)
    for row, (a, b) in enumerate(zip(p.tolist(), q.tolist(), strict=True)):
        assert found[row] == pytest.approx(brute_kl(a, b), rel=1e-9, abs=1e-12)
        assert found[row] >= -1e-12


@given(both=PAIRS, shift=st.floats(-100, 100))
def test_a_constant_added_to_a_row_changes_nothing(both, shift):
    p, q = (side.astype(np.float64) for side in both)
    before, after = kl_nats(p, q), kl_nats(p + shift, q)
    np.testing.assert_allclose(before, after, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(both=PAIRS, block=st.integers(1, 40))
def test_the_meter_gives_the_same_whatever_it_takes_at_a_time(both, block):
    p, q = both
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
    assert whole.perplexity_ratio() == pytest.approx(parts.perplexity_ratio(), rel=1e-9)
    assert whole.right_token() == pytest.approx(parts.right_token(), rel=1e-9, abs=1e-12)


@given(both=PAIRS)
def test_perplexity_is_the_exponential_of_the_mean_surprise(both):
    logits = both[0]
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
    kl = kl_nats(p, q)
    found = meter.divergence()
    assert (found.p50, found.p90, found.p99) == tuple(np.percentile(kl, (50, 90, 99)))
    assert found.max == kl.max()
    assert found.standard_error == pytest.approx(kl.std(ddof=1) / math.sqrt(400))


def test_what_the_source_rules_out_adds_nothing_and_what_only_the_artifact_rules_out_is_infinite():
    ruled_out = np.array([[0.0, 0.0, -np.inf]])
    open_to_all = np.zeros((1, 3))
    assert kl_nats(ruled_out, open_to_all)[0] == pytest.approx(math.log(1.5))
    assert kl_nats(open_to_all, ruled_out)[0] == math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["source", "artifact"])
def test_predictions_that_are_no_numbers_are_caught(bad, side):
    logits = {"source": np.zeros((2, 4), np.float32), "artifact": np.zeros((2, 4), np.float32)}
    logits[side][1, 2] = bad
    with pytest.raises(MeasurementError, match=f"The {side}"):
        DivergenceMeter().add(logits["source"], logits["artifact"], np.zeros(2, dtype=np.int64))


# ---------------------------------------------------------------- error bars


def drawn(tokens: int = 300, words: int = 20) -> tuple[DivergenceMeter, list[float], list[float]]:
    """A meter, and the surprise of each token under both models, by the textbook."""
    random = np.random.default_rng(7)
    p = random.normal(size=(tokens, words)).astype(np.float32)
    q = p + random.normal(scale=0.1, size=p.shape).astype(np.float32)
    targets = random.integers(0, words, tokens)
    meter = DivergenceMeter()
    meter.add(p, q, targets)
    of_p, of_q = (
        [-brute_log_softmax(row)[t] for row, t in zip(side.tolist(), targets, strict=True)] for side in (p, q)
    )
    return meter, of_p, of_q


def llama_mean_and_error(values: list[float]) -> tuple[float, float]:
    """As `mean_and_uncertainty` of llama-perplexity: from the sums of values and of squares."""
    count, total, squares = len(values), math.fsum(values), math.fsum(v * v for v in values)
    mean = total / count
    return mean, math.sqrt((squares / count - mean * mean) / (count - 1))


def test_the_error_of_a_perplexity_is_llama_perplexitys():
    meter, of_p, _ = drawn()
    mean, error = llama_mean_and_error(of_p)
    assert meter.source.standard_error == pytest.approx(math.exp(mean) * error, rel=1e-6)


def test_the_error_of_the_ratio_is_llama_perplexitys_with_its_covariance():
    meter, of_p, of_q = drawn()
    (p, p_error), (q, q_error) = llama_mean_and_error(of_p), llama_mean_and_error(of_q)
    count = len(of_p)
    covariance = math.fsum(a * b for a, b in zip(of_p, of_q, strict=True)) / count - p * q
    error = math.sqrt(p_error**2 + q_error**2 - 2 * covariance / (count - 1))
    assert meter.perplexity_ratio() == pytest.approx((math.exp(q - p), math.exp(q - p) * error), rel=1e-6)
    assert error < q_error / 5


def test_the_right_tokens_change_is_of_probabilities_artifact_less_source():
    meter, of_p, of_q = drawn()
    change = [math.exp(-q) - math.exp(-p) for p, q in zip(of_p, of_q, strict=True)]
    mean, error = llama_mean_and_error(change)
    rms = math.sqrt(math.fsum(c * c for c in change) / len(change))
    assert meter.right_token() == pytest.approx((mean, rms, error), rel=1e-6)


def test_the_error_of_the_agreement_is_that_of_a_share():
    meter, _, _ = drawn()
    share = meter.top1_agreement
    assert 0 < share < 1
    assert meter.top1_error == pytest.approx(math.sqrt(share * (1 - share) / 299))


def test_one_token_has_no_error_bar():
    meter = DivergenceMeter()
    meter.add(np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32), np.array([2]))
    assert meter.divergence().standard_error == meter.top1_error == meter.source.standard_error == math.inf
