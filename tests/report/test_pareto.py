"""The front holds exactly what no other point beats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lqmf.report.pareto import Point, front

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def beats(one: Point, other: Point) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@given(POINTS)
def test_the_front_is_what_no_point_beats(points: list[Point]) -> None:
    unbeaten = {i for i, point in enumerate(points) if not any(beats(other, point) for other in points)}
    assert set(front(points)) == unbeaten


@given(POINTS)
def test_along_the_front_one_number_rises_and_the_other_falls(points: list[Point]) -> None:
    along = [points[i] for i in front(points)]
    assert along == sorted(along)
    assert [point[1] for point in along] == sorted((point[1] for point in along), reverse=True)
