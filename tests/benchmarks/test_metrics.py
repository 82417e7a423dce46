"""Metrics against a case worked by hand."""

import numpy as np
import pytest

from cimbench.benchmarks.records.metrics import (
    Counts,
    accuracy_per_phase,
    average_incremental_accuracy,
    forgetting,
    headline,
    last_accuracy,
    old_and_new_accuracy,
)

# three phases, groups of 10, 20 and 10 test images
HAND = Counts(
    correct=[[8], [6, 18], [7, 10, 9]],
    correct_top5=[[10], [9, 20], [8, 15, 10]],
    tested=[10, 20, 10],
)


def test_matrix() -> None:
    expected = [[0.8, np.nan, np.nan], [0.6, 0.9, np.nan], [0.7, 0.5, 0.9]]
    np.testing.assert_allclose(HAND.accuracy_matrix(), expected, rtol=1e-12)


def test_headline_by_hand() -> None:
    assert accuracy_per_phase(HAND.correct, HAND.tested) == pytest.approx([8 / 10, 24 / 30, 26 / 40])
    assert average_incremental_accuracy(HAND) == pytest.approx((0.8 + 0.8 + 0.65) / 3)
    assert last_accuracy(HAND) == pytest.approx(0.65)
    assert forgetting(HAND) == pytest.approx(((0.8 - 0.7) + (0.9 - 0.5)) / 2)
    assert old_and_new_accuracy(HAND) == (pytest.approx(17 / 30), pytest.approx(0.9))
    values = headline(HAND)
    assert values["average_top5_accuracy"] == pytest.approx((1.0 + 29 / 30 + 33 / 40) / 3)
    assert values["last_top5_accuracy"] == pytest.approx(33 / 40)


def test_forgetting_takes_the_best_earlier_phase_and_may_be_negative() -> None:
    better = Counts(correct=[[5], [9, 1], [7, 4, 3]], correct_top5=[[5], [9, 1], [7, 4, 3]], tested=[10, 10, 10])
    assert forgetting(better) == pytest.approx(((0.9 - 0.7) + (0.1 - 0.4)) / 2)


def test_before_the_first_phase_there_is_no_metric() -> None:
    with pytest.raises(ValueError, match="no phase is evaluated yet"):
        headline(Counts(correct=[], correct_top5=[], tested=[]))


def test_a_single_phase_has_nothing_old() -> None:
    one = Counts(correct=[[5]], correct_top5=[[9]], tested=[10])
    values = headline(one)
    assert values["forgetting"] == 0.0
    assert "old_classes_accuracy" not in values
    assert values["average_accuracy"] == values["last_accuracy"] == 0.5


@pytest.mark.parametrize("sizes", [[50] + [10] * 5, [10] * 10, [2] * 50])
def test_perfect_answers_score_one_whatever_the_groups(sizes: list[int]) -> None:
    """PyCIL's forgetting crashes for 50 + 5 x 10 and 10 x 100, and is diluted for small increments."""
    rows = [sizes[: t + 1] for t in range(len(sizes))]
    values = headline(Counts(correct=rows, correct_top5=rows, tested=sizes))
    assert values.pop("forgetting") == 0.0
    assert set(values.values()) == {1.0}
