"""Small charts: on a terminal that is wide enough, never in a pipe, with names that do not cover points."""

from __future__ import annotations

import io

from rich.console import Console

from lqmf.cli.views.charts import LossChart, Point, methods_chart

POINTS = (
    Point("Q8_0", 7.9, 0.00012),
    Point("Q6_K", 6.1, 0.0007),
    Point("Q5_K_M", 5.3, 0.0010),
    Point("Q4_K_M", 4.8, 0.0023),
    Point("IQ4_XS", 4.4, 0.0036),
    Point("Q2_K", 3.2, 0.033),
)


def drawn(chart: LossChart, width: int = 80, terminal: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    console.print(chart)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]


def test_on_a_terminal_every_point_stands_with_its_name_larger_to_the_right_and_worse_above() -> None:
    lines = drawn(LossChart(POINTS, "size, MB"))
    assert max(map(len, lines)) <= 80
    places = {}
    for point in POINTS:
        (row,) = [i for i, line in enumerate(lines) if point.name in line]
        column = lines[row].index(point.name)
        places[point.name] = row, column
        assert "●" in lines[row][max(0, column - 2) : column + len(point.name) + 2]
    assert [places[point.name][0] for point in POINTS] == sorted((row for row, _ in places.values()), reverse=True)
    assert places["Q2_K"][1] < places["Q4_K_M"][1] < places["Q8_0"][1]
    assert "size, MB" in lines[-1]


def test_names_of_near_points_do_not_cover_points() -> None:
    near = (Point("IQ4_XS", 29.6, 0.00337), Point("Q4_K_M", 32.6, 0.00198), Point("Q2_K", 22.6, 0.0267))
    text = "\n".join(drawn(LossChart((*near, Point("Q8_0", 54.0, 0.000109)), "size"), width=100))
    assert all(name in text for name in ("IQ4_XS", "Q4_K_M", "Q2_K", "Q8_0"))
    assert text.count("●") == 4


def test_in_a_pipe_on_a_narrow_terminal_and_for_a_single_point_there_is_none() -> None:
    assert drawn(LossChart(POINTS, "size, MB"), terminal=False) == []
    assert drawn(LossChart(POINTS, "size, MB"), width=50) == []
    assert drawn(LossChart(POINTS[:1], "size, MB")) == []


def test_a_name_cannot_bring_an_escape_sequence() -> None:
    assert not any("\x1b" in line for line in drawn(LossChart((Point("\x1b[31mred", 1.0, 0.1), *POINTS), "size, MB")))


def test_statistics_show_sizes_as_shares_of_the_source() -> None:
    rows = [{"type": "Q8_0", "method": "gguf", "compression_ratio": 2.0, "kl_mean": 0.001}]
    rows += [{"type": "", "method": "gptq", "compression_ratio": 4.0, "kl_mean": 0.01}]
    rows += [{"type": "Q2_K", "method": "gguf", "compression_ratio": 5.0, "kl_mean": None}]
    text = "\n".join(drawn(methods_chart(rows)))
    assert "gptq" in text
    assert "Q2_K" not in text
    assert "size, % of the source" in text
