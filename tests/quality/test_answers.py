"""Scores of answers lie between 0 and 1, are 1 for the source's own words, and fall for what spoils an answer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqmf.quality.benchmark.scores import (
    SCORES,
    Answer,
    fluency,
    mean_scores,
    ngram_cosine,
    repetition,
    rouge,
    same_beginning,
    scores,
)

TEXTS = st.text(alphabet="ab é\n.", max_size=30)
TOKENS = st.lists(st.integers(0, 3), max_size=20).map(tuple)


def test_rouge_counts_words_pairs_and_the_longest_common_sequence():
    """One word of five is another: 4 words of 5 are shared, 2 pairs of 4, and 4 words in order."""
    found = rouge("cat sat on the mat", "cat sat by the mat")
    assert found == pytest.approx({"rouge1": 4 / 5, "rouge2": 2 / 4, "rougeL": 4 / 5})
    assert rouge("the mat", "mat the")["rouge1"] == 1
    assert rouge("the mat", "mat the")["rougeL"] == pytest.approx(0.5)


def test_rouge_takes_endings_for_the_same_word_and_no_words_for_no_overlap():
    assert rouge("he was running fast", "he was run fast")["rouge1"] == 1
    assert rouge("one", "two")["rouge1"] == rouge("one", "")["rougeL"] == rouge("", "one")["rouge2"] == 0
    assert rouge("...", "...") == {"rouge1": 1, "rouge2": 1, "rougeL": 1}


def test_ngram_cosine_sees_likeness_below_the_word():
    assert ngram_cosine("colour", "color") > ngram_cosine("colour", "shade")
    assert ngram_cosine("Two  words", "two words\n") == pytest.approx(1)
    assert ngram_cosine("", "") == 1
    assert ngram_cosine("", "something") == 0
    assert ngram_cosine("ab", "ab") == pytest.approx(1)


def test_repetition_is_the_share_of_four_grams_that_were_there_before():
    assert repetition(range(20)) == 0
    assert repetition([1] * 20) == pytest.approx(16 / 17)
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([1, 1, 1]) == 0


def test_the_same_beginning_ends_where_two_answers_part():
    assert same_beginning([1, 2, 3, 4], [1, 2, 9, 9]) == 0.5
    assert same_beginning([1, 2], [1, 2, 3, 4]) == 0.5
    assert same_beginning([], []) == same_beginning([5], [5]) == 1
    assert same_beginning([], [5]) == 0


def test_fluency_is_the_ratio_of_perplexities_and_never_above_one():
    assert fluency(math.log(8), math.log(4)) == pytest.approx(0.5)
    assert fluency(1.0, 2.0) == 1
    assert fluency(None, 1.0) is fluency(1.0, None) is None


SOURCE = Answer("Water boils at 100 degrees.", (1, 2, 3, 4, 5, 6), True, 1.0)


def test_the_sources_own_answer_scores_one_in_everything():
    found = scores(SOURCE, SOURCE, embedding_cosine=1.0)
    assert set(found) == set(SCORES)
    assert all(value == pytest.approx(1) for value in found.values())


@pytest.mark.parametrize(
    ("answer", "falls"),
    [
        (Answer("Water boils at 100 degrees.", (1, 2, 3, 4, 5, 6), False, 1.0), "termination"),
        (Answer("Tea tastes of grass.", (7, 8, 9), True, 1.0), "agreement"),
        (Answer("Water boils at 100 degrees.", (1, 2, 3, 4, 9, 6), True, 3.0), "fluency"),
        (Answer("Water boils at 100 degrees.", (1,) * 12, True, 1.0), "coherence"),
    ],
)
def test_what_spoils_an_answer_lowers_its_own_figure_and_the_quality(answer, falls):
    whole, spoilt = scores(SOURCE, SOURCE), scores(answer, SOURCE)
    assert spoilt[falls] < whole[falls]
    assert spoilt["quality"] < whole["quality"]


def test_quality_is_the_stated_sum():
    answer = Answer("Water boils at 90 degrees.", (1, 2, 3, 9, 5, 6), False, 1.0 + math.log(2))
    found = scores(answer, SOURCE)
    agreement = (found["rougeL"] + found["ngram_cosine"]) / 2
    assert found["coherence"] == pytest.approx(0.5)
    assert found["quality"] == pytest.approx(0.5 * agreement + 0.3 * 0.5)


def test_an_empty_answer_is_worth_nothing_where_the_source_said_something():
    found = scores(Answer(" \n", (9,), True), SOURCE)
    assert found["agreement"] == found["coherence"] == found["quality"] == 0
    assert scores(Answer("", (), True), Answer("", (), True))["quality"] == 1


def test_without_surprise_there_is_no_coherence_and_no_quality():
    found = scores(Answer("Water is wet.", (1, 2, 9), True), SOURCE)
    assert found["fluency"] is found["coherence"] is found["quality"] is None
    assert found["rougeL"] > 0


@given(TEXTS, TEXTS, TOKENS, TOKENS, st.booleans(), st.floats(0, 50), st.floats(0, 50))
def test_every_score_lies_between_nothing_and_one(one, other, first, second, ended, a, b):
    found = scores(Answer(one, first, ended, a), Answer(other, second, True, b))
    assert all(-1e-9 <= value <= 1 + 1e-9 for name, value in found.items() if value is not None), found


def test_means_are_over_the_answers_that_have_the_figure():
    found = mean_scores([{"quality": 1.0, "fluency": None}, {"quality": 0.5, "fluency": None}])
    assert (found["quality"], found["fluency"]) == (0.75, None)


def test_answers_in_any_script_are_compared():
    russian = ("Библиотека открывается утром", "Библиотека открывается вечером")
    for one, other in (russian, ("図書館は朝に開く", "図書館は夜に開く")):
        found = rouge(one, other)
        assert 0.5 < found["rouge1"] < 1, (one, found)
    assert rouge("The libraries opened.", "the library opens")["rouge1"] > 0.6
